"""Sentences for a marketer: two numbers that belong together are told together, and once."""

from __future__ import annotations

from math import log1p

import msgspec
import pytest

from agents.explanations import (
    NONE_STANDS_OUT,
    Rhythm,
    rhythm_at,
    rhythm_of,
    sentences,
    usual_gap_days,
    why,
    why_alert,
)
from agents.wording import WORTH_SAYING
from schemas.codec import utc
from schemas.decisions import Reason
from streams.config import DAY_MS
from streams.customer.features import FEATURE_NAMES
from tests.agents.test_live_view import LAST_MS, alert
from tests.agents.test_one_line import SCORE


def features(orders: float, between: float, silence: float) -> list[float]:
    known = {"log_orders": log1p(orders), "log_recency": log1p(between), "log_silence": log1p(silence)}
    return [known.get(name, 0.0) for name in FEATURE_NAMES]


SILENCE = Reason("log_silence", "silence", log1p(41.0), 0.8)
RHYTHM = Reason("log_silence_in_gaps", "rhythm", log1p(3.4), 0.6)
MONEY = Reason("log_order_value", "money", log1p(20.0), 0.3)
LOYAL = Reason("log_orders", "frequency", log1p(9.0), -1.2)


def test_silence_and_rhythm_are_one_sentence_where_the_rhythm_is_known() -> None:
    said = sentences([LOYAL, SILENCE, RHYTHM, MONEY], rhythm_of(features(4, 36.0, 41.0)))
    assert said == ["silent for 41 days, usually orders every 12", "orders of 20.00 on average"]


@pytest.mark.parametrize("known", [features(1, 0.0, 41.0), features(3, 0.2, 41.0), [], [1.0, 2.0]])
def test_without_a_rhythm_each_reason_has_its_own_words(known: list[float]) -> None:
    """One order, all orders on one day, and features of another version have none."""
    assert rhythm_of(known) is None
    assert sentences([SILENCE, RHYTHM]) == ["silent for 41 days", "silent for 3.4 usual gaps"]


def test_a_daily_customer_orders_every_day() -> None:
    assert sentences([SILENCE], rhythm_of(features(30, 29.0, 9.0))) == [
        "silent for 9 days, usually orders every day"
    ]


def test_slight_reasons_reasons_to_stay_and_how_long_somebody_has_been_a_customer_are_not_told() -> None:
    slight = Reason("log_order_value", "money", 3.0, WORTH_SAYING / 2.0)
    assert sentences([LOYAL, Reason("log_tenure", "tenure", 3.0, 2.0), slight]) == []
    assert sentences([Reason("log_order_value", "money", log1p(20.0), WORTH_SAYING)]) == [
        "orders of 20.00 on average"
    ]


def test_where_nothing_weighs_much_it_says_what_holds_for_most() -> None:
    slight = [Reason("log_order_value", "money", log1p(20.0), 0.05)]
    assert why(slight, 1.2, 30.0) == [
        "most customers here do not order within 30 days",
        "orders of 20.00 on average",
    ]
    assert why(slight, -1.2, 30.0) == ["orders of 20.00 on average"]
    assert why([LOYAL], -1.2, 30.0) == [NONE_STANDS_OUT]


def test_a_silence_longer_than_usual_is_always_told() -> None:
    slight = [Reason("log_order_value", "money", log1p(20.0), 0.05)]
    longer = "silent for 41 days, usually orders every 12"
    assert why(slight, 1.2, 30.0, Rhythm(41.0, 12.0)) == [longer]
    assert why([MONEY], 1.2, 30.0, Rhythm(41.0, 12.0)) == ["orders of 20.00 on average", longer]
    assert why([MONEY], 1.2, 30.0, Rhythm(9.0, 12.0)) == ["orders of 20.00 on average"]


def test_few_orders_lately_are_told_as_silence_where_that_is_longer_than_usual() -> None:
    few = Reason("log_orders_84d", "frequency", 0.1, 0.7)
    longer = "silent for 41 days, usually orders every 12"
    assert sentences([few, SILENCE, MONEY], Rhythm(41.0, 12.0)) == [longer, "orders of 20.00 on average"]
    assert sentences([few], Rhythm(9.0, 12.0)) == ["hardly an order in recent months"]
    assert sentences([few]) == ["hardly an order in recent months"]


def test_an_unknown_feature_is_told_by_its_name() -> None:
    assert sentences([Reason("log_karma", "karma", 2.0, 0.5)]) == ["karma 2"]


@pytest.mark.parametrize(("score_days", "silent"), [(0.0, 41.0), (9.0, 41.0), (41.0, 41.0)])
def test_a_later_score_tells_the_silence_at_the_alert(score_days: float, silent: float) -> None:
    """Until the next order the rhythm stays what it was."""
    raised = alert(0, "raised", "risk", SILENCE)
    score = msgspec.structs.replace(
        SCORE,
        event_time=utc(LAST_MS + round(score_days * DAY_MS)),
        features=features(4, 36.0, 41.0 + score_days),
    )
    assert rhythm_at(raised, score) == Rhythm(pytest.approx(silent), 12.0)  # type: ignore[arg-type]
    assert why_alert(raised, rhythm_at(raised, score)) == ["silent for 41 days, usually orders every 12"]


@pytest.mark.parametrize("score_days", [-1.0, 42.0])
def test_a_score_from_before_the_alert_or_after_another_order_tells_nothing(score_days: float) -> None:
    raised = alert(0, "raised", "risk", SILENCE)
    later = utc(LAST_MS + round(score_days * DAY_MS))
    score = msgspec.structs.replace(SCORE, event_time=later, features=features(5, 78.0, 1.0))
    assert rhythm_at(raised, score) is None
    assert why_alert(raised, None) == ["silent for 41 days"]


def test_an_alert_that_ended_says_how() -> None:
    assert why_alert(alert(0, "resolved", "ordered", SILENCE)) == ["came back after 40 days"]
    assert why_alert(alert(0, "resolved", "lapsed", SILENCE)) == ["lapsed: no order in 40 days"]


def test_the_usual_gap_is_the_time_between_the_first_and_last_order_over_the_gaps() -> None:
    named = dict(zip(FEATURE_NAMES, features(5, 100.0, 1.0), strict=True))
    assert usual_gap_days(named) == 25.0
