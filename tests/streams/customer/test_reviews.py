"""The schedule of reviews, and which of them become questions."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.config import DAY_MS, ReviewConfig
from streams.customer.reviews import becomes_question, next_review_ms
from streams.customer.state import NO_TIME
from tests.streams.build import T0


def schedule(config: ReviewConfig) -> list[float]:
    """Follow the reviews of a customer who never orders again, in days since the order."""
    days, now_ms = [], T0
    while (due_ms := next_review_ms(T0, now_ms, config)) != NO_TIME:
        assert due_ms > now_ms
        days.append((due_ms - T0) / DAY_MS)
        now_ms = due_ms
    return days


def test_reviews_are_weekly_for_twelve_weeks_then_every_thirty_days_to_a_year() -> None:
    weekly = [7.0 * week for week in range(1, 13)]
    assert schedule(ReviewConfig()) == [*weekly, *(84.0 + 30.0 * month for month in range(1, 10)), 365.0]


@pytest.mark.parametrize(
    ("config", "days"),
    [
        (ReviewConfig(weekly_reviews=0, silent_days=70.0), [30.0, 60.0, 70.0]),
        (ReviewConfig(weekly_reviews=2, silent_days=14.0), [7.0, 14.0]),
        (ReviewConfig(weekly_reviews=12, silent_days=10.5), [7.0, 10.5]),
    ],
)
def test_the_last_review_is_where_silence_ends_reviews(config: ReviewConfig, days: list[float]) -> None:
    assert schedule(config) == days


@given(st.integers(0, 500 * DAY_MS))
def test_a_look_in_between_shifts_nothing(as_of_ms: int) -> None:
    due_ms = next_review_ms(T0, T0 + as_of_ms, ReviewConfig())
    later = [day for day in schedule(ReviewConfig()) if day * DAY_MS > as_of_ms]
    assert due_ms == (T0 + round(later[0] * DAY_MS) if later else NO_TIME)


def test_a_share_of_reviews_becomes_questions() -> None:
    config = ReviewConfig(question_share=0.1)
    kept = [becomes_question(f"c{number}", T0, config) for number in range(5000)]
    assert 0.08 < sum(kept) / len(kept) < 0.12
    times = [becomes_question("c", T0 + number, config) for number in range(5000)]
    assert 0.08 < sum(times) / len(times) < 0.12


def test_the_same_questions_are_kept_in_every_process_and_others_with_another_seed() -> None:
    def kept(seed: int) -> list[int]:
        config = ReviewConfig(question_share=0.2, seed=seed)
        return [number for number in range(40) if becomes_question("c", T0 + number, config)]

    assert kept(1) == [2, 4, 6, 7, 21, 22, 23, 28, 31, 34, 38]
    assert kept(2) != kept(1)


def test_a_larger_share_keeps_the_questions_of_a_smaller_one() -> None:
    few, many = ReviewConfig(question_share=0.1), ReviewConfig(question_share=0.5)
    for number in range(300):
        if becomes_question("c", T0 + number, few):
            assert becomes_question("c", T0 + number, many)
