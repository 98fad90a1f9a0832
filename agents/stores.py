"""Where the states of a partition are kept, and how far a store on disk can be trusted.

The changelog is the truth; a store is a copy of it that answers quickly. The one in memory is empty at
each start. The one on disk (`agents.rocksdb_store`) holds more customers than fit
in memory and survives a restart: it remembers the position in the changelog that it stands for, and
recovery reads only what came after. A store never stands ahead of the changelog: it is written when an
epoch's marker is acknowledged.

An epoch closes before it is durable: records go on being processed while the changelog acknowledges it. So
a store is told twice: at the border what the epoch has changed, in the bytes that the changelog gets, and
to flush once those are acknowledged. One epoch is on its way at a time. A machine changes the states that it
was handed in place and holds on to none; until the next border or flush, a store hands out the same object.
"""

from __future__ import annotations

from abc import abstractmethod
from collections import OrderedDict
from collections.abc import Iterable, Iterator, MutableMapping
from itertools import islice
from typing import Any, NamedTuple

from agents.errors import OperatorError
from agents.settings import Settings
from agents.transport import OutputRecord
from streams.customer.state import CustomerState
from streams.customer.state_codec import decode_state, encode_state


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


class VisitorChange(NamedTuple):
    """What became of a visitor (`streams.identity`); no value for one who is gone."""

    anonymous_id: str
    value: bytes | None


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
    def restore_visitors(self, changes: Iterable[VisitorChange]) -> None:
        """Take over what the changelog says of visitors, in its order."""

    @abstractmethod
    def visitors(self) -> dict[str, bytes]:
        """Give the visitors that were restored or flushed, as they are on the wire; to be asked once."""

    @abstractmethod
    def border(
        self,
        changed: Iterable[OutputRecord],
        erased: Iterable[OutputRecord],
        visitors: Iterable[VisitorChange] = (),
    ) -> None:
        """Close an epoch: what is changed from here on belongs to the next one.

        Parameters
        ----------
        changed, erased
            Records of the changelog for all customers whose state was made or changed, or erased, since the
            border before. No epoch may be closed and not flushed yet.
        visitors
            Those who changed. They are few and live in memory, so a store has them for the next start only.
        """

    @abstractmethod
    def flush(self, position: Position) -> None:
        """Make the epoch that was closed durable here too, all of it or nothing.

        Parameters
        ----------
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


DUE_BYTES = 8


def with_due(state: CustomerState, value: bytes) -> bytes:
    """Put a state's `due_ms` before its wire form, where it can be read without decoding the rest."""
    return state.verdict.due_ms.to_bytes(DUE_BYTES, "big") + value


def due_of(kept: bytes) -> int:
    """Read what `with_due` put there."""
    return int.from_bytes(kept[:DUE_BYTES], "big")


class MemoryStore(StateStore):
    """A store in memory only: nothing is kept over a restart.

    Most customers are silent most of the time, and a state at work is several times as large as its wire
    form. So only those of the epochs under way, and some that were changed lately, are objects; the others
    are bytes. What an epoch changed may become bytes before it is durable: nothing here outlives the process.

    Parameters
    ----------
    cached
        Customers that stay objects after a flush.

    Examples
    --------
    >>> from streams.customer.state import new_state
    >>> from streams.customer.state_codec import encode_state
    >>> store = MemoryStore()
    >>> state = new_state(1, 2)
    >>> store.restore([Change("a", encode_state(state), state), Change("b", None, None)])
    >>> list(store.dues()), store.position, store["a"] == state
    ([('a', 0)], None, True)
    """

    position = None

    def __init__(self, cached: int = 0) -> None:
        self._most = cached
        # Who was changed last at the end, once room is short.
        self._ready: OrderedDict[str, CustomerState] = OrderedDict()
        self.at_hand = self._ready
        """Those who are objects. A machine keeps this very dictionary and looks here first."""
        self._kept: dict[str, bytes] = {}
        self._visitors: dict[str, bytes] = {}

    def wipe(self) -> None:
        """Forget everything."""
        self._ready.clear()
        self._kept, self._visitors = {}, {}

    close = wipe

    def restore(self, changes: Iterable[Change]) -> None:
        """Keep the latest state of each customer."""
        for customer_id, value, state in changes:
            if state is None or value is None:
                self._kept.pop(customer_id, None)
            else:
                self._kept[customer_id] = with_due(state, value)

    def restore_visitors(self, changes: Iterable[VisitorChange]) -> None:
        """Keep the latest of each visitor."""
        for anonymous_id, value in changes:
            if value is None:
                self._visitors.pop(anonymous_id, None)
            else:
                self._visitors[anonymous_id] = value

    def visitors(self) -> dict[str, bytes]:
        """Hand over the visitors that were restored."""
        visitors, self._visitors = self._visitors, {}
        return visitors

    def border(
        self,
        changed: Iterable[OutputRecord],
        erased: Iterable[OutputRecord],  # noqa: ARG002
        visitors: Iterable[VisitorChange] = (),  # noqa: ARG002
    ) -> None:
        """Remember who was changed lately, from half full on: before, nobody will have to make room soon."""
        if 2 * len(self._ready) <= self._most:
            return
        for key, _, _ in changed:
            name = "" if key is None else key.decode()
            if name in self._ready:  # who was written ahead may have become bytes since
                self._ready.move_to_end(name)

    def flush(self, position: Position) -> None:  # noqa: ARG002 - there is nothing to write
        """Let those that were not changed for longest become bytes."""
        ready = self._ready
        while len(ready) > self._most:
            customer_id, state = ready.popitem(last=False)
            self._kept[customer_id] = with_due(state, encode_state(state))

    def dues(self) -> Iterator[tuple[str, int]]:
        """Give each customer's `due_ms`."""
        yield from ((customer_id, state.verdict.due_ms) for customer_id, state in self._ready.items())
        yield from ((customer_id, due_of(kept)) for customer_id, kept in self._kept.items())

    def look_through(self, most: int) -> Iterator[list[CustomerState]]:
        """Give all states, so many at a time; who was bytes stays bytes."""
        customers = iter(list(self))
        while some := list(islice(customers, most)):
            yield [state for customer_id in some if (state := self._look_at(customer_id)) is not None]

    def _look_at(self, customer_id: str) -> CustomerState | None:
        state = self._ready.get(customer_id)
        if state is None and (kept := self._kept.get(customer_id)) is not None:
            state = decode_state(kept[DUE_BYTES:])
        return state

    # The mapping

    def get(self, customer_id: str, default: Any = None) -> Any:
        """Look a customer up."""
        state = self._ready.get(customer_id)
        if state is None:
            kept = self._kept.pop(customer_id, None)
            if kept is None:
                return default
            self._ready[customer_id] = state = decode_state(kept[DUE_BYTES:])
        return state

    def __getitem__(self, customer_id: str) -> CustomerState:
        state: CustomerState | None = self.get(customer_id)
        if state is None:
            raise KeyError(customer_id)
        return state

    def __setitem__(self, customer_id: str, state: CustomerState) -> None:
        self._kept.pop(customer_id, None)
        self._ready[customer_id] = state

    def __delitem__(self, customer_id: str) -> None:
        if self._ready.pop(customer_id, None) is None and self._kept.pop(customer_id, None) is None:
            raise KeyError(customer_id)

    def __contains__(self, customer_id: object) -> bool:
        return customer_id in self._ready or customer_id in self._kept

    def __iter__(self) -> Iterator[str]:
        # A list, as looking at a customer moves it from one to another.
        return iter([*self._ready, *self._kept])

    def __len__(self) -> int:
        return len(self._ready) + len(self._kept)


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
        return MemoryStore(settings.worker.store_cached_customers)
    try:
        from agents.rocksdb_store import open_rocksdb
    except ImportError:
        raise OperatorError(
            "worker.store is rocksdb and rocksdict is not installed; pip install 'holdfast[rocksdb]'"
        ) from None
    return await open_rocksdb(settings, changelog, partition)
