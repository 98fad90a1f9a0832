"""The KPI agent on a broker: what it tells is what a replay tells, in one go or in several."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import orjson
import pytest
from kafka import KafkaProducer

from agents.client import partition_of, watch
from agents.cluster import LayoutError, create_missing
from agents.kpis import READ, follow
from agents.one_line import kpis_line, one_line
from agents.settings import Settings
from samples import shop
from samples.shop_config import ShopConfig
from schemas.codec import encode
from schemas.kpis import RetentionKpis
from schemas.topics import EXAMPLES, RETENTION_KPIS
from streams.config import StreamConfig
from streams.customer.decision import Decision
from streams.replay import Replay
from streams.value.kpis import KpiMachine

pytestmark = pytest.mark.broker


@cache
def decisions() -> list[Decision]:
    said: list[Decision] = []
    replay = Replay(StreamConfig(), said.append)
    messages = shop.messages(ShopConfig(customers=60, days=200, seed=3))
    replay.run((int("order" in str(m.get("event", "")).lower()), orjson.dumps(m)) for m in messages)
    return [decision for decision in said if decision.topic in READ]


@cache
def told_by_replay() -> list[RetentionKpis]:
    machine = KpiMachine(StreamConfig())
    return [day for decision in decisions() for day in machine.follow(decision)]


def put(settings: Settings, said: list[Decision]) -> None:
    """Put decisions where the workers would: a customer's on one partition, examples on the only one."""
    producer = KafkaProducer(
        bootstrap_servers=settings.kafka.bootstrap,
        enable_idempotence=False,
        max_in_flight_requests_per_connection=1,
        linger_ms=20,
    )
    try:
        for topic, customer_id, payload in said:
            key = customer_id.encode()
            partition = 0 if topic == EXAMPLES else partition_of(key, settings.topics.partitions)
            value = None if payload is None else encode(payload)
            producer.send(settings.topic(topic), key=key, value=value, partition=partition)
        producer.flush()
    finally:
        producer.close()


def told(settings: Settings) -> list[RetentionKpis]:
    days: list[RetentionKpis] = []
    follow(settings, days.append, once=True)
    return days


@pytest.fixture
def topics(broker_settings: Settings) -> Settings:
    create_missing(broker_settings)
    return broker_settings


def test_partitions_on_a_broker_tell_what_a_replay_tells(topics: Settings) -> None:
    put(topics, decisions())
    days = told(topics)
    whole = told_by_replay()
    assert len(days) >= len(whole) - 7  # no partition has come further than its last message but one
    assert days == whole[: len(days)]
    records = list(watch(topics, [RETENTION_KPIS], from_beginning=True, count=len(days), timeout=10))
    assert [record.value for record in records] == [encode(day) for day in days]
    assert records[0].key == days[0].day.isoformat().encode()
    assert one_line(records[-1]).plain == kpis_line(days[-1]).plain


def test_it_goes_on_after_the_last_day_that_was_told(topics: Settings) -> None:
    half = len(decisions()) // 2
    put(topics, decisions()[:half])
    first = told(topics)
    assert told(topics) == []
    put(topics, decisions()[half:])
    second = told(topics)
    whole = told_by_replay()
    assert 50 < len(first) < len(whole)
    assert first + second == whole[: len(first) + len(second)]
    assert len(first) + len(second) >= len(whole) - 7


def test_a_partition_that_is_months_behind_holds_the_days_up(topics: Settings) -> None:
    """As while the workers work through a backlog: what comes later is not late."""

    def is_behind(decision: Decision) -> bool:
        return partition_of(decision.customer_id.encode(), topics.topics.partitions) == 0

    behind = [decision for decision in decisions() if is_behind(decision)]
    put(
        topics, [decision for decision in decisions() if not is_behind(decision)] + behind[: len(behind) // 3]
    )
    first = told(topics)
    put(topics, behind[len(behind) // 3 :])
    second = told(topics)
    assert 10 < len(first) < len(first) + len(second)
    for day, whole in zip(first + second, told_by_replay(), strict=False):
        # Their examples are on one partition, and answers that came behind others count with a later day.
        assert (day.segments, day.losses, day.alerts) == (whole.segments, whole.losses, whole.alerts)


def test_records_of_another_program_are_passed_over(topics: Settings) -> None:
    producer = KafkaProducer(bootstrap_servers=topics.kafka.bootstrap, enable_idempotence=False)
    producer.send(topics.topic("customer-scores"), key=b"c1", value=b"oops", partition=0)
    producer.flush()
    producer.close()
    put(topics, decisions()[:200])
    days = told(topics)
    assert len(days) > 10
    assert days == told_by_replay()[: len(days)]


def test_each_look_at_the_broker_touches_the_heartbeat(topics: Settings, tmp_path: Path) -> None:
    put(topics, decisions()[: len(decisions()) // 2])  # every partition has said something
    heartbeat = tmp_path / "kpis.heartbeat"
    follow(topics, lambda _: None, once=True, beat=heartbeat.touch)
    assert heartbeat.exists()


def test_topics_that_are_not_there_are_named(broker_settings: Settings) -> None:
    with pytest.raises(LayoutError, match="does not exist"):
        follow(broker_settings, lambda _: None, once=True)
