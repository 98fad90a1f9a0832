"""The examples are the contract: each file under schemas/examples is read, and means what its name says.

An input is named after what it becomes, `order--free.json`, or after why it is refused,
`bad_id--placeholder_null.json`. A `.bin` file holds bytes that a JSON parser may refuse.
"""

from __future__ import annotations

from math import exp
from pathlib import Path
from typing import Any

import msgspec
import orjson
import pytest

from schemas import decisions, learning
from schemas.codec import (
    CLICK_EVENTS,
    MAX_MESSAGE_BYTES,
    ORDER_EVENTS,
    WIRE_REASONS,
    WireError,
    decode_event,
    encode,
)
from schemas.topics import CLICKSTREAM, INPUTS, ORDERS, TOPIC_BY_NAME, TOPICS

EXAMPLES = Path(__file__).resolve().parents[2] / "schemas" / "examples"
OUTPUTS = [spec.name for spec in TOPICS if spec.schema is not None]

# Two reasons are no matter of a message's own bytes: its size is generated below, and only the
# broker's timestamp can tell that an event time lies in the future.
REASONS_WITH_EXAMPLES = set(WIRE_REASONS) - {"too_large", "future_time"}

MINIMAL = b'{"type":"page","messageId":"m","userId":"c","timestamp":"2025-11-28T10:15:00Z","context":%s}'


def examples(topics: tuple[str, ...] | list[str], kind: str) -> list[Path]:
    return [path for topic in topics for path in sorted((EXAMPLES / topic / kind).iterdir())]


def name_of(path: Path) -> str:
    return f"{path.parent.parent.name}/{path.name}"


def said_by(path: Path) -> str:
    """What the file's name says about it, before the two hyphens."""
    return path.name.split("--")[0]


def message(path: Path) -> dict[str, Any]:
    content: dict[str, Any] = orjson.loads(path.read_bytes())
    return content


@pytest.mark.parametrize("path", examples(INPUTS, "valid"), ids=name_of)
def test_a_valid_input_becomes_the_event_of_its_name(path: Path) -> None:
    assert type(decode_event(path.read_bytes())).__name__.lower() == said_by(path)


@pytest.mark.parametrize("path", examples(INPUTS, "invalid"), ids=name_of)
def test_an_invalid_input_is_refused_for_the_reason_of_its_name(path: Path) -> None:
    with pytest.raises(WireError) as refused:
        decode_event(path.read_bytes())
    assert refused.value.reason == said_by(path)


@pytest.mark.parametrize("path", examples(INPUTS, "valid"), ids=name_of)
def test_a_valid_input_lies_on_the_topic_of_its_event(path: Path) -> None:
    content = message(path)
    on_orders = content["type"] == "track" and content.get("event") in ORDER_EVENTS
    assert path.parent.parent.name == (ORDERS if on_orders else CLICKSTREAM)


@pytest.mark.parametrize("path", examples(INPUTS, "valid"), ids=name_of)
def test_blanks_between_the_values_mean_nothing(path: Path) -> None:
    compact = orjson.dumps(orjson.loads(path.read_bytes()))
    assert decode_event(compact) == decode_event(path.read_bytes())


@pytest.mark.parametrize("event", sorted(ORDER_EVENTS | CLICK_EVENTS))
def test_every_event_with_a_meaning_has_a_valid_example(event: str) -> None:
    tracks = [message(path) for path in examples(INPUTS, "valid")]
    assert event in {track.get("event") for track in tracks if track["type"] == "track"}


@pytest.mark.parametrize("kind", ["track", "page", "screen", "identify", "group", "alias"])
def test_every_type_of_message_has_a_valid_example(kind: str) -> None:
    assert kind in {message(path)["type"] for path in examples(INPUTS, "valid")}


def test_the_reasons_with_examples_are_all_reasons_but_two() -> None:
    assert {said_by(path) for path in examples(INPUTS, "invalid")} == REASONS_WITH_EXAMPLES


def test_the_examples_of_bad_input_are_many_and_on_both_inputs() -> None:
    assert all(len(examples([topic], "invalid")) >= 40 for topic in INPUTS)


def test_no_two_examples_of_bad_input_are_the_same() -> None:
    for topic in INPUTS:
        contents = [path.read_bytes() for path in examples([topic], "invalid")]
        assert len(set(contents)) == len(contents)


def is_json(value: bytes) -> bool:
    try:
        orjson.loads(value)
    except orjson.JSONDecodeError:
        return False
    return True


def test_a_file_is_called_json_when_it_is() -> None:
    for path in examples(INPUTS, "invalid"):
        assert path.suffix == (".json" if is_json(path.read_bytes()) else ".bin"), path


@pytest.mark.parametrize("depth", [1_000, 10_000, 100_000])
@pytest.mark.parametrize(("opening", "closing"), [(b"[", b"]"), (b'{"a":', b"}")])
@pytest.mark.parametrize("inside", ["context", "properties"])
def test_deep_nesting_is_refused_or_read_and_nothing_else_happens(
    depth: int, opening: bytes, closing: bytes, inside: str
) -> None:
    """How much is too deep is for the interpreter to say; a hundred thousand always is."""
    nested = opening * depth + b"1" + closing * depth
    value = MINIMAL.replace(b"context", inside.encode()) % nested
    try:
        became = type(decode_event(value, max_bytes=len(value))).__name__
    except WireError as error:
        became = error.reason
    assert became in ({"Click", "not_json"} if depth < 100_000 else {"not_json"})


@pytest.mark.parametrize("opening", [b"[", b'{"a":', b'{"context":', b'{"properties":'])
def test_deep_nesting_without_an_end_is_refused(opening: bytes) -> None:
    with pytest.raises(WireError):
        decode_event(opening * 100_000, max_bytes=len(opening) * 100_000)


def test_a_message_of_the_largest_size_is_read() -> None:
    room = MAX_MESSAGE_BYTES - len(MINIMAL % b'""')
    value = MINIMAL % (b'"' + b"x" * room + b'"')
    assert len(value) == MAX_MESSAGE_BYTES
    assert decode_event(value).customer_id == "c"


def test_a_message_of_one_byte_more_is_refused() -> None:
    room = MAX_MESSAGE_BYTES - len(MINIMAL % b'""') + 1
    with pytest.raises(WireError) as refused:
        decode_event(MINIMAL % (b'"' + b"x" * room + b'"'))
    assert refused.value.reason == "too_large"


def test_the_limit_of_size_comes_before_any_reading() -> None:
    with pytest.raises(WireError) as refused:
        decode_event(b"\xff" * 11, max_bytes=10)
    assert refused.value.reason == "too_large"


def test_a_record_without_a_value_is_refused() -> None:
    with pytest.raises(WireError) as refused:
        decode_event(None)
    assert refused.value.reason == "missing"


@pytest.mark.parametrize("topic", [*INPUTS, *OUTPUTS])
def test_every_topic_with_a_schema_has_a_valid_example(topic: str) -> None:
    assert examples([topic], "valid")


def test_no_folder_of_examples_belongs_to_no_topic() -> None:
    assert {path.name for path in EXAMPLES.iterdir()} == {*INPUTS, *OUTPUTS}


@pytest.mark.parametrize("path", examples(OUTPUTS, "valid"), ids=name_of)
def test_an_output_is_the_same_after_reading_and_writing(path: Path) -> None:
    """Keys that the type does not know would be lost, and keys that it misses would appear."""
    schema = TOPIC_BY_NAME[path.parent.parent.name].schema
    assert schema is not None
    value = msgspec.json.decode(path.read_bytes(), type=schema, strict=True)
    assert list(orjson.loads(encode(value))) == list(orjson.loads(path.read_bytes()))
    assert orjson.loads(encode(value)) == orjson.loads(path.read_bytes())


def read_all(schema: type[Any]) -> list[Any]:
    (topic,) = (spec.name for spec in TOPICS if spec.schema is schema)
    return [msgspec.json.decode(path.read_bytes(), type=schema) for path in examples([topic], "valid")]


def test_the_outputs_show_every_state_cause_and_dimension() -> None:
    alerts, changes = read_all(decisions.ChurnAlert), read_all(decisions.SegmentChange)
    asked = {(example.cause, example.label) for example in read_all(learning.Example)}
    assert {alert.state for alert in alerts} == {"raised", "escalated", "resolved"}
    assert {alert.cause for alert in alerts} == {"risk", "ordered", "risk_fell", "lapsed"}
    assert {change.dimension for change in changes} == {"rfm", "lifecycle"}
    assert asked == {("order", 0), ("order", 1), ("timer", 0), ("timer", 1)}


def test_a_score_can_be_recomputed_from_its_features_and_its_model() -> None:
    models = {model.model_version: model for model in read_all(learning.ModelSnapshot)}
    scores = read_all(decisions.CustomerScore)
    assert scores
    for score in scores:
        model = models[score.model_version]
        log_odds = model.intercept
        for value, centre, coefficient in zip(score.features, model.centre, model.coefficient, strict=True):
            log_odds += coefficient * (value - centre)
        assert 1.0 / (1.0 + exp(-log_odds)) == score.risk


def test_an_alert_names_at_most_four_families_the_heaviest_first() -> None:
    for alert in read_all(decisions.ChurnAlert):
        shares = [abs(reason.contribution) for reason in alert.reasons]
        assert shares == sorted(shares, reverse=True)
        assert len({reason.family for reason in alert.reasons}) == len(shares) <= 4
        assert alert.value_at_risk == alert.risk * alert.predicted_value
