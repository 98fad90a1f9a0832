"""Learned borders: quintiles of the crowd, the same in any order, and still while the crowd is."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from random import Random

import pytest
from datasketches import kll_doubles_sketch
from hypothesis import given
from hypothesis import strategies as st

from schemas.segments import Borders, SegmentModel
from streams.config import DAY_MS, SegmentConfig
from streams.segments.borders import ENOUGH_CUSTOMERS, SKETCH_K, Crowd, rank_error
from streams.segments.serving import cells_of

DAY_S = 86_400
NOW_S = 1_700_000_000

Customers = list[tuple[int, int]]


def drawn(seed: int, number: int, once: float = 0.6, whole_days: bool = False) -> Customers:
    """Last orders up to two years ago and numbers of orders, `once` of them one."""
    rng = Random(seed)
    customers = []
    for _ in range(number):
        silence = rng.expovariate(1 / 90.0) % 730.0
        orders = 1 if rng.random() < once else 2 + min(200, int(rng.expovariate(0.3)))
        customers.append((NOW_S - int((int(silence) if whole_days else silence) * DAY_S), orders))
    return customers


def borders_of(customers: Sequence[tuple[int, int]], before: Borders | None = None) -> Borders:
    borders = Crowd(customers).borders(NOW_S, before)
    assert borders is not None
    return borders


def naive_borders(customers: Customers) -> tuple[list[float], list[int]]:
    """Quintiles by counting: the slow oracle."""
    number = len(customers)
    days: list[float] = []
    silences = sorted((NOW_S - last_s) / DAY_S for last_s, _ in customers)
    for score in (1, 2, 3, 4):
        # The smallest border with so many customers at it or beyond, counted from the longest silent.
        wanted = next(
            s for s in reversed(silences) if sum(x >= s for x in silences) >= number * (5 - score) / 5
        )
        days.append(max(wanted, days[-1] + 1.0 if days else 1.0))
    cuts: list[int] = []
    begin = 1
    for left in (5, 4, 3, 2):
        rest = sorted(orders for _, orders in customers if orders >= begin)
        below = number - len(rest)
        numbers = sorted({orders for _, orders in customers})
        wanted_rank = below / number + (1 - below / number) / left
        value = next(
            (n for n in numbers if sum(o <= n for _, o in customers) / number >= wanted_rank), numbers[-1]
        )
        begin = max(begin, value) + 1
        cuts.append(begin)
    return days, cuts


CROWDS = st.builds(
    drawn,
    seed=st.integers(0, 10_000),
    number=st.integers(ENOUGH_CUSTOMERS, 600),
    once=st.sampled_from([0.0, 0.1, 0.6, 0.95, 1.0]),
    whole_days=st.booleans(),
)


@given(CROWDS)
def test_borders_are_those_that_counting_gives(customers: Customers) -> None:
    borders = borders_of(customers)
    days, cuts = naive_borders(customers)
    assert borders.recency_days == days
    assert borders.frequency_orders == cuts
    assert borders.customers == len(customers)


@given(CROWDS, st.randoms(use_true_random=False))
def test_neither_order_nor_how_the_crowd_was_split_matters(customers: Customers, rng: Random) -> None:
    once = borders_of(customers)
    shuffled = list(customers)
    rng.shuffle(shuffled)
    cut = rng.randrange(len(shuffled))
    one, other = Crowd(shuffled[:cut]), Crowd(shuffled[cut:])
    other.merge(one)
    assert other.borders(NOW_S) == once


@given(CROWDS)
def test_borders_grow_and_leave_every_customer_exactly_one_cell(customers: Customers) -> None:
    borders = borders_of(customers)
    assert list(borders.recency_days) == sorted(set(borders.recency_days))
    assert list(borders.frequency_orders) == sorted(set(borders.frequency_orders))
    cells = cells_of(SegmentConfig(borders="learned"), SegmentModel(borders=borders))
    for last_s, orders in customers:
        silence_ms = (NOW_S - last_s) * 1000
        assert cells.recency_score(silence_ms) == 5 - bisect_right(borders.recency_days, silence_ms / DAY_MS)
        assert cells.frequency_score(orders) == 1 + bisect_right(borders.frequency_orders, orders)


def test_where_most_bought_once_they_share_a_score_and_the_others_divide_the_rest() -> None:
    customers = drawn(1, 2_000, once=0.6)
    cells = cells_of(SegmentConfig(borders="learned"), SegmentModel(borders=borders_of(customers)))
    scores = [cells.frequency_score(orders) for _, orders in customers]
    sizes = [scores.count(score) / len(scores) for score in (1, 2, 3, 4, 5)]
    assert sizes[0] == pytest.approx(0.6, abs=0.03)
    assert all(0.04 < size < 0.17 for size in sizes[1:]), (
        "ties of two orders, three and so on, but no score is empty"
    )
    recent = [cells.recency_score((NOW_S - last_s) * 1000) for last_s, _ in customers]
    assert all(recent.count(score) / 2_000 == pytest.approx(0.2, abs=0.002) for score in (1, 2, 3, 4, 5))


@given(
    st.integers(0, 10_000), st.integers(ENOUGH_CUSTOMERS, 1_500), st.booleans(), st.sampled_from([0.0, 0.6])
)
def test_borders_stand_still_while_no_more_changes_than_the_rank_error(
    seed: int, number: int, whole_days: bool, once: float
) -> None:
    customers = drawn(seed, number, once, whole_days)
    before = borders_of(customers)
    rng = Random(seed)
    for round_ in range(4):  # each against the first crowd, as chance would have it
        changed = list(customers)
        for place in rng.sample(range(number), int(rank_error(number) * number)):
            far = rng.choice([NOW_S, NOW_S - 900 * DAY_S])
            changed[place] = far, rng.choice([1, 500])
        after = borders_of(changed, before)
        assert after.recency_days == before.recency_days, round_
        assert after.frequency_orders == before.frequency_orders, round_


def test_borders_follow_a_crowd_that_has_changed() -> None:
    customers = drawn(3, 1_000)
    before = borders_of(customers)
    older = [(last_s - 60 * DAY_S, orders * 3) for last_s, orders in customers]
    after = borders_of(older, before)
    assert after == borders_of(older)
    assert all(new > old + 55 for new, old in zip(after.recency_days, before.recency_days, strict=True))


@pytest.mark.parametrize("seed", range(8))
def test_ranks_of_a_sample_are_as_near_to_those_of_all_as_the_rank_error_says(seed: int) -> None:
    everybody = drawn(seed, 20_000)
    borders = borders_of(Random(seed).sample(everybody, 2_000))
    for place, days in enumerate(borders.recency_days):
        silent = sum((NOW_S - last_s) / DAY_S >= days for last_s, _ in everybody) / len(everybody)
        assert abs(silent - (0.8 - 0.2 * place)) <= rank_error(2_000)


def test_too_small_a_crowd_says_nothing_and_too_large_a_one_is_refused() -> None:
    assert Crowd(drawn(1, ENOUGH_CUSTOMERS - 1)).borders(NOW_S) is None
    assert Crowd(drawn(1, SKETCH_K)).borders(NOW_S) is not None
    with pytest.raises(ValueError, match="too large to be the same in every run"):
        Crowd(drawn(1, 2 * SKETCH_K)).borders(NOW_S)


def test_beyond_k_a_sketch_throws_coins_which_is_why_a_crowd_stays_below() -> None:
    """What the library does; were it seeded one day, the limit could go."""

    def written(number: int) -> bytes:
        sketch = kll_doubles_sketch(SKETCH_K)
        for value in range(number):
            sketch.update(float(value * 7919 % 100_003))
        return bytes(sketch.serialize())

    assert written(SKETCH_K) == written(SKETCH_K)
    assert len({written(20 * SKETCH_K) for _ in range(3)}) > 1


def test_a_time_in_milliseconds_is_scored_by_days() -> None:
    cells = cells_of(
        SegmentConfig(borders="learned"),
        SegmentModel(borders=Borders([1.5, 3.0, 6.0, 12.0], [2, 3, 4, 5], 200)),
    )
    assert [cells.recency_score(round(days * DAY_MS)) for days in (1.49, 1.5, 12.0)] == [5, 4, 1]
