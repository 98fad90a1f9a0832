"""How good served risks were, over questions whose answer is known.

A risk is a probability, so three things are asked of it. Does it put those who leave before those who stay
(AUC)? Is it right on average where it says p (calibration)? And both at once, by a proper score that no
other forecast than the honest one can improve in expectation (log loss, Brier)? Every answer counts for
the risk that was served when its question was asked.

Each measure takes a weight for each answer: how often its customer was drawn in a resample. Ranks are
found once, so a resample costs a few passes over the answers and no sorting.

References
----------
Gneiting & Raftery, Strictly proper scoring rules, prediction, and estimation, JASA 102 (2007).
Brier, Verification of forecasts expressed in terms of probability, Monthly Weather Review 78 (1950).
"""

from __future__ import annotations

from array import array
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from streams.learning.prequential import ECE_BINS

Floats = NDArray[np.float64]


class Reliability(NamedTuple):
    """One bin of the reliability curve.

    Attributes
    ----------
    low, high
        Served risks from `low` up to but not including `high`.
    n
        Answers in it.
    risk, churn_rate
        Their mean risk, and the share that left; None where there is no answer.
    """

    low: float
    high: float
    n: int
    risk: float | None
    churn_rate: float | None


class Answers:
    """Answered questions, as they come: 13 bytes each, and the customers by name.

    Memory grows with the answers: exact ranks need every risk.

    Examples
    --------
    >>> answers = Answers()
    >>> for customer_id, risk, label in (("a", 0.9, 1), ("a", 0.8, 1), ("b", 0.3, 0), ("c", 0.85, 0)):
    ...     answers.add(customer_id, risk, label)
    >>> measures(answers.judged())["auc"]
    0.75
    """

    def __init__(self) -> None:
        self._customers: dict[str, int] = {}
        self._who = array("i")
        self._risks = array("d")
        self._labels = array("b")

    def __len__(self) -> int:
        return len(self._risks)

    def add(self, customer_id: str, risk: float, label: int) -> None:
        """Add the risk that was served to a customer, and what came of it (1 for leaving)."""
        self._who.append(self._customers.setdefault(customer_id, len(self._customers)))
        self._risks.append(risk)
        self._labels.append(label)

    def judged(self) -> Judged:
        """Prepare what was added for measuring."""
        return Judged(
            tuple(self._customers),
            np.array(self._who, np.int64),
            np.array(self._risks, np.float64),
            np.array(self._labels, np.float64),
        )


class Judged:
    """Answers, ranked.

    Parameters
    ----------
    customers
        Names, by number.
    who, risks, labels
        For each answer the number of its customer, the risk served and 1 or 0.

    Attributes
    ----------
    place
        For each answer the rank of its risk; equal risks have the same.
    losses, squares
        Log loss in nats and squared error of each answer.
    """

    def __init__(
        self, customers: tuple[str, ...], who: NDArray[np.int64], risks: Floats, labels: Floats
    ) -> None:
        self.customers = customers
        self.who = who
        self.risks = risks
        self.labels = labels
        self.place: NDArray[np.int64] = np.unique(risks, return_inverse=True)[1].astype(np.int64)
        self.losses: Floats = -np.log(np.where(labels > 0.5, risks, 1.0 - risks))
        self.squares: Floats = (risks - labels) ** 2
        self.bins: NDArray[np.int64] = np.minimum(ECE_BINS - 1, (risks * ECE_BINS).astype(np.int64))

    def __len__(self) -> int:
        return len(self.risks)

    def weights(self, drawn: Floats | None) -> Floats:
        """Give each answer the weight of its customer; one to all where None is given."""
        return np.ones(len(self)) if drawn is None else drawn[self.who]


def measures(judged: Judged, drawn: Floats | None = None) -> dict[str, float | None]:
    """Measure risks against answers.

    Parameters
    ----------
    judged
        The answers.
    drawn
        How often each customer counts; once by default.

    Returns
    -------
    dict
        `churn_rate`, `auc` (ties count half), `log_loss` (nats), `brier`, `ece` (20 equal bins),
        `top_decile_lift` and `lift_quality`; None where a measure is not defined.

    Examples
    --------
    >>> answers = Answers()
    >>> answers.add("a", 0.75, 1), answers.add("b", 0.25, 0)
    (None, None)
    >>> round(measures(answers.judged())["brier"], 4)
    0.0625
    """
    from streams.evaluation.lift import quality, top_decile_lift

    weights = judged.weights(drawn)
    total = float(weights.sum())
    names = ("churn_rate", "auc", "log_loss", "brier", "ece", "top_decile_lift", "lift_quality")
    if not total:
        return dict.fromkeys(names)
    left = weights * judged.labels
    churned = float(left.sum())
    groups, left_groups = _by_place(judged, weights), _by_place(judged, left)
    gaps = np.bincount(judged.bins, weights * (judged.risks - judged.labels), ECE_BINS)
    values = (
        churned / total,
        _auc(left_groups, groups - left_groups),
        float(weights @ judged.losses) / total,
        float(weights @ judged.squares) / total,
        float(np.abs(gaps).sum()) / total,
        top_decile_lift(groups, left_groups),
        quality(groups, left_groups),
    )
    return dict(zip(names, values, strict=True))


def _by_place(judged: Judged, weights: Floats) -> Floats:
    """Add weights up by risk, the lowest first."""
    return np.bincount(judged.place, weights).astype(np.float64)


def by_risk(judged: Judged) -> tuple[Floats, Floats]:
    """Count answers, and those who left, by risk, the lowest first."""
    return _by_place(judged, np.ones(len(judged))), _by_place(judged, judged.labels)


def _auc(left: Floats, stayed: Floats) -> float | None:
    pairs = float(left.sum() * stayed.sum())
    if not pairs:
        return None
    below = np.cumsum(stayed) - stayed
    return float((left * (below + 0.5 * stayed)).sum()) / pairs


def reliability(judged: Judged) -> list[Reliability]:
    """Compare what was said with what happened, in 20 equal bins of risk.

    Examples
    --------
    >>> answers = Answers()
    >>> for label in (1, 0, 1, 1):
    ...     answers.add("a", 0.76, label)
    >>> [(bin.low, bin.n, bin.churn_rate) for bin in reliability(answers.judged()) if bin.n]
    [(0.75, 4, 0.75)]
    """
    n = np.bincount(judged.bins, np.ones(len(judged)), ECE_BINS)
    risks = np.bincount(judged.bins, judged.risks, ECE_BINS)
    labels = np.bincount(judged.bins, judged.labels, ECE_BINS)
    return [
        Reliability(
            number / ECE_BINS,
            (number + 1) / ECE_BINS,
            int(n[number]),
            float(risks[number] / n[number]) if n[number] else None,
            float(labels[number] / n[number]) if n[number] else None,
        )
        for number in range(ECE_BINS)
    ]


class LossOverTime:
    """Log loss by the day on which questions were asked: one entry a day, however many answers.

    Examples
    --------
    >>> loss = LossOverTime()
    >>> loss.add(3, risk=0.5, label=1)
    >>> [(period["first_day"], period["n"], round(period["log_loss"], 3)) for period in loss.periods(10)]
    [(3, 1, 0.693)]
    """

    def __init__(self) -> None:
        self._days: dict[int, list[float]] = {}

    def add(self, day: int, risk: float, label: int) -> None:
        """Add the answer to a question of a day, counted from the epoch."""
        sums = self._days.setdefault(day, [0.0, 0.0, 0.0])
        sums[0] += 1.0
        sums[1] -= float(np.log(risk if label else 1.0 - risk))
        sums[2] += label

    def periods(self, most: int) -> list[dict[str, Any]]:
        """Give at most so many periods of equally many days, those without an answer left out.

        `log_loss_base` is that of always saying the period's own churn rate, the best constant in hindsight.
        """
        if not self._days:
            return []
        first, last = min(self._days), max(self._days)
        length = -(-(last - first + 1) // most)
        sums: dict[int, list[float]] = {}
        for day in sorted(self._days):
            period = sums.setdefault((day - first) // length, [0.0, 0.0, 0.0])
            for place, value in enumerate(self._days[day]):
                period[place] += value
        return [
            {
                "first_day": first + number * length,
                "days": length,
                "n": int(n),
                "log_loss": loss / n,
                "log_loss_base": _entropy(left / n),
                "churn_rate": left / n,
            }
            for number, (n, loss, left) in sums.items()
        ]


def _entropy(rate: float) -> float:
    parts = [share for share in (rate, 1.0 - rate) if share > 0.0]
    return float(-sum(share * np.log(share) for share in parts)) + 0.0
