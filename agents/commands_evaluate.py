"""The commands that look at a replay's settings and at what was published: suggest and verify."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import click

from agents.command_inputs import inputs, opened
from agents.command_line import Invocation, examples
from agents.errors import OperatorError


@click.command(
    epilog=examples(
        "holdfast suggest cdnow.jsonl.gz --alerts-per-day 5",
        "holdfast suggest --from-topic orders --alerts-per-day 20",
    )
)
@inputs
@click.option(
    "--alerts-per-day",
    type=click.FloatRange(min=0.0, min_open=True),
    default=10.0,
    show_default=True,
    metavar="N",
    help="How many alerts a day somebody can work on.",
)
@click.option(
    "--share",
    type=click.FloatRange(min=0.1, max=0.99),
    default=0.8,
    show_default=True,
    metavar="S",
    help="The horizon is the silence within which this share of returning buyers has reordered.",
)
@click.pass_obj
def suggest(
    invocation: Invocation,
    files: tuple[str, ...],
    topics: tuple[str, ...],
    since: datetime | None,
    until: datetime | None,
    alerts_per_day: float,
    share: float,
) -> None:
    """Suggest a horizon and an alert threshold from past messages.

    The horizon follows from how long repeat buyers stay silent before they order again, the threshold from
    how many alerts a day are wanted. The end of the output is for holdfast.toml.
    """
    settings = invocation.settings()
    from agents.evaluate import silence, threshold

    with opened(settings, files, topics, since, until, again=True) as lines:
        gaps = silence(settings, lines, share)
        horizon = float(gaps.days[share])
        click.echo(
            f"{gaps.ended:,} gaps between orders of repeat buyers, {gaps.open:,} not over yet "
            f"(Kaplan-Meier); {gaps.returning:.0%} of gaps end within the data"
        )
        click.echo("share of them reordered   within")
        for part, days in gaps.days.items():
            click.echo(f"{part:>23.0%}   {days} days" + ("  <- horizon" if part == share else ""))
        budget = threshold(settings, lines, horizon, alerts_per_day)
    click.echo(f"\nrisk threshold   alerts/day   right   (over {budget.days:.0f} days, estimated)")
    for row in sorted(set(budget.expected)):
        right = "-" if row.precision is None else f"{row.precision:.0%}"
        chosen = "  <- raise_at" if row.threshold == budget.suggested["raise_at"] else ""
        click.echo(f"{row.threshold:>14.3f}   {row.per_day:>10.2f}   {right:>5}{chosen}")
    per_day, precision = budget.replayed["per_day"], budget.replayed["precision"]
    judged = "" if precision is None else f", {precision:.0%} of those known were right"
    click.echo(f"a replay with these settings raised {per_day or 0.0:.2f} alerts a day since then{judged}\n")
    click.echo(f"[reviews]\nhorizon_days = {horizon!r}\n\n[alerts]")
    for key, value in budget.suggested.items():
        click.echo(f"{key} = {value!r}")


@click.command(
    epilog=examples(
        "holdfast verify cdnow.jsonl.gz --outputs replay-out", "holdfast verify --from-topic inputs"
    )
)
@inputs
@click.option(
    "--outputs",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    metavar="DIR",
    help="Folder of a replay with the alerts and models; without it they are read from their topics.",
)
@click.pass_obj
def verify(
    invocation: Invocation,
    files: tuple[str, ...],
    topics: tuple[str, ...],
    since: datetime | None,
    until: datetime | None,
    outputs: Path | None,
) -> None:
    """Recompute published alerts from messages.

    And from the models that they name. One line for each alert that differs: in its risk, band, reasons,
    values, or in crossing a threshold. The exit code is 1 when there is one. The settings must be those
    that the alerts were published with; those of a replay stand in its report.json.
    """
    settings = invocation.settings()
    from agents.evaluate import audit, from_folder, from_topics

    alerts, models = from_folder(outputs) if outputs else from_topics(settings)
    with opened(settings, files, topics, since, until) as lines:
        auditor = audit(settings, lines, alerts, models)
    for alert, what in auditor.differences:
        click.echo(f"{alert.event_time:%Y-%m-%d %H:%M} {alert.customer_id} {alert.state}: {what}")
    if auditor.differences:
        raise OperatorError(f"{len(auditor.differences):,} of {len(alerts):,} alerts differ")
    click.echo(f"{auditor.confirmed:,} alerts recomputed, all the same")
