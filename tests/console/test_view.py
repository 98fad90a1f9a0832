"""The view: what any order of reading and any repetition leaves the same, and what never grows."""

from __future__ import annotations

import tracemalloc
from collections import Counter
from random import Random

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.console import telling
from agents.console.queries import AlertQuery, CustomerQuery
from agents.console.view import READ, Bounds, View
from schemas.decisions import ChurnAlert, CustomerScore, SegmentChange
from schemas.topics import CHURN_ALERTS, CUSTOMER_SCORES, MODELS, SEGMENT_CHANGES
from tests.console.feeding import STRANGE, Message, decoded, said, view_of


def answers(view: View) -> bytes:
    """Everything that can be asked, with what does not depend on who was read last."""
    shop = telling.Shop()
    everybody = [telling.customer(view, name, shop) for name in sorted(view.customers)]
    return msgspec.json.encode(
        [
            everybody,
            telling.segments(view),
            telling.model(view),
            telling.alerts(view, AlertQuery(limit=500), shop).alerts,
            telling.alerts(view, AlertQuery(open=True, limit=500), shop).alerts,
        ]
    )


# Against slow oracles


def test_sizes_are_those_of_the_latest_scores() -> None:
    view = view_of(said())
    latest = {score.customer_id: score for score in decoded(said(), CUSTOMER_SCORES, CustomerScore)}
    expected = Counter(("rfm", score.rfm) for score in latest.values())
    expected += Counter(("lifecycle", score.lifecycle) for score in latest.values())
    assert +view.sizes == expected
    assert len(latest) == 12


def test_flows_are_the_changes() -> None:
    changes = decoded(said(), SEGMENT_CHANGES, SegmentChange)
    assert view_of(said()).flows == Counter((c.dimension, c.previous, c.current) for c in changes)


def test_an_alert_is_open_until_something_resolves_it() -> None:
    last = {alert.customer_id: alert for alert in decoded(said(), CHURN_ALERTS, ChurnAlert)}
    expected = {name: alert for name, alert in last.items() if alert.state != "resolved"}
    assert view_of(said()).open == expected
    assert 0 < len(expected) < len(last)


# What Kafka may do


@given(st.integers(0, 400), st.integers(1, 200))
def test_what_comes_again_changes_nothing(start: int, length: int) -> None:
    messages = list(said())
    once = view_of(messages)
    end = min(start + length, len(messages))
    again = view_of([*messages[:end], *messages[start:end], *messages[end:]])
    assert answers(again) == answers(once)
    assert again.moments == once.moments


@given(st.integers(0, 1_000))
def test_topics_may_be_read_in_any_order_beside_each_other(seed: int) -> None:
    random = Random(seed)
    queues = {topic: [m for m in said() if m.topic == topic][::-1] for topic in READ}
    mixed: list[Message] = []
    while any(queues.values()):
        topic = random.choice([topic for topic, queue in queues.items() if queue])
        for _ in range(min(len(queues[topic]), random.randint(1, 60))):
            mixed.append(queues[topic].pop())
    assert answers(view_of(mixed)) == answers(view_of(said()))


# Bounds


@given(st.integers(1, 8), st.integers(1, 80), st.integers(1, 20), st.integers(1, 15))
def test_nothing_outgrows_its_bound(customers: int, moments: int, own: int, alerts: int) -> None:
    view = View(Bounds(customers, moments, own, alerts, erased=2))
    for message in said():
        view.take(*message)
        kept = view.customers
        assert len(kept) <= customers
        assert view.moments == sum(len(one.history) for one in kept.values()) <= moments
        assert all(len(one.history) <= own for one in kept.values())
        assert len(view.alerts) <= alerts
        assert set(view.open) <= set(kept)
    recount = Counter(("rfm", one.rfm) for one in kept.values() if one.score)
    recount += Counter(("lifecycle", one.lifecycle) for one in kept.values() if one.score)
    assert +view.sizes == recount
    assert telling.segments(view).customers == sum(one.score is not None for one in kept.values())


def test_the_one_spoken_of_longest_ago_goes_first() -> None:
    scores = [m for m in said() if m.topic == CUSTOMER_SCORES]
    view = view_of(scores, Bounds(customers=3))
    recent: list[bytes] = []
    for message in reversed(scores):
        if message.key not in recent:
            recent.append(message.key)
    assert [name.encode() for name in reversed(view.customers)] == recent[:3]
    assert view.dropped_customers > 0


def test_a_customer_takes_two_kilobytes() -> None:
    """What the setting `console.max_customers` promises."""
    (score, *_) = [m for m in said() if m.topic == CUSTOMER_SCORES and m.key == b"c1"]
    tracemalloc.start()
    try:
        view = View()
        for number in range(1_000):
            name = f"customer-{number:04}"
            view.take(CUSTOMER_SCORES, name.encode(), score.value.replace(b'"c1"', f'"{name}"'.encode()))
        size, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(view.customers) == 1_000
    assert 500 < size / 1_000 < 2_300


# Erasure


@pytest.mark.parametrize("name", [STRANGE, "c3"])
def test_a_tombstone_takes_every_trace_and_older_messages_bring_none_back(name: str) -> None:
    view = View()
    for message in said():
        view.take(*message, time_ms=100)
    assert telling.customer(view, name, telling.Shop()) is not None
    view.take(CUSTOMER_SCORES, name.encode(), None, time_ms=200)
    for message in said():  # another topic, read later
        if message.key == name.encode():
            view.take(*message, time_ms=150)
    assert telling.customer(view, name, telling.Shop()) is None
    assert telling.customers(view, CustomerQuery(q=name)).customers == []
    assert msgspec.json.encode(name) not in answers(view)
    assert view.moments == sum(len(one.history) for one in view.customers.values())
    own = [m for m in said() if m.key == name.encode() and m.topic == CUSTOMER_SCORES]
    view.take(*own[-1], time_ms=300)
    assert telling.customer(view, name, telling.Shop()) is not None  # they came again


# What is not a message


@given(st.sampled_from(READ), st.binary(max_size=60))
def test_whatever_bytes_are_counted_and_change_nothing(topic: str, value: bytes) -> None:
    view = view_of(said())
    before = answers(view)
    view.take(topic, b"c1", value)
    assert view.unreadable == 1
    assert answers(view) == before


def test_a_segment_that_is_none_is_refused() -> None:
    view = View()
    change = decoded(said(), SEGMENT_CHANGES, SegmentChange)[0]
    view.take(SEGMENT_CHANGES, b"c", msgspec.json.encode(msgspec.structs.replace(change, current="royalty")))
    assert (view.unreadable, len(view.customers)) == (1, 0)


def test_models_are_kept_by_version_and_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agents.console.quality.MOST_MODELS", 3)
    view = view_of(said())
    latest = view.models.latest
    assert latest is not None
    for number in range(5):
        newer = msgspec.structs.replace(latest, model_version=f"v{number}", n_learned=number)
        view.take(MODELS, b"v", msgspec.json.encode(newer))
    assert [quality.n_learned for quality in view.models.quality(10)] == [2, 3, 4]
    assert [quality.n_learned for quality in view.models.quality(2)] == [2, 4]
    found = view.models.served("v3"), view.models.served("rich")
    assert [served.model_version if served else None for served in found] == ["v3", "v4"]
