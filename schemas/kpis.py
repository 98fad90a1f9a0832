"""How retention goes: one message for each day of event time, about the whole shop.

Everything is as of the end of the day in UTC, by the scores known then. `null` stands where there is
nothing to divide by, or no day far enough back to compare with. Money is in the shop's currency.
"""

from __future__ import annotations

from datetime import date
from typing import Literal

import msgspec


class SegmentKpis(msgspec.Struct, frozen=True, kw_only=True):
    """One segment of one of the two partitions of all customers with an order.

    Attributes
    ----------
    entered, left
        Customers who came in and went out on this day; one who does both in a day counts as both.
    predicted_value
        Sum of what the customers are worth over the value horizon if they have not left.
    value_at_risk
        Sum of risk times that.
    """

    dimension: Literal["rfm", "lifecycle"]
    segment: str
    customers: int
    entered: int
    left: int
    historic_value: float
    predicted_value: float
    value_at_risk: float


class TraitKpis(msgspec.Struct, frozen=True, kw_only=True):
    """Customers with an order of whom one thing is known (`segments.traits`).

    Attributes
    ----------
    trait, value
        Its name, and what was said, as text; of each trait the 20 values that most customers have, and null
        for the others together.
    """

    trait: str
    value: str | None
    customers: int
    historic_value: float
    predicted_value: float
    value_at_risk: float


class ChurnKpis(msgspec.Struct, frozen=True, kw_only=True):
    """Who lapsed in the last `window_days`: went from an active stage to `defecting` or `inactive`.

    Attributes
    ----------
    window_days
        30, or as many as `segments.active_days` where that is less.
    active_before
        Customers in an active stage when the window began.
    rate
        `churned` over `active_before`.
    won_back
        Customers who came back from there in the same time.
    """

    window_days: int
    active_before: int | None
    churned: int
    won_back: int
    rate: float | None


class ChurnLoss(msgspec.Struct, frozen=True, kw_only=True):
    """What leaves with the customers who will lapse within `days`: their predicted value.

    Attributes
    ----------
    expected
        Sum over active customers of the probability to lapse times predicted value.
    low, high
        Where the loss lies with nine chances in ten if the probabilities are right.
    expected_before, realised
        What was expected `days` ago for the days until this one, and what was lost in them.
    """

    days: int
    expected: float
    low: float
    high: float
    expected_before: float | None
    realised: float | None


class AlertKpis(msgspec.Struct, frozen=True, kw_only=True):
    """Alerts of the day by what became of the episode, and episodes open at its end.

    Attributes
    ----------
    value_at_risk
        Of those raised.
    """

    raised: int
    escalated: int
    ordered: int
    risk_fell: int
    lapsed: int
    open: int
    value_at_risk: float


class AlertOutcomes(msgspec.Struct, frozen=True, kw_only=True):
    """Alerts whose horizon ended on this day, and whether they were right.

    Attributes
    ----------
    churned
        Those after which no order came within the horizon.
    precision
        `churned` over `alerts`.
    lead_days
        Mean time from the alert to the moment at which the customer had been silent for one horizon, over
        `churned`; negative where the alert came later than that.
    """

    alerts: int
    churned: int
    precision: float | None
    lead_days: float | None


class AnswerKpis(msgspec.Struct, frozen=True, kw_only=True):
    """Questions answered on this day: how often there was no order, and how often that was expected."""

    questions: int
    churn_rate: float | None
    expected_rate: float | None
    log_loss: float | None


class RetentionKpis(msgspec.Struct, frozen=True, kw_only=True):
    """One day.

    Attributes
    ----------
    day
        The same day again replaces what was said of it.
    customers, active
        Customers with an order, and those of them in an active stage: `first_time`, `active` or `won_back`.
    lapsed, won_back, lost_value
        Customers who on this day went from an active stage to another, came back to one, and the predicted
        value that went with the former.
    late
        Messages that came after their day had been told, and are told with this one.
    """

    version: int = 1
    day: date
    customers: int
    active: int
    lapsed: int
    won_back: int
    lost_value: float
    historic_value: float
    predicted_value: float
    value_at_risk: float
    segments: list[SegmentKpis]
    churn: ChurnKpis
    losses: list[ChurnLoss]
    alerts: AlertKpis
    outcomes: AlertOutcomes
    answers: AnswerKpis
    late: int
    traits: list[TraitKpis] = []
