"""Which record is next, when a partition has several inputs.

Each input keeps its own order; between inputs the earliest head goes first, ties by the order of the
inputs. A head may only be taken while every other input either has a record buffered as well or is
known to have no more for now: otherwise, reading two topics from their beginning, one would run
months ahead of the other. This is what Kafka Streams does inside a task.

References
----------
KIP-353 (improve Kafka Streams timestamp synchronization) and KIP-695 (further improvements).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, Generic, TypeVar

from librt.vecs import append, vec
from mypy_extensions import i64

Record = TypeVar("Record")

_MOST_TAKEN: Final = 1024
"""Places of records already taken, before they are given back: a list gives back from its end only."""


class _Buffer(Generic[Record]):
    """Records of one input in their order; `head` is the place of the next."""

    __slots__ = ("caught_up", "head", "records", "times")

    def __init__(self) -> None:
        self.times: vec[i64] = vec[i64]()
        self.records: list[Record] = []
        self.head = 0
        self.caught_up = False

    def take(self) -> Record:
        head = self.head
        record = self.records[head]
        self.head = head = head + 1
        if head == len(self.times) or head == _MOST_TAKEN:
            self.times = self.times[head:]
            del self.records[:head]
            self.head = 0
        return record


class Merge(Generic[Record]):
    """A merge by event time over a fixed number of inputs.

    Parameters
    ----------
    inputs
        How many inputs; they are named by their number from 0.

    Examples
    --------
    >>> merge = Merge[str](inputs=2)
    >>> merge.push(0, 10, "click")
    >>> merge.push(0, 30, "click later")
    >>> list(merge.ready())
    []
    >>> merge.push(1, 20, "order")
    >>> list(merge.ready())
    [(0, 'click'), (1, 'order')]
    >>> merge.caught_up(1)
    >>> list(merge.ready())
    [(0, 'click later')]
    """

    __slots__ = ("_buffers",)

    def __init__(self, inputs: int) -> None:
        self._buffers: list[_Buffer[Record]] = [_Buffer() for _ in range(inputs)]

    def __len__(self) -> int:
        """Count the buffered records."""
        return sum(len(buffer.times) - buffer.head for buffer in self._buffers)

    def push(self, source: int, time_ms: int, record: Record) -> None:
        """Append a record to an input."""
        buffer = self._buffers[source]
        buffer.times = append(buffer.times, time_ms)
        buffer.records.append(record)
        buffer.caught_up = False

    def caught_up(self, source: int) -> None:
        """Say that the input has no more for now; its next record takes that back."""
        self._buffers[source].caught_up = True

    def waiting_for(self) -> list[int]:
        """Name the inputs that hold the others up: empty, and not known to have no more."""
        return [
            source
            for source, buffer in enumerate(self._buffers)
            if len(buffer.times) == 0 and not buffer.caught_up
        ]

    def next_source(self) -> int:
        """Tell which input is next; -1 when an input holds the others up, or all are empty."""
        earliest: i64 = 0
        found = -1
        for source in range(len(self._buffers)):
            buffer = self._buffers[source]
            if len(buffer.times) > 0:
                time_ms = buffer.times[buffer.head]
                if found < 0 or time_ms < earliest:
                    earliest, found = time_ms, source
            elif not buffer.caught_up:
                return -1
        return found

    def ahead(self, most: int) -> list[Record]:
        """List records that are next, so many of an input at most; those of one input in its order.

        Examples
        --------
        >>> merge = Merge[str](inputs=2)
        >>> for time_ms in range(4):
        ...     merge.push(0, time_ms, f"click {time_ms}")
        >>> merge.push(1, 1, "order")
        >>> merge.push(1, 3, "order later")
        >>> merge.ahead(2)
        ['click 0', 'click 1', 'order']
        """
        until_ms: i64 = -1  # where the first of the longer inputs is cut
        for buffer in self._buffers:
            end = buffer.head + most
            if end < len(buffer.times) and (until_ms < 0 or buffer.times[end - 1] < until_ms):
                until_ms = buffer.times[end - 1]
        found: list[Record] = []
        for buffer in self._buffers:
            for place in range(buffer.head, min(buffer.head + most, len(buffer.times))):
                if 0 <= until_ms < buffer.times[place]:
                    break
                found.append(buffer.records[place])
        return found

    def next_ms(self, source: int) -> int:
        """Tell the event time of the record that is next; `source` is what `next_source` has just said."""
        buffer = self._buffers[source]
        return int(buffer.times[buffer.head])

    def take(self, source: int) -> Record:
        """Take the record that is next; `source` is what `next_source` has just said."""
        return self._buffers[source].take()

    def ready(self) -> Iterator[tuple[int, Record]]:
        """Take records in order until one input holds the others up or all are empty."""
        while (source := self.next_source()) >= 0:
            yield source, self.take(source)
