"""What the API answers with, as types: the OpenAPI document is generated from them.

Times are event times, ISO 8601 in UTC. A risk is P(no order within `horizon_days`). Words are for people and
may change between versions; everything else is for programs.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from agents.console.quality import Quality
from schemas.btyd import BtydParams, SpendParams
from schemas.decisions import AlertCause, AlertState, ReviewCause, RiskBand

Share = Annotated[float, Meta(ge=0.0, le=1.0)]
Moment = Literal["order", "visit", "look", "correction", "alert", "segment"]


class Why(msgspec.Struct, frozen=True, kw_only=True):
    """One reason for a risk.

    `contribution` is the family's signed share of the log-odds: positive makes leaving more likely.
    """

    feature: str
    family: str
    value: float
    contribution: float
    words: str


class Alert(msgspec.Struct, frozen=True, kw_only=True):
    """One step of an alert episode, with its reasons in words.

    `open` says whether the episode stands as this step left it. `rfm` is the customer's segment now.
    """

    id: str
    episode: str
    state: AlertState
    cause: AlertCause
    open: bool
    customer_id: str
    event_time: datetime
    episode_started_at: datetime
    risk: Share
    band: RiskBand
    horizon_days: float
    predicted_value: float
    value_at_risk: float
    model_version: str
    rfm: str | None
    words: list[str]
    reasons: list[Why]


class Alerts(msgspec.Struct, frozen=True, kw_only=True):
    """Alerts that match, and what is at stake in all open episodes."""

    alerts: list[Alert]
    matching: int
    open_alerts: int
    money_at_risk: float
    currency: str


class Found(msgspec.Struct, frozen=True, kw_only=True):
    """A customer in a list."""

    customer_id: str
    event_time: datetime
    risk: Share
    band: RiskBand
    rfm: str
    lifecycle: str
    predicted_value: float
    value_at_risk: float


class Customers(msgspec.Struct, frozen=True, kw_only=True):
    """Customers that match, and how many are kept."""

    customers: list[Found]
    matching: int
    kept: int


class RiskAt(msgspec.Struct, frozen=True, kw_only=True):
    """A risk at a moment, and what made Holdfast look."""

    event_time: datetime
    risk: Share
    cause: ReviewCause


class RiskThen(msgspec.Struct, frozen=True, kw_only=True):
    """What the risk will be at a moment, should the customer stay silent until then."""

    event_time: datetime
    risk: Share


class Told(msgspec.Struct, frozen=True, kw_only=True):
    """Something that happened, in words."""

    event_time: datetime
    kind: Moment
    words: str
    risk: Share | None


class WhatIf(msgspec.Struct, frozen=True, kw_only=True):
    """What the model would say right after something happens; no promise that it would cause it."""

    what: Literal["order", "visit", "silence"]
    words: str
    risk: Share


class Customer(msgspec.Struct, frozen=True, kw_only=True):
    """All there is to say about a customer, as of the latest score.

    Attributes
    ----------
    crosses_at
        When the risk will reach `alert_threshold` if the customer stays silent.
    historic_value
        Revenue so far, net of refunds and cancellations.
    predicted_value
        Expected margin within `value_horizon_days` (customer lifetime value); `value_at_risk` is the risk
        times it.
    explained_by
        The model that reasons, outlook and possibilities were computed with: the score's own where it is
        still known, else the newest; null when there is none.
    history, timeline
        As far as they are kept; both the oldest first.
    """

    customer_id: str
    event_time: datetime
    cause: ReviewCause
    risk: Share
    band: RiskBand
    horizon_days: float
    alert_threshold: Share
    crosses_at: datetime | None
    rfm: str
    lifecycle: str
    orders: int
    time_since_last_order_days: float
    historic_value: float
    predicted_value: float
    value_horizon_days: float
    value_at_risk: float
    currency: str
    model_version: str
    explained_by: str | None
    words: list[str]
    reasons: list[Why]
    what_if: list[WhatIf]
    alert: Alert | None
    history: list[RiskAt]
    outlook: list[RiskThen]
    timeline: list[Told]


class Size(msgspec.Struct, frozen=True, kw_only=True):
    """How many customers are in a segment."""

    name: str
    words: str
    customers: int


class Flow(msgspec.Struct, frozen=True, kw_only=True):
    """How many moves from one segment to another were seen."""

    dimension: Literal["rfm", "lifecycle"]
    previous: str | None
    current: str
    words: str
    moves: int


class Segments(msgspec.Struct, frozen=True, kw_only=True):
    """Sizes of the segments over the customers kept, and moves between them, the most frequent first."""

    customers: int
    dropped_customers: int
    rfm: list[Size]
    lifecycle: list[Size]
    flows: list[Flow]


class Weight(msgspec.Struct, frozen=True, kw_only=True):
    """What the newest model makes of one feature: log-odds for each unit above `centre`."""

    feature: str
    about: str
    coefficient: float
    centre: float


class BtydTerm(msgspec.Struct, frozen=True, kw_only=True):
    """The last term of the model's log-odds, which BG/NBD gives.

    It is `coefficient` x (the log-odds of no order within the horizon, by `when` - `centre`).

    Attributes
    ----------
    when
        When customers buy and leave; times are in days.
    spend
        What orders are worth; null before there is a fit.
    orders_a_year
        Of a customer at the mean of all, while they stay: 365 r / alpha.
    leaving_share
        Share of orders after which a customer leaves for good, in the mean: a / (a + b).
    """

    about: str
    coefficient: float
    centre: float
    when: BtydParams
    spend: SpendParams | None
    orders_a_year: float
    leaving_share: Share


class Model(msgspec.Struct, frozen=True, kw_only=True):
    """The newest model, and how good the risks were that were served so far.

    Everything is null before the first model. `history` is thinned, the oldest first. The log-odds of a risk
    are `intercept` + the sum of coefficient x (value - centre) over `weights` + the term of `btyd`, which is
    null before the first fit. `champion` is the
    expert that is better than each other beyond chance, null while there is none; served is their mixture.
    """

    model_version: str | None
    event_time: datetime | None
    horizon_days: float | None
    quality: Quality | None
    champion: str | None
    history: list[Quality]
    intercept: float | None
    weights: list[Weight]
    btyd: BtydTerm | None


class TopicHealth(msgspec.Struct, frozen=True, kw_only=True):
    """How reading a topic goes: `behind` counts records that are there and not yet read."""

    topic: str
    read: int
    per_second: float
    behind: int
    silent_seconds: float | None


class DeadLetters(msgspec.Struct, frozen=True, kw_only=True):
    """Dead letters of a topic: how many are kept, and why the newest of them were refused."""

    topic: str
    kept: int
    reasons: dict[str, int]


class Health(msgspec.Struct, frozen=True, kw_only=True):
    """How the pipeline is, as far as its output tells.

    `caught_up` says whether everything has been read that was there when the console began.
    """

    caught_up: bool
    event_time: datetime | None
    topics: list[TopicHealth]
    dead_letters: list[DeadLetters]
    unreadable: int
    customers: int
    dropped_customers: int
    dropped_histories: int


class Alive(msgspec.Struct, frozen=True, kw_only=True):
    """The process answers."""

    status: Literal["ok"] = "ok"


class Ready(msgspec.Struct, frozen=True, kw_only=True):
    """What was there has been read."""

    status: Literal["ready"] = "ready"


class Problem(msgspec.Struct, frozen=True, kw_only=True):
    """An error, as RFC 9457 has it."""

    type: str = "about:blank"
    title: str
    status: int
    detail: str
