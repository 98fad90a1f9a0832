"""The codec against bytes that wish it ill: one way out, no leaks, and nothing gets in that hurts later."""

from __future__ import annotations

import json
import re
import traceback
import unicodedata
from collections.abc import Callable, Iterator
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.codec import (
    EARLIEST_MS,
    LATEST_MS,
    MAX_AMOUNT,
    MAX_ID_LENGTH,
    WIRE_REASONS,
    WireError,
    check_customer_id,
    decode_event,
)
from schemas.events import Anonymous, Cancellation, Event, Order, Refund
from schemas.topics import INPUTS

EXAMPLES = Path(__file__).resolve().parents[2] / "schemas" / "examples"
VALID = [path for topic in INPUTS for path in sorted((EXAMPLES / topic / "valid").iterdir())]
COMPACT = [json.dumps(json.loads(path.read_bytes()), separators=(",", ":")).encode() for path in VALID]

SEEDED = settings(derandomize=True, deadline=None, max_examples=200)

PLACEHOLDERS = [
    *("-1", "null", "none", "nil", "undefined", "nan", "anonymous", "unknown", "guest", "true", "false"),
    *("n/a", "na", "[object object]"),
]

# Lone surrogates are what `json` writes and UTF-8 cannot.
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(), max_size=10),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


def places_in(value: Any, path: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """Every place in a JSON value, outermost first."""
    yield path
    if isinstance(value, dict):
        for key in value:
            yield from places_in(value[key], (*path, key))
    elif isinstance(value, list):
        for number in range(len(value)):
            yield from places_in(value[number], (*path, number))


def with_value(message: Any, path: tuple[str | int, ...], value: Any) -> Any:
    """The message with another value in one place."""
    if not path:
        return value
    step, rest = path[0], path[1:]
    if isinstance(message, list):
        return [with_value(v, rest, value) if n == step else v for n, v in enumerate(message)]
    return {k: with_value(v, rest, value) if k == step else v for k, v in message.items()}


def assert_can_do_no_harm(event: Event) -> None:
    """What every event promises to whoever takes it further."""
    assert EARLIEST_MS <= event.time_ms < LATEST_MS
    assert 1 <= len(event.message_id.encode()) <= 400
    if isinstance(event, Anonymous):
        assert event.customer_id == ""
    else:
        # It becomes a Kafka key and a line of a log.
        assert event.customer_id.encode().decode() == event.customer_id
        assert 1 <= len(event.customer_id) <= MAX_ID_LENGTH
        assert event.customer_id.isprintable()
    if isinstance(event, Order | Refund | Cancellation):
        assert 1 <= len(event.order_id) <= MAX_ID_LENGTH
        assert event.order_id.encode()
    if isinstance(event, Order):
        assert 0.0 <= event.amount <= MAX_AMOUNT
        assert 0.0 <= event.discount <= MAX_AMOUNT
    if isinstance(event, Refund) and event.amount is not None:
        assert 0.0 <= event.amount <= MAX_AMOUNT


def assert_one_way_out(value: bytes) -> WireError | None:
    """Decode: either an event that can do no harm, or a refusal; anything else fails the test."""
    refusal = None
    try:
        assert_can_do_no_harm(decode_event(value))
    except WireError as error:
        refusal = error
    if refusal is not None:
        assert refusal.reason in WIRE_REASONS
        assert str(refusal) == f"{refusal.reason}: {refusal.detail}"
        assert 0 < len(refusal.detail) < 200
    return refusal


# Any bytes.


@SEEDED
@given(st.binary(max_size=300))
def test_arbitrary_bytes_are_refused_or_harmless(value: bytes) -> None:
    assert_one_way_out(value)


@SEEDED
@given(st.text(alphabet='{}[]":,\\u0d8eE+-. \n"typemsagIdvnr', max_size=80))
def test_arbitrary_json_like_text_is_refused_or_harmless(text: str) -> None:
    assert_one_way_out(text.encode())


@SEEDED
@given(json_values)
def test_arbitrary_json_is_refused_or_harmless(value: Any) -> None:
    assert_one_way_out(json.dumps(value).encode())


@SEEDED
@given(st.data())
def test_a_valid_message_with_broken_bytes_is_refused_or_harmless(data: st.DataObject) -> None:
    """Bytes are dropped, replaced and inserted, up to four times."""
    value = bytearray(data.draw(st.sampled_from(COMPACT)))
    for _ in range(data.draw(st.integers(1, 4))):
        start = data.draw(st.integers(0, len(value)))
        end = min(len(value), start + data.draw(st.integers(0, 8)))
        value[start:end] = data.draw(st.binary(max_size=8))
    assert_one_way_out(bytes(value))


@pytest.mark.parametrize("value", [COMPACT[0], max(COMPACT, key=len)], ids=["first", "longest"])
def test_a_message_cut_anywhere_is_refused(value: bytes) -> None:
    reasons = set()
    for end in range(len(value)):
        error = assert_one_way_out(value[:end])
        assert error is not None
        reasons.add(error.reason)
    assert reasons == {"not_json"}


@SEEDED
@given(st.data())
def test_a_valid_message_with_any_json_in_some_fields_is_refused_or_harmless(data: st.DataObject) -> None:
    message = json.loads(data.draw(st.sampled_from(COMPACT)))
    for _ in range(data.draw(st.integers(1, 3))):
        path = data.draw(st.sampled_from(list(places_in(message))))
        message = with_value(message, path, data.draw(json_values))
    assert_one_way_out(json.dumps(message).encode())


# Ids that become keys.

HALVES = ["\\ud800", "\\udbff", "\\udc00", "\\udfff", "\\u0041", "a", ""]


@pytest.mark.parametrize("field", ["userId", "messageId", "order_id"])
def test_an_id_that_survives_is_utf8_whatever_surrogates_it_was_made_of(field: str) -> None:
    order = {"userId": "c", "messageId": "m", "type": "track", "event": "Order Completed"}
    order["timestamp"] = "2025-01-01T00:00:00Z"
    survived = 0
    for halves in product(HALVES, repeat=3):
        properties = {"order_id": "o", "revenue": 1.0}
        (properties if field in properties else order)[field] = "@"
        value = json.dumps({**order, "properties": properties}).replace("@", "".join(halves))
        survived += assert_one_way_out(value.encode()) is None
    assert 0 < survived < len(HALVES) ** 3


def refused(customer_id: str) -> bool:
    try:
        check_customer_id(customer_id)
    except WireError as error:
        return error.reason == "bad_id"
    return False


def is_nobodys(customer_id: str) -> bool:
    unprintable = any(unicodedata.category(sign)[0] in "CZ" and sign != " " for sign in customer_id)
    return (
        len(customer_id) > MAX_ID_LENGTH
        or unprintable
        or customer_id[:1] == " "
        or customer_id[-1:] == " "
        or re.fullmatch("[0-]*", customer_id) is not None
        or customer_id.lower() in PLACEHOLDERS
    )


@SEEDED
@given(
    st.text(st.characters())
    | st.text("0- a")
    | st.sampled_from(PLACEHOLDERS)
    | st.text("ab", min_size=127, max_size=130)
)
def test_an_id_is_refused_when_no_single_customer_has_it(customer_id: str) -> None:
    assert refused(customer_id) == is_nobodys(customer_id)


@pytest.mark.parametrize("placeholder", PLACEHOLDERS)
def test_a_placeholder_is_refused_in_any_case_and_every_time(placeholder: str) -> None:
    spellings = [placeholder, placeholder.upper(), placeholder.title(), placeholder]
    assert [refused(spelling) for spelling in spellings] == [True] * 4


# What a refusal tells.

SHAPES: list[Callable[[str], Any]] = [
    lambda token: token,
    lambda token: [token],
    lambda token: {token: token},
    lambda token: {"id": {token: [token]}},
]


def refusals_with(token: str, message: Any) -> Iterator[WireError]:
    """Put the token into every place of a message, in several shapes, and give what is refused."""
    for path in places_in(message):
        for shape in SHAPES:
            value = json.dumps(with_value(message, path, shape(token))).encode()
            for broken in (value, value[:-1], value + b"]", value.replace(b"\\u", b"\\x")):
                error = assert_one_way_out(broken)
                if error is not None:
                    yield error


@settings(SEEDED, max_examples=15)
@given(st.sampled_from(COMPACT), st.uuids(), st.sampled_from(["", "'", '"', "`", "\\", "\n", "é", "0"]))
def test_a_refusal_never_repeats_what_the_customer_sent(value: bytes, token: Any, quote: str) -> None:
    refusals = list(refusals_with(quote + token.hex + quote, json.loads(value)))
    assert len(refusals) > 20
    for error in refusals:
        assert token.hex not in "".join(traceback.format_exception(error))


@pytest.mark.parametrize(
    "said", ["missing required field", "RFC3339", "timezone", "datetime", "'value'", 'value "x"', "a'b\"c"]
)
def test_what_the_customer_sent_does_not_choose_the_reason(said: str) -> None:
    message = {"type": said, "messageId": "m", "userId": "c", "timestamp": "2025-01-01T00:00:00Z"}
    error = assert_one_way_out(json.dumps(message).encode())
    assert error is not None
    assert error.reason == "wrong_type"
    assert said not in error.detail


def test_a_refusal_says_where() -> None:
    message = {"type": "page", "messageId": "m", "userId": 5, "timestamp": "2025-01-01T00:00:00Z"}
    error = assert_one_way_out(json.dumps(message).encode())
    assert error is not None
    assert "userId" in error.detail
