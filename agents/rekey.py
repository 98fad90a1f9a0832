"""Copying a topic that is keyed or partitioned otherwise onto an input, by customer.

Holdfast decides about a customer where all their events are: on one partition number of both inputs. A
collector may key by session, a database by its primary key, a proxy by nothing at all. This agent reads
such a topic in a group of its own and writes each record to an input again: the value, the headers and
the timestamp as they were, the customer id as the key, the partition as every Kafka client computes it.
A visitor without a customer id goes by the anonymous id, as `holdfast send` does it. What names nobody
goes to the input's dead letters, and a flood of those stops the copying, as it stops a worker.

At least once: offsets are committed after everything read up to them has been acknowledged. What is
copied twice carries the same message id, and is dropped where it is read. Records of one partition keep
their order; a customer who is on several partitions of the old topic has theirs put together as they
come, and the worker's `time.allowed_lateness_seconds` decides what is late.
"""

from __future__ import annotations

import asyncio
import logging
import signal
import time
from typing import Any

import msgspec
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.errors import CommitFailedError, IllegalStateError, KafkaConnectionError, KafkaError

from agents.breaker import Breaker, flood
from agents.client import partition_of
from agents.cluster import not_reached, partition_counts
from agents.connection import aiokafka_arguments
from agents.dead_letters import dead_letter
from agents.errors import OperatorError
from agents.settings import Settings
from agents.transport import FETCHING, MAX_BATCH_BYTES, MAX_REQUEST_BYTES
from schemas.codec import WireError, check_customer_id
from schemas.messages import Envelope
from schemas.sources.registry import format_of, reader
from schemas.topics import dead_letters_of

log = logging.getLogger(__name__)

_ROUND_RECORDS = 5_000
_WAIT_MS = 200
_TELL_SECONDS = 10.0
_EMPTY = object()


class Copied(msgspec.Struct):
    """What has become of the records.

    Attributes
    ----------
    keyed
        Written with their customer id as the key.
    anonymous
        Written with their anonymous id as the key.
    dead
        Written to the dead letters.
    empty
        Left out: a change feed's tombstones, which say nothing.
    """

    keyed: int = 0
    anonymous: int = 0
    dead: int = 0
    empty: int = 0

    def __str__(self) -> str:
        parts = [f"{self.keyed:,} keyed by customer", f"{self.anonymous:,} by anonymous id"]
        parts += [f"{self.dead:,} dead letters"] + ([f"{self.empty:,} empty"] if self.empty else [])
        return ", ".join(parts)


def key_of(envelope: Envelope) -> tuple[bytes, bool]:
    """Give a message's key, and whether it is a customer's.

    Raises
    ------
    WireError
        When it names nobody, or somebody who is no single customer.

    Examples
    --------
    >>> from schemas.sources.envelope import passive
    >>> key_of(passive("m", None, "c-17", "a-1")), key_of(passive("m", None, None, "a-1"))
    ((b'c-17', True), (b'a-1', False))
    """
    if envelope.user_id:
        check_customer_id(envelope.user_id)
        return envelope.user_id.encode(), True
    if envelope.anonymous_id:
        return envelope.anonymous_id.encode(), False
    raise WireError("missing", "userId and anonymousId")


class Rekey:
    """Copies one topic onto an input.

    Parameters
    ----------
    settings
        Where, in which format the input is, and how many dead letters are too many.
    origin
        The real name of the topic to read.
    to
        The input to write, as `schemas.topics` names it.
    until_end
        Stop where the topic ended at the start, instead of going on with what comes.
    """

    def __init__(self, settings: Settings, origin: str, to: str, until_end: bool = False) -> None:
        self.copied = Copied()
        self._settings = settings
        self._origin = origin
        self._target = settings.topic(to)
        self._dead = settings.topic(dead_letters_of(to))
        self._until_end = until_end
        self._empty: Any = _EMPTY if format_of(to, settings.sources) == "debezium" else None
        self._reader = reader(format_of(to, settings.sources), settings.sources)
        self._breakers: dict[int, Breaker] = {}
        self._stopping = asyncio.Event()
        if origin == self._target:
            raise OperatorError(f"{origin} cannot be copied onto itself: choose another topics.{to}")

    def run(self) -> Copied:
        """Copy until SIGTERM, SIGINT or the end.

        Raises
        ------
        BrokerAbsent
            When nothing answers.
        LayoutError
            When a topic is not there.
        OperatorError
            When too many records name nobody, or the broker refuses one.
        """
        self._counts = partition_counts(self._settings, [self._origin, self._target, self._dead])
        asyncio.run(self._run())
        return self.copied

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stopping.set)
        kafka = self._settings.kafka
        consumer = AIOKafkaConsumer(
            self._origin,
            **aiokafka_arguments(self._settings),
            **FETCHING,
            group_id=f"{kafka.group}-rekey-{self._origin}",
            auto_offset_reset="earliest",
            enable_auto_commit=False,
            isolation_level="read_committed",
            session_timeout_ms=int(kafka.session_timeout_seconds * 1000),
            rebalance_timeout_ms=int(kafka.rebalance_timeout_seconds * 1000),
            heartbeat_interval_ms=int(kafka.session_timeout_seconds * 100),
        )
        producer = AIOKafkaProducer(
            **aiokafka_arguments(self._settings),
            acks="all",
            enable_idempotence=kafka.idempotent_producer,
            max_batch_size=MAX_BATCH_BYTES,
            max_request_size=MAX_REQUEST_BYTES,
        )
        try:
            await consumer.start()
            await producer.start()
            await self._copy(consumer, producer)
        except KafkaConnectionError:
            raise not_reached(self._settings) from None
        except KafkaError as error:
            raise OperatorError(f"the broker at {kafka.bootstrap} answers: {error}"[:300]) from None
        finally:
            await consumer.stop()
            await producer.stop()

    async def _copy(self, consumer: Any, producer: Any) -> None:
        told = time.monotonic()
        ends: dict[TopicPartition, int] | None = None
        while not self._stopping.is_set():
            fetched = await consumer.getmany(timeout_ms=_WAIT_MS, max_records=_ROUND_RECORDS)
            if any(fetched.values()):
                await self._round(consumer, producer, fetched)
            if self._until_end and consumer.assignment():
                if ends is None:
                    ends = await self._ends(consumer)
                if ends is not None and await self._reached(consumer, ends):
                    return
            if time.monotonic() - told > _TELL_SECONDS:
                told = time.monotonic()
                log.info("%s to %s: %s", self._origin, self._target, self.copied)

    async def _ends(self, consumer: Any) -> dict[TopicPartition, int] | None:
        """Find where the topic ends; None while the first answer of a partition is still to come.

        Asked for an end, the embedded broker counts the last batch as one record; what comes with fetched
        records is right everywhere.
        """
        marks = {tp: consumer.highwater(tp) for tp in consumer.assignment()}
        asked = await consumer.end_offsets(list(marks))
        known = {tp: mark if mark is not None else asked[tp] for tp, mark in marks.items()}
        unread = [tp for tp, mark in marks.items() if mark is None and asked[tp] > 0]
        return None if unread else known

    async def _reached(self, consumer: Any, ends: dict[TopicPartition, int]) -> bool:
        for tp, end in ends.items():
            if tp in consumer.assignment() and await consumer.position(tp) < end:
                return False
        return True

    async def _round(self, consumer: Any, producer: Any, fetched: dict[Any, list[Any]]) -> None:
        """Copy what was fetched, wait for all of it, and only then commit."""
        sending = _Sending(producer)
        stopped: str | None = None
        offsets = {}
        for tp, records in fetched.items():
            for record in records:
                stopped = await self._one(sending, record)
                offsets[tp] = record.offset + 1
                if stopped:
                    break
            if stopped:
                break
        await sending.all_acknowledged()
        try:
            await consumer.commit(offsets)
        except (CommitFailedError, IllegalStateError):
            log.warning("a partition went to another copier: some records are copied twice")
        if stopped:
            raise OperatorError(stopped)

    async def _one(self, sending: _Sending, record: Any) -> str | None:
        """Send a record to where it belongs; a line when that was one dead letter too many."""
        value, copied = record.value, self.copied
        if value is None and self._empty is _EMPTY:
            copied.empty += 1
            return None
        breaker = self._breakers.get(record.partition)
        if breaker is None:
            letters = self._settings.dead_letters
            breaker = Breaker(letters.window, letters.max_share, letters.max_consecutive)
            self._breakers[record.partition] = breaker
        limit = self._settings.dead_letters.max_message_bytes
        try:
            key, is_customer = key_of(self._reader.envelope(value, limit, record.headers))
        except WireError as error:
            copied.dead += 1
            partition = record.partition % self._counts[self._dead]
            letter = dead_letter(record, error, self._origin, record.partition, "TRANSFORMATION")
            await sending.add((self._dead, partition), record.timestamp, *letter)
            tripped = breaker.bad(error.reason)
            return flood(tripped, self._origin, record.partition, self._dead) if tripped else None
        breaker.good()
        if is_customer:
            copied.keyed += 1
        else:
            copied.anonymous += 1
        place = (self._target, partition_of(key, self._counts[self._target]))
        await sending.add(place, record.timestamp, key, value, list(record.headers))
        return None


class _Sending:
    """One round of batches, a partition's in order."""

    def __init__(self, producer: Any) -> None:
        self._producer = producer
        self._batches: dict[tuple[str, int], Any] = {}
        self._waits: list[Any] = []

    async def add(
        self, place: tuple[str, int], timestamp: int, key: bytes | None, value: bytes | None, headers: Any
    ) -> None:
        record = {"timestamp": timestamp if timestamp >= 0 else None, "key": key, "value": value}
        batch = self._batches.get(place)
        if batch is None or batch.append(**record, headers=headers) is None:
            if batch is not None:
                await self._send(place, batch)
            batch = self._batches[place] = self._producer.create_batch()
            batch.append(**record, headers=headers)  # an empty batch takes one record of any size

    async def _send(self, place: tuple[str, int], batch: Any) -> None:
        topic, partition = place
        self._waits.append(await self._producer.send_batch(batch, topic, partition=partition))

    async def all_acknowledged(self) -> None:
        for place, batch in self._batches.items():
            await self._send(place, batch)
        for outcome in await asyncio.gather(*self._waits, return_exceptions=True):
            if isinstance(outcome, BaseException):
                raise outcome
