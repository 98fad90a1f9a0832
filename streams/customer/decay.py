"""Counters that fade: how much of something lately, without windows.

Each event counts 1 when it happens and half as much every half-life later. Instead of ageing the sum
at every event, weights grow forward from a landmark: an event at t adds 2^((t - landmark) / half-life)
and reading as of s divides by 2^((s - landmark) / half-life). The sum is then the same in whatever
order events come, a late one included, and reading never changes it, so a silent customer's counter
falls without being touched.

References
----------
Cormode, Shkapenyuk, Srivastava & Xu, Forward decay, ICDE 2009, doi 10.1109/ICDE.2009.65.
"""

from __future__ import annotations

from math import pow
from typing import Final

_LARGEST_EXPONENT: Final = 500.0


def forward_weight(time_ms: int, landmark_ms: int, half_life_ms: float) -> float:
    """Weigh an event at `time_ms` for a sum kept relative to `landmark_ms`.

    Raises
    ------
    OverflowError
        When the landmark lies over a thousand half-lives back: see `landmark_is_stale`.

    Examples
    --------
    >>> forward_weight(2000, 1000, half_life_ms=1000)
    2.0
    """
    return pow(2.0, (time_ms - landmark_ms) / half_life_ms)


def faded(total: float, as_of_ms: int, landmark_ms: int, half_life_ms: float) -> float:
    """Read a sum of forward weights as of a time.

    Examples
    --------
    Two events at 1000 and 2000, read at 3000 with a half-life of 1000: a quarter and a half.

    >>> total = forward_weight(1000, 1000, 1000) + forward_weight(2000, 1000, 1000)
    >>> faded(total, 3000, 1000, 1000)
    0.75
    """
    return total * pow(2.0, (landmark_ms - as_of_ms) / half_life_ms)


def landmark_is_stale(time_ms: int, landmark_ms: int, half_life_ms: float) -> bool:
    """Tell whether weights have grown so much that the landmark must move up.

    Examples
    --------
    >>> landmark_is_stale(501_000, 0, half_life_ms=1000)
    True
    """
    return (time_ms - landmark_ms) / half_life_ms > _LARGEST_EXPONENT
