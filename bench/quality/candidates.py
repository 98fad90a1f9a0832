"""Non-linear experts that are not served: River pipelines, recalibrated online, asked the same questions.

They learn in the order of the log, a dear one only from every tenth question (its budget), and answer what
was asked while a model was in force, so with the same delay as what is served. Their log-odds go through an
online Platt scaling that is learned from what they said of an example before they learned it.
"""

from __future__ import annotations

from collections.abc import Callable
from math import exp, log
from time import thread_time
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from river import ensemble, forest, linear_model, optim, preprocessing, tree

from bench.quality.asking import Asked
from bench.quality.peers import Answered, unseasoned
from streams.customer.features import FEATURE_NAMES
from streams.learning.mixture import Mixture
from streams.learning.pool import BTYD

_NAMES = (*FEATURE_NAMES, BTYD)
PLATT_RATE = 0.01


class Candidate(NamedTuple):
    """A kind of expert, and its budget: it learns from one question in so many."""

    make: Callable[[], Any]
    every: int = 1


def _bagging() -> Any:
    schedule = optim.schedulers.InverseScaling(0.05, 0.5)
    linear = linear_model.LogisticRegression(optimizer=optim.SGD(schedule))
    return preprocessing.StandardScaler() | ensemble.ADWINBaggingClassifier(linear, n_models=5, seed=1)


CANDIDATES: dict[str, Candidate] = {
    "Hoeffding tree": Candidate(
        lambda: tree.HoeffdingTreeClassifier(grace_period=500, max_depth=8, leaf_prediction="mc")
    ),
    "ADWIN bagging of 5 logistic regressions": Candidate(_bagging),
    "adaptive random forest, 1 in 10": Candidate(
        lambda: forest.ARFClassifier(n_models=10, grace_period=100, leaf_prediction="mc", seed=1),
        10,
    ),
    "aggregated Mondrian forest, 1 in 10": Candidate(
        lambda: forest.AMFClassifier(n_estimators=10, use_aggregation=True, seed=1), 10
    ),
}


class _Platt:
    """log-odds -> slope x log-odds + intercept, learned by gradient steps that shrink."""

    def __init__(self) -> None:
        self._slope, self._intercept, self._squares = 1.0, 0.0, 1.0

    def __call__(self, log_odds: float) -> float:
        return self._slope * log_odds + self._intercept

    def learn(self, log_odds: float, label: int) -> None:
        gap = 1.0 / (1.0 + exp(-self(log_odds))) - label
        self._squares += 0.001
        step = PLATT_RATE / self._squares
        self._slope -= step * gap * log_odds
        self._intercept -= step * gap


def _log_odds(model: Any, row: dict[str, float]) -> float:
    said = min(0.999, max(0.001, float(model.predict_proba_one(row).get(True, 0.5))))
    return log(said / (1.0 - said))


def answered(asked: Asked, candidate: Candidate, progress: Callable[[str], None]) -> Answered:
    """Learn and answer in one pass."""
    model, platt = candidate.make(), _Platt()
    rows = [
        dict(zip(_NAMES, row, strict=True))
        for row in np.column_stack([unseasoned(asked), asked.btyd]).tolist()
    ]
    risk = np.full(len(rows), 0.5)
    judged = np.flatnonzero(asked.judged)
    due = judged[np.argsort(asked.version[judged], kind="stable")]
    place, start = 0, thread_time()
    for number, row in enumerate(rows):
        while place < len(due) and asked.version[due[place]] <= number:
            question = due[place]
            risk[question] = 1.0 / (1.0 + exp(-platt(_log_odds(model, rows[question]))))
            place += 1
        if number % candidate.every == 0:
            label = int(asked.label[number])
            platt.learn(_log_odds(model, row), label)
            model.learn_one(row, bool(label))
        if number % 20_000 == 0:
            progress(f"{number:,} of {len(rows):,}")
    for question in due[place:]:
        risk[question] = 1.0 / (1.0 + exp(-platt(_log_odds(model, rows[question]))))
    return Answered(np.clip(risk, 0.001, 0.999), (thread_time() - start) / len(rows) * 1e6)


def weight_beside(served: NDArray[np.float64], risk: NDArray[np.float64], label: NDArray[np.int64]) -> float:
    """Give the weight that a mixture of the two would have come to, by their losses as served."""
    mixture = Mixture([1.0, 1.0])
    pairs = np.column_stack([np.log(one / (1.0 - one)) for one in (served, risk)]).tolist()
    for pair, answer in zip(pairs, label.tolist(), strict=True):
        mixture.learn(pair, answer)
    return float(mixture.weights[1])
