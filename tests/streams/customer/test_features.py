"""Features equal those recomputed from every event, and know nothing of what came later."""

from __future__ import annotations

from array import array
from functools import cache
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.codec import epoch_ms
from schemas.events import Event, Funnel, Order
from schemas.learning import Example
from streams.config import DAY_MS, StreamConfig
from streams.customer.features import (
    FAMILIES,
    FAMILY_OF,
    FEATURE_NAMES,
    FEATURES,
    families_of,
    features,
)
from streams.customer.state import ORDERS_SHORT_HALF_LIFE_MS, SESSIONS_HALF_LIFE_MS
from tests.streams.build import Shop, click, order, random_events, refund, rich_model
from tests.streams.oracle import naive_features, standing_orders

SEEDS = range(4)


@cache
def told(seed: int) -> tuple[list[Event], Shop]:
    events = random_events(seed, customers=3)
    shop = Shop(model=rich_model())
    shop.tell(*events)
    shop.until(1400)
    return events, shop


def of_customer(events: list[Event], customer_id: str) -> list[Event]:
    return [event for event in events if event.customer_id == customer_id]


@pytest.mark.parametrize("seed", SEEDS)
def test_every_score_and_example_rests_on_the_features_of_its_moment(seed: int) -> None:
    """The oracle sees the events up to the review only, so a look into the future would show."""
    events, shop = told(seed)
    looks = [
        (score.customer_id, score.event_time, dict(zip(FEATURE_NAMES, score.features, strict=True)))
        for score in shop.scores()
    ]
    looks += [(example.customer_id, example.asked_at, example.features) for example in shop.examples()]
    assert len(looks) > 50
    for customer_id, moment, values in looks:
        as_of_ms = epoch_ms(moment)
        known = [event for event in of_customer(events, customer_id) if event.time_ms <= as_of_ms]
        expected = naive_features(known, as_of_ms, shop.config)
        assert values == pytest.approx(expected, rel=1e-5, abs=1e-5)


@given(st.integers(0, 2**32), st.integers(1, 30), st.integers(0, 300 * DAY_MS))
def test_features_are_those_of_the_list_of_events(seed: int, events_each: int, later_ms: int) -> None:
    """Any short stream, looked at any time after its end: what shrinks is the stream."""
    events = random_events(seed, customers=1, days=120, per_customer=events_each)
    shop = Shop()
    shop.tell(*events)
    state = shop.machine.states.get("c0")
    if state is None or not state.orders:
        return
    as_of_ms = state.clock_ms + later_ms
    found = dict(zip(FEATURE_NAMES, features(state, as_of_ms), strict=True))
    expected = naive_features(of_customer(events, "c0"), as_of_ms, shop.config)
    assert found == pytest.approx(expected, rel=1e-5, abs=1e-5)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_feature_does_not_depend_on_events_after_its_moment(seed: int) -> None:
    """The oracle itself, given the future, says the same: what is compared above has no leak."""
    events = of_customer(random_events(seed, customers=1), "c0")
    as_of_ms = events[len(events) // 2].time_ms
    past = [event for event in events if event.time_ms <= as_of_ms]
    assert naive_features(events, as_of_ms, StreamConfig()) == naive_features(past, as_of_ms, StreamConfig())


@pytest.mark.parametrize("seed", SEEDS)
def test_what_was_said_up_to_a_moment_is_the_same_when_nothing_follows(seed: int) -> None:
    events = random_events(seed, customers=4)
    whole = Shop(model=rich_model())
    whole.tell(*events)
    for length in Random(seed).sample(range(len(events)), 2):
        cut = Shop(model=rich_model())
        cut.tell(*events[:length])
        assert whole.said[: len(cut.said)] == cut.said


@pytest.mark.parametrize("seed", SEEDS)
def test_labels_are_what_happened_within_the_horizon(seed: int) -> None:
    """1 when no order that stands at t + H lies in (t, t + H], from the list of all events."""
    events, shop = told(seed)
    examples = shop.examples()
    assert {example.label for example in examples} == {0, 1}
    for example in examples:
        asked_ms, matured_ms = epoch_ms(example.asked_at), epoch_ms(example.matured_at)
        assert matured_ms - asked_ms == 30 * DAY_MS
        standing = standing_orders(of_customer(events, example.customer_id), matured_ms)
        assert example.label == int(not any(asked_ms < bought.time_ms for bought in standing))


@pytest.mark.parametrize("seed", SEEDS)
def test_every_order_and_timer_review_asks_once_and_is_answered_once(seed: int) -> None:
    events, shop = told(seed)
    asked = [(example.customer_id, example.asked_at) for example in shop.examples()]
    assert len(set(asked)) == len(asked) == len({example.id for example in shop.examples()})
    orders = {(event.customer_id, event.time_ms) for event in events if type(event) is Order}
    by_order = {(e.customer_id, epoch_ms(e.asked_at)) for e in shop.examples() if e.cause == "order"}
    assert by_order <= orders
    assert len(by_order) > len(orders) / 2, "the rest are orders sent again, which ask nothing"
    assert not shop.machine.states, "all are forgotten by then"


@pytest.mark.parametrize("seed", SEEDS)
def test_values_are_32_bit_floats_and_finite(seed: int) -> None:
    shop, rng = Shop(), Random(seed)
    shop.tell(*random_events(seed, customers=3))
    for state in shop.machine.states.values():
        if state.orders:
            values = features(state, state.clock_ms + rng.randrange(900 * DAY_MS))
            assert len(values) == len(FEATURES)
            assert array("f", values).tolist() == list(values)
            assert all(abs(value) < 100 for value in values)


@pytest.mark.parametrize("seed", SEEDS)
def test_silence_moves_only_the_features_that_say_so(seed: int) -> None:
    shop = Shop()
    shop.tell(*random_events(seed, customers=3))
    for state in shop.machine.states.values():
        if state.orders:
            now = features(state, state.clock_ms)
            later = features(state, state.clock_ms + 45 * DAY_MS)
            moved = {f.name for f, a, b in zip(FEATURES, now, later, strict=True) if a != b}
            assert moved <= {feature.name for feature in FEATURES if feature.moves}
            assert {"log_tenure", "log_silence", "log_silence_in_gaps"} <= moved


def test_all_features_that_say_so_move() -> None:
    shop = Shop()
    shop.tell(
        order("c", 0, discount=1.0, basket=("a", "b")),
        click("c", 5),
        order("c", 20, name="o"),
        refund("c", 21, "o", 1.0),
        click("c", 22),
        click("c", 30, Funnel.CART_ADD),
    )
    state = shop.machine.states["c"]
    now, later = features(state, state.clock_ms), features(state, state.clock_ms + DAY_MS)
    moved = {f.name for f, a, b in zip(FEATURES, now, later, strict=True) if a != b}
    assert moved == {feature.name for feature in FEATURES if feature.moves}
    blank = {feature.name for feature, value in zip(FEATURES, now, strict=True) if value == 0.0}
    assert blank == {"one_timer"}, "every feature can be something"


def test_features_never_change_the_state() -> None:
    shop = Shop()
    shop.tell(order("c", 0), order("c", 9))
    state = shop.machine.states["c"]
    first = features(state, state.clock_ms)
    features(state, state.clock_ms + 500 * DAY_MS)
    assert features(state, state.clock_ms) == first


def test_names_and_families_are_told_apart() -> None:
    assert len(set(FEATURE_NAMES)) == len(FEATURES)
    assert len(set(FAMILIES)) == len(FAMILIES)
    assert [FAMILIES[number] for number in FAMILY_OF] == [feature.family for feature in FEATURES]


def test_family_sums_hold_every_contribution_once() -> None:
    rng = Random(3)
    contributions = [rng.uniform(-2, 2) for _ in FEATURES]
    assert sum(families_of(contributions)) == pytest.approx(sum(contributions))
    assert len(families_of(contributions)) == len(FAMILIES)


def test_an_example_names_every_feature() -> None:
    shop = Shop()
    shop.tell(order("c", 0))
    shop.until(100)
    example = shop.examples()[0]
    assert isinstance(example, Example)
    assert tuple(example.features) == FEATURE_NAMES


def test_orders_lately_and_sessions_fade_alike() -> None:
    """One fade is computed for both (`features`, `streams.customer.silence`)."""
    assert ORDERS_SHORT_HALF_LIFE_MS == SESSIONS_HALF_LIFE_MS
