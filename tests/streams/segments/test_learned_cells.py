"""RFM cells with borders that a model drew: crossed at the moment, and nothing that facts rest on moves."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.events import Event
from schemas.segments import Borders, SegmentModel
from streams.config import SegmentConfig, StreamConfig, days_ms
from streams.customer.state import CustomerState, Verdict
from streams.customer.state_codec import decode_state, encode_state
from streams.learning.served import Served
from tests.streams.build import (
    Shop,
    at,
    cancel,
    click,
    identify,
    order,
    random_events,
    recorded,
    silence_model,
    spoken,
)
from tests.streams.oracle import naive_segments

LEARNED = StreamConfig(segments=SegmentConfig(borders="learned"))
SHORT = Borders([2.5, 5.0, 10.0, 20.0], [2, 3, 4, 6], 500)
LONG = Borders([11.0, 33.0, 99.0, 400.0], [2, 4, 8, 16], 500)


def served(borders: Borders | None) -> Served:
    model = silence_model().snapshot
    return Served(msgspec.structs.replace(model, segments=borders and SegmentModel(borders=borders)))


def told(events: Sequence[Event], borders: Borders | None, config: StreamConfig = LEARNED) -> Shop:
    shop = Shop(config, served(borders))
    shop.tell(*events)
    return shop


def facts_without_cells(state: CustomerState) -> bytes:
    """Everything but what a model made of the customer, RFM among it."""
    again = decode_state(encode_state(state))
    again.rfm, again.verdict = 0, Verdict()
    for question in again.questions:
        question.risk, question.model_version = 0.0, ""
    return encode_state(again)


def test_silence_crosses_a_learned_border_at_its_moment() -> None:
    shop = told([order("c", 0)], SHORT).until(30)
    moved = [change for change in shop.changes("c") if change.dimension == "rfm"][1:]
    assert [(change.event_time.timestamp() * 1000, change.current, change.cause) for change in moved] == [
        (at(0) + days_ms(2.5), "promising", "boundary"),
        (at(0) + days_ms(5.0), "about_to_sleep", "boundary"),
        (at(0) + days_ms(10.0), "hibernating", "boundary"),
    ]


def test_before_anything_is_learned_and_where_borders_are_fixed_the_settings_hold() -> None:
    events = random_events(3)
    fixed = told(events, None, StreamConfig()).until(300)
    assert spoken(told(events, SHORT, StreamConfig()).until(300).said) == spoken(fixed.said)
    learned = told(events, None).until(300)
    moved = [
        [(one.customer_id, one.event_time, one.current) for one in shop.changes() if one.dimension == "rfm"]
        for shop in (fixed, learned)
    ]
    assert moved[0] == moved[1]


@settings(max_examples=12)
@given(st.integers(0, 500), st.sampled_from([SHORT, LONG]))
def test_the_cell_is_the_one_that_the_oracle_finds_with_these_borders(seed: int, borders: Borders) -> None:
    events = random_events(seed, customers=3, per_customer=25)
    shop = told(events, borders).until(260)
    config = StreamConfig(
        segments=SegmentConfig(
            recency_days=tuple(borders.recency_days),  # type: ignore[arg-type]
            frequency_orders=tuple(borders.frequency_orders),  # type: ignore[arg-type]
        )
    )
    for customer in {event.customer_id for event in events} - {""}:
        own = [event for event in events if event.customer_id == customer]
        named = {"rfm": "none", "lifecycle": "prospect"}
        for change in shop.changes(customer):
            before = named[change.dimension]
            assert change.previous == before or (change.previous is None and before in ("none", "prospect"))
            named[change.dimension] = change.current
        assert (named["rfm"], named["lifecycle"]) == naive_segments(own, at(260), config)


@settings(max_examples=12)
@given(st.integers(0, 500))
def test_facts_are_the_same_whatever_borders_a_model_draws(seed: int) -> None:
    events = random_events(seed, customers=3, per_customer=25)
    shops = [told(events, borders).until(230) for borders in (SHORT, LONG, None)]
    for customer in shops[0].machine.states:
        facts = [facts_without_cells(shop.machine.states[customer]) for shop in shops]
        assert facts[0] == facts[1] == facts[2]
    examples = [[(one.id, one.label, one.features) for one in shop.examples()] for shop in shops[:2]]
    assert examples[0] == examples[1]


@settings(max_examples=12)
@given(st.integers(0, 500), st.integers(1, 70))
def test_a_machine_that_goes_on_from_its_states_says_what_it_would_have_said(seed: int, stop: int) -> None:
    events = random_events(seed, customers=3, per_customer=25)
    stop = min(stop, len(events) - 1)
    whole = told(events, SHORT).until(230)
    records = recorded(events)
    before, after = Shop(LEARNED, served(SHORT)), Shop(LEARNED, served(SHORT))
    before.apply(records[:stop])
    after.machine.watermark.at_ms = before.machine.watermark.at_ms
    after.machine.states.update(
        {name: decode_state(encode_state(state)) for name, state in before.machine.states.items()}
    )
    after.machine.expect((name, state.verdict.due_ms) for name, state in after.machine.states.items())
    after.apply(records[stop:])
    after.until(230)
    assert spoken(before.said + after.said) == spoken(whole.said)


def test_new_borders_hold_from_the_next_look_at_a_customer_on() -> None:
    shop = told([order("c", 0), order("c", 1), order("c", 2)], LONG).until(4)
    assert shop.changes("c")[-1].current != "need_attention"
    shop.machine.adopt(served(SHORT))
    shop.until(8.9)
    assert [change.current for change in shop.changes("c")][-1] != "need_attention", "the next look is at 9"
    shop.until(9.1)
    assert shop.changes("c")[-1].current == "need_attention"
    assert shop.changes("c")[-1].cause == "timer"


def test_a_customer_whose_orders_were_all_called_off_has_no_border_ahead() -> None:
    shop = told([order("c", 0, name="o"), cancel("c", 1, "o")], SHORT).until(40)
    assert shop.machine.states["c"].verdict.border_ms == 0
    assert [change.current for change in shop.changes("c") if change.dimension == "rfm"][-1] == "none"


@pytest.mark.parametrize("config", [StreamConfig(), LEARNED])
def test_states_of_the_other_setting_are_gone_on_with(config: StreamConfig) -> None:
    other = LEARNED if config is not LEARNED else StreamConfig()
    before, after = told([order("c", 0)], SHORT, other), Shop(config, served(SHORT))
    after.machine.states.update(before.machine.states)
    after.machine.expect((name, state.verdict.due_ms) for name, state in after.machine.states.items())
    after.until(300)
    assert [c.current for c in after.changes("c") if c.dimension == "rfm"][-1] == "hibernating"


def test_a_border_ahead_costs_ten_bytes_at_most_where_borders_are_learned() -> None:
    fixed, learned = told([order("c", 0)], SHORT, StreamConfig()), told([order("c", 0)], SHORT)
    sizes = [len(encode_state(shop.machine.states["c"])) for shop in (fixed, learned)]
    assert 0 < sizes[1] - sizes[0] <= 10
    told([click("c", 0), identify("c", 1, plan="gold")], SHORT)
