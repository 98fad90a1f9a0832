"""The console's reader: all output topics, from where they still matter, into the view.

It joins no consumer group and commits nothing, so any number of consoles read beside each other and none
disturbs a worker. Scores are read whole, because the topic is compacted: its length is the number of
customers. Of topics that grow without end, the newest part is read. Where epochs are transactions only what
was committed is read, as every consumer should.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter, deque
from collections.abc import Callable
from typing import Any, NamedTuple

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaConnectionError, KafkaError

from agents.cluster import not_reached, partition_counts
from agents.connection import aiokafka_arguments
from agents.console import answers
from agents.console.view import READ, View
from agents.errors import OperatorError
from agents.settings import Settings
from schemas.codec import WIRE_REASONS
from schemas.decisions import ChurnAlert
from schemas.topics import CHURN_ALERTS, CUSTOMER_SCORES, MODELS, SEGMENT_CHANGES, TOPICS

DEAD = tuple(spec.name for spec in TOPICS if spec.role == "dead")

TAILS = {CHURN_ALERTS: 50_000, SEGMENT_CHANGES: 50_000, MODELS: 2_048} | dict.fromkeys(DEAD, 200)
"""Records of each partition that are read at the start, of topics that are not read whole."""

_AT_ONCE = 500  # some milliseconds of work, so that requests do not wait for longer
_WAIT_MS = 100
_RATE_SECONDS = 30.0
_FETCHING = {
    "max_partition_fetch_bytes": 4 * 1024 * 1024,
    "fetch_max_wait_ms": _WAIT_MS,
    "retry_backoff_ms": 1_000,  # the client says each time that a broker is away
}


class News(NamedTuple):
    """What a batch brought: alerts that are news, and whom it spoke of."""

    alerts: list[ChurnAlert]
    customers: set[str]


class _Reading:
    """How reading one topic goes."""

    def __init__(self) -> None:
        self.read = 0
        self.newest_ms: int | None = None
        self.recent: deque[tuple[float, int]] = deque()

    def count(self, records: int, now: float) -> None:
        self.read += records
        self.recent.append((now, records))

    def per_second(self, now: float) -> float:
        while self.recent and self.recent[0][0] < now - _RATE_SECONDS:
            self.recent.popleft()
        return sum(records for _, records in self.recent) / _RATE_SECONDS


class Feed:
    """Reads the output topics.

    Parameters
    ----------
    settings
        Where, and how the topics are named.
    view
        What to fold them into.
    tell
        Called with what is news, once everything that was there at the start has been read.

    Attributes
    ----------
    caught_up
        Set when everything that was there at the start has been read.
    """

    def __init__(self, settings: Settings, view: View, tell: Callable[[News], None]) -> None:
        self.caught_up = asyncio.Event()
        self._settings = settings
        self._view = view
        self._tell = tell
        self._names = {settings.topic(name): name for name in (*READ, *DEAD)}
        self._readings = {name: _Reading() for name in (*READ, *DEAD)}
        self._behind: dict[TopicPartition, int] = {}
        self._dead_begin: dict[TopicPartition, int] = {}
        self._dead_end: dict[TopicPartition, int] = {}
        self._reasons: dict[str, deque[str]] = {name: deque(maxlen=TAILS[name]) for name in DEAD}

    def partitions(self) -> list[TopicPartition]:
        """Find the partitions; blocks.

        Raises
        ------
        OperatorError
            When no broker answers, or a topic is not there.
        """
        counts = partition_counts(self._settings, list(self._names))
        return [TopicPartition(name, number) for name, count in counts.items() for number in range(count)]

    async def run(self, partitions: list[TopicPartition]) -> None:
        """Read for ever.

        Raises
        ------
        OperatorError
            When the broker refuses what is asked of it.
        """
        consumer = AIOKafkaConsumer(
            **aiokafka_arguments(self._settings),
            **_FETCHING,
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            isolation_level="read_committed" if self._settings.kafka.transactions else "read_uncommitted",
        )
        try:
            await consumer.start()
        except KafkaConnectionError:
            raise not_reached(self._settings) from None
        try:
            consumer.assign(partitions)
            await self._seek(consumer, partitions)
            await self._follow(consumer, set(partitions))
        except KafkaError as error:
            raise OperatorError(
                f"the broker at {self._settings.kafka.bootstrap} answers: {error}"[:300]
            ) from None
        finally:
            await consumer.stop()

    async def _seek(self, consumer: Any, partitions: list[TopicPartition]) -> None:
        begins = await consumer.beginning_offsets(partitions)
        ends = await consumer.end_offsets(partitions)
        for place in partitions:
            name = self._names[place.topic]
            start = begins[place]
            if name != CUSTOMER_SCORES:
                start = max(start, ends[place] - TAILS[name])
            if name in DEAD:
                self._dead_begin[place], self._dead_end[place] = begins[place], ends[place]
            consumer.seek(place, start)

    async def _follow(self, consumer: Any, unread: set[TopicPartition]) -> None:
        ends: dict[TopicPartition, int] = {}
        while True:
            batches = await consumer.getmany(timeout_ms=_WAIT_MS, max_records=_AT_ONCE)
            news = News([], set())
            now = time.monotonic()
            for place, records in batches.items():
                self._take(self._names[place.topic], records, news, now)
            await self._look(consumer, unread, ends, batches)
            if unread:
                # What is known of each partition's end comes with its first answer to a fetch.
                unread -= {place for place in unread if ends.get(place, -1) >= 0 and self._behind[place] == 0}
            elif not self.caught_up.is_set():
                self.caught_up.set()
            elif news.alerts or news.customers:
                self._tell(news)
            await asyncio.sleep(0)  # a batch that is there at once would let nobody else run

    async def _look(
        self,
        consumer: Any,
        unread: set[TopicPartition],
        ends: dict[TopicPartition, int],
        batches: dict[TopicPartition, list[Any]],
    ) -> None:
        """Note how far each partition is that something came from, or that is not known to be read."""
        for place in unread | batches.keys():
            end = consumer.last_stable_offset(place)
            if end is None or end < 0:
                end = consumer.highwater(place)
            if end is None:
                continue
            position = await consumer.position(place)
            aim = ends.setdefault(place, end) if place in unread else end
            self._behind[place] = max(0, aim - position)
            if place in self._dead_end:
                self._dead_end[place] = max(end, self._dead_end[place])

    def _take(self, name: str, records: list[Any], news: News, now: float) -> None:
        reading = self._readings[name]
        reading.count(len(records), now)
        reading.newest_ms = max(reading.newest_ms or 0, records[-1].timestamp)
        for record in records:
            if name in self._reasons:
                self._reasons[name].append(_reason(record))
                continue
            alert = self._view.take(name, record.key, record.value, record.timestamp)
            if alert is not None:
                news.alerts.append(alert)
            if record.key is not None and name != MODELS:
                news.customers.add(record.key.decode(errors="replace"))

    def health(self, now: float, wall_ms: int) -> tuple[list[answers.TopicHealth], list[answers.DeadLetters]]:
        """Tell how reading goes.

        Parameters
        ----------
        now
            Seconds on the monotonic clock.
        wall_ms
            The wall clock: how long a topic has been silent is a question to it.
        """
        topics = [
            answers.TopicHealth(
                topic=self._settings.topic(name),
                read=reading.read,
                per_second=reading.per_second(now),
                behind=sum(
                    behind for place, behind in self._behind.items() if self._names[place.topic] == name
                ),
                silent_seconds=None
                if reading.newest_ms is None
                else max(0.0, (wall_ms - reading.newest_ms) / 1000.0),
            )
            for name, reading in self._readings.items()
            if name not in DEAD
        ]
        letters = [
            answers.DeadLetters(
                topic=self._settings.topic(name),
                kept=sum(
                    end - self._dead_begin[place]
                    for place, end in self._dead_end.items()
                    if self._names[place.topic] == name
                ),
                reasons=dict(Counter(self._reasons[name]).most_common()),
            )
            for name in DEAD
        ]
        return topics, letters


def _reason(record: Any) -> str:
    """Give why a message was refused; only what this program itself says, as headers are the sender's too."""
    said = [value for name, value in record.headers if name == "holdfast.reason" and value]
    reason = said[-1].decode(errors="replace") if said else ""
    return reason if reason in WIRE_REASONS else "other"
