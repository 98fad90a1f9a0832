"""The changelog of a partition: customer states, and one marker that says which moment they belong to.

Each epoch writes the states that it changed and then, once those are acknowledged, the marker under a
reserved key: where the inputs stood, the watermark, the model in force, and a sequence number. The
topic is compacted, so what is left is the latest state of each customer and the latest marker. Where
the broker has no transactions (`agents.ledger`), a state newer than the marker, from an epoch that died
half-way, does no harm: it knows by offset which records it has applied.

Values travel with nothing but their own version; a program that does not know the version stops.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any

import msgspec
from aiokafka import AIOKafkaConsumer, TopicPartition

from agents.transport import FETCHING, OutputRecord
from schemas.learning import ModelSnapshot
from streams.customer.state import CustomerState, decode_state, encode_state

MARKER_KEY = b"\x00marker"
"""No customer id has this key: ids are printable."""

MARKER_VERSION = 1


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
        What is served after it.
    customers
        How many there are: a changelog with fewer has lost some.
    topic_ids
        For each input topic, the id that the cluster gave it, where it gives any.
    """

    version: int
    sequence: int
    offsets: dict[str, int]
    watermark_ms: int
    model: ModelSnapshot
    customers: int = 0
    topic_ids: dict[str, str] = {}


class Recovered(msgspec.Struct):
    """What a partition's changelog holds."""

    marker: Marker | None
    states: dict[str, CustomerState]


_encoder = msgspec.msgpack.Encoder()
_marker_decoder = msgspec.msgpack.Decoder(Marker)


def state_records(states: Iterable[tuple[str, CustomerState | None]]) -> list[OutputRecord]:
    """Make changelog records; a customer without a state gets a tombstone."""
    return [
        (customer_id.encode(), None if state is None else encode_state(state), [])
        for customer_id, state in states
    ]


def marker_record(marker: Marker) -> OutputRecord:
    """Make the record that ends an epoch."""
    return MARKER_KEY, _encoder.encode(marker), []


def decode(latest: dict[bytes, bytes]) -> Recovered:
    """Read the latest value of each key of a changelog.

    Raises
    ------
    ValueError
        When a value cannot be read by this program: better to stop than to lose a customer.
    """
    latest = dict(latest)
    value = latest.pop(MARKER_KEY, None)
    marker = None
    if value is not None:
        try:
            marker = _marker_decoder.decode(value)
        except msgspec.DecodeError as error:
            raise ValueError(f"not an epoch marker: {error}") from error
        if marker.version != MARKER_VERSION:
            raise ValueError(f"epoch marker of version {marker.version}, this program knows {MARKER_VERSION}")
    return Recovered(marker, {key.decode(): decode_state(state) for key, state in latest.items()})


async def read_latest(
    topic: str, partition: int, connection: dict[str, Any], idle_seconds: float = 30.0
) -> dict[bytes, bytes]:
    """Read a compacted partition from its beginning to the end that it has now.

    Parameters
    ----------
    connection
        What aiokafka needs to reach the cluster.
    idle_seconds
        How long the broker may send nothing before this gives up.

    Returns
    -------
    dict
        Latest value of each key; keys whose latest value is a tombstone are absent.

    Raises
    ------
    TimeoutError
        When the end is not reached and nothing comes any more.
    """
    tp = TopicPartition(topic, partition)
    consumer = AIOKafkaConsumer(
        **connection,
        **FETCHING,
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        isolation_level="read_committed",
    )
    await consumer.start()
    try:
        consumer.assign([tp])
        await consumer.seek_to_beginning(tp)
        latest: dict[bytes, bytes] = {}
        end: int | None = None
        while end is None or await consumer.position(tp) < end:
            async with asyncio.timeout(idle_seconds):
                got = await _next_records(consumer, tp, end)
            for record in got:
                if record.value is None:
                    latest.pop(record.key, None)
                else:
                    latest[record.key] = record.value
            # The end comes from a fetch: some brokers count a last batch as one record when asked for it.
            end = _end(consumer, tp) if end is None else end
        return latest
    finally:
        await consumer.stop()


async def _next_records(consumer: AIOKafkaConsumer, tp: TopicPartition, end: int | None) -> list[Any]:
    """Wait until there are records, or until it is clear that there are none before the end."""
    while True:
        got = await consumer.getmany(tp, timeout_ms=100)
        if records := got.get(tp):
            return list(records)
        if _end(consumer, tp) is not None and (end is None or await consumer.position(tp) >= end):
            return []


def _end(consumer: AIOKafkaConsumer, tp: TopicPartition) -> int | None:
    """Find the end from the last answer to a fetch: behind it are only transactions that may yet fail."""
    stable: int | None = consumer.last_stable_offset(tp)
    high: int | None = consumer.highwater(tp)
    return high if stable is None or stable < 0 else stable
