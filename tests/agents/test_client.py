"""Sending and watching: what goes where, in what order, and what stops it."""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Iterator
from time import time

import orjson
import pytest

from agents import client, cluster
from agents.client import Record, partition_of, send, watch
from agents.cluster import BrokerAbsent, LayoutError, create_missing
from agents.errors import OperatorError
from agents.routing import route
from agents.settings import Settings
from schemas.codec import ORDER_EVENTS

INPUTS = ("clickstream", "orders")


def click(customer: str, number: int = 0) -> bytes:
    return orjson.dumps({"type": "page", "userId": customer, "messageId": f"m{number}"})


def order(customer: str, number: int = 0) -> bytes:
    return orjson.dumps(
        {"type": "track", "event": "Order Completed", "userId": customer, "messageId": f"m{number}"}
    )


def everything(settings: Settings, count: int, *names: str) -> list[Record]:
    return list(watch(settings, names or INPUTS, from_beginning=True, count=count, timeout=10))


@pytest.fixture
def topics(broker_settings: Settings) -> Settings:
    create_missing(broker_settings)
    return broker_settings


# The values of Kafka's own test of its hash (UtilsTest.testMurmur2).
@pytest.mark.parametrize(
    ("key", "murmur2"),
    [
        (b"21", -973932308),
        (b"foobar", -790332482),
        (b"a-little-bit-long-string", -985981536),
        (b"a-little-bit-longer-string", -1486304829),
        (b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58897971),
        (b"abc", 479470107),
    ],
)
def test_a_key_goes_to_the_partition_to_which_kafka_sends_it(key: bytes, murmur2: int) -> None:
    for count in (1, 4, 7, 128):
        assert partition_of(key, count) == (murmur2 & 0x7FFFFFFF) % count


@pytest.mark.parametrize(
    ("line", "topic", "key"),
    [
        (b'{"event":"Order Completed","userId":"u","anonymousId":"a"}', "orders", b"u"),
        (b'{"event":"Product Viewed","userId":"u"}', "clickstream", b"u"),
        (b'{"event":"Product Viewed","anonymousId":"a"}', "clickstream", b"a"),
        (b'{"event":"Product Viewed","userId":null,"anonymousId":"a"}', "clickstream", b"a"),
        (b'{"event":"Product Viewed","userId":"","anonymousId":"a"}', "clickstream", b"a"),
        (b'{"event":"Product Viewed","userId":17}', "clickstream", None),
        (b'{"event":["Order Completed"],"userId":"u"}', "clickstream", b"u"),
        ('{"userId":"ü"}'.encode(), "clickstream", "ü".encode()),
        (b"{}", "clickstream", None),
    ],
)
def test_a_message_has_its_topic_and_its_key(line: bytes, topic: str, key: bytes | None) -> None:
    assert route(line) == (topic, key)


def test_every_order_event_goes_to_the_orders() -> None:
    assert {route(orjson.dumps({"event": name}))[0] for name in ORDER_EVENTS} == {"orders"}


@pytest.mark.broker
def test_each_customer_has_one_partition_on_both_topics_and_keeps_the_order(topics: Settings) -> None:
    lines = [
        (order if number % 7 == 0 else click)(f"c{number % 50}", number) for number in range(10_000)
    ]  # several rounds
    sent = send(topics, lines)
    assert (sent.clickstream, sent.orders) == (8571, 1429)
    partitions, numbers = defaultdict(set), defaultdict(list)
    for record in everything(topics, len(lines)):
        assert record.key is not None
        assert record.value is not None
        partitions[record.key].add(record.partition)
        numbers[record.topic, record.key].append(int(orjson.loads(record.value)["messageId"][1:]))
    assert len(partitions) == 50
    assert all(len(found) == 1 for found in partitions.values())
    assert all(found == sorted(found) for found in numbers.values())
    assert sum(map(len, numbers.values())) == len(lines)


@pytest.mark.broker
def test_a_message_arrives_byte_by_byte_with_the_time_of_sending(topics: Settings) -> None:
    line = b' {"userId" : "u", "timestamp":"1997-01-01T00:00:00Z"}'
    before = int(time() * 1000)
    send(topics, [line + b"\r\n"])
    (record,) = everything(topics, 1)
    assert record.value == line
    assert before <= record.time_ms <= int(time() * 1000)


@pytest.mark.broker
def test_blank_lines_are_left_out(topics: Settings) -> None:
    assert send(topics, [b"\n", click("u"), b"", b"\r\n"]).messages == 1


@pytest.mark.broker
def test_a_message_of_any_size_goes_through(topics: Settings) -> None:
    large = orjson.dumps({"userId": "u", "text": "x" * 700_000})
    send(topics, [click("u"), large, click("u")])
    assert [len(record.value or b"") for record in everything(topics, 3)][1] == len(large)


@pytest.mark.broker
@pytest.mark.parametrize("bad", [b"oops", b"[1]", b"17", b'{"userId":', b'{"userId":"\xff"}', b"[" * 100_000])
def test_a_line_that_is_no_object_stops_it_after_the_lines_before(topics: Settings, bad: bytes) -> None:
    with pytest.raises(OperatorError) as caught:
        send(topics, [click("a"), b"", click("b"), bad, click("c")], source="events.jsonl")
    assert caught.value.message.startswith("events.jsonl:4: not a JSON object; messages sent before it: 2 ")
    assert {record.key for record in everything(topics, 2)} == {b"a", b"b"}


@pytest.mark.broker
def test_as_is_sends_what_is_no_object_to_the_clickstream_without_a_key(topics: Settings) -> None:
    sent = send(topics, [b"oops", b'{"event":', click("a")], as_is=True)
    assert sent.clickstream == 3
    found = {record.value: record.key for record in everything(topics, 3, "clickstream")}
    assert found == {b"oops": None, b'{"event":': None, click("a"): b"a"}


@pytest.mark.broker
def test_messages_without_a_key_are_spread_over_the_partitions(topics: Settings) -> None:
    send(topics, [b"{}"] * 8)
    assert {record.partition for record in everything(topics, 8)} == {0, 1, 2, 3}


@pytest.mark.broker
def test_a_rate_is_kept(topics: Settings) -> None:
    sent = send(topics, [click("u")] * 60, rate=200.0)
    assert 60 / 200.0 - client._TICK_SECONDS <= sent.seconds < 5.0


@pytest.mark.broker
def test_none_among_the_lines_sends_what_was_given_so_far(topics: Settings) -> None:
    arrived: list[Record] = []

    def lines() -> Iterator[bytes | None]:
        yield click("u")
        yield None
        arrived.extend(everything(topics, 1))  # the pipe is silent, and the message is there already
        yield click("v")

    assert send(topics, lines()).messages == 2
    assert [record.key for record in arrived] == [b"u"]


@pytest.mark.broker
def test_renamed_topics_are_sent_to_and_read_from(broker_settings: Settings) -> None:
    import msgspec

    renamed = msgspec.structs.replace(
        broker_settings, topics=msgspec.structs.replace(broker_settings.topics, orders="bestellungen")
    )
    create_missing(renamed)
    send(renamed, [order("u")])
    (record,) = everything(renamed, 1)
    assert record.topic == "orders"


@pytest.mark.broker
def test_inputs_that_are_not_there_are_told(broker_settings: Settings) -> None:
    with pytest.raises(LayoutError, match=r"clickstream does not exist"):
        send(broker_settings, [click("u")])
    with pytest.raises(LayoutError, match=r"models does not exist"):
        next(watch(broker_settings, ["models"]))


def test_no_broker_is_told(no_broker: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster, "CONNECT_MS", 100)
    with pytest.raises(BrokerAbsent):
        send(no_broker, [click("u")])
    with pytest.raises(BrokerAbsent):
        next(watch(no_broker, ["models"]))


@pytest.mark.broker
def test_watching_begins_with_what_comes_next(topics: Settings) -> None:
    send(topics, [click("old")] * 1000)
    arrived: list[Record] = []
    watching = watch(topics, ["clickstream"], count=1, timeout=20)
    watcher = threading.Thread(target=lambda: arrived.extend(watching))
    watcher.start()
    while watcher.is_alive():  # it does not say when it is ready
        send(topics, [click("new")])
    assert [record.key for record in arrived] == [b"new"]


@pytest.mark.broker
def test_watching_stops_when_the_time_is_up(topics: Settings) -> None:
    send(topics, [click("u")] * 3)
    assert len(list(watch(topics, ["clickstream"], from_beginning=True, count=4, timeout=0.5))) == 3


@pytest.mark.broker
def test_watching_gives_no_more_than_asked_for(topics: Settings) -> None:
    send(topics, [click("u", number) for number in range(100)])
    offsets = [record.offset for record in everything(topics, 5)]
    assert offsets == [0, 1, 2, 3, 4]
