"""A threshold from a budget: what is expected is what a walk through every silence finds."""

from __future__ import annotations

from math import log1p

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.codec import utc
from schemas.learning import Example
from streams.config import DAY_MS
from streams.evaluation.budget import Peaks

REVIEWS = st.lists(
    st.tuples(
        st.sampled_from("abc"),
        st.sampled_from(["order", "timer", "timer", "timer"]),
        st.sampled_from([0.1, 0.4, 0.4004, 0.7, 0.9]),
        st.integers(0, 1),
        st.integers(1, 3),
    ),
    max_size=50,
)
FROM_DAY = 5


def example(day: int, customer: str, cause: str, risk: float, label: int, orders: int) -> Example:
    return Example(
        id=str(day),
        customer_id=customer,
        asked_at=utc(day * DAY_MS),
        matured_at=utc((day + 30) * DAY_MS),
        horizon_days=30.0,
        cause="order" if cause == "order" else "timer",
        features={"log_orders": log1p(float(orders))},
        risk=risk,
        label=label,
        model_version="lr-1",
    )


@given(REVIEWS, st.floats(0.02, 0.95))
def test_a_threshold_raises_once_in_each_silence_that_reaches_it(
    reviews: list[tuple[str, str, float, int, int]], threshold: float
) -> None:
    peaks = Peaks(min_orders=2, from_ms=FROM_DAY * DAY_MS)
    raised: list[int] = []
    alerted: set[str] = set()
    last = FROM_DAY
    for day, (customer, cause, risk, label, orders) in enumerate(reviews):
        peaks.take(example(day, customer, cause, risk, label, orders))
        if cause == "order":
            alerted.discard(customer)
        elif orders >= 2:
            last = max(last, day)
            if risk >= threshold and customer not in alerted:
                alerted.add(customer)
                raised += [label] if day >= FROM_DAY else []  # else it stood already
    found = peaks.expected(threshold)
    days = last - FROM_DAY
    assert peaks.days == days
    assert found.per_day == pytest.approx(len(raised) / days if days else 0.0)
    assert found.precision == (pytest.approx(sum(raised) / len(raised)) if raised else None)


@given(REVIEWS, st.floats(0.01, 1.0))
def test_the_threshold_keeps_to_the_budget_and_a_lower_one_does_not(
    reviews: list[tuple[str, str, float, int, int]], per_day: float
) -> None:
    peaks = Peaks(min_orders=2, from_ms=FROM_DAY * DAY_MS)
    for day, review in enumerate(reviews):
        peaks.take(example(day, *review))
    chosen = peaks.threshold(per_day)
    if chosen is None:
        every = [peaks.expected(step / 1000).per_day for step in range(1, 1000)]
        assert per_day * peaks.days < 1.0 or not any(every)
        return
    assert all(peaks.expected(step / 1000).per_day <= per_day for step in range(round(chosen * 1000), 1000))
    if chosen > 0.002:
        assert peaks.expected(chosen - 0.001).per_day > int(per_day * peaks.days) / peaks.days - 1e-12
