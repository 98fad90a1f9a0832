"""One partition of customers at the edge: records in order, epochs that seal what was made of them.

A room owns one partition number of both inputs. Records are decoded as they arrive and merged by event
time; a record that breaks the contract keeps its place in that order, so that "everything up to this
offset is done" has one meaning. About once a second the epoch is closed, and then sealed in this order
and no other: outputs acknowledged, changed states and the marker durable (`agents.ledger`), and only then may
offsets be committed. Whatever happens in between, a restart finds the last marker and goes on from there.

An epoch that is closed stands in bytes, so the next one goes on at once, while the broker acknowledges: an
alert does not wait for a transaction. One epoch is on its way at a time. Outputs go out beside the records
(`agents.outbox`), and most states are written before the epoch ends (`agents.state_writer`).

A room may find that its partition is no longer its own: the group has moved on, or a successor has taken
the ledger. Then it says nothing and writes nothing from there on. If the process has stood still for
longer than its session lasts, it cannot know, and ends.

A new model is announced: the marker of an epoch says from which moment of event time on it serves. That
lies half an epoch ahead, so the marker is mostly durable by then; where it is not, what the new model decides
waits for it, and records with it, or a crash would do again with the old model what was done with the new.
After a restart, the records that the worker before us may have processed already, two epochs' worth at most,
meet the models of the marker, and which of the two decides follows from the decision's own moment. So what a
crash makes us do again comes out the same, also where the inputs come in another order.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Awaitable, Mapping, Sequence
from typing import Any, NamedTuple

from faust.types import TP

from agents import metrics
from agents.breaker import Breaker, Tripped, flood
from agents.changelog import MARKER_VERSION, Marker, marker_record
from agents.dead_letters import dead_letter
from agents.erasures import Requests
from agents.errors import OperatorError
from agents.ledger import Fenced, Ledger
from agents.meter import Meter
from agents.models import ModelFeed, supersedes
from agents.outbox import Outbox
from agents.placement import Placement
from agents.recovery import Recovered
from agents.session import Session
from agents.settings import Settings
from agents.state_writer import StateWriter
from agents.stores import Position, VisitorChange
from agents.transport import Consumer, OutputRecord, Producer
from agents.turns import next_turn
from agents.visitors import open_machine, visitor_records
from agents.watchdog import Progress
from schemas.codec import encode
from schemas.topics import CUSTOMER_SCORES, ERASURES, EXAMPLES, INPUTS, TOPICS, dead_letters_of
from streams.clock.watermark import NEVER_MS
from streams.config import HOUR_MS, MINUTE_MS, SECOND_MS, days_ms
from streams.intake import Intake, Refused
from streams.learning.served import Served

SLICE_SECONDS = 0.004
LONG_SLICE_SECONDS = 0.02
MANY_WAITING = 2_000
"""How long records are processed before other tasks get their turn; decisions do not depend on it.

Whoever fetches needs a turn for each step, and each may wait for a slice of every partition. Where more than
so many records wait here already, there is a backlog to get through: then fewer and larger batches matter.
"""

MOST_TIMERS = 500
"""Timers that fire before other tasks get their turn, when a gap in event time makes many due at once."""

MOST_AT_ONCE = 64
"""Records processed between two looks at the clock."""

MOST_BUFFERED = 16_384
"""Records that wait here before their input is paused, unless others wait for it."""

ANNOUNCE_SECONDS = 5.0
ANNOUNCE_DAYS = 7.0
"""A newer model is announced so often, by the clock or by event time, whichever is sooner.

Not before the watermark has come to the moment of the one before, however: on live topics that is the
lateness that is allowed. There a model of a minute ago is as good; in a backlog years pass in minutes, and
with them what a model could have learned.
"""

MOST_AHEAD_MS = 12 * HOUR_MS
"""A model serves from a moment at most so far ahead, should an epoch have a gap in event time in it."""

PATIENT_TOPICS = (CUSTOMER_SCORES, EXAMPLES)
"""Outputs that may wait a little for company (`agents.outbox`): they say how things stand."""

MOST_STATES = 500
"""States written out before other tasks get their turn."""

AHEAD_SECONDS = 0.15
MOST_AHEAD = 400
"""So long before an epoch is due its states begin to be written, at most so many after each slice."""


class _Epoch(NamedTuple):
    """An epoch that is closed: what has to become durable, and what has to be acknowledged before."""

    outputs: Sequence[Awaitable[None]]
    changed: list[OutputRecord]
    erased: list[OutputRecord]
    visitors: list[VisitorChange]
    marker: Marker
    closed_at: float


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
    ledger
        Where state is written; it was opened before the changelog was read.
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
        ledger: Ledger,
        session: Session,
        topic_ids: dict[str, str],
        feed: ModelFeed,
    ) -> None:
        self.partition = partition
        self.generation = generation
        self.lock = asyncio.Lock()
        self.is_called = False  # somebody waits to process what has arrived
        self.closing = False  # takes no more records
        self.lost = False  # and may not seal those that it has
        self._settings = settings
        self._consumer = consumer
        self.ledger = ledger
        self._session = session
        self._topic_ids = topic_ids
        self._feed = feed
        self._inputs = tuple(settings.topic(name) for name in INPUTS)
        self._source_of = {name: source for source, name in enumerate(self._inputs)}
        self._placement = Placement(partition, consumer.topic_partitions)
        self._place_of = {
            spec.name: (settings.topic(spec.name), partition if spec.per_customer else 0) for spec in TOPICS
        }
        marker = recovered.marker
        self._erasures = TP(settings.topic(ERASURES), partition)
        name = self._erasures.topic
        # A topic of requests that was created anew is read from its beginning.
        anew = marker is not None and marker.topic_ids.get(name, "") != topic_ids.get(name, "")
        self.requests = Requests(0 if anew else self._start(marker, name))
        self._knows_requests = False
        self._to_repeat = 2 * settings.worker.epoch_max_records if marker else 0
        self.sequence = marker.sequence if marker else 0
        model = Served(marker.model) if marker else feed.latest
        self.states = recovered.states
        self.machine, self._visitors = open_machine(
            settings, model, partition, self.states, consumer.topic_partitions
        )
        if marker:
            self.machine.watermark.at_ms = marker.watermark_ms
            if marker.later_model is not None:
                self.machine.announce(Served(marker.later_model), marker.later_from_ms)
        self.machine.expect(self.states.dues())
        self._writer = StateWriter(self.machine)
        self._marked_ms = self.machine.watermark.at_ms
        self._intake = Intake(
            self.machine,
            [self._start(marker, name) for name in self._inputs],
            settings.dead_letters.max_message_bytes,
            int(settings.time.max_ahead_seconds * SECOND_MS),
            settings.sources,
            settings.identity.enabled,
        )
        self._closed_records = 0  # of those that the intake has taken
        self._paused: set[TP] = set()
        letters = settings.dead_letters
        self._breakers = [
            Breaker(letters.window, letters.max_share, letters.max_consecutive) for _ in self._inputs
        ]
        self._flood: tuple[str, Tripped] | None = None
        patient = [settings.topic(name) for name in PATIENT_TOPICS]
        self._outbox = Outbox(producer, self._is_ours, patient)
        self._erased_since = 0
        self._closed_at = time.monotonic()
        self._turn_at = next_turn(self._closed_at, partition, settings.worker.epoch_seconds)
        self._announced_at, self._announced_ms = -math.inf, NEVER_MS  # by the clock, and by event time
        self._sealing: asyncio.Task[None] | None = None  # the epoch before this one
        self._announces = False  # whether that epoch does
        self._heard_at = time.monotonic()
        self._meter = Meter(partition, settings.time.allowed_lateness_seconds)

    def offsets(self) -> dict[str, int]:
        """Give, for each topic that is read, the next offset of which nothing has been done."""
        return {
            **dict(zip(self._inputs, self._intake.done, strict=True)),
            self._erasures.topic: self.requests.offset,
        }

    def begin_at(self, earliest: Mapping[str, int]) -> None:
        """Begin with the first records that the topics still have; only where there is no marker yet."""
        starts = [earliest.get(topic, 0) for topic in self._inputs]
        self._intake.read[:] = self._intake.done[:] = starts
        self.requests = Requests(earliest.get(self._erasures.topic, 0))

    @staticmethod
    def _start(marker: Marker | None, topic: str) -> int:
        return marker.offsets.get(topic, 0) if marker else 0

    # Records

    def arrive(self, topic: str, records: list[Any]) -> None:
        """Take in records that were fetched; `process` is to follow."""
        if self.closing:
            return
        if topic == self._erasures.topic:
            self.requests.arrive(records)
            return
        source = self._source_of[topic]
        merge = self._intake.merge
        self._heard_at = time.monotonic()
        self._meter.arrived(topic, records)
        last = self._intake.arrive(source, records, time.time_ns() // 1_000_000)
        self._placement.look(topic, last)
        if len(merge) > MOST_BUFFERED and source not in merge.waiting_for():
            tp = TP(topic, self.partition)  # Faust's own type: with the client's, its fetcher fails
            self._paused.add(tp)
            self._consumer.pause_partitions({tp})

    async def process(self) -> None:
        """Process what has arrived, as far as that can go."""
        self.is_called = True
        async with self.lock:
            self.is_called = False  # what arrives from here on is for the next call
            await self._process()

    async def _process(self) -> None:
        """Process what the merge lets go, until an input holds the others up."""
        if not self._may_begin():
            return
        if not self.sequence and self._intake.is_busy:
            # Whoever repeats the first records has to know their model.
            await self._close(begins=True)
            await self._sealed()
        while not self.closing:
            if self._sealing is not None and self._sealing.done():
                await self._sealed()  # or raise what kept it from becoming durable, at once
            await self._erase()
            busy = self._slice()
            await self._say()
            self._outbox.send()
            await self._outbox.drain()
            self._meter.done(self.offsets(), self.machine.watermark.at_ms)
            if time.monotonic() >= self._turn_at - AHEAD_SECONDS:
                self._writer.write_ahead(MOST_AHEAD)
            if self._flood:
                await self._seal()
            elif self._is_due():
                await self._close()
            if self._flood and not self.lost:
                topic, tripped = self._flood
                raise OperatorError(flood(tripped, topic, self.partition, dead_letters_of(topic)))
            if not busy:
                break
            self._resume()
            await asyncio.sleep(0)
        self._resume()

    def _resume(self) -> None:
        """Let inputs come again: all of them when little is left, and one that the others wait for always."""
        if not self._paused or self.closing:
            return
        merge = self._intake.merge
        few = len(merge) < MOST_BUFFERED // 2
        awaited = {TP(self._inputs[source], self.partition) for source in merge.waiting_for()}
        resumed = set(self._paused) if few else self._paused & awaited
        if resumed:
            self._consumer.resume_partitions(resumed)
            self._paused -= resumed

    def _slice(self) -> bool:
        """Process records for a moment; True when the moment ended before the records did."""
        seconds = LONG_SLICE_SECONDS if len(self._intake.merge) > MANY_WAITING else SLICE_SECONDS
        until, most = time.monotonic() + seconds, self._settings.worker.epoch_max_records
        while True:
            # One at a time while somebody waits to be erased: their turn comes between two records.
            at_once = 1 if self.requests else min(MOST_AT_ONCE, most - self._since_border)
            more = self._intake.run(at_once, MOST_TIMERS)
            if not self._is_early:
                self._encode()
            refused = self._intake.take_refused()
            if refused is not None:
                self._count()  # before it: a breaker counts in their order
                self._refuse(refused)
            if not more:
                more = self._ask_for_more()
            if not more or self._since_border >= most or self._flood or self._intake.is_held:
                break
            if time.monotonic() > until or self.requests.is_due(self._has_passed):
                break
        self._count()
        return more

    def _is_due(self) -> bool:
        """Tell whether the epoch is to be closed: not before its time while the one before is on its way."""
        worker = self._settings.worker
        if self._since_border >= worker.epoch_max_records:
            return True
        return time.monotonic() >= self._turn_at and (self._sealing is None or self._sealing.done())

    def _ask_for_more(self) -> bool:
        """Find out whether an input that holds the others up has nothing to come; True if one has."""
        found, merge = False, self._intake.merge
        for source in merge.waiting_for():
            if self._consumer.at_end(TP(self._inputs[source], self.partition), self._intake.read[source]):
                merge.caught_up(source)
                found = True
        return found and len(merge) > 0

    def _refuse(self, refused: Refused) -> None:
        topic = self._inputs[refused.source]
        letter = dead_letter(refused.record, refused.error, topic, self.partition)
        self._outbox.put(dead_letters_of(topic), self.partition, letter)
        metrics.RECORDS.labels(topic, "dead").inc()
        metrics.DEAD_LETTERS.labels(topic, refused.error.reason).inc()
        if tripped := self._breakers[refused.source].bad(refused.error.reason):
            self._flood = topic, tripped

    def _count(self) -> None:
        for source, outcome, number in self._intake.take_outcomes():
            self._breakers[source].good(number)
            metrics.RECORDS.labels(self._inputs[source], outcome.value).inc(number)

    @property
    def _since_border(self) -> int:
        """Records and requests of the open epoch."""
        return self._intake.taken - self._closed_records + self._erased_since

    # Requests to erase (see `agents.erasures`)

    def _may_begin(self) -> bool:
        """Tell whether the requests that stood when the partition was taken over are known."""
        if not self._knows_requests:
            self._knows_requests = self._consumer.at_end(self._erasures, self.requests.read)
        return self._knows_requests

    def _has_passed(self, until: Mapping[str, int]) -> bool:
        """Tell whether everything before an offset of each input has been processed."""
        for topic, read, done in zip(self._inputs, self._intake.read, self._intake.done, strict=True):
            end = until.get(topic, 0)
            if done < end and not (
                done == read and self._consumer.nothing_before(TP(topic, self.partition), read, end)
            ):
                return False
        return True

    async def _erase(self) -> None:
        """Erase those whose turn has come."""
        if not (self.requests and self.requests.is_due(self._has_passed)):
            return
        for customer_id in self.requests.take(self._has_passed):
            self.machine.erase(customer_id)
            metrics.ERASURES.inc()
            await asyncio.sleep(0)
        self._erased_since += 1
        await self._say()
        self._outbox.send()
        await self._seal()
        # The tombstones are durable. Now a marker may say so, before anything else happens.
        self.requests.settle()
        self._erased_since += 1
        await self._seal()

    # Outputs

    def _encode(self) -> None:
        """Turn what was decided into bytes while it is warm: a score holds dozens of small objects."""
        if not self.machine.has_decided:
            return
        decisions = self.machine.take()
        for topic, customer_id, payload in decisions:
            value = None if payload is None else encode(payload)
            self._outbox.put(*self._place_of[topic], (customer_id.encode(), value, []))
        self._meter.said(decisions)

    @property
    def _is_early(self) -> bool:
        """Whether something was decided by what an epoch announced that may not be durable yet."""
        return self._sealing is not None and self._announces and self.machine.has_used_news

    async def _say(self) -> None:
        """Put what was decided into the outbox, once it may be said."""
        if self._is_early:
            await self._sealed()
        self._encode()
        self._meter.hand_over()
        for place, record in self._visitors.outgoing():
            self._outbox.put(*place, record)

    def _is_ours(self) -> bool:
        """Tell whether we may still speak for the partition; nothing is said or written once we may not."""
        self._session.check()
        if not self.lost and not self._consumer.is_ours(self.generation):
            self._lose()
        return not self.lost

    def _lose(self) -> None:
        """Take no more records: another worker goes on, and the rebalance that tells us is on its way.

        Should it not come (a broker ends a transaction that lasts too long), the watchdog sees that records
        wait here and nothing is sealed.
        """
        self.closing = self.lost = True

    def progress(self) -> Progress:
        """Tell the watchdog how this partition gets on; it asks from a thread of its own."""
        waits = self._since_border > 0 or self._sealing is not None
        busy = waits or self._intake.is_busy or not self._at_end()
        return Progress(busy, self.sequence)

    # Time and epochs

    async def tick(self) -> None:
        """Do what time calls for: notice silent inputs, move the watermark, seal the epoch."""
        if self.lock.locked():
            return  # records are being processed: the next tick comes soon
        async with self.lock:
            if self.closing:
                return
            await self._process()
            if not self._may_begin():
                return
            self._let_the_clock_tick()
            await self._say()
            self._outbox.send()
            if self._is_due():
                await self._close()

    def _let_the_clock_tick(self) -> None:
        """Let the wall clock move event time, on a live topic whose inputs are silent."""
        config = self._settings.time
        if time.monotonic() - self._heard_at < config.idle_after_seconds or self._intake.is_busy:
            return
        now_ms = time.time_ns() // 1_000_000
        if now_ms - self.machine.watermark.at_ms > config.backfill_lag_hours * HOUR_MS:
            return  # a backfill of old data: its time moves by its own records
        if self._at_end():
            self.machine.lead(now_ms, MOST_TIMERS)  # what is left is due at the next tick

    async def seal(self) -> None:
        """Seal the epoch now, and take no more records: the partition is about to be handed over."""
        self.closing = True
        async with self.lock:
            await self._say()
            self._outbox.send()
            await self._seal()

    async def _seal(self) -> None:
        """Close the epoch, and wait until it is durable."""
        await self._close()
        await self._sealed()

    async def _close(self, begins: bool = False) -> None:
        """Close the epoch; it becomes durable while the next one goes on."""
        await self._sealed()
        self._closed_at = time.monotonic()
        self._turn_at = next_turn(self._closed_at, self.partition, self._settings.worker.epoch_seconds)
        machine = self.machine
        moved_ms = machine.watermark.at_ms - self._marked_ms
        news = self._since_border or self._writer.has_any or self._visitors.are_left
        if not (begins or news or self._outbox or moved_ms >= MINUTE_MS):
            return
        if not self._is_ours():
            return
        changed, erased = await self._written()
        # From here on nothing is waited for until the epoch is on its way: half of this must not happen.
        self._announce(moved_ms)
        outputs = self._outbox.border()
        visitors = self._visitors.changed()
        epoch = _Epoch(outputs, changed, erased, visitors, self._marker(), self._closed_at)
        self._marked_ms = epoch.marker.watermark_ms
        self._closed_records, self._erased_since = self._intake.taken, 0
        self.states.border(changed, erased, visitors)
        self._sealing = asyncio.create_task(self._make_durable(epoch))

    async def _written(self) -> tuple[list[OutputRecord], list[OutputRecord]]:
        """Write what is left of the changed states, some at a time; no record is processed meanwhile."""
        while self._writer:
            self._writer.write(MOST_STATES)
            await asyncio.sleep(0)
        return self._writer.finish()

    async def _sealed(self) -> None:
        """Wait until the epoch before this one is durable, or raise what kept it from it."""
        if self._sealing is not None:
            await asyncio.shield(self._sealing)
            self._sealing = None

    async def _make_durable(self, epoch: _Epoch) -> None:
        await asyncio.gather(*epoch.outputs)
        kept, gone = visitor_records(epoch.visitors)
        # Customers before visitors: see `streams.identity.stage`. A plain ledger refuses nobody, so we ask
        # ourselves before each step whether we may still write.
        try:
            for records in (epoch.changed, kept):
                if not self._is_ours():
                    return
                await self.ledger.append(records)
            if not self._is_ours():
                return
            at = await self.ledger.commit(marker_record(epoch.marker), epoch.erased + gone)
        except Fenced:
            self._lose()
            return
        self.sequence = epoch.marker.sequence
        self.states.flush(Position(self.sequence, at))
        for topic, offset in epoch.marker.offsets.items():
            self._consumer.sealed[TP(topic, self.partition)] = offset
        self._measure(epoch)
        self._visitors.measure()

    def _marker(self) -> Marker:
        machine = self.machine
        later = machine.later_model
        return Marker(
            version=MARKER_VERSION,
            sequence=self.sequence + 1,
            offsets=self.offsets(),
            watermark_ms=machine.watermark.at_ms,
            model=machine.judge.model.snapshot,
            customers=len(machine.states),
            topic_ids=self._topic_ids,
            later_model=None if later is None else later.snapshot,
            later_from_ms=0 if later is None else machine.later_from_ms,
        )

    def _announce(self, moved_ms: int) -> None:
        """Announce a newer model, if there is one and it is time; this epoch's marker says so.

        Parameters
        ----------
        moved_ms
            How far this epoch has moved the watermark.
        """
        self._to_repeat -= self._since_border
        self._announces = self._may_announce()
        if self._announces:
            machine = self.machine
            self._announced_at, self._announced_ms = self._closed_at, machine.watermark.at_ms
            ahead_ms = min(moved_ms // 2, MOST_AHEAD_MS) + 1
            machine.announce(self._feed.latest, machine.watermark.newest_ms + ahead_ms)

    def _may_announce(self) -> bool:
        """Tell whether there is a newer model, it is time, and what may be a repetition was repeated."""
        machine = self.machine
        if machine.later_model is not None and machine.watermark.at_ms < machine.later_from_ms:
            return False
        passed_ms = machine.watermark.at_ms - self._announced_ms
        if self._closed_at - self._announced_at < ANNOUNCE_SECONDS and passed_ms < days_ms(ANNOUNCE_DAYS):
            return False
        return supersedes(self._feed.latest, machine.model) and (self._to_repeat <= 0 or self._at_end())

    def _at_end(self) -> bool:
        tps = (TP(topic, self.partition) for topic in self._inputs)
        return all(self._consumer.at_end(tp, done) for tp, done in zip(tps, self._intake.done, strict=True))

    def _measure(self, epoch: _Epoch) -> None:
        label = str(self.partition)
        metrics.EPOCHS.labels(label).inc()
        metrics.EPOCH_SECONDS.observe(time.monotonic() - epoch.closed_at)
        metrics.CHANGELOG_BYTES.inc(sum([len(value or b"") for _, value, _ in epoch.changed]))
        metrics.CUSTOMERS.labels(label).set(len(self.machine.states))
        metrics.WATERMARK.labels(label).set(max(0, self.machine.watermark.at_ms) / 1000.0)
        metrics.BUFFERED.labels(label).set(len(self._intake.merge))
        metrics.MODEL_LEARNED.set(self.machine.model.n_learned)
        self._meter.sealed(len(epoch.changed), self.machine.looks)

    def measure_waiting(self) -> None:
        """Show how many records wait on the inputs."""
        offsets = self.offsets()
        for topic in self._inputs:
            waiting = self._consumer.waiting(TP(topic, self.partition), offsets[topic])
            metrics.WAITING.labels(topic, str(self.partition)).set(waiting)
