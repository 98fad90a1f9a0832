"""Partitions close their epochs one after the other, about as often as they should."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.turns import next_turn

NOW = st.floats(0.0, 1e7)
EVERY = st.floats(0.01, 60.0)
PARTITION = st.integers(0, 10_000)


@given(now=NOW, partition=PARTITION, every=EVERY)
def test_a_turn_comes_half_to_one_and_a_half_epochs_from_now(
    now: float, partition: int, every: float
) -> None:
    wait = next_turn(now, partition, every) - now
    assert 0.5 * every - 1e-6 <= wait <= 1.5 * every + 1e-6


@given(now=NOW, partition=PARTITION, every=EVERY, late=st.floats(0.0, 0.4))
def test_who_closes_a_little_late_has_the_next_turn_an_epoch_after_the_one_before(
    now: float, partition: int, every: float, late: float
) -> None:
    turn = next_turn(now, partition, every)
    following = next_turn(turn + late * every, partition, every)
    assert following - turn == pytest.approx(every, abs=1e-6)


@pytest.mark.parametrize("partitions", range(2, 17))
def test_no_two_partitions_close_at_once(partitions: int) -> None:
    turns = sorted(next_turn(1000.0, partition, 1.0) % 1.0 for partition in range(partitions))
    apart = [after - before for before, after in zip(turns, [*turns[1:], turns[0] + 1.0], strict=True)]
    assert min(apart) > 0.38 / partitions, "evenly would be one over their number"
