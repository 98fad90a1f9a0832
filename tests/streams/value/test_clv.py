"""What a customer is worth, from definitions."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.config import DAY_MS, ValueConfig
from streams.value.clv import historic_value, predicted_value

CONFIG = ValueConfig(margin=0.4, horizon_days=100.0, prior_orders=0.5, prior_days=50.0)


def test_predicted_value_is_margin_times_order_value_times_expected_orders() -> None:
    """Three orders, two of them repeats, in 150 days: (0.5 + 2) / (50 + 150) orders a day."""
    expected = 0.4 * ((90.0 - 30.0) / 3) * (2.5 / 200.0) * 100.0
    assert predicted_value(3, 90.0, 30.0, 150 * DAY_MS, CONFIG) == pytest.approx(expected)


def test_a_first_order_is_worth_what_the_prior_expects() -> None:
    assert predicted_value(1, 60.0, 0.0, 0, CONFIG) == pytest.approx(0.4 * 60.0 * (0.5 / 50.0) * 100.0)


@given(st.integers(1, 50), st.floats(0, 1e6), st.integers(0, 1000), st.integers(0, 1000))
def test_silence_lowers_the_value_and_an_order_raises_the_rate(
    orders: int, revenue: float, days: int, more: int
) -> None:
    now = predicted_value(orders, revenue, 0.0, days * DAY_MS, CONFIG)
    later = predicted_value(orders, revenue, 0.0, (days + more) * DAY_MS, CONFIG)
    assert 0.0 <= later <= now
    one_more = predicted_value(orders + 1, revenue * (orders + 1) / orders, 0.0, days * DAY_MS, CONFIG)
    assert one_more >= now


def test_what_was_paid_back_is_not_earned_and_nothing_is_worth_less_than_nothing() -> None:
    assert historic_value(50.0, 20.0) == 30.0
    assert historic_value(50.0, 80.0) == 0.0
    assert predicted_value(1, 50.0, 80.0, 0, CONFIG) == 0.0
