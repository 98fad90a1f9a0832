"""Erasing customers: asked for on Kafka, done by the workers, proven by what they have written.

State lives with whichever worker holds a partition, so nobody else can erase it. A request goes to the
topic `erasures`; whose turn it is there, and what a worker does, is in `agents.erasures`. It goes to every
partition: where a customer's state lies follows from how the shop's own producers spread keys, and not all
do it alike, or from how many partitions there were when it was made. A tombstone too many costs nothing;
one missing would leave a customer whom a receipt calls erased.

Two things together prove that a request is done. The group has committed beyond it, which a worker lets
happen only when all of it is durable; and the tombstones stand on each compacted topic, written after the
request. What they replace is gone when the broker compacts. Topics that are not compacted keep their
messages until their time is over, and the receipt says for how long, as the broker has it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from datetime import datetime, timezone
from typing import Any

import msgspec
from kafka import KafkaConsumer, KafkaProducer, TopicPartition
from kafka.admin import ConfigResource
from kafka.errors import KafkaError

from agents.client import ends
from agents.cluster import CONNECT_MS, admin, not_reached, partition_counts
from agents.connection import kafka_python_arguments
from agents.errors import OperatorError
from agents.settings import Settings
from schemas.codec import WireError, check_customer_id
from schemas.erasures import REQUEST_VERSION, ErasureRequest
from schemas.topics import CHANGELOG, CUSTOMER_SCORES, ERASURES, INPUTS, MODELS, TOPICS

COMPACTED = (CHANGELOG, CUSTOMER_SCORES)
"""The topics on which the latest message of a customer would stay for ever."""

KEPT = tuple(spec.name for spec in TOPICS if spec.cleanup == "delete" and spec.name != MODELS)
"""The topics that keep messages about a customer until their time is over."""

RECEIPT_VERSION = 1

_POLL_MS = 200
_ENDLESS_MS = 2**63 - 1

Progress = Callable[[int], None]
"""Called with how many customers have all their tombstones."""


class Tombstone(msgspec.Struct, frozen=True):
    """Where it is written that nothing is known of a customer any more."""

    topic: str
    partition: int
    offset: int


class Forgotten(msgspec.Struct, frozen=True):
    """One customer and the proofs, in the order of topics and partitions."""

    customer_id: str
    tombstones: list[Tombstone]


class Compacted(msgspec.Struct, frozen=True):
    """A topic that drops what a tombstone has replaced.

    Attributes
    ----------
    within_ms
        How long that takes at most; None where the broker sets no limit or does not say.
    """

    topic: str
    within_ms: int | None


class Kept(msgspec.Struct, frozen=True):
    """A topic whose messages stay until their time is over.

    Attributes
    ----------
    cleanup
        The broker's cleanup.policy; where it does not say delete, messages stay.
    retention_ms
        How long; -1 is for ever, None where the broker does not say.
    """

    topic: str
    cleanup: str
    retention_ms: int | None


class Receipt(msgspec.Struct, frozen=True):
    """What was done, and what is still there."""

    version: int
    requested_at: datetime
    done_at: datetime
    customers: list[Forgotten]
    compacted: list[Compacted]
    kept: list[Kept]


def forget(
    settings: Settings, customers: Sequence[str], *, timeout: float, progress: Progress | None = None
) -> Receipt:
    """Ask the workers to erase customers, and wait until they have.

    Parameters
    ----------
    settings
        Where, and how the topics are named.
    customers
        Their ids; one named twice is asked for once.
    timeout
        How many seconds the workers have.
    progress
        Told how far it is.

    Returns
    -------
    Receipt
        With two tombstones a partition for each customer.

    Raises
    ------
    BrokerAbsent
        When nothing answers.
    LayoutError
        When a topic is not there.
    OperatorError
        When an id is none that a customer can have (then nothing was asked), or when the workers have
        not done all of it in time (then the requests stand).
    """
    ids = _checked(customers)
    # All topics about customers have as many partitions as the inputs.
    names = [settings.topic(name) for name in (ERASURES, *INPUTS, *COMPACTED)]
    counts = partition_counts(settings, names)
    now = datetime.now(timezone.utc)
    try:
        consumer = KafkaConsumer(
            **kafka_python_arguments(settings),
            bootstrap_timeout_ms=CONNECT_MS,
            group_id=settings.kafka.group,  # to read what it has committed; the partitions are our own choice
            isolation_level="read_committed",
            enable_auto_commit=False,
            fetch_max_wait_ms=_POLL_MS,
            check_crcs=False,
            metrics_enabled=False,
        )
    except KafkaError:
        raise not_reached(settings) from None
    try:
        places = [TopicPartition(name, number) for name in names[1:] for number in range(counts[name])]
        consumer.assign(places)
        stood = ends(consumer, places)
        until = [
            {name: stood[TopicPartition(name, number)] for name in map(settings.topic, INPUTS)}
            for number in range(counts[names[0]])
        ]
        asked = _ask(
            settings, ids, [ErasureRequest(version=REQUEST_VERSION, requested_at=now, until=u) for u in until]
        )
        watched = {place: stood[place] for place in places if place.topic in map(settings.topic, COMPACTED)}
        found = _Wait(settings, consumer, ids, asked, watched, timeout, progress).run()
    except KafkaError as error:
        raise OperatorError(f"the broker at {settings.kafka.bootstrap} answers: {error}"[:300]) from None
    finally:
        consumer.close()
    compacted, kept = _what_stays(settings)
    return Receipt(RECEIPT_VERSION, now, datetime.now(timezone.utc), found, compacted, kept)


def _checked(customers: Sequence[str]) -> list[str]:
    for number, customer_id in enumerate(customers, start=1):
        try:
            check_customer_id(customer_id)
        except WireError as error:
            raise OperatorError(f"customer {number} of {len(customers)}: {error.detail}") from None
    return list(dict.fromkeys(customers))


def _ask(settings: Settings, ids: list[str], requests: list[ErasureRequest]) -> dict[TopicPartition, int]:
    """Put the requests on their topic; give the last offset of each partition."""
    producer = KafkaProducer(
        **kafka_python_arguments(settings),
        bootstrap_timeout_ms=CONNECT_MS,
        acks="all",
        enable_idempotence=False,  # a request twice is done twice, to no harm
        max_in_flight_requests_per_connection=1,
        request_timeout_ms=int(settings.kafka.request_timeout_seconds * 1000),
        metrics_enabled=False,
    )
    topic = settings.topic(ERASURES)
    values = [msgspec.json.encode(request) for request in requests]
    try:
        sent = [
            (partition, producer.send(topic, key=customer_id.encode(), value=value, partition=partition))
            for customer_id in ids
            for partition, value in enumerate(values)
        ]
        producer.flush(timeout=settings.kafka.request_timeout_seconds)
        return {TopicPartition(topic, partition): future.get(timeout=1).offset for partition, future in sent}
    finally:
        producer.close(timeout=1)


class _Wait:
    """Reads what the workers write until all of it is there."""

    def __init__(
        self,
        settings: Settings,
        consumer: Any,
        ids: list[str],
        asked: dict[TopicPartition, int],
        watched: dict[TopicPartition, int],
        timeout: float,
        progress: Progress | None,
    ) -> None:
        self._settings = settings
        self._consumer = consumer
        self._ids = ids
        self._pending = dict(asked)
        self._watched = watched
        self._timeout = timeout
        self._progress = progress
        self._found: dict[bytes, dict[TopicPartition, int]] = {
            customer_id.encode(): {} for customer_id in ids
        }
        self._complete = 0

    def run(self) -> list[Forgotten]:
        deadline = time.monotonic() + self._timeout
        self._consumer.assign(list(self._watched))
        for place, offset in self._watched.items():
            self._consumer.seek(place, offset)
        while self._pending or self._complete < len(self._ids):
            if time.monotonic() > deadline:
                raise OperatorError(self._not_done())
            self._read()
            self._see_commits()
        # Tombstones of an earlier request may have come first: what is there now includes our own.
        while self._read() and time.monotonic() < deadline:
            pass
        return [Forgotten(customer_id, self._tombstones(customer_id)) for customer_id in self._ids]

    def _read(self) -> bool:
        """Read what there is; tell whether there was a tombstone that we look for."""
        seen = False
        for place, records in self._consumer.poll(timeout_ms=_POLL_MS).items():
            for record in records:
                found = self._found.get(record.key) if record.value is None else None
                if found is not None:
                    seen = True
                    if place not in found:
                        self._complete += len(found) + 1 == len(self._watched)
                    found[place] = record.offset
        if seen and self._progress is not None:
            self._progress(self._complete)
        return seen

    def _see_commits(self) -> None:
        for place, offset in list(self._pending.items()):
            if (self._consumer.committed(place) or 0) > offset:
                del self._pending[place]

    def _tombstones(self, customer_id: str) -> list[Tombstone]:
        found = self._found[customer_id.encode()]
        return [Tombstone(place.topic, place.partition, found[place]) for place in self._watched]

    def _not_done(self) -> str:
        numbers = sorted(place.partition for place in self._pending)
        where = f"partition{'s' if len(numbers) != 1 else ''} {', '.join(map(str, numbers))}"
        if not numbers:
            return (
                f"it is done, but not all tombstones have been found within {self._timeout:g} s; "
                "the same command again gives a receipt"
            )
        return (
            f"not done within {self._timeout:g} s: no worker has come to it in {where}; the request stands "
            "and is done as soon as a worker runs and has caught up; the same command again gives a receipt"
        )


def _what_stays(settings: Settings) -> tuple[list[Compacted], list[Kept]]:
    names = {name: settings.topic(name) for name in (*COMPACTED, *KEPT)}
    with admin(settings) as client:
        there = {topic["name"] for topic in client.describe_topics()}
        resources = [ConfigResource("TOPIC", name) for name in names.values() if name in there]
        configs = client.describe_configs(resources, config_filter="all").get("topic", {})

    def number(topic: str, key: str) -> int | None:
        value = configs[topic].get(key, {}).get("value")
        return None if value is None else int(value)

    compacted, kept = [], []
    for name, topic in names.items():
        if topic not in configs:
            continue
        if name in COMPACTED:
            lag_ms = number(topic, "max.compaction.lag.ms")
            compacted.append(Compacted(topic, None if lag_ms == _ENDLESS_MS else lag_ms))
        else:
            # The embedded broker gives back only what was set; the default policy is to delete.
            cleanup = configs[topic].get("cleanup.policy", {}).get("value") or "delete"
            kept.append(Kept(topic, cleanup, number(topic, "retention.ms")))
    return compacted, kept
