"""How far a difference between two runs may be chance.

Answers of one customer are not independent: questions a week apart see nearly the same future. So customers
are drawn, with replacement, and everything of a customer goes with them. Both runs see the same draws, so
what makes a draw easy or hard is in both and cancels in the difference: that is what makes a paired interval
much narrower than the two intervals beside each other. Draws are seeded, so two runs give the same bytes.

References
----------
Efron & Tibshirani, An Introduction to the Bootstrap (1993), chapters 13 (percentile intervals) and 16.
Field & Welsh, Bootstrapping clustered data, JRSS B 69 (2007), for drawing whole clusters.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np

from streams.evaluation.judging import Floats

Measure = Callable[[Floats | None], dict[str, float | None]]
"""Takes how often each customer of `Sample.customers` counts (None: once), gives figures by name."""

LEAST_DRAWS = 20
"""An interval from fewer draws in which a measure was defined says nothing."""


class Sample(NamedTuple):
    """What one run measured, by customer."""

    customers: tuple[str, ...]
    measure: Measure


class Interval(NamedTuple):
    """A figure, and where 95 % of the resamples put it; None where it is not defined."""

    value: float | None
    low: float | None
    high: float | None


def draws(customers: int, count: int, seed: int) -> Iterator[Floats]:
    """Draw as many customers as there are, with replacement, so many times.

    Yields
    ------
    array
        How often each was drawn.

    Examples
    --------
    >>> [float(drawn.sum()) for drawn in draws(5, 2, seed=1)]
    [5.0, 5.0]
    """
    generator = np.random.Generator(np.random.PCG64(seed))
    for _ in range(count):
        chosen = generator.integers(0, customers, customers)
        drawn: Floats = np.bincount(chosen, minlength=customers).astype(np.float64)
        yield drawn


class Compared(NamedTuple):
    """A run beside the first: its own figures, and what they differ by."""

    figures: dict[str, Interval]
    differences: dict[str, Interval]


def compare(samples: Sequence[Sample], count: int, seed: int) -> list[Compared]:
    """Measure runs, and each against the first, with paired intervals.

    Parameters
    ----------
    samples
        The first is what the others are compared with.
    count
        Resamples.
    seed
        Of the draws.

    Returns
    -------
    list of Compared
        One for each run; the first differs from itself by nothing.

    Examples
    --------
    >>> def mean_of(values):
    ...     return lambda drawn: {"mean": float(np.average(values, weights=drawn))}
    >>> low = Sample(("a", "b", "c"), mean_of([1.0, 2.0, 9.0]))
    >>> high = Sample(("a", "b", "c"), mean_of([2.0, 3.0, 10.0]))
    >>> difference = compare([low, high], count=50, seed=1)[1].differences["mean"]
    >>> [round(value, 9) for value in difference]
    [1.0, 1.0, 1.0]
    """
    everybody = sorted({customer for sample in samples for customer in sample.customers})
    number = {customer: place for place, customer in enumerate(everybody)}
    places = [np.array([number[name] for name in sample.customers], np.int64) for sample in samples]
    whole = [sample.measure(None) for sample in samples]
    resampled = [
        [sample.measure(drawn[place]) for sample, place in zip(samples, places, strict=True)]
        for drawn in (draws(len(everybody), count, seed) if everybody else ())
    ]
    return [
        Compared(
            {name: _interval(whole[run][name], [row[run][name] for row in resampled]) for name in whole[run]},
            {
                name: _interval(
                    _minus(whole[run][name], whole[0].get(name)),
                    [_minus(row[run][name], row[0].get(name)) for row in resampled],
                )
                for name in whole[run]
            },
        )
        for run in range(len(samples))
    ]


def _minus(one: float | None, other: float | None) -> float | None:
    return None if one is None or other is None else one - other


def _interval(value: float | None, found: list[float | None]) -> Interval:
    defined = [number for number in found if number is not None]
    if value is None or len(defined) < LEAST_DRAWS:
        return Interval(value, None, None)
    low, high = np.quantile(np.array(defined), (0.025, 0.975))
    return Interval(value, float(low), float(high))
