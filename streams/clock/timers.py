"""What is due when, in event time: one live entry a customer.

A timer here is a promise to look at a customer no later than a moment. Asking for a later moment
than the one that stands changes nothing: the entry fires early, its owner sees that nothing is due,
and asks again. That makes the common case, a click that pushes the end of the session back, free.
Entries that were overtaken by an earlier one stay where they are and are skipped when they surface.
Ties go by customer, so the order never depends on insertion.

Entries lie in buckets, by the day and, once that day has begun, by the minute; a minute is sorted when
it is reached. A heap of all entries gives the same order, but compares some twenty of them, as objects,
for each that goes in or out.

References
----------
Brown, Calendar queues: a fast O(1) priority queue implementation, CACM 31 (1988), doi 10.1145/63039.63045.
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Iterable
from heapq import heappop, heappush
from typing import Final

_MINUTE_MS: Final = 60_000
_DAY_MS: Final = 86_400_000
_NEVER: Final = -(1 << 60)


class Timers:
    """Entries (due, customer) in order, with one live entry a customer.

    Examples
    --------
    >>> timers = Timers()
    >>> timers.ask("b", 20)
    >>> timers.ask("a", 10)
    >>> timers.ask("a", 15)
    >>> timers.pop(20), timers.pop(20), timers.pop(20)
    ((10, 'a'), (20, 'b'), None)
    """

    __slots__ = (
        "_at", "_day", "_day_order", "_days", "_entries", "_live", "_minute", "_minute_order", "_minutes",
        "_open",
    )  # fmt: skip

    def __init__(self) -> None:
        self._live: dict[str, int] = {}
        self._clear()

    def _clear(self) -> None:
        self._entries = 0  # in all, live or overtaken
        # Of the minute that is open, and of any before it: sorted, from `_at` on.
        self._open: list[tuple[int, str]] = []
        self._at = 0
        self._minute = _NEVER  # the newest that was opened
        self._minutes: dict[int, list[tuple[int, str]]] = {}  # of days that were opened
        self._minute_order: list[int] = []  # a heap
        self._day = _NEVER
        self._days: dict[int, list[tuple[int, str]]] = {}
        self._day_order: list[int] = []

    def __len__(self) -> int:
        """Count the customers with an entry."""
        return len(self._live)

    def ask(self, customer_id: str, due_ms: int) -> None:
        """Ask for a look at the customer no later than `due_ms`."""
        live_ms = self._live.get(customer_id)
        if live_ms is None or due_ms < live_ms:
            self._live[customer_id] = due_ms
            self._put((due_ms, customer_id))
            if self._entries > 2 * len(self._live) + 1024:
                self._compact()

    def begin(self, dues: Iterable[tuple[str, int]]) -> None:
        """Begin anew with one (customer, due) each.

        Examples
        --------
        >>> timers = Timers()
        >>> timers.begin([("b", 20), ("a", 10)])
        >>> timers.pop(20), len(timers)
        ((10, 'a'), 1)
        """
        self._live = dict(dues)
        self._compact()

    def of(self, customer_id: str) -> int | None:
        """Tell when the customer's entry is due, if there is one."""
        return self._live.get(customer_id)

    def is_due(self, until_ms: int) -> bool:
        """Tell whether an entry is due by `until_ms`; it may turn out to have been overtaken."""
        while self._at >= len(self._open):
            if not self._turn(until_ms):
                return False
        return self._open[self._at][0] <= until_ms

    def pop(self, until_ms: int) -> tuple[int, str] | None:
        """Remove and return the earliest live entry due at or before `until_ms`, if there is one."""
        live = self._live
        while True:
            opened = self._open
            while self._at < len(opened):
                entry = opened[self._at]
                due_ms, customer_id = entry
                if due_ms > until_ms:
                    return None
                self._at += 1
                self._entries -= 1
                if live.get(customer_id) == due_ms:
                    del live[customer_id]
                    return entry
            if not self._turn(until_ms):
                return None

    def forget(self, customer_id: str) -> None:
        """Drop the customer's entry."""
        self._live.pop(customer_id, None)

    def _put(self, entry: tuple[int, str]) -> None:
        due_ms = entry[0]
        day = due_ms // _DAY_MS
        minute = due_ms // _MINUTE_MS
        self._entries += 1
        if day > self._day:
            if day in self._days:
                self._days[day].append(entry)
            else:
                self._days[day] = [entry]
                heappush(self._day_order, day)
        elif minute > self._minute:
            if minute in self._minutes:
                self._minutes[minute].append(entry)
            else:
                self._minutes[minute] = [entry]
                heappush(self._minute_order, minute)
        else:
            insort(self._open, entry, self._at)

    def _turn(self, until_ms: int) -> bool:
        """Open the next minute or day, the open minute being spent; False when none begins by `until_ms`."""
        if self._minute_order and self._minute_order[0] * _MINUTE_MS <= until_ms:
            minute = heappop(self._minute_order)
            opened = self._minutes.pop(minute)
            opened.sort()
            self._minute, self._open, self._at = minute, opened, 0
            return True
        # A day that was not opened comes after all minutes of those that were.
        if self._day_order and self._day_order[0] * _DAY_MS <= until_ms:
            self._day = heappop(self._day_order)
            entries = self._days.pop(self._day)
            self._entries -= len(entries)
            for entry in entries:
                if self._live.get(entry[1]) == entry[0]:
                    self._put(entry)
            return True
        return False

    def _compact(self) -> None:
        """Drop overtaken entries, so that what lies here stays in proportion to the customers."""
        self._clear()
        for customer_id, due_ms in self._live.items():
            self._put((due_ms, customer_id))
