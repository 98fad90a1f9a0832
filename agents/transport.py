"""Faust's Kafka transport, one event a fetch and agent, and commits that follow sealed work only.

Stock Faust hands an agent one record at a time, which costs more than what we do with it, and commits
whatever its streams have acknowledged, which in several situations includes work that is not done:
an exception, a cancelled task, a changelog still on its way. So two things are different here. All
records that one fetch brought for an agent, of all its partitions, travel as one Faust message, so that
it sees both inputs of a partition at once; and a partition's offset is committed only to where `sealed`
says, a table that nobody writes but the agent that has made its outputs and its state durable. Where a
partition begins after a rebalance is asked of that agent too.

The hooks are private to Faust, hence its exact pin; a test runs each of them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Any

import faust
from aiokafka.structs import TopicPartition
from faust.transport.drivers import TRANSPORTS
from faust.transport.drivers import aiokafka as base
from faust.types import TP
from faust.types.tuples import ConsumerMessage

from agents.fetched import as_read

SCHEME = "holdfast"
"""URL scheme under which Faust finds this transport."""

FETCH_MAX_WAIT_MS = 20
"""How long a broker may hold a fetch that finds nothing.

Short, because the client has one fetch on its way to a broker at a time: while one waits for a quiet topic,
what has come on a busy one waits with it.
"""

MANY_FETCHED = 200
PATIENT_BYTES = 1024 * 1024
PATIENT_WAIT_MS = 10
"""After a fetch that brought more than so many records, the broker may hold the next one until there are
so many bytes, which is mostly as long as it may hold one then.

Where much comes, a fetch at a time brings a few records of each partition, and their way to us costs more
than what is done with them. Above some 20,000 records a second this is a wait of 10 ms that gives a third of
a core back.
"""

MAX_FETCH_BYTES = 4 * 1024 * 1024
"""Of one partition in one answer."""

FETCHING: dict[str, Any] = {
    "max_partition_fetch_bytes": 2 * MAX_FETCH_BYTES,
    "fetch_max_wait_ms": FETCH_MAX_WAIT_MS,
}
"""How the consumers that we make ourselves fetch."""

MAX_BATCH_BYTES = 512 * 1024
MAX_REQUEST_BYTES = 4 * 1024 * 1024

OutputRecord = tuple[bytes | None, bytes | None, list[tuple[str, bytes]]]
"""Key, value, headers."""


class RawBatches(faust.Schema):
    """No decoding by Faust: the value of a message is what was fetched, by partition, as aiokafka gave it."""

    def loads_key(self, _app: Any, message: Any, **_kwargs: Any) -> Any:
        """Give the key back as it is."""
        return message.key

    def loads_value(self, _app: Any, message: Any, **_kwargs: Any) -> Any:
        """Give what was fetched back as it is."""
        return message.value


Fetched = dict[TP, list[Any]]
"""Records that one fetch brought, by partition (the client's type, equal to Faust's); no list is empty."""


def wait_after(fetched: Mapping[Any, Sequence[Any]]) -> tuple[int, int]:
    """Say how many bytes the broker shall wait for before it answers the next fetch, and for how long, in ms.

    Examples
    --------
    >>> wait_after({"clicks": [1, 2], "orders": []}), wait_after({"clicks": [1] * 300})
    ((1, 20), (1048576, 10))
    """
    if sum([len(records) for records in fetched.values()]) > MANY_FETCHED:
        return PATIENT_BYTES, PATIENT_WAIT_MS
    return 1, FETCH_MAX_WAIT_MS


class _ConsumerThread(base.AIOKafkaConsumerThread):
    def _create_worker_consumer(self, transport: Any) -> Any:
        consumer = super()._create_worker_consumer(transport)
        # Faust lets the broker hold an empty fetch for 1.5 s. Not every broker wakes it when a record
        # comes, and a merge learns only from an answer that an input has nothing more.
        consumer._fetch_max_wait_ms = FETCH_MAX_WAIT_MS
        consumer._key_deserializer = as_read
        return consumer


class Consumer(base.Consumer):
    """Delivers what was fetched, commits what is sealed, starts where the agents say."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.readers: Mapping[str, str] = self.app.readers  # of a HoldfastApp
        self.sealed: dict[TP, int] = {}
        self._confirmed: dict[TP, int] = {}  # what the broker has acknowledged of it
        self.delivered: dict[TP, int] = {}  # next offset to deliver
        self._drained: dict[TP, int] = {}  # position up to which nothing is on its way to us
        self._seeks = 0  # begun and ended
        self.starts: dict[TP, int] = {}  # where agents said a partition begins
        self.before_revocation: Callable[[set[TP]], Awaitable[None]] | None = None

    def _new_consumer_thread(self) -> _ConsumerThread:
        return _ConsumerThread(self, loop=self.loop, beacon=self.beacon)

    # Batches

    async def _getmany(self, active_partitions: set[TP] | None, timeout: float) -> Any:  # noqa: ASYNC109 - Faust's
        before, seeks = {tp: self._position(tp) for tp in active_partitions or ()}, self._seeks
        if self._paused_partitions:
            # A partition that is resumed has records waiting, and nothing wakes a fetch of the others for it.
            timeout = min(timeout, FETCH_MAX_WAIT_MS / 1000.0)
        got = await super()._getmany(active_partitions, timeout)
        if self._thread._consumer is not None:
            fetcher = self._thread._consumer._fetcher
            fetcher._fetch_min_bytes, fetcher._fetch_max_wait_ms = wait_after(got)
        # Where a fetch brought nothing, everything up to the position before it has been handed out, unless a
        # rebalance has moved that position meanwhile: back, to what is still to come.
        if seeks == self._seeks:
            self._drained.update({tp: at for tp, at in before.items() if at is not None and not got.get(tp)})
        return self._by_agent({tp: records for tp, records in got.items() if records})

    def _by_agent(self, got: Fetched) -> dict[TP, list[Fetched]]:
        """Put together what goes to one agent; it travels under the first of its partitions."""
        of_agent: dict[str, Fetched] = {}
        for tp, records in got.items():
            of_agent.setdefault(self.readers[tp.topic], {})[tp] = records
        return {next(iter(fetched)): [fetched] for fetched in of_agent.values()}

    async def _wait_next_records(self, timeout: float) -> Any:  # noqa: ASYNC109 - Faust's
        records, _ = await super()._wait_next_records(timeout)
        # Faust would drop what was fetched of a partition that was paused meanwhile, though its position has
        # moved on: nobody would fetch that again. None stands for all; a generation tells what is not ours.
        return records, None

    def _to_message(self, tp: TP, fetched: Fetched) -> ConsumerMessage:
        for one, records in fetched.items():
            # Faust would drop what is not beyond its read offset, which it advances even for messages
            # that a rebalance kept from being delivered. The agent knows what it has seen; we do not drop.
            self._read_offset[one] = None
            self.delivered[one] = records[-1].offset + 1
        last = fetched[tp][-1]
        return ConsumerMessage(
            tp.topic,
            tp.partition,
            last.offset,
            last.timestamp / 1000.0,
            last.timestamp_type,
            None,
            None,
            fetched,
            None,
            0,
            0,  # nobody asks for the size of a batch
            tp,
            generation_id=self.app.consumer_generation_id,
        )

    def verify_event_path(self, now: float, tp: TP) -> None:
        """Call no partition slow: Faust sees the first of each message only, and we have a watchdog."""

    async def _add_gap(self, tp: TP, offset_from: int, offset_to: int) -> None:
        """Take no notice of gaps: commits do not count acknowledged offsets here."""

    # Commits

    def _filter_tps_with_pending_acks(self, _topics: Any = None) -> Any:
        return list(self.sealed)

    def _should_commit(self, tp: TP, offset: int) -> bool:
        # Faust takes an offset as committed even when the broker refused it.
        return self._confirmed.get(tp) != offset

    async def _commit(self, offsets: Mapping[TP, int]) -> bool:
        confirmed = bool(await super()._commit(offsets))
        if confirmed:
            self._confirmed.update(offsets)
        return confirmed

    def _new_offset(self, tp: TP) -> int | None:
        self._acked[tp].clear()
        self._acked_index[tp].clear()
        return self.sealed.get(tp)

    # Rebalances

    async def perform_seek(self) -> None:
        """Start partitions where their agents say, the others where the group committed."""
        self._seeks += 1
        await super().perform_seek()
        starts = {tp: offset for tp, offset in self.starts.items() if tp in self.assignment()}
        if starts:
            await self.seek_wait(starts)
        for tp in self.assignment():
            self._read_offset[tp] = None
            self.delivered.pop(tp, None)
            self._drained.pop(tp, None)
        self._seeks += 1

    async def on_partitions_revoked(self, revoked: set[TP]) -> None:
        """Seal and commit before anything is handed over."""
        if self.before_revocation is not None:
            await self.before_revocation(revoked)
        await self.commit()
        for tp in revoked:
            self.sealed.pop(tp, None)
            self._confirmed.pop(tp, None)
            self.starts.pop(tp, None)
            self.delivered.pop(tp, None)
            self._drained.pop(tp, None)
        await super().on_partitions_revoked(revoked)

    def is_ours(self, generation: int) -> bool:
        """Tell whether the group still knows us by a generation: not after a session was lost."""
        consumer = self._thread._consumer
        return consumer is not None and consumer._coordinator.generation == generation

    @property
    def fetching_loop(self) -> asyncio.AbstractEventLoop | None:
        """The event loop of the thread that talks to the broker; None while there is no such thread."""
        thread = self._thread
        return thread.thread_loop if thread._thread_started.is_set() else None

    # Lag

    def at_end(self, tp: TP, next_offset: int) -> bool:
        """Tell whether a partition is known to hold nothing from `next_offset` on.

        False as long as nothing is known, that is before the first answer to a fetch.
        """
        state = self._state(tp)
        if state is None or state.highwater is None:
            return False
        return self.nothing_before(tp, next_offset, state.highwater)

    def waiting(self, tp: TP, next_offset: int) -> int:
        """Tell how many records a partition is known to hold from `next_offset` on."""
        state = self._state(tp)
        if state is None or state.highwater is None or self.at_end(tp, next_offset):
            return 0
        return max(0, int(state.highwater) - next_offset)

    def nothing_before(self, tp: TP, next_offset: int, end: int) -> bool:
        """Tell whether a partition is known to hold nothing from `next_offset` up to `end`."""
        if next_offset >= end:
            return True
        # The log may end in records that are never delivered, such as transaction markers.
        handed_out = self.delivered.get(tp, next_offset) == next_offset
        return handed_out and self._drained.get(tp, -1) >= end

    def _state(self, tp: TP) -> Any:
        consumer = self._thread._consumer
        subscription = consumer._subscription.subscription if consumer else None
        assignment = subscription.assignment if subscription else None
        return assignment.state_value(TopicPartition(tp.topic, tp.partition)) if assignment else None

    def _position(self, tp: TP) -> int | None:
        state = self._state(tp)
        return state.position if state is not None and state.has_valid_position else None


class Producer(base.Producer):
    """Sends many records as one batch, and says when all of them are on disk."""

    def _settings_extra(self) -> Mapping[str, Any]:
        idempotent = bool(getattr(self.app, "idempotent_producer", True))
        return {"acks": "all", "enable_idempotence": idempotent}

    async def send_records(
        self, topic: str, partition: int, records: Iterable[OutputRecord]
    ) -> list[Awaitable[Any]]:
        """Hand records to the producer, in order, in as few batches as they fit into.

        Returns
        -------
        list of awaitables
            One a batch; each is done when the broker has acknowledged it, or raises.
        """
        return await send_in_batches(self._ensure_producer(), topic, partition, records)


async def send_in_batches(
    producer: Any, topic: str, partition: int, records: Iterable[OutputRecord]
) -> list[Awaitable[Any]]:
    """Hand records to an aiokafka producer, in order, in as few batches as they fit into.

    Returns
    -------
    list of awaitables
        One a batch; each is done when the broker has acknowledged it, or raises.

    Raises
    ------
    ValueError
        When one record is larger than a batch may be.
    """
    waits: list[Awaitable[Any]] = []
    batch = producer.create_batch()
    for key, value, headers in records:
        if batch.append(timestamp=None, key=key, value=value, headers=headers) is None:
            waits.append(await producer.send_batch(batch, topic, partition=partition))
            batch = producer.create_batch()
            if batch.append(timestamp=None, key=key, value=value, headers=headers) is None:
                raise ValueError(f"a record for {topic} is larger than a whole batch may be")
    if batch.record_count():
        waits.append(await producer.send_batch(batch, topic, partition=partition))
    return waits


class Transport(base.Transport):
    """The transport that `holdfast://` URLs stand for."""

    Consumer = Consumer
    Producer = Producer


TRANSPORTS.aliases[SCHEME] = f"{__name__}:Transport"
