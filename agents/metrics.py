"""Every metric, in one place: name, meaning, labels.

One-word prefix, base units, totals end in `_total`; a customer never appears in a label. The table in
the README is made from this file. Metrics of the worker are served by prometheus-client's own server.
"""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

REGISTRY = CollectorRegistry()

RECORDS = Counter(
    "holdfast_records",
    "Input records by what became of them (applied, late, duplicate, repeated, anonymous, dead).",
    ["topic", "outcome"],
    registry=REGISTRY,
)
DEAD_LETTERS = Counter(
    "holdfast_dead_letters", "Messages refused, by reason.", ["topic", "reason"], registry=REGISTRY
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
DECISIONS = Counter("holdfast_decisions", "Messages said, by topic.", ["topic"], registry=REGISTRY)
ALERTS = Counter("holdfast_alerts", "Steps of alert episodes.", ["state", "cause"], registry=REGISTRY)
WATERMARK = Gauge(
    "holdfast_watermark_seconds", "Event time that a partition has reached.", ["partition"], registry=REGISTRY
)
CUSTOMERS = Gauge("holdfast_customers", "Customers with a state.", ["partition"], registry=REGISTRY)
BUFFERED = Gauge(
    "holdfast_buffered_records", "Records read ahead of the merge.", ["partition"], registry=REGISTRY
)
EPOCHS = Counter("holdfast_epochs", "Epochs sealed.", ["partition"], registry=REGISTRY)
EPOCH_SECONDS = Histogram(
    "holdfast_epoch_seal_seconds",
    "Time from the end of an epoch's work to everything acknowledged.",
    registry=REGISTRY,
)
CHANGELOG_BYTES = Counter(
    "holdfast_changelog_bytes", "Bytes of state written to the changelog.", registry=REGISTRY
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
MODEL_LEARNED = Gauge(
    "holdfast_model_examples", "Examples that the model in force has learned from.", registry=REGISTRY
)
LEARNED = Counter("holdfast_learned_examples", "Examples learned by this worker.", registry=REGISTRY)
LEARNED_TWICE = Counter(
    "holdfast_repeated_examples", "Examples that came again and were not learned.", registry=REGISTRY
)
QUALITY = Gauge(
    "holdfast_prequential",
    "Quality of the served risk over answered questions (n, churn_rate, auc, log_loss, ece).",
    ["measure"],
    registry=REGISTRY,
)
RESTARTS = Gauge(
    "holdfast_restarts", "Times that the supervisor has started this worker again.", registry=REGISTRY
)


def drop_partition(partition: int) -> None:
    """Stop reporting a partition that another worker holds now."""
    for gauge in (WATERMARK, CUSTOMERS, BUFFERED, RECOVERY_SECONDS):
        if (str(partition),) in gauge._metrics:
            gauge.remove(str(partition))


def metrics_table() -> str:
    """Make the Markdown table of all metrics.

    Examples
    --------
    >>> metrics_table().splitlines()[0]
    '| metric | type | labels | meaning |'
    """
    rows = ["| metric | type | labels | meaning |", "|---|---|---|---|"]
    for metric in (
        RECORDS,
        DEAD_LETTERS,
        CUT,
        MISPLACED,
        DECISIONS,
        ALERTS,
        WATERMARK,
        CUSTOMERS,
        BUFFERED,
        EPOCHS,
        EPOCH_SECONDS,
        CHANGELOG_BYTES,
        RECOVERY_SECONDS,
        ERASURES,
        MODEL_LEARNED,
        LEARNED,
        LEARNED_TWICE,
        QUALITY,
        RESTARTS,
    ):
        (family,) = metric.describe()
        name = family.name + ("_total" if family.type == "counter" else "")
        labels = ", ".join(f"`{label}`" for label in metric._labelnames)
        rows.append(f"| `{name}` | {family.type} | {labels} | {family.documentation} |")
    return "\n".join(rows) + "\n"
