"""RFM segments: a name for how recently and how often a customer buys.

Recency and frequency are scored 1 to 5; the 25 cells of the two scores are covered exactly once by ten
names, so every customer with an order has exactly one. The borders are fixed by settings: a border
that moves with the crowd would move customers between segments who did nothing, and sixty in a
hundred customers of a real shop bought once, so that quintiles of frequency do not exist. Recency
here is the time since the last order; a customer crosses its borders at a known moment.
"""

from __future__ import annotations

from typing import Final

from librt.vecs import vec
from mypy_extensions import i64

from streams.config import SegmentConfig, days_ms
from streams.customer.state import NO_TIME

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

_NEVER: Final = 1 << 60
"""No customer comes so far."""

_NUMBERS: Final = [0] * 6 + [
    RFM_CELLS[recency, frequency] for recency in range(1, 6) for frequency in range(1, 6)
]
"""The same, at five times the recency score plus the frequency score."""


class RfmCells:
    """The borders of the cells, as whole numbers.

    Parameters
    ----------
    config
        What they follow from.
    """

    __slots__ = ("_orders", "_silence_ms")

    def __init__(self, config: SegmentConfig) -> None:
        self._silence_ms = vec[i64]([min(days_ms(days), _NEVER) for days in config.recency_days])
        self._orders = vec[i64]([min(orders, _NEVER) for orders in config.frequency_orders])

    def recency_score(self, silence_ms: int) -> int:
        """Score the time since the last order, 5 for the most recent.

        Examples
        --------
        >>> cells = RfmCells(SegmentConfig())
        >>> [cells.recency_score(days_ms(days)) for days in (0, 30, 1000)]
        [5, 4, 1]
        """
        return 5 - _passed(self._silence_ms, silence_ms)

    def frequency_score(self, orders: int) -> int:
        """Score the number of orders, 5 for the most frequent.

        Examples
        --------
        >>> cells = RfmCells(SegmentConfig())
        >>> [cells.frequency_score(orders) for orders in (1, 2, 9)]
        [1, 2, 5]
        """
        return 1 + _passed(self._orders, orders)

    def segment(self, orders: int, silence_ms: int) -> int:
        """Give the number of a customer's segment.

        Examples
        --------
        >>> RFM_NAMES[RfmCells(SegmentConfig()).segment(1, 0)]
        'new'
        """
        return _NUMBERS[5 * self.recency_score(silence_ms) + self.frequency_score(orders)]

    def next_border_ms(self, order_ms: int, as_of_ms: int) -> int:
        """Find the next moment after `as_of_ms` at which silence alone changes the recency score.

        `NO_TIME` when none does.
        """
        for border_ms in self._silence_ms:
            if order_ms + border_ms > as_of_ms:
                return order_ms + border_ms
        return NO_TIME


def _passed(borders: vec[i64], reached: i64) -> int:
    passed = 0
    for border in borders:
        if border <= reached:
            passed += 1
    return passed
