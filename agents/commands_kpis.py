"""The command that tells how retention goes."""

from __future__ import annotations

import click

from agents.command_line import Invocation, examples


@click.command(epilog=examples("holdfast kpis", "holdfast kpis --once"))
@click.option("--once", is_flag=True, help="Stop when everything that is there has been read.")
@click.pass_obj
def kpis(invocation: Invocation, once: bool) -> None:
    """Put the retention KPIs of each day of event time on their topic, and print a line for each.

    It reads alerts, segment changes, scores and examples from the beginning, in no consumer group, and goes
    on after the last day that is on the topic. Run one of them beside the workers.
    """
    settings = invocation.settings()
    from rich.console import Console

    from agents.kpis import follow
    from agents.one_line import kpis_line

    console = Console(highlight=False, soft_wrap=True)
    follow(settings, lambda day: console.print(kpis_line(day)), once=once)
