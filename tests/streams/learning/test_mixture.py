"""Weights follow losses, slowly, and begin where they are told to."""

from __future__ import annotations

from random import Random

import msgspec
import pytest

from streams.learning.mixture import BLOCK, WARM_UP, Mixture, MixtureState, loss_of


def fed(mixture: Mixture, blocks: int, seed: int = 1) -> Mixture:
    """Feed answers that the first expert foresees and the second does not; the third is halfway."""
    rng = Random(seed)
    for _ in range(blocks * BLOCK):
        log_odds = rng.gauss(0.0, 2.0)
        label = int(rng.random() < 1.0 / (1.0 + 2.718281828**-log_odds))
        mixture.learn([log_odds, 0.0, log_odds / 2], label)
    return mixture


def test_nobody_is_judged_in_the_warm_up() -> None:
    mixture = fed(Mixture([3.0, 1.0, 1.0]), WARM_UP)
    assert mixture.weights == pytest.approx([0.6, 0.2, 0.2])
    assert (mixture.judged, mixture.losses(), mixture.totals()) == (0, [], [0.0] * 3)


def test_the_best_expert_gets_the_most_weight_and_nobody_gets_none() -> None:
    mixture = fed(Mixture([1.0, 1.0, 1.0]), 12)
    best, worst, halfway = mixture.weights
    assert sum(mixture.weights) == pytest.approx(1.0)
    assert best > 0.9
    assert best > halfway > worst > 0.0


def test_totals_are_the_losses_since_the_warm_up() -> None:
    mixture, expected = Mixture([1.0, 1.0]), [0.0, 0.0]
    rng = Random(3)
    for count in range(1, 4 * BLOCK + 17):
        said, label = [rng.gauss(0.0, 1.0), rng.gauss(0.0, 1.0)], rng.randrange(2)
        mixture.learn(said, label)
        if count > WARM_UP * BLOCK:
            expected = [total + loss_of(one, label) for total, one in zip(expected, said, strict=True)]
            assert mixture.judged == count - WARM_UP * BLOCK
    assert mixture.totals() == pytest.approx(expected)


def test_a_restored_mixture_goes_on_to_the_last_bit() -> None:
    prior = [3.0, 1.0, 1.0]
    whole, half = fed(Mixture(prior), 5), fed(Mixture(prior), 5)
    wire = msgspec.msgpack.encode(half.state())
    resumed = Mixture.restore(prior, msgspec.msgpack.decode(wire, type=MixtureState))
    assert fed(resumed, 3, seed=2).state() == fed(whole, 3, seed=2).state()
    assert resumed.weights == whole.weights
