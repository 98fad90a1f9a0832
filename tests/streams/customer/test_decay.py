"""Fading sums equal the naive ones, in any order of events and from any landmark."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.config import DAY_MS
from streams.customer import state as state_module
from streams.customer.decay import faded, forward_weight, landmark_is_stale
from streams.customer.state import move_landmark, new_state
from tests.streams.build import T0

HALF_LIFE_MS = 7.0 * DAY_MS
TIMES = st.lists(st.integers(0, 1000 * DAY_MS), min_size=1, max_size=30)


def total(times: list[int], landmark_ms: int) -> float:
    result = 0.0
    for time_ms in times:
        result += forward_weight(time_ms, landmark_ms, HALF_LIFE_MS)
    return result


@given(TIMES, st.integers(0, 1000 * DAY_MS), st.integers(0, 2000 * DAY_MS))
def test_a_reading_is_the_naive_sum(times: list[int], landmark_ms: int, later_ms: int) -> None:
    as_of_ms = max(times) + later_ms
    naive = sum(0.5 ** ((as_of_ms - time_ms) / HALF_LIFE_MS) for time_ms in times)
    assert faded(total(times, landmark_ms), as_of_ms, landmark_ms, HALF_LIFE_MS) == pytest.approx(naive)


@given(TIMES, st.randoms(use_true_random=False))
def test_the_order_of_events_does_not_matter(times: list[int], rng: Random) -> None:
    shuffled = rng.sample(times, len(times))
    assert total(shuffled, 0) == pytest.approx(total(times, 0), rel=1e-12)


def test_an_event_counts_one_at_once_and_half_a_half_life_later() -> None:
    weight = forward_weight(5000, 1000, 2000.0)
    assert faded(weight, 5000, 1000, 2000.0) == 1.0
    assert faded(weight, 7000, 1000, 2000.0) == 0.5


SUMS = {
    "views": state_module.VIEWS_HALF_LIFE_MS,
    "carts": state_module.VIEWS_HALF_LIFE_MS,
    "sessions": state_module.SESSIONS_HALF_LIFE_MS,
    "orders_short": state_module.ORDERS_SHORT_HALF_LIFE_MS,
    "orders_long": state_module.ORDERS_LONG_HALF_LIFE_MS,
}


@given(st.lists(st.floats(0.1, 50.0), min_size=5, max_size=5), st.integers(3501, 6000), st.integers(0, 400))
def test_moving_the_landmark_changes_no_reading(counts: list[float], days: int, later: int) -> None:
    state, moved = new_state(T0, inputs=2), new_state(T0, inputs=2)
    now_ms = T0 + days * DAY_MS
    for count, (name, half_life_ms) in zip(counts, SUMS.items(), strict=True):
        weight = count * forward_weight(now_ms - 3 * DAY_MS, T0, half_life_ms)
        setattr(state, name, weight)
        setattr(moved, name, weight)
    move_landmark(moved, now_ms)
    assert moved.landmark_ms == now_ms
    as_of_ms = now_ms + later * DAY_MS
    for name, half_life_ms in SUMS.items():
        before = faded(getattr(state, name), as_of_ms, state.landmark_ms, half_life_ms)
        after = faded(getattr(moved, name), as_of_ms, moved.landmark_ms, half_life_ms)
        assert after == pytest.approx(before, rel=1e-9), name


def test_a_fresh_landmark_stays() -> None:
    state = new_state(T0, inputs=2)
    state.views = 3.0
    move_landmark(state, T0 + 3499 * DAY_MS)
    assert (state.landmark_ms, state.views) == (T0, 3.0)


@given(st.integers(0, 10**12))
def test_a_landmark_is_stale_long_before_a_weight_overflows(span_ms: int) -> None:
    if not landmark_is_stale(span_ms, 0, HALF_LIFE_MS):
        assert forward_weight(span_ms, 0, HALF_LIFE_MS) < 1e200
