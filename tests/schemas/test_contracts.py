"""JSON Schemas say what the code does: what is valid passes, what is not fails, where one can tell."""

from __future__ import annotations

import sys
import unicodedata
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from jsonschema import Draft7Validator, Draft202012Validator

from schemas.codec import CLICK_EVENTS, EARLIEST_MS, LATEST_MS, ORDER_EVENTS, WireError, decode_event, utc
from schemas.contracts import SCHEMA_TOPICS, UNPRINTABLE, json_schema
from schemas.topics import INPUTS, TOPICS

EXAMPLES = Path(__file__).resolve().parents[2] / "schemas" / "examples"
VALIDATORS = {topic: Draft202012Validator(json_schema(topic)) for topic in SCHEMA_TOPICS}

CLOCKS = "the event time is computed from three clocks"
OFFSET = "only the offset says that the day is outside 1990 to 2100"
ARITHMETIC = "the amount that counts is computed from several fields"
BEYOND_A_SCHEMA = {
    "clickstream/bad_time--clock_skew_after_the_calendar": CLOCKS,
    "clickstream/bad_time--clock_skew_before_1990": CLOCKS,
    "clickstream/bad_time--clock_skew_before_the_calendar": CLOCKS,
    "clickstream/bad_time--year_1989": OFFSET,
    "clickstream/bad_time--year_2100": OFFSET,
    "orders/bad_amount--discount_above_products": ARITHMETIC,
    "orders/bad_amount--price_negative": ARITHMETIC,
    "orders/bad_amount--products_infinite_both_ways": ARITHMETIC,
    "orders/bad_amount--products_overflow": ARITHMETIC,
    "orders/bad_amount--quantity_absurd": ARITHMETIC,
    "orders/bad_amount--tax_above_total": ARITHMETIC,
    "orders/bad_amount--total_negative": ARITHMETIC,
}
"""Invalid examples that a JSON Schema lets pass, each with the reason.

A `.bin` file is not among them: its bytes are no JSON, or parsers differ about them, so no schema sees it.
"""


def stored(kind: str) -> list[Any]:
    return [
        pytest.param(topic, path, id=f"{topic}/{path.stem}")
        for topic in SCHEMA_TOPICS
        for path in sorted((EXAMPLES / topic / kind).glob("*.json"))
    ]


@pytest.mark.parametrize("topic", SCHEMA_TOPICS)
def test_a_schema_is_one_in_both_dialects(topic: str) -> None:
    """AsyncAPI has draft 7, the files declare 2020-12; they use only what both have."""
    Draft202012Validator.check_schema(json_schema(topic))
    Draft7Validator.check_schema(json_schema(topic))


def test_every_topic_with_json_has_one() -> None:
    named = {spec.name for spec in TOPICS if spec.role in ("input", "output")}
    assert named < set(SCHEMA_TOPICS)


@pytest.mark.parametrize(("topic", "path"), stored("valid"))
def test_a_valid_example_passes(topic: str, path: Path) -> None:
    assert list(VALIDATORS[topic].iter_errors(orjson.loads(path.read_bytes()))) == []


@pytest.mark.parametrize(("topic", "path"), stored("invalid"))
def test_an_invalid_example_fails_unless_no_schema_could_tell(topic: str, path: Path) -> None:
    passes = VALIDATORS[topic].is_valid(orjson.loads(path.read_bytes()))
    assert passes == (f"{topic}/{path.stem}" in BEYOND_A_SCHEMA)


def test_the_list_of_what_a_schema_cannot_tell_names_examples_that_are_there() -> None:
    assert BEYOND_A_SCHEMA.keys() <= {param.id for param in stored("invalid")}


@pytest.mark.parametrize("topic", [spec.name for spec in TOPICS if spec.role == "output"])
def test_every_property_of_an_output_is_needed_or_has_a_default(topic: str) -> None:
    schema = json_schema(topic)
    for part in (schema, *schema.get("$defs", {}).values()):
        for name, field in part["properties"].items():
            assert name in part["required"] or "default" in field


@pytest.mark.parametrize(("topic", "path"), [p for p in stored("valid") if p.values[0] not in INPUTS])
def test_an_output_without_one_of_its_properties_fails(topic: str, path: Path) -> None:
    content = orjson.loads(path.read_bytes())
    for name in json_schema(topic)["required"]:
        assert not VALIDATORS[topic].is_valid({k: v for k, v in content.items() if k != name})
        assert not VALIDATORS[topic].is_valid({**content, name: {"of": ["no", "such", "type"]}})


def test_the_characters_that_no_id_may_have_are_those_of_python() -> None:
    """Up to U+FFFF, but for surrogates and code points that Unicode has given no meaning yet."""
    parts = UNPRINTABLE.encode().decode("unicode-escape")
    spelt = set()
    place = 0
    while place < len(parts):
        last = parts[place + 2] if parts[place + 1 : place + 2] == "-" else parts[place]
        spelt |= set(range(ord(parts[place]), ord(last) + 1))
        place += 3 if parts[place + 1 : place + 2] == "-" else 1
    kinds = {"Cc", "Cf", "Zs", "Zl", "Zp", "Co"}
    found = {n for n in range(0x10000) if unicodedata.category(chr(n)) in kinds} - {ord(" ")}
    assert found <= spelt
    assert not any(chr(n).isprintable() for n in spelt)


# Never stricter than the code

text = st.text(st.characters(codec="utf-8"), max_size=6)
ids = st.one_of(st.none(), text, st.sampled_from(["c-1", "0", "null", "NuLL", "anonymous", " c", "c ", "é"]))
numbers = st.one_of(
    st.none(), st.floats(allow_nan=False, allow_infinity=False), st.integers(-5, 5), st.floats(-10, 2e9), text
)
moments = st.one_of(
    st.integers(EARLIEST_MS - 90_000_000, EARLIEST_MS + 90_000_000).map(utc),
    st.integers(LATEST_MS - 90_000_000, LATEST_MS + 90_000_000).map(utc),
)
offsets = st.sampled_from(["Z", "z", "+00:00", "+14:00", "-12:00", "+0530", "", "+24:00"])
times = st.one_of(
    st.none(),
    text,
    st.builds(lambda moment, offset: f"{moment:%Y-%m-%dT%H:%M:%S.%f}{offset}", moments, offsets),
    st.sampled_from(
        ["2024-02-29 10:00:00Z", "2026-01-01t00:00:00z", "2026-01-01T23:59:60Z", "0001-01-01T00:00:00Z"]
    ),
)
product = st.fixed_dictionaries({}, optional={"price": numbers, "quantity": numbers, "sku": st.none() | text})
properties = st.fixed_dictionaries(
    {},
    optional={
        "order_id": st.none() | text,
        **dict.fromkeys(("revenue", "subtotal", "total", "shipping", "tax", "discount", "price"), numbers),
        "products": st.none() | st.lists(product, max_size=2) | text,
    },
)
messages = st.fixed_dictionaries(
    {"type": st.sampled_from(["track", "track", "page", "identify", "click"])},
    optional={
        "messageId": text | st.just("m-1"),
        "userId": ids,
        "anonymousId": ids,
        "event": st.none() | text | st.sampled_from(sorted(ORDER_EVENTS | CLICK_EVENTS)),
        "timestamp": times,
        "originalTimestamp": times,
        "sentAt": times,
        "receivedAt": times,
        "properties": st.none() | properties,
    },
)


@settings(derandomize=True, deadline=None, max_examples=500)
@given(messages)
@example({"type": "page", "messageId": "m", "userId": "c", "timestamp": "2100-01-01T04:00:00+05:00"})
@example({"type": "page", "messageId": "m", "userId": "c", "timestamp": "1989-12-31T23:00:00-05:00"})
@example({"type": "page", "messageId": "m", "userId": "\U0001f600", "timestamp": "2000-01-01T00:00:00Z"})
def test_what_the_code_takes_passes(message: dict[str, Any]) -> None:
    try:
        decode_event(orjson.dumps(message))
    except WireError:
        return
    assert list(VALIDATORS["clickstream"].iter_errors(message)) == []


@pytest.mark.parametrize("path", [p.values[1] for p in stored("valid") if p.values[0] in INPUTS])
def test_an_example_with_any_field_spoilt_passes_where_the_code_takes_it(path: Path) -> None:
    """The oracle is the code: whatever it takes, the schema takes."""
    message = orjson.loads(path.read_bytes())
    taken = 0
    for spoilt in _spoilt(message):
        try:
            decode_event(orjson.dumps(spoilt))
        except WireError:
            continue
        taken += 1
        assert VALIDATORS["orders"].is_valid(spoilt), spoilt
    assert taken


def _spoilt(message: dict[str, Any], depth: int = 0) -> Any:
    for name, value in message.items():
        yield {key: kept for key, kept in message.items() if key != name}
        for other in (None, "", "x", -1, 0.5, True, [], {}, sys.maxsize):
            yield {**message, name: other}
        if isinstance(value, dict) and depth < 2:
            for inner in _spoilt(value, depth + 1):
                yield {**message, name: inner}
