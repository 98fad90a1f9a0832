"""What each dashboard shows: the compact description that `deploy.grafana.build` turns into Grafana's JSON.

A panel is a title, what it is for, a unit and its queries, each with the name of its lines. Units are
Grafana's: `s` seconds, `short` plain numbers, `percentunit` shares, `Bps` bytes a second. Money has no unit,
because a shop has its own currency.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

Kind = Literal["stat", "timeseries", "bargauge", "stacked"]


class Panel(NamedTuple):
    """One panel.

    Attributes
    ----------
    queries
        Pairs of PromQL and the legend of what it gives.
    """

    title: str
    about: str
    kind: Kind
    unit: str
    queries: tuple[tuple[str, str], ...]


class Dashboard(NamedTuple):
    """One dashboard; panels flow from left to right."""

    uid: str
    title: str
    about: str
    panels: tuple[Panel, ...]


def _p99(metric: str, quantiles: tuple[float, ...] = (0.5, 0.99)) -> tuple[tuple[str, str], ...]:
    return tuple(
        (
            f"histogram_quantile({q:g}, sum by (le) (rate({metric}_bucket[$__rate_interval])))",
            f"p{100 * q:g}",
        )
        for q in quantiles
    )


def _by(metric: str, label: str, where: str = "") -> tuple[tuple[str, str], ...]:
    return ((f"sum by ({label}) (rate({metric}{where}[$__rate_interval]))", f"{{{{{label}}}}}"),)


OPERATIONS = Dashboard(
    "holdfast-operations",
    "Holdfast: Operations",
    "Whether workers run, keep up and lose nothing.",
    (
        Panel("Workers up", "Workers that answer Prometheus.", "stat", "short",
              (('sum(up{job="holdfast"})', "workers"),)),
        Panel("Records a second", "Input records dealt with, whatever became of them.", "stat", "short",
              (("holdfast:records:rate1m", "records/s"),)),
        Panel("Waiting records", "Input records that nothing has been done with yet (consumer lag).", "stat",
              "short", (("holdfast:waiting_records", "records"),)),
        Panel("Time to catch up", "How long what waits takes at the present pace.", "stat", "s",
              (("holdfast:waiting_seconds", "to catch up"),)),
        Panel("Watermark lag", "From the slowest partition's event time to the clock. Years in a backfill.",
              "stat", "s", (("holdfast:watermark_lag_seconds", "lag"),)),
        Panel("Share of dead letters", "Input that breaks the contract, over five minutes.", "stat",
              "percentunit", (("holdfast:dead_share:rate5m", "dead"),)),
        Panel("Throughput by outcome", "What became of input records. Late ones are applied as well.",
              "stacked", "short", _by("holdfast_records_total", "outcome")),
        Panel("Waiting records by topic", "Consumer lag of each input.", "timeseries", "short",
              (("sum by (topic) (holdfast_waiting_records)", "{{topic}}"),
               ("sum(holdfast_buffered_records)", "of these read already"))),
        Panel("Dead letters by reason", "Why messages were refused; the topic keeps them as they came.",
              "stacked", "short",
              _by("holdfast_dead_letters_total", "reason")),
        Panel("Processing latency", "From a batch's arrival at the worker to decided and handed on.",
              "timeseries", "s", _p99("holdfast_processing_seconds")),
        Panel("Broker latency", "From a record's timestamp on the broker to decided: with waiting in Kafka.",
              "timeseries", "s", _p99("holdfast_broker_latency_seconds")),
        Panel("Event latency", "From the newest event time to the clock: with what senders and phones add.",
              "timeseries", "s", _p99("holdfast_event_latency_seconds")),
        Panel("Event time by partition", "Seconds behind the clock; lines apart are partitions apart.",
              "timeseries", "s",
              (("time() - (max by (partition) (holdfast_watermark_seconds) > 0)", "{{partition}}"),)),
        Panel("Epochs a second", "Sealed epochs; each is a promise that nothing before it is lost.",
              "timeseries", "short", _by("holdfast_epochs_total", "partition")),
        Panel("Epoch duration", "From one seal of a partition to the next, and the sealing itself.",
              "timeseries", "s",
              (*_p99("holdfast_epoch_seconds", (0.99,)),
               *((query, "sealing p99") for query, _ in _p99("holdfast_epoch_seal_seconds", (0.99,))))),
        Panel("Changelog", "Bytes of customer state written.", "timeseries", "Bps",
              (("sum(rate(holdfast_changelog_bytes_total[$__rate_interval]))", "written"),)),
        Panel("States written", "Customers whose state was written: the same one many times counts again.",
              "timeseries", "short",
              (("sum(rate(holdfast_changelog_states_total[$__rate_interval]))", "states/s"),)),
        Panel("Messages said", "Output by topic.", "timeseries", "short",
              _by("holdfast_decisions_total", "topic")),
        Panel("Duplicates and repeats", "Messages that came twice, and records read again after a restart.",
              "timeseries", "short",
              _by("holdfast_records_total", "outcome", '{outcome=~"duplicate|repeated"}')),
        Panel("Visitors' clicks and logins",
              "What became of clicks without a customer; given ones are a customer's now.",
              "timeseries", "short",
              (*_by("holdfast_visitor_records_total", "outcome"),
               *_by("holdfast_visitor_clicks_total", "outcome"))),
        Panel("Visitors known", "Anonymous ids whose clicks wait, or who were identified.", "timeseries",
              "short", (("sum(holdfast_visitors) or vector(0)", "visitors"),)),
        Panel("Late records", "Share of the input that came behind the watermark.", "timeseries",
              "percentunit", (("holdfast:late_share:rate5m", "late"),)),
        Panel("Lost to retention", "Records that Kafka deleted before they were read. Must be 0.",
              "timeseries", "short", (("sum by (topic) (holdfast_cut_records_total)", "{{topic}}"),)),
        Panel("On the wrong partition",
              "Sampled records whose customer belongs to another partition. Must be 0.", "timeseries",
              "short", (("sum by (topic) (holdfast_misplaced_records_total)", "{{topic}}"),)),
        Panel("Memory", "Resident memory of each worker.", "timeseries", "bytes",
              (('process_resident_memory_bytes{job="holdfast"}', "{{instance}}"),)),
        Panel("Processor", "Cores used by each worker; the hot path uses one.", "timeseries", "short",
              (('rate(process_cpu_seconds_total{job="holdfast"}[$__rate_interval])', "{{instance}}"),)),
        Panel("Recovery", "How long the last take-over of each partition took.", "bargauge", "s",
              (("max by (partition) (holdfast_recovery_seconds)", "partition {{partition}}"),)),
        Panel("Restarts and versions", "What runs where.", "stat", "short",
              (("holdfast_build_info + on (instance) group_left () holdfast_restarts - 1",
                "{{instance}} {{version}}: restarts"),)),
        Panel("Erasures", "Customers forgotten on request.", "stat", "short",
              (("sum(holdfast_erasures_total)", "erased"),)),
    ),
)  # fmt: skip

CUSTOMERS = Dashboard(
    "holdfast-customers",
    "Holdfast: Customers",
    "Who they are, where they move, and whom an alert is about.",
    (
        Panel("Customers", "With a state, prospects included.", "stat", "short",
              (("sum(holdfast_customers)", "customers"),)),
        Panel("Open alerts", "Episodes that nobody has resolved.", "stat", "short",
              (("sum(holdfast_open_episodes)", "open"),)),
        Panel("Raised in the last hour", "New episodes.", "stat", "short",
              (('sum(increase(holdfast_alerts_total{state="raised"}[1h]))', "raised"),)),
        Panel("Came back in the last hour", "Episodes that an order resolved.", "stat", "short",
              (('sum(increase(holdfast_alerts_total{state="resolved", cause="ordered"}[1h]))', "back"),)),
        Panel("Active share", "Customers with an order who are not defecting or inactive.", "stat",
              "percentunit",
              (('1 - sum(holdfast:segment_customers{dimension="lifecycle", segment=~"defecting|inactive"})'
                ' / clamp_min(sum(holdfast:segment_customers{dimension="lifecycle"}), 1)', "active"),)),
        Panel("Age of the count", "How long the last look at all customers took.", "stat", "s",
              (("max(holdfast_census_seconds)", "round"),)),
        Panel("RFM segments", "By recency and frequency: each customer with an order is in one.", "bargauge",
              "short", (('holdfast:segment_customers{dimension="rfm"}', "{{segment}}"),)),
        Panel("Lifecycle stages", "From the first order to the last.", "bargauge", "short",
              (('holdfast:segment_customers{dimension="lifecycle"}', "{{segment}}"),)),
        Panel("Risk bands", "Customers by the risk served last: low below .5, high from .75.", "bargauge",
              "short", (("sum by (band) (holdfast_band_customers)", "{{band}}"),)),
        Panel("RFM segments over time", "Sizes.", "stacked", "short",
              (('holdfast:segment_customers{dimension="rfm"}', "{{segment}}"),)),
        Panel("Lifecycle over time", "Sizes.", "stacked", "short",
              (('holdfast:segment_customers{dimension="lifecycle"}', "{{segment}}"),)),
        Panel("Lifecycle moves", "Who goes where, the ten largest flows of the last hour.", "bargauge",
              "short",
              (('topk(10, sum by (previous, current) '
                '(increase(holdfast_segment_moves_total{dimension="lifecycle"}[1h])))',
                "{{previous}} to {{current}}"),)),
        Panel("RFM moves", "The ten largest flows of the last hour.", "bargauge", "short",
              (('topk(10, sum by (previous, current) '
                '(increase(holdfast_segment_moves_total{dimension="rfm"}[1h])))',
                "{{previous}} to {{current}}"),)),
        Panel("Alerts by state and band", "Steps of episodes.", "stacked", "short",
              (("sum by (state, band) (rate(holdfast_alerts_total[$__rate_interval]))",
                "{{state}}, {{band}}"),)),
        Panel("How episodes end", "An order is what one hopes for; lapsed means that reviews have stopped.",
              "timeseries", "short", _by("holdfast_alerts_total", "cause", '{state="resolved"}')),
        Panel("Reviews by cause", "What leads to a look at a customer.", "stacked", "short",
              _by("holdfast_reviews_total", "cause")),
    ),
)  # fmt: skip

MODEL = Dashboard(
    "holdfast-model",
    "Holdfast: Model",
    "How good the served risk was, judged when answers came.",
    (
        Panel("AUC", "P(a churner's risk was above a stayer's), over all answered questions.", "stat", "none",
              (('max(holdfast_prequential{measure="auc"})', "AUC"),)),
        Panel("Log loss", "Mean over all answered questions, in nats; lower is better.", "stat", "none",
              (('max(holdfast_prequential{measure="log_loss"})', "log loss"),)),
        Panel("Calibration error", "How far served risk and churn are apart on average (20 bins).", "stat",
              "none", (('max(holdfast_prequential{measure="ece"})', "ECE"),)),
        Panel("Churn rate", "Share of answered questions whose customer did not order.", "stat",
              "percentunit", (('max(holdfast_prequential{measure="churn_rate"})', "churn"),)),
        Panel("Questions answered", "What the measures rest on.", "stat", "short",
              (('max(holdfast_prequential{measure="n"})', "answers"),)),
        Panel("Label delay", "From a question to its answer learned, in event time: horizon and more.",
              "stat", "s", (("holdfast:label_delay_seconds", "delay"),)),
        Panel("Log loss against a constant guess", "Above the upper line the model knows nothing.",
              "timeseries", "none",
              (('max(holdfast_prequential{measure="log_loss"})', "served"),
               ("holdfast:base_rate_log_loss", "churn rate alone"))),
        Panel("AUC over time", "Of all questions so far.", "timeseries", "none",
              (('max(holdfast_prequential{measure="auc"})', "AUC"),)),
        Panel("Calibration over time", "Expected calibration error.", "timeseries", "none",
              (('max(holdfast_prequential{measure="ece"})', "ECE"),)),
        Panel("Expert weights", "Share of each expert in the served risk.", "stacked", "percentunit",
              (("max by (expert) (holdfast_expert_weight)", "{{expert}}"),)),
        Panel("Expert log loss", "Each expert judged alone.", "timeseries", "none",
              (("max by (expert) (holdfast_expert_log_loss)", "{{expert}}"),)),
        Panel("Drifts", "Times that an expert's errors have changed for good.", "timeseries", "short",
              (("max by (expert) (holdfast_expert_drifts)", "{{expert}}"),)),
        Panel("Champion", "1 for an expert that is better than each other beyond chance.", "timeseries",
              "short", (("max by (expert) (holdfast_expert_champion)", "{{expert}}"),)),
        Panel("Examples a second", "Learned, and those that came again and were not.", "timeseries", "short",
              (("sum(rate(holdfast_learned_examples_total[$__rate_interval]))", "learned"),
               ("sum(rate(holdfast_repeated_examples_total[$__rate_interval]))", "repeated"))),
        Panel("Examples in the model in force", "Workers adopt a model at an epoch's end.", "timeseries",
              "short", (("max by (instance) (holdfast_model_examples)", "{{instance}}"),)),
        Panel("Label delay over time", "Event time between question and learning.", "timeseries", "s",
              (("holdfast:label_delay_seconds", "delay"), ("max(holdfast_horizon_seconds)", "horizon"))),
    ),
)  # fmt: skip

MONEY = Dashboard(
    "holdfast-money",
    "Holdfast: Money",
    "What is at stake, in the shop's currency.",
    (
        Panel("Money at risk", "Risk times predicted value of customers with an open alert.", "stat", "short",
              (("holdfast:money_at_risk", "at risk"),)),
        Panel("Predicted value", "Expected margin of all customers over the value horizon.", "stat", "short",
              (("sum(holdfast_predicted_value)", "predicted"),)),
        Panel("Share at risk", "Risk times predicted value over predicted value, of all customers.", "stat",
              "percentunit",
              (("sum(holdfast_value_at_risk) / clamp_min(sum(holdfast_predicted_value), 1e-9)", "share"),)),
        Panel("Put at risk in the last hour", "Value named by alerts raised.", "stat", "short",
              (('sum(increase(holdfast_alert_value_total{state="raised"}[1h]))', "raised"),)),
        Panel("Open alerts", "How many customers that money is.", "stat", "short",
              (("sum(holdfast_open_episodes)", "open"),)),
        Panel("Money an open alert", "Mean value at risk of an open episode.", "stat", "short",
              (("holdfast:money_at_risk / clamp_min(sum(holdfast_open_episodes), 1)", "mean"),)),
        Panel("Money at risk over time", "Customers with an open alert, by how far the episode has gone.",
              "stacked", "short", (("sum by (state) (holdfast_open_value_at_risk)", "{{state}}"),)),
        Panel("Value at risk by band", "All customers, alerted about or not.", "stacked", "short",
              (("sum by (band) (holdfast_value_at_risk)", "{{band}}"),)),
        Panel("Predicted value over time", "Of all customers.", "timeseries", "short",
              (("sum(holdfast_predicted_value)", "predicted"),)),
        Panel("Raised and escalated", "Value named by alerts, a second.", "timeseries", "short",
              _by("holdfast_alert_value_total", "state", '{state=~"raised|escalated"}')),
        Panel("Resolved by cause", "What was left at risk at the end of episodes, a second.", "timeseries",
              "short", _by("holdfast_alert_value_total", "cause", '{state="resolved"}')),
        Panel("Open episodes", "By how far they have gone.", "timeseries", "short",
              (("sum by (state) (holdfast_open_episodes)", "{{state}}"),)),
    ),
)  # fmt: skip

DASHBOARDS = (OPERATIONS, CUSTOMERS, MODEL, MONEY)
