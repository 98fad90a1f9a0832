"""Figures against brute-force oracles that follow the definition and nothing else."""

from __future__ import annotations

import itertools
from array import array
from math import log
from random import Random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.codec import utc
from schemas.decisions import SegmentChange
from streams.config import DAY_MS
from streams.evaluation.alert_tallies import AlertTallies, histogram
from streams.evaluation.bootstrap import Sample, compare
from streams.evaluation.judging import Answers, Judged, LossOverTime, measures, reliability
from streams.evaluation.lift import deciles
from streams.evaluation.migration import Migration
from streams.evaluation.waiting import Gaps, within

# Few distinct risks, so that ties occur; both borders of what is served among them.
ANSWERS = st.lists(
    st.tuples(
        st.sampled_from("abcde"), st.sampled_from([0.001, 0.05, 0.3, 0.5, 0.75, 0.999]), st.integers(0, 1)
    ),
    min_size=1,
    max_size=60,
)
Rows = list[tuple[str, float, int]]


def judged(rows: Rows) -> Judged:
    answers = Answers()
    for row in rows:
        answers.add(*row)
    return answers.judged()


def oracle(rows: Rows) -> dict[str, float | None]:
    left = [risk for _, risk, label in rows if label]
    stayed = [risk for _, risk, label in rows if not label]
    wins = sum((a > b) + 0.5 * (a == b) for a in left for b in stayed)
    gaps = [sum(r - y for _, r, y in rows if min(19, int(r * 20)) == place) for place in range(20)]
    n = len(rows)
    found: dict[str, float | None] = {
        "churn_rate": len(left) / n,
        "auc": wins / (len(left) * len(stayed)) if left and stayed else None,
        "log_loss": sum(-log(r if y else 1.0 - r) for _, r, y in rows) / n,
        "brier": sum((r - y) ** 2 for _, r, y in rows) / n,
        "ece": sum(map(abs, gaps)) / n,
    }
    caught = captured_by_hand(rows)
    found["top_decile_lift"] = caught[1] * 10 if caught else None
    found["lift_quality"] = None
    if caught and stayed:
        perfect = [min(1.0, tenth / 10 * n / len(left)) for tenth in range(11)]
        chance = [tenth / 10 for tenth in range(11)]
        found["lift_quality"] = (sum(caught) - sum(chance)) / (sum(perfect) - sum(chance))
    return found


def captured_by_hand(rows: Rows) -> list[float]:
    """Every answer is a unit of length, its leaving spread over all answers of the same risk."""
    if not any(label for *_, label in rows):
        return []
    by_risk: dict[float, list[int]] = {}
    for _, risk, label in rows:
        by_risk.setdefault(risk, []).append(label)
    line = [
        sum(by_risk[risk]) / len(by_risk[risk])
        for risk in sorted(by_risk, reverse=True)
        for _ in by_risk[risk]
    ]
    shares = []
    for tenth in range(11):
        whole, rest = divmod(tenth * len(line), 10)
        shares.append((sum(line[:whole]) + (line[whole] * rest / 10 if rest else 0.0)) / sum(line))
    return shares


@given(ANSWERS)
def test_every_measure_is_what_its_definition_gives(rows: Rows) -> None:
    expected = oracle(rows)
    found = measures(judged(rows))
    assert set(found) == set(expected)
    for name, value in expected.items():
        assert found[name] == (None if value is None else pytest.approx(value, abs=1e-9)), name


@given(ANSWERS, st.lists(st.integers(0, 3), min_size=5, max_size=5))
def test_a_customer_drawn_twice_counts_as_if_their_answers_stood_there_twice(
    rows: Rows, times: list[int]
) -> None:
    counts = dict(zip("abcde", times, strict=True))
    repeated = [row for row in rows for _ in range(counts[row[0]])]
    sample = judged(rows)
    drawn = np.array([float(counts[name]) for name in sample.customers])
    expected = oracle(repeated) if repeated else dict.fromkeys(oracle(rows))
    for name, value in measures(sample, drawn).items():
        wanted = expected[name]
        assert value == (None if wanted is None else pytest.approx(wanted, abs=1e-9)), name


@given(ANSWERS)
def test_the_reliability_curve_and_the_deciles_account_for_every_answer(rows: Rows) -> None:
    sample = judged(rows)
    bins = reliability(sample)
    assert sum(bin_.n for bin_ in bins) == len(rows)
    assert sum(bin_.n * (bin_.churn_rate or 0.0) for bin_ in bins) == pytest.approx(sum(r[2] for r in rows))
    tenths = deciles(sample)
    assert [tenth.captured for tenth in tenths] == pytest.approx(captured_by_hand(rows)[1:])


def test_log_loss_over_time_is_that_of_each_period_and_at_most_so_many() -> None:
    random, loss = Random(1), LossOverTime()
    rows = [(random.randrange(100, 150), random.uniform(0.01, 0.99), random.randrange(2)) for _ in range(300)]
    for row in rows:
        loss.add(*row)
    periods = loss.periods(7)
    assert len(periods) <= 7
    assert sum(period["n"] for period in periods) == 300
    for period in periods:
        days = range(period["first_day"], period["first_day"] + period["days"])
        own = [-log(risk if label else 1.0 - risk) for day, risk, label in rows if day in days]
        assert period["log_loss"] == pytest.approx(sum(own) / len(own))


# Alerts


def outcomes_by_hand(
    orders: list[int], raised: list[int], horizon: int, until: int
) -> tuple[int, int, list[float]]:
    right = wrong = 0
    leads = []
    for day in raised:
        if any(day < order <= day + horizon for order in orders):
            wrong += 1
        elif day + horizon <= until:
            right += 1
            before = [order for order in orders if order <= day]
            leads.append(float(max(before) + horizon - day))
    return right, wrong, leads


@given(
    st.lists(st.integers(1, 60), max_size=6, unique=True),
    st.lists(st.integers(1, 60), max_size=4, unique=True),
    st.integers(5, 30),
)
def test_alerts_are_right_wrong_or_open_as_the_orders_say(
    orders: list[int], raised: list[int], horizon: int
) -> None:
    outcomes = AlertTallies(horizon * DAY_MS)
    orders = [0, *sorted(orders)]
    events = sorted([(day, 0) for day in orders] + [(day, 1) for day in raised])
    for day, alert in events:
        if alert:
            outcomes.raised("c", day * DAY_MS, predicted_value=10.0, value_at_risk=8.0)
        else:
            outcomes.ordered("c", day * DAY_MS)
    outcomes.settle(60 * DAY_MS)
    figures = outcomes.figures(60.0)
    right, wrong, leads = outcomes_by_hand(orders, raised, horizon, 60)
    assert (figures["right"], figures["wrong"]) == (right, wrong)
    assert figures["open"] == len(raised) - right - wrong
    assert sorted(outcomes.lead_days) == sorted(leads)
    assert sum(tally.lead_days for tally in outcomes.customers.values()) == pytest.approx(sum(leads))
    assert figures["money_found"] == 10.0 * right
    assert figures["too_late"] == sum(lead < 0 for lead in leads)


@given(st.lists(st.floats(-400.0, 4_000.0), min_size=1, max_size=50), st.integers(2, 40))
def test_a_histogram_holds_every_value_in_few_bins(values: list[float], most: int) -> None:
    bars = histogram(array("d", values), most)
    assert sum(bar["n"] for bar in bars) == len(values)
    assert len(bars) <= most
    assert all(sum(bar["low"] <= value < bar["high"] for value in values) == bar["n"] for bar in bars)


def test_moves_are_counted_by_where_from_and_where_to() -> None:
    migration = Migration()
    for previous, current in ((None, "first_time"), ("first_time", "active"), ("first_time", "active")):
        change = SegmentChange(
            id="s",
            customer_id="c",
            event_time=utc(0),
            dimension="lifecycle",
            previous=previous,
            current=current,
            cause="order",
            evidence=[],
        )
        migration.take(change)
    assert migration.matrix("lifecycle") == {"new": {"first_time": 1}, "first_time": {"active": 2}}
    assert migration.matrix("rfm") == {}


# Intervals


def mean_of(values: list[float]) -> Sample:
    every = np.array(values)
    return Sample(
        tuple(f"c{place}" for place in range(len(values))),
        lambda drawn: {"mean": float(np.average(every, weights=drawn))},
    )


def test_the_interval_of_a_mean_is_that_of_the_normal_theory_and_a_shift_is_certain() -> None:
    random = Random(3)
    values = [random.gauss(5.0, 2.0) for _ in range(400)]
    base, moved = compare([mean_of(values), mean_of([v + 0.1 for v in values])], count=500, seed=1)
    half = 1.96 * float(np.std(values)) / 20.0
    low, high = base.figures["mean"].low, base.figures["mean"].high
    assert low == pytest.approx(np.mean(values) - half, abs=0.05)
    assert high == pytest.approx(np.mean(values) + half, abs=0.05)
    assert moved.differences["mean"] == pytest.approx((0.1, 0.1, 0.1))  # paired: the draws cancel
    assert base.differences["mean"] == (0.0, 0.0, 0.0)


def test_the_same_seed_gives_the_same_bytes_and_another_does_not() -> None:
    sample = mean_of([1.0, 5.0, 9.0, 2.0])
    assert compare([sample], 50, seed=1) == compare([sample], 50, seed=1) != compare([sample], 50, seed=2)


# Gaps


@given(
    st.lists(
        st.lists(st.integers(0, 100), min_size=1, max_size=5, unique=True).map(sorted), min_size=1, max_size=8
    )
)
def test_the_share_that_reordered_is_the_product_over_days_of_those_who_did_not(
    shop: list[list[int]],
) -> None:
    gaps = Gaps(min_orders=1)
    for customer, days in enumerate(shop):
        for day in days:
            gaps.order(str(customer), day * DAY_MS)
    durations = [(b - a, True) for days in shop for a, b in itertools.pairwise(days)]
    durations += [(100 - days[-1], False) for days in shop]
    silent, expected = 1.0, []
    for day in range(101):
        ended = sum(length == day and over for length, over in durations)
        if ended:
            silent *= 1.0 - ended / sum(length >= day for length, _ in durations)
            expected.append((day, 1.0 - silent))
    found = gaps.reordered(100 * DAY_MS)
    assert [day for day, _ in found] == [day for day, _ in expected]
    assert [share for _, share in found] == pytest.approx([share for _, share in expected])


def test_without_gaps_there_is_no_horizon() -> None:
    assert within([], 0.8) is None
