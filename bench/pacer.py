"""Load at a fixed pace, whoever keeps up with it: an open loop.

Each message has its moment, by its number and the rate, before anything is sent. At each turn everything
whose moment has come is sent, in one batch a partition, whether or not earlier answers have come. A sender
that waited for a slow system would ask it less while it is slow and measure less of its slowness
(coordinated omission).
"""

from __future__ import annotations

import asyncio
import gc
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

from aiokafka import AIOKafkaProducer

from agents.client import partition_of
from agents.connection import aiokafka_arguments
from agents.settings import Settings
from schemas.topics import INPUTS

TURN_SECONDS = 0.005
"""As long as Kafka's own producers gather records by default (`linger.ms`, since 4.0)."""

_BATCH_BYTES = 1 << 20


@contextmanager
def _without_pauses() -> Iterator[None]:
    """Look for no reference cycles: among a million messages that takes a fifth of a second."""
    gc.collect()
    gc.freeze()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
        gc.unfreeze()


class Ready(NamedTuple):
    """A message that is ready to go, with the number of its input and its partition."""

    source: int
    partition: int
    key: bytes
    value: bytes


def ready(source: int, customer_id: str, value: bytes, partitions: int) -> Ready:
    """Make a message ready."""
    key = customer_id.encode()
    return Ready(source, partition_of(key, partitions), key, value)


class Paced(NamedTuple):
    """When each message was due to be sent, when it was, and when the broker had it, by the wall clock.

    The last is in whole milliseconds, and that of sending where the broker keeps the sender's timestamps.
    """

    due: list[float]
    sent: list[float]
    had: list[float]


async def pace(
    settings: Settings,
    messages: Sequence[Ready],
    rate: float,
    at_turn: Callable[[int], None] = lambda _: None,
) -> Paced:
    """Send messages at a rate, and wait until the broker has them all.

    Parameters
    ----------
    rate
        Messages a second.
    at_turn
        Told now and then how many were sent.
    """
    topics = [settings.topic(name) for name in INPUTS]
    producer = AIOKafkaProducer(**aiokafka_arguments(settings), acks=1, max_batch_size=_BATCH_BYTES)
    await producer.start()
    try:
        for topic in topics:
            await producer.partitions_for(topic)
        with _without_pauses():
            began = time.time() + 0.1
            sent: list[float] = []
            had = [0.0] * len(messages)
            done = 0
            waits: list[asyncio.Future[Any]] = []
            while done < len(messages):
                now = time.time()
                upto = min(len(messages), max(done, int((now - began) * rate)))
                if upto > done:
                    waits += await _send(producer, topics, messages, range(done, upto), int(now * 1000), had)
                    sent += [now] * (upto - done)
                    done = upto
                    at_turn(done)
                await asyncio.sleep(TURN_SECONDS)
        await asyncio.gather(*waits)
        return Paced([began + number / rate for number in range(len(messages))], sent, had)
    finally:
        await producer.stop()


async def _send(
    producer: AIOKafkaProducer,
    topics: Sequence[str],
    messages: Sequence[Ready],
    numbers: range,
    now_ms: int,
    had: list[float],
) -> list[asyncio.Future[Any]]:
    batches: dict[tuple[int, int], tuple[Any, list[int]]] = {}
    closed = []
    for number in numbers:
        source, partition, key, value = messages[number]
        place = source, partition
        batch, inside = batches.setdefault(place, (None, []))
        if batch is None:
            batch, inside = batches[place] = producer.create_batch(), []
        if batch.append(timestamp=now_ms, key=key, value=value) is None:
            closed.append((place, batch, inside))
            batch, inside = batches[place] = producer.create_batch(), []
            batch.append(timestamp=now_ms, key=key, value=value)
        inside.append(number)
    waits = []
    for place, batch, inside in closed:  # full ones first: a partition keeps its order
        waits.append(await _hand_over(producer, topics, place, batch, inside, had))
    going = [
        _hand_over(producer, topics, place, batch, inside, had) for place, (batch, inside) in batches.items()
    ]
    return waits + list(await asyncio.gather(*going))


async def _hand_over(
    producer: AIOKafkaProducer,
    topics: Sequence[str],
    place: tuple[int, int],
    batch: Any,
    inside: list[int],
    had: list[float],
) -> asyncio.Future[Any]:
    def acknowledged(answer: asyncio.Future[Any]) -> None:
        if not answer.cancelled() and answer.exception() is None:
            for number in inside:
                had[number] = answer.result().timestamp / 1000.0

    source, partition = place
    answer: asyncio.Future[Any] = await producer.send_batch(batch, topics[source], partition=partition)
    answer.add_done_callback(acknowledged)
    return answer
