"""Lifecycle stages: where a customer stands between the first order and the last.

first_time (one order, still fresh), active (several), defecting (silent beyond `active_days`), inactive
(silent beyond `inactive_days`), won_back (ordered again after having been defecting or inactive, until
the next order or the next silence). A customer without any order is a prospect. Like the recency
borders of RFM, each stage ends at a known moment.
"""

from __future__ import annotations

from streams.config import DAY_MS, SegmentConfig, days_ms

LIFECYCLE_NAMES: tuple[str, ...] = ("prospect", "first_time", "active", "defecting", "inactive", "won_back")

PROSPECT, FIRST_TIME, ACTIVE, DEFECTING, INACTIVE, WON_BACK = range(len(LIFECYCLE_NAMES))


def lifecycle_stage(orders: int, silence_ms: int, won_back: bool, config: SegmentConfig) -> int:
    """Give the number of the customer's stage.

    Examples
    --------
    >>> [LIFECYCLE_NAMES[lifecycle_stage(2, days_ms(d), False, SegmentConfig())] for d in (0, 90, 365)]
    ['active', 'defecting', 'inactive']
    """
    if orders == 0:
        return PROSPECT
    silence_days = silence_ms / DAY_MS
    if silence_days >= config.inactive_days:
        return INACTIVE
    if silence_days >= config.active_days:
        return DEFECTING
    if won_back:
        return WON_BACK
    return FIRST_TIME if orders == 1 else ACTIVE


def comes_back(order_ms: int, time_ms: int, config: SegmentConfig) -> bool:
    """Tell whether an order at `time_ms` wins back a customer whose last one was at `order_ms`.

    Examples
    --------
    >>> comes_back(0, days_ms(90), SegmentConfig())
    True
    """
    return (time_ms - order_ms) / DAY_MS >= config.active_days


def next_stage_ms(order_ms: int, as_of_ms: int, config: SegmentConfig) -> int | None:
    """Find the next moment after `as_of_ms` at which silence alone changes the stage."""
    for days in (config.active_days, config.inactive_days):
        border_ms = order_ms + days_ms(days)
        if border_ms > as_of_ms:
            return border_ms
    return None
