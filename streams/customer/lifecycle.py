"""Lifecycle stages: where a customer stands between the first order and the last.

first_time (one order, still fresh), active (several), defecting (silent beyond `active_days`), inactive
(silent beyond `inactive_days`), won_back (ordered again after having been defecting or inactive, until
the next order or the next silence). A customer without any order is a prospect. Like the recency
borders of RFM, each stage ends at a known moment.
"""

from __future__ import annotations

from typing import Final

from streams.config import DAY_MS, SegmentConfig, days_ms
from streams.customer.state import NO_TIME

LIFECYCLE_NAMES: tuple[str, ...] = ("prospect", "first_time", "active", "defecting", "inactive", "won_back")

PROSPECT: Final = 0
FIRST_TIME: Final = 1
ACTIVE: Final = 2
DEFECTING: Final = 3
INACTIVE: Final = 4
WON_BACK: Final = 5


class Stages:
    """The borders of the stages, as whole numbers.

    Parameters
    ----------
    config
        What they follow from.
    """

    __slots__ = ("_active_ms", "_inactive_ms")

    def __init__(self, config: SegmentConfig) -> None:
        self._active_ms = days_ms(config.active_days)
        self._inactive_ms = days_ms(config.inactive_days)

    def of(self, orders: int, silence_ms: int, won_back: bool) -> int:
        """Give the number of the customer's stage.

        Examples
        --------
        >>> stages = Stages(SegmentConfig())
        >>> [LIFECYCLE_NAMES[stages.of(2, days_ms(days), won_back=False)] for days in (0, 90, 365)]
        ['active', 'defecting', 'inactive']
        """
        if orders == 0:
            return PROSPECT
        if silence_ms >= self._inactive_ms:
            return INACTIVE
        if silence_ms >= self._active_ms:
            return DEFECTING
        if won_back:
            return WON_BACK
        return FIRST_TIME if orders == 1 else ACTIVE

    def next_border_ms(self, order_ms: int, as_of_ms: int) -> int:
        """Find the next moment after `as_of_ms` at which silence alone changes the stage.

        `NO_TIME` when none does.
        """
        if order_ms + self._active_ms > as_of_ms:
            return order_ms + self._active_ms
        if order_ms + self._inactive_ms > as_of_ms:
            return order_ms + self._inactive_ms
        return NO_TIME


def comes_back(order_ms: int, time_ms: int, config: SegmentConfig) -> bool:
    """Tell whether an order at `time_ms` wins back a customer whose last one was at `order_ms`.

    Examples
    --------
    >>> comes_back(0, days_ms(90), SegmentConfig())
    True
    """
    return (time_ms - order_ms) / DAY_MS >= config.active_days
