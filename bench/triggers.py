"""Which record made an alert due: the start of its latency.

An alert is said for a customer as of an event time E, and it becomes true when event time has come so far.
That is known only by records. In the order of event time, in which a partition is processed, it is the
first of

- a record of the customer's own at E itself: an order that resolves an episode,
- a record of the customer's own after E: what was due before it happens before it is applied,
- any record of the partition at E + allowed lateness + 1 ms or later: it moves the watermark to E.

Before that record the alert could not have been raised by anybody; from when it was sent, every millisecond
is ours and the broker's: fetching, the wait for the other input of the merge, processing, sealing that
stands in the way, and the way to the consumer.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence


class Triggers:
    """The records of one partition, both inputs, by event time.

    Parameters
    ----------
    lateness_ms
        The setting `time.allowed_lateness_seconds`.

    Examples
    --------
    >>> triggers = Triggers(lateness_ms=60)
    >>> for time_ms, customer_id in ((0, "a"), (50, "b"), (111, "b"), (200, "a")):
    ...     triggers.add(time_ms, customer_id)
    >>> triggers.of("a", 50), triggers.of("a", 150), triggers.of("b", 111), triggers.of("a", 300)
    (2, 3, 2, None)
    """

    def __init__(self, lateness_ms: int) -> None:
        self._distance_ms = lateness_ms + 1
        self._times: list[int] = []
        self._own: dict[str, list[int]] = {}

    def add(self, time_ms: int, customer_id: str) -> None:
        """Add the next record; they come in the order of event time."""
        if self._times and time_ms < self._times[-1]:
            raise ValueError("records must come in the order of event time")
        self._own.setdefault(customer_id, []).append(len(self._times))
        self._times.append(time_ms)

    def of(self, customer_id: str, as_of_ms: int) -> int | None:
        """Give the place, in the order of `add`, of the record that made an alert due; None without one."""
        times = self._times
        watermark = bisect_left(times, as_of_ms + self._distance_ms)
        own: Sequence[int] = self._own.get(customer_id, ())
        next_own = bisect_left(own, as_of_ms, key=times.__getitem__)
        found = min([watermark, *own[next_own : next_own + 1]])
        return found if found < len(times) else None
