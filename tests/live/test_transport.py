"""The transport's own rules, without a broker: what is committed, and what counts as the end."""

from __future__ import annotations

import asyncio
import inspect
from functools import partial
from types import SimpleNamespace
from typing import Any

import faust.transport.consumer
import pytest
from aiokafka.consumer import fetcher as client
from aiokafka.consumer.fetcher import READ_UNCOMMITTED, Fetcher, FetchResult, PartitionRecords
from aiokafka.errors import CorruptRecordException
from aiokafka.record.default_records import DefaultRecordBatchBuilder
from aiokafka.record.legacy_records import LegacyRecordBatchBuilder
from aiokafka.structs import TopicPartition
from faust.transport.drivers import aiokafka as base
from faust.types import TP

from agents.fetched import Batches, all_fetched, as_read, one_by_one
from agents.transport import (
    FETCH_MAX_WAIT_MS,
    MANY_FETCHED,
    PATIENT_BYTES,
    PATIENT_WAIT_MS,
    Consumer,
)

CLICKS = TP("clickstream", 0)


@pytest.fixture
def consumer() -> Consumer:
    """A consumer of which only our own part is alive."""
    consumer = Consumer.__new__(Consumer)
    consumer.sealed, consumer.starts, consumer.delivered = {}, {}, {}
    consumer._confirmed, consumer._drained, consumer._seeks = {}, {}, 0
    consumer.readers = {CLICKS.topic: "customers", "orders": "customers", "examples": "learner"}
    consumer._acked, consumer._acked_index = {CLICKS: [3, 4]}, {CLICKS: {3, 4}}
    return consumer


def test_only_sealed_offsets_are_ever_offered_for_commit(consumer: Consumer) -> None:
    assert list(consumer._filter_tps_with_pending_acks()) == []
    assert consumer._new_offset(CLICKS) is None  # acknowledged by streams, sealed by nobody
    consumer.sealed[CLICKS] = 3
    assert list(consumer._filter_tps_with_pending_acks()) == [CLICKS]
    assert consumer._new_offset(CLICKS) == 3


def test_a_commit_that_the_broker_refused_is_offered_again(
    consumer: Consumer, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = iter([False, True])

    async def commit(_self: Any, _offsets: Any) -> bool:
        return next(answers)

    monkeypatch.setattr(base.Consumer, "_commit", commit)
    assert consumer._should_commit(CLICKS, 7)
    assert not asyncio.run(consumer._commit({CLICKS: 7}))
    assert consumer._should_commit(CLICKS, 7)
    assert asyncio.run(consumer._commit({CLICKS: 7}))
    assert not consumer._should_commit(CLICKS, 7)


def end_of(consumer: Consumer, monkeypatch: pytest.MonkeyPatch, **state: Any) -> None:
    known = SimpleNamespace(highwater=None, has_valid_position=True, position=0) if state else None
    if known is not None:
        known.__dict__.update(state)
    monkeypatch.setattr(Consumer, "_state", lambda _self, _tp: known)


def test_the_end_is_unknown_before_the_first_answer_to_a_fetch(
    consumer: Consumer, monkeypatch: pytest.MonkeyPatch
) -> None:
    end_of(consumer, monkeypatch)
    assert not consumer.at_end(CLICKS, 10)
    end_of(consumer, monkeypatch, highwater=None)
    assert not consumer.at_end(CLICKS, 10)


def test_the_end_is_reached_at_the_high_watermark_and_not_before(
    consumer: Consumer, monkeypatch: pytest.MonkeyPatch
) -> None:
    end_of(consumer, monkeypatch, highwater=10, position=10)
    assert consumer.at_end(CLICKS, 10)
    assert not consumer.at_end(CLICKS, 9)  # a record has been fetched but not handed to the agent


def test_a_log_that_ends_in_transaction_markers_has_an_end(
    consumer: Consumer, monkeypatch: pytest.MonkeyPatch
) -> None:
    end_of(consumer, monkeypatch, highwater=11, position=11)
    consumer._drained[CLICKS] = 11  # a fetch brought nothing from there
    consumer.delivered[CLICKS] = 10
    assert consumer.at_end(CLICKS, 10)
    assert not consumer.at_end(CLICKS, 9)  # one batch is still in the agent's buffer


def test_a_fetch_that_a_rebalance_overtakes_says_nothing_of_what_was_handed_out(
    consumer: Consumer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It found nothing behind the old position; the new one lies before that, and much is to come."""
    consumer._thread = SimpleNamespace(_consumer=None)
    consumer._paused_partitions, consumer._read_offset = set(), {}
    seeks = iter([True, False])

    async def nothing(_self: Any) -> None:
        pass

    async def getmany(_self: Any, _active: Any, _timeout: float) -> Any:
        if next(seeks):
            await consumer.perform_seek()
        return {}

    monkeypatch.setattr(base.Consumer, "perform_seek", nothing)
    monkeypatch.setattr(base.Consumer, "_getmany", getmany)
    monkeypatch.setattr(Consumer, "assignment", lambda _self: {CLICKS})
    monkeypatch.setattr(Consumer, "_position", lambda _self, _tp: 10)
    asyncio.run(consumer._getmany({CLICKS}, 1.0))
    assert CLICKS not in consumer._drained
    asyncio.run(consumer._getmany({CLICKS}, 1.0))
    assert consumer._drained == {CLICKS: 10}


def batch_of(first: int, count: int, compression: int = 0) -> bytes:
    batch = DefaultRecordBatchBuilder(2, compression, 0, -1, -1, -1, 1 << 20)
    for number in range(count):
        batch.append(number, timestamp=1, key=b"k", value=b"%d" % (first + number), headers=[])
    return first.to_bytes(8, "big") + bytes(batch.build())[8:]


def fetched(
    records: int, position: int, paused: bool = False, begin: int = 10, answer: bytes | None = None
) -> tuple[FetchResult, SimpleNamespace]:
    """What the client makes of an answer with two batches, the second of one record, and where it stands."""
    if answer is None:
        answer = batch_of(10, records) + batch_of(10 + records, 1, compression=1)
    tp = TopicPartition("clickstream", 0)
    state = SimpleNamespace(paused=paused, position=position)
    state.consumed_to = lambda at: setattr(state, "position", at)
    waiting = PartitionRecords(tp, Batches(answer), [], begin, as_read, None, True, READ_UNCOMMITTED)
    assignment = SimpleNamespace(active=True, state_value=lambda _tp: state)
    return FetchResult(tp, assignment=assignment, partition_records=waiting, backoff=0), state


@pytest.mark.parametrize("begin", [10, 12, 15, 16])
@pytest.mark.parametrize("most", [None, 1, 2, 3, 6, 7])
def test_what_was_fetched_is_handed_over_as_the_client_would_one_by_one(most: int | None, begin: int) -> None:
    ours, state = fetched(5, begin, begin=begin)
    clients, expected = fetched(5, begin, begin=begin)
    while clients.has_more():
        assert ours.has_more()
        got, wanted = all_fetched(ours, most), list(one_by_one(clients, most))
        assert [(r.offset, r.value) for r in got] == [(r.offset, r.value) for r in wanted]
        assert state.position == expected.position
    assert not ours.has_more()
    assert state.position == 16


def test_the_rest_of_a_batch_that_was_begun_one_by_one_is_handed_over_at_once() -> None:
    ours, state = fetched(5, position=10)
    assert ours.getone().offset == 10
    assert [record.offset for record in all_fetched(ours)] == [11, 12, 13, 14, 15]
    assert state.position == 16


def test_every_answer_to_a_fetch_is_read_by_us() -> None:
    assert client.MemoryRecords is Batches
    assert FetchResult.getall is all_fetched


@pytest.mark.parametrize("place", [20, -1])
def test_a_batch_of_an_old_broker_is_checked_by_the_client(place: int) -> None:
    batch = LegacyRecordBatchBuilder(1, 0, 1 << 20)
    for number in range(3):
        batch.append(10 + number, timestamp=1, key=b"k", value=b"%d" % number)
    good = bytes(batch.build())
    bad = bytearray(good)
    bad[place] ^= 1
    assert [record.offset for record in all_fetched(fetched(0, 10, answer=good)[0])] == [10, 11, 12]
    with pytest.raises(CorruptRecordException):
        all_fetched(fetched(0, 10, answer=bytes(bad))[0])


@pytest.mark.parametrize("compression", [0, 1])
@pytest.mark.parametrize("place", [21, 60, -1])
def test_a_batch_that_is_not_what_its_checksum_says_is_refused(compression: int, place: int) -> None:
    good = batch_of(10, 5, compression)
    bad = bytearray(good)
    bad[place] ^= 1
    assert len(all_fetched(fetched(0, 10, answer=good)[0])) == 5
    with pytest.raises(CorruptRecordException):
        all_fetched(fetched(0, 10, answer=good + bytes(bad))[0])


@pytest.mark.parametrize(("position", "paused"), [(10, True), (12, False)])
def test_what_was_fetched_of_a_partition_that_is_paused_or_elsewhere_now_is_dropped(
    position: int, paused: bool
) -> None:
    ours, _ = fetched(5, position, paused)
    assert all_fetched(ours) == []
    assert not ours.has_more()


def test_what_a_fetch_brought_for_an_agent_travels_as_one_message(
    consumer: Consumer, monkeypatch: pytest.MonkeyPatch
) -> None:
    orders, examples = TP("orders", 1), TP("examples", 0)
    consumer._thread = SimpleNamespace(_consumer=None)
    consumer._paused_partitions, consumer._read_offset = set(), {CLICKS: 3}
    consumer.app = SimpleNamespace(consumer_generation_id=4)
    record = partial(SimpleNamespace, timestamp=1_000, timestamp_type=0)
    answer = {
        CLICKS: [record(offset=7), record(offset=8)],
        examples: [record(offset=3)],
        orders: [record(offset=1)],
        TP("orders", 0): [],
    }

    async def getmany(_self: Any, _active: Any, _timeout: float) -> Any:
        return answer

    monkeypatch.setattr(base.Consumer, "_getmany", getmany)
    got = asyncio.run(consumer._getmany(set(), 1.0))
    of_customers = {CLICKS: answer[CLICKS], orders: answer[orders]}
    assert got == {CLICKS: [of_customers], examples: [{examples: answer[examples]}]}
    message = consumer._to_message(CLICKS, got[CLICKS][0])
    assert (message.tp, message.value, message.offset) == (CLICKS, of_customers, 8)
    assert message.generation_id == 4
    assert consumer.delivered == {CLICKS: 9, orders: 2}, "and no more: examples are another message"
    assert consumer._read_offset == {CLICKS: None, orders: None}


def test_faust_has_no_opinion_on_partitions_of_which_it_does_not_see_the_messages(consumer: Consumer) -> None:
    assert "self.verify_event_path(now, tp)" in inspect.getsource(faust.transport.consumer), "Faust asks it"
    consumer.verify_event_path(0.0, CLICKS)  # a thread that is not there would say so


def test_a_fetch_waits_for_more_after_one_that_brought_much_and_not_after_one_that_brought_little(
    consumer: Consumer, monkeypatch: pytest.MonkeyPatch
) -> None:
    fetcher = Fetcher.__new__(Fetcher)
    consumer._thread = SimpleNamespace(_consumer=SimpleNamespace(_fetcher=fetcher))
    consumer._paused_partitions = set()
    answers = iter([{CLICKS: [None] * (MANY_FETCHED + 1)}, {CLICKS: [None]}])

    async def getmany(_self: Any, _active: Any, _timeout: float) -> Any:
        return next(answers)

    monkeypatch.setattr(base.Consumer, "_getmany", getmany)
    waits = []
    for _ in range(2):
        asyncio.run(consumer._getmany(set(), 1.0))
        waits.append((fetcher._fetch_min_bytes, fetcher._fetch_max_wait_ms))
    assert waits == [(PATIENT_BYTES, PATIENT_WAIT_MS), (1, FETCH_MAX_WAIT_MS)]
    asks = inspect.getsource(Fetcher._get_actions_per_node)
    assert "self._fetch_min_bytes," in asks, "the client asks it"
    assert "self._fetch_max_wait_ms," in asks
