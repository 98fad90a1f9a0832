"""The transport's own rules, without a broker: what is committed, and what counts as the end."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest
from faust.transport.drivers import aiokafka as base
from faust.types import TP

from agents.transport import Consumer

CLICKS = TP("clickstream", 0)


@pytest.fixture
def consumer() -> Consumer:
    """A consumer of which only our own part is alive."""
    consumer = Consumer.__new__(Consumer)
    consumer.sealed, consumer.starts, consumer.delivered = {}, {}, {}
    consumer._confirmed, consumer._drained = {}, {}
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
