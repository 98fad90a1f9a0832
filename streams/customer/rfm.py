"""RFM segments: a name for how recently and how often a customer buys.

Recency and frequency are scored 1 to 5; the 25 cells of the two scores are covered exactly once by ten
names, so every customer with an order has exactly one. The borders are fixed by settings: a border
that moves with the crowd would move customers between segments who did nothing, and sixty in a
hundred customers of a real shop bought once, so that quintiles of frequency do not exist. Recency
here is the time since the last order; a customer crosses its borders at a known moment.
"""

from __future__ import annotations

from bisect import bisect_right

from streams.config import DAY_MS, SegmentConfig, days_ms

RFM_NAMES: tuple[str, ...] = (
    "hibernating",
    "at_risk",
    "cant_lose",
    "about_to_sleep",
    "need_attention",
    "loyal",
    "promising",
    "new",
    "potential_loyalists",
    "champions",
)

_ROWS: dict[int, tuple[str, str, str, str, str]] = {
    1: ("hibernating", "hibernating", "at_risk", "at_risk", "cant_lose"),
    2: ("hibernating", "hibernating", "at_risk", "at_risk", "cant_lose"),
    3: ("about_to_sleep", "about_to_sleep", "need_attention", "loyal", "loyal"),
    4: ("promising", "potential_loyalists", "potential_loyalists", "loyal", "loyal"),
    5: ("new", "potential_loyalists", "potential_loyalists", "champions", "champions"),
}

RFM_CELLS: dict[tuple[int, int], int] = {
    (recency, frequency): RFM_NAMES.index(name)
    for recency, row in _ROWS.items()
    for frequency, name in enumerate(row, start=1)
}
"""Number of the name of each (recency score, frequency score)."""


def recency_score(silence_ms: int, config: SegmentConfig) -> int:
    """Score the time since the last order, 5 for the most recent.

    Examples
    --------
    >>> [recency_score(days_ms(days), SegmentConfig()) for days in (0, 30, 1000)]
    [5, 4, 1]
    """
    return 5 - bisect_right(config.recency_days, silence_ms / DAY_MS)


def frequency_score(orders: int, config: SegmentConfig) -> int:
    """Score the number of orders, 5 for the most frequent.

    Examples
    --------
    >>> [frequency_score(orders, SegmentConfig()) for orders in (1, 2, 9)]
    [1, 2, 5]
    """
    return 1 + bisect_right(config.frequency_orders, orders)


def rfm_segment(orders: int, silence_ms: int, config: SegmentConfig) -> int:
    """Give the number of the customer's segment.

    Examples
    --------
    >>> RFM_NAMES[rfm_segment(1, 0, SegmentConfig())]
    'new'
    """
    return RFM_CELLS[recency_score(silence_ms, config), frequency_score(orders, config)]


def next_border_ms(order_ms: int, as_of_ms: int, config: SegmentConfig) -> int | None:
    """Find the next moment after `as_of_ms` at which silence alone changes the recency score."""
    for days in config.recency_days:
        border_ms = order_ms + days_ms(days)
        if border_ms > as_of_ms:
            return border_ms
    return None
