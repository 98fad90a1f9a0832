"""Batch models beside the served one: the same examples, the same delay, retrained every 28 days.

Each month a model is fitted to all that had matured when the month began, and answers what is asked in it. It
sees the features, and BG/NBD's log-odds as they were when the question was asked; like the learner it does
not hear the time of year before each season was seen twice. Settings are usual ones, not searched. They run
on one thread, as the learner does.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from time import thread_time
from typing import Any, NamedTuple

import numpy as np
from lightgbm import LGBMClassifier
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits

from bench.quality.asking import Asked
from streams.config import DAY_MS
from streams.customer.features import FEATURES
from streams.learning.machine import SEASON_AFTER

RETRAIN_MS = 28 * DAY_MS

BATCH: dict[str, Callable[[], Any]] = {
    "logistic regression, retrained": lambda: make_pipeline(
        StandardScaler(), LogisticRegression(max_iter=300)
    ),
    "LightGBM, retrained": lambda: LGBMClassifier(
        n_estimators=150, num_leaves=31, learning_rate=0.05, n_jobs=1, seed=1, verbose=-1
    ),
}


class Answered(NamedTuple):
    """What somebody said of each question, and what learning and saying it cost, microseconds an example."""

    risk: NDArray[np.float64]
    cost_us: float


def unseasoned(asked: Asked) -> NDArray[np.float64]:
    """Give the features without the time of year while the learner, too, does not hear it."""
    features = asked.features.copy()
    early = asked.asked_ms < asked.asked_ms.min() + SEASON_AFTER // timedelta(milliseconds=1)
    for place, feature in enumerate(FEATURES):
        if feature.family == "season":
            features[early, place] = 0.0
    return features


def retrained(asked: Asked, make: Callable[[], Any], progress: Callable[[str], None]) -> Answered:
    """Answer all questions by a batch model."""
    rows = np.column_stack([unseasoned(asked), asked.btyd])
    risk, start = np.full(len(asked.label), 0.5), thread_time()
    # Months begin with the first question that counts: decisions are retrained for on their day.
    first_ms = int(asked.asked_ms[asked.judged].min())
    month = (asked.asked_ms - first_ms) // RETRAIN_MS
    for number in range(int(month[asked.judged].min()), int(month.max()) + 1):
        known = asked.matured_ms <= first_ms + number * RETRAIN_MS
        due = month == number
        if due.any() and len(np.unique(asked.label[known])) == 2:
            with threadpool_limits(1):
                model = make().fit(rows[known], asked.label[known])
                risk[due] = model.predict_proba(rows[due])[:, 1]
            progress(f"month {number}: {known.sum():,} known, {due.sum():,} asked")
    cost_us = (thread_time() - start) / len(risk) * 1e6
    return Answered(np.clip(risk, 0.001, 0.999), cost_us)
