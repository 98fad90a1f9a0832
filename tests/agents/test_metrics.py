"""What is counted is right, bounded, and names no customer."""

from __future__ import annotations

from collections import Counter
from types import SimpleNamespace
from typing import Any

import pytest
from prometheus_client.samples import Sample

from agents import metrics
from agents.census import AT_ONCE, Census
from agents.meter import Meter
from agents.stores import MemoryStore
from samples.cdnow import messages
from schemas.codec import decode_event, encode
from schemas.decisions import ChurnAlert, SegmentChange
from streams.config import StreamConfig
from streams.customer.alerts import band_of
from streams.customer.decision import Decision
from streams.customer.lifecycle import LIFECYCLE_NAMES
from streams.customer.machine import CustomerMachine
from streams.customer.rfm import RFM_NAMES
from streams.learning.served import Served, untrained


def samples(metric: Any) -> dict[tuple[str, ...], float]:
    (family,) = metric.collect()
    found: list[Sample] = [s for s in family.samples if not s.name.endswith("_created")]
    return {tuple(s.labels.values()): s.value for s in found}


def played(orders: int) -> tuple[CustomerMachine, list[Decision]]:
    """Play the beginning of a real shop's orders."""
    config = StreamConfig()
    machine = CustomerMachine(config, Served(untrained(config)), states=MemoryStore())
    decisions: list[Decision] = []
    for offset, message in enumerate(messages("tenth")):
        if offset == orders:
            break
        machine.apply(decode_event(encode(message), 1 << 20), 1, offset)
        decisions += machine.take()
    return machine, decisions


@pytest.fixture(scope="module")
def shop() -> tuple[CustomerMachine, list[Decision]]:
    return played(4_000)


def test_a_census_counts_every_customer_once_and_adds_up_their_money(
    shop: tuple[CustomerMachine, list[Decision]],
) -> None:
    machine, _ = shop
    store = machine.states
    assert isinstance(store, MemoryStore)
    census = Census()
    rounds = 1
    while not census.look({0: store}, machine.judge):
        rounds += 1
    assert rounds == 1 + -(-len(store) // AT_ONCE)
    expected: Counter[tuple[str, str]] = Counter()
    for state in store.values():
        if state.orders:
            expected["rfm", RFM_NAMES[state.rfm]] += 1
            expected["lifecycle", LIFECYCLE_NAMES[state.lifecycle]] += 1
    shown = samples(metrics.SEGMENT_SIZE)
    assert {key: number for key, number in shown.items() if number} == dict(expected)
    assert len(shown) == len(RFM_NAMES) + len(LIFECYCLE_NAMES) - 1
    bands = Counter(band_of(state.verdict.risk) for state in store.values() if state.orders)
    assert samples(metrics.BAND_SIZE) == {(band,): bands[band] for band in ("low", "medium", "high")}
    predicted, at_risk = samples(metrics.PREDICTED_VALUE)[()], sum(samples(metrics.VALUE_AT_RISK).values())
    assert 0.0 < at_risk < predicted
    worth = [(s.verdict.risk, machine.judge.worth(s, s.clock_ms)) for s in store.values() if s.orders]
    assert predicted == pytest.approx(sum(value for _, value in worth))
    assert at_risk == pytest.approx(sum(risk * value for risk, value in worth))
    opened = sum(state.verdict.episode > 0 for state in store.values())
    assert sum(samples(metrics.OPEN_EPISODES).values()) == opened


def test_a_census_sees_who_has_gone_and_shows_empty_segments_as_zero() -> None:
    machine, _ = played(200)
    store = machine.states
    assert isinstance(store, MemoryStore)
    census = Census()
    census.look({0: store}, machine.judge)
    for customer_id in list(store):
        machine.erase(customer_id)
    census.begin_anew()
    assert census.look({0: store}, machine.judge)
    assert set(samples(metrics.SEGMENT_SIZE).values()) == {0.0}
    assert set(samples(metrics.OPEN_VALUE).values()) == {0.0}


def test_customers_may_come_and_go_while_a_census_looks() -> None:
    machine, _ = played(3_000)
    store = machine.states
    assert isinstance(store, MemoryStore)
    assert len(store) > AT_ONCE
    census = Census()
    assert not census.look({0: store}, machine.judge)
    for customer_id in list(store)[-100:]:
        machine.erase(customer_id)
    while not census.look({0: store}, machine.judge):
        pass
    stages = [n for (kind, name), n in samples(metrics.SEGMENT_SIZE).items() if kind == "lifecycle"]
    assert sum(stages) == len(store)


def test_decisions_are_counted_as_one_by_one(shop: tuple[CustomerMachine, list[Decision]]) -> None:
    machine, decisions = shop
    before = samples(metrics.SEGMENT_MOVES), samples(metrics.ALERTS), samples(metrics.ALERT_VALUE)
    meter = Meter(0, 60.0)
    meter.said(decisions[:1])
    meter.said(decisions[1:])
    meter.hand_over()
    after = samples(metrics.SEGMENT_MOVES), samples(metrics.ALERTS), samples(metrics.ALERT_VALUE)
    moves = sum(after[0].values()) - sum(before[0].values())
    assert moves == sum(isinstance(d.payload, SegmentChange) for d in decisions) > 0
    alerts = [d.payload for d in decisions if isinstance(d.payload, ChurnAlert)]
    assert sum(after[1].values()) - sum(before[1].values()) == len(alerts)
    named = sum(after[2].values()) - sum(before[2].values())
    assert named == pytest.approx(sum(alert.value_at_risk for alert in alerts))
    assert sum(machine.looks.values()) >= len({d.customer_id for d in decisions})


def test_a_batch_is_measured_once_when_its_last_record_is_done() -> None:
    meter = Meter(0, 60.0)
    for last in (9, 19):
        meter.arrived(
            "orders", [SimpleNamespace(offset=last - 1), SimpleNamespace(offset=last, timestamp=-1)]
        )
    meter.arrived("clickstream", [])
    assert meter.done({"orders": 9}, 0) == 0
    assert meter.done({"orders": 10}, 0) == 1
    assert meter.done({"orders": 20}, 0) == 1
    assert meter.done({"orders": 20}, 0) == 0


def test_reviews_are_handed_over_once() -> None:
    before = samples(metrics.REVIEWS).get(("timer",), 0.0)
    meter, looks = Meter(0, 60.0), {"timer": 3}
    meter.sealed(1, looks)
    meter.sealed(1, looks)
    assert looks == {}
    assert samples(metrics.REVIEWS)["timer",] == before + 3.0


def test_a_partition_that_went_is_not_shown() -> None:
    metrics.WAITING.labels("orders", "7").set(3)
    metrics.WATERMARK.labels("7").set(3)
    metrics.drop_partition(7)
    assert ("orders", "7") not in samples(metrics.WAITING)
    assert ("7",) not in samples(metrics.WATERMARK)


def test_names_and_labels_are_those_of_prometheus_and_of_no_customer() -> None:
    allowed = {
        "topic", "outcome", "reason", "partition", "state", "cause", "band", "dimension", "previous",
        "current", "segment", "measure", "expert", "version", "python",
    }  # fmt: skip
    found = metrics.all_metrics()
    assert len(found) >= 30
    for metric in found:
        assert metric._name.startswith("holdfast_")
        assert metric._documentation.endswith((".", ")."))
        assert set(metric._labelnames) <= allowed
