"""The command that tells how retention goes."""

from __future__ import annotations

from pathlib import Path

import click

from agents.command_line import Invocation, examples
from agents.commands_kafka import leave_on_sigterm


@click.command(epilog=examples("holdfast kpis", "holdfast kpis --once"))
@click.option("--once", is_flag=True, help="Stop when everything that is there has been read.")
@click.option(
    "--heartbeat",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Touch this file each time that the broker was asked; a health check looks at its age.",
)
@click.pass_obj
def kpis(invocation: Invocation, once: bool, heartbeat: Path | None) -> None:
    """Tell how retention goes, day by day.

    The KPIs of each day of event time go on their topic, and a line of each is printed.

    It reads alerts, segment changes, scores and examples from the beginning, in no consumer group, and goes
    on after the last day that is on the topic. Run one of them beside the workers.
    """
    settings = invocation.settings()
    leave_on_sigterm()  # the first process of a container would not hear it otherwise
    from rich.console import Console

    from agents.kpis import follow
    from agents.one_line import kpis_line

    def beat() -> None:
        if heartbeat is not None:
            heartbeat.touch()

    console = Console(highlight=False, soft_wrap=True)
    follow(settings, lambda day: console.print(kpis_line(day)), once=once, beat=beat)
