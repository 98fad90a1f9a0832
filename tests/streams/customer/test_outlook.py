"""Looking ahead from a score agrees with the state that the score was made from."""

from __future__ import annotations

from math import expm1

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.events import Funnel, Refund
from streams.config import DAY_MS, SegmentConfig
from streams.customer.features import FEATURE_NAMES, FEATURES, features
from streams.customer.history import fold_click, fold_order, fold_refund
from streams.customer.outlook import FADING_DAYS, VISIT_CLICKS, after_order, after_visit, in_silence
from streams.customer.state import RECENT_ORDERS, CustomerState, new_state
from tests.streams.build import T0, at, click, order

CLOSE = 2e-5  # features are 32-bit floats of logarithms; a sum of them is a little worse

amounts = st.floats(1.0, 500.0)
histories = st.lists(st.tuples(st.floats(0.0, 300.0), amounts, st.floats(0.0, 0.5)), min_size=1, max_size=8)


def state_of(history: list[tuple[float, float, float]], clicks: int = 0) -> CustomerState:
    state = new_state(T0, inputs=2)
    for day, amount, share in sorted(history):
        fold_order(
            state,
            order("c", day, amount, name=f"o{day}/{amount}", discount=amount * share, basket=("a", "b")),
            SegmentConfig(),
        )
    for number in range(clicks):
        fold_click(state, state.order_ms + number, Funnel.CART_ADD)
    state.session_ms = 0  # no session is open
    return state


def agree(found: list[float], state: CustomerState, as_of_ms: int) -> None:
    assert dict(zip(FEATURE_NAMES, found, strict=True)) == pytest.approx(
        dict(zip(FEATURE_NAMES, features(state, as_of_ms), strict=True)), rel=1e-3, abs=CLOSE
    )


@given(histories, st.integers(0, 3), st.floats(0.0, 200.0), st.floats(0.0, 400.0))
def test_silence(history: list[tuple[float, float, float]], clicks: int, waited: float, days: float) -> None:
    state = state_of(history, clicks)
    as_of_ms = state.order_ms + round(waited * DAY_MS)
    later_ms = as_of_ms + round(days * DAY_MS)
    agree(in_silence(features(state, as_of_ms), (later_ms - as_of_ms) / DAY_MS), state, later_ms)


@given(histories, st.floats(0.5, 200.0), st.floats(0.0, 0.9))
def test_an_order(history: list[tuple[float, float, float]], waited: float, refunded: float) -> None:
    state = state_of(history)
    fold_refund(state, Refund("c", "m", T0, "unknown", state.revenue * refunded))
    as_of_ms = state.order_ms + round(waited * DAY_MS)
    found = after_order(features(state, as_of_ms))
    usual = state.revenue / state.orders
    day = (as_of_ms - T0) / DAY_MS
    assert fold_order(state, order("c", day, usual, name="one more", basket=("a", "b")), SegmentConfig())
    if len(history) >= RECENT_ORDERS:  # the gap that leaves the newest orders is not in a score
        place = FEATURE_NAMES.index("log_longest_gap")
        assert found[place] >= features(state, as_of_ms)[place] - CLOSE
        found[place] = features(state, as_of_ms)[place]
    agree(found, state, as_of_ms)


@given(histories, st.floats(0.5, 200.0))
def test_a_visit(history: list[tuple[float, float, float]], waited: float) -> None:
    state = state_of(history)
    as_of_ms = state.order_ms + round(waited * DAY_MS)
    found = after_visit(features(state, as_of_ms))
    for number in range(VISIT_CLICKS):
        fold_click(state, as_of_ms + number, Funnel.PRODUCT if number else Funnel.CART_ADD)
    agree(found, state, as_of_ms)


def test_every_feature_that_silence_moves_is_moved_and_no_other() -> None:
    """A new feature must be taught to look ahead, or this fails."""
    state = state_of([(0.0, 20.0, 0.1), (30.0, 30.0, 0.0)])
    for day in (31.0, 39.0):
        fold_click(state, at(day), Funnel.CART_ADD)
        state.session_ms = 0
    now = features(state, at(40.0))
    later = in_silence(now, 50.0)
    moved = {name for name, a, b in zip(FEATURE_NAMES, now, later, strict=True) if a != b}
    assert moved == {feature.name for feature in FEATURES if feature.moves}
    assert set(FADING_DAYS) < moved


def test_half_of_a_fading_sum_is_left_after_its_half_life() -> None:
    state = state_of([(0.0, 20.0, 0.0)])
    fold_click(state, click("c", 1.0).time_ms, Funnel.PRODUCT)
    place = FEATURE_NAMES.index("log_views")
    now = features(state, at(1.0))
    assert expm1(in_silence(now, 7.0)[place]) == pytest.approx(expm1(now[place]) / 2)
