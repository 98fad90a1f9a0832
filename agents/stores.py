"""Where the states of a partition are kept, and how far a store on disk can be trusted.

The changelog is the truth; a store is a copy of it that answers quickly. The one in memory is a
dictionary, empty at each start. The one on disk (`agents.rocksdb_store`) holds more customers than fit
in memory and survives a restart: it remembers the position in the changelog that it stands for, and
recovery reads only what came after. A store never stands ahead of the changelog: it is written when an
epoch's marker is acknowledged.

A machine changes the states that it was handed in place. Both kinds therefore hand out the same object
for a customer until the next flush, and a flush is told which of them changed.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Iterator, MutableMapping
from itertools import islice
from typing import NamedTuple

from agents.errors import OperatorError
from agents.settings import Settings
from streams.customer.state import CustomerState


class Position(NamedTuple):
    """What a store stands for.

    Attributes
    ----------
    sequence
        Number of the epoch.
    offset
        An offset of the changelog at or before that epoch's marker, and behind every epoch before it:
        reading from here finds the marker and everything newer. Negative when the broker did not say.
    """

    sequence: int
    offset: int


class Change(NamedTuple):
    """One record of the changelog, read; a tombstone has neither value nor state."""

    customer_id: str
    value: bytes | None
    state: CustomerState | None


class StoreDamaged(Exception):  # noqa: N818 - a state of the world, named after it
    """A store cannot read what it once wrote, or cannot write."""


class StateStore(MutableMapping[str, CustomerState]):
    """The states of one partition, by customer."""

    @property
    @abstractmethod
    def position(self) -> Position | None:
        """Where the changelog has to be read from; None for all of it, into a wiped store."""

    @abstractmethod
    def wipe(self) -> None:
        """Begin anew with nothing."""

    @abstractmethod
    def restore(self, changes: Iterable[Change]) -> None:
        """Take over what the changelog says, in its order."""

    @abstractmethod
    def flush(self, dirty: Iterable[str], position: Position) -> None:
        """Make an epoch durable here too, all of it or nothing.

        Parameters
        ----------
        dirty
            Customers whose state was made, changed or erased since the last flush.
        position
            What the store stands for then; the changelog has acknowledged it.
        """

    @abstractmethod
    def dues(self) -> Iterator[tuple[str, int]]:
        """Give each customer's `due_ms`."""

    def look_through(self, most: int) -> Iterator[list[CustomerState]]:
        """Give all states, so many at a time; for looking only, while others go on changing them."""
        customers = iter(list(self))
        while some := list(islice(customers, most)):
            yield [state for customer_id in some if (state := self.get(customer_id)) is not None]

    @abstractmethod
    def close(self) -> None:
        """Let go; what was not flushed is forgotten."""


class MemoryStore(dict[str, CustomerState], StateStore):
    """A dictionary: nothing is kept over a restart.

    Examples
    --------
    >>> from streams.customer.state import new_state
    >>> store = MemoryStore()
    >>> store.restore([Change("a", b"", new_state(1, 2)), Change("b", None, None)])
    >>> list(store.dues()), store.position
    ([('a', 0)], None)
    """

    position = None

    def wipe(self) -> None:
        """Forget everything."""
        self.clear()

    def restore(self, changes: Iterable[Change]) -> None:
        """Keep the latest state of each customer."""
        for customer_id, _, state in changes:
            if state is None:
                self.pop(customer_id, None)
            else:
                self[customer_id] = state

    def flush(self, dirty: Iterable[str], position: Position) -> None:
        """Do nothing: there is nowhere else to write to."""

    def dues(self) -> Iterator[tuple[str, int]]:
        """Give each customer's `due_ms`."""
        return ((customer_id, state.verdict.due_ms) for customer_id, state in self.items())

    def close(self) -> None:
        """Forget everything."""
        self.clear()


async def open_store(settings: Settings, changelog: str, partition: int) -> StateStore:
    """Open the store that `worker.store` asks for.

    Parameters
    ----------
    changelog
        Real name of the topic that it is a copy of.

    Raises
    ------
    OperatorError
        When the package for it is not installed, or its folder cannot be used.
    """
    if settings.worker.store == "memory":
        return MemoryStore()
    try:
        from agents.rocksdb_store import open_rocksdb
    except ImportError:
        raise OperatorError(
            "worker.store is rocksdb and rocksdict is not installed; pip install 'holdfast[rocksdb]'"
        ) from None
    return await open_rocksdb(settings, changelog, partition)
