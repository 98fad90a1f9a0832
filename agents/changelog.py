"""The changelog of a partition: customer states, and one marker that says which moment they belong to.

Each epoch writes the states that it changed and then, once those are acknowledged, the marker under a
reserved key: where the inputs stood, the watermark, the models in force, and a sequence number. The
topic is compacted, so what is left is the latest state of each customer and the latest marker. Where
the broker has no transactions (`agents.ledger`), a state newer than the marker, from an epoch that died
half-way, does no harm: it knows by offset which records it has applied.

Values travel with nothing but their own version; a program that does not know the version stops.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from typing import Any

import msgspec
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import OffsetOutOfRangeError

from agents.fetched import as_read
from agents.transport import FETCHING, OutputRecord
from schemas.learning import ModelSnapshot

MARKER_KEY = b"\x00marker"
"""No customer id has this key: ids are printable."""

MARKER_VERSION = 1

MOST_AT_ONCE = 5_000
"""Records read in one go; other tasks get their turn in between."""


class Marker(msgspec.Struct, array_like=True):
    """The end of an epoch.

    Attributes
    ----------
    sequence
        Epochs of this partition so far.
    offsets
        For each input topic, the next offset to read.
    watermark_ms
        Where event time stood.
    model
        What serves after it, for moments before `later_from_ms` where there is a `later_model`.
    customers
        How many there are: a changelog with fewer has lost some.
    topic_ids
        For each input topic, the id that the cluster gave it, where it gives any.
    later_model, later_from_ms
        The model that was announced last, and the moment of event time from which on it serves.
    """

    version: int
    sequence: int
    offsets: dict[str, int]
    watermark_ms: int
    model: ModelSnapshot
    customers: int = 0
    topic_ids: dict[str, str] = {}
    later_model: ModelSnapshot | None = None
    later_from_ms: int = 0


class LogReplaced(Exception):  # noqa: N818 - a state of the world, named after it
    """The changelog does not reach from where reading was to begin: it was cut or made anew."""


_encoder = msgspec.msgpack.Encoder()
_marker_decoder = msgspec.msgpack.Decoder(Marker)


def marker_record(marker: Marker) -> OutputRecord:
    """Make the record that ends an epoch."""
    return MARKER_KEY, _encoder.encode(marker), []


def read_marker(value: bytes | None) -> Marker:
    """Read a marker.

    Raises
    ------
    ValueError
        When it is none, or one of a version that this program does not know.

    Examples
    --------
    >>> read_marker(b"?")
    Traceback (most recent call last):
    ValueError: not an epoch marker
    """
    try:
        marker = _marker_decoder.decode(value or b"")
    except msgspec.DecodeError:
        raise ValueError("not an epoch marker") from None
    if marker.version != MARKER_VERSION:
        raise ValueError(f"epoch marker of version {marker.version}, this program knows {MARKER_VERSION}")
    return marker


async def read_log(
    topic: str,
    partition: int,
    connection: dict[str, Any],
    start: int | None = None,
    *,
    isolation_level: str = "read_committed",
    idle_seconds: float = 30.0,
) -> AsyncGenerator[list[Any], None]:
    """Read a partition to the end that it has when the first answer comes, some records at a time.

    Parameters
    ----------
    connection
        What aiokafka needs to reach the cluster.
    start
        Offset to begin at; None for the beginning, wherever that is.
    isolation_level
        With `read_committed` the end is the last stable offset: behind it are only transactions that
        may yet be rolled back.
    idle_seconds
        How long the broker may send nothing before this gives up.

    Raises
    ------
    LogReplaced
        When there is nothing at `start`, before or behind which the log now lies.
    TimeoutError
        When the end is not reached and nothing comes any more.
    """
    tp = TopicPartition(topic, partition)
    consumer = AIOKafkaConsumer(
        **connection,
        **FETCHING,
        key_deserializer=as_read,
        enable_auto_commit=False,
        auto_offset_reset="earliest" if start is None else "none",
        isolation_level=isolation_level,
    )
    await consumer.start()
    try:
        consumer.assign([tp])
        if start is None:
            await consumer.seek_to_beginning(tp)
        else:
            consumer.seek(tp, start)
        end: int | None = None
        position = start or 0
        while end is None or position < end:
            try:
                async with asyncio.timeout(idle_seconds):
                    records, position, end = await _next_records(consumer, tp, end)
            except TimeoutError:
                raise TimeoutError(
                    f"{topic} partition {partition}: nothing came for {idle_seconds:g} s "
                    f"at offset {position} of {'an unknown end' if end is None else end}"
                ) from None
            if start is not None and start >= end:
                raise LogReplaced(f"it ends at {end}")
            if records:
                yield records
    except OffsetOutOfRangeError:
        raise LogReplaced("it does not hold that offset") from None
    finally:
        await consumer.stop()


async def read_latest(
    topic: str, partition: int, connection: dict[str, Any], idle_seconds: float = 30.0
) -> dict[bytes, bytes]:
    """Read the latest value of each key of a small topic; keys that end in a tombstone are absent."""
    latest: dict[bytes, bytes] = {}
    async for records in read_log(topic, partition, connection, idle_seconds=idle_seconds):
        for record in records:
            if record.value is None:
                latest.pop(record.key, None)
            else:
                latest[record.key] = record.value
    return latest


async def _next_records(
    consumer: AIOKafkaConsumer, tp: TopicPartition, end: int | None
) -> tuple[list[Any], int, int]:
    """Wait until there are records, or until it is clear that there are none before the end."""
    while True:
        got = await consumer.getmany(tp, timeout_ms=100, max_records=MOST_AT_ONCE)
        records = list(got.get(tp, ()))
        # The end comes from a fetch: some brokers count a last batch as one record when asked for it.
        end = _end(consumer, tp) if end is None else end
        if end is None:
            assert not records, "every answer that brings records says where the end is"
            continue
        position = await consumer.position(tp)  # past transaction markers too, which are never records
        if records or position >= end:
            return records, position, end


def _end(consumer: AIOKafkaConsumer, tp: TopicPartition) -> int | None:
    """Find the end from the last answer to a fetch: behind it are only transactions that may yet fail."""
    stable: int | None = consumer.last_stable_offset(tp)
    high: int | None = consumer.highwater(tp)
    return high if stable is None or stable < 0 else stable
