"""Copying a topic onto an input: all of it, to the customer's partition, as it was; who notices if not."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import orjson
import pytest
from kafka import KafkaConsumer, KafkaProducer, TopicPartition

from agents.client import partition_of
from agents.cluster import admin, create_missing
from agents.errors import OperatorError
from agents.rekey import Rekey
from agents.settings import Settings, settings_toml
from schemas.topics import CLICKSTREAM, ORDERS
from tests.live.harness import ROOT, Worker, own_settings, read_topic, until

TIME_MS = 1_764_324_901_307


def raw_topic(settings: Settings, partitions: int = 3) -> str:
    name = settings.topics.prefix + "raw"
    create_missing(settings)
    with admin(settings) as client:
        client.create_topics({name: {"num_partitions": partitions, "replication_factor": 1}})
        client.wait_for_topics([name])
    return name


def put(settings: Settings, topic: str, records: list[dict[str, Any]]) -> None:
    producer = KafkaProducer(bootstrap_servers=settings.kafka.bootstrap, enable_idempotence=False)
    for record in records:
        producer.send(topic, **record)
    producer.flush()
    producer.close()


def read_whole(settings: Settings, name: str) -> list[Any]:
    """Read a topic with its timestamps."""
    topic = settings.topic(name)
    expected = len(read_topic(settings, name))
    consumer = KafkaConsumer(bootstrap_servers=settings.kafka.bootstrap, check_crcs=False)
    try:
        consumer.assign(
            [TopicPartition(topic, n) for n in sorted(consumer.partitions_for_topic(topic) or ())]
        )
        consumer.seek_to_beginning()
        found: list[Any] = []
        while len(found) < expected:
            found += [record for batch in consumer.poll(timeout_ms=200).values() for record in batch]
        return found
    finally:
        consumer.close()


def page(user: str | None, number: int, anonymous: str | None = None) -> bytes:
    ids = {"userId": user, "anonymousId": anonymous}
    time = {"timestamp": "2025-11-28T10:15:01.307Z"}
    return orjson.dumps({"type": "page", "messageId": f"m{number}", **ids, **time})


def sessions(count: int) -> list[dict[str, Any]]:
    """Pages of ten customers, keyed by session, each customer on every partition."""
    return [
        {
            "key": f"session-{number}".encode(),
            "value": page(f"c-{number % 10}", number),
            "headers": [("trace", str(number).encode())],
            "timestamp_ms": TIME_MS + number,
            "partition": number % 3,
        }
        for number in range(count)
    ]


@pytest.mark.broker
def test_every_record_comes_to_its_customers_partition_as_it_was(live_broker: dict[str, object]) -> None:
    settings = own_settings(live_broker, topics__partitions=4)
    raw = raw_topic(settings)
    records = sessions(500)
    put(settings, raw, records)
    copied = Rekey(settings, raw, CLICKSTREAM, until_end=True).run()
    assert (copied.keyed, copied.anonymous, copied.dead) == (500, 0, 0)
    by_value = {record["value"]: record for record in records}
    found = read_whole(settings, CLICKSTREAM)
    assert {record.value for record in found} == set(by_value)
    for record in found:
        came = by_value[record.value]
        assert record.key == orjson.loads(record.value)["userId"].encode()
        assert record.partition == partition_of(record.key, 4)
        assert record.timestamp == came["timestamp_ms"]
        assert list(record.headers) == came["headers"]
    for origin in range(3):  # records of one partition keep their order, for each customer
        for customer in range(10):
            order = [
                int(record.headers[0][1])
                for record in found
                if record.key == f"c-{customer}".encode() and by_value[record.value]["partition"] == origin
            ]
            assert order == sorted(order)


@pytest.mark.broker
def test_who_is_nobody_goes_to_the_dead_letters_and_visitors_by_their_own_id(
    live_broker: dict[str, object],
) -> None:
    settings = own_settings(live_broker, topics__partitions=2)
    raw = raw_topic(settings)
    values = [page("c-1", 1), page(None, 2, "a-7"), page(None, 3), page("null", 4), b"oops", page("c-1", 5)]
    put(settings, raw, [{"value": value, "partition": 2, "key": b"k"} for value in values])
    copied = Rekey(settings, raw, CLICKSTREAM, until_end=True).run()
    assert (copied.keyed, copied.anonymous, copied.dead) == (2, 1, 3)
    assert Counter(m.key for m in read_topic(settings, CLICKSTREAM)) == {b"c-1": 2, b"a-7": 1}
    letters = read_topic(settings, "clickstream.dlq")
    assert [letter.value for letter in letters] == [page(None, 3), page("null", 4), b"oops"]
    assert [dict(letter.headers)["holdfast.reason"] for letter in letters] == [
        b"missing",
        b"bad_id",
        b"not_json",
    ]
    assert {dict(letter.headers)["__connect.errors.topic"] for letter in letters} == {raw.encode()}
    assert {letter.key for letter in letters} == {b"k"}


@pytest.mark.broker
def test_a_second_run_goes_on_where_the_first_one_ended(live_broker: dict[str, object]) -> None:
    settings = own_settings(live_broker, topics__partitions=2)
    raw = raw_topic(settings)
    put(settings, raw, sessions(30))
    assert Rekey(settings, raw, CLICKSTREAM, until_end=True).run().keyed == 30
    put(settings, raw, sessions(12))
    assert Rekey(settings, raw, CLICKSTREAM, until_end=True).run().keyed == 12
    assert len(read_topic(settings, CLICKSTREAM)) == 42


@pytest.mark.broker
def test_rows_of_a_table_are_keyed_by_their_customer_and_tombstones_left_out(
    live_broker: dict[str, object],
) -> None:
    settings = own_settings(live_broker, topics__partitions=4, sources__orders="debezium")
    raw = raw_topic(settings)
    row = {"id": 1, "customer_id": 17, "total": 5, "created_at": TIME_MS, "status": "paid"}
    change = orjson.dumps({"op": "c", "after": row, "source": {"lsn": 1}})
    put(settings, raw, [{"key": b'{"id":1}', "value": value, "partition": 0} for value in (change, None)])
    copied = Rekey(settings, raw, ORDERS, until_end=True).run()
    assert (copied.keyed, copied.empty, copied.dead) == (1, 1, 0)
    (message,) = read_topic(settings, ORDERS)
    assert (message.key, message.value, message.partition) == (b"17", change, partition_of(b"17", 4))


@pytest.mark.broker
def test_a_topic_in_another_format_stops_the_copying(live_broker: dict[str, object]) -> None:
    settings = own_settings(live_broker, dead_letters__max_consecutive=20)
    raw = raw_topic(settings)
    put(settings, raw, [{"value": b"<xml/>", "partition": 1}] * 30)
    with pytest.raises(OperatorError, match="mostly not_json; look at"):
        Rekey(settings, raw, CLICKSTREAM, until_end=True).run()
    assert len(read_topic(settings, "clickstream.dlq")) == 21  # what was refused is kept, and committed
    copied = Rekey(settings, raw, CLICKSTREAM, until_end=True).run()
    assert copied.dead == 9


def test_a_topic_is_not_copied_onto_itself() -> None:
    with pytest.raises(OperatorError, match="onto itself"):
        Rekey(Settings(), "clickstream", CLICKSTREAM)


def start(settings: Settings, raw: str, folder: Path) -> subprocess.Popen[bytes]:
    (folder / "holdfast.toml").write_text(settings_toml(settings))
    command = [sys.executable, "-m", "agents", "rekey", "--from", raw, "--to", "clickstream"]
    return subprocess.Popen(
        command,
        cwd=folder,
        env={"PYTHONPATH": str(ROOT), "PATH": ""},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


@pytest.mark.broker
def test_a_copier_that_is_killed_leaves_nothing_out(live_broker: dict[str, object], tmp_path: Path) -> None:
    settings = own_settings(live_broker, topics__partitions=4)
    raw = raw_topic(settings)
    put(settings, raw, sessions(8_000))
    first = start(settings, raw, tmp_path)
    until(lambda: len(read_topic(settings, CLICKSTREAM)) > 0, "something copied")
    first.send_signal(signal.SIGKILL)
    first.communicate()
    put(settings, raw, sessions(8_500)[8_000:])
    second = start(settings, raw, tmp_path)
    until(lambda: len({m.value for m in read_topic(settings, CLICKSTREAM)}) == 8_500, "all copied")
    second.send_signal(signal.SIGTERM)
    said, failed = second.communicate(timeout=30)
    assert second.returncode == 0, failed
    assert b"keyed by customer" in said


@pytest.mark.broker
def test_two_copiers_share_the_work_and_either_may_leave(
    live_broker: dict[str, object], tmp_path: Path
) -> None:
    settings = own_settings(live_broker, topics__partitions=4)
    raw = raw_topic(settings)
    put(settings, raw, sessions(2_000))
    (tmp_path / "first").mkdir()
    (tmp_path / "second").mkdir()
    first = start(settings, raw, tmp_path / "first")
    until(lambda: len(read_topic(settings, CLICKSTREAM)) >= 2_000, "the first has begun")
    second = start(settings, raw, tmp_path / "second")
    put(settings, raw, sessions(4_000)[2_000:])
    until(lambda: len({m.value for m in read_topic(settings, CLICKSTREAM)}) == 4_000, "both at work")
    first.send_signal(signal.SIGTERM)
    _, failed = first.communicate(timeout=30)
    assert first.returncode == 0, failed
    put(settings, raw, sessions(4_500)[4_000:])
    until(lambda: len({m.value for m in read_topic(settings, CLICKSTREAM)}) == 4_500, "the second alone")
    second.send_signal(signal.SIGTERM)
    _, failed = second.communicate(timeout=30)
    assert second.returncode == 0, failed


@pytest.mark.broker
def test_a_customer_on_the_wrong_partition_is_counted_and_told_once(live_broker: dict[str, object]) -> None:
    settings = own_settings(live_broker, topics__partitions=2, worker__agents="customers")
    create_missing(settings)
    wrong = 1 - partition_of(b"c-1", 2)
    with Worker(settings) as worker:
        for number in range(3):
            put(
                settings,
                settings.topic(CLICKSTREAM),
                [{"key": b"s", "value": page("c-1", number), "partition": wrong}],
            )
            worker.until_processed(number + 1)
        assert worker.metrics()["holdfast_misplaced_records_total"] == 3
        assert worker.stop() == 0, worker.said()
    assert worker.said().count("holds a customer whose id belongs to another partition") == 1
    assert "c-1" not in worker.said()


@pytest.mark.broker
def test_customers_where_they_belong_are_not_counted(live_broker: dict[str, object]) -> None:
    settings = own_settings(live_broker, topics__partitions=2, worker__agents="customers")
    raw = raw_topic(settings)
    put(settings, raw, sessions(40))
    Rekey(settings, raw, CLICKSTREAM, until_end=True).run()
    with Worker(settings) as worker:
        worker.until_processed(40)
        assert worker.metrics().get("holdfast_misplaced_records_total", 0.0) == 0.0
        assert worker.stop() == 0, worker.said()
