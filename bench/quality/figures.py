"""Figures of answered questions, and how far a difference may be chance: customers are drawn, not rows."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score

from streams.learning.prequential import ECE_BINS

DRAWS = 200

Floats = NDArray[np.float64]


class Figures(NamedTuple):
    """AUC, log loss in nats and calibration error over 20 equal bins."""

    auc: float
    log_loss: float
    ece: float


class Interval(NamedTuple):
    """Where 95 % of the draws of customers put a difference."""

    low: float
    high: float


def losses(risk: Floats, label: NDArray[np.int64]) -> Floats:
    return -np.log(np.where(label == 1, risk, 1.0 - risk))


def figures(risk: Floats, label: NDArray[np.int64]) -> Figures:
    bins = np.minimum(ECE_BINS - 1, (risk * ECE_BINS).astype(int))
    ece = float(np.abs(np.bincount(bins, risk - label, ECE_BINS)).sum() / len(risk))
    return Figures(float(roc_auc_score(label, risk)), float(losses(risk, label).mean()), ece)


def loss_interval(
    risk: Floats, other: Floats, label: NDArray[np.int64], customer: NDArray[np.int64]
) -> Interval:
    """Give the interval of the log loss of `risk` less that of `other`."""
    difference = losses(risk, label) - losses(other, label)
    counted = [(np.bincount(customer, difference), np.bincount(customer))]
    sums, counts = counted[0]
    drawn = [sums[d].sum() / max(1, counts[d].sum()) for d in _draws(len(sums))]
    return _interval(drawn)


def auc_interval(
    risk: Floats, other: Floats, label: NDArray[np.int64], customer: NDArray[np.int64]
) -> Interval:
    """Give the interval of the AUC of `risk` less that of `other`.

    An AUC is the mean over pairs of one who left and one who stayed; over customers it is a mean of what each
    row adds to it, up to terms of a second order (DeLong), so draws need no sorting.
    """
    added = _placements(risk, label) - _placements(other, label)
    n_customers = int(customer.max()) + 1
    left, stayed = label == 1, label == 0
    parts = []
    for side in (left, stayed):
        mean = added[side].mean()
        parts.append(np.bincount(customer[side], added[side] - mean, n_customers) / side.sum())
    value = added[left].mean()
    influence = parts[0] + parts[1]
    return _interval([value + influence[d].sum() for d in _draws(n_customers)])


def _placements(risk: Floats, label: NDArray[np.int64]) -> Floats:
    """Of who left: the share of stayers below; of who stayed: of leavers above; ties count half."""
    placed = np.empty(len(risk))
    left, stayed = np.sort(risk[label == 1]), np.sort(risk[label == 0])
    for side, others, above in ((label == 1, stayed, False), (label == 0, left, True)):
        low = np.searchsorted(others, risk[side], "left")
        high = np.searchsorted(others, risk[side], "right")
        below = (low + high) / 2.0 / len(others)
        placed[side] = 1.0 - below if above else below
    return placed


def _draws(customers: int) -> list[NDArray[np.int64]]:
    rng = np.random.default_rng(1)
    return [rng.integers(0, customers, customers) for _ in range(DRAWS)]


def _interval(drawn: list[float]) -> Interval:
    low, high = np.quantile(drawn, [0.025, 0.975])
    return Interval(float(low), float(high))
