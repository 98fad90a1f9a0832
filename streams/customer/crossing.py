"""When a silent customer's risk will reach the alert threshold.

Churn is the absence of events, so the moment it becomes likely is not the moment of any record. If the
customer stays silent, the facts do not change and the log-odds are a smooth function of time alone, so
the moment can be solved for. A timer set there raises the alert when it becomes true, not at the next
sweep. One look at the end of the span tells whether there is anything to find; if so, false position
(the Illinois variant, which never stalls) closes in on a crossing in a handful of steps. It works in the
logarithm of the silence, where log-odds are nearly straight. With several crossings one of them is
found; reviews come weekly and look again.

References
----------
Dowell & Jarratt, A modified regula falsi method, BIT 11 (1971), doi 10.1007/BF01934364.
"""

from __future__ import annotations

from collections.abc import Callable
from math import pow
from typing import Final

from streams.config import DAY_MS, MINUTE_MS
from streams.customer.state import NO_TIME

MOST_STEPS: Final = 100
"""Every four steps halve the span at least, and 21 halvings turn two years into a minute."""


class Excess:
    """How far something is above a threshold, as a function of time.

    A class and not a function, so that compiled code asks a subclass without making objects of its numbers.

    Parameters
    ----------
    of
        The function, where no subclass has its own.
    """

    __slots__ = ("_of",)

    def __init__(self, of: Callable[[int], float] | None = None) -> None:
        self._of = of

    def excess_at(self, as_of_ms: int) -> float:
        """Compute it as of an event time."""
        assert self._of is not None, "a subclass computes its own"
        return self._of(as_of_ms)


def crossing_ms(excess: Excess, from_ms: int, until_ms: int, since_ms: int | None = None) -> int:
    """Find when an excess over a threshold stops being negative.

    Parameters
    ----------
    excess
        Log-odds of the risk in silence as of an event time, less those of the threshold.
    from_ms, until_ms
        Where to look, both included.
    since_ms
        When the silence began, before `from_ms`; it shapes the steps, not the result.

    Returns
    -------
    int
        A moment at which the excess is not negative while up to a minute before it is; `from_ms` when
        it is not negative there already; `NO_TIME` when it is negative at `until_ms`.

    Examples
    --------
    >>> day_ms = 86_400_000
    >>> when = crossing_ms(Excess(lambda time_ms: time_ms / day_ms - 5.0), from_ms=0, until_ms=90 * day_ms)
    >>> round(when / day_ms, 2)
    5.0
    """
    low, high = from_ms, until_ms
    excess_high = excess.excess_at(high)
    if excess_high < 0.0:
        return NO_TIME
    excess_low = excess.excess_at(low)
    if excess_low >= 0.0:
        return low
    # One day before the silence began: there log1p(days of silence) is a logarithm.
    origin_ms = min(low if since_ms is None else since_ms, low) - DAY_MS
    checked_ms = 2 * (high - low)
    last_end = 0  # which one moved last: 1 the upper, -1 the lower
    for step in range(MOST_STEPS):
        span_ms = high - low
        if span_ms <= MINUTE_MS:
            break
        if step % 4 == 0 and 2 * span_ms > checked_ms:
            middle = (low + high) // 2  # four steps have not halved the span: false position crawls here
            checked_ms = span_ms // 2
        else:
            if step % 4 == 0:
                checked_ms = span_ms
            share = excess_low / (excess_low - excess_high)
            silent_ms, most_ms = float(low - origin_ms), float(high - origin_ms)
            middle = origin_ms + int(silent_ms * pow(most_ms / silent_ms, share))
            # Land just past the root: then both ends close in on it, not one of them only.
            middle = min(high - MINUTE_MS // 2, max(low + MINUTE_MS // 2, middle + MINUTE_MS // 4))
        height = excess.excess_at(middle)
        end = 1 if height >= 0.0 else -1
        if end == 1:
            high, excess_high = middle, height
            excess_low *= 0.5 if last_end == end else 1.0
        else:
            low, excess_low = middle, height
            excess_high *= 0.5 if last_end == end else 1.0
        last_end = end
    return high
