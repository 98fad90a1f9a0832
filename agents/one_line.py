"""A record as one line for a person, in the order in which a person asks: when, who, what, how bad, why.

The line is for looking, not for parsing: whoever wants to parse reads the JSON. Dead letters and foreign
records may hold any bytes, so nothing of theirs reaches the terminal that is not printable.
"""

from __future__ import annotations

from datetime import datetime, timezone

import msgspec
from rich.text import Text

from agents.client import Record
from agents.explanations import why_alert
from schemas.codec import utc
from schemas.decisions import ChurnAlert, CustomerScore, SegmentChange
from schemas.kpis import RetentionKpis
from schemas.learning import Example, ModelSnapshot
from schemas.topics import TOPIC_BY_NAME

_ERROR_HEADER = "__connect.errors."
_SHOWN = 80
_STATE_STYLE = {"raised": "yellow", "escalated": "bold red", "resolved": "green"}
_BAND_STYLE = {"low": "green", "medium": "yellow", "high": "red"}


def one_line(record: Record) -> Text:
    """Tell a record in one line.

    Parameters
    ----------
    record
        As `agents.client.watch` gives it.

    Returns
    -------
    rich.text.Text
        Coloured where the terminal has colours.

    Examples
    --------
    >>> change = SegmentChange(
    ...     id="s1",
    ...     customer_id="c-17",
    ...     event_time=utc(0),
    ...     dimension="rfm",
    ...     previous=None,
    ...     current="Loyal",
    ...     cause="order",
    ...     evidence=[],
    ... )
    >>> value = msgspec.json.encode(change)
    >>> record = Record(
    ...     topic="segment-changes", partition=0, offset=7, time_ms=0, key=b"c-17", value=value, headers={}
    ... )
    >>> one_line(record).plain
    '1970-01-01 00:00  c-17  rfm: (new) -> Loyal  (order)'
    """
    spec = TOPIC_BY_NAME[record.topic]
    if spec.role == "dead":
        return _dead_letter(record)
    if spec.schema is None:
        return _other(record)
    try:
        message = msgspec.json.decode(record.value or b"", type=spec.schema)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return _other(record)
    match message:
        case ChurnAlert():
            return _alert(message)
        case SegmentChange():
            return _segment_change(message)
        case CustomerScore():
            return _score(message)
        case Example():
            return _example(message)
        case ModelSnapshot():
            return _model(message)
        case RetentionKpis():
            return kpis_line(message)
    raise TypeError(f"no line for {type(message).__name__}")


def json_line(record: Record) -> bytes:
    """Give a record as one line of JSON: the value as it is, or, for dead letters, with its origin.

    Examples
    --------
    >>> json_line(
    ...     Record(
    ...         topic="orders.dlq",
    ...         partition=0,
    ...         offset=7,
    ...         time_ms=0,
    ...         key=None,
    ...         value=b"oops",
    ...         headers={"__connect.errors.stage": b"decode"},
    ...     )
    ... )
    b'{"topic":"orders.dlq","partition":0,"offset":7,"headers":{"__connect.errors.stage":"decode"},"value":"oops"}'
    """
    if TOPIC_BY_NAME[record.topic].role != "dead":
        return (record.value or b"null").replace(b"\n", b" ")
    return msgspec.json.encode(
        {
            "topic": record.topic,
            "partition": record.partition,
            "offset": record.offset,
            "headers": {name: value.decode(errors="replace") for name, value in record.headers.items()},
            "value": None if record.value is None else record.value.decode(errors="replace"),
        }
    )


def _alert(alert: ChurnAlert) -> Text:
    line = _head(alert.event_time, alert.customer_id)
    line.append(f"{alert.state:<9}", _STATE_STYLE[alert.state])
    line.append(f"  risk {alert.risk:.2f} ").append(alert.band, _BAND_STYLE[alert.band])
    line.append(f"  at risk {alert.value_at_risk:.2f}  ")
    return line.append("; ".join(why_alert(alert)), "dim")


def _segment_change(change: SegmentChange) -> Text:
    line = _head(change.event_time, change.customer_id)
    line.append(f"{change.dimension}: {change.previous or '(new)'} -> ").append(change.current, "bold")
    return line.append(f"  ({change.cause})", "dim")


def _score(score: CustomerScore) -> Text:
    line = _head(score.event_time, score.customer_id)
    line.append(f"risk {score.risk:.2f} ").append(score.band, _BAND_STYLE[score.band])
    line.append(f"  {score.rfm}, {score.lifecycle}  at risk {score.value_at_risk:.2f}")
    if score.crosses_at is not None:
        line.append(f"  crosses {_time(score.crosses_at)}", "dim")
    return line


def _example(example: Example) -> Text:
    line = _head(example.matured_at, example.customer_id)
    line.append("left" if example.label else "stayed", "red" if example.label else "green")
    return line.append(f"  risk {example.risk:.2f} served at {_time(example.asked_at)} ({example.cause})")


def _model(model: ModelSnapshot) -> Text:
    quality = ", ".join(f"{name} {value:.4g}" for name, value in model.metrics.items())
    when = "-" if model.event_time is None else _time(model.event_time)
    return Text(f"{when}  model {model.model_version}  learned {model.n_learned}  {quality}")


def kpis_line(day: RetentionKpis) -> Text:
    """Tell a day in one line."""
    line = Text(f"{day.day.isoformat()}  ").append(f"{day.active} active", "bold")
    rate = "" if day.churn.rate is None else f", {day.churn.rate:.1%} lapsed in {day.churn.window_days} days"
    line.append(f" of {day.customers} customers{rate}")
    losses = ", ".join(
        f"{loss.expected:.2f} ({loss.low:.2f} to {loss.high:.2f}) in {loss.days} days" for loss in day.losses
    )
    line.append(f"  to lose {losses}")
    right = (
        "" if day.outcomes.precision is None else f", {day.outcomes.precision:.0%} of those due were right"
    )
    return line.append(f"  alerts {day.alerts.raised} new, {day.alerts.open} open{right}", "dim")


def _dead_letter(record: Record) -> Text:
    about = {
        name.removeprefix(_ERROR_HEADER): _printable(value)
        for name, value in record.headers.items()
        if name.startswith(_ERROR_HEADER)
    }
    origin = f"{about.get('topic', '?')}[{about.get('partition', '?')}] at {about.get('offset', '?')}"
    line = Text(f"{_time(utc(record.time_ms))}  {origin}  ")
    line.append(about.get("exception.message", "no reason given"), "red")
    return line.append(f"  {_printable(record.value)}", "dim")


def _other(record: Record) -> Text:
    line = Text(f"{_time(utc(record.time_ms))}  {record.topic}[{record.partition}] at {record.offset}  ")
    return line.append(f"{_printable(record.key)}  {_printable(record.value)}", "dim")


def _head(event_time: datetime, customer_id: str) -> Text:
    return Text(f"{_time(event_time)}  ").append(_printable(customer_id.encode()), "bold cyan").append("  ")


def _time(moment: datetime) -> str:
    return moment.astimezone(timezone.utc).strftime("%Y-%m-%d %H:%M")


def _printable(raw: bytes | None) -> str:
    if raw is None:
        return "(none)"
    text = raw.decode(errors="replace")
    shown = "".join(
        letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in text[:_SHOWN]
    )
    return shown + ("..." if len(text) > _SHOWN else "")
