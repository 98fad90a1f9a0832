"""Traits: what was asked for is kept, the newest word counts, and lifetime value knows what winning cost."""

from __future__ import annotations

import json
from itertools import permutations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.btyd import BtydParams
from schemas.codec import decode_event
from schemas.events import Described, Trait
from schemas.topics import CUSTOMER_SCORES
from streams.config import SegmentConfig, StreamConfig, ValueConfig
from streams.customer.state import new_state
from streams.customer.state_codec import decode_state, encode_state
from streams.learning.served import Served
from streams.segments.traits import amount_of, fold_traits, kept_names, shown
from streams.value.bgnbd import prob_alive
from tests.streams.build import T0, Shop, click, identify, order

NAMES = ("plan", "country")
KEPT = StreamConfig(segments=SegmentConfig(traits=NAMES))

SAID = st.lists(
    st.tuples(
        st.integers(0, 9),
        st.dictionaries(
            st.sampled_from(["plan", "country", "email"]),
            st.none() | st.booleans() | st.integers(0, 1) | st.sampled_from(["gold", "silver"]),
            max_size=2,
        ),
    ),
    unique_by=lambda said: said[0],
    max_size=5,
)


@given(SAID)
def test_of_each_trait_the_newest_word_counts_in_whatever_order_messages_came(
    said: list[tuple[int, dict[str, Trait]]],
) -> None:
    """The oracle sorts by event time and lets each word replace the one before."""
    expected: dict[str, Trait] = {}
    for _, traits in sorted(said, key=lambda one: one[0]):
        expected |= traits
    expected = {name: expected[name] for name in NAMES if expected.get(name) is not None}
    for way in permutations(said):
        state = new_state(T0, inputs=2)
        for time_ms, traits in way:
            before = shown(state.traits or {}, NAMES)
            changed = fold_traits(state, Described("c", str(time_ms), time_ms, traits), NAMES)
            assert changed == (repr(before) != repr(shown(state.traits or {}, NAMES)))
        assert repr(shown(state.traits or {}, NAMES)) == repr(expected), "1 and true are equal"
        assert decode_state(encode_state(state)) == state


def test_nothing_is_kept_that_was_not_asked_for_by_name() -> None:
    for config, names in ((StreamConfig(), set()), (KEPT, {"plan"})):
        shop = Shop(config)
        shop.tell(order("c", 0), identify("c", 1, email="kim@example.org", firstName="Kim", plan="gold"))
        wire = encode_state(shop.machine.states["c"])
        assert set(shop.machine.states["c"].traits or {}) == names
        assert b"kim" not in wire.lower()
        assert len(wire) <= 500


def test_a_customer_without_traits_costs_no_byte() -> None:
    shop = Shop(KEPT)
    shop.tell(order("c", 0), identify("c", 1, email="kim@example.org"))
    state = shop.machine.states["c"]
    wire = encode_state(state)
    state.traits = {"plan": (T0, "gold")}
    assert len(encode_state(state)) > len(wire)
    state.traits = None
    assert encode_state(state) == wire


def test_a_trait_that_changed_is_said_at_once_and_one_that_did_not_is_not() -> None:
    shop = Shop(KEPT)
    shop.tell(identify("c", 0, plan="gold"), order("c", 1))
    assert [score.traits for score in shop.scores()] == [{"plan": "gold"}]
    shop.tell(identify("c", 2, plan="gold"))
    assert len(shop.scores()) == 1
    shop.tell(identify("c", 3, plan="silver", country="NO"))
    assert shop.scores()[-1].traits == {"plan": "silver", "country": "NO"}
    assert shop.scores()[-1].cause == "correction"
    shop.tell(identify("c", 4, plan=None))
    assert shop.scores()[-1].traits == {"country": "NO"}


def test_an_erased_customer_has_no_traits() -> None:
    shop = Shop(KEPT)
    shop.tell(identify("c", 0, plan="gold"), order("c", 1))
    shop.machine.erase("c")
    assert shop.machine.take()[-1][:3] == (CUSTOMER_SCORES, "c", None)
    shop.tell(order("c", 2))
    assert shop.scores()[-1].traits == {}


@pytest.mark.parametrize(
    ("given_", "kept"),
    [
        ({"plan": "gold"}, {"plan": "gold"}),
        ({"plan": "g" * 64, "long": "g" * 65}, {"plan": "g" * 64}),
        ({"age": 41, "huge": 2**70, "share": 0.5, "vip": True}, {"age": 41, "share": 0.5, "vip": True}),
        ({"address": {"city": "Oslo"}, "tags": ["a"], "gone": None}, {"gone": None}),
        ({"line": "a\nb", "n" * 65: 1}, {}),
    ],
)
def test_only_short_and_plain_values_are_traits(given_: dict[str, object], kept: dict[str, object]) -> None:
    message = {"type": "identify", "messageId": "m", "userId": "c-1", "timestamp": "2026-01-01T00:00:00Z"}
    event = decode_event(json.dumps(message | {"traits": given_}).encode())
    assert isinstance(event, Described)
    assert event.traits == kept


def test_what_winning_a_customer_cost_is_taken_off_their_lifetime_value() -> None:
    value = ValueConfig(margin=0.5, acquisition_cost=10.0, acquisition_cost_trait="cac")
    shop = Shop(StreamConfig(value=value))
    shop.tell(order("known", 0, 100.0), order("unknown", 0, 100.0), click("known", 0.5))
    shop.tell(identify("known", 1, cac=30))
    known, unknown = shop.scores("known")[-1], shop.scores("unknown")[-1]
    # Before a fit nobody is taken to have left.
    assert unknown.lifetime_value == 0.5 * 100.0 + unknown.predicted_value - 10.0
    assert known.lifetime_value == 0.5 * 100.0 + known.predicted_value - 30.0
    assert known.traits == {}, "what it cost is no group of customers unless it is named as one"


def test_lifetime_value_expects_of_a_customer_what_bgnbd_says_they_are_still_there_for() -> None:
    shop = Shop()
    model = shop.machine.model.snapshot
    timing = BtydParams(model="bgnbd", r=0.25, alpha=30.0, a=0.8, b=2.4)
    shop.machine.adopt(Served(msgspec.structs.replace(model, btyd=timing)))
    shop.tell(order("c", 0, 100.0), order("c", 60, 100.0))
    shop.until(80)
    score = shop.scores()[-1]
    silent = score.time_since_last_order_days
    alive = prob_alive(timing, 1.0, 60.0, 60.0 + silent)
    assert score.lifetime_value == pytest.approx(200.0 + alive * score.predicted_value, abs=1e-9)


@pytest.mark.parametrize(
    ("said", "amount"),
    [(12, 12.0), (0.5, 0.5), (-1, None), (True, None), ("12", None), (None, None), (2e9, None)],
)
def test_a_cost_is_a_number_that_is_an_amount(said: Trait, amount: float | None) -> None:
    assert amount_of({"cac": (5, said)}, "cac") == amount
    assert amount_of({}, "cac") is None


def test_the_cost_is_kept_beside_the_traits_and_once() -> None:
    cost = ValueConfig(acquisition_cost_trait="cac")
    assert kept_names(StreamConfig(value=cost)) == ("cac",)
    both = StreamConfig(value=cost, segments=SegmentConfig(traits=("cac", "plan")))
    assert kept_names(both) == ("cac", "plan")
