"""A champion is named when it is better, and hardly ever when it is not, however often one looks."""

from __future__ import annotations

from itertools import pairwise
from math import inf, log, pi, sqrt
from random import Random
from statistics import fmean, stdev

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.integrate import quad
from scipy.stats import nct, t

from streams.learning.champion import ALPHA, LEAST_ANSWERS, OVERLAP, Champion, ChampionState, reach_of

HORIZON_MS = 1_000


def fed(blocks: list[list[float]]) -> Champion:
    """Feed the mean losses of blocks."""
    champion = Champion(len(blocks[0]), HORIZON_MS)
    totals = [0.0] * len(blocks[0])
    champion.see(0, 0, totals)  # an interval has begun, and its next border begins the first block
    champion.see(0, 0, totals)
    for number, block in enumerate(blocks, start=1):
        totals = [total + LEAST_ANSWERS * loss for total, loss in zip(totals, block, strict=True)]
        champion.see(number * HORIZON_MS, number * LEAST_ANSWERS, totals)
    return champion


def ever_excludes(differences: list[float], truth: float) -> bool:
    """Look after every block; tell whether the truth was ever outside."""
    champion = Champion(2, HORIZON_MS)
    champion.see(0, 0, [0.0, 0.0])
    champion.see(0, 0, [0.0, 0.0])
    total = 0.0
    for number, difference in enumerate(differences, start=1):
        total += LEAST_ANSWERS * difference
        champion.see(number * HORIZON_MS, number * LEAST_ANSWERS, [total, 0.0])
        low, high = champion.interval(0, 1)
        if not low <= truth <= high:
            return True
    return False


@pytest.mark.parametrize("truth", [0.0, 0.004])
def test_independent_blocks_ever_exclude_the_truth_in_fewer_runs_than_alpha(truth: float) -> None:
    rng = Random(1)
    runs = [[rng.gauss(truth, 0.003) for _ in range(60)] for _ in range(1500)]
    wrong = sum(ever_excludes(run, truth) for run in runs) / len(runs)
    assert wrong < ALPHA


def test_blocks_whose_futures_overlap_exclude_the_truth_in_fewer_runs_than_alpha() -> None:
    """Answers are sums of what happens within a horizon, so neighbours are correlated by about 1/4."""
    rng = Random(2)
    a_block, wrong, likeness = 8, 0, []
    for _ in range(1500):
        shocks = [rng.gauss(0.0, 1.0) for _ in range(a_block * 42)]
        window = sum(shocks[:a_block])
        answers = []
        for place in range(len(shocks) - a_block):
            answers.append(window)
            window += shocks[place + a_block] - shocks[place]
        blocks = [fmean(answers[at : at + a_block]) for at in range(0, len(answers), a_block)]
        likeness.append(fmean(one * two for one, two in pairwise(blocks)))
        wrong += ever_excludes(blocks, 0.0)
    assert fmean(likeness) > 0.0
    assert wrong / 1500 < ALPHA


def test_a_real_difference_is_found_and_the_better_one_named() -> None:
    rng = Random(3)
    blocks = []
    for _ in range(15):
        season = rng.gauss(0.45, 0.03)  # hits all alike, and cancels in the pairs
        blocks.append([season + 0.004 + rng.gauss(0.0, 0.001), season + rng.gauss(0.0, 0.001), season + 0.01])
    named = [fed(blocks[:count]).best() for count in range(1, 16)]
    assert named[:4] == [None] * 4
    assert named[-1] == 1
    assert 0 not in named
    assert 2 not in named


def test_two_that_are_the_same_leave_no_champion() -> None:
    rng = Random(4)
    blocks = [[loss, loss, loss + 0.1] for loss in (rng.gauss(0.4, 0.01) for _ in range(50))]
    assert fed(blocks).best() is None


def test_one_expert_alone_is_no_champion() -> None:
    assert fed([[0.4]] * 30).best() is None


def test_the_reach_is_where_the_ratio_of_the_two_hypotheses_comes_to_one_over_alpha() -> None:
    """The slow way: integrate the noncentral t distribution over standardised differences from N(0, 1)."""
    for n in (6, 12, 40):
        reach = reach_of(n, ALPHA)

        def against(effect: float, n: int = n, reach: float = reach) -> float:
            prior = log(2.0 * pi) / -2.0 - effect * effect / 2.0
            return float(nct.pdf(reach, n - 1, effect * sqrt(n)) * 2.718281828459045**prior)

        ratio = quad(against, -8.0, 8.0, limit=200)[0] / t.pdf(reach, n - 1)
        assert ratio == pytest.approx(1.0 / ALPHA, rel=1e-3)


@given(st.lists(st.lists(st.floats(0.0, 2.0), min_size=3, max_size=3), min_size=2, max_size=30))
def test_the_interval_is_that_of_the_differences_of_the_blocks(blocks: list[list[float]]) -> None:
    champion = fed(blocks)
    differences = [block[0] - block[2] for block in blocks]
    low, high = champion.interval(0, 2)
    reach = reach_of(len(blocks), ALPHA)
    if reach == inf:
        assert (low, high) == (-inf, inf)
        return
    half = reach * sqrt(OVERLAP) * stdev(differences) / sqrt(len(blocks))
    assert low == pytest.approx(fmean(differences) - half, abs=1e-6)
    assert high == pytest.approx(fmean(differences) + half, abs=1e-6)


def test_a_block_waits_for_enough_answers_and_for_a_horizon() -> None:
    champion = Champion(2, HORIZON_MS)
    champion.see(0, 0, [0.0, 0.0])
    champion.see(0, 0, [0.0, 0.0])
    assert not champion.due(HORIZON_MS - 1)
    assert champion.due(HORIZON_MS)
    champion.see(HORIZON_MS, LEAST_ANSWERS - 1, [1.0, 2.0])
    assert champion.state().blocks == 0
    assert not champion.due(HORIZON_MS)
    champion.see(5 * HORIZON_MS, LEAST_ANSWERS, [1.0, 2.0])
    assert champion.state().blocks == 1
    assert champion.state().means == [1.0 / LEAST_ANSWERS, 2.0 / LEAST_ANSWERS]


def test_the_first_block_begins_at_a_border_and_not_where_answers_begin() -> None:
    champion = Champion(2, HORIZON_MS)
    champion.see(HORIZON_MS - 1, 0, [0.0, 0.0])
    champion.see(HORIZON_MS, LEAST_ANSWERS, [9.0, 9.0])
    assert champion.state().blocks == 0, "what came in a millisecond is no block"
    champion.see(2 * HORIZON_MS, 2 * LEAST_ANSWERS, [10.0, 11.0])
    assert champion.state().means == [1.0 / LEAST_ANSWERS, 2.0 / LEAST_ANSWERS]


def test_answers_from_before_the_open_interval_belong_to_the_open_block() -> None:
    champion = Champion(2, HORIZON_MS)
    champion.see(3 * HORIZON_MS, 0, [0.0, 0.0])
    assert not champion.due(HORIZON_MS)


def test_a_restored_one_goes_on_to_the_last_bit() -> None:
    rng = Random(5)
    blocks = [[rng.gauss(0.4, 0.02) for _ in range(3)] for _ in range(20)]
    whole, half = fed(blocks), fed(blocks[:11])
    wire = msgspec.msgpack.encode(half.state())
    resumed = Champion.restore(HORIZON_MS, msgspec.msgpack.decode(wire, type=ChampionState))
    totals = list(half.state().totals)
    for number, block in enumerate(blocks[11:], start=12):
        totals = [total + LEAST_ANSWERS * loss for total, loss in zip(totals, block, strict=True)]
        resumed.see(number * HORIZON_MS, number * LEAST_ANSWERS, totals)
    assert resumed.state() == whole.state()
