"""What is due when, in event time: one live entry a customer.

A timer here is a promise to look at a customer no later than a moment. Asking for a later moment
than the one that stands changes nothing: the entry fires early, its owner sees that nothing is due,
and asks again. That makes the common case, a click that pushes the end of the session back, free.
Entries that were overtaken by an earlier one stay where they are, until they surface or their day is opened.
The newest of them is remembered: after a session's end a customer is mostly due at the old moment again, and
that entry is live again. Ties go by customer, so the order never depends on insertion.

A customer's timer is an object that whoever looks at the customer may keep: asking it costs no search, and an
entry knows from it whether it was overtaken.

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
_BEFORE_ALL: Final = -(1 << 60)
NOT_SET: Final = 1 << 60
"""Later than any moment: what a timer that is not set says."""


class Timer:
    """One customer's timer, and when it is set to.

    Attributes
    ----------
    customer_id
        Whose it is.
    due_ms
        `NOT_SET`, or the moment of the live entry. Only `Timers` sets it, and the next.
    overtaken_ms
        `NOT_SET`, or the moment of an entry that was overtaken and has not surfaced yet.
    """

    __slots__ = ("customer_id", "due_ms", "overtaken_ms")

    def __init__(self, customer_id: str, due_ms: int = NOT_SET) -> None:
        self.customer_id = customer_id
        self.due_ms = due_ms
        self.overtaken_ms = NOT_SET

    def __lt__(self, other: Timer) -> bool:
        return self.customer_id < other.customer_id


Entry = tuple[int, Timer]
"""When, and whose."""


class Timers:
    """Entries in order of time, with one live entry a customer.

    Examples
    --------
    >>> timers = Timers()
    >>> timers.ask("b", 20)
    >>> timers.ask("a", 10)
    >>> timers.ask("a", 15)
    >>> [(due_ms, timer.customer_id) for due_ms, timer in iter(lambda: timers.pop(20), None)]
    [(10, 'a'), (20, 'b')]
    """

    __slots__ = (
        "_at",
        "_day",
        "_day_order",
        "_days",
        "_entries",
        "_open",
        "_slot",
        "_slot_order",
        "_slots",
        "_timers",
    )  # fmt: skip

    def __init__(self) -> None:
        self._timers: dict[str, Timer] = {}
        self._clear()

    def _clear(self) -> None:
        self._entries = 0  # in all, live or overtaken
        # Of the slot that is open, and of any before it: sorted, from `_at` on.
        self._open: list[Entry] = []
        self._at = 0
        self._slot = _BEFORE_ALL  # the newest that was opened
        self._slots: dict[int, list[Entry]] = {}  # of days that were opened
        self._slot_order: list[int] = []  # a heap
        self._day = _BEFORE_ALL
        self._days: dict[int, list[Entry]] = {}
        self._day_order: list[int] = []

    def __len__(self) -> int:
        """Count the customers with a timer, set or not."""
        return len(self._timers)

    def of(self, customer_id: str) -> Timer:
        """Give the customer's timer, for whoever wants to keep it until the customer is forgotten."""
        timer = self._timers.get(customer_id)
        if timer is None:
            timer = self._timers[customer_id] = Timer(customer_id)
        return timer

    def ask(self, customer_id: str, due_ms: int) -> None:
        """Ask for a look at the customer no later than `due_ms`."""
        self.set(self.of(customer_id), due_ms)

    def set(self, timer: Timer, due_ms: int) -> None:
        """Ask the same of a timer."""
        before_ms = timer.due_ms
        if due_ms < before_ms:
            timer.due_ms = due_ms
            if due_ms == timer.overtaken_ms:
                timer.overtaken_ms = before_ms
                return
            if before_ms != NOT_SET:
                timer.overtaken_ms = before_ms
            self._put((due_ms, timer))
            if self._entries > 2 * len(self._timers) + 1024:
                self._compact()

    def begin(self, dues: Iterable[tuple[str, int]]) -> None:
        """Begin anew with one (customer, due) each; timers that somebody keeps are of no use any more.

        Examples
        --------
        >>> timers = Timers()
        >>> timers.begin([("b", 20), ("a", 10)])
        >>> timers.of("a").due_ms
        10
        """
        self._timers = {customer_id: Timer(customer_id, due_ms) for customer_id, due_ms in dues}
        self._compact()

    def is_due(self, until_ms: int) -> bool:
        """Tell whether an entry is due by `until_ms`; it may turn out to have been overtaken."""
        while self._at >= len(self._open):
            if not self._turn(until_ms):
                return False
        return self._open[self._at][0] <= until_ms

    def pop(self, until_ms: int) -> Entry | None:
        """Remove and return the earliest live entry due at or before `until_ms`, if there is one."""
        while True:
            opened = self._open
            while self._at < len(opened):
                entry = opened[self._at]
                due_ms, timer = entry
                if due_ms > until_ms:
                    return None
                self._at += 1
                self._entries -= 1
                if timer.due_ms == due_ms:
                    timer.due_ms = NOT_SET
                    return entry
                if timer.overtaken_ms == due_ms:
                    timer.overtaken_ms = NOT_SET
            if not self._turn(until_ms):
                return None

    def forget(self, customer_id: str) -> None:
        """Drop the customer's timer."""
        timer = self._timers.pop(customer_id, None)
        if timer is not None:
            timer.due_ms = timer.overtaken_ms = NOT_SET

    def _put(self, entry: Entry) -> None:
        due_ms = entry[0]
        self._entries += 1
        day = due_ms // _DAY_MS
        if day > self._day:
            entries = self._days.get(day)
            if entries is not None:
                entries.append(entry)
            else:
                self._days[day] = [entry]
                heappush(self._day_order, day)
            return
        slot = due_ms // _SLOT_MS
        if slot > self._slot:
            entries = self._slots.get(slot)
            if entries is not None:
                entries.append(entry)
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
                due_ms, timer = entry
                if timer.due_ms == due_ms or timer.overtaken_ms == due_ms:
                    self._put(entry)
            return True
        return False

    def _compact(self) -> None:
        """Drop overtaken entries, so that what lies here stays in proportion to the customers."""
        self._clear()
        for timer in self._timers.values():
            timer.overtaken_ms = NOT_SET
            if timer.due_ms != NOT_SET:
                self._put((timer.due_ms, timer))
