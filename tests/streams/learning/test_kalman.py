"""The filter is Bayes' rule at the mode; it knows how sure it is, forgets with time, and can be restored."""

from __future__ import annotations

import os
import subprocess
import sys
from math import exp
from random import Random

import msgspec
import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.optimize import minimize

from streams.learning.kalman import INTERCEPT, PRIOR, WORTH, Kalman, KalmanState, vector

NAMES = ("one", "two", "three")
Array = NDArray[np.float64]


def rows(seed: int, count: int) -> list[tuple[NDArray[np.float64], int]]:
    rng = Random(seed)
    drawn = []
    for _ in range(count):
        row = {name: rng.gauss(0.0, 1.0) for name in NAMES}
        log_odds = 1.5 * row["one"] - row["two"] - 0.5
        drawn.append((vector(row, NAMES), int(rng.random() < 1.0 / (1.0 + exp(-log_odds)))))
    return drawn


def mode(mean: Array, precision: Array, seen: Array, label: int) -> Array:
    """The slow way: look for the weights where the density after the answer is highest."""

    def against(weights: Array) -> float:
        off = weights - mean
        log_odds = float(weights @ seen) * (1 if label else -1)
        return float(0.5 * off @ precision @ off + WORTH * np.logaddexp(0.0, -log_odds))

    return np.asarray(minimize(against, mean, tol=1e-14).x)


def test_a_step_leads_to_the_mode_and_its_curvature() -> None:
    expert = Kalman(NAMES, 0.2, drift=0.0)
    mean, precision = np.array([0.0, 0.0, 0.0, 0.2]), np.eye(4) / PRIOR
    for seen, label in rows(1, 60):
        expert.learn(seen, label, at_days=1.0)
        mean = mode(mean, precision, seen, label)
        risk = 1.0 / (1.0 + np.exp(-mean @ seen))
        precision += WORTH * risk * (1.0 - risk) * np.outer(seen, seen)
    state = expert.state()
    assert state.mean == pytest.approx(mean.tolist(), abs=1e-5)
    assert state.covariance == pytest.approx(np.linalg.inv(precision).reshape(-1).tolist(), abs=1e-5)


@pytest.mark.parametrize("off", [1.0, 30.0, 1_000.0])
@pytest.mark.parametrize("label", [0, 1])
def test_a_row_that_lies_far_off_moves_its_log_odds_towards_the_answer_and_not_far_beyond(
    off: float, label: int
) -> None:
    expert = Kalman(("x",), 2.9, drift=0.0)
    seen = vector({"x": off}, ("x",))
    expert.learn(seen, label, at_days=1.0)
    assert (expert.log_odds(seen) > 2.9) == bool(label)
    assert -9.0 < expert.log_odds(seen) < 9.0


OTHER_PROCESSORS = """
import numpy as np
from streams.learning.kalman import Kalman, vector
names = tuple(f"x{place}" for place in range(25))
expert, random = Kalman(names, 0.2, 1e-4), np.random.default_rng(3)
for number in range(400):
    row = dict(zip(names, random.normal(size=25).tolist(), strict=True))
    expert.learn(vector(row, names), number % 3 == 0, number / 8)
print(expert.state().mean, expert.state().covariance[:40])
"""


def test_the_same_answers_give_the_same_numbers_on_another_processor() -> None:
    said = set()
    for kernel in ("Prescott", "Haswell", "SkylakeX"):
        environment = {**os.environ, "OPENBLAS_CORETYPE": kernel}
        command = [sys.executable, "-c", OTHER_PROCESSORS]
        said.add(subprocess.run(command, env=environment, capture_output=True, check=True).stdout)
    assert len(said) == 1


def test_it_finds_the_weights_and_becomes_sure_of_them() -> None:
    expert = Kalman(NAMES, 0.0, drift=0.0)
    for seen, label in rows(2, 20_000):
        expert.learn(seen, label, at_days=1.0)
    assert list(expert.weights.values()) == pytest.approx([1.5, -1.0, 0.0], abs=0.15)
    assert expert.intercept == pytest.approx(-0.5, abs=0.15)
    assert max(np.diag(np.array(expert.state().covariance).reshape(4, 4))) < PRIOR / 20


def test_sureness_fades_with_time_and_not_beyond_the_prior() -> None:
    expert = Kalman(NAMES, 0.0, drift=1e-4)
    drawn = rows(3, 2_002)
    for seen, label in drawn[:2_000]:
        expert.learn(seen, label, at_days=1.0)
    before = np.diag(np.array(expert.state().covariance).reshape(4, 4))
    still = vector({}, NAMES) * 0.0  # says nothing, so only time acts
    expert.learn(still, 0, at_days=11.0)
    after = np.diag(np.array(expert.state().covariance).reshape(4, 4))
    assert (after - before).tolist() == pytest.approx([1e-3, 1e-3, 1e-3, 1e-3 * INTERCEPT])
    expert.learn(still, 0, at_days=1e6)
    most = np.diag(np.array(expert.state().covariance).reshape(4, 4))
    assert most.tolist() == pytest.approx([PRIOR] * 4)


def test_an_answer_from_before_the_newest_takes_no_time_back() -> None:
    one, other = Kalman(NAMES, 0.0, drift=1e-4), Kalman(NAMES, 0.0, drift=1e-4)
    for place, (seen, label) in enumerate(rows(4, 50)):
        one.learn(seen, label, at_days=10.0)
        other.learn(seen, label, at_days=10.0 - place % 2)
    assert one.state() == other.state()


def test_the_covariance_stays_symmetric_and_positive() -> None:
    expert = Kalman(NAMES, 0.0, drift=1e-3)
    for day, (seen, label) in enumerate(rows(5, 5_000)):
        expert.learn(seen * 5.0, label, at_days=1.0 + day / 10)
    covariance = np.array(expert.state().covariance).reshape(4, 4)
    assert (covariance == covariance.T).all()
    assert np.linalg.eigvalsh(covariance).min() > 0.0


def test_a_restored_filter_goes_on_to_the_last_bit() -> None:
    whole, half = Kalman(NAMES, 0.3, drift=1e-4), Kalman(NAMES, 0.3, drift=1e-4)
    drawn = rows(6, 400)
    for day, (seen, label) in enumerate(drawn):
        whole.learn(seen, label, at_days=float(day))
    for day, (seen, label) in enumerate(drawn[:177]):
        half.learn(seen, label, at_days=float(day))
    wire = msgspec.msgpack.encode(half.state())
    resumed = Kalman(NAMES, 0.3, drift=1e-4)
    resumed.restore(msgspec.msgpack.decode(wire, type=KalmanState))
    for day, (seen, label) in enumerate(drawn[177:], start=177):
        resumed.learn(seen, label, at_days=float(day))
    assert resumed.state() == whole.state()


def test_a_prediction_changes_nothing() -> None:
    expert = Kalman(NAMES, 0.0, drift=1e-4)
    for seen, label in rows(7, 30):
        expert.learn(seen, label, at_days=1.0)
    before = expert.state()
    for seen, _ in rows(8, 10):
        expert.log_odds(seen)
    assert expert.state() == before
