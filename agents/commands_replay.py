"""The command that reads files of messages with the machines that run live."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from agents.command_inputs import inputs, opened
from agents.command_line import Invocation, assignments, examples
from agents.errors import OperatorError

if TYPE_CHECKING:
    from agents.reading import Source
    from agents.replay import Progress

_REFRESH_SECONDS = 0.1


@click.command(
    epilog=examples(
        "holdfast sample cdnow -o cdnow.jsonl.gz",
        "holdfast replay cdnow.jsonl.gz --horizon-days 84",
        "holdfast replay cdnow.jsonl.gz --set alerts.raise_at=0.75 --out earlier",
        'holdfast replay cdnow.jsonl.gz --compare "strict: alerts.raise_at=0.9, alerts.escalate_at=0.95"',
        "holdfast replay may.jsonl.gz june.jsonl.gz --model replay-out/models.jsonl",
        "holdfast replay --from-topic inputs --since 2026-05-01 --until 2026-06-01",
    )
)
@inputs
@click.option(
    "--horizon-days",
    type=click.FloatRange(min=0.0, min_open=True, max=3650.0),
    metavar="N",
    help="Churn is no order within N days; goes above --set reviews.horizon_days.",
)
@click.option(
    "--set",
    "assigned",
    multiple=True,
    metavar="KEY=VALUE",
    callback=assignments,
    help="Override a setting; goes above one before the command. May be repeated.",
)
@click.option(
    "--compare",
    "variants",
    multiple=True,
    metavar="'NAME: KEY=VALUE, KEY=VALUE'",
    help="Replay with other settings as well and compare. May be repeated.",
)
@click.option(
    "--resamples",
    type=click.IntRange(20, 10_000),
    default=200,
    show_default=True,
    metavar="N",
    help="How often customers are drawn for the intervals of a comparison.",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("replay-out"),
    show_default=True,
    metavar="DIR",
    help="Where to put the results; those of an earlier replay are replaced at the end.",
)
@click.option(
    "--model",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    metavar="FILE",
    help="Serve this model and learn nothing: the last line of a models.jsonl.",
)
@click.pass_obj
def replay(
    invocation: Invocation,
    files: tuple[str, ...],
    topics: tuple[str, ...],
    since: datetime | None,
    until: datetime | None,
    horizon_days: float | None,
    assigned: dict[str, str],
    variants: tuple[str, ...],
    resamples: int,
    out: Path,
    model: Path | None,
) -> None:
    """Replay messages and judge what comes out.

    The machines are those that run live. Files have one message a line, in the formats that
    `sources.clickstream` and `sources.orders` name (Segment by default), in event-time order; - reads
    standard input, .gz is decompressed. Several files are read one after the other, so name the earliest
    first. A line that is no message is a dead letter, as on a topic. The same messages and settings give
    the same bytes.

    --compare names a variant and what it changes; a part without = goes on with the list before it:
    "wide: segments.recency_days=45,90,180,360, alerts.raise_at=0.7". All variants see the same messages;
    differences have intervals from a paired bootstrap over customers. Results are in DIR/variants/NAME.
    """
    own: dict[str, object] = dict(assigned)
    if horizon_days is not None:
        own["reviews.horizon_days"] = horizon_days
    settings = invocation.settings(own)
    from agents.model_file import read_model
    from agents.replay import replay_files
    from agents.variants import check_deciding, parse_variant

    others = {}
    for name, values in map(parse_variant, variants):
        if name in others:
            raise OperatorError(f"--compare: there are two variants {name}")
        check_deciding(values, "--compare")
        others[name] = invocation.settings({**own, **values})
    served = read_model(model, settings.reviews.horizon_days) if model else None
    if served and any(other.reviews.horizon_days != served.horizon_days for other in others.values()):
        raise OperatorError("--compare: a variant of another horizon cannot be replayed with --model")
    began = time.monotonic()
    with (
        opened(settings, files, topics, since, until, again=bool(others)) as lines,
        _progress_of(lines) as progress,
    ):
        content = replay_files(settings, lines, out, served, progress, others, resamples)
    _print_summary(content, out, time.monotonic() - began)


@contextmanager
def _progress_of(inputs: list[Source]) -> Iterator[Progress | None]:
    """Show how far a replay is, where somebody may be looking."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

    from schemas.codec import utc

    sizes = [lines.size for lines in inputs if lines.size is not None]
    total = sum(sizes) if len(sizes) == len(inputs) else None  # a pipe does not say how long it is
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TextColumn("{task.fields[rate]:,.0f} events/s"),
        TimeRemainingColumn(),
    )
    began = shown = time.monotonic()
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("replay", total=total, rate=0.0)

        def progress(bytes_done: int, events: int, reached_ms: int) -> None:
            nonlocal shown
            now = time.monotonic()
            if now - shown >= _REFRESH_SECONDS:
                shown = now
                reached = f"replay {utc(reached_ms):%Y-%m-%d}"
                bar.update(task, completed=bytes_done, description=reached, rate=events / (now - began))

        yield progress


def _print_summary(content: dict[str, Any], out: Path, seconds: float) -> None:
    from agents.replay import RESULTS

    rows = [*_rows(content)]
    rows.append(("time", f"{seconds:.1f} s, {content['events']['read'] / max(seconds, 1e-9):,.0f} events/s"))
    rows.append(("results", f"{out}: {', '.join(RESULTS)}"))
    rows += _comparison(content.get("comparison"))
    width = max(len(title) for title, _ in rows) + 2
    for title, text in rows:
        click.echo(click.style(f"{title:<{width}}", bold=True) + text)


def _rows(content: dict[str, Any]) -> Iterator[tuple[str, str]]:
    events, said = content["events"], content["decisions"]
    outcomes = ("applied", "duplicate", "late", "anonymous", "dead")
    yield "events", f"{events['read']:,} read: {_listed(events, outcomes)}"
    if events["dead"]:
        reasons = content["dead_by_reason"]
        yield "dead letters", _listed(reasons, [name for name in reasons if reasons[name]])
    if content["first_event"]:
        yield "event time", f"{_minute(content['first_event'])} to {_minute(content['last_event'])} UTC"
    yield "customers", f"{content['customers']:,} at the end"
    states = content["alerts_by_state"]
    yield "churn alerts", f"{said['alerts']:,}: {_listed(states, states)}"
    yield "segment changes", f"{said['segment_changes']:,}"
    yield "scores", f"{said['scores']:,}"
    open_ = f"{content['open_questions']:,} questions still open (censored)"
    yield "examples", f"{said['examples']:,} matured; {open_}"
    model = content["model"]
    origin = "frozen, from --model" if model["frozen"] else f"the last of {said['models']:,} published"
    yield "model", f"{model['model_version']}, learned from {model['n_learned']:,} examples; {origin}"
    yield "prequential", _quality(content["prequential"])
    yield "", f"over {content['prequential']['over']}"
    alerts = content["evaluation"]["alerts"]
    if alerts["precision"] is not None:
        outcome = f"{alerts['right']:,} right, {alerts['wrong']:,} wrong, {alerts['open']:,} not known yet"
        lead = alerts["lead_days"]["median"]
        more = "" if lead is None else f", median lead {lead:.0f} days"
        yield "outcome", f"{outcome}: precision {alerts['precision']:.3f}{more}"


def _comparison(comparison: dict[str, Any] | None) -> Iterator[tuple[str, str]]:
    """Tell of each variant what it differs by, with its interval."""
    measures = {
        "AUC": ("auc", 4),
        "log loss": ("log_loss", 4),
        "precision": ("precision", 3),
        "mean lead": ("mean_lead_days", 1),
        "alerts/day": ("alerts_per_day", 2),
    }
    for variant in comparison["variants"][1:] if comparison else ():
        said = []
        for title, (name, decimals) in measures.items():
            value, low, high = (variant["differences"][name][key] for key in ("value", "low", "high"))
            if value is not None and low is not None:
                said.append(f"{title} {value:+.{decimals}f} ({low:+.{decimals}f} to {high:+.{decimals}f})")
        yield variant["name"], ", ".join(said) or "nothing that can be compared"


def _listed(counts: dict[str, int], names: Any) -> str:
    return ", ".join(f"{counts[name]:,} {name}" for name in names)


def _minute(moment: str) -> str:
    return moment[:16].replace("T", " ")


def _quality(prequential: dict[str, Any]) -> str:
    measures = {"AUC": "auc", "log loss": "log_loss", "ECE": "ece", "churn rate": "churn_rate"}
    values = {title: prequential[name] for title, name in measures.items()}
    shown = [f"{title} {'-' if value is None else format(value, '.4f')}" for title, value in values.items()]
    return f"{', '.join(shown)}, n {prequential['n']:,}"
