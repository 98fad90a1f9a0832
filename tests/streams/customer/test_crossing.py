"""The moment of crossing is where a fine grid finds it."""

from __future__ import annotations

from collections.abc import Callable
from math import acos, exp, log, pi, sin
from random import Random

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from schemas.codec import epoch_ms
from streams.config import DAY_MS, MINUTE_MS, AlertConfig, StreamConfig
from streams.customer.crossing import Excess, crossing_ms
from streams.customer.features import features
from streams.customer.silence import Silence
from streams.customer.state import NO_TIME
from streams.learning.served import Served, log_odds_of
from tests.streams.build import (
    T0,
    Shop,
    order,
    random_events,
    rich_model,
    silence_model,
    snapshot_of,
    with_btyd,
)

Curve = Callable[[int], float]

ROOTS = st.integers(0, 730 * 1440).map(lambda minutes: T0 + minutes * MINUTE_MS)
SPAN = 730 * DAY_MS


def first_on_grid(excess_at: Curve, from_ms: int, until_ms: int) -> int:
    """The oracle for rising curves: halve down to the first millisecond that is not negative."""
    if excess_at(until_ms) < 0.0:
        return NO_TIME
    while from_ms < until_ms:
        middle = (from_ms + until_ms) // 2
        if excess_at(middle) >= 0.0:
            until_ms = middle
        else:
            from_ms = middle + 1
    return until_ms


def counted(curve: Curve) -> tuple[Curve, list[int]]:
    asked: list[int] = []

    def excess_at(time_ms: int) -> float:
        asked.append(time_ms)
        return curve(time_ms)

    return excess_at, asked


@given(ROOTS, st.floats(-9, 9), st.floats(-9, 9))
@example(T0 + 400 * DAY_MS, 9.0, -9.0)
def test_a_straight_line_with_a_kink_is_found_to_the_minute(root_ms: int, below: float, above: float) -> None:
    def curve(time_ms: int) -> float:
        days = (time_ms - root_ms) / DAY_MS
        return days * exp(below if days < 0 else above)

    excess_at, asked = counted(curve)
    found_ms = crossing_ms(Excess(excess_at), T0, T0 + SPAN)
    assert 0 <= found_ms - first_on_grid(curve, T0, T0 + SPAN) <= MINUTE_MS
    assert all(T0 <= time_ms <= T0 + SPAN for time_ms in asked)


@given(ROOTS, st.floats(0.001, 1000.0), st.floats(0.001, 1000.0))
def test_a_jump_is_found_to_the_minute(root_ms: int, below: float, above: float) -> None:
    """The worst case for false position: it learns nothing from the heights."""
    excess_at, asked = counted(lambda time_ms: above if time_ms >= root_ms else -below)
    found_ms = crossing_ms(Excess(excess_at), T0, T0 + SPAN)
    assert 0 <= found_ms - root_ms <= MINUTE_MS
    assert len(asked) < 120


@given(ROOTS, st.integers(1, 9))
def test_a_curve_that_creeps_up_is_found_to_the_minute(root_ms: int, power: int) -> None:
    """Flat for long, then steep: false position alone would crawl."""

    def curve(time_ms: int) -> float:
        return ((time_ms - T0) / SPAN) ** power - ((root_ms - T0) / SPAN) ** power

    found_ms = crossing_ms(Excess(curve), T0, T0 + SPAN)
    assert 0 <= found_ms - first_on_grid(curve, T0, T0 + SPAN) <= MINUTE_MS


@pytest.mark.parametrize("seed", range(30))
def test_the_curve_of_a_model_crosses_where_it_is_found(seed: int) -> None:
    """Customers of a random stream under models of random weights: any shape, several crossings."""
    rng = Random(seed)
    shop = Shop()
    shop.tell(*random_events(seed, customers=2, per_customer=25))
    threshold = log_odds_of(0.8)
    for state in shop.machine.states.values():
        if not state.orders:
            continue
        weights = {
            name: rng.uniform(-1.0, 1.5) for name in ("log_silence", "log_silence_in_gaps", "log_tenure")
        }
        model = Served(
            snapshot_of(rng.uniform(-8.0, 0.0), {**weights, "log_views": -0.3, "log_orders_28d": -1.0})
        )
        from_ms, until_ms = state.clock_ms, state.clock_ms + 90 * DAY_MS

        def curve(time_ms: int, model: Served = model, state: object = state) -> float:
            return model.log_odds(features(state, time_ms)) - threshold  # type: ignore[arg-type]

        found_ms = crossing_ms(Excess(curve), from_ms, until_ms)
        if found_ms == NO_TIME:
            assert curve(until_ms) < 0.0
        else:
            assert from_ms <= found_ms <= until_ms
            assert curve(found_ms) >= 0.0
            assert found_ms == from_ms or curve(max(from_ms, found_ms - MINUTE_MS)) < 0.0


@pytest.mark.parametrize("model", [silence_model(), rich_model()])
def test_the_curve_of_a_rising_model_crosses_first_where_it_is_found(model: Served) -> None:
    shop = Shop()
    shop.tell(*random_events(5, customers=3, per_customer=25))
    for state in shop.machine.states.values():
        grid = range(state.clock_ms, state.clock_ms + 90 * DAY_MS, 30 * MINUTE_MS)
        heights = [model.log_odds(features(state, time_ms)) - log_odds_of(0.8) for time_ms in grid]
        if heights != sorted(heights):
            continue

        def curve(time_ms: int, state: object = state) -> float:
            return model.log_odds(features(state, time_ms)) - log_odds_of(0.8)  # type: ignore[arg-type]

        found_ms = crossing_ms(Excess(curve), grid[0], grid[-1])
        assert 0 <= found_ms - first_on_grid(curve, grid[0], grid[-1]) <= MINUTE_MS


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("model", [rich_model(), with_btyd(rich_model())])
def test_silence_says_to_the_last_bit_what_the_model_says_of_all_features(model: Served, seed: int) -> None:
    """The season included, which turns while nothing else happens."""
    rng, shop = Random(seed), Shop()
    shop.tell(*random_events(seed, customers=3, per_customer=40))
    for state in shop.machine.states.values():
        if state.orders:
            now = features(state, state.clock_ms)
            silence = Silence(state, model, now, threshold=0.5)
            for _ in range(30):
                as_of_ms = state.clock_ms + rng.randrange(800 * DAY_MS)
                expected = model.log_odds(features(state, as_of_ms))
                assert silence.log_odds(as_of_ms) == expected
                assert silence.excess_at(as_of_ms) == expected - 0.5


def test_a_risk_that_the_season_makes_is_alerted_about_when_it_comes() -> None:
    """Only the time of year moves this risk: it passes .8 in October, and falls again in March."""
    model = Served(snapshot_of(0.0, {"season_cosine": 8.0}))
    shop = Shop(StreamConfig(alerts=AlertConfig(lookahead_days=90.0)), model)
    shop.tell(order("c", 200), order("c", 230))
    shop.until(400)
    (raised,) = [alert for alert in shop.alerts() if alert.state == "raised"]
    angle = acos(log_odds_of(0.8) / 8.0)
    year_ms = 365.2425 * DAY_MS
    due_ms = (57 - angle / (2 * pi)) * year_ms  # of 2026, before the new year
    assert epoch_ms(raised.event_time) == pytest.approx(due_ms, abs=2 * MINUTE_MS)
    assert raised.risk == pytest.approx(0.8, abs=1e-4)


def test_it_is_the_beginning_when_it_is_over_it_already() -> None:
    assert crossing_ms(Excess(lambda _: 0.0), T0, T0 + DAY_MS) == T0
    assert crossing_ms(Excess(lambda _: 0.0), T0, T0) == T0


def test_there_is_none_when_the_end_is_below() -> None:
    assert crossing_ms(Excess(lambda _: -1e-9), T0, T0 + DAY_MS) == NO_TIME


def test_of_several_crossings_one_is_found() -> None:
    def wave(time_ms: int) -> float:
        return sin((time_ms - T0) / DAY_MS + 4.0)

    found_ms = crossing_ms(Excess(wave), T0, T0 + 9 * DAY_MS + DAY_MS // 2)
    assert wave(found_ms) >= 0.0 > wave(found_ms - MINUTE_MS)


def test_a_usual_curve_takes_a_dozen_steps() -> None:
    excess_at, asked = counted(lambda time_ms: log((time_ms - T0) / DAY_MS / 30.0))
    assert crossing_ms(Excess(excess_at), T0 + 7 * DAY_MS, T0 + 90 * DAY_MS) != NO_TIME
    assert len(asked) <= 12
