"""Sums for each day of event time, whatever the order in which their parts come.

A level, such as the number of customers in a segment and what they are worth, is kept as changes: a part
that holds from one day to another is added on the first and taken off on the last. A flow, such as the alerts
of a day, is added to its day alone. When a day closes, its changes go into the levels. Parts of different
customers may therefore come in any order between two closings. Parts are whole numbers (money in millionths),
so sums are exact: no order of adding can be told from another.

A level has four numbers, because those of a segment change together: a replay changes two of them with each
score, and looking them up is what that costs. Most levels use the first number alone.

A part for a day that has been closed goes to the first day that is open.
"""

from __future__ import annotations

from collections.abc import Hashable

Key = Hashable


class Level:
    """Four sums under one key: of a segment its customers, and what they brought, will bring and may not.

    Examples
    --------
    >>> level = Level()
    >>> level.add(1, 500, 300, 0)
    >>> level.add(1, 100, 0, 0)
    >>> level.count, level.historic, level.is_nothing
    (2, 600, False)
    """

    __slots__ = ("at_risk", "count", "historic", "predicted")

    def __init__(self) -> None:
        self.count = 0
        self.historic = 0
        self.predicted = 0
        self.at_risk = 0

    def add(self, count: int, historic: int, predicted: int, at_risk: int) -> None:
        """Add to each."""
        self.count += count
        self.historic += historic
        self.predicted += predicted
        self.at_risk += at_risk

    @property
    def is_nothing(self) -> bool:
        """Whether all four are 0."""
        return not (self.count or self.historic or self.predicted or self.at_risk)


_NOTHING = Level()


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
    >>> days.close(), days.close(), days.level("customers").count
    ({}, {'orders': 5}, 3)
    >>> days.close(), days.level("customers").count, days.open_day
    ({}, 0, 13)
    """

    def __init__(self, first: int, resumed: bool = False) -> None:
        self.open_day = first
        self._closed = resumed
        self._told = first if resumed else 0
        self._levels: dict[Key, Level] = {}
        self._changes: dict[int, dict[Key, Level]] = {}
        self._flows: dict[int, dict[Key, int]] = {}

    def reach(self, day: int) -> None:
        """Begin earlier, as long as no day has been closed."""
        if not self._closed and day < self.open_day:
            self.open_day = day

    def hold(
        self,
        first: int,
        end: int | None,
        key: Key,
        count: int,
        historic: int = 0,
        predicted: int = 0,
        at_risk: int = 0,
    ) -> None:
        """Let a level be higher by these at the ends of the days from `first` on and before `end`."""
        if not (count or historic or predicted or at_risk):
            return
        if first < self.open_day:
            first = self.open_day
        if end is None:
            self._change(first, key, count, historic, predicted, at_risk)
        elif end > first:
            self._change(first, key, count, historic, predicted, at_risk)
            self._change(end, key, -count, -historic, -predicted, -at_risk)

    def _change(self, day: int, key: Key, count: int, historic: int, predicted: int, at_risk: int) -> None:
        changes = self._changes.get(day)
        if changes is None:
            changes = self._changes[day] = {}
        change = changes.get(key)
        if change is None:
            change = changes[key] = Level()
        change.add(count, historic, predicted, at_risk)

    def flow(self, day: int, key: Key, amount: int) -> None:
        """Add to what happened on a day."""
        if not amount or day < self._told:
            return
        day = max(day, self.open_day)
        sums = self._flows.get(day)
        if sums is None:
            sums = self._flows[day] = {}
        sums[key] = sums.get(key, 0) + amount

    def close(self) -> dict[Key, int]:
        """Close the first open day: its changes go into the levels, and what happened on it is returned."""
        for key, change in self._changes.pop(self.open_day, {}).items():
            level = self._levels.get(key)
            if level is None:
                level = self._levels[key] = Level()
            level.add(change.count, change.historic, change.predicted, change.at_risk)
            if level.is_nothing:
                del self._levels[key]
        flows = self._flows.pop(self.open_day, {})
        self.open_day += 1
        self._closed = True
        return flows

    def held(self) -> list[Key]:
        """List the levels that are not 0."""
        return list(self._levels)

    def level(self, key: Key) -> Level:
        """Give a level as of the end of the day that was closed last."""
        return self._levels.get(key, _NOTHING)
