"""Sentences for a marketer: two numbers that belong together are told together, and once."""

from __future__ import annotations

from math import log1p

import pytest

from agents.explanations import sentences, usual_gap_days
from schemas.decisions import Reason
from streams.customer.features import FEATURE_NAMES


def features(orders: float, between: float, silence: float) -> list[float]:
    known = {"log_orders": log1p(orders), "log_recency": log1p(between), "log_silence": log1p(silence)}
    return [known.get(name, 0.0) for name in FEATURE_NAMES]


SILENCE = Reason("log_silence", "silence", log1p(41.0), 0.8)
RHYTHM = Reason("log_silence_in_gaps", "rhythm", log1p(3.4), 0.6)
MONEY = Reason("log_order_value", "money", log1p(20.0), 0.3)
LOYAL = Reason("log_orders", "frequency", log1p(9.0), -1.2)


def test_silence_and_rhythm_are_one_sentence_where_the_rhythm_is_known() -> None:
    said = sentences([LOYAL, SILENCE, RHYTHM, MONEY], features(4, 36.0, 41.0))
    assert said == ["silent for 41 days, usually orders every 12", "orders of 20.00 on average"]


@pytest.mark.parametrize("known", [features(1, 0.0, 41.0), features(3, 0.2, 41.0), None])
def test_without_a_rhythm_each_reason_has_its_own_words(known: list[float] | None) -> None:
    assert sentences([SILENCE, RHYTHM], known) == ["silent for 41 days", "silent for 3.4 usual gaps"]


def test_a_daily_customer_orders_every_day() -> None:
    assert sentences([SILENCE], features(30, 29.0, 9.0)) == ["silent for 9 days, usually orders every day"]


def test_slight_reasons_and_reasons_to_stay_are_not_told() -> None:
    assert sentences([LOYAL, Reason("log_tenure", "tenure", 3.0, 0.01)], features(4, 36.0, 41.0)) == []


def test_the_usual_gap_is_the_time_between_the_first_and_last_order_over_the_gaps() -> None:
    named = dict(zip(FEATURE_NAMES, features(5, 100.0, 1.0), strict=True))
    assert usual_gap_days(named) == 25.0
