"""Requests to erase: in order, when their turn comes, and done only when that is durable."""

from __future__ import annotations

import logging
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.erasures import Requests
from schemas.erasures import decode_request

REQUEST = {"version": 1, "requested_at": "2026-03-01T12:00:00Z"}


def record(offset: int, key: bytes | None, until: int = 0, value: bytes | None = None) -> Any:
    made = msgspec.json.encode(REQUEST | {"until": {"orders": until}})
    return SimpleNamespace(offset=offset, key=key, value=made if value is None else value)


def test_a_request_waits_until_everything_before_it_has_been_processed() -> None:
    requests = Requests(0)
    requests.arrive([record(0, b"a", until=5), record(1, b"b", until=9)])
    for done, taken in ((4, []), (5, ["a"]), (8, []), (9, ["b"])):
        assert requests.is_due(lambda until, d=done: d >= until["orders"]) == bool(taken)
        assert requests.take(lambda until, d=done: d >= until["orders"]) == taken


def test_what_was_taken_counts_as_done_only_when_it_is_durable() -> None:
    requests = Requests(3)
    requests.arrive([record(3, b"a"), record(4, b"b", until=9)])
    assert requests.take(lambda until: not until["orders"]) == ["a"]
    assert requests.offset == 3
    requests.settle()
    assert requests.offset == 4, "the next one still waits"
    assert len(requests) == 1
    assert requests.take(lambda _: True) == ["b"]
    requests.settle()
    assert requests.offset == requests.read == 5


def test_records_that_were_seen_before_are_left_out() -> None:
    requests = Requests(2)
    requests.arrive([record(1, b"done"), record(2, b"a")])
    requests.arrive([record(2, b"a"), record(3, b"b")])
    assert requests.take(lambda _: True) == ["a", "b"]


@pytest.mark.parametrize("key", [None, b"", b"\xff\xfe", b"\x00marker"])
def test_a_key_that_is_nobodys_id_erases_nobody_and_blocks_nobody(key: bytes | None) -> None:
    requests = Requests(0)
    requests.arrive([record(0, key), record(1, b"a")])
    assert requests.take(lambda _: True) == ["a"]
    requests.settle()
    assert requests.offset == 2


@pytest.mark.parametrize("value", [b"", b"nonsense", b"{}", b'{"version":2}', b"[" * 100_000])
def test_a_request_that_cannot_be_read_still_erases_its_customer_and_names_nobody_in_the_log(
    value: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    requests = Requests(0)
    with caplog.at_level(logging.DEBUG):
        requests.arrive([record(0, b"a-customer", value=value)])
    assert requests.take(lambda until: not until) == ["a-customer"]
    assert "offset 0" in caplog.text
    assert "a-customer" not in caplog.text


def test_a_request_of_another_version_is_not_guessed_at() -> None:
    value = msgspec.json.encode(REQUEST | {"version": 2, "until": {}})
    with pytest.raises(ValueError, match="version 2, this program knows 1"):
        decode_request(value)


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 20)), max_size=12), st.integers(0, 12))
def test_wherever_it_dies_every_request_is_done_at_least_once_and_in_order(
    made: list[tuple[int, int]], dies_after: int
) -> None:
    """The oracle is the list of requests; their fences rise, as the inputs do."""
    fences = sorted(fence for _, fence in made)
    log = [
        record(n, str(who).encode(), fence)
        for n, ((who, _), fence) in enumerate(zip(made, fences, strict=True))
    ]
    expected = [int(r.key) for r in log]
    requests, taken, steps = Requests(0), [], 0
    requests.arrive(log)
    done = 0
    while requests.offset < len(log):
        taken += requests.take(lambda until, d=done: d >= until["orders"])
        steps += 1
        if steps == dies_after:
            safe = requests.offset
            taken = taken[:safe]
            requests = Requests(safe)
            requests.arrive(log)
        else:
            requests.settle()
            done += 1
    assert list(map(int, taken)) == expected
