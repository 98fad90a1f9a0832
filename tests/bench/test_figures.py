"""What the benches compute from what they measured."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.figures import Sample, percentile, steady, table

VALUES = st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=60)


@given(VALUES, st.integers(0, 1000))
def test_a_percentile_is_the_smallest_value_with_that_share_at_or_below_it(
    values: list[float], per_mille: int
) -> None:
    found = percentile(values, per_mille / 1000)
    assert found in values
    assert 1000 * sum(value <= found for value in values) >= per_mille * len(values)
    smaller = [value for value in values if value < found]
    if smaller:
        assert 1000 * len(smaller) < per_mille * len(values)


def test_the_last_percentile_is_the_largest_value() -> None:
    assert percentile([3.0, 1.0, 2.0], 1.0) == 3.0


@pytest.mark.parametrize(("values", "share"), [([], 0.5), ([1.0], 1.5), ([1.0], math.nan)])
def test_a_percentile_of_nothing_or_beyond_one_is_refused(values: list[float], share: float) -> None:
    with pytest.raises(ValueError, match="percentile"):
        percentile(values, share)


def test_start_and_end_of_a_run_are_outside_its_rate() -> None:
    looks = [Sample(0, 0, 0), Sample(9, 5, 0), Sample(10, 6, 50), Sample(12, 8, 450), Sample(20, 9, 500)]
    rate = steady(looks, events=500)
    assert (rate.per_second, rate.cpu_micros) == (200.0, 5000.0)


def test_a_run_that_was_too_short_gives_no_rate() -> None:
    with pytest.raises(ValueError, match="too short"):
        steady([Sample(0, 0, 0), Sample(1, 1, 5), Sample(2, 2, 10)], events=10)


def test_columns_of_a_table_stand_under_their_heads() -> None:
    lines = table(("a", "b"), [("long name", "1"), ("x", "1,000")]).splitlines()
    assert lines == ["a              b", "long name      1", "x          1,000"]
