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

from collections import deque
from collections.abc import Iterator
from typing import Generic, TypeVar

Record = TypeVar("Record")


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

    __slots__ = ("_buffers", "_caught_up")

    def __init__(self, inputs: int) -> None:
        self._buffers: tuple[deque[tuple[int, Record]], ...] = tuple(deque() for _ in range(inputs))
        self._caught_up = [False] * inputs

    def __len__(self) -> int:
        """Count the buffered records."""
        return sum(len(buffer) for buffer in self._buffers)

    def push(self, source: int, time_ms: int, record: Record) -> None:
        """Append a record to an input."""
        self._buffers[source].append((time_ms, record))
        self._caught_up[source] = False

    def caught_up(self, source: int) -> None:
        """Say that the input has no more for now; its next record takes that back."""
        self._caught_up[source] = True

    def waiting_for(self) -> list[int]:
        """Name the inputs that hold the others up: empty, and not known to have no more."""
        return [
            source
            for source, buffer in enumerate(self._buffers)
            if not buffer and not self._caught_up[source]
        ]

    def ready(self) -> Iterator[tuple[int, Record]]:
        """Take records in order until one input holds the others up or all are empty."""
        buffers = self._buffers
        while not self.waiting_for():
            heads = [(buffer[0][0], source) for source, buffer in enumerate(buffers) if buffer]
            if not heads:
                return
            _, source = min(heads)
            if len(heads) == 1:
                # Nobody to compare with: the whole run may go, as long as it stays the only one.
                buffer = buffers[source]
                while buffer:
                    yield source, buffer.popleft()[1]
                    if len(self) != len(buffer):
                        break
            else:
                yield source, buffers[source].popleft()[1]
