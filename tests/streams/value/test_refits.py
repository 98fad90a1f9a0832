"""What the learner's examples teach about a shop: the same in any order, bounded, and resumable anywhere."""

from __future__ import annotations

import random
from datetime import timedelta
from functools import cache
from math import log1p

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.codec import utc
from schemas.learning import Example
from streams.config import DAY_MS
from streams.value.customers_sample import CustomersSample, History
from streams.value.fitting import fit
from streams.value.refits import Refits, RefitsState
from streams.value.triples import triples_of

START_MS = 1_700_000_000_000
HORIZON = 30.0


def example(customer: str, first_day: float, days: list[float], asked_day: float, label: int = 1) -> Example:
    """A question about a customer whose orders came on these days after the first one."""
    asked_at = utc(START_MS + int(asked_day * DAY_MS))
    recency = max([0.0, *days])
    features = {
        "log_tenure": log1p(asked_day - first_day),
        "log_recency": log1p(recency),
        "log_orders": log1p(len(days) + 1),
        "log_order_value": log1p(20.0 + len(days)),
    }
    return Example(
        id=f"{customer}/{asked_day}",
        customer_id=customer,
        asked_at=asked_at,
        matured_at=asked_at + timedelta(days=HORIZON),
        horizon_days=HORIZON,
        cause="timer",
        features={name: float(np.float32(value)) for name, value in features.items()},
        risk=0.5,
        label=label,
        model_version="m",
    )


@cache
def shop(customers: int, days: int, seed: int = 5) -> tuple[list[Example], dict[str, list[float]]]:
    """Lives drawn from BG/NBD, reviewed at each order and weekly; examples as they mature, and all orders."""
    rng = np.random.default_rng(seed)
    examples, lives = [], {}
    for number in range(customers):
        customer, first = f"c{number}", float(rng.uniform(0, days / 3))
        rate, leaves = rng.gamma(0.8, 1 / 15.0), rng.beta(1.0, 3.0)
        orders = [first]
        while True:
            at = orders[-1] + float(rng.exponential(1 / rate))
            if at > days:
                break
            orders.append(at)
            if rng.random() < leaves:
                break
        lives[customer] = orders
        reviews = sorted({*orders, *(first + 7.0 * week for week in range(1, days // 7))})
        for asked in reviews:
            before = [order - first for order in orders[1:] if order <= asked]
            again = any(asked < order <= asked + HORIZON for order in orders)
            if asked + HORIZON <= days:
                examples.append(example(customer, first, before, asked, int(not again)))
    return sorted(examples, key=lambda one: (one.matured_at, one.id)), lives


def refits(size: int = 1000, every_review_asks: bool = True) -> Refits:
    return Refits(size, 1, every_days=28.0, horizon_days=HORIZON, every_review_asks=every_review_asks)


def test_histories_are_those_of_the_orders_up_to_a_horizon_ago() -> None:
    """The slow way: count each customer's own orders."""
    examples, lives = shop(60, 150)
    sample = CustomersSample(1000, seed=1)
    for one in examples:
        sample.add(one)
    until = 150.0 - HORIZON
    expected = []
    for orders in lives.values():
        before = [order for order in orders if order <= until]
        if before:
            expected.append((len(before) - 1.0, before[-1] - before[0], until - before[0]))
    found = sample.triples(START_MS + int(until * DAY_MS))
    assert found is not None
    slow = triples_of(expected)
    assert found.n == slow.n
    order = np.lexsort((np.round(found.T, 2), found.x))
    slow_order = np.lexsort((np.round(slow.T, 2), slow.x))
    assert found.x[order].tolist() == slow.x[slow_order].tolist()
    # Features are 32-bit floats: a few seconds are lost.
    assert found.T[order] == pytest.approx(slow.T[slow_order], abs=2e-4)
    assert found.t_x[order] == pytest.approx(slow.t_x[slow_order], abs=2e-4)


def test_the_fit_of_the_stream_is_the_fit_of_the_orders() -> None:
    examples, lives = shop(800, 250)
    learner = refits(10_000)
    fits = sum(learner.learn(one) for one in examples)
    assert fits >= 4
    # The newest fit saw what was known when the last interval of 28 days began.
    latest = max(one.matured_at for one in examples)
    newest = (latest - utc(0)) // timedelta(days=28) * timedelta(days=28)
    seen = [one.matured_at for one in examples if one.matured_at - utc(0) < newest]
    until = (max(seen) - utc(START_MS)) / timedelta(days=1) - HORIZON
    histories = []
    for orders in lives.values():
        before = [order for order in orders if order <= until]
        if before:
            histories.append((len(before) - 1.0, before[-1] - before[0], until - before[0]))
    slow = fit("bgnbd", triples_of(histories)).params
    fast = learner.fitted.params("bgnbd")
    assert fast is not None
    numbers, slow_numbers = ((one.r, one.alpha, one.a, one.b) for one in (fast, slow))
    assert numbers == pytest.approx(slow_numbers, rel=0.01)
    assert learner.fitted.spend is not None


@given(st.randoms(use_true_random=False), st.integers(1, 12))
def test_a_sample_is_the_same_in_any_order_and_however_often_told(mixed: random.Random, size: int) -> None:
    told = [
        (f"c{number}", History(1_000_000 + asked, repeats, 0, 10 * repeats, 9.5))
        for number in range(10)
        for asked, repeats in ((1, 0), (5, 2), (5, 3), (9, 3))
    ]
    straight = CustomersSample(size, seed=3)
    for customer, history in told:
        straight.put(customer, history)
    shuffled = CustomersSample(size, seed=3)
    again = told + mixed.sample(told, 10)
    mixed.shuffle(again)
    for customer, history in again:
        shuffled.put(customer, history)
    assert len(straight) == min(size, 10)
    assert shuffled.state() == straight.state()
    assert CustomersSample.restore(size, 3, straight.state()).state() == straight.state()


def test_every_customer_has_the_same_chance_and_another_seed_picks_others() -> None:
    picked = []
    for seed in range(200):
        sample = CustomersSample(5, seed)
        for number in range(20):
            sample.put(f"c{number}", History(1_000, number, 0, 0, 1.0))
        triples = sample.triples(2_000_000)
        assert triples is not None
        picked.extend(triples.x.astype(int).tolist())
    counts = np.bincount(picked, minlength=20)
    assert counts.sum() == 1000
    assert 25 < counts.min() <= counts.max() < 80  # 50 each, give or take six


def test_it_is_known_beforehand_which_example_makes_a_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    examples, _ = shop(300, 130)
    fits: list[int] = []
    monkeypatch.setattr(Refits, "_fit", lambda _self: fits.append(1) or True)
    learner = refits(250)
    announced = 0
    for one in examples:
        announced += learner.begins_interval(one)
        learner.learn(one)
        assert len(fits) == announced
    assert announced > 2


def test_stopping_anywhere_and_going_on_changes_nothing() -> None:
    examples, _ = shop(300, 130)
    straight = refits(250)
    for one in examples:
        straight.learn(one)
    assert straight.fitted.params("mbgnbd") is not None
    for cut in (0, 1, 1_000, 2_500):
        first = refits(250)
        for one in examples[:cut]:
            first.learn(one)
        wire = msgspec.msgpack.encode(first.state())
        second = refits(250)
        second.restore(msgspec.msgpack.decode(wire, type=RefitsState))
        for one in examples[cut:]:
            second.learn(one)
        assert msgspec.msgpack.encode(second.state()) == msgspec.msgpack.encode(straight.state())


def test_there_is_no_fit_before_there_are_enough_customers() -> None:
    examples, _ = shop(150, 160)
    learner = refits()
    assert not any(learner.learn(one) for one in examples)
    assert learner.fitted.params("bgnbd") is None


def test_where_only_a_share_is_asked_a_history_ends_with_its_last_question() -> None:
    sample = CustomersSample(9, seed=1)
    sample.add(example("c1", 0.0, [10.0], asked_day=17.0))
    asked = sample.triples(None)
    known = sample.triples(START_MS + 40 * DAY_MS)
    assert asked is not None
    assert known is not None
    assert asked.T.tolist() == pytest.approx([17.0], abs=1e-4)
    assert known.T.tolist() == pytest.approx([40.0], abs=1e-4)


def test_whoever_is_forgotten_is_gone_and_the_others_stay() -> None:
    sample = CustomersSample(4, seed=1)
    for number in range(4):
        sample.put(f"c{number}", History(1_000, number, 0, 0, 1.0))
    sample.forget("c2")
    sample.forget("c9")
    left = CustomersSample(4, seed=1)
    for number in (0, 1, 3):
        left.put(f"c{number}", History(1_000, number, 0, 0, 1.0))
    assert sample.state() == left.state()
    for number in range(4, 30):  # the heap is still in order
        sample.put(f"c{number}", History(1_000, number, 0, 0, 1.0))
        left.put(f"c{number}", History(1_000, number, 0, 0, 1.0))
    assert sample.state() == left.state()


def test_an_example_without_the_features_that_tell_a_history_is_let_go_by() -> None:
    sample = CustomersSample(4, seed=1)
    whole = example("c1", 0.0, [], 5.0)
    sample.add(msgspec.structs.replace(whole, features={"log_views": 1.0}))
    sample.add(msgspec.structs.replace(whole, features={**whole.features, "log_orders": 0.0}))
    assert len(sample) == 0
