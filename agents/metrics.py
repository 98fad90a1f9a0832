"""Every metric, in one place: name, meaning, labels.

One-word prefix, base units, totals end in `_total`. A label takes its values from a closed list or from the
topics and partitions that a worker reads, so that there are a few hundred series a worker; a customer
never appears in one. Nothing here is counted for each record: rooms hand over sums once a slice and once
an epoch (`agents.meter`), and what is true of all customers together is found by looking at some of them
at a time (`agents.census`). The table in docs/metrics.md is made from this file.

Alert rules and dashboards that read these are in `deploy/prometheus` and `deploy/grafana`.
"""

from __future__ import annotations

import platform
from collections.abc import Iterable, Mapping
from importlib.metadata import PackageNotFoundError, version
from typing import get_args

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector
from prometheus_client.metrics import MetricWrapperBase

from schemas.codec import WIRE_REASONS
from schemas.decisions import ReviewCause, RiskBand
from streams.customer.alerts import TABLE
from streams.customer.decision import Outcome
from streams.identity.visitor import Joined

REGISTRY = CollectorRegistry()

ProcessCollector(registry=REGISTRY)
"""`process_*`: memory, processor time, open files and start of the worker, as in every Prometheus client."""

_SHORT = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
_LONG = (0.1, 0.5, 1.0, 5.0, 15.0, 60.0, 300.0, 900.0, 3600.0, 6 * 3600.0, 86_400.0, 7 * 86_400.0)

# The program

BUILD = Gauge(
    "holdfast_build_info", "Always 1; the labels say what runs.", ["version", "python"], registry=REGISTRY
)
RESTARTS = Gauge(
    "holdfast_restarts", "Times that the supervisor has started this worker again.", registry=REGISTRY
)

# Records in

RECORDS = Counter(
    "holdfast_records",
    "Input records by what became of them (applied, late, duplicate, repeated, anonymous, dead).",
    ["topic", "outcome"],
    registry=REGISTRY,
)
DEAD_LETTERS = Counter(
    "holdfast_dead_letters", "Messages refused, by reason.", ["topic", "reason"], registry=REGISTRY
)
VISITORS = Gauge(
    "holdfast_visitors",
    "Anonymous ids that are known: their clicks wait, or they were identified (setting `identity`).",
    ["partition"],
    registry=REGISTRY,
)
VISITOR_RECORDS = Counter(
    "holdfast_visitor_records",
    "Clicks of visitors and messages that identify them anew, by what became of them: held, joined, "
    "identified, repeated, or joined to nobody (blocked, shared, full, misplaced).",
    ["outcome"],
    registry=REGISTRY,
)
VISITOR_CLICKS = Counter(
    "holdfast_visitor_clicks",
    "Clicks of visitors that became a customer's (given), or waited in vain (dropped).",
    ["outcome"],
    registry=REGISTRY,
)
CUT = Counter(
    "holdfast_cut_records",
    "Input records that retention deleted before they were read.",
    ["topic"],
    registry=REGISTRY,
)
MISPLACED = Counter(
    "holdfast_misplaced_records",
    "Sampled input records whose customer id belongs to another partition.",
    ["topic"],
    registry=REGISTRY,
)
WAITING = Gauge(
    "holdfast_waiting_records",
    "Records of an input partition that nothing has been done with yet (consumer lag).",
    ["topic", "partition"],
    registry=REGISTRY,
)
BUFFERED = Gauge(
    "holdfast_buffered_records", "Records read ahead of the merge.", ["partition"], registry=REGISTRY
)
PROCESSING = Histogram(
    "holdfast_processing_seconds",
    "From the arrival of a fetched batch to its last record decided about and what follows handed on.",
    buckets=_SHORT,
    registry=REGISTRY,
)
BROKER_LATENCY = Histogram(
    "holdfast_broker_latency_seconds",
    "From the record's timestamp on the broker to the same moment; the last record of each fetched batch.",
    buckets=_LONG,
    registry=REGISTRY,
)
EVENT_LATENCY = Histogram(
    "holdfast_event_latency_seconds",
    "From the newest event time to the clock, each time that a batch is done; years in a backfill.",
    buckets=_LONG,
    registry=REGISTRY,
)

# Time and epochs

WATERMARK = Gauge(
    "holdfast_watermark_seconds", "Event time that a partition has reached.", ["partition"], registry=REGISTRY
)
EPOCHS = Counter("holdfast_epochs", "Epochs sealed.", ["partition"], registry=REGISTRY)
EPOCH_LENGTH = Histogram(
    "holdfast_epoch_seconds",
    "From one sealed epoch of a partition to the next.",
    buckets=_SHORT,
    registry=REGISTRY,
)
EPOCH_SECONDS = Histogram(
    "holdfast_epoch_seal_seconds",
    "Time from the end of an epoch's work to everything acknowledged.",
    registry=REGISTRY,
)
CHANGELOG_BYTES = Counter(
    "holdfast_changelog_bytes", "Bytes of state written to the changelog.", registry=REGISTRY
)
CHANGELOG_STATES = Counter(
    "holdfast_changelog_states", "States of customers written to the changelog.", registry=REGISTRY
)
RECOVERY_SECONDS = Gauge(
    "holdfast_recovery_seconds",
    "How long the last recovery of a partition took.",
    ["partition"],
    registry=REGISTRY,
)
ERASURES = Counter(
    "holdfast_erasures",
    "Erasures of a customer carried out, one for each partition that was asked.",
    registry=REGISTRY,
)

# Decisions

DECISIONS = Counter("holdfast_decisions", "Messages said, by topic.", ["topic"], registry=REGISTRY)
REVIEWS = Counter(
    "holdfast_reviews", "Looks at a customer, by what led to them.", ["cause"], registry=REGISTRY
)
ALERTS = Counter("holdfast_alerts", "Steps of alert episodes.", ["state", "cause", "band"], registry=REGISTRY)
ALERT_VALUE = Counter(
    "holdfast_alert_value",
    "Value at risk named in steps of alert episodes, in the shop's currency.",
    ["state", "cause"],
    registry=REGISTRY,
)
SEGMENT_MOVES = Counter(
    "holdfast_segment_moves",
    "Moves of customers between segments; `none` before the first.",
    ["dimension", "previous", "current"],
    registry=REGISTRY,
)

# Customers

CUSTOMERS = Gauge("holdfast_customers", "Customers with a state.", ["partition"], registry=REGISTRY)
SEGMENT_SIZE = Gauge(
    "holdfast_segment_customers",
    "Customers with an order by segment, from the last look at all of them.",
    ["dimension", "segment"],
    registry=REGISTRY,
)
BAND_SIZE = Gauge(
    "holdfast_band_customers",
    "Customers with an order by risk band, from the last look at all of them.",
    ["band"],
    registry=REGISTRY,
)
VALUE_AT_RISK = Gauge(
    "holdfast_value_at_risk",
    "Risk times predicted value over customers by risk band, in the shop's currency.",
    ["band"],
    registry=REGISTRY,
)
OPEN_EPISODES = Gauge("holdfast_open_episodes", "Alert episodes that are open.", ["state"], registry=REGISTRY)
OPEN_VALUE = Gauge(
    "holdfast_open_value_at_risk",
    "Risk times predicted value over customers with an open alert episode (money at risk).",
    ["state"],
    registry=REGISTRY,
)
PREDICTED_VALUE = Gauge(
    "holdfast_predicted_value",
    "Predicted value of all customers with an order, in the shop's currency.",
    registry=REGISTRY,
)
CENSUS_SECONDS = Gauge(
    "holdfast_census_seconds",
    "How long the last look at all customers took: segment sizes and values are as old as that at most.",
    registry=REGISTRY,
)

# The model

MODEL_LEARNED = Gauge(
    "holdfast_model_examples", "Examples that the model in force has learned from.", registry=REGISTRY
)
HORIZON = Gauge(
    "holdfast_horizon_seconds", "Churn is no order within so long: what labels wait for.", registry=REGISTRY
)
LEARNED = Counter("holdfast_learned_examples", "Examples learned by this worker.", registry=REGISTRY)
LEARNED_TWICE = Counter(
    "holdfast_repeated_examples", "Examples that came again and were not learned.", registry=REGISTRY
)
LEARNED_UNTIL = Gauge(
    "holdfast_learned_until_seconds",
    "Event time at which the newest example learned got its answer.",
    registry=REGISTRY,
)
QUALITY = Gauge(
    "holdfast_prequential",
    "Quality of the served risk over answered questions (n, churn_rate, auc, log_loss, ece).",
    ["measure"],
    registry=REGISTRY,
)
EXPERT_WEIGHT = Gauge(
    "holdfast_expert_weight", "Share of each expert in the served risk.", ["expert"], registry=REGISTRY
)
EXPERT_LOSS = Gauge(
    "holdfast_expert_log_loss", "Prequential log loss of each expert.", ["expert"], registry=REGISTRY
)
EXPERT_DRIFTS = Gauge(
    "holdfast_expert_drifts", "Drifts detected in an expert's errors so far.", ["expert"], registry=REGISTRY
)
EXPERT_CHAMPION = Gauge(
    "holdfast_expert_champion",
    "1 for the expert that is better than each other beyond chance; 0 for all while there is none.",
    ["expert"],
    registry=REGISTRY,
)


def name_build() -> None:
    """Say which version runs; 0 where the package is not installed.

    Examples
    --------
    >>> name_build()
    >>> [sample.value for sample in BUILD.collect()[0].samples]
    [1.0]
    """
    try:
        installed = version("holdfast")
    except PackageNotFoundError:
        installed = "0"
    BUILD.labels(installed, platform.python_version()).set(1.0)


def begin_at_zero(topics: Iterable[str]) -> None:
    """Show what has not happened yet as 0: a rate sees the first time only if there was a time before.

    Parameters
    ----------
    topics
        Real names of the inputs.

    Examples
    --------
    >>> begin_at_zero(["orders"])
    >>> RECORDS.labels("orders", "late")._value.get() >= 0.0
    True
    """
    for topic in topics:
        CUT.labels(topic)
        MISPLACED.labels(topic)
        for outcome in (*(outcome.value for outcome in Outcome), "dead"):
            RECORDS.labels(topic, outcome)
        for reason in WIRE_REASONS:
            DEAD_LETTERS.labels(topic, reason)
    for joined in Joined:
        VISITOR_RECORDS.labels(joined.value)
    for outcome in ("given", "dropped"):
        VISITOR_CLICKS.labels(outcome)
    for cause in get_args(ReviewCause):
        REVIEWS.labels(cause)
    for state, cause in sorted({(s.says, s.cause) for s in TABLE.values() if s.says is not None}):
        ALERT_VALUE.labels(state, cause)
        for band in get_args(RiskBand):
            ALERTS.labels(state, cause, band)


def show_experts(
    weights: Mapping[str, float],
    losses: Mapping[str, float],
    drifts: Mapping[str, int],
    champion: str | None,
) -> None:
    """Show the experts of the model, and none that is not among them any more.

    Parameters
    ----------
    weights, losses, drifts
        By name of the expert: its share in the served risk, its prequential log loss, drifts so far.
    champion
        The one that is better than each other; None while there is none.

    Examples
    --------
    >>> show_experts({"logistic": 1.0}, {"logistic": 0.46}, {"logistic": 0}, None)
    >>> [sample.labels["expert"] for sample in EXPERT_WEIGHT.collect()[0].samples]
    ['logistic']
    >>> show_experts({}, {}, {}, None)
    """
    named = {expert: float(expert == champion) for expert in weights}
    for gauge, values in (
        (EXPERT_WEIGHT, weights),
        (EXPERT_LOSS, losses),
        (EXPERT_DRIFTS, drifts),
        (EXPERT_CHAMPION, named),
    ):
        gauge.clear()
        for expert, value in values.items():
            gauge.labels(expert).set(value)


def drop_partition(partition: int) -> None:
    """Stop reporting a partition that another worker holds now."""
    for gauge in (WATERMARK, CUSTOMERS, BUFFERED, RECOVERY_SECONDS, VISITORS):
        if (str(partition),) in gauge._metrics:
            gauge.remove(str(partition))
    for topic, number in list(WAITING._metrics):
        if number == str(partition):
            WAITING.remove(topic, number)


def all_metrics() -> list[MetricWrapperBase]:
    """Give every metric of this file, in its order."""
    return [metric for metric in globals().values() if isinstance(metric, MetricWrapperBase)]


def metrics_table() -> str:
    """Make the Markdown table of all metrics.

    Examples
    --------
    >>> metrics_table().splitlines()[0]
    '| metric | type | labels | meaning |'
    """
    rows = ["| metric | type | labels | meaning |", "|---|---|---|---|"]
    for metric in all_metrics():
        (family,) = metric.describe()
        name = family.name + ("_total" if family.type == "counter" else "")
        labels = ", ".join(f"`{label}`" for label in metric._labelnames)
        rows.append(f"| `{name}` | {family.type} | {labels} | {family.documentation} |")
    return "\n".join(rows) + "\n"
