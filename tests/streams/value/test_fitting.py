"""Fits reproduce what was published on CDNOW (1/10 sample, 39 weeks), and depend on the customers alone."""

from __future__ import annotations

import numpy as np
import pytest

from schemas.btyd import BtydModel, BtydParams
from streams.value.fitting import fit, log_likelihood
from streams.value.gammagamma import fit_spend, spending_of
from streams.value.triples import triples_of
from tests.streams.value.histories import customers, repeat_spending

# r, alpha, a, b (s and beta for Pareto/NBD), log-likelihood: as printed, and with the digits that are known.
PUBLISHED: dict[BtydModel, tuple[tuple[float, ...], float]] = {
    "bgnbd": ((0.243, 4.414, 0.793, 2.426), -9582.4),
    "paretonbd": ((0.553, 10.578, 0.606, 11.669), -9595.0),
}
KNOWN: dict[BtydModel, tuple[tuple[float, ...], float]] = {
    "bgnbd": ((0.2426, 4.4136, 0.7929, 2.4259), -9582.43),
    "mbgnbd": ((0.5248, 6.1831, 0.8914, 1.6140), -9582.14),
    "paretonbd": ((0.5533, 10.578, 0.6062, 11.669), -9594.98),
}
MODELS: list[BtydModel] = ["bgnbd", "mbgnbd", "paretonbd"]


def numbers(params: BtydParams) -> tuple[float, ...]:
    return params.r, params.alpha, params.a, params.b


@pytest.mark.parametrize("model", PUBLISHED)
def test_a_fit_gives_the_published_parameters_to_the_printed_digits(model: BtydModel) -> None:
    found = fit(model, triples_of(customers("tenth")))
    printed, likelihood = PUBLISHED[model]
    assert found.n == 2357
    assert tuple(round(value, 3) for value in numbers(found.params)) == printed
    assert round(found.log_likelihood, 1) == likelihood


@pytest.mark.parametrize("model", MODELS)
def test_a_fit_is_within_a_thousandth_and_a_hundredth_of_what_is_known(model: BtydModel) -> None:
    found = fit(model, triples_of(customers("tenth")))
    known, likelihood = KNOWN[model]
    assert numbers(found.params) == pytest.approx(known, rel=1e-3)
    assert found.log_likelihood == pytest.approx(likelihood, abs=0.01)


def test_spending_is_fitted_to_the_published_digits() -> None:
    found = fit_spend(spending_of(repeat_spending()))
    assert found.n == 946
    assert (round(found.params.p, 3), round(found.params.q, 3), round(found.params.gamma, 3)) == (
        pytest.approx(6.249, rel=1e-3),
        pytest.approx(3.745, rel=1e-3),
        pytest.approx(15.448, rel=1e-3),
    )
    assert found.log_likelihood == pytest.approx(-4055.92, abs=0.01)


@pytest.mark.parametrize("model", MODELS)
def test_the_order_of_the_customers_is_nothing_to_the_fit(model: BtydModel) -> None:
    several = list(customers("tenth"))
    found = fit(model, triples_of(several))
    np.random.default_rng(1).shuffle(several)
    assert fit(model, triples_of(several)) == found


@pytest.mark.parametrize("model", MODELS)
def test_a_fit_in_days_is_the_fit_in_weeks(model: BtydModel) -> None:
    weeks = fit(model, triples_of(customers("tenth"))).params
    days = fit(model, triples_of([(x, 7 * t_x, 7 * T) for x, t_x, T in customers("tenth")])).params
    b_scale = 7.0 if model == "paretonbd" else 1.0
    in_days = (weeks.r, 7 * weeks.alpha, weeks.a, b_scale * weeks.b)
    assert numbers(days) == pytest.approx(in_days, rel=2e-5)


@pytest.mark.parametrize("model", MODELS)
def test_a_warm_start_ends_at_the_same_place_and_one_at_the_end_hardly_moves(model: BtydModel) -> None:
    triples = triples_of(customers("tenth"))
    cold = fit(model, triples)
    half = fit(model, triples_of(customers("tenth")[::2])).params
    warm = fit(model, triples, half)
    assert numbers(warm.params) == pytest.approx(numbers(cold.params), rel=1e-4)
    assert warm.log_likelihood == pytest.approx(cold.log_likelihood, abs=1e-5)
    assert fit(model, triples, cold.params).iterations <= 3


@pytest.mark.parametrize("model", MODELS)
def test_counted_customers_are_as_likely_as_those_one_by_one(model: BtydModel) -> None:
    several = customers("tenth")[:40]
    params = BtydParams(model=model, r=0.5, alpha=6.0, a=0.8, b=2.0)
    one_by_one = sum(log_likelihood(params, triples_of([customer])) for customer in several)
    assert log_likelihood(params, triples_of(several)) == pytest.approx(one_by_one, rel=1e-12)


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize(
    "several",
    [
        [(0.0, 0.0, 90.0)] * 50,  # nobody came back
        [(20.0, 360.0, 365.0)] * 50,  # nobody left
        [(1.0, 0.0, 90.0)] * 3,  # two orders at one moment
        [(0.0, 0.0, 1.0)],
    ],
)
def test_a_shop_without_variety_gets_finite_parameters(
    model: BtydModel, several: list[tuple[float, float, float]]
) -> None:
    found = fit(model, triples_of(several))
    assert np.isfinite(numbers(found.params)).all()
    assert np.isfinite(found.log_likelihood)


def test_parameters_that_made_the_customers_are_found_again() -> None:
    """20,000 customers drawn from BG/NBD; the errors are a few standard errors of such a sample."""
    rng = np.random.default_rng(7)
    r, alpha, a, b = 0.6, 20.0, 0.8, 2.5
    several = []
    for _ in range(20_000):
        T = float(rng.integers(30, 365))
        rate, leaves = rng.gamma(r, 1 / alpha), rng.beta(a, b)
        x, t_x = 0, 0.0
        while True:
            t = t_x + rng.exponential(1 / rate)
            if t > T:
                break
            x, t_x = x + 1, t
            if rng.random() < leaves:
                break
        several.append((float(x), t_x, T))
    found = fit("bgnbd", triples_of(several)).params
    assert numbers(found) == pytest.approx((r, alpha, a, b), rel=0.12)


def test_a_start_of_another_model_is_refused() -> None:
    with pytest.raises(ValueError, match="must be mbgnbd"):
        fit("mbgnbd", triples_of([(0, 0, 1)]), BtydParams(model="bgnbd", r=1, alpha=1, a=1, b=1))


@pytest.mark.parametrize(
    ("several", "says"),
    [
        ([], "no customers"),
        ([(0, 0, float("nan"))], "must hold"),
        ([(1, 5, 4)], "must hold"),
        ([(0, 1, 4)], "without a repeat order"),
    ],
)
def test_histories_that_cannot_be_are_refused(several: list[tuple[float, float, float]], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        triples_of(several)


def test_nobody_observed_for_any_time_cannot_be_fitted() -> None:
    with pytest.raises(ValueError, match="for any time"):
        fit("bgnbd", triples_of([(0, 0, 0)]))
