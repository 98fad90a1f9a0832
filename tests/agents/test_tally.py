"""What a reader of the topics can say about alerts and segments."""

from __future__ import annotations

from collections import Counter

import msgspec
import pytest

from agents.tally import Judged, Tally
from schemas.codec import utc
from schemas.decisions import AlertCause, AlertState, ChurnAlert, SegmentChange
from schemas.topics import CHURN_ALERTS, SEGMENT_CHANGES
from streams.config import DAY_MS

HORIZON_MS = 84 * DAY_MS
END_MS = 400 * DAY_MS


def alert(episode: str, day: int, state: AlertState, cause: AlertCause = "risk") -> ChurnAlert:
    return ChurnAlert(
        id=f"{episode}/{state}",
        episode=episode,
        state=state,
        cause=cause,
        customer_id=f"c-{episode}",
        event_time=utc(day * DAY_MS),
        episode_started_at=utc(0),
        risk=0.85,
        band="high",
        horizon_days=84.0,
        predicted_value=100.0,
        value_at_risk=85.0,
        model_version="lr-1",
        intercept=1.0,
        reasons=[],
        changed=[],
        evidence=[],
    )


def tally_of(*alerts: ChurnAlert) -> Tally:
    tally = Tally()
    for one in alerts:
        tally.take(CHURN_ALERTS, msgspec.json.encode(one))
    return tally


def change(tally: Tally, customer: str, previous: str | None, current: str, dimension: str = "rfm") -> None:
    message = SegmentChange(
        id=f"{customer}/{dimension}/{previous}/{current}",
        customer_id=customer,
        event_time=utc(0),
        dimension="rfm" if dimension == "rfm" else "lifecycle",
        previous=previous,
        current=current,
        cause="order",
        evidence=[],
    )
    tally.take(SEGMENT_CHANGES, msgspec.json.encode(message))


def test_steps_and_causes_are_counted() -> None:
    tally = tally_of(
        alert("a", 1, "raised"),
        alert("b", 2, "raised"),
        alert("b", 3, "escalated"),
        alert("b", 9, "resolved", "ordered"),
    )
    assert tally.steps == Counter(raised=2, escalated=1, resolved=1)
    assert tally.causes == Counter(ordered=1)
    assert tally.open_alerts == 1


def test_an_alert_that_is_delivered_twice_counts_once() -> None:
    raised = alert("a", 1, "raised")
    tally = tally_of(raised, raised)
    assert tally.steps["raised"] == len(tally.latest) == 1
    assert tally.read[CHURN_ALERTS] == 2


@pytest.mark.parametrize(
    ("ended", "cause", "judged"),
    [
        (None, "ordered", Judged(right=1, wrong=0, unknown=0)),
        (83, "ordered", Judged(right=0, wrong=1, unknown=0)),
        (84, "ordered", Judged(right=0, wrong=1, unknown=0)),
        (85, "ordered", Judged(right=1, wrong=0, unknown=0)),
        (83, "risk_fell", Judged(right=0, wrong=0, unknown=1)),
        (83, "lapsed", Judged(right=0, wrong=0, unknown=1)),
        (85, "lapsed", Judged(right=1, wrong=0, unknown=0)),
    ],
)
def test_an_alert_was_right_when_no_order_came_within_the_horizon(
    ended: int | None, cause: AlertCause, judged: Judged
) -> None:
    ends = [] if ended is None else [alert("a", ended, "resolved", cause)]
    assert tally_of(alert("a", 0, "raised"), *ends).judged(END_MS, HORIZON_MS) == judged


def test_an_alert_younger_than_the_horizon_is_not_judged() -> None:
    tally = tally_of(alert("a", 317, "raised"), alert("a", 320, "resolved", "ordered"))
    assert tally.judged(END_MS, HORIZON_MS) == Judged(0, 0, 0)
    assert tally.judged(END_MS + DAY_MS, HORIZON_MS) == Judged(0, 1, 0)


def test_the_newest_open_alert_is_one_that_nothing_resolved() -> None:
    tally = tally_of(alert("a", 1, "raised"), alert("b", 2, "raised"), alert("b", 3, "resolved", "ordered"))
    newest = tally.newest_open()
    assert newest is not None
    assert newest.customer_id == "c-a"
    assert tally_of().newest_open() is None


def test_customers_are_in_one_segment_each_and_moves_are_counted() -> None:
    tally = Tally()
    for customer in ("c1", "c2"):
        change(tally, customer, None, "new")
        change(tally, customer, None, "first_time", "lifecycle")
    change(tally, "c1", "new", "promising")
    assert tally.customers == 2
    assert +tally.sizes == Counter(new=1, promising=1)
    assert tally.flows == Counter({("new", "promising"): 1})
    assert tally.changes == 5


def test_what_is_no_message_of_ours_is_a_bug_and_raises() -> None:
    with pytest.raises(msgspec.ValidationError):
        Tally().take(CHURN_ALERTS, b"{}")
