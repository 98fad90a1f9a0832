"""What is due when, in event time: one live entry a customer.

A timer here is a promise to look at a customer no later than a moment. Asking for a later moment
than the one that stands changes nothing: the entry fires early, its owner sees that nothing is due,
and asks again. That makes the common case, a click that pushes the end of the session back, free.
Entries that were overtaken by an earlier one stay in the heap and are skipped when they surface.
Ties go by customer, so the order never depends on insertion.
"""

from __future__ import annotations

from collections.abc import Iterable
from heapq import heapify, heappop, heappush


class Timers:
    """A heap of (due, customer) with one live entry a customer.

    Examples
    --------
    >>> timers = Timers()
    >>> timers.ask("b", 20)
    >>> timers.ask("a", 10)
    >>> timers.ask("a", 15)
    >>> timers.pop(20), timers.pop(20), timers.pop(20)
    ((10, 'a'), (20, 'b'), None)
    """

    __slots__ = ("_heap", "_live")

    def __init__(self) -> None:
        self._heap: list[tuple[int, str]] = []
        self._live: dict[str, int] = {}

    def __len__(self) -> int:
        """Count the customers with an entry."""
        return len(self._live)

    def ask(self, customer_id: str, due_ms: int) -> None:
        """Ask for a look at the customer no later than `due_ms`."""
        live_ms = self._live.get(customer_id)
        if live_ms is None or due_ms < live_ms:
            self._live[customer_id] = due_ms
            heappush(self._heap, (due_ms, customer_id))
            if len(self._heap) > 2 * len(self._live) + 1024:
                self._compact()

    def begin(self, dues: Iterable[tuple[str, int]]) -> None:
        """Begin anew with one (customer, due) each: one pass, where asking one by one sorts as it goes.

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

    def next_ms(self) -> int | None:
        """Tell when the earliest entry is due; it may turn out to have been overtaken."""
        return self._heap[0][0] if self._heap else None

    def pop(self, until_ms: int) -> tuple[int, str] | None:
        """Remove and return the earliest live entry due at or before `until_ms`, if there is one."""
        heap, live = self._heap, self._live
        while heap and heap[0][0] <= until_ms:
            entry = heappop(heap)
            due_ms, customer_id = entry
            if live.get(customer_id) == due_ms:
                del live[customer_id]
                return entry
        return None

    def forget(self, customer_id: str) -> None:
        """Drop the customer's entry."""
        self._live.pop(customer_id, None)

    def _compact(self) -> None:
        """Drop overtaken entries, so that the heap stays in proportion to the customers."""
        self._heap = [(due_ms, customer_id) for customer_id, due_ms in self._live.items()]
        heapify(self._heap)
