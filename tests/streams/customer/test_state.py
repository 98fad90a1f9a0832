"""A state survives the wire, refuses what it does not know, and recognises what it has seen."""

from __future__ import annotations

from collections.abc import Sequence
from inspect import isdatadescriptor
from itertools import pairwise
from pathlib import Path
from statistics import mean
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from librt.vecs import vec
from mypy_extensions import i64

from streams.config import DAY_MS, HOUR_MS, ReviewConfig, StreamConfig
from streams.customer.dedupe import DEDUPE_MS, RECENT_MESSAGES, forget_messages, hashed, seen_message
from streams.customer.features import FEATURE_NAMES, features
from streams.customer.packing import digest, pack, unpack
from streams.customer.state import (
    FIELDS,
    STATE_VERSION,
    VERDICT_FIELDS,
    CustomerState,
    Verdict,
    facts,
    new_state,
)
from streams.customer.state_codec import decode_state, encode_state
from streams.customer.state_wire import Question
from tests.streams.build import T0, Shop, click, order, simulated_records

TIME = st.sampled_from([0, T0]) | st.integers(T0 // 2, 2**52)
KEY = st.integers(0, 2**64 - 1)
SMALL = st.integers(0, 2**32 - 1)
NUMBER = st.floats(allow_nan=False, width=64)
QUESTION = st.builds(
    Question,
    asked_ms=TIME,
    by_order=st.booleans(),
    ordered=st.booleans(),
    features=st.binary(min_size=100, max_size=100),
    risk=NUMBER,
    model_version=st.text(max_size=12) | st.just("m" * 300),
)
VERDICT = st.builds(
    Verdict,
    risk=NUMBER,
    published=NUMBER,
    values=st.binary(max_size=100),
    crossing_ms=TIME,
    episode=st.integers(0, 2),
    episode_ms=TIME,
    due_ms=TIME,
    border_ms=TIME,
)
TRAIT = st.none() | st.booleans() | st.integers(-(2**53), 2**53) | NUMBER | st.text(max_size=8)
STATE = st.builds(
    CustomerState,
    first_ms=TIME,
    clock_ms=TIME,
    landmark_ms=TIME,
    first_order_ms=TIME,
    order_ms=TIME,
    order_amount=NUMBER,
    views=NUMBER,
    sessions_short=NUMBER,
    cart_ms=TIME,
    items=SMALL,
    category_cells=SMALL,
    categories=st.integers(0, 32),
    gap_ms=TIME,
    revenue=NUMBER,
    orders=st.integers(0, 10**6),
    won_back=st.booleans(),
    recent_orders=st.lists(st.tuples(KEY, TIME, NUMBER, NUMBER, SMALL, SMALL), max_size=4),
    refunds=st.lists(st.tuples(KEY, NUMBER), max_size=4),
    cancelled=st.lists(KEY, max_size=4),
    applied=st.lists(st.integers(-1, 2**63 - 1), min_size=2, max_size=2),
    questions=st.lists(QUESTION, max_size=3),
    rfm=st.integers(-1, 9),
    verdict=VERDICT,
    traits=st.none() | st.dictionaries(st.text(max_size=8), st.tuples(TIME, TRAIT), max_size=3),
)


IDS = st.lists(st.integers(-(2**63), 2**63 - 1), max_size=RECENT_MESSAGES)


def settled(state: CustomerState, now: list[int], before: list[int]) -> CustomerState:
    """The last order is the last of the newest, and nobody ordered before they came."""
    state.ids_now, state.ids_before = vec[i64](now), vec[i64](before)
    if state.recent_orders:
        _, state.order_ms, state.order_amount, *_ = state.recent_orders[-1]
    state.first_order_ms = state.first_order_ms if state.orders else 0
    return state


SETTLED = st.builds(settled, STATE, IDS, IDS)


@given(SETTLED)
def test_a_state_comes_back_from_the_wire_as_it_was(state: CustomerState) -> None:
    wire = encode_state(state)
    assert decode_state(wire) == state
    assert encode_state(decode_state(wire)) == wire


@pytest.mark.parametrize("version", [0, STATE_VERSION + 1])
def test_an_unknown_version_is_refused(version: int) -> None:
    state = new_state(T0, inputs=2)
    state.version = version
    with pytest.raises(ValueError, match=f"version {version}, this program knows {STATE_VERSION}"):
        decode_state(encode_state(state))


@pytest.mark.parametrize(
    "wire", [b"", b"\xc1", bytes([0xC1, STATE_VERSION]), b"\x90", msgspec.msgpack.encode({"version": 1})]
)
def test_bytes_that_are_no_state_are_refused(wire: bytes) -> None:
    with pytest.raises(ValueError, match="not a customer state"):
        decode_state(wire)


# What an earlier program wrote

OLD = Path(__file__).parent / "states_v1.msgpack"
"""Ten customers of the simulated shop as version 1 of the state had them."""


@pytest.mark.parametrize("name", ["review_ms", "border_ms", "crossing_ms", "drawn border_ms"])
def test_what_is_due_next_is_read_back_from_the_field_that_it_is_of(name: str) -> None:
    state = new_state(T0, inputs=2)
    state.review_ms, state.border_ms, state.verdict.crossing_ms = T0 + 1, T0 + 2, T0 + 3
    state.verdict.border_ms = T0 + 5
    before = len(encode_state(state))
    state.verdict.due_ms = T0 + 4
    assert len(encode_state(state)) == before + 8, "a moment of its own"
    of_verdict = name in ("crossing_ms", "drawn border_ms")
    state.verdict.due_ms = getattr(state.verdict if of_verdict else state, name.removeprefix("drawn "))
    assert len(encode_state(state)) == before
    assert decode_state(encode_state(state)) == state


def test_states_of_version_1_are_read_without_what_was_not_counted_then() -> None:
    for wire in msgspec.msgpack.decode(OLD.read_bytes(), type=list[bytes]):
        old = msgspec.msgpack.decode(wire)
        state = decode_state(wire)
        assert old[0] == 1
        assert (state.version, state.questions, state.verdict.values) == (STATE_VERSION, [], b"")
        assert (state.first_ms, state.clock_ms, state.landmark_ms) == tuple(old[1:4])
        assert (state.first_order_ms, state.order_ms, state.order_amount) == tuple(old[13:16])
        assert [recent[:4] for recent in state.recent_orders] == [tuple(recent) for recent in old[19]]
        assert (state.items, state.categories, state.sessions_short, state.cart_ms) == (0, 0, 0.0, 0)
        times = [recent[1] for recent in state.recent_orders]
        assert state.gap_ms == max((b - a for a, b in pairwise(times)), default=0)
        assert state.verdict.due_ms == old[-1][-1]
        assert decode_state(encode_state(state)) == state, "and goes on as one of now"
        if state.orders:
            features(state, state.clock_ms)


def test_a_broken_state_of_version_1_is_refused() -> None:
    (wire, *_) = msgspec.msgpack.decode(OLD.read_bytes(), type=list[bytes])
    with pytest.raises(ValueError, match="not a customer state"):
        decode_state(wire[:-3])


def test_states_of_version_2_are_read_as_they_were() -> None:
    pairs = msgspec.msgpack.decode(
        (OLD.parent / "states_v2.msgpack").read_bytes(), type=list[tuple[bytes, Any]]
    )
    for wire, fields in pairs:
        state = decode_state(wire)
        verdict = fields.pop("verdict")
        assert fields.pop("version") == 2
        del fields["ids_now"], fields["ids_before"]  # hashed by another function
        packed = state.verdict.values
        assert packed[3::4] + packed[2::4] + packed[1::4] == verdict.pop("values")
        assert {name: getattr(state.verdict, name) for name in verdict} == verdict
        remembered = {name: getattr(state, name) for name in fields} | {"applied": list(state.applied)}
        assert msgspec.msgpack.decode(msgspec.msgpack.encode(remembered)) == fields
        assert decode_state(encode_state(state)) == state, "and goes on as one of now"
    assert any(fields["traits"] for _, fields in pairs)
    assert any(fields["questions"] for _, fields in pairs)


@given(SETTLED, st.sets(st.integers(31, 47)), st.integers(48, 54))
def test_numbers_and_lists_that_a_later_program_appended_are_passed_over(
    state: CustomerState, later: set[int], of_list: int
) -> None:
    wire = bytearray(encode_state(state))
    mask = int.from_bytes(wire[2:10], "little")
    numbers = 14 + 8 * (mask & (1 << 31) - 1).bit_count()
    wire[2:10] = (mask | sum(1 << bit for bit in later) | 1 << of_list).to_bytes(8, "little")
    wire[numbers:numbers] = bytes(range(8)) * len(later)
    assert decode_state(bytes(wire) + b"a list") == state
    with pytest.raises(ValueError, match="goes on behind its end"):
        decode_state(encode_state(state) + b"a list")


def test_a_state_with_a_length_below_zero_is_refused() -> None:
    state = new_state(T0, inputs=2)
    state.verdict.keep(b"abcd")
    wire = bytearray(encode_state(state))
    wire[-8:-4] = b"\xff" * 4
    with pytest.raises(ValueError, match="not a customer state"):
        decode_state(bytes(wire))


@given(SETTLED, st.data())
def test_a_state_that_ends_before_it_should_is_refused(state: CustomerState, data: st.DataObject) -> None:
    wire = encode_state(state)
    with pytest.raises(ValueError, match="customer state"):
        decode_state(wire[: data.draw(st.integers(0, len(wire) - 1))])


def test_every_field_travels() -> None:
    def remembered(kind: type) -> set[str]:
        return {name for name, of in vars(kind).items() if isdatadescriptor(of) and not name.startswith("_")}

    assert remembered(CustomerState) - {"customer_id", "timer"} == set(FIELDS)
    assert remembered(Verdict) == set(VERDICT_FIELDS)


def test_a_digest_and_a_hashed_message_id_are_the_same_in_every_process() -> None:
    assert digest("holdfast").hex() == "8fa2c9f0898ca45d"
    assert hashed("é" * 100) == 2244556663121422611
    assert digest("ä/2").hex() == "ba1da128cf913fc2"


@given(st.lists(st.floats(width=32, allow_nan=False), max_size=16))
def test_packing_keeps_32_bit_floats_to_the_last_bit(values: list[float]) -> None:
    assert unpack(pack(values)) == values
    assert len(pack(values)) == 4 * len(values)


def test_facts_hold_everything_but_what_a_model_or_a_partition_said() -> None:
    state, other = new_state(T0, inputs=2), new_state(T0, inputs=2)
    other.verdict = Verdict(risk=0.5, values=b"1234", crossing_ms=7, episode=2, episode_ms=3, due_ms=9)
    other.applied = vec[i64]([5, 6])
    state.questions = [Question(T0, True, False, b"x", 0.1, "lr-1")]
    other.questions = [Question(T0, True, False, b"x", 0.9, "lr-2")]
    assert facts(state) == facts(other)
    other.questions[0].ordered = True
    assert facts(state) != facts(other)
    others: dict[type, Any] = {int: 7, float: 7.5, bool: True, list: [7], type(None): {"plan": (7, "gold")}}
    others[type(vec[i64]())] = vec[i64]([7])
    for name in set(FIELDS) - {"verdict", "applied", "questions"}:
        changed = new_state(T0, inputs=2)
        changed.questions = state.questions
        setattr(changed, name, others[type(getattr(changed, name))])
        assert facts(changed) != facts(state), name


# Messages seen before

IDS = st.sampled_from([f"m{number}" for number in range(12)])
STEPS = st.lists(st.tuples(IDS, st.integers(0, 30 * HOUR_MS)), min_size=1, max_size=50)


@given(STEPS, st.integers(0, 3))
def test_a_repeat_within_a_day_is_found_and_news_is_never_taken_for_a_repeat(
    steps: Sequence[tuple[str, int]], quiet: int
) -> None:
    """The oracle is the set of all ids ever taken in, with their times."""
    state, now_ms = new_state(T0, inputs=2), T0
    taken: dict[str, int] = {}
    for message_id, wait_ms in steps:
        now_ms += wait_ms
        if wait_ms > 20 * HOUR_MS * quiet:
            forget_messages(state, now_ms - 1)  # a review in between
        seen = seen_message(state, message_id, now_ms)
        age_ms = now_ms - taken[message_id] if message_id in taken else None
        if age_ms is None or age_ms > 3 * DEDUPE_MS:
            assert not seen
        elif age_ms <= DEDUPE_MS:
            assert seen
        if not seen:
            taken[message_id] = now_ms


def test_a_repeat_is_found_after_as_many_others_as_are_kept_and_not_after_more() -> None:
    for others, found in ((RECENT_MESSAGES - 1, True), (RECENT_MESSAGES, False)):
        state = new_state(T0, inputs=2)
        assert not seen_message(state, "first", T0)
        for number in range(others):
            assert not seen_message(state, f"other {number}", T0 + number)
        assert seen_message(state, "first", T0 + others) is found
        assert len(state.ids_now) <= RECENT_MESSAGES


def test_a_silent_customer_keeps_no_message_ids() -> None:
    state = new_state(T0, inputs=2)
    seen_message(state, "m", T0)
    forget_messages(state, T0 + 2 * DEDUPE_MS - 1)
    assert len(state.ids_now) == 1
    forget_messages(state, T0 + 2 * DEDUPE_MS)
    assert len(state.ids_now) == len(state.ids_before) == 0


# Size


def test_a_typical_customer_with_one_open_question_takes_at_most_500_bytes() -> None:
    """Two orders, a visit of a dozen clicks a fortnight ago, silent since, one question open."""
    shop = Shop(StreamConfig(reviews=ReviewConfig(horizon_days=12.0)))
    shop.tell(order("c", 0), *(click("c", 30 + minute / 1440) for minute in range(12)), order("c", 30.1))
    shop.until(44.5)
    state = shop.machine.states["c"]
    assert len(state.questions) == 2, "of 7 and of 14 days of silence"
    state.questions.pop()
    assert len(encode_state(state)) <= 500


def test_a_shop_that_keeps_one_review_in_ten_has_states_of_500_bytes_on_average() -> None:
    shop = Shop(StreamConfig(reviews=ReviewConfig(question_share=0.1)))
    shop.apply(simulated_records(60, 120))
    assert mean(len(encode_state(state)) for state in shop.machine.states.values()) <= 500
    assert len(shop.machine.states) == 60


def test_a_question_takes_at_most_140_bytes() -> None:
    state = new_state(T0, inputs=2)
    before = len(encode_state(state))
    state.questions.append(
        Question(T0 + 7 * DAY_MS, False, False, pack([0.5] * len(FEATURE_NAMES)), 0.25, "lr-123456789")
    )
    assert len(encode_state(state)) - before <= 140
