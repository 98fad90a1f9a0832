"""Puts the message of a day together from its sums, and compares with the days before.

Kept of a day that is over are six numbers, for as many days as the longest window has.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from math import sqrt
from typing import Literal, NamedTuple

from schemas.kpis import (
    AlertKpis,
    AlertOutcomes,
    AnswerKpis,
    ChurnKpis,
    ChurnLoss,
    RetentionKpis,
    SegmentKpis,
)
from streams.config import DAY_MS
from streams.customer.lifecycle import LIFECYCLE_NAMES, PROSPECT
from streams.customer.rfm import RFM_NAMES
from streams.value.alert_outcomes import MICRO
from streams.value.days import Days, Key
from streams.value.trait_kpis import trait_kpis

MOST_WINDOW_DAYS = 30
LOSS_DAYS = (30, 90)

ACTIVE_STAGES = frozenset({"first_time", "active", "won_back"})

STAGES = tuple(name for number, name in enumerate(LIFECYCLE_NAMES) if number != PROSPECT)

SEGMENTS: tuple[tuple[Literal["rfm", "lifecycle"], str], ...] = (
    *(("lifecycle", name) for name in STAGES),
    *(("rfm", name) for name in RFM_NAMES),
)

_NINE_IN_TEN = 1.6448536269514722
"""Standard deviations either side of the mean that hold 90 % of a normal distribution."""

_EPOCH = date(1970, 1, 1)


class _Past(NamedTuple):
    active: int
    churned: int
    won_back: int
    lost: int
    expected: tuple[int, ...]


class DayKpis:
    """Tells days one after the other.

    Parameters
    ----------
    active_days
        So long without an order makes a customer lapse. The window of the churn rate is not longer, so
        whoever lapses in it was active when it began, and the rate is a share.
    told
        Days that were told before, one after the other, to go on from.
    """

    def __init__(self, active_days: float, told: Sequence[RetentionKpis] = ()) -> None:
        self._window_days = max(1, min(MOST_WINDOW_DAYS, int(active_days)))
        self._past: deque[_Past] = deque(maxlen=max(MOST_WINDOW_DAYS, *LOSS_DAYS))
        self._past.extend(_past(day) for day in told)

    def close(self, days: Days) -> RetentionKpis:
        """Close the first open day, and tell it."""
        day = days.open_day
        flows = days.close()
        level = days.level
        active = sum(level(("lifecycle", stage)).count for stage in ACTIVE_STAGES)
        churned, won_back = flows.get("churned", 0), flows.get("won_back", 0)
        expected = tuple(level(("loss", span)).count for span in LOSS_DAYS)
        today = _Past(active, churned, won_back, flows.get("lost", 0), expected)
        said = RetentionKpis(
            day=_EPOCH + timedelta(days=day),
            customers=sum(level(("lifecycle", stage)).count for stage in STAGES),
            active=active,
            lapsed=churned,
            won_back=won_back,
            lost_value=today.lost / MICRO,
            historic_value=sum(level(("lifecycle", stage)).historic for stage in STAGES) / MICRO,
            predicted_value=sum(level(("lifecycle", stage)).predicted for stage in STAGES) / MICRO,
            value_at_risk=sum(level(("lifecycle", stage)).at_risk for stage in STAGES) / MICRO,
            segments=[_segment(days, flows, dimension, name) for dimension, name in SEGMENTS],
            churn=self._churn(today),
            losses=[self._loss(today, number, days) for number in range(len(LOSS_DAYS))],
            alerts=_alerts(days, flows),
            outcomes=_outcomes(flows),
            answers=_answers(flows),
            late=flows.get("late", 0),
            traits=trait_kpis(days),
        )
        self._past.append(today)
        return said

    def _before(self, span: int) -> _Past | None:
        return self._past[-span] if len(self._past) >= span else None

    def _window(self, span: int) -> list[_Past]:
        """Give the newest days of a window that ends today; today itself is left out."""
        return list(self._past)[len(self._past) - min(span - 1, len(self._past)) :]

    def _churn(self, today: _Past) -> ChurnKpis:
        window = [*self._window(self._window_days), today]
        before = self._before(self._window_days)
        churned = sum(day.churned for day in window)
        return ChurnKpis(
            window_days=self._window_days,
            active_before=None if before is None else before.active,
            churned=churned,
            won_back=sum(day.won_back for day in window),
            rate=None if before is None else _share(churned, before.active),
        )

    def _loss(self, today: _Past, number: int, days: Days) -> ChurnLoss:
        span = LOSS_DAYS[number]
        before = self._before(span)
        expected = today.expected[number]
        spread = _NINE_IN_TEN * sqrt(days.level(("loss_variance", span)).count)
        return ChurnLoss(
            days=span,
            expected=expected / MICRO,
            low=max(0.0, expected - spread) / MICRO,
            high=(expected + spread) / MICRO,
            expected_before=None if before is None else before.expected[number] / MICRO,
            realised=None
            if before is None
            else sum(day.lost for day in [*self._window(span), today]) / MICRO,
        )


def _past(day: RetentionKpis) -> _Past:
    expected = {loss.days: round(loss.expected * MICRO) for loss in day.losses}
    return _Past(
        active=day.active,
        churned=day.lapsed,
        won_back=day.won_back,
        lost=round(day.lost_value * MICRO),
        expected=tuple(expected[span] for span in LOSS_DAYS),
    )


def day_number(day: date) -> int:
    """Count the days since 1970-01-01.

    Examples
    --------
    >>> day_number(date(1970, 1, 31))
    30
    """
    return (day - _EPOCH).days


def _segment(
    days: Days, flows: Mapping[Key, int], dimension: Literal["rfm", "lifecycle"], name: str
) -> SegmentKpis:
    level = days.level((dimension, name))
    return SegmentKpis(
        dimension=dimension,
        segment=name,
        customers=level.count,
        entered=flows.get((dimension, name, "entered"), 0),
        left=flows.get((dimension, name, "left"), 0),
        historic_value=level.historic / MICRO,
        predicted_value=level.predicted / MICRO,
        value_at_risk=level.at_risk / MICRO,
    )


def _alerts(days: Days, flows: Mapping[Key, int]) -> AlertKpis:
    return AlertKpis(
        raised=flows.get(("alerts", "raised"), 0),
        escalated=flows.get(("alerts", "escalated"), 0),
        ordered=flows.get(("alerts", "ordered"), 0),
        risk_fell=flows.get(("alerts", "risk_fell"), 0),
        lapsed=flows.get(("alerts", "lapsed"), 0),
        open=days.level(("alerts", "open")).count,
        value_at_risk=flows.get(("alerts", "value_at_risk"), 0) / MICRO,
    )


def _outcomes(flows: Mapping[Key, int]) -> AlertOutcomes:
    alerts, churned = flows.get(("outcomes", "alerts"), 0), flows.get(("outcomes", "churned"), 0)
    lead_ms = flows.get(("outcomes", "lead_ms"), 0)
    return AlertOutcomes(
        alerts=alerts,
        churned=churned,
        precision=_share(churned, alerts),
        lead_days=_share(lead_ms, flows.get(("outcomes", "led"), 0) * DAY_MS),
    )


def _answers(flows: Mapping[Key, int]) -> AnswerKpis:
    questions = flows.get(("answers", "questions"), 0)
    return AnswerKpis(
        questions=questions,
        churn_rate=_share(flows.get(("answers", "churned"), 0), questions),
        expected_rate=_share(flows.get(("answers", "risk"), 0), questions * MICRO),
        log_loss=_share(flows.get(("answers", "log_loss"), 0), questions * MICRO),
    )


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None
