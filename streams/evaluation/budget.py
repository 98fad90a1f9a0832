"""Which threshold raises as many alerts as somebody can work on.

Between two orders a customer is silent, and the risk rises and falls; a threshold raises an alert in each
silence whose risk reaches it. So one replay is enough to tell the number for every threshold: that of
silences with a higher peak. Peaks are those of timer reviews that were asked and answered; where the risk
falls below `alerts.resolve_below` and rises again in one silence, a replay raises a second alert.

What counts is a flow: silences that reach the threshold in the time that is looked at. One that had reached
it before has its alert already, however high it still climbs. So a low threshold may raise few as well, when
everybody had passed it before; above the threshold that is found no other raises more than is allowed.
"""

from __future__ import annotations

from math import expm1
from typing import NamedTuple

from schemas.codec import epoch_ms
from schemas.learning import Example
from streams.config import DAY_MS, HIGHEST_RISK

_STEPS = 1_000


class Expected(NamedTuple):
    """What a threshold would raise: alerts a day, and the share of them that would be right."""

    threshold: float
    per_day: float
    precision: float | None


class _Silence:
    """The highest risk before the time that is looked at, and the rising peaks in it, with their answers."""

    __slots__ = ("before", "peaks")

    def __init__(self) -> None:
        self.before = 0.0
        self.peaks: list[tuple[float, int]] = []

    @property
    def peak(self) -> float:
        return self.peaks[-1][0] if self.peaks else 0.0


class Peaks:
    """The rising peaks of risk in each silence; memory grows with them.

    Parameters
    ----------
    min_orders
        Customers with fewer orders raise no alert.
    from_ms
        Questions asked before it do not count, but an alert that was raised then is not raised again.
    """

    def __init__(self, min_orders: int, from_ms: int) -> None:
        self._min_orders = min_orders
        self._from_ms = from_ms
        self._latest_ms = from_ms
        self._silences: list[_Silence] = []
        self._current: dict[str, _Silence] = {}

    @property
    def days(self) -> float:
        """Days of event time that the peaks are from."""
        return (self._latest_ms - self._from_ms) / DAY_MS

    def take(self, example: Example) -> None:
        """Take an answered question, in the order in which a customer's were asked."""
        if example.cause == "order":
            self._current.pop(example.customer_id, None)
            return
        if round(expm1(example.features["log_orders"])) < self._min_orders:
            return
        silence = self._current.get(example.customer_id)
        if silence is None:
            silence = self._current[example.customer_id] = _Silence()
            self._silences.append(silence)
        asked_ms, risk = epoch_ms(example.asked_at), example.risk
        if asked_ms < self._from_ms:
            silence.before = max(silence.before, risk)
            return
        self._latest_ms = max(self._latest_ms, asked_ms)
        if risk > max(silence.before, silence.peak):
            silence.peaks.append((risk, example.label))

    def expected(self, threshold: float) -> Expected:
        """Tell what a threshold would raise."""
        labels = [
            next(label for risk, label in silence.peaks if risk >= threshold)
            for silence in self._silences
            if silence.before < threshold <= silence.peak
        ]
        per_day = len(labels) / self.days if self.days > 0.0 else 0.0
        return Expected(threshold, per_day, sum(labels) / len(labels) if labels else None)

    def threshold(self, per_day: float) -> float | None:
        """Find the lowest threshold, to three decimals, from which on none raises more alerts a day."""
        allowed = int(per_day * self.days)
        begin = [0] * (_STEPS + 2)  # how many silences more raise an alert at this threshold than at the last
        for silence in self._silences:
            if silence.peaks:
                begin[_step(silence.before) + 1] += 1
                begin[_step(silence.peak) + 1] -= 1
        if not allowed or not any(begin):
            return None
        raised = sum(begin)
        lowest = _STEPS
        while lowest > 0:
            raised -= begin[lowest]
            if raised > allowed:  # at the threshold one step below
                break
            lowest -= 1
        return min(HIGHEST_RISK, max(0.002, lowest / _STEPS))


def _step(value: float) -> int:
    """Count the steps of a thousandth up to a value, the value included."""
    step = int(value * _STEPS)
    return step + 1 if (step + 1) / _STEPS <= value else step - (step / _STEPS > value)
