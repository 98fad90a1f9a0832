"""What a customer is worth, from definitions."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.integrate import quad

from schemas.btyd import BtydModel, BtydParams, SpendParams
from streams.config import DAY_MS, ValueConfig
from streams.value.clv import Valuer, historic_value, lifetime_value
from streams.value.discounted import _PLACES, _POWERS, _RULE, DiscountedOrders
from streams.value.gammagamma import expected_order_value

CONFIG = ValueConfig(margin=0.4, horizon_days=100.0, discount_rate=0.0, prior_orders=0.5, prior_days=50.0)


def predicted_value(
    orders: int, revenue: float, refunded: float, tenure_ms: int, config: ValueConfig
) -> float:
    """What the prior alone expects."""
    return Valuer(config).predicted(orders, revenue, refunded, tenure_ms)


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


TIMING: dict[BtydModel, BtydParams] = {
    "bgnbd": BtydParams(model="bgnbd", r=0.243, alpha=30.9, a=0.793, b=2.426),
    "mbgnbd": BtydParams(model="mbgnbd", r=0.525, alpha=43.3, a=0.891, b=1.614),
}
SPEND = SpendParams(p=6.249, q=3.745, gamma=15.448)


def test_the_prior_rate_is_discounted_day_by_day() -> None:
    config = ValueConfig(discount_rate=0.2, prior_orders=1.0, prior_days=100.0)
    a_day, _ = quad(lambda day: 1.2 ** (-day / 365.0), 0, 365.0)
    expected = 30.0 * (3.0 / 200.0) * a_day
    assert predicted_value(3, 90.0, 0.0, 100 * DAY_MS, config) == pytest.approx(expected)


def drawn(params: BtydParams, repeats: int, tenure: float, config: ValueConfig) -> tuple[float, float]:
    """Discounted orders of customers who are there, one by one, and the error of their mean."""
    rng = np.random.default_rng(5)
    n = 40_000
    stayed = repeats if params.model == "bgnbd" else repeats + 1
    rates = rng.gamma(params.r + repeats, 1 / (params.alpha + tenure), n)
    leaves = rng.beta(params.a, params.b + stayed, n)
    worth, at, here = np.zeros(n), np.zeros(n), np.ones(n, dtype=bool)
    while here.any():
        at = at + rng.exponential(1 / rates)
        here &= at <= config.horizon_days
        worth += np.where(here, (1 + config.discount_rate) ** (-at / 365.0), 0.0)
        here &= rng.random(n) >= leaves
    return float(worth.mean()), float(worth.std()) / n**0.5


@pytest.mark.parametrize("model", TIMING)
@pytest.mark.parametrize(("orders", "days"), [(1, 0.0), (1, 200.0), (3, 90.0), (20, 400.0)])
def test_predicted_value_is_that_of_customers_drawn_one_by_one(
    model: BtydModel, orders: int, days: float
) -> None:
    config = ValueConfig(margin=0.4, discount_rate=0.3)
    mean, error = drawn(TIMING[model], orders - 1, days, config)
    order_value = expected_order_value(SPEND, orders, 25.0)
    predicted = Valuer(config, TIMING[model], SPEND).predicted(
        orders, 27.0 * orders, 2.0 * orders, int(days * DAY_MS)
    )
    assert predicted == pytest.approx(0.4 * order_value * mean, abs=4 * 0.4 * order_value * error)


@pytest.mark.parametrize("model", TIMING)
@pytest.mark.parametrize("discount", [0.0, 0.1 / 365])
def test_discounted_orders_agree_with_counting_every_moment(model: BtydModel, discount: float) -> None:
    """Mean over p of the discounted rate of orders over time: over rates it is known, the rest summed."""
    params, repeats, tenure, horizon = TIMING[model], 2, 80.0, 365.0
    shape, rate = params.r + repeats, params.alpha + tenure
    b = params.b + repeats + (model == "mbgnbd")
    nodes, weights = np.polynomial.legendre.leggauss(200)
    p = ((nodes + 1) / 2) ** 4  # denser near 0, where the density of p rises
    density = weights * p ** (params.a - 1) * (1 - p) ** (b - 1) * p**0.75
    days = (nodes + 1) / 2 * horizon
    orders = shape * rate**shape / (rate + np.outer(p, days)) ** (shape + 1) * np.exp(-discount * days)
    expected = float(density @ (orders @ weights)) * horizon / 2 / density.sum()
    fast = DiscountedOrders(params, horizon, discount)
    assert fast.exactly(repeats, tenure) == pytest.approx(expected, rel=1e-6)
    assert fast(repeats, tenure) == pytest.approx(expected, rel=1e-6)


laws = st.builds(
    BtydParams,
    model=st.sampled_from(["bgnbd", "mbgnbd"]),
    r=st.floats(0.05, 5.0),
    alpha=st.floats(2.0, 300.0),
    a=st.floats(0.05, 5.0),
    b=st.floats(0.05, 20.0),
)


@given(laws, st.integers(0, 40), st.lists(st.floats(0.0, 12_000.0), min_size=1, max_size=5))
def test_interpolation_gives_five_digits_whatever_was_asked_before(
    params: BtydParams, repeats: int, tenures: list[float]
) -> None:
    fast = DiscountedOrders(params, 365.0, 0.1 / 365)
    for tenure in tenures:
        assert fast(repeats, tenure) == pytest.approx(fast.exactly(repeats, tenure), rel=1e-5)
        assert fast(repeats, tenure) == DiscountedOrders(params, 365.0, 0.1 / 365)(repeats, tenure)


def test_a_customer_with_very_many_orders_is_worth_what_the_formula_says() -> None:
    fast = DiscountedOrders(TIMING["bgnbd"], 365.0, 0.0)
    assert fast(5_000, 900.0) == fast.exactly(5_000, 900.0)
    assert fast(5_000, 900.0) < (5_000.243 / 930.9) * 365.0


def test_without_a_mean_of_the_shop_a_customers_own_orders_count() -> None:
    valuer = Valuer(CONFIG, None, SpendParams(p=2.0, q=0.9, gamma=5.0))
    assert valuer.predicted(3, 90.0, 30.0, 150 * DAY_MS) == predicted_value(
        3, 90.0, 30.0, 150 * DAY_MS, CONFIG
    )
    own_mean = 0.4 * ((90.0 - 30.0) / 3) * (2.5 / 200.0) * 100.0
    assert valuer.predicted(3, 90.0, 30.0, 150 * DAY_MS) == pytest.approx(own_mean)


def test_lifetime_value_counts_what_may_be_counted_on_less_what_was_paid() -> None:
    config = ValueConfig(margin=0.5, acquisition_cost=10.0)
    assert lifetime_value(100.0, 40.0, 0.25, config) == 0.5 * 100.0 + 10.0 - 10.0
    assert lifetime_value(100.0, 40.0, 0.25, config, acquisition_cost=0.0) == 60.0


def test_customers_who_leave_at_any_moment_have_no_discounted_orders_here() -> None:
    with pytest.raises(ValueError, match="not discounted"):
        DiscountedOrders(BtydParams(model="paretonbd", r=1, alpha=1, a=1, b=1), 365.0, 0.0)


def test_the_tables_are_those_of_numpy() -> None:
    """They are made without it, for its last digits depend on the processor."""
    nodes, weights = np.polynomial.legendre.leggauss(6)
    assert np.allclose(_RULE, np.transpose([nodes, weights]), rtol=1e-14)
    values = np.exp(np.array(_PLACES))
    chebyshev = np.polynomial.chebyshev.chebfit(_PLACES, values, len(_PLACES) - 1)
    at = np.linspace(-1.0, 1.0, 50)
    ours = np.polyval(np.array(_POWERS) @ values, at)
    assert np.allclose(ours, np.polynomial.chebyshev.chebval(at, chebyshev), rtol=1e-9)
    assert np.allclose(ours, np.exp(at), rtol=1e-9)
