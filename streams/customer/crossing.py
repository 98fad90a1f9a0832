"""When a silent customer's risk will reach the alert threshold.

Churn is the absence of events, so the moment it becomes likely is not the moment of any record. If the
customer stays silent, the facts do not change and the log-odds are a smooth function of time alone, so
the moment can be solved for. A timer set there raises the alert when it becomes true, not at the next
sweep. One look at the end of the span tells whether there is anything to find; if so, false position
(the Illinois variant, which never stalls) closes in on a crossing in a handful of steps. With several
crossings one of them is found; reviews come weekly and look again.

References
----------
Dowell & Jarratt, A modified regula falsi method, BIT 11 (1971), doi 10.1007/BF01934364.
"""

from __future__ import annotations

from collections.abc import Callable

from streams.config import MINUTE_MS
from streams.customer.state import NO_TIME

MOST_STEPS = 60
"""More than halving alone would need; a bound, not a tuning knob."""


def crossing_ms(excess_at: Callable[[int], float], from_ms: int, until_ms: int) -> int:
    """Find when an excess over a threshold stops being negative.

    Parameters
    ----------
    excess_at
        Log-odds of the risk in silence as of an event time, less those of the threshold.
    from_ms, until_ms
        Where to look, both included.

    Returns
    -------
    int
        A moment at which the excess is not negative while up to a minute before it is; `from_ms` when
        it is not negative there already; `NO_TIME` when it is negative at `until_ms`.

    Examples
    --------
    >>> day_ms = 86_400_000
    >>> when = crossing_ms(lambda time_ms: time_ms / day_ms - 5.0, from_ms=0, until_ms=90 * day_ms)
    >>> round(when / day_ms, 2)
    5.0
    """
    low, high = from_ms, until_ms
    excess_low = excess_at(low)
    if excess_low >= 0.0:
        return low
    excess_high = excess_at(high)
    if excess_high < 0.0:
        return NO_TIME
    for step in range(MOST_STEPS):
        if high - low <= MINUTE_MS:
            break
        if step % 4 == 3:
            middle = (low + high) // 2  # halving now and then bounds the number of steps
        else:
            middle = low + int((high - low) * excess_low / (excess_low - excess_high))
            # Land just past the root: then both ends close in on it, not one of them only.
            middle = min(high - MINUTE_MS // 2, max(low + MINUTE_MS // 2, middle + MINUTE_MS // 4))
        excess = excess_at(middle)
        if excess >= 0.0:
            high, excess_high = middle, excess
            excess_low *= 0.5
        else:
            low, excess_low = middle, excess
            excess_high *= 0.5
    return high
