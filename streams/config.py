"""The settings that decide what events mean, each with its default, its bounds and its reason.

A setting belongs here when changing it changes a decision; how decisions travel is configured in
`agents`. The bounds are in the types, so a value out of range is refused where it is read, and the
descriptions are the ones that the documentation prints.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta

from schemas.sources.config import SourceConfig

DAY_MS: Final = 86_400_000
HOUR_MS: Final = 3_600_000
MINUTE_MS: Final = 60_000
SECOND_MS: Final = 1_000

HIGHEST_RISK: Final = 0.999
"""The highest risk that is served; a threshold above it would never be reached."""

Positive = Annotated[float, Meta(gt=0.0)]
Count = Annotated[int, Meta(ge=1)]
TraitName = Annotated[str, Meta(min_length=1, max_length=64)]


@lru_cache(maxsize=1024)  # of settings, and asked for at every review
def days_ms(days: float) -> int:
    """Give the first whole millisecond at which so many days have passed: `ms / DAY_MS >= days`.

    Examples
    --------
    >>> days_ms(30.0), days_ms(1 / 7), int(DAY_MS / 7)
    (2592000000, 12342858, 12342857)
    """
    whole_ms = int(days * DAY_MS)
    return whole_ms if whole_ms / DAY_MS >= days else whole_ms + 1


class TimeConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Event time."""

    allowed_lateness_seconds: Annotated[
        float,
        Meta(ge=0.0, le=86_400.0, description="How far the watermark stays behind the newest event time."),
    ] = 60.0
    max_ahead_seconds: Annotated[
        float,
        Meta(
            ge=0.0,
            description="An event time further ahead of the broker's is refused: it would drag time along.",
        ),
    ] = 300.0
    idle_after_seconds: Annotated[
        float,
        Meta(ge=0.1, description="Live only: inputs silent for so long let the wall clock move event time."),
    ] = 5.0
    backfill_lag_hours: Annotated[
        float,
        Meta(gt=0.0, description="Event times further behind the wall clock are a backfill: it never ticks."),
    ] = 24.0


class ReviewConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """When a customer is looked at, and what is asked then."""

    horizon_days: Annotated[
        float, Meta(gt=0.0, le=3650.0, description="Churn is no order within so many days after the review.")
    ] = 30.0
    session_gap_minutes: Annotated[
        float, Meta(gt=0.0, description="A session ends after so many minutes without a click.")
    ] = 30.0
    weekly_reviews: Annotated[
        int, Meta(ge=0, le=520, description="Reviews a week apart after the last order; then every 30 days.")
    ] = 12
    silent_days: Annotated[
        float, Meta(gt=0.0, description="Reviews stop after so many days without an order.")
    ] = 365.0
    forget_days: Annotated[
        float,
        Meta(gt=0.0, description="A customer without any event for so many days is erased from the state."),
    ] = 1095.0
    question_share: Annotated[
        float,
        Meta(ge=0.0, le=1.0, description="Share of order and timer reviews kept as questions to learn from."),
    ] = 1.0
    seed: Annotated[int, Meta(description="Seed of the hash that picks the questions.")] = 1
    publish_risk_change: Annotated[
        float,
        Meta(
            ge=0.0,
            le=1.0,
            description="A score goes out again when the risk moved by so much, or anything else changed.",
        ),
    ] = 0.02


class SegmentConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Borders of the RFM cells and of the lifecycle stages, and what else customers are grouped by."""

    borders: Annotated[
        Literal["fixed", "learned"],
        Meta(
            description="Borders of the RFM cells: fixed by the two settings that follow, or learned as "
            "quintiles of the shop's customers, which begin with those."
        ),
    ] = "fixed"
    recency_days: Annotated[
        tuple[Positive, Positive, Positive, Positive],
        Meta(description="Days since the last order that end the recency scores 5, 4, 3 and 2."),
    ] = (30.0, 60.0, 120.0, 240.0)
    frequency_orders: Annotated[
        tuple[Count, Count, Count, Count],
        Meta(description="Orders that begin the frequency scores 2, 3, 4 and 5."),
    ] = (2, 3, 5, 9)
    active_days: Annotated[
        float, Meta(gt=0.0, description="Days since the last order up to which a customer is active.")
    ] = 90.0
    inactive_days: Annotated[
        float, Meta(gt=0.0, description="Days since the last order from which a customer is inactive.")
    ] = 365.0
    clusters: Annotated[
        int,
        Meta(ge=0, le=12, description="Behavioural clusters that the learner looks for; 0 or 1 for none."),
    ] = 0
    traits: Annotated[
        tuple[TraitName, ...],
        Meta(
            max_length=4,
            description="Traits of identify messages that are kept, at most four, such as plan or country: "
            "they stand in scores and retention KPIs, so no names or addresses.",
        ),
    ] = ()


class AlertConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Who is worth an alert, and when."""

    min_orders: Annotated[
        int, Meta(ge=1, description="Customers with fewer orders raise no alert: there is no habit to break.")
    ] = 2
    raise_at: Annotated[
        float, Meta(gt=0.0, le=HIGHEST_RISK, description="Risk at which an episode begins.")
    ] = 0.8
    escalate_at: Annotated[
        float, Meta(gt=0.0, le=HIGHEST_RISK, description="Risk at which it escalates.")
    ] = 0.9
    resolve_below: Annotated[
        float, Meta(gt=0.0, lt=1.0, description="Risk below which it ends; a gap to raise_at stops flapping.")
    ] = 0.7
    min_value: Annotated[float, Meta(ge=0.0, description="Value at risk below which nothing is raised.")] = (
        0.0
    )
    lookahead_days: Annotated[
        float,
        Meta(gt=0.0, le=730.0, description="How far ahead the moment is sought at which risk will cross."),
    ] = 90.0


class ValueConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a customer is worth."""

    margin: Annotated[float, Meta(gt=0.0, le=1.0, description="Share of revenue that is margin.")] = 1.0
    horizon_days: Annotated[float, Meta(gt=0.0, description="Predicted value covers so many days.")] = 365.0
    discount_rate: Annotated[
        float,
        Meta(ge=0.0, le=10.0, description="Yearly rate at which predicted value is discounted; 0.1 is 10 %."),
    ] = 0.1
    acquisition_cost: Annotated[
        float, Meta(ge=0.0, description="What winning a customer costs, taken off their lifetime value.")
    ] = 0.0
    acquisition_cost_trait: Annotated[
        str,
        Meta(
            max_length=64,
            description="Trait of identify messages that says what winning the customer cost; empty: none.",
        ),
    ] = ""
    prior_orders: Annotated[
        float,
        Meta(
            gt=0.0,
            description="Weight of the prior order rate, in orders (gamma shape); predicted values use it "
            "until the first BG/NBD fit, KPIs always.",
        ),
    ] = 0.5
    prior_days: Annotated[
        float,
        Meta(
            gt=0.0,
            description="Days in which the prior expects that many orders (gamma rate); until the first fit.",
        ),
    ] = 90.0


class LearnerConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The online model."""

    learning_rate: Annotated[
        float,
        Meta(
            gt=0.0,
            description="First step size of the experts that take gradient steps (base_rate, btyd, inverse); "
            "the filters find theirs.",
        ),
    ] = 0.05
    learning_rate_power: Annotated[
        float,
        Meta(ge=0.0, le=1.0, description="How fast their steps shrink: step k is learning_rate / k^power."),
    ] = 0.5
    l2: Annotated[float, Meta(ge=0.0, description="L2 regularisation of those experts.")] = 0.0
    prior_churn_rate: Annotated[
        float,
        Meta(
            gt=0.0,
            lt=1.0,
            description="Risk served before anything has been learned; every expert begins there.",
        ),
    ] = 0.5
    publish_every: Annotated[
        int, Meta(ge=1, description="Examples between two published models in a replay; live, every epoch.")
    ] = 500
    dedupe_window: Annotated[
        int, Meta(ge=0, description="Recent example ids kept so that a repeat is not learned twice.")
    ] = 16_384


class IdentityConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Whether clicks of visitors are joined to the customer who signs in later, and how much waits."""

    enabled: Annotated[
        bool, Meta(description="Clicks without a userId wait for the message that says whose they are.")
    ] = False
    across_partitions: Annotated[
        bool,
        Meta(
            description="Also where visitor and customer lie on different partitions: workers then write to "
            "the clickstream. Segment format only."
        ),
    ] = True
    hold_days: Annotated[
        float, Meta(gt=0.0, le=365.0, description="A click that is nobody's waits for so many days.")
    ] = 7.0
    clicks_per_visitor: Annotated[
        int, Meta(ge=1, le=1_000, description="So many clicks of a visitor wait, the newest.")
    ] = 64
    visitors_per_partition: Annotated[
        int, Meta(ge=1, description="So many visitors of a partition are known, those seen last.")
    ] = 50_000
    customers_per_visitor: Annotated[
        int, Meta(ge=1, le=100, description="A visitor identified as more customers is a shared device.")
    ] = 3
    visitors_per_customer: Annotated[
        int, Meta(ge=1, le=10_000, description="So many visitors are joined to one customer.")
    ] = 20


class StreamConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Everything that decides what events mean."""

    time: TimeConfig = TimeConfig()
    reviews: ReviewConfig = ReviewConfig()
    segments: SegmentConfig = SegmentConfig()
    alerts: AlertConfig = AlertConfig()
    value: ValueConfig = ValueConfig()
    learner: LearnerConfig = LearnerConfig()
    sources: SourceConfig = SourceConfig()
    identity: IdentityConfig = IdentityConfig()

    def problems(self) -> list[str]:
        """Say what contradicts itself, one line each; an empty list when nothing does.

        Examples
        --------
        >>> StreamConfig().problems()
        []
        >>> StreamConfig(alerts=AlertConfig(resolve_below=0.85)).problems()
        ['alerts: resolve_below < raise_at <= escalate_at must hold, not 0.85, 0.8, 0.9']
        """
        found = self.sources.problems()
        alerts, segments = self.alerts, self.segments
        if not alerts.resolve_below < alerts.raise_at <= alerts.escalate_at:
            found.append(
                "alerts: resolve_below < raise_at <= escalate_at must hold, "
                f"not {alerts.resolve_below}, {alerts.raise_at}, {alerts.escalate_at}"
            )
        if list(segments.recency_days) != sorted(set(segments.recency_days)):
            found.append("segments: recency_days must grow")
        if list(segments.frequency_orders) != sorted(set(segments.frequency_orders)):
            found.append("segments: frequency_orders must grow")
        if not segments.active_days < segments.inactive_days:
            found.append("segments: active_days must be less than inactive_days")
        if self.reviews.forget_days < self.reviews.silent_days + self.reviews.horizon_days:
            # The last review asks at silent_days: forgotten earlier, those who left give no answer.
            found.append("reviews: forget_days must not be less than silent_days and horizon_days together")
        return found
