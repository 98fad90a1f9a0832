"""The 25 cells of recency and frequency are covered once by ten names, and their borders are exact."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.config import DAY_MS, SegmentConfig
from streams.customer.rfm import RFM_CELLS, RFM_NAMES, RfmCells
from streams.customer.state import NO_TIME
from tests.streams.build import T0

CELLS = RfmCells(SegmentConfig())

TABLE = {
    "hibernating": "11 12 21 22",
    "at_risk": "13 14 23 24",
    "cant_lose": "15 25",
    "about_to_sleep": "31 32",
    "need_attention": "33",
    "loyal": "34 35 44 45",
    "promising": "41",
    "new": "51",
    "potential_loyalists": "42 43 52 53",
    "champions": "54 55",
}
"""Recency score, then frequency score."""


def test_each_cell_has_the_name_of_the_table_and_only_that() -> None:
    cells = [(cell, name) for name, row in TABLE.items() for cell in row.split()]
    assert len(cells) == len(dict(cells)) == 25
    named = {f"{recency}{frequency}": RFM_NAMES[number] for (recency, frequency), number in RFM_CELLS.items()}
    assert named == dict(cells)
    assert sorted(RFM_NAMES) == sorted(TABLE)


@pytest.mark.parametrize(
    ("days", "score"), [(0, 5), (29.999, 5), (30, 4), (59.999, 4), (60, 3), (120, 2), (239.999, 2), (240, 1)]
)
def test_a_recency_score_ends_at_its_border(days: float, score: int) -> None:
    assert CELLS.recency_score(round(days * DAY_MS)) == score


@pytest.mark.parametrize(
    ("orders", "score"), [(1, 1), (2, 2), (3, 3), (4, 3), (5, 4), (8, 4), (9, 5), (99, 5)]
)
def test_a_frequency_score_begins_at_its_border(orders: int, score: int) -> None:
    assert CELLS.frequency_score(orders) == score


def test_a_segment_is_the_cell_of_both_scores() -> None:
    for recency, days in zip((5, 4, 3, 2, 1), (0, 30, 60, 120, 240), strict=True):
        for frequency, orders in enumerate((1, 2, 3, 5, 9), start=1):
            assert CELLS.segment(orders, days * DAY_MS) == RFM_CELLS[recency, frequency]


BORDERS = st.lists(
    st.floats(0.01, 400.0) | st.integers(1, 40).map(lambda tenths: tenths / 10),
    min_size=4,
    max_size=4,
    unique=True,
).map(sorted)


@given(BORDERS)
def test_silence_changes_the_score_at_each_border_and_nowhere_else(borders: list[float]) -> None:
    """Also where a border is a fraction of a day that no whole millisecond hits."""
    cells = RfmCells(SegmentConfig(recency_days=(borders[0], borders[1], borders[2], borders[3])))
    moments = [T0]
    while (border_ms := cells.next_border_ms(T0, moments[-1])) != NO_TIME:
        moments.append(border_ms)
    for before, border in pairwise(moments):
        score = cells.recency_score(before - T0)
        assert cells.recency_score(border - T0 - 1) == score
        assert cells.recency_score(border - T0) < score
    assert cells.recency_score(moments[-1] - T0) == 1


def test_after_the_last_border_silence_changes_nothing_more() -> None:
    assert CELLS.next_border_ms(T0, T0 + 240 * DAY_MS) == NO_TIME
