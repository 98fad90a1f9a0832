"""What is due when, in event time: one live entry a customer.

A timer here is a promise to look at a customer no later than a moment. Asking for a later moment
than the one that stands changes nothing: the entry fires early, its owner sees that nothing is due,
and asks again. That makes the common case, a click that pushes the end of the session back, free.
Entries that were overtaken by an earlier one stay where they are and are skipped when they surface.
Ties go by customer, so the order never depends on insertion.

Entries lie in buckets, by the day and, once that day has begun, by slots of ten minutes; a slot is sorted
when it is reached. A heap of all entries gives the same order, but compares some twenty of them, as
objects, for each that goes in or out. A slot is shorter than a session's gap, so that what is asked at each
click seldom falls into the one that is open, where it has to be put in its place.

References
----------
Brown, Calendar queues: a fast O(1) priority queue implementation, CACM 31 (1988), doi 10.1145/63039.63045.
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Iterable
from heapq import heappop, heappush
from typing import Final

_SLOT_MS: Final = 600_000
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
        "_at",
        "_day",
        "_day_order",
        "_days",
        "_entries",
        "_live",
        "_open",
        "_slot",
        "_slot_order",
        "_slots",
    )  # fmt: skip

    def __init__(self) -> None:
        self._live: dict[str, int] = {}
        self._clear()

    def _clear(self) -> None:
        self._entries = 0  # in all, live or overtaken
        # Of the slot that is open, and of any before it: sorted, from `_at` on.
        self._open: list[tuple[int, str]] = []
        self._at = 0
        self._slot = _NEVER  # the newest that was opened
        self._slots: dict[int, list[tuple[int, str]]] = {}  # of days that were opened
        self._slot_order: list[int] = []  # a heap
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
        slot = due_ms // _SLOT_MS
        self._entries += 1
        if day > self._day:
            if day in self._days:
                self._days[day].append(entry)
            else:
                self._days[day] = [entry]
                heappush(self._day_order, day)
        elif slot > self._slot:
            if slot in self._slots:
                self._slots[slot].append(entry)
            else:
                self._slots[slot] = [entry]
                heappush(self._slot_order, slot)
        else:
            insort(self._open, entry, self._at)

    def _turn(self, until_ms: int) -> bool:
        """Open the next slot or day, the open slot being spent; False when none begins by `until_ms`."""
        if self._slot_order and self._slot_order[0] * _SLOT_MS <= until_ms:
            slot = heappop(self._slot_order)
            opened = self._slots.pop(slot)
            opened.sort()
            self._slot, self._open, self._at = slot, opened, 0
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
