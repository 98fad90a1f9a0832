"""What records leave behind is what recomputing from the full list of records gives."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.events import Cancellation, Click, Event, Funnel, Order, OrderUpdate, Refund
from streams.config import DAY_MS, SegmentConfig, StreamConfig, TimeConfig
from streams.customer.history import (
    answer_questions,
    cells_of,
    fold_cancellation,
    fold_click,
    fold_order,
    fold_refund,
    fold_update,
    retract_answers,
)
from streams.customer.state import NO_TIME, CustomerState, new_state
from streams.customer.state_wire import Question
from tests.streams.build import T0, Shop, at, cancel, click, order, random_events, recorded, refund, update
from tests.streams.oracle import standing_orders

CONFIG = SegmentConfig()


def fold(state: CustomerState, event: Event) -> None:
    if isinstance(event, Click):
        fold_click(state, event.time_ms, event.funnel)
    elif isinstance(event, OrderUpdate):
        fold_update(state, event)
    elif isinstance(event, Order):
        fold_order(state, event, CONFIG)
    elif isinstance(event, Refund):
        fold_refund(state, event)
    elif isinstance(event, Cancellation):
        fold_cancellation(state, event, CONFIG)


def folded(*events: Event) -> CustomerState:
    state = new_state(T0, inputs=2)
    for event in events:
        fold(state, event)
    return state


def comparable(state: CustomerState) -> tuple[list[object], list[float]]:
    """Split what must be equal from what must be equal but for the order of additions."""
    exact = [
        state.click_ms,
        state.orders,
        state.first_order_ms,
        state.order_ms,
        state.order_amount,
        state.won_back,
        state.recent_orders,
        state.items,
        state.category_cells,
        state.categories,
        state.gap_ms,
        state.cart_ms,
    ]
    return exact, [state.views, state.carts, state.revenue, state.discounted, state.orders_short]


DRAFTS = st.lists(
    st.tuples(st.sampled_from("coo"), st.integers(0, 400), st.sampled_from([0.0, 1.25, 60.0])), max_size=14
)
"""Clicks and orders on whole days: several at one moment are likely."""


@given(DRAFTS, st.randoms(use_true_random=False))
def test_clicks_and_orders_in_any_order_leave_the_same_facts(
    drafts: list[tuple[str, int, float]], rng: Random
) -> None:
    events: list[Event] = [
        click("c", day, Funnel.CART_ADD) if kind == "c" else order("c", day, amount, name=str(number))
        for number, (kind, day, amount) in enumerate(sorted(drafts, key=lambda draft: draft[1]))
    ]
    in_order, shuffled = folded(*events), folded(*rng.sample(events, len(events)))
    exact, sums = comparable(in_order)
    assert comparable(shuffled)[0] == exact
    assert comparable(shuffled)[1] == pytest.approx(sums, rel=1e-12)


@pytest.mark.parametrize("seed", range(8))
def test_a_machine_told_out_of_order_knows_the_same(seed: int) -> None:
    """The same through the whole machine, where timers and late records come in between."""
    rng = Random(seed)
    events = [event for event in random_events(seed, customers=1) if type(event) in (Click, Order)]
    placed: dict[object, Event] = {}
    for event in events:  # an order sent again is known only while it is among the newest
        placed.setdefault(getattr(event, "order_id", event.message_id), event)
    events = list(placed.values())
    config = StreamConfig(time=TimeConfig(allowed_lateness_seconds=rng.choice([0.0, 86_400.0])))
    in_order, shuffled = Shop(config), Shop(config)
    in_order.tell(*events)
    shuffled.apply(recorded(rng.sample(events, len(events))))
    one, other = in_order.machine.states["c0"], shuffled.machine.states["c0"]
    assert comparable(one)[0] == comparable(other)[0]
    assert one.first_ms == other.first_ms
    assert one.revenue == pytest.approx(other.revenue)


@pytest.mark.parametrize("seed", range(25))
def test_orders_updates_refunds_and_cancellations_equal_a_recomputation(seed: int) -> None:
    """After each event the state holds what the list of all events says."""
    events = random_events(seed, customers=1, per_customer=80)
    state = new_state(T0, inputs=2)
    for place, event in enumerate(events):
        fold(state, event)
        bought = standing_orders(events[: place + 1], event.time_ms)
        assert state.orders == len(bought)
        assert state.revenue == pytest.approx(sum(o.amount for o in bought), abs=1e-6)
        assert state.refunded == pytest.approx(sum(o.refunded for o in bought), abs=1e-6)
        assert state.discounted == pytest.approx(sum(o.discount for o in bought), abs=1e-6)
        if bought:
            assert state.first_order_ms == bought[0].time_ms
            assert state.order_ms == bought[-1].time_ms
            assert state.order_amount == bought[-1].amount
        gap_ms = bought[-1].time_ms - bought[-2].time_ms if len(bought) > 1 else 0
        assert state.won_back is (gap_ms >= 90 * DAY_MS)


def test_a_cancelled_order_takes_its_categories_and_pieces_with_it_and_no_others() -> None:
    events = [order("c", day, name=str(day), basket=("lamps", f"category {day}")) for day in range(7)]
    state = folded(*events, cancel("c", 8, "6"))
    assert (state.items, state.gap_ms) == (12, DAY_MS)
    assert state.categories == cells_of(("lamps", *(f"category {day}" for day in range(6)))).bit_count()


def test_an_update_gives_an_order_its_new_basket() -> None:
    state = folded(
        order("c", 1, name="a", basket=("lamps", "toys")), order("c", 2, name="a", basket=("toys",))
    )
    assert (state.items, state.categories) == (1, 1)


def test_an_order_sent_again_is_an_update() -> None:
    state = folded(order("c", 1, 10.0, name="o", discount=2.0), order("c", 2, 30.0, name="o", discount=1.0))
    assert (state.orders, state.revenue, state.discounted, state.order_ms) == (1, 30.0, 1.0, at(1))


def test_an_update_of_an_unknown_order_changes_nothing() -> None:
    before, after = folded(order("c", 1)), folded(order("c", 1))
    assert not fold_update(after, update("c", 2, "unknown", 99.0))
    assert before == after


def test_updating_an_order_that_is_not_the_newest_leaves_the_last_order_value() -> None:
    state = folded(order("c", 1, 10.0, name="a"), order("c", 1, 20.0, name="b"))
    last = state.recent_orders[-1]
    names = {10.0: "a", 20.0: "b"}
    other = names[30.0 - last[2]]
    fold_update(state, update("c", 2, other, 55.0))
    assert state.order_amount == last[2]
    assert state.revenue == last[2] + 55.0


def test_a_refund_without_an_amount_is_what_is_left_of_the_order() -> None:
    state = folded(order("c", 1, 50.0, name="o"), refund("c", 2, "o", 20.0), refund("c", 3, "o"))
    assert state.refunded == 50.0
    assert fold_refund(state, refund("c", 4, "o"))
    assert state.refunded == 50.0


def test_a_refund_with_an_amount_counts_for_an_order_long_gone_and_one_without_does_not() -> None:
    state = folded(*(order("c", day, 10.0, name=str(day)) for day in range(9)))
    assert fold_refund(state, refund("c", 10, "0", 4.0))
    assert not fold_refund(state, refund("c", 10, "1"))
    assert state.refunded == 4.0


@pytest.mark.parametrize("refunded_first", [True, False])
def test_an_order_cancelled_and_paid_back_counts_as_never_placed(refunded_first: bool) -> None:
    """Shops send both messages, in either order: the money may not be taken twice."""
    after: list[Event] = [refund("c", 3, "b", 30.0), cancel("c", 3.1, "b")]
    state = folded(
        order("c", 1, 20.0, name="a"),
        order("c", 2, 30.0, name="b"),
        *(after if refunded_first else reversed(after)),
    )
    assert (state.orders, state.revenue, state.refunded) == (1, 20.0, 0.0)
    assert (state.first_order_ms, state.order_ms, state.order_amount) == (at(1), at(1), 20.0)


def test_cancelling_the_only_order_leaves_nothing_of_it() -> None:
    state = folded(order("c", 1, 20.0, name="a", discount=3.0), refund("c", 2, "a", 5.0), cancel("c", 3, "a"))
    blank = new_state(T0, inputs=2)
    blank.cancelled = state.cancelled
    assert state == blank


def test_an_order_that_comes_after_its_cancellation_does_not_count() -> None:
    state = folded(cancel("c", 2, "a"), order("c", 1, name="a"))
    assert (state.orders, state.revenue, state.order_ms) == (0, 0.0, NO_TIME)


def test_cancelling_a_free_order_leaves_the_value_of_the_one_before_even_if_that_was_free() -> None:
    state = folded(
        order("c", 1, 30.0), order("c", 2, 0.0), order("c", 3, 40.0, name="x"), cancel("c", 4, "x")
    )
    assert (state.order_ms, state.order_amount) == (at(2), 0.0)


def test_cancelling_the_first_of_two_orders_moves_the_first_order() -> None:
    state = folded(order("c", 1, name="a"), order("c", 200), cancel("c", 201, "a"))
    assert state.first_order_ms == state.order_ms == at(200)
    assert not state.won_back


def test_cancelling_an_order_after_the_one_that_won_back_keeps_won_back() -> None:
    state = folded(order("c", 0), order("c", 100), order("c", 110, name="x"))
    assert not state.won_back
    fold(state, cancel("c", 111, "x"))
    assert state.won_back


def test_an_old_order_that_comes_late_takes_won_back_away() -> None:
    before = folded(order("c", 0), order("c", 100))
    state = folded(order("c", 0), order("c", 100), order("c", 50))
    assert (before.won_back, state.won_back) == (True, False)
    assert state.order_ms == at(100)


def test_a_cancellation_of_an_order_long_gone_leaves_it_and_lets_its_refund_count() -> None:
    state = folded(*(order("c", day, 10.0, name=str(day)) for day in range(9)))
    assert not fold_cancellation(state, cancel("c", 10, "0"), CONFIG)
    assert state.orders == 9
    assert fold_refund(state, refund("c", 11, "0", 10.0))
    assert state.refunded == 10.0


def test_what_is_kept_by_name_stays_small() -> None:
    events: list[Event] = []
    for day in range(60):
        events += [order("c", day, name=str(day)), refund("c", day + 0.1, str(day), 1.0)]
        if day % 3:
            events.append(cancel("c", day + 0.2, str(day)))
    state = folded(*events)
    assert max(len(state.recent_orders), len(state.refunds), len(state.cancelled)) <= 4


# Sessions


def sessions_of(*clicks: Click) -> float:
    shop = Shop()
    shop.tell(*clicks)
    shop.until(30)
    state = shop.machine.states["c"]
    return round(state.sessions, 2)


def test_clicks_closer_than_the_gap_are_one_session_and_the_gap_itself_still_is() -> None:
    minute = 1 / 1440
    assert sessions_of(*(click("c", minutes * minute) for minutes in (0, 10, 40, 70))) == 1.0
    later = 30 * minute + 1 / DAY_MS
    assert sessions_of(click("c", 0), click("c", later)) == 2.0


def test_a_click_at_the_moment_of_another_opens_no_session() -> None:
    assert sessions_of(click("c", 0), click("c", 0, message="another")) == 1.0


# Answers


def questions(state: CustomerState, *days: float) -> CustomerState:
    state.questions = [Question(at(day), False, False, b"", 0.5, "m") for day in days]
    return state


def answers(state: CustomerState) -> Sequence[bool]:
    return [question.ordered for question in state.questions]


def test_an_order_answers_the_questions_before_it_within_their_horizon() -> None:
    state = questions(new_state(T0, inputs=2), 0, 5, 9, 10, 11)
    answer_questions(state, at(10), 5 * DAY_MS)
    assert answers(state) == [False, True, True, False, False]


def test_a_cancelled_order_answers_nothing_unless_another_does() -> None:
    state = questions(folded(order("c", 1, name="a"), order("c", 5, name="b")), 0, 3)
    for days in (1, 5):
        answer_questions(state, at(days), 30 * DAY_MS)
    fold(state, cancel("c", 6, "b"))
    retract_answers(state)
    assert answers(state) == [True, False]
    fold(state, cancel("c", 7, "a"))
    retract_answers(state)
    assert answers(state) == [False, False]
