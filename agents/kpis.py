"""The KPI agent: the edge of `streams.value.kpis`.

It reads what the workers say, from the beginning, and puts each day of event time on its topic once it is
over. It joins no consumer group and keeps nothing: the days that it has told are on their topic, so after a
restart it reads those, then everything that the other topics still have, and goes on with the day after.
The scores' topic keeps each customer's newest score, which is what the levels of a day are made of. Told
twice, as by two of them at a time, a day is the same day under the same key.

Topics are read by event time, as far as they are there. Workers that work through a backlog may be months
of event time apart, so a day is told when every partition has come past it. A partition that has been
silent for `IDLE_SECONDS` holds nobody up any more.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import msgspec
from kafka import KafkaConsumer, KafkaProducer, TopicPartition
from kafka.errors import KafkaError

from agents.client import ends
from agents.cluster import CONNECT_MS, not_reached, partition_counts
from agents.connection import kafka_python_arguments
from agents.errors import OperatorError
from agents.settings import Settings
from schemas.codec import encode
from schemas.kpis import RetentionKpis
from schemas.topics import (
    CHURN_ALERTS,
    CUSTOMER_SCORES,
    EXAMPLES,
    RETENTION_KPIS,
    SEGMENT_CHANGES,
    TOPIC_BY_NAME,
)
from streams.clock.merge import Merge
from streams.customer.decision import Decision
from streams.value.kpis import Going, KpiMachine, event_time_ms

log = logging.getLogger(__name__)

READ = (SEGMENT_CHANGES, CHURN_ALERTS, CUSTOMER_SCORES, EXAMPLES)
"""The topics that are read, in the order in which messages of one moment are taken."""

_POLL_MS = 200
IDLE_SECONDS = 60.0

_PATIENCE_SECONDS = 10.0
"""How long the broker may take to give the days that it has."""

_MOST_WAITING = 5_000
"""No more is read of a partition while so many of its messages wait for others."""

Told = Callable[[RetentionKpis], None]
Beat = Callable[[], None]


def follow(settings: Settings, told: Told, *, once: bool = False, beat: Beat = lambda: None) -> None:
    """Tell days as they end.

    Parameters
    ----------
    settings
        Where, how the topics are named, and what events mean.
    told
        Called with each day that has been put on the topic.
    once
        Return when everything that is there has been read, instead of following for ever.
    beat
        Called each time that the broker has been asked for more.

    Raises
    ------
    BrokerAbsent
        When nothing answers.
    LayoutError
        When a topic is not there.
    OperatorError
        When the broker refuses.
    """
    counts = partition_counts(settings, [settings.topic(name) for name in (*READ, RETENTION_KPIS)])
    with _consumer(settings) as consumer:
        machine = KpiMachine(settings.streams, _told_before(settings, consumer))
        places = [
            TopicPartition(settings.topic(name), number)
            for name in READ
            for number in range(counts[settings.topic(name)])
        ]
        _Following(settings, consumer, places, machine, told).run(once, beat)


@contextmanager
def _consumer(settings: Settings) -> Iterator[Any]:
    try:
        consumer = KafkaConsumer(
            **kafka_python_arguments(settings),
            bootstrap_timeout_ms=CONNECT_MS,
            isolation_level="read_committed",
            enable_auto_commit=False,
            fetch_max_wait_ms=_POLL_MS,
            check_crcs=False,
            metrics_enabled=False,
        )
    except KafkaError:
        raise not_reached(settings) from None
    try:
        yield consumer
    except KafkaError as error:
        raise OperatorError(f"the broker at {settings.kafka.bootstrap} answers: {error}"[:300]) from None
    finally:
        consumer.close()


def _told_before(settings: Settings, consumer: Any) -> list[RetentionKpis]:
    """Read the days that are on the topic: the newest unbroken run of them."""
    place = TopicPartition(settings.topic(RETENTION_KPIS), 0)
    consumer.assign([place])
    (end,) = ends(consumer, [place]).values()
    consumer.seek_to_beginning(place)
    days: dict[Any, RetentionKpis] = {}
    patience = time.monotonic() + _PATIENCE_SECONDS
    while consumer.position(place) < end:
        if time.monotonic() > patience:
            raise OperatorError(f"the broker does not give what is on {place.topic}")
        for record in consumer.poll(timeout_ms=_POLL_MS).get(place, ()):
            patience = time.monotonic() + _PATIENCE_SECONDS
            if record.value is not None:
                day = msgspec.json.decode(record.value, type=RetentionKpis)
                days[day.day] = day
    run: list[RetentionKpis] = []
    for number in sorted(days, reverse=True):
        if run and (run[-1].day - number).days != 1:
            break
        run.append(days[number])
    return run[::-1]


class _Following:
    """Reads partitions by event time into a machine."""

    def __init__(
        self, settings: Settings, consumer: Any, places: list[TopicPartition], machine: KpiMachine, told: Told
    ) -> None:
        self._settings = settings
        self._consumer = consumer
        self._places = places
        self._number = {place: number for number, place in enumerate(places)}
        self._machine = machine
        self._told = told
        self._names = {settings.topic(name): name for name in READ}
        self._decoders = {
            settings.topic(name): msgspec.json.Decoder(TOPIC_BY_NAME[name].schema) for name in READ
        }
        self._merge: Merge[Decision] = Merge(len(places))
        self._waiting = [0] * len(places)
        self._newest_ms = [0] * len(places)
        # Examples of all partitions are on one, so their times do not say how far it has come.
        self._timed = [place.topic != settings.topic(EXAMPLES) for place in places]
        self._going = {place.partition: Going() for place in places}
        self._heard: set[int] = set()
        self._heard_at = dict.fromkeys(self._going, time.monotonic())

    def run(self, once: bool, beat: Beat) -> None:
        consumer = self._consumer
        consumer.assign(self._places)
        consumer.seek_to_beginning(*self._places)
        while True:
            at_end = self._read()
            beat()
            for number, decision in self._merge.ready():
                self._waiting[number] -= 1
                at_ms = event_time_ms(decision)
                if at_ms is not None and self._timed[number]:
                    self._going[self._places[number].partition].observe(at_ms)
                self._machine.take(decision)
            if days := self._machine.tell(self._until_ms(once)):
                self._publish(days)
            if (
                once
                and at_end
                and not len(self._merge)
                and self._heard | self._silent() == self._going.keys()
            ):
                return  # with a partition that has not said anything yet it waits to see whether it will

    def _read(self) -> bool:
        """Read what there is; tell whether that is all."""
        for place, records in self._consumer.poll(timeout_ms=_POLL_MS).items():
            number = self._number[place]
            if self._timed[number]:
                self._heard_at[place.partition] = time.monotonic()
                self._heard.add(place.partition)
            for record in records:
                decision = self._decision(record)
                if decision is not None:
                    # What removes an entry is about no moment: it follows what was said before it.
                    at_ms = event_time_ms(decision) or self._newest_ms[number]
                    self._newest_ms[number] = max(self._newest_ms[number], at_ms)
                    self._merge.push(number, at_ms, decision)
                    self._waiting[number] += 1
        ended = [number for number, place in enumerate(self._places) if self._is_at_end(place)]
        for number in ended:
            self._merge.caught_up(number)
        self._hold_back()
        return len(ended) == len(self._places)

    def _hold_back(self) -> None:
        """Read no more of partitions of which much waits for others."""
        full = [place for number, place in enumerate(self._places) if self._waiting[number] > _MOST_WAITING]
        if full:
            self._consumer.pause(*full)
        if again := self._consumer.paused() - set(full):
            self._consumer.resume(*again)

    def _is_at_end(self, place: TopicPartition) -> bool:
        end = self._consumer.highwater(place)  # comes with what is fetched
        return end is not None and self._consumer.position(place) >= end

    def _decision(self, record: Any) -> Decision | None:
        name = self._names[record.topic]
        customer_id = (record.key or b"").decode(errors="replace")
        if record.value is None:
            return Decision(name, customer_id, None)
        try:
            return Decision(name, customer_id, self._decoders[record.topic].decode(record.value))
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            log.warning(
                "%s[%d] at %d is of another program: %s", record.topic, record.partition, record.offset, error
            )
            return None

    def _silent(self) -> set[int]:
        """Name the partitions that have said nothing for `IDLE_SECONDS`."""
        since = time.monotonic() - IDLE_SECONDS
        return {partition for partition, at in self._heard_at.items() if at <= since}

    def _until_ms(self, once: bool) -> int:
        """Event time has gone on as far as in the partition that is furthest behind.

        Who looks once takes no partition for idle that has ever said anything: it tells no more than is
        certain.
        """
        silent = self._silent() - (self._heard if once else set())
        times = [going.until_ms for partition, going in self._going.items() if partition not in silent]
        return min(times) if times else max(going.until_ms for going in self._going.values())

    def _publish(self, days: list[RetentionKpis]) -> None:
        producer = KafkaProducer(
            **kafka_python_arguments(self._settings),
            bootstrap_timeout_ms=CONNECT_MS,
            acks="all",
            enable_idempotence=False,  # a day twice is the same day
            max_in_flight_requests_per_connection=1,
            request_timeout_ms=int(self._settings.kafka.request_timeout_seconds * 1000),
            metrics_enabled=False,
        )
        topic = self._settings.topic(RETENTION_KPIS)
        try:
            sent = [
                producer.send(topic, key=day.day.isoformat().encode(), value=encode(day), partition=0)
                for day in days
            ]
            producer.flush(timeout=self._settings.kafka.request_timeout_seconds)
            for future in sent:
                future.get(timeout=1)
        finally:
            producer.close(timeout=1)
        for day in days:
            self._told(day)
