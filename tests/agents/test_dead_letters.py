"""Dead letters: as they came, with their origin; never larger than a broker takes."""

from __future__ import annotations

from types import SimpleNamespace

from agents.dead_letters import MOST_BYTES, dead_letter
from schemas.codec import WireError


def letter_of(value: bytes | None) -> tuple[bytes | None, bytes | None, dict[str, bytes]]:
    record = SimpleNamespace(offset=42, key=b"c1", value=value, headers=(("trace", b"t"),))
    key, kept, headers = dead_letter(record, WireError("too_large", "too many bytes"), "orders", 3)
    return key, kept, dict(headers)


def test_key_value_and_headers_are_untouched_and_the_origin_is_named() -> None:
    key, value, headers = letter_of(b"\xff not json")
    assert (key, value, headers["trace"]) == (b"c1", b"\xff not json", b"t")
    assert headers["__connect.errors.topic"] == b"orders"
    assert headers["__connect.errors.partition"] == b"3"
    assert headers["__connect.errors.offset"] == b"42"
    assert headers["holdfast.reason"] == b"too_large"
    assert "holdfast.original.bytes" not in headers
    assert letter_of(None)[1] is None


def test_a_message_that_no_broker_would_take_back_is_cut_and_says_so() -> None:
    _, value, headers = letter_of(b"x" * (MOST_BYTES + 1))
    assert value == b"x" * MOST_BYTES
    assert headers["holdfast.original.bytes"] == str(MOST_BYTES + 1).encode()
