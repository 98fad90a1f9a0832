"""All figures of one run, from its decisions as they are made.

A collector is a sink for decisions. It keeps what the figures need and nothing else: 13 bytes an answer, an
entry a customer, an entry a day. So it can sit beside a replay of any length whose answers fit in memory.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from schemas.codec import epoch_ms, utc
from schemas.decisions import ChurnAlert, CustomerScore, SegmentChange
from schemas.learning import Example
from streams.config import DAY_MS, StreamConfig, days_ms
from streams.customer.decision import Decision
from streams.evaluation.alert_tallies import AlertTallies, histogram
from streams.evaluation.bootstrap import Sample
from streams.evaluation.judging import Answers, Floats, Judged, LossOverTime, measures, reliability
from streams.evaluation.lift import deciles
from streams.evaluation.migration import NAMES, Migration

MOST_PERIODS = 26
MOST_BARS = 30


class Collector:
    """Takes the decisions of a replay and tells what they were worth.

    Parameters
    ----------
    config
        Of the replay.

    Examples
    --------
    >>> collector = Collector(StreamConfig())
    >>> collector.figures(first_ms=None, last_ms=None)["quality"]["n"]
    0
    """

    def __init__(self, config: StreamConfig) -> None:
        horizon_ms = days_ms(config.reviews.horizon_days)
        self._grace_ms = days_ms(2 * config.reviews.horizon_days)
        self._answers = Answers()
        self._loss = LossOverTime()
        self._alerts = AlertTallies(horizon_ms)
        self._migration = Migration()
        self._judged: Judged | None = None
        self._days = 0.0

    def take(self, decision: Decision, first_ms: int) -> None:
        """Take a decision.

        Parameters
        ----------
        decision
            In the order in which they were made.
        first_ms
            Event time of the first event: questions count from two horizons after it, as in
            `streams.replay`.
        """
        payload = decision.payload
        if isinstance(payload, Example):
            asked_ms = epoch_ms(payload.asked_at)
            if asked_ms >= first_ms + self._grace_ms:
                self._answers.add(payload.customer_id, payload.risk, payload.label)
                self._loss.add(asked_ms // DAY_MS, payload.risk, payload.label)
        elif isinstance(payload, CustomerScore):
            if payload.cause == "order":
                self._alerts.ordered(payload.customer_id, epoch_ms(payload.event_time))
        elif isinstance(payload, ChurnAlert):
            self._alerts.take(payload)
        elif isinstance(payload, SegmentChange):
            self._migration.take(payload)

    def figures(self, first_ms: int | None, last_ms: int | None) -> dict[str, Any]:
        """Tell all figures as plain values, once the replay has come to its end.

        Parameters
        ----------
        first_ms, last_ms
            Event times of the first event and of the newest.
        """
        if first_ms is not None and last_ms is not None:
            self._alerts.settle(last_ms)
            self._days = (last_ms - first_ms) / DAY_MS
        judged = self._judged = self._answers.judged()
        return {
            "quality": {"n": len(judged), "customers": len(judged.customers), **measures(judged)},
            "reliability": [bin_._asdict() for bin_ in reliability(judged)] if len(judged) else [],
            "over_time": [_dated(period) for period in self._loss.periods(MOST_PERIODS)],
            "lift": [decile._asdict() for decile in deciles(judged)],
            "alerts": {
                "days": self._days,
                **self._alerts.figures(self._days),
                "over_time": self._alerts_over_time(),
                "lead_histogram": histogram(self._alerts.lead_days, MOST_BARS),
            },
            "migration": {dimension: self._migration.matrix(dimension) for dimension in NAMES},
        }

    def raised_from(self, time_ms: int) -> int:
        """Count the alerts of the day of a moment and later."""
        return sum(raised for day, raised in self._alerts.by_day.items() if day >= time_ms // DAY_MS)

    def _alerts_over_time(self) -> list[dict[str, Any]]:
        by_day = self._alerts.by_day
        if not by_day:
            return []
        first, last = min(by_day), max(by_day)
        length = next(days for days in (1, 7, 28, 91, 36_525) if (last - first) // days < 4 * MOST_BARS)
        periods: dict[int, int] = dict.fromkeys(range((last - first) // length + 1), 0)
        for day, raised in by_day.items():
            periods[(day - first) // length] += raised
        return [
            _dated(
                {
                    "first_day": first + number * length,
                    "days": length,
                    "raised": raised,
                    "per_day": raised / length,
                }
            )
            for number, raised in periods.items()
        ]

    def sample(self) -> Sample:
        """Give what the figures rest on by customer, for `streams.evaluation.bootstrap`; after `figures`."""
        judged = self._judged if self._judged is not None else self._answers.judged()
        tallies = self._alerts.customers
        customers = tuple(sorted({*judged.customers, *tallies}))
        number = {name: place for place, name in enumerate(customers)}
        asked = np.array([number[name] for name in judged.customers], np.int64)
        alerted = np.array([number[name] for name in tallies], np.int64)
        sums = np.array(
            [(t.raised, t.right, t.wrong, t.money_right, t.lead_days) for t in tallies.values()], np.float64
        ).reshape(-1, 5)
        days = self._days

        def measure(drawn: Floats | None) -> dict[str, float | None]:
            if drawn is None:
                found = measures(judged)
                raised, right, wrong, money, lead = sums.sum(axis=0)
            else:
                found = measures(judged, drawn[asked])
                raised, right, wrong, money, lead = drawn[alerted] @ sums
            found["precision"] = float(right / (right + wrong)) if right + wrong else None
            found["mean_lead_days"] = float(lead / right) if right else None
            found["alerts_per_day"] = float(raised / days) if days > 0.0 else None
            found["money_found"] = float(money)
            return found

        return Sample(customers, measure)


def _dated(period: dict[str, Any]) -> dict[str, Any]:
    day = period.pop("first_day")
    return {"from": utc(day * DAY_MS).date().isoformat(), **period}
