"""Sums for each day of event time, whatever the order in which their parts come.

A level, such as the number of customers in a segment, is kept as changes: a part that holds from one day to
another is added on the first and taken off on the last. A flow, such as the alerts of a day, is added to
its day alone. When a day closes, its changes go into the levels. Parts of different customers may therefore
come in any order between two closings. Parts are whole numbers (money in millionths), so sums are exact: no
order of adding can be told from another.

A part for a day that has been closed goes to the first day that is open.
"""

from __future__ import annotations

from collections.abc import Hashable

Key = Hashable


class Days:
    """Levels and flows of the days that are open.

    Parameters
    ----------
    first
        The first day that is open.
    resumed
        Whether the days before it have been told by somebody who was here before: what happened on them is
        of no interest any more, only what they left behind.

    Examples
    --------
    >>> days = Days(first=10)
    >>> days.hold(10, 12, "customers", 3)
    >>> days.flow(11, "orders", 5)
    >>> days.close(), days.close(), days.level("customers")
    ({}, {'orders': 5}, 3)
    >>> days.close(), days.level("customers"), days.open_day
    ({}, 0, 13)
    """

    def __init__(self, first: int, resumed: bool = False) -> None:
        self.open_day = first
        self._closed = resumed
        self._told = first if resumed else 0
        self._levels: dict[Key, int] = {}
        self._changes: dict[int, dict[Key, int]] = {}
        self._flows: dict[int, dict[Key, int]] = {}

    def reach(self, day: int) -> None:
        """Begin earlier, as long as no day has been closed."""
        if not self._closed:
            self.open_day = min(self.open_day, day)

    def hold(self, first: int, end: int | None, key: Key, amount: int) -> None:
        """Let a level be higher by `amount` at the ends of the days from `first` on and before `end`."""
        first = max(first, self.open_day)
        if amount and (end is None or end > first):
            _add(self._changes, first, key, amount)
            if end is not None:
                _add(self._changes, end, key, -amount)

    def flow(self, day: int, key: Key, amount: int) -> None:
        """Add to what happened on a day."""
        if amount and day >= self._told:
            _add(self._flows, max(day, self.open_day), key, amount)

    def close(self) -> dict[Key, int]:
        """Close the first open day: its changes go into the levels, and what happened on it is returned."""
        for key, amount in self._changes.pop(self.open_day, {}).items():
            level = self._levels.get(key, 0) + amount
            if level:
                self._levels[key] = level
            else:
                self._levels.pop(key, None)
        flows = self._flows.pop(self.open_day, {})
        self.open_day += 1
        self._closed = True
        return flows

    def held(self) -> list[Key]:
        """List the levels that are not 0."""
        return list(self._levels)

    def level(self, key: Key) -> int:
        """Give a level as of the end of the day that was closed last."""
        return self._levels.get(key, 0)


def _add(days: dict[int, dict[Key, int]], day: int, key: Key, amount: int) -> None:
    sums = days.setdefault(day, {})
    sums[key] = sums.get(key, 0) + amount
