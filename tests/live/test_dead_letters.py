"""A flood of dead letters stops a worker, and one that cannot be sent stops it too; nothing is lost."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable

import msgspec
import pytest
from kafka import KafkaAdminClient
from kafka.admin import ConfigResource, ConfigResourceType

from agents.cluster import admin, create_missing
from agents.settings import Settings
from schemas.topics import CLICKSTREAM, EXAMPLES, ORDERS, dead_letters_of
from tests.live.harness import (
    Worker,
    committed,
    deliver,
    own_settings,
    produce_raw,
    read_topic,
    recovered,
    until,
)
from tests.live.test_live_equals_replay import small_cdnow

pytestmark = pytest.mark.broker

OFFSET = "__connect.errors.offset"

NOT_ACKNOWLEDGED = """
import asyncio, agents.transport
from aiokafka.errors import KafkaTimeoutError
send_records = agents.transport.Producer.send_records
async def fails_for_dead_letters(self, topic, partition, records):
    if not topic.endswith(".dlq"):
        return await send_records(self, topic, partition, records)
    refused = asyncio.get_running_loop().create_future()
    refused.set_exception(KafkaTimeoutError())
    return [refused]
agents.transport.Producer.send_records = fails_for_dead_letters
"""


def shop(live_broker: dict[str, object], **given: object) -> Settings:
    settings = own_settings(live_broker, **({"worker__agents": "customers", "topics__partitions": 1} | given))
    create_missing(settings)
    return settings


def letters(settings: Settings, name: str) -> list[tuple[int, bytes | None]]:
    """The dead letters of a topic: the offset of the original, and what it was."""
    found = read_topic(settings, dead_letters_of(name))
    return [(int(dict(letter.headers)[OFFSET]), letter.value) for letter in found]


def marked(settings: Settings, name: str) -> int:
    """Up to where a topic is sealed."""
    (part,) = recovered(settings).values() or (None,)
    return part.marker.offsets[settings.topic(name)] if part and part.marker else 0


def bad(numbers: Iterable[int]) -> list[bytes]:
    return [b'{"not": "a message", "number": %d' % number for number in numbers]


def good(number: int) -> bytes:
    page = {
        "type": "page",
        "messageId": f"m{number}",
        "userId": "u1",
        "name": "home",
        "timestamp": f"2026-03-01T12:{number // 60 % 60:02}:{number % 60:02}Z",
    }
    return json.dumps(page).encode()


def ended(worker: Worker, code: int, seconds: float = 60.0) -> str:
    assert worker.process.wait(seconds) == code, worker.said()
    return worker.said()


def test_too_many_in_a_row_stop_the_worker_and_every_one_is_kept(live_broker: dict[str, object]) -> None:
    settings = shop(live_broker)
    flood = bad(range(600))
    produce_raw(settings, CLICKSTREAM, flood)
    with Worker(settings) as worker:
        said = ended(worker, 1)
    (line,) = [line for line in said.splitlines() if line.startswith("holdfast: ")]
    for part in (
        f"{settings.topic(CLICKSTREAM)}, partition 0",
        "501 of the last 501",
        "100%",
        "not_json",
        settings.topic(dead_letters_of(CLICKSTREAM)),
        "dead_letters.max_consecutive",
    ):
        assert part in line
    assert letters(settings, CLICKSTREAM) == list(enumerate(flood[:501]))
    assert marked(settings, CLICKSTREAM) == 501
    assert sum(committed(settings).values()) <= 501
    patience = msgspec.structs.replace(settings.dead_letters, max_consecutive=10_000)
    patient = msgspec.structs.replace(settings, dead_letters=patience)
    with Worker(patient) as worker:
        until(lambda: sum(committed(patient).values()) == 600, "the rest")
        assert worker.stop() == 0, worker.said()
    assert letters(settings, CLICKSTREAM) == list(enumerate(flood))  # none twice: what was sealed is done


def test_too_large_a_share_stops_the_worker(live_broker: dict[str, object]) -> None:
    settings = shop(live_broker, dead_letters__window=100)
    mixed = [good(n) if n % 2 else bad([n])[0] for n in range(300)]
    produce_raw(settings, CLICKSTREAM, mixed)
    with Worker(settings) as worker:
        said = ended(worker, 1)
    assert "50 of the last 100 messages break the contract (50%), mostly not_json" in said
    assert "raise dead_letters.max_share" in said
    # The hundredth record is a good one, and a breaker speaks at a bad one.
    assert letters(settings, CLICKSTREAM) == [(n, mixed[n]) for n in range(0, 101, 2)]
    assert marked(settings, CLICKSTREAM) == 101


def test_bad_examples_stop_the_learner(live_broker: dict[str, object]) -> None:
    settings = shop(live_broker, worker__agents="learner", dead_letters__max_consecutive=20)
    flood = bad(range(30))
    produce_raw(settings, EXAMPLES, flood)
    with Worker(settings) as worker:
        said = ended(worker, 1)
    assert f"{settings.topic(EXAMPLES)}, partition 0: 21 of the last 21" in said
    assert settings.topic(dead_letters_of(EXAMPLES)) in said
    assert letters(settings, EXAMPLES) == list(enumerate(flood[:21]))


def test_a_dead_letter_that_is_not_acknowledged_ends_the_worker_and_seals_nothing_past_it(
    live_broker: dict[str, object],
) -> None:
    settings = shop(live_broker)
    orders = small_cdnow()[:50]
    deliver(settings, orders)
    flood = bad(range(100))
    with Worker(settings, before=NOT_ACKNOWLEDGED) as worker:
        until(lambda: sum(committed(settings).values()) == len(orders), "the good ones")
        produce_raw(settings, ORDERS, flood)
        assert "KafkaTimeoutError" in ended(worker, 70)
    assert marked(settings, ORDERS) == len(orders)
    assert sum(committed(settings).values()) == len(orders)
    with Worker(settings) as worker:
        until(lambda: sum(committed(settings).values()) == len(orders) + len(flood), "the bad ones")
        assert worker.stop() == 0, worker.said()
    assert set(letters(settings, ORDERS)) == {(len(orders) + n, value) for n, value in enumerate(flood)}


@pytest.mark.skipif(
    "HOLDFAST_TEST_BROKER" not in os.environ,
    reason="the embedded broker acknowledges what is sent to a topic that was deleted",
)
def test_without_its_dead_letter_topic_a_worker_ends_and_seals_nothing_past_the_bad_one(
    live_broker: dict[str, object],
) -> None:
    # The producer asks for a topic that is gone for ever; the watchdog does not.
    settings = shop(live_broker, worker__stalled_seconds=5.0)
    orders = small_cdnow()[:50]
    deliver(settings, orders)
    flood = bad(range(100))
    with Worker(settings) as worker:
        until(lambda: sum(committed(settings).values()) == len(orders), "the good ones")
        with admin(settings) as client:
            client.delete_topics([settings.topic(dead_letters_of(ORDERS))])
        produce_raw(settings, ORDERS, flood)
        ended(worker, 70)
    assert marked(settings, ORDERS) == len(orders)
    assert sum(committed(settings).values()) == len(orders)
    with Worker(settings) as worker:  # it makes the topic again
        until(lambda: sum(committed(settings).values()) == len(orders) + len(flood), "the bad ones")
        assert worker.stop() == 0, worker.said()
    assert letters(settings, ORDERS) == [(len(orders) + n, value) for n, value in enumerate(flood)]


@pytest.mark.skipif("HOLDFAST_TEST_BROKER" not in os.environ, reason="the embedded broker has no such limit")
def test_a_dead_letter_that_its_topic_refuses_ends_the_worker_and_seals_nothing_past_it(
    live_broker: dict[str, object],
) -> None:
    settings = shop(live_broker, kafka__request_timeout_seconds=5.0)
    refused = ConfigResource(
        ConfigResourceType.TOPIC,
        settings.topic(dead_letters_of(CLICKSTREAM)),
        configs={"max.message.bytes": "2000"},
    )
    client = KafkaAdminClient(bootstrap_servers=settings.kafka.bootstrap)
    try:
        client.alter_configs([refused])
        values = [good(0), *bad([1]), b"not json " * 1000, *bad([2]), good(3)]
        produce_raw(settings, CLICKSTREAM, values)
        for _ in range(2):
            with Worker(settings) as worker:
                ended(worker, 70)
            assert marked(settings, CLICKSTREAM) <= 2
            assert sum(committed(settings).values()) <= 2
        refused.configs = {"max.message.bytes": "1048588"}
        client.alter_configs([refused])
    finally:
        client.close()
    with Worker(settings) as worker:
        until(lambda: sum(committed(settings).values()) == len(values), "all of them")
        assert worker.stop() == 0, worker.said()
    assert set(letters(settings, CLICKSTREAM)) == {(n, values[n]) for n in (1, 2, 3)}
