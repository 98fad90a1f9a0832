"""One partition of customers at the edge: records in order, epochs that seal what was made of them.

A room owns one partition number of both inputs. Records are decoded as they arrive and merged by event
time; a record that breaks the contract keeps its place in that order, so that "everything up to this
offset is done" has one meaning. About once a second the epoch is sealed, in this order and no other:
outputs acknowledged, changed states written and acknowledged, the marker written and acknowledged, and
only then may offsets be committed. Whatever happens in between, a restart finds the last marker and
goes on from there.

A new model is adopted only here, between epochs, and the marker carries it. After a restart, the records
that the worker before us may have processed already, an epoch's worth at most, are processed with the
marker's model, so what a crash makes us do again comes out the same.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable
from typing import Any

from faust.types import TP

from agents import metrics
from agents.changelog import MARKER_VERSION, Marker, marker_record, state_records
from agents.dead_letters import dead_letter
from agents.models import ModelFeed
from agents.recovery import Recovered
from agents.settings import Settings
from agents.stores import Position
from agents.transport import Consumer, OutputRecord, Producer
from schemas.codec import WireError, decode_event, encode
from schemas.decisions import ChurnAlert
from schemas.events import Event
from schemas.topics import CHANGELOG, INPUTS, TOPICS, dead_letters_of
from streams.clock.merge import Merge
from streams.config import HOUR_MS, MINUTE_MS, SECOND_MS
from streams.customer.machine import CustomerMachine
from streams.learning.served import Served

SLICE_SECONDS = 0.02
"""How long records are processed before other tasks get their turn; decisions do not depend on it."""

MOST_BUFFERED = 50_000
"""Records read ahead of the merge before the input that runs ahead is paused."""

_Arrived = tuple[Any, Event | WireError]


class Room:
    """Everything about one partition number.

    Parameters
    ----------
    settings
        The whole settings.
    partition
        The number.
    generation
        Of the consumer group when the partition was taken over; records of another are stale.
    recovered
        Where the worker before us left off.
    """

    def __init__(
        self,
        settings: Settings,
        partition: int,
        generation: int,
        recovered: Recovered,
        *,
        consumer: Consumer,
        producer: Producer,
        feed: ModelFeed,
    ) -> None:
        self.partition = partition
        self.generation = generation
        self.lock = asyncio.Lock()
        self.closing = False
        self._settings = settings
        self._consumer = consumer
        self._producer = producer
        self._feed = feed
        self._inputs = tuple(settings.topic(name) for name in INPUTS)
        self._source_of = {name: source for source, name in enumerate(self._inputs)}
        self._changelog = settings.topic(CHANGELOG)
        self._place_of = {
            spec.name: (settings.topic(spec.name), partition if spec.per_customer else 0) for spec in TOPICS
        }
        marker = recovered.marker
        # What was read so far, and what of it has been processed.
        self.read = [self._start(marker, name) for name in self._inputs]
        self.done = list(self.read)
        self._to_repeat = settings.worker.epoch_max_records if marker else 0
        self.sequence = marker.sequence if marker else 0
        model = Served(marker.model) if marker else feed.latest
        self.states = recovered.states
        self.machine = CustomerMachine(settings.streams, model, partition, self._inputs, states=self.states)
        if marker:
            self.machine.watermark.at_ms = marker.watermark_ms
        self.machine.expect(self.states.dues())
        self._marked_ms = self.machine.watermark.at_ms
        self._merge: Merge[_Arrived] = Merge(len(self._inputs))
        self._paused: set[TP] = set()
        self._out: dict[tuple[str, int], list[OutputRecord]] = {}
        self._unacknowledged: list[Awaitable[Any]] = []
        self._since_seal = 0
        self._sealed_at = time.monotonic()
        self._heard_at = time.monotonic()

    @staticmethod
    def _start(marker: Marker | None, topic: str) -> int:
        return marker.offsets.get(topic, 0) if marker else 0

    # Records

    async def feed(self, message: Any) -> None:
        """Take in the records of one fetched batch."""
        async with self.lock:
            if self.closing or message.generation_id != self.generation:
                return
            source = self._source_of[message.topic]
            self._heard_at = time.monotonic()
            self._arrive(source, message.value)
            if len(self._merge) > MOST_BUFFERED and source not in self._merge.waiting_for():
                self._paused.add(message.tp)
                self._consumer.pause_partitions({message.tp})
            await self._process()

    def _arrive(self, source: int, records: list[Any]) -> None:
        limit = self._settings.dead_letters.max_message_bytes
        ahead_ms = int(self._settings.time.max_ahead_seconds * SECOND_MS)
        latest_allowed_ms = time.time_ns() // 1_000_000 + ahead_ms
        merge, latest_ms = self._merge, 0
        for record in records:
            if record.offset < self.read[source]:
                continue
            self.read[source] = record.offset + 1
            arrived: Event | WireError
            try:
                arrived = decode_event(record.value, limit)
                if 0 <= record.timestamp < arrived.time_ms - ahead_ms:  # -1 is a record without one
                    raise WireError("future_time", "ahead of the broker's timestamp")
                if arrived.time_ms > latest_allowed_ms:  # that timestamp may be the sender's own
                    raise WireError("future_time", "ahead of the clock")
                latest_ms = arrived.time_ms
            except WireError as error:
                arrived = error
            # A refused record goes through the merge too: it keeps its place among the offsets of its input.
            merge.push(source, latest_ms, (record, arrived))

    async def _process(self) -> None:
        """Process what the merge lets go, until an input holds the others up."""
        while not self.closing:
            busy = self._slice()
            await self._send()
            if self._seal_is_due():
                await self._seal()
            if not busy and not self._ask_for_more():
                break
            await asyncio.sleep(0)
        if self._paused and len(self._merge) < MOST_BUFFERED // 2:
            self._consumer.resume_partitions(self._paused)
            self._paused = set()

    def _slice(self) -> bool:
        """Process records for a moment; True when the moment ended before the records did."""
        until, most = time.monotonic() + SLICE_SECONDS, self._settings.worker.epoch_max_records
        for count, (source, (record, arrived)) in enumerate(self._merge.ready()):
            self._one(source, record, arrived)
            if self._since_seal >= most or (count % 16 == 15 and time.monotonic() > until):
                return True
        return False

    def _seal_is_due(self) -> bool:
        worker = self._settings.worker
        return (
            self._since_seal >= worker.epoch_max_records
            or time.monotonic() - self._sealed_at >= worker.epoch_seconds
        )

    def _ask_for_more(self) -> bool:
        """Find out whether an input that holds the others up has nothing to come; True if one has."""
        found = False
        for source in self._merge.waiting_for():
            if self._consumer.at_end(TP(self._inputs[source], self.partition), self.read[source]):
                self._merge.caught_up(source)
                found = True
        return found and len(self._merge) > 0

    def _one(self, source: int, record: Any, arrived: Event | WireError) -> None:
        topic = self._inputs[source]
        if isinstance(arrived, WireError):
            self._put(dead_letters_of(topic), self.partition, dead_letter(record, arrived))
            metrics.RECORDS.labels(topic, "dead").inc()
            metrics.DEAD_LETTERS.labels(topic, arrived.reason).inc()
        else:
            outcome = self.machine.apply(arrived, source, record.offset)
            metrics.RECORDS.labels(topic, outcome.value).inc()
        self.done[source] = record.offset + 1
        self._since_seal += 1
        self._say()

    # Outputs

    def _say(self) -> None:
        for topic, customer_id, payload in self.machine.take():
            value = None if payload is None else encode(payload)
            self._put(*self._place_of[topic], (customer_id.encode(), value, []))
            metrics.DECISIONS.labels(topic).inc()
            if isinstance(payload, ChurnAlert):
                metrics.ALERTS.labels(payload.state, payload.cause).inc()

    def _put(self, topic: str, partition: int, record: OutputRecord) -> None:
        self._out.setdefault((topic, partition), []).append(record)

    async def _send(self) -> None:
        out, self._out = self._out, {}
        for (topic, partition), records in out.items():
            self._unacknowledged += await self._producer.send_records(topic, partition, records)

    # Time and epochs

    async def tick(self) -> None:
        """Do what time calls for: notice silent inputs, move the watermark, seal the epoch."""
        if self.lock.locked():
            return  # records are being processed: the next tick comes soon
        async with self.lock:
            if self.closing:
                return
            await self._process()
            self._let_the_clock_tick()
            self._say()
            await self._send()
            if self._seal_is_due():
                await self._seal()

    def _let_the_clock_tick(self) -> None:
        """Let the wall clock move event time, on a live topic whose inputs are silent."""
        config = self._settings.time
        if time.monotonic() - self._heard_at < config.idle_after_seconds or len(self._merge):
            return
        now_ms = time.time_ns() // 1_000_000
        if now_ms - self.machine.watermark.at_ms > config.backfill_lag_hours * HOUR_MS:
            return  # a backfill of old data: its time moves by its own records
        if self._at_end():
            self.machine.tick(now_ms)

    async def seal(self) -> None:
        """Seal the epoch now, and take no more records: the partition is about to be handed over."""
        self.closing = True
        async with self.lock:
            if not self._consumer.is_ours(self.generation):
                return  # lost, not handed over: another worker may have written since
            self._say()
            await self._send()
            await self._seal()

    async def _seal(self) -> None:
        self._sealed_at = time.monotonic()
        machine = self.machine
        moved_ms = machine.watermark.at_ms - self._marked_ms
        if not (self._since_seal or machine.dirty or self._unacknowledged or moved_ms >= MINUTE_MS):
            return
        if not self._consumer.is_ours(self.generation):
            self.closing = True  # the rebalance that tells us is on its way
            return
        waits, self._unacknowledged = self._unacknowledged, []
        await asyncio.gather(*waits)
        dirty, machine.dirty = machine.dirty, {}
        states = state_records([(c, machine.states[c]) for c in dirty if c in machine.states])
        await self._write(states)
        if self._may_adopt():
            machine.adopt(self._feed.latest)
        self.sequence += 1
        marker = Marker(
            version=MARKER_VERSION,
            sequence=self.sequence,
            offsets=dict(zip(self._inputs, self.done, strict=True)),
            watermark_ms=machine.watermark.at_ms,
            model=machine.model.snapshot,
            customers=len(machine.states),
        )
        self._marked_ms = marker.watermark_ms
        (written,) = await self._write([marker_record(marker)])
        # Behind the marker: were they before it, a crash in between would bring back customers without
        # their history and count their last records again. One that stays is forgotten again by its timer.
        await self._write(state_records([(c, None) for c in dirty if c not in machine.states]))
        self.states.flush(dirty, Position(self.sequence, written.offset))
        for topic, offset in marker.offsets.items():
            self._consumer.sealed[TP(topic, self.partition)] = offset
        self._since_seal = 0
        self._measure(states)

    def _may_adopt(self) -> bool:
        """Tell whether everything that may be a repetition has been repeated."""
        self._to_repeat -= self._since_seal
        return self._to_repeat <= 0 or self._at_end()

    def _at_end(self) -> bool:
        tps = (TP(topic, self.partition) for topic in self._inputs)
        return all(self._consumer.at_end(tp, done) for tp, done in zip(tps, self.done, strict=True))

    async def _write(self, records: list[OutputRecord]) -> list[Any]:
        """Write to the changelog; returns what the broker says of each batch."""
        sent = await self._producer.send_records(self._changelog, self.partition, records)
        return await asyncio.gather(*sent)

    def _measure(self, states: list[OutputRecord]) -> None:
        label = str(self.partition)
        metrics.EPOCHS.labels(label).inc()
        metrics.EPOCH_SECONDS.observe(time.monotonic() - self._sealed_at)
        metrics.CHANGELOG_BYTES.inc(sum(len(value or b"") for _, value, _ in states))
        metrics.CUSTOMERS.labels(label).set(len(self.machine.states))
        metrics.WATERMARK.labels(label).set(max(0, self.machine.watermark.at_ms) / 1000.0)
        metrics.BUFFERED.labels(label).set(len(self._merge))
        metrics.MODEL_LEARNED.set(self.machine.model.n_learned)
