"""A change in an expert's errors is found, chance is not, and a checkpoint changes nothing."""

from __future__ import annotations

from random import Random

import pytest

from streams.learning.drift import LONGEST, Drift


def losses(means: list[float], seed: int, each: int = 150) -> list[float]:
    chance = Random(seed)
    return [chance.gauss(mean, 0.03) for mean in means for _ in range(each)]


@pytest.mark.parametrize("seed", range(20))
def test_a_steady_expert_does_not_drift(seed: int) -> None:
    drift = Drift()
    assert not any(drift.add(loss) for loss in losses([0.45], seed, 1000))


@pytest.mark.parametrize("mean", [0.3, 0.6])
def test_a_change_in_either_direction_is_found_soon(mean: float) -> None:
    drift = Drift()
    found = [number for number, loss in enumerate(losses([0.45, mean], 1)) if drift.add(loss)]
    assert len(found) == drift.drifts == 1
    assert 150 <= found[0] < 260


@pytest.mark.parametrize("at", [0, 1, 149, 160, 299, 400])
def test_a_detector_that_goes_on_from_a_checkpoint_finds_the_same(at: int) -> None:
    seen = losses([0.45, 0.6, 0.4], 3)
    whole, first = Drift(), Drift()
    expected = [whole.add(loss) for loss in seen]
    found = [first.add(loss) for loss in seen[:at]]
    rest = Drift.restore(first.state())
    found += [rest.add(loss) for loss in seen[at:]]
    assert found == expected
    assert rest.state() == whole.state()


def test_a_checkpoint_does_not_grow_for_ever() -> None:
    drift = Drift()
    for loss in losses([0.45], 5, 2 * LONGEST + 10):
        drift.add(loss)
    assert len(drift.state().blocks) <= LONGEST
