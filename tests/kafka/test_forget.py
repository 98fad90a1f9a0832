"""What is left of an erased customer when Apache Kafka has compacted: nothing, and nothing comes back."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from kafka import KafkaProducer

from agents.cluster import admin, create_missing
from agents.forget import forget
from agents.settings import Settings
from schemas.topics import CHANGELOG, CUSTOMER_SCORES, ORDERS
from tests.live.harness import (
    PATIENCE_SECONDS,
    Worker,
    deliver,
    own_settings,
    read_topic,
    recovered,
    until,
)
from tests.live.test_forget import orders
from tests.live.test_live_equals_replay import small_cdnow

pytestmark = pytest.mark.kafka

# Compacted at once and tombstones dropped at once, as far as Kafka can be brought to it.
EAGER = {
    "cleanup.policy": "compact",
    "segment.ms": "200",
    "min.cleanable.dirty.ratio": "0.01",
    "max.compaction.lag.ms": "200",
    "delete.retention.ms": "100",
}
GONE, STAYS = "who-goes", "who-stays"


def traces(settings: Settings, name: str, customer: str) -> int:
    """Count the messages of a topic with the customer's id in the key or anywhere in the value."""
    sought = customer.encode()
    return sum(
        sought in (message.key or b"") or sought in (message.value or b"")
        for message in read_topic(settings, name)
    )


def days_of_orders() -> Iterator[list[bytes]]:
    """Orders of others without an end: Kafka begins a new segment only when something is written."""
    for number in range(10_000):
        yield orders(f"other-{number}", 27)


def test_after_compaction_nothing_is_left_and_a_rebuild_brings_nothing_back(
    live_broker: dict[str, object],
) -> None:
    settings = own_settings(live_broker, topics__partitions=1, worker__agents="customers")
    with admin(settings) as client:
        client.create_topics(
            {
                settings.topic(name): {"num_partitions": 1, "replication_factor": 1, "configs": EAGER}
                for name in (CHANGELOG, CUSTOMER_SCORES)
            }
        )
    create_missing(settings)
    crowd = small_cdnow()[:100]
    deliver(settings, crowd + orders(GONE, 1, 9, 17) + orders(STAYS, 1))
    more = days_of_orders()
    with Worker(settings) as worker:
        worker.until_processed(len(crowd) + 4)
        for name in (CHANGELOG, CUSTOMER_SCORES):
            until(lambda n=name: traces(settings, n, GONE) > 0, f"something about the customer on {name}")
        receipt = forget(settings, [GONE], timeout=PATIENCE_SECONDS)
        assert {topic.within_ms for topic in receipt.compacted} == {200}

        def is_gone(name: str) -> bool:
            deliver(settings, next(more))
            return traces(settings, name, GONE) == 0

        for name in (CHANGELOG, CUSTOMER_SCORES):
            until(lambda n=name: is_gone(n), f"no trace of the customer on {name}, tombstones included")
            assert traces(settings, name, STAYS) > 0
        worker.process.kill()
        worker.process.wait()
    (before,) = recovered(settings).values()
    # A worker has no store but the changelog, so every start is a rebuild.
    with Worker(settings) as worker:
        worker.until_ready()
        deliver(settings, orders("last", 28))
        until(lambda: traces(settings, CHANGELOG, "last") > 0, "an epoch after the rebuild")
        assert worker.metrics()["holdfast_erasures_total"] == 0
        assert worker.stop() == 0, worker.said()
    (after,) = recovered(settings).values()
    assert before.states.keys() - after.states.keys() == set()
    assert STAYS in after.states
    for name in (CHANGELOG, CUSTOMER_SCORES):
        assert traces(settings, name, GONE) == 0


def test_inputs_that_end_in_transaction_markers_hold_no_request_up(live_broker: dict[str, object]) -> None:
    """Such a partition ends one offset behind its last message: nothing is ever read there."""
    settings = own_settings(live_broker, topics__partitions=1, worker__agents="customers")
    create_missing(settings)
    producer = KafkaProducer(
        bootstrap_servers=settings.kafka.bootstrap, transactional_id=settings.kafka.group, acks="all"
    )
    try:
        producer.init_transactions()
        producer.begin_transaction()
        for value in orders(GONE, 1, 2):
            producer.send(settings.topic(ORDERS), key=GONE.encode(), value=value)
        producer.commit_transaction()
    finally:
        producer.close()
    with Worker(settings) as worker:
        worker.until_processed(2)
        until(lambda: traces(settings, CHANGELOG, GONE) > 0, "the state is written")
        receipt = forget(settings, [GONE], timeout=PATIENCE_SECONDS)
        assert len(receipt.customers[0].tombstones) == 2
        assert worker.stop() == 0, worker.said()
    (part,) = recovered(settings).values()
    assert GONE not in part.states
