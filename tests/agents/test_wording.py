"""Words for features: each has some, they are short, and they say what the number says."""

from __future__ import annotations

from math import log1p

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents import wording
from agents.wording import name_in_words, phrase
from streams.customer.features import FEATURE_NAMES, Feature
from streams.customer.rfm import RFM_NAMES

MOST_LETTERS = 32
"""What the narrowest view has room for."""

HIGHEST = dict.fromkeys(FEATURE_NAMES, log1p(99_999.0))
HIGHEST |= dict.fromkeys(("refund_share", "discount_share", "one_timer", "season_sine", "season_cosine"), 1.0)
HIGHEST |= dict.fromkeys(("log_visit_trend", "log_cart_left"), log1p(1.0))
HIGHEST |= {"log_orders_28d": log1p(99.0), "log_orders_84d": log1p(99.0), "log_sessions": log1p(999.0)}


def test_every_feature_has_words_of_its_own_and_nothing_else_has() -> None:
    """The registry's words would do; they are longer than a line has room for."""
    assert set(wording._PHRASES) == set(FEATURE_NAMES)


@pytest.mark.parametrize("feature", FEATURE_NAMES)
@given(share=st.floats(min_value=0.0, max_value=1.0))
def test_any_value_has_a_short_phrase_for_a_person(feature: str, share: float) -> None:
    said = phrase(feature, share * HIGHEST[feature])
    assert 0 < len(said) <= MOST_LETTERS
    assert said == said.strip().rstrip(".")
    assert said[0].islower() or said[0].isdigit()
    assert feature not in said
    assert "{" not in said


@pytest.mark.parametrize(
    ("feature", "amount", "said"),
    [
        ("log_tenure", 508.2, "customer for 508 days"),
        ("log_silence", 41.0, "silent for 41 days"),
        ("log_silence", 1.1, "silent for 1 day"),
        ("log_silence", 0.2, "silent for less than a day"),
        ("log_recency", 0.0, "ordered on one day only"),
        ("log_recency", 120.0, "ordered over 120 days"),
        ("log_silence_in_gaps", 0.0, "ordered just now"),
        ("log_silence_in_gaps", 0.4, "silent for 0.4 of the usual gap"),
        ("log_silence_in_gaps", 2.7, "silent for 2.7 usual gaps"),
        ("log_orders", 1.0, "1 order so far"),
        ("log_orders", 1234.0, "1,234 orders so far"),
        ("log_orders_28d", 0.2, "hardly an order in recent weeks"),
        ("log_orders_28d", 1.3, "about 1 order in recent weeks"),
        ("log_orders_84d", 2.4, "about 2 orders in recent months"),
        ("log_revenue", 106.52, "spent 106.52 so far"),
        ("log_order_value", 35.2, "orders of 35.20 on average"),
        ("log_last_order_value", 11.77, "last order of 11.77"),
        ("log_views", 0.0, "hardly a click this week"),
        ("log_views", 12.0, "about 12 clicks this week"),
        ("log_sessions", 3.0, "about 3 visits in recent weeks"),
        ("log_cart_adds", 2.0, "about 2 cart adds this week"),
        ("log_items", 0.0, "no word of what was in orders"),
        ("log_items", 2.5, "2.5 pieces an order"),
        ("log_categories", 0.0, "no word of categories"),
        ("log_categories", 1.02, "bought from 1 category"),
        ("log_categories", 7.2, "bought from 7 categories"),
        ("log_longest_gap", 0.0, "no gap between orders yet"),
        ("log_longest_gap", 41.0, "longest wait 41 days"),
        ("log_visit_trend", 0.25, "visits come as before"),
        ("log_visit_trend", 0.9, "visits come faster than before"),
        ("log_visit_trend", 0.0, "visits come slower than before"),
        ("log_visited_after", 0.0, "no visit since the last order"),
        ("log_visited_after", 12.0, "looked in after 12 days"),
        ("log_cart_left", 0.0, "no cart left behind"),
        ("log_cart_left", 1.0, "left a cart less than a day ago"),
        ("log_cart_left", 0.5, "left a cart 7 days ago"),
    ],
)
def test_a_logarithm_is_told_as_what_it_is_of(feature: str, amount: float, said: str) -> None:
    assert phrase(feature, log1p(amount)) == said


@pytest.mark.parametrize(
    ("feature", "value", "said"),
    [
        ("one_timer", 1.0, "ordered only once"),
        ("one_timer", 0.0, "ordered more than once"),
        ("refund_share", 0.12, "12 % of revenue refunded"),
        ("refund_share", 0.001, "under 1 % of revenue refunded"),
        ("refund_share", 0.0, "nothing refunded"),
        ("discount_share", 0.0, "no discount taken"),
        ("discount_share", 0.2, "20 % discount on average"),
    ],
)
def test_shares_and_flags_are_told_as_they_are(feature: str, value: float, said: str) -> None:
    assert phrase(feature, value) == said


def test_a_feature_of_another_version_is_told_by_its_name() -> None:
    assert phrase("log_karma_lately", 1.0) == "karma lately 1"


@pytest.mark.parametrize(
    ("unit", "value", "said"),
    [
        ("log1p days", log1p(41.0), "time since a kind word: 41 days"),
        ("log1p currency", log1p(1234.5), "time since a kind word: 1,234.50"),
        ("log1p letters", log1p(3.0), "time since a kind word: 3"),
        ("share", 0.25, "time since a kind word: 25 %"),
        ("0 or 1", 1.0, "time since a kind word: yes"),
        ("sine", -0.5, "time since a kind word: -0.5"),
    ],
)
def test_what_the_registry_says_is_a_phrase_where_there_is_no_better_one(
    monkeypatch: pytest.MonkeyPatch, unit: str, value: float, said: str
) -> None:
    entry = Feature("log_kindness", "kindness", unit, True, "time since a kind word", "")
    monkeypatch.setitem(wording._BY_NAME, "log_kindness", entry)
    assert phrase("log_kindness", value) == said


def test_segments_are_named_without_underscores() -> None:
    assert all("_" not in name_in_words(name) for name in RFM_NAMES)
