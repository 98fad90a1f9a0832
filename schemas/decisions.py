"""What Holdfast says about a customer: alerts, segment changes, scores.

Each message stands alone: a consumer needs no second topic to act on it, and can tell a repeat from
news by its `id`, which is a function of what it says and not of when it was sent. Times are event
times, ISO 8601 in UTC. `risk` is always P(no order within `horizon_days` after `event_time`).
"""

from __future__ import annotations

from datetime import datetime
from typing import Literal

import msgspec

from schemas.events import Trait

AlertState = Literal["raised", "escalated", "resolved"]
AlertCause = Literal["risk", "ordered", "risk_fell", "lapsed"]
RiskBand = Literal["low", "medium", "high"]
ReviewCause = Literal["order", "session", "timer", "boundary", "crossing", "correction"]


class Evidence(msgspec.Struct, frozen=True):
    """The input record that a decision rests on last, by its place in Kafka."""

    topic: str
    partition: int
    offset: int


class Reason(msgspec.Struct, frozen=True):
    """Why the risk is what it is: one feature of one family.

    Attributes
    ----------
    feature, family
        Name of the feature and of the family of correlated features that it speaks for.
    value
        The feature's value at the review.
    contribution
        The whole family's signed share of the log-odds: positive makes leaving more likely.
    """

    feature: str
    family: str
    value: float
    contribution: float


class Change(msgspec.Struct, frozen=True):
    """What moved since the review before: a risk family and by how much, in log-odds."""

    family: str
    contribution_before: float
    contribution_now: float


class ChurnAlert(msgspec.Struct, frozen=True, kw_only=True):
    """One step of an alert episode of one customer.

    Attributes
    ----------
    id
        The same for the same step however often it is delivered.
    episode
        The same for all steps of one episode.
    state
        `raised` and `escalated` by risk, `resolved` by `cause`.
    value_at_risk
        risk x predicted customer lifetime value, in the shop's currency.
    reasons
        At most four, of different families, the largest first; their contributions, those of the
        families not named and the intercept add up to the log-odds of `risk`.
    changed
        Families whose contribution moved most since the review before; empty at the first.
    """

    id: str
    name: Literal["churn"] = "churn"
    version: int = 1
    episode: str
    state: AlertState
    cause: AlertCause
    customer_id: str
    event_time: datetime
    episode_started_at: datetime
    risk: float
    band: RiskBand
    horizon_days: float
    predicted_value: float
    value_at_risk: float
    model_version: str
    intercept: float
    reasons: list[Reason]
    changed: list[Change]
    evidence: list[Evidence]


class SegmentChange(msgspec.Struct, frozen=True, kw_only=True):
    """A customer left one segment and entered another; sent only then.

    Attributes
    ----------
    dimension
        `rfm` or `lifecycle`: the two partitions of all customers.
    previous, current
        Names; `previous` is null when the customer enters for the first time.
    cause
        What made it true: an order, the end of a session, or time alone (`timer`, `boundary`).
    """

    id: str
    version: int = 1
    customer_id: str
    event_time: datetime
    dimension: Literal["rfm", "lifecycle"]
    previous: str | None
    current: str
    cause: ReviewCause
    evidence: list[Evidence]


class CustomerCluster(msgspec.Struct, frozen=True):
    """Customers who behave alike.

    Attributes
    ----------
    id
        Stays with the cluster from model to model.
    name
        What stands out about it; it may change with the cluster.
    """

    id: int
    name: str


class CustomerScore(msgspec.Struct, frozen=True, kw_only=True):
    """The latest word on a customer; the topic keeps the newest one of each.

    Attributes
    ----------
    crosses_at
        When the risk will reach the alert threshold if the customer stays silent; null when it is
        there already or will not get there within the look-ahead.
    time_since_last_order_days
        Days of silence as of `event_time` (RFM recency).
    historic_value
        Revenue so far, net of refunds and cancellations.
    predicted_value
        Expected margin over the value horizon.
    features
        What the risk was computed from, in the order of the model's `features`: with the snapshot
        named by `model_version`, enough to recompute the risk to the last bit.
    lifetime_value
        Margin earned so far and that to be expected, times the chance that the customer has not left, less
        what it cost to win them; negative until they have paid for that.
    cluster
        The behavioural cluster, where the model has any.
    traits
        What is known of the customer by the names in `segments.traits`.
    """

    version: int = 1
    customer_id: str
    event_time: datetime
    cause: ReviewCause
    risk: float
    band: RiskBand
    horizon_days: float
    crosses_at: datetime | None
    rfm: str
    lifecycle: str
    orders: int
    time_since_last_order_days: float
    historic_value: float
    predicted_value: float
    value_at_risk: float
    model_version: str
    features: list[float]
    lifetime_value: float | None = None
    cluster: CustomerCluster | None = None
    traits: dict[str, Trait] = {}
