"""Days of the shop: each number is what counting from the beginning gives, in whatever order it comes."""

from __future__ import annotations

import random
from datetime import timedelta
from itertools import pairwise
from math import log, sqrt
from typing import Any, NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.codec import utc
from schemas.decisions import ChurnAlert, CustomerScore
from schemas.kpis import RetentionKpis, SegmentKpis
from schemas.learning import Example
from schemas.topics import CHURN_ALERTS, CUSTOMER_SCORES, EXAMPLES
from streams.config import DAY_MS, HOUR_MS, SegmentConfig, StreamConfig
from streams.customer.decision import Decision
from streams.value.day_kpis import ACTIVE_STAGES
from streams.value.kpis import GRACE_MS, KpiMachine
from streams.value.lapse import prob_silent

START_MS = 20_000 * DAY_MS
ACTIVE_DAYS = 20.0
HORIZON = 5.0
CONFIG = StreamConfig(segments=SegmentConfig(active_days=ACTIVE_DAYS, inactive_days=60.0))


def score(customer: str, at_ms: int, order_ms: int, orders: int = 1, **other: Any) -> Decision:
    silent_days = (at_ms - order_ms) / DAY_MS
    stage = "inactive" if silent_days >= 60 else "defecting" if silent_days >= ACTIVE_DAYS else "active"
    values: dict[str, Any] = {
        "customer_id": customer,
        "event_time": utc(at_ms),
        "cause": "timer",
        "risk": 0.5,
        "band": "low",
        "horizon_days": HORIZON,
        "crosses_at": None,
        "rfm": "loyal" if orders > 2 else "new",
        "lifecycle": stage,
        "orders": orders,
        "time_since_last_order_days": silent_days,
        "historic_value": 10.0 * orders,
        "predicted_value": 40.0,
        "value_at_risk": 20.0,
        "model_version": "m",
        "features": [],
    }
    return Decision(CUSTOMER_SCORES, customer, CustomerScore(**{**values, **other}))


def alert(customer: str, at_ms: int, state: str, episode: str, cause: str = "risk") -> Decision:
    said = ChurnAlert(
        id=f"{episode}/{state}",
        episode=episode,
        state=state,  # type: ignore[arg-type]
        cause=cause,  # type: ignore[arg-type]
        customer_id=customer,
        event_time=utc(at_ms),
        episode_started_at=utc(at_ms),
        risk=0.85,
        band="high",
        horizon_days=HORIZON,
        predicted_value=40.0,
        value_at_risk=34.0,
        model_version="m",
        intercept=0.0,
        reasons=[],
        changed=[],
        evidence=[],
    )
    return Decision(CHURN_ALERTS, customer, said)


def example(customer: str, matured_ms: int, risk: float, label: int) -> Decision:
    answered = Example(
        id=f"{customer}/{matured_ms}",
        customer_id=customer,
        asked_at=utc(matured_ms) - timedelta(days=HORIZON),
        matured_at=utc(matured_ms),
        horizon_days=HORIZON,
        cause="timer",
        features={},
        risk=risk,
        label=label,
        model_version="m",
    )
    return Decision(EXAMPLES, customer, answered)


def at(day: float) -> int:
    return START_MS + int(day * DAY_MS)


def days_of(decisions: list[Decision], until_day: float) -> list[RetentionKpis]:
    """Tell all days up to one, brought about by two late-comers whom nobody has to do with."""
    machine = KpiMachine(CONFIG)
    told = [day for decision in decisions for day in machine.follow(decision)]
    for more in (1, 2):
        told += machine.follow(example("z", at(until_day + 1) + GRACE_MS + more, 0.5, 1))
    return told


class Life(NamedTuple):
    customer: str
    decisions: list[tuple[int, Decision]]


@st.composite
def lives(draw: st.DrawFn) -> list[Life]:
    """Customers who order now and then, are looked at now and then, and are alerted about now and then."""
    shop = []
    for number in range(draw(st.integers(1, 5))):
        customer = f"c{number}"
        hours = sorted(draw(st.lists(st.integers(0, 24 * 70), min_size=1, max_size=14, unique=True)))
        orders, order_ms, open_ = 0, 0, ""
        said: list[tuple[int, Decision]] = []
        for hour in hours:
            at_ms = START_MS + hour * HOUR_MS
            kind = draw(st.sampled_from(["order", "look", "look", "alert", "answer"]))
            if kind == "order" or not orders:
                if open_:
                    said.append((at_ms, alert(customer, at_ms, "resolved", open_, "ordered")))
                    open_ = ""
                orders, order_ms = orders + 1, at_ms
            elif kind == "alert" and not open_:
                open_ = f"{customer}/{hour}"
                said.append((at_ms, alert(customer, at_ms, "raised", open_)))
            elif kind == "answer":
                said.append((at_ms, example(customer, at_ms, draw(st.floats(0.01, 0.99)), hour % 2)))
            worth = draw(st.floats(0, 1000))
            risk = draw(st.floats(0.001, 0.999))
            said.append(
                (
                    at_ms,
                    score(
                        customer,
                        at_ms,
                        order_ms,
                        orders,
                        predicted_value=worth,
                        risk=risk,
                        value_at_risk=risk * worth,
                    ),
                )
            )
        shop.append(Life(customer, said))
    return shop


def in_order(shop: list[Life], jitter_hours: dict[str, float] | None = None) -> list[Decision]:
    """All decisions by time; a customer's may come a few hours late, all of them by as much."""
    jitter = jitter_hours or {}
    late = [
        (at_ms + jitter.get(life.customer, 0.0) * HOUR_MS, decision)
        for life in shop
        for at_ms, decision in life.decisions
    ]
    return [decision for _, decision in sorted(late, key=lambda pair: pair[0])]


def scores_until(shop: list[Life], end_ms: int) -> dict[str, list[CustomerScore]]:
    """The slow way: everything said of each customer before a moment."""
    found = {}
    for life in shop:
        said = [d.payload for at_ms, d in life.decisions if at_ms < end_ms]
        found[life.customer] = [payload for payload in said if isinstance(payload, CustomerScore)]
    return found


def lost_between(shop: list[Life], begin_ms: int, end_ms: int) -> tuple[int, float]:
    number, value = 0, 0.0
    for said in scores_until(shop, end_ms).values():
        for before, now in pairwise(said):
            lapses = before.lifecycle in ACTIVE_STAGES and now.lifecycle not in ACTIVE_STAGES
            if lapses and now.event_time >= utc(begin_ms):
                number, value = number + 1, value + before.predicted_value
    return number, value


def expected_loss(shop: list[Life], end_ms: int, span: int) -> tuple[float, float]:
    """Mean and variance of what is lost with those whose silence reaches the border within the span."""
    mean = variance = 0.0
    for said in scores_until(shop, end_ms).values():
        if not said or said[-1].lifecycle not in ACTIVE_STAGES:
            continue
        newest = said[-1]
        looked = newest.event_time
        lapses = looked + timedelta(days=ACTIVE_DAYS - newest.time_since_last_order_days)
        if utc(end_ms) < lapses <= utc(end_ms) + timedelta(days=span):
            left = (lapses - looked) / timedelta(days=1)
            chance = prob_silent(newest.risk, HORIZON, left, newest.orders - 0.5)
            mean += chance * newest.predicted_value
            variance += chance * (1 - chance) * newest.predicted_value**2
    return mean, variance


def outcomes(shop: list[Life], begin_ms: int, end_ms: int) -> tuple[int, int]:
    """Alerts whose horizon ended in a day, and those of them without an order in it."""
    alerts = right = 0
    for life in shop:
        raised = [at_ms for at_ms, d in life.decisions if getattr(d.payload, "state", "") == "raised"]
        orders = {
            at_ms
            for at_ms, d in life.decisions
            if isinstance(d.payload, CustomerScore) and d.payload.time_since_last_order_days == 0
        }
        for raised_ms in raised:
            due_ms = raised_ms + int(HORIZON * DAY_MS)
            if begin_ms <= due_ms < end_ms:
                alerts += 1
                right += not any(raised_ms < order_ms <= due_ms for order_ms in orders)
    return alerts, right


@settings(max_examples=120, deadline=None)
@given(lives())
def test_each_number_of_a_day_is_that_of_counting_from_the_beginning(shop: list[Life]) -> None:
    for told in days_of(in_order(shop), 75.0):
        begin_ms = (told.day - utc(0).date()).days * DAY_MS
        end_ms = begin_ms + DAY_MS
        newest = [said[-1] for said in scores_until(shop, end_ms).values() if said]
        assert told.customers == len(newest)
        assert told.active == sum(one.lifecycle in ACTIVE_STAGES for one in newest)
        assert told.predicted_value == pytest.approx(sum(one.predicted_value for one in newest), abs=1e-4)
        assert told.value_at_risk == pytest.approx(sum(one.value_at_risk for one in newest), abs=1e-4)
        for segment in told.segments:
            inside = [one for one in newest if getattr(one, segment.dimension) == segment.segment]
            assert segment.customers == len(inside)
            assert segment.historic_value == pytest.approx(sum(one.historic_value for one in inside))
        window_ms = end_ms - told.churn.window_days * DAY_MS
        assert told.churn.churned == lost_between(shop, max(window_ms, 0), end_ms)[0]
        if told.churn.rate is not None:
            active = [said[-1] for said in scores_until(shop, window_ms).values() if said]
            assert told.churn.active_before == sum(one.lifecycle in ACTIVE_STAGES for one in active)
            assert 0.0 <= told.churn.rate <= 1.0
        for loss in told.losses:
            mean, variance = expected_loss(shop, end_ms, loss.days)
            spread = 1.6448536 * sqrt(variance)
            assert loss.expected == pytest.approx(mean, abs=1e-4)
            assert loss.high == pytest.approx(mean + spread, abs=1e-3)
            assert loss.low == pytest.approx(max(0.0, mean - spread), abs=1e-3)
            before_ms = end_ms - loss.days * DAY_MS
            if loss.realised is not None and loss.expected_before is not None:
                assert loss.realised == pytest.approx(lost_between(shop, before_ms, end_ms)[1], abs=1e-4)
                assert loss.expected_before == pytest.approx(
                    expected_loss(shop, before_ms, loss.days)[0], abs=1e-4
                )
        assert (told.outcomes.alerts, told.outcomes.churned) == outcomes(shop, begin_ms, end_ms)
        answered = [
            d.payload
            for life in shop
            for at_ms, d in life.decisions
            if isinstance(d.payload, Example) and begin_ms <= at_ms < end_ms
        ]
        assert told.answers.questions == len(answered)
        if answered:
            logs = [-log(one.risk if one.label else 1 - one.risk) for one in answered]
            assert told.answers.log_loss == pytest.approx(sum(logs) / len(logs), abs=1e-5)
        assert told.late == 0


@settings(max_examples=120, deadline=None)
@given(lives(), st.randoms(use_true_random=False))
def test_customers_may_come_in_any_order_within_the_grace(shop: list[Life], mixed: random.Random) -> None:
    """As they do from several partitions; only a customer's own messages keep their order."""
    jitter = {life.customer: mixed.uniform(0.0, GRACE_MS / HOUR_MS - 0.01) for life in shop}
    assert days_of(in_order(shop, jitter), 75.0) == days_of(in_order(shop), 75.0)


def test_segments_cover_all_customers_and_who_enters_minus_who_leaves_is_the_change() -> None:
    mixed = random.Random(5)
    said = []
    for number in range(40):
        order_ms = at(mixed.uniform(0, 10))
        said += [
            (at_ms, score(f"c{number}", at_ms, order_ms)) for at_ms in (order_ms, order_ms + 21 * DAY_MS)
        ]
    told = days_of([decision for _, decision in sorted(said, key=lambda pair: pair[0])], 40.0)
    before: dict[tuple[str, str], SegmentKpis] = {}
    for day in told:
        for dimension in ("rfm", "lifecycle"):
            assert sum(s.customers for s in day.segments if s.dimension == dimension) == day.customers
        for segment in day.segments:
            key = segment.dimension, segment.segment
            known = before[key].customers if key in before else 0
            assert segment.customers == known + segment.entered - segment.left
            before[key] = segment
    assert [day.day for day in told] == [told[0].day + timedelta(days=n) for n in range(len(told))]
    assert told[-1].active == 0
    # Orders came within ten days, and so all who were active when a window began had lapsed when one ended.
    assert max(day.churn.rate or 0.0 for day in told) == 1.0


def test_messages_said_again_change_nothing_of_scores_and_alerts() -> None:
    said = [
        score("c1", at(0), at(0)),
        alert("c1", at(3), "raised", "e"),
        score("c1", at(3), at(0)),
        alert("c1", at(4), "escalated", "e"),
        score("c1", at(4), at(0)),
        alert("c1", at(6), "resolved", "e", "ordered"),
        score("c1", at(6), at(6), 2),
    ]
    once = days_of(said, 20.0)
    twice = days_of([decision for one in said for decision in (one, one)], 20.0)
    assert twice == once
    assert [day.alerts.open for day in once[:8]] == [0, 0, 0, 1, 1, 1, 0, 0]
    assert sum(day.outcomes.alerts for day in once) == 1
    assert sum(day.outcomes.churned for day in once) == 0


def test_the_lead_of_a_right_alert_runs_to_the_end_of_one_horizon_of_silence() -> None:
    said = [score("c1", at(0), at(0)), alert("c1", at(8), "raised", "e"), score("c1", at(8), at(0))]
    (day,) = (day for day in days_of(said, 20.0) if day.outcomes.alerts)
    assert (day.outcomes.precision, day.outcomes.lead_days) == (1.0, HORIZON - 8)


def test_whoever_is_erased_is_no_longer_counted_and_nothing_is_kept() -> None:
    machine = KpiMachine(CONFIG)
    machine.follow(score("c1", at(0), at(0)))
    machine.follow(score("c2", at(0), at(0)))
    machine.follow(alert("c1", at(3), "raised", "e"))
    machine.follow(Decision(CUSTOMER_SCORES, "c1", None))
    told = [day for more in (9.0, 9.1) for day in machine.follow(example("z", at(more), 0.5, 1))]
    assert [day.customers for day in told] == [2, 2, 2, 1, 1, 1, 1, 1]
    assert [day.alerts.open for day in told] == [0] * 8
    assert told[3].alerts.raised == 1
    assert told[-1].losses[0].expected == pytest.approx(told[2].losses[0].expected / 2)
    assert sum(day.outcomes.alerts for day in told) == 0


def test_what_comes_after_its_day_was_told_is_told_with_the_next() -> None:
    machine = KpiMachine(CONFIG)
    machine.follow(score("c1", at(0), at(0)))
    first = [day for more in (3.0, 3.1) for day in machine.follow(score("c2", at(more), at(more)))]
    assert [day.customers for day in first] == [1, 1]
    machine.follow(score("c3", at(1), at(1)))
    second = [day for more in (5.0, 5.1) for day in machine.follow(score("c2", at(more), at(3.1)))]
    assert [(day.customers, day.late) for day in second] == [(2, 1), (3, 0)]


def test_timers_of_a_gap_belong_to_their_days_though_the_event_after_it_came_first() -> None:
    said = [
        score("c1", at(0), at(0)),
        score("c2", at(30), at(30)),
        score("c1", at(20), at(0)),
        score("c2", at(30.1), at(30)),
    ]
    told = days_of(said, 32.0)
    assert [day.churn.churned for day in told[19:21]] == [0, 1]
    assert sum(day.late for day in told) == 0


@given(st.floats(0.001, 0.999), st.floats(1, 400), st.floats(0, 2000), st.floats(0, 500), st.floats(0.1, 300))
def test_silence_is_certain_at_once_as_likely_as_served_at_the_horizon_and_never_gets_likelier(
    risk: float, horizon: float, days: float, more: float, shape: float
) -> None:
    assert prob_silent(risk, horizon, 0.0, shape) == pytest.approx(1.0)
    assert prob_silent(risk, horizon, horizon, shape) == pytest.approx(risk)
    shorter, longer = (prob_silent(risk, horizon, span, shape) for span in (days, days + more))
    assert 0.0 <= longer <= shorter <= 1.0
    if days >= horizon:  # a tail at least as heavy as that of a rate that is known
        assert shorter >= risk ** (days / horizon) * (1 - 1e-9)
