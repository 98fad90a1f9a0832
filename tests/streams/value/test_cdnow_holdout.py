"""The 39 weeks after those of the fit: sales forecast as well as published (Fader, Hardie & Lee 2005).

The cumulative error is the published one: the mean over the weeks 40 to 78 of the absolute percentage by
which the repeat orders expected since the first week differ from those that came.
"""

from __future__ import annotations

from datetime import timedelta

import numpy as np
import pytest

from schemas.btyd import BtydParams
from streams.value import bgnbd, paretonbd
from streams.value.fitting import fit
from streams.value.geometric import orders_while_there
from streams.value.triples import triples_of
from tests.streams.value.histories import CALIBRATION_END, customers, histories

FIRST_WEEK, LAST_WEEK = 40, 78
TENTH = histories("tenth")
BEGIN = min(history.days[0] for history in TENTH) - timedelta(days=1)
HOLDOUT_DAYS = 39 * 7


def cumulative_repeats() -> np.ndarray:
    """Repeat orders, counted by day, up to the end of each week from the first on."""
    weeks = [(day - BEGIN).days / 7 for history in TENTH for day in history.days[1:]]
    return np.array([sum(week <= end for week in weeks) for end in range(1, LAST_WEEK + 1)])


def expected_repeats(of_age: dict[int, float]) -> np.ndarray:
    """The same as expected of customers who began when these did; `of_age` gives it for an age in days."""
    begun = np.array([(history.days[0] - BEGIN).days for history in TENTH])
    sums = []
    for end in range(1, LAST_WEEK + 1):
        ages, number = np.unique(np.maximum(7 * end - begun, 0), return_counts=True)
        sums.append(sum(count * of_age[int(age)] for age, count in zip(ages, number, strict=True)))
    return np.array(sums)


def cumulative_mape(expected: np.ndarray) -> float:
    actual = cumulative_repeats()[FIRST_WEEK - 1 :]
    return float((np.abs(expected[FIRST_WEEK - 1 :] - actual) / actual).mean())


@pytest.fixture(scope="module")
def pareto() -> BtydParams:
    return fit("paretonbd", triples_of(customers("tenth"))).params


@pytest.fixture(scope="module")
def bg() -> BtydParams:
    return fit("bgnbd", triples_of(customers("tenth"))).params


def test_pareto_forecasts_cumulative_repeat_orders_within_one_and_a_half_percent(pareto: BtydParams) -> None:
    ages = np.arange(7 * LAST_WEEK + 1)
    of_age = dict(
        zip(ages.tolist(), paretonbd.expected_orders_from_first(pareto, ages / 7).tolist(), strict=True)
    )
    assert cumulative_mape(expected_repeats(of_age)) <= 0.015


def test_bg_forecasts_them_about_as_published(bg: BtydParams) -> None:
    """Published: 2.63 %."""
    of_age = {
        age: orders_while_there(bg.r, bg.alpha, bg.a, bg.b, age / 7) if age else 0.0
        for age in range(7 * LAST_WEEK + 1)
    }
    assert cumulative_mape(expected_repeats(of_age)) == pytest.approx(0.0263, abs=0.002)


def test_each_customers_forecast_errs_as_little_as_is_known(pareto: BtydParams, bg: BtydParams) -> None:
    """RMSE 1.603 and 1.608, correlation .630 and .626, and a total 11.5 and 12.1 % too low."""
    came = np.array([float(sum(day > CALIBRATION_END for day in history.days)) for history in TENTH])
    x, t_x, T = np.array(customers("tenth")).T
    horizon = HOLDOUT_DAYS / 7
    by_pareto = paretonbd.expected_orders(pareto, x, t_x, T, horizon)
    by_bg = np.array([bgnbd.expected_orders(bg, *one, horizon) for one in customers("tenth")])
    assert came.sum() == 1882
    for forecast, rmse, correlation, bias in (
        (by_pareto, 1.603, 0.630, -0.115),
        (by_bg, 1.608, 0.626, -0.121),
    ):
        assert float(np.sqrt(((forecast - came) ** 2).mean())) == pytest.approx(rmse, abs=0.002)
        assert float(np.corrcoef(forecast, came)[0, 1]) == pytest.approx(correlation, abs=0.002)
        assert float(forecast.sum() / came.sum() - 1) == pytest.approx(bias, abs=0.003)
