"""Input topics that are not what they were: created anew, or cut before they were read."""

from __future__ import annotations

import pytest
from kafka import KafkaAdminClient, TopicPartition

from agents.cluster import admin, create_missing
from agents.settings import Settings
from schemas.topics import INPUTS, ORDERS
from tests.live.harness import Worker, committed, deliver, own_settings, recovered, until
from tests.live.test_live_equals_replay import small_cdnow


def read_some(settings: Settings) -> list[bytes]:
    messages = small_cdnow()[:200]
    create_missing(settings)
    deliver(settings, messages)
    with Worker(settings) as worker:
        until(lambda: sum(committed(settings).values()) == len(messages), "all committed")
        assert worker.stop() == 0, worker.said()
    return messages


@pytest.mark.broker
def test_a_topic_that_was_created_anew_is_refused_before_anything_is_lost(
    live_broker: dict[str, object],
) -> None:
    settings = own_settings(live_broker, topics__partitions=1, worker__agents="customers")
    messages = read_some(settings)
    with admin(settings) as client:
        client.delete_topics([settings.topic(ORDERS)])
        until(lambda: settings.topic(ORDERS) not in client.list_topics(), "deleted")
    create_missing(settings)
    deliver(settings, messages[:5])  # their offsets are all below what was applied
    with Worker(settings) as worker:
        assert worker.process.wait(timeout=60) == 1
        assert f"topic {settings.topic(ORDERS)} was deleted and created again" in worker.said()


@pytest.mark.kafka
def test_records_that_retention_took_before_they_were_read_are_counted_and_the_rest_is_read(
    live_broker: dict[str, object],
) -> None:
    settings = own_settings(live_broker, topics__partitions=1, worker__agents="customers")
    messages = read_some(settings)
    rest = small_cdnow()[200:260]
    deliver(settings, rest)
    client = KafkaAdminClient(bootstrap_servers=settings.kafka.bootstrap)
    client.delete_records({TopicPartition(settings.topic(ORDERS), 0): len(messages) + 25})
    client.close()
    with Worker(settings) as worker:
        until(lambda: sum(committed(settings).values()) == len(messages) + len(rest), "all committed")
        assert worker.metrics()["holdfast_cut_records_total"] == 25
        assert "25 records of" in worker.said()
        assert worker.stop() == 0, worker.said()
    (part,) = recovered(settings).values()
    assert sum(state.orders for state in part.states.values()) == len(messages) + len(rest) - 25
    assert part.marker is not None
    assert set(part.marker.topic_ids) >= {settings.topic(name) for name in INPUTS}
