"""Which threshold raises as many alerts as somebody can work on.

Between two orders a customer is silent, and the risk rises and falls; a threshold raises an alert in each
silence whose risk reaches it. So one replay is enough to tell the number for every threshold: that of
silences with a higher peak. Peaks are those of timer reviews that were asked and answered; where the risk
falls below `alerts.resolve_below` and rises again in one silence, a replay raises a second alert.
"""

from __future__ import annotations

from math import expm1
from typing import NamedTuple

from schemas.codec import epoch_ms
from schemas.learning import Example
from streams.config import DAY_MS, HIGHEST_RISK


class Expected(NamedTuple):
    """What a threshold would raise: alerts a day, and the share of them that would be right."""

    threshold: float
    per_day: float
    precision: float | None


class Peaks:
    """The rising peaks of risk in each silence; memory grows with them.

    Parameters
    ----------
    min_orders
        Customers with fewer orders raise no alert.
    from_ms
        Questions asked before it do not count.
    """

    def __init__(self, min_orders: int, from_ms: int) -> None:
        self._min_orders = min_orders
        self._from_ms = from_ms
        self._latest_ms = from_ms
        self._silences: list[list[tuple[float, int]]] = []
        self._current: dict[str, list[tuple[float, int]]] = {}

    @property
    def days(self) -> float:
        """Days of event time that the peaks are from."""
        return (self._latest_ms - self._from_ms) / DAY_MS

    def take(self, example: Example) -> None:
        """Take an answered question, in the order in which a customer's were asked."""
        asked_ms = epoch_ms(example.asked_at)
        if example.cause == "order":
            self._current.pop(example.customer_id, None)
            return
        if asked_ms < self._from_ms or round(expm1(example.features["log_orders"])) < self._min_orders:
            return
        self._latest_ms = max(self._latest_ms, asked_ms)
        peaks = self._current.get(example.customer_id)
        if peaks is None:
            peaks = self._current[example.customer_id] = []
            self._silences.append(peaks)
        if not peaks or example.risk > peaks[-1][0]:
            peaks.append((example.risk, example.label))

    def expected(self, threshold: float) -> Expected:
        """Tell what a threshold would raise."""
        labels = [
            next(label for risk, label in peaks if risk >= threshold)
            for peaks in self._silences
            if peaks and peaks[-1][0] >= threshold
        ]
        per_day = len(labels) / self.days if self.days > 0.0 else 0.0
        return Expected(threshold, per_day, sum(labels) / len(labels) if labels else None)

    def threshold(self, per_day: float) -> float | None:
        """Find the lowest threshold, to three decimals, that raises no more than so many alerts a day."""
        highest = sorted((peaks[-1][0] for peaks in self._silences if peaks), reverse=True)
        allowed = int(per_day * self.days)
        if not highest or not allowed:
            return None
        peak = highest[allowed] if allowed < len(highest) else 0.0
        return min(HIGHEST_RISK, max(0.002, (int(peak * 1_000) + 1) / 1_000))
