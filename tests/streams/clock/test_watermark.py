"""The watermark follows the newest event time at a fixed distance and never goes back."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.clock.watermark import NEVER_MS, Watermark

TIMES = st.lists(st.integers(-(10**13), 10**13), min_size=1, max_size=40)


@given(TIMES, st.integers(0, 10**6))
def test_it_never_goes_back_and_is_where_the_newest_time_puts_it(times: list[int], lateness_ms: int) -> None:
    watermark = Watermark(lateness_ms)
    for count, time_ms in enumerate(times, start=1):
        assert watermark.observe(time_ms) == watermark.at_ms == max(times[:count]) - lateness_ms - 1


@given(TIMES, st.integers(0, 10**6))
def test_a_time_as_late_as_allowed_is_still_ahead_of_it_and_one_millisecond_more_is_not(
    times: list[int], lateness_ms: int
) -> None:
    watermark = Watermark(lateness_ms)
    for time_ms in times:
        watermark.observe(time_ms)
    edge_ms = max(times) - lateness_ms
    assert edge_ms > watermark.at_ms
    assert edge_ms - 1 <= watermark.at_ms


def test_it_begins_before_every_event() -> None:
    assert Watermark(0).at_ms == NEVER_MS
    assert Watermark(0).observe(-(10**15)) > NEVER_MS


@given(st.integers(0, 1000), TIMES)
def test_it_goes_on_from_where_a_marker_says_it_stood(at_ms: int, times: list[int]) -> None:
    watermark = Watermark(10, at_ms=at_ms)
    for time_ms in times:
        watermark.observe(time_ms)
    assert watermark.at_ms == max(at_ms, max(times) - 11)


def test_a_negative_lateness_is_refused() -> None:
    with pytest.raises(ValueError, match="must not be negative"):
        Watermark(-1)
