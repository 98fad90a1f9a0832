"""Judging what was served, as answers come in: test, then learn, with the honest delay.

Every answer is compared with the risk that was served when the question was asked, which is older than
the answer by at least the horizon; nothing is predicted again. Log loss is exact. AUC and calibration
are kept in bins of the served risk, so memory does not grow: with 2,000 bins the AUC is off by no more
than what ties inside a two-thousandth of risk can hide.

References
----------
Gama, Sebastiao & Rodrigues, On evaluating stream learning algorithms, Machine Learning 90 (2013).
Naeini, Cooper & Hauskrecht, Obtaining well calibrated probabilities using Bayesian binning, AAAI 2015,
for the expected calibration error.
"""

from __future__ import annotations

from math import log

import msgspec

AUC_BINS = 2_000
ECE_BINS = 20


class Prequential(msgspec.Struct, array_like=True):
    """Running quality of served risks.

    Attributes
    ----------
    n, churned
        Answers so far, and those with label 1.
    loss
        Sum of log losses.
    positives, negatives
        Answers by bin of risk.
    risk_sums
        Sum of risks by calibration bin; `label_sums` and `counts` likewise.

    Examples
    --------
    >>> quality = Prequential()
    >>> for risk, label in ((0.9, 1), (0.8, 1), (0.3, 0), (0.85, 0)):
    ...     quality.add(risk, label)
    >>> quality.auc()
    0.75
    """

    n: int = 0
    churned: int = 0
    loss: float = 0.0
    positives: list[int] = msgspec.field(default_factory=lambda: [0] * AUC_BINS)
    negatives: list[int] = msgspec.field(default_factory=lambda: [0] * AUC_BINS)
    counts: list[int] = msgspec.field(default_factory=lambda: [0] * ECE_BINS)
    risk_sums: list[float] = msgspec.field(default_factory=lambda: [0.0] * ECE_BINS)
    label_sums: list[int] = msgspec.field(default_factory=lambda: [0] * ECE_BINS)

    def add(self, risk: float, label: int) -> None:
        """Judge one served risk, strictly between 0 and 1, by its answer."""
        self.n += 1
        self.churned += label
        self.loss -= log(risk if label else 1.0 - risk)
        side = self.positives if label else self.negatives
        side[int(risk * AUC_BINS)] += 1
        place = min(ECE_BINS - 1, int(risk * ECE_BINS))
        self.counts[place] += 1
        self.risk_sums[place] += risk
        self.label_sums[place] += label

    def auc(self) -> float | None:
        """Return P(a churner's risk is above a stayer's), ties counting half; None for one class."""
        negatives_total = self.n - self.churned
        if not self.churned or not negatives_total:
            return None
        below, wins = 0, 0.0
        for positives, negatives in zip(self.positives, self.negatives, strict=True):
            wins += positives * (below + 0.5 * negatives)
            below += negatives
        return wins / (self.churned * negatives_total)

    def log_loss(self) -> float | None:
        """Return the mean log loss in nats; None before the first answer."""
        return self.loss / self.n if self.n else None

    def ece(self) -> float | None:
        """Return the expected calibration error over 20 equal bins; None before the first answer."""
        if not self.n:
            return None
        gaps = zip(self.risk_sums, self.label_sums, strict=True)
        return sum(abs(risk_sum - label_sum) for risk_sum, label_sum in gaps) / self.n

    def metrics(self) -> dict[str, float]:
        """Name what is known so far: `n`, and `churn_rate`, `auc`, `log_loss`, `ece` once defined."""
        named = {
            "n": float(self.n),
            "churn_rate": self.churned / self.n if self.n else None,
            "auc": self.auc(),
            "log_loss": self.log_loss(),
            "ece": self.ece(),
        }
        return {name: value for name, value in named.items() if value is not None}
