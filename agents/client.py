"""The two ends that a person holds: putting messages on the inputs, looking at what comes out.

Sending keeps what the rest relies on. A customer's messages stay in order, because they have one key,
go to one partition (murmur2, as every Kafka client does it) and one batch of a partition is under way at
a time. Both inputs advance together: what was read is sent in rounds, every partition of both topics in
one request, so that a customer's order does not trail the clicks before it by a file's length. Record
timestamps are the time of sending, never the event time: retention would delete a shop of 1997 at once.
The idempotent producer is not used: what a retry repeats carries the same `messageId`, and is dropped
where it is read.

Sending uses aiokafka because kafka-python computes checksums in Python, at 0.8 ms a kilobyte; looking
uses kafka-python, which needs no event loop, with its check of those sums left out.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Collection, Iterable, Iterator
from functools import lru_cache
from typing import Any

import msgspec
from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaConnectionError
from aiokafka.errors import KafkaError as SendingError
from kafka import KafkaConsumer, TopicPartition
from kafka.errors import KafkaError as ReadingError
from kafka.partitioner.default import murmur2

from agents.cluster import CONNECT_MS, not_reached, partition_counts
from agents.connection import aiokafka_arguments, kafka_python_arguments
from agents.errors import OperatorError
from agents.routing import route
from agents.settings import Settings
from schemas.topics import CLICKSTREAM, INPUTS, ORDERS

_BATCH_BYTES = 262_144
_ROUND_MESSAGES = 2_000
_TICK_SECONDS = 0.02
_POLL_MS = 200


@lru_cache(maxsize=131_072)  # murmur2 is a loop in Python, and the same customers come again
def partition_of(key: bytes, partitions: int) -> int:
    """Give the partition of a key, as Kafka's own clients compute it.

    Examples
    --------
    >>> partition_of(b"c-17", 4)
    3
    """
    return int((murmur2(key) & 0x7FFFFFFF) % partitions)


class Sent(msgspec.Struct):
    """What was sent: messages by topic, and how long it took."""

    clickstream: int = 0
    orders: int = 0
    seconds: float = 0.0

    @property
    def messages(self) -> int:
        """Messages on both topics."""
        return self.clickstream + self.orders


def send(
    settings: Settings,
    lines: Iterable[bytes | None],
    *,
    source: str = "lines",
    as_is: bool = False,
    rate: float | None = None,
) -> Sent:
    """Put messages on the input topics, in order, and wait until the broker has them all.

    Parameters
    ----------
    settings
        Where, and how the topics are named.
    lines
        One message each, as JSON; blank ones are left out, None sends at once what was given so far.
    source
        Where the lines come from, for the message about a bad one.
    as_is
        Lines that are not JSON objects go to the clickstream without a key, instead of ending it.
    rate
        Messages a second at most.

    Returns
    -------
    Sent
        How many went where.

    Raises
    ------
    BrokerAbsent
        When nothing answers.
    LayoutError
        When an input topic is not there.
    OperatorError
        When a line is not a JSON object or the broker refuses a message; those before it were sent.
    """
    names = {name: settings.topic(name) for name in INPUTS}
    counts = partition_counts(settings, list(names.values()))
    sending = _Sending(settings, {name: counts[real] for name, real in names.items()}, source, as_is, rate)
    return asyncio.run(sending.run(lines))


class _Sending:
    def __init__(
        self, settings: Settings, partitions: dict[str, int], source: str, as_is: bool, rate: float | None
    ) -> None:
        self._settings = settings
        self._partitions = partitions
        self._source = source
        self._as_is = as_is
        self._rate = rate
        self._batches: dict[tuple[str, int], Any] = {}
        self._in_round = 0
        self._sent = Sent()

    async def run(self, lines: Iterable[bytes | None]) -> Sent:
        kafka = self._settings.kafka
        self._producer = AIOKafkaProducer(
            **aiokafka_arguments(self._settings),
            acks="all",
            max_batch_size=_BATCH_BYTES,
        )
        try:
            await self._producer.start()
            for name in INPUTS:  # so that no batch of the first round has to wait for metadata
                await self._producer.partitions_for(self._settings.topic(name))
            await self._send_all(lines)
        except KafkaConnectionError:
            raise not_reached(self._settings) from None
        except SendingError as error:
            raise OperatorError(
                f"the broker at {kafka.bootstrap} does not take the messages after the first "
                f"{self._sent.messages - self._in_round} of {self._source}: {error}"
            ) from None
        finally:
            await self._producer.stop()
        return self._sent

    async def _send_all(self, lines: Iterable[bytes | None]) -> None:
        began = time.monotonic()
        number = 0
        for line in lines:
            if line is None:
                await self._send_round()
                continue
            number += 1
            value = line.rstrip(b"\r\n")
            if value:
                topic, key = await self._routed(value, number)
                await self._add(topic, key, value)
                if self._rate is not None:
                    ahead = self._sent.messages / self._rate - (time.monotonic() - began)
                    if ahead > _TICK_SECONDS:
                        await self._send_round()
                        await asyncio.sleep(ahead)
        await self._send_round()
        self._sent.seconds = time.monotonic() - began

    async def _routed(self, value: bytes, number: int) -> tuple[str, bytes | None]:
        try:
            return route(value)
        except (msgspec.DecodeError, RecursionError, UnicodeError):
            if self._as_is:
                return CLICKSTREAM, None
        await self._send_round()
        raise OperatorError(
            f"{self._source}:{number}: not a JSON object; messages sent before it: {self._sent.messages} "
            "(--as-is sends such lines too)"
        )

    async def _add(self, topic: str, key: bytes | None, value: bytes) -> None:
        count = self._partitions[topic]
        # Without a key any partition will do, so they take turns.
        partition = self._sent.messages % count if key is None else partition_of(key, count)
        place = (topic, partition)
        if self._in_round >= _ROUND_MESSAGES:
            await self._send_round()
        if not self._fits(place, key, value):
            await self._send_round()
            self._fits(place, key, value)  # an empty batch takes one message of any size
        self._in_round += 1
        if topic == ORDERS:
            self._sent.orders += 1
        else:
            self._sent.clickstream += 1

    def _fits(self, place: tuple[str, int], key: bytes | None, value: bytes) -> bool:
        batch = self._batches.get(place)
        if batch is None:
            batch = self._batches[place] = self._producer.create_batch()
        return batch.append(timestamp=None, key=key, value=value) is not None

    async def _send_round(self) -> None:
        batches, self._batches = self._batches, {}
        futures = [
            await self._producer.send_batch(batch, self._settings.topic(topic), partition=partition)
            for (topic, partition), batch in batches.items()
        ]
        for outcome in await asyncio.gather(*futures, return_exceptions=True):
            if isinstance(outcome, BaseException):
                raise outcome
        self._in_round = 0


class Record(msgspec.Struct, frozen=True):
    """A record read from a topic; `topic` is its name in `schemas.topics`."""

    topic: str
    partition: int
    offset: int
    time_ms: int
    key: bytes | None
    value: bytes | None
    headers: dict[str, bytes]


def watch(
    settings: Settings,
    names: Collection[str],
    *,
    from_beginning: bool = False,
    count: int | None = None,
    timeout: float | None = None,
) -> Iterator[Record]:
    """Read topics as records come, in no consumer group: nothing is committed, nobody is disturbed.

    Parameters
    ----------
    settings
        Where, and how the topics are named.
    names
        Topics of `schemas.topics`.
    from_beginning
        Everything that is still there first; otherwise only what comes from now on.
    count
        Stop after so many records.
    timeout
        Stop after so many seconds.

    Yields
    ------
    Record
        In order within a partition, and as they arrive between partitions.

    Raises
    ------
    BrokerAbsent
        When nothing answers.
    LayoutError
        When a topic is not there.
    """
    deadline = None if timeout is None else time.monotonic() + timeout
    logical = {settings.topic(name): name for name in names}
    counts = partition_counts(settings, list(logical))
    partitions = [TopicPartition(name, number) for name, total in counts.items() for number in range(total)]
    try:
        consumer = KafkaConsumer(
            **kafka_python_arguments(settings),
            bootstrap_timeout_ms=CONNECT_MS,
            enable_auto_commit=False,
            fetch_max_wait_ms=_POLL_MS,
            check_crcs=False,
            metrics_enabled=False,
        )
    except ReadingError:
        raise not_reached(settings) from None
    try:
        consumer.assign(partitions)
        starts = consumer.beginning_offsets(partitions) if from_beginning else ends(consumer, partitions)
        for partition, offset in starts.items():
            consumer.seek(partition, offset)
        yield from _poll(consumer, logical, count, deadline)
    except ReadingError as error:
        raise OperatorError(f"the broker at {settings.kafka.bootstrap} answers: {error}"[:300]) from None
    finally:
        consumer.close()


def ends(consumer: Any, partitions: list[TopicPartition]) -> dict[TopicPartition, int]:
    """Find where the partitions end.

    Asked for the latest offset, the embedded broker names the one after the first record of the last
    batch. The high watermark that comes with fetched records is right everywhere.
    """
    for partition, offset in consumer.end_offsets(partitions).items():
        consumer.seek(partition, offset)
    deadline = time.monotonic() + CONNECT_MS / 1000
    unknown = list(partitions)
    while unknown:
        if time.monotonic() > deadline:
            raise OperatorError(f"the broker does not say where {unknown[0].topic} ends")
        consumer.poll(timeout_ms=_POLL_MS)
        unknown = [partition for partition in unknown if consumer.highwater(partition) is None]
    return {partition: consumer.highwater(partition) for partition in partitions}


def _poll(
    consumer: Any, logical: dict[str, str], count: int | None, deadline: float | None
) -> Iterator[Record]:
    seen = 0
    while count is None or seen < count:
        patience = _POLL_MS if deadline is None else min(_POLL_MS, int((deadline - time.monotonic()) * 1000))
        if patience < 0:
            return
        for partition, records in consumer.poll(timeout_ms=patience).items():
            for record in records:
                if count is not None and seen >= count:
                    return
                seen += 1
                yield Record(
                    topic=logical[partition.topic],
                    partition=partition.partition,
                    offset=record.offset,
                    time_ms=record.timestamp,
                    key=record.key,
                    value=record.value,
                    headers={name: value or b"" for name, value in record.headers},
                )
