"""A partition's state after a restart: what the changelog says, and nothing that it does not.

The changelog is streamed into the store. A store that survived on disk needs only the tail, from the
marker that it stands for. Whether it fits is seen there: that marker, or a newer one, must be in the
tail, or else the log was cut or made anew and the store is wiped and rebuilt.

In the end there must be at least as many customers as the newest marker counted: an epoch that died
half-way may have added some, nothing takes any away. Fewer means that state is lost, and a worker that
went on would greet its oldest customers as new. A record that cannot be read stops it for the same
reason. Both name the place and never what stands there.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from contextlib import aclosing
from typing import Any

import msgspec

from agents.changelog import MARKER_KEY, LogReplaced, Marker, read_log, read_marker
from agents.errors import OperatorError
from agents.stores import Change, Position, StateStore, StoreDamaged, VisitorChange
from streams.customer.state_codec import decode_state
from streams.identity.visitor import VISITOR_KEY, decode_visitor

log = logging.getLogger(__name__)


class Recovered(msgspec.Struct):
    """Where a partition goes on from."""

    marker: Marker | None
    states: StateStore


class Recovery:
    """Reads one partition of a changelog into a store.

    Parameters
    ----------
    topic
        Its real name.
    connection
        What aiokafka needs to reach the cluster.
    options
        For `agents.changelog.read_log`.
    """

    def __init__(self, topic: str, partition: int, connection: dict[str, Any], **options: Any) -> None:
        self._topic = topic
        self._partition = partition
        self._connection = connection
        self._options = options
        self._place = f"{topic} partition {partition}"

    async def run(self, store: StateStore) -> Recovered:
        """Bring the store to the end of the changelog.

        Raises
        ------
        OperatorError
            When a record cannot be read, or customers are missing.
        TimeoutError
            When the broker falls silent.
        """
        if store.position is not None:
            try:
                return await self._read(store, store.position)
            except (_Misfit, LogReplaced, StoreDamaged) as error:
                log.warning("%s: the store on disk is rebuilt: %s", self._place, error)
        store.wipe()
        try:
            return await self._read(store, None)
        except _Misfit as error:
            raise OperatorError(
                f"{self._place}: {error}; state is lost. Restore the topic, or begin anew with another prefix"
            ) from None

    async def _read(self, store: StateStore, known: Position | None) -> Recovered:
        marker, at = None, 0
        log_records = read_log(
            self._topic, self._partition, self._connection, known and known.offset, **self._options
        )
        async with aclosing(log_records) as batches:
            async for records in batches:
                visitors: list[VisitorChange] = []
                store.restore(self._changes(records, visitors))
                if visitors:
                    store.restore_visitors(visitors)
                for record in records:
                    if record.key == MARKER_KEY:
                        marker, at = self._marker(record), record.offset
        if known is not None and (marker is None or marker.sequence < known.sequence):
            raise _Misfit(f"epoch {known.sequence} is not in the changelog")
        if marker is not None:
            if len(store) < marker.customers:
                raise _Misfit(f"{len(store)} customers where its marker counts {marker.customers}")
            store.flush(Position(marker.sequence, at))
        return Recovered(marker, store)

    def _changes(self, records: Iterable[Any], visitors: list[VisitorChange]) -> Iterator[Change]:
        """Give what the records say of customers, and put aside what they say of visitors."""
        for record in records:
            if record.key == MARKER_KEY:
                continue
            if record.key is not None and record.key.startswith(VISITOR_KEY):
                visitors.append(self._visitor(record))
                continue
            try:
                customer_id = record.key.decode()
                state = None if record.value is None else decode_state(record.value)
            except (AttributeError, ValueError):
                raise self._unreadable(record, "not a customer's state of a version that it knows") from None
            yield Change(customer_id, record.value, state)

    def _visitor(self, record: Any) -> VisitorChange:
        try:
            if record.value is not None:
                decode_visitor(record.value)
            return VisitorChange(record.key[len(VISITOR_KEY) :].decode(), record.value)
        except ValueError:
            raise self._unreadable(record, "not a visitor of a version that it knows") from None

    def _marker(self, record: Any) -> Marker:
        try:
            return read_marker(record.value)
        except ValueError as error:
            raise self._unreadable(record, str(error)) from None

    def _unreadable(self, record: Any, what: str) -> OperatorError:
        return OperatorError(
            f"{self._place} offset {record.offset}: this program cannot read it: {what}. "
            "It does not go on without a customer"
        )


class _Misfit(Exception):  # noqa: N818 - not an error where the store can be rebuilt
    """What was read does not add up."""
