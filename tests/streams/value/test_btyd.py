"""Closed forms agree with the integrals that define them, with simulation, and with common sense."""

from __future__ import annotations

from collections.abc import Callable
from math import exp, isfinite, log
from types import ModuleType

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy.integrate import quad
from scipy.special import roots_jacobi
from scipy.stats import beta as beta_law
from scipy.stats import gamma as gamma_law

from schemas.btyd import BtydModel, BtydParams
from streams.value import bgnbd, mbgnbd, paretonbd
from streams.value.fitting import log_likelihood
from streams.value.geometric import orders_while_there
from streams.value.triples import Floats, triples_of

WEEKS: dict[BtydModel, BtydParams] = {
    "bgnbd": BtydParams(model="bgnbd", r=0.243, alpha=4.414, a=0.793, b=2.426),
    "mbgnbd": BtydParams(model="mbgnbd", r=0.525, alpha=6.183, a=0.891, b=1.614),
    "paretonbd": BtydParams(model="paretonbd", r=0.553, alpha=10.578, a=0.606, b=11.669),
}
GEOMETRIC: dict[BtydModel, ModuleType] = {"bgnbd": bgnbd, "mbgnbd": mbgnbd}
HISTORIES = [(0, 0.0, 12.0), (1, 3.0, 39.0), (2, 30.43, 38.86), (7, 20.0, 39.0), (26, 30.0, 31.0)]
Path = Callable[[Floats, Floats], Floats]


def by_integration(params: BtydParams, likelihood_given: Path) -> float:
    """Mean of a function of rate and of the inclination to leave, over the customers of a shop."""
    nodes, weights = np.polynomial.legendre.leggauss(300)
    units, weights = (nodes + 1) / 2, weights / 2
    most = gamma_law(params.r, scale=1 / params.alpha).isf(1e-15)
    rates = units * most
    of_rate = weights * most * gamma_law(params.r, scale=1 / params.alpha).pdf(rates)
    of_leaving = weights * beta_law(params.a, params.b).pdf(units)
    return float(of_rate @ likelihood_given(rates[:, None], units[None, :]) @ of_leaving)


def geometric_given(model: BtydModel, x: int, t_x: float, T: float) -> Path:
    """Likelihood of a history given rate and probability to leave, from the story the model tells."""
    chances = x if model == "bgnbd" else x + 1  # orders after which the customer may have left

    def likelihood(rate: Floats, leaves: Floats) -> Floats:
        stayed = (1 - leaves) ** chances * rate**x * np.exp(-rate * T)
        left = leaves * (1 - leaves) ** (chances - 1) * rate**x * np.exp(-rate * t_x) if chances else 0.0
        return stayed + left

    return likelihood


@pytest.mark.parametrize("model", GEOMETRIC)
@pytest.mark.parametrize(("x", "t_x", "T"), HISTORIES[:4])
def test_the_likelihood_is_the_mean_of_that_of_each_kind_of_customer(
    model: BtydModel, x: int, t_x: float, T: float
) -> None:
    params = BtydParams(model=model, r=2.0, alpha=6.0, a=2.0, b=3.0)  # smooth densities
    expected = log(by_integration(params, geometric_given(model, x, t_x, T)))
    assert log_likelihood(params, triples_of([(x, t_x, T)])) == pytest.approx(expected, abs=1e-8)


@pytest.mark.parametrize("model", GEOMETRIC)
@pytest.mark.parametrize(("x", "t_x", "T"), HISTORIES)
@pytest.mark.parametrize("horizon", [0.5, 12.0, 52.0])
def test_no_order_is_the_likelihood_of_longer_silence_over_that_of_this_one(
    model: BtydModel, x: int, t_x: float, T: float, horizon: float
) -> None:
    params = WEEKS[model]
    now, later = (log_likelihood(params, triples_of([(x, t_x, T + more)])) for more in (0.0, horizon))
    silent = exp(later - now)
    assert GEOMETRIC[model].prob_no_order(params, x, t_x, T, horizon) == pytest.approx(silent, rel=1e-9)
    log_odds = GEOMETRIC[model].no_order_log_odds(params, x, t_x, T, horizon)
    assert log_odds == pytest.approx(log(silent / (1 - silent)), abs=1e-8)


def drawn(params: BtydParams, x: int, T: float, horizon: float, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Rates and numbers of orders within the horizon, of customers who are still there at T."""
    rng = np.random.default_rng(11)
    stayed_after = x if params.model == "bgnbd" else x + 1
    rates = rng.gamma(params.r + x, 1 / (params.alpha + T), n)
    leaves = rng.beta(params.a, params.b + stayed_after, n)
    tried = rng.poisson(rates * horizon)  # orders if they never left; they end with the first departure
    until_left = rng.geometric(np.maximum(leaves, 1e-12))
    return rates, np.minimum(tried, until_left)


@pytest.mark.parametrize("model", GEOMETRIC)
@pytest.mark.parametrize(("x", "t_x", "T"), HISTORIES)
def test_customers_drawn_from_the_model_order_as_often_as_expected(
    model: BtydModel, x: int, t_x: float, T: float
) -> None:
    """Given that they are there: silence is silence of a Gamma(r + x, alpha + T) rate, leaving aside."""
    params, horizon, n = WEEKS[model], 30.0, 200_000
    _, orders = drawn(params, x, T, horizon, n)
    alive = GEOMETRIC[model].prob_alive(params, x, t_x, T)
    silent = 1 - alive * float((orders > 0).mean())
    assert GEOMETRIC[model].prob_no_order(params, x, t_x, T, horizon) == pytest.approx(silent, abs=0.004)
    error = 4 * float(orders.std()) / n**0.5
    expected = GEOMETRIC[model].expected_orders(params, x, t_x, T, horizon)
    assert expected == pytest.approx(alive * float(orders.mean()), abs=error)


def test_customers_who_live_the_story_are_alive_and_silent_as_often_as_the_model_says() -> None:
    """Whole lives from the first order on, BG/NBD and MBG/NBD, counted among those with the same history."""
    rng = np.random.default_rng(3)
    n, T, horizon = 400_000, 20.0, 10.0
    for model, module in GEOMETRIC.items():
        params = BtydParams(model=model, r=1.2, alpha=10.0, a=1.0, b=2.0)
        rates, leaves = rng.gamma(params.r, 1 / params.alpha, n), rng.beta(params.a, params.b, n)
        gone = rng.random(n) < leaves if model == "mbgnbd" else np.zeros(n, dtype=bool)
        x, t_x, later = np.zeros(n), np.zeros(n), np.zeros(n)
        at, here, gone_at_T = np.zeros(n), ~gone, gone.copy()
        while here.any():
            at = np.where(here, at + rng.exponential(1 / rates), at)
            seen, after = here & (at <= T), here & (at > T) & (at <= T + horizon)
            x, t_x, later = x + seen, np.where(seen, at, t_x), later + after
            ends = rng.random(n) < leaves
            gone_at_T |= seen & ends
            here &= (at <= T + horizon) & ~ends
        for orders in (0, 2):
            alike = x == orders
            if orders:
                alike &= (t_x > 11) & (t_x < 13)
            recency = 12.0 if orders else 0.0
            assert alike.sum() > 2_000
            alive, silent = 1 - gone_at_T[alike].mean(), (later[alike] == 0).mean()
            error = 4 * 0.5 / float(alike.sum()) ** 0.5
            assert module.prob_alive(params, orders, recency, T) == pytest.approx(alive, abs=error)
            assert module.prob_no_order(params, orders, recency, T, horizon) == pytest.approx(
                silent, abs=error
            )


@pytest.mark.parametrize("a", [0.02, 0.5, 0.999, 1.0, 1.001, 2.0, 17.0])
@pytest.mark.parametrize("b", [0.01, 0.5, 3.0, 40.0])
@pytest.mark.parametrize(("shape", "rate"), [(0.25, 4.4), (3.0, 50.0), (40.0, 60.0)])
def test_orders_while_there_is_the_integral_over_those_who_leave_and_those_who_do_not(
    a: float, b: float, shape: float, rate: float
) -> None:
    """The mean over p of the integral over time of the rate of orders: closed in the rate, counted in p."""
    horizon = 52.0
    nodes, weights = roots_jacobi(400, b - 1, a - 1)  # for the density of p, infinite at 0 and 1 or not
    p = (nodes + 1) / 2
    # (1 - E exp(-rate p H)) / p: the mean over the gamma rate is known.
    given_p = -np.expm1(-shape * np.log1p(p * horizon / rate)) / p
    expected = float((weights * given_p).sum() / weights.sum())
    assert orders_while_there(shape, rate, a, b, horizon) == pytest.approx(expected, rel=1e-6)


def pareto_bracket(params: BtydParams, x: int, t_x: float, T: float) -> float:
    """The likelihood over that of being there at T, by counting the moments of leaving."""
    r, alpha, s, beta = params.r, params.alpha, params.a, params.b
    # Over the chance to be there at T, or the powers would be too small for a float.
    left, _ = quad(
        lambda u: s * ((alpha + T) / (alpha + u)) ** (r + x) * ((beta + T) / (beta + u)) ** s / (beta + u),
        t_x,
        T,
        epsabs=0,
        epsrel=1e-11,
        limit=200,
    )
    return 1.0 + float(left)


PARETO = [
    WEEKS["paretonbd"],
    BtydParams(model="paretonbd", r=0.9, alpha=80.0, a=0.3, b=2.0),
    BtydParams(model="paretonbd", r=2.5, alpha=1.5, a=3.0, b=60.0),
    BtydParams(model="paretonbd", r=0.4, alpha=7.0, a=0.7, b=7.0),
    BtydParams(model="paretonbd", r=0.4, alpha=900.0, a=5.0, b=0.5),
]


@pytest.mark.parametrize("params", PARETO)
@pytest.mark.parametrize(("x", "t_x", "T"), [*HISTORIES, (0, 0.0, 0.0), (150, 300.0, 390.0)])
def test_pareto_agrees_with_counting_the_moments_of_leaving(
    params: BtydParams, x: int, t_x: float, T: float
) -> None:
    several = np.array([float(x)]), np.array([t_x]), np.array([T])
    now, later = (pareto_bracket(params, x, t_x, T + more) for more in (0.0, 12.0))
    there = ((params.alpha + T) / (params.alpha + T + 12.0)) ** (params.r + x)
    there *= ((params.b + T) / (params.b + T + 12.0)) ** params.a
    alive = 1 / now
    assert paretonbd.prob_alive(params, *several)[0] == pytest.approx(alive, rel=1e-8)
    assert paretonbd.prob_no_order(params, *several, 12.0)[0] == pytest.approx(there * later / now, rel=1e-8)
    # Orders come at the mean rate while the customer is there, whose rate of leaving is Gamma(s, beta + T).
    while_there, _ = quad(lambda u: ((params.b + T) / (params.b + T + u)) ** params.a, 0, 12.0)
    expected = alive * (params.r + x) / (params.alpha + T) * while_there
    assert paretonbd.expected_orders(params, *several, 12.0)[0] == pytest.approx(expected, rel=1e-8)


def test_pareto_expects_of_a_new_customer_what_it_expects_on_average() -> None:
    params = WEEKS["paretonbd"]
    zero = np.array([0.0])
    new = paretonbd.expected_orders(params, zero, zero, zero, 39.0)
    assert paretonbd.expected_orders_from_first(params, np.array([39.0])) == pytest.approx(new)


positive = st.floats(0.01, 40.0)
laws = st.builds(
    BtydParams,
    model=st.sampled_from(["bgnbd", "mbgnbd"]),
    r=positive,
    alpha=st.floats(0.1, 400.0),
    a=positive,
    b=positive,
)


@settings(max_examples=300)
@given(
    laws, st.integers(0, 2000), st.floats(0, 1), st.floats(0, 4000), st.floats(0.5, 400), st.floats(0.01, 400)
)
@example(BtydParams(model="bgnbd", r=1.0, alpha=0.1, a=1.0, b=0.01), 2000, 0.01, 4000.0, 400.0, 400.0)
def test_whatever_the_history_the_answers_are_possible_and_silence_is_bad_news(
    params: BtydParams, x: int, share: float, T: float, horizon: float, more: float
) -> None:
    module = GEOMETRIC[params.model]
    t_x = share * T if x else 0.0
    alive, alive_later = (module.prob_alive(params, x, t_x, T + wait) for wait in (0.0, more))
    assert 0.0 <= alive_later <= alive <= 1.0
    silent, silent_later = (module.prob_no_order(params, x, t_x, T + wait, horizon) for wait in (0.0, more))
    assert 0.0 <= silent <= silent_later * (1 + 1e-12) <= 1.0 + 1e-9
    assert module.prob_no_order(params, x, t_x, T, horizon + more) <= silent * (1 + 1e-12)
    assert isfinite(module.no_order_log_odds(params, x, t_x, T, horizon))
    assert silent >= 1 - alive - 1e-12  # whoever has left does not order
    orders = module.expected_orders(params, x, t_x, T, horizon)
    assert 0.0 <= orders <= alive * (params.r + x) / (params.alpha + T) * horizon * (1 + 1e-6)
    assert orders >= 1 - silent - 1e-6  # an order expected at least as often as there is any


@settings(max_examples=200)
@given(
    st.builds(
        BtydParams,
        model=st.just("paretonbd"),
        r=positive,
        alpha=st.floats(0.1, 400),
        a=positive,
        b=st.floats(0.1, 400),
    ),
    st.integers(0, 500),
    st.floats(0, 1),
    st.floats(0, 2000),
    st.floats(0.5, 400),
)
def test_pareto_gives_possible_answers(
    params: BtydParams, x: int, share: float, T: float, horizon: float
) -> None:
    several = np.array([float(x)]), np.array([share * T if x else 0.0]), np.array([T])
    alive = float(paretonbd.prob_alive(params, *several)[0])
    silent = float(paretonbd.prob_no_order(params, *several, horizon)[0])
    assert 0.0 <= alive <= 1.0
    assert 1 - alive - 1e-9 <= silent <= 1.0
    later = float(paretonbd.prob_alive(params, several[0], several[1], several[2] + horizon)[0])
    assert later <= alive * (1 + 1e-9)
