"""The input topics as a file: every partition up to where it ended, merged by event time.

A replay of several variants must see the same messages, and a topic goes on while it is read. So what is on
it is first written to a file (`agents.records`), and everything else reads that. Partitions keep their own
order; between them the message with the earliest event time goes first, ties by topic and partition. A
message without a readable event time, as a tombstone is, goes right after the one before it.

Bounds are the broker's record times, because that is what it has an index of: from the first record of a
partition at or after `since` up to the first at or after `until`.
"""

from __future__ import annotations

import heapq
import time
from collections import deque
from collections.abc import Callable, Collection, Iterator
from contextlib import suppress
from typing import Any, BinaryIO, NamedTuple

from kafka import KafkaConsumer, TopicPartition
from kafka.errors import KafkaError

from agents.client import ends
from agents.cluster import CONNECT_MS, not_reached, partition_counts
from agents.connection import kafka_python_arguments
from agents.errors import OperatorError
from agents.records import Recorded, write_record
from agents.settings import Settings
from schemas.codec import WireError
from schemas.sources.registry import Decode, decoder_for, reads_headers
from schemas.topics import INPUTS

_POLL_MS = 200
_ENOUGH = 2_000
"""Records of a partition that wait for the others before no more are asked for: what bounds memory."""
_STEP = 500

Progress = Callable[[int, int], None]
"""Takes records written and records to be written at most."""


def fetch(
    settings: Settings,
    names: Collection[str],
    since_ms: int | None,
    until_ms: int | None,
    file: BinaryIO,
    progress: Progress | None = None,
) -> int:
    """Write what is on input topics to a file; no consumer group, nothing is committed.

    Parameters
    ----------
    names
        Topics of `schemas.topics.INPUTS`.
    since_ms, until_ms
        Record times in epoch milliseconds; None for no bound.
    file
        Takes the records, for `agents.records.Records` to read.
    progress
        Called now and then.

    Returns
    -------
    int
        Messages written.

    Raises
    ------
    BrokerAbsent
        When nothing answers.
    OperatorError
        When a topic is not there, or the broker stops answering.
    """
    written = 0
    for record, total in _read(settings, names, since_ms, until_ms):
        write_record(file, record)
        written += 1
        if progress and written % _STEP == 0:
            progress(written, total)
    return written


def values(settings: Settings, name: str) -> Iterator[bytes]:
    """Give the values of any topic of `schemas.topics`, up to where it ends now; tombstones are left out.

    Raises
    ------
    BrokerAbsent
        When nothing answers.
    OperatorError
        When the topic is not there, or the broker stops answering.
    """
    for record, _ in _read(settings, [name], None, None):
        if record.value is not None:
            yield record.value


def _read(
    settings: Settings, names: Collection[str], since_ms: int | None, until_ms: int | None
) -> Iterator[tuple[Recorded, int]]:
    counts = partition_counts(settings, [settings.topic(name) for name in names])
    partitions = [TopicPartition(name, number) for name, total in counts.items() for number in range(total)]
    try:
        consumer = KafkaConsumer(
            **kafka_python_arguments(settings),
            bootstrap_timeout_ms=CONNECT_MS,
            enable_auto_commit=False,
            fetch_max_wait_ms=_POLL_MS,
            isolation_level="read_committed",
            check_crcs=False,
            metrics_enabled=False,
        )
    except KafkaError:
        raise not_reached(settings) from None
    try:
        reading = _Reading(settings, consumer, partitions, since_ms, until_ms)
        for record in reading.merged():
            yield record, reading.total
    except KafkaError as error:
        raise OperatorError(f"the broker at {settings.kafka.bootstrap} answers: {error}"[:300]) from None
    finally:
        consumer.close()


class _Input(NamedTuple):
    source: int
    decode: Decode
    with_headers: bool

    def time_ms(self, record: Recorded, max_bytes: int, before_ms: int) -> int:
        """Tell a record's event time; that of the one before where it has none."""
        if record.value is None:
            return before_ms
        with suppress(WireError):  # the replay will say so
            if self.with_headers:
                return self.decode(record.value, max_bytes, record.headers).time_ms
            return self.decode(record.value, max_bytes).time_ms
        return before_ms


class _Reading:
    """Partitions, each up to its end, with what was read of them and waits."""

    def __init__(
        self,
        settings: Settings,
        consumer: Any,
        partitions: list[TopicPartition],
        since_ms: int | None,
        until_ms: int | None,
    ) -> None:
        self._consumer = consumer
        self._since_ms, self._until_ms = since_ms, until_ms
        self._patience = settings.kafka.request_timeout_seconds
        self._max_bytes = settings.dead_letters.max_message_bytes
        self._inputs = {
            settings.topic(name): _Input(
                source, decoder_for(name, settings.sources), reads_headers(name, settings.sources)
            )
            for source, name in enumerate(INPUTS)
        }
        consumer.assign(partitions)
        starts = consumer.beginning_offsets(partitions)
        self._ends = ends(consumer, partitions)
        if since_ms is not None:
            for partition, found in consumer.offsets_for_times(dict.fromkeys(partitions, since_ms)).items():
                starts[partition] = self._ends[partition] if found is None else found.offset
        self._begun = dict.fromkeys(partitions, since_ms is None)
        self._waiting: dict[TopicPartition, deque[tuple[int, Recorded]]] = {p: deque() for p in partitions}
        self._newest = dict.fromkeys(partitions, 0)
        self._open = {p for p in partitions if starts[p] < self._ends[p]}
        self.total = sum(max(0, self._ends[p] - starts[p]) for p in partitions)
        self._next = starts
        self._asked: set[TopicPartition] = set()

    def merged(self) -> Iterator[Recorded]:
        order = {partition: place for place, partition in enumerate(self._waiting)}
        heads: list[tuple[int, int, TopicPartition]] = []
        outside = set(self._waiting)
        while True:
            self._fill(outside)
            for partition in tuple(outside):
                if self._waiting[partition]:
                    time_ms = self._waiting[partition][0][0]
                    heapq.heappush(heads, (time_ms, order[partition], partition))
                    outside.discard(partition)
                elif partition not in self._open:
                    outside.discard(partition)
            if not heads:
                return
            _, _, partition = heapq.heappop(heads)
            yield self._waiting[partition].popleft()[1]
            outside.add(partition)

    def _fill(self, wanted: set[TopicPartition]) -> None:
        """Read until every wanted partition has a record or is at its end."""
        deadline = time.monotonic() + self._patience
        while any(partition in self._open and not self._waiting[partition] for partition in wanted):
            if time.monotonic() > deadline:
                raise OperatorError("the broker does not give the records that it says it has")
            self._ask({p for p in self._open if len(self._waiting[p]) < _ENOUGH})
            for partition, records in self._consumer.poll(timeout_ms=_POLL_MS).items():
                deadline = time.monotonic() + self._patience
                for record in records:
                    self._take(partition, record)
            for partition in self._asked & self._open:
                # Not the last record's offset: markers of transactions have offsets as well.
                self._next[partition] = self._consumer.position(partition)
                if self._next[partition] >= self._ends[partition]:
                    self._open.discard(partition)

    def _ask(self, partitions: set[TopicPartition]) -> None:
        """Read these partitions and no other; a partition that was paused does not always wake up again."""
        if partitions == self._asked:
            return
        self._asked = partitions
        self._consumer.assign(sorted(partitions))
        for partition in partitions:
            self._consumer.seek(partition, self._next[partition])

    def _take(self, partition: TopicPartition, record: Any) -> None:
        if partition not in self._open or record.offset >= self._ends[partition]:
            return
        # The embedded broker finds the batch, not the record: what lies before is left out here.
        self._begun[partition] |= record.timestamp >= (self._since_ms or 0)
        if not self._begun[partition]:
            return
        if self._until_ms is not None and record.timestamp >= self._until_ms:
            self._open.discard(partition)
            return
        found = self._inputs.get(partition.topic)
        if found is None:  # an output: its partitions are not put in order of time
            kept = Recorded(0, record.value, ())
        else:
            kept = Recorded(found.source, record.value, record.headers if found.with_headers else ())
            self._newest[partition] = found.time_ms(kept, self._max_bytes, self._newest[partition])
        self._waiting[partition].append((self._newest[partition], kept))
