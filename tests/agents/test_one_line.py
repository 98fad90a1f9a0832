"""Records as lines for people and for programs."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.client import Record
from agents.one_line import json_line, one_line
from schemas.codec import encode, utc
from schemas.decisions import ChurnAlert, CustomerScore, Evidence, Reason, SegmentChange
from schemas.learning import Example, ModelSnapshot
from schemas.topics import TOPICS

NOON = utc(1_767_225_600_000 + 43_200_000)
EVIDENCE = [Evidence(topic="orders", partition=0, offset=7)]
READABLE = [spec.name for spec in TOPICS if spec.role != "internal"]


def record(name: str, value: bytes | None, **headers: bytes) -> Record:
    names = {f"__connect.errors.{part.replace('_', '.')}": text for part, text in headers.items()}
    return Record(
        topic=name,
        partition=1,
        offset=7,
        time_ms=1_767_225_600_000,
        key=b"c-17",
        value=value,
        headers=names,
    )


ALERT = ChurnAlert(
    id="a1",
    episode="e1",
    state="raised",
    cause="risk",
    customer_id="c-17",
    event_time=NOON,
    episode_started_at=NOON,
    risk=0.83,
    band="high",
    horizon_days=30.0,
    predicted_value=200.0,
    value_at_risk=166.0,
    model_version="m1",
    intercept=0.1,
    reasons=[
        Reason(feature="log_silence", family="silence", value=3.7377, contribution=1.2),
        Reason(feature="f1", family="g1", value=41.25, contribution=0.2),
        Reason(feature="f2", family="g2", value=41.25, contribution=-0.8),
    ],
    changed=[],
    evidence=EVIDENCE,
)
SCORE = CustomerScore(
    customer_id="c-17",
    event_time=NOON,
    cause="order",
    risk=0.4,
    band="low",
    horizon_days=30.0,
    crosses_at=NOON,
    rfm="Loyal",
    lifecycle="active",
    orders=3,
    time_since_last_order_days=1.0,
    historic_value=10.0,
    predicted_value=20.0,
    value_at_risk=8.0,
    model_version="m1",
    features=[],
)
EXAMPLE = Example(
    id="x1",
    customer_id="c-17",
    asked_at=NOON,
    matured_at=NOON,
    horizon_days=30.0,
    cause="order",
    features={},
    risk=0.5,
    label=1,
    model_version="m1",
)
MODEL = ModelSnapshot(
    model_version="m1",
    n_learned=200,
    event_time=None,
    horizon_days=30.0,
    features=[],
    centre=[],
    coefficient=[],
    intercept=0.0,
    metrics={"auc": 0.79},
)
CHANGE = SegmentChange(
    id="s1",
    customer_id="c-17",
    event_time=NOON,
    dimension="lifecycle",
    previous="active",
    current="defecting",
    cause="boundary",
    evidence=EVIDENCE,
)


@pytest.mark.parametrize(
    ("topic", "message", "line"),
    [
        (
            "churn-alerts",
            ALERT,
            "2026-01-01 12:00  c-17  raised     risk 0.83 high  at risk 166.00  silent for 41 days; f1 41.2",
        ),
        (
            "churn-alerts",
            msgspec.structs.replace(ALERT, state="resolved", cause="ordered", band="low", risk=0.1),
            "2026-01-01 12:00  c-17  resolved   risk 0.10 low  at risk 166.00  "
            "came back after less than a day",
        ),
        (
            "segment-changes",
            CHANGE,
            "2026-01-01 12:00  c-17  lifecycle: active -> defecting  (boundary)",
        ),
        (
            "customer-scores",
            SCORE,
            "2026-01-01 12:00  c-17  risk 0.40 low  Loyal, active  at risk 8.00  crosses 2026-01-01 12:00",
        ),
        ("examples", EXAMPLE, "2026-01-01 12:00  c-17  left  risk 0.50 served at 2026-01-01 12:00 (order)"),
        ("models", MODEL, "-  model m1  learned 200  auc 0.79"),
    ],
)
def test_a_message_is_told_in_one_line(topic: str, message: msgspec.Struct, line: str) -> None:
    assert one_line(record(topic, encode(message))).plain == line


def test_a_dead_letter_is_told_by_origin_and_reason() -> None:
    dead = record(
        "orders.dlq",
        b"oops",
        topic=b"orders",
        partition=b"2",
        offset=b"99",
        exception_message=b"not_json: malformed",
    )
    assert one_line(dead).plain == "2026-01-01 00:00  orders[2] at 99  not_json: malformed  oops"


def test_a_message_that_its_topic_does_not_promise_is_shown_as_it_is() -> None:
    line = one_line(record("churn-alerts", b'{"id": 3}')).plain
    assert line == '2026-01-01 00:00  churn-alerts[1] at 7  c-17  {"id": 3}'


@given(topic=st.sampled_from(READABLE), value=st.none() | st.binary(max_size=200))
def test_no_bytes_at_all_disturb_the_terminal(topic: str, value: bytes | None) -> None:
    line = one_line(record(topic, value, exception_message=value or b"")).plain
    assert line.isprintable()


@given(topic=st.sampled_from(READABLE), value=st.binary(max_size=200))
def test_a_line_for_programs_is_one_line(topic: str, value: bytes) -> None:
    assert b"\n" not in json_line(record(topic, value))


def test_a_line_for_programs_is_the_message_itself() -> None:
    assert json_line(record("churn-alerts", encode(ALERT))) == encode(ALERT)


def test_a_dead_letter_for_programs_is_json_whatever_it_holds() -> None:
    line = msgspec.json.decode(json_line(record("orders.dlq", b"\xff\n", topic=b"orders")))
    assert line["value"] == "\ufffd\n"
    assert line["headers"] == {"__connect.errors.topic": "orders"}
