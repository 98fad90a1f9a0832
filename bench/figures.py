"""What is made of measurements: percentiles, rates over a window, and a table that people can read.

A percentile here is the nearest rank: a value that was really measured, the smallest with at least that share
of all at or below it. A rate is taken between two samples inside the run, so neither the start of a program
nor its end is in it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple


def percentile(values: Sequence[float], share: float) -> float:
    """Give the nearest-rank percentile.

    Parameters
    ----------
    values
        Measurements in any order, at least one.
    share
        Between 0 and 1.

    Examples
    --------
    >>> percentile([30.0, 10.0, 20.0, 40.0], 0.5), percentile([30.0, 10.0, 20.0, 40.0], 0.99)
    (20.0, 40.0)
    """
    if not values or not 0.0 <= share <= 1.0:
        raise ValueError("a percentile needs measurements and a share between 0 and 1")
    rank = math.ceil(share * len(values) - 1e-9)  # 0.9 * 10 is 9, however it is represented
    return sorted(values)[max(0, rank - 1)]


class Sample(NamedTuple):
    """What one look at a worker shows.

    Attributes
    ----------
    seconds
        On a clock that never goes back.
    cpu_seconds
        Of all its threads, user and system, since it started.
    records
        Input records that have had their outcome.
    """

    seconds: float
    cpu_seconds: float
    records: float


class Rate(NamedTuple):
    """A worker between two samples."""

    per_second: float
    cpu_micros: float
    records: float
    seconds: float


def steady(samples: Sequence[Sample], events: float) -> Rate:
    """Measure between the first sample with any records and the last before all are done.

    Raises
    ------
    ValueError
        When there are not two such samples: the run was too short.

    Examples
    --------
    >>> looks = [Sample(0, 0, 0), Sample(1, 2, 100), Sample(3, 3, 300), Sample(4, 9, 400)]
    >>> steady(looks, events=400)
    Rate(per_second=100.0, cpu_micros=5000.0, records=200, seconds=2)
    """
    inside = [sample for sample in samples if 0 < sample.records < events]
    if len(inside) < 2 or inside[0].records == inside[-1].records:
        raise ValueError(f"too short to measure: {len(inside)} samples while it was busy; give more events")
    first, last = inside[0], inside[-1]
    records, seconds = last.records - first.records, last.seconds - first.seconds
    cpu = last.cpu_seconds - first.cpu_seconds
    return Rate(records / seconds, 1e6 * cpu / records, records, seconds)


def table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Lay out a table: the first column to the left, figures to the right.

    Examples
    --------
    >>> print(table(("engine", "events/s"), [("loop", "110,000"), ("faust", "4,200")]))
    engine  events/s
    loop     110,000
    faust      4,200
    """
    lines = [tuple(heads), *(tuple(row) for row in rows)]
    widths = [max(len(line[place]) for line in lines) for place in range(len(heads))]
    return "\n".join(
        "  ".join(
            cell.rjust(width) if place else cell.ljust(width)
            for place, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    )
