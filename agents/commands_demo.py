"""The command that shows all of it on one machine."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal

import click

from agents.command_line import Invocation, examples
from agents.commands_kafka import leave_on_sigterm

if TYPE_CHECKING:
    from agents.settings import Settings

CHOSEN: dict[str, object] = {
    "reviews.horizon_days": 84.0,
    "worker.epoch_seconds": 0.2,
    "console.currency": "$",
}
"""What the demo sets where --set does not: the horizon that CDNOW is known for, whose customers order
every few months, short epochs, because a second of the demo is two weeks of the shop, and its currency."""


@click.command(epilog=examples("holdfast demo", "holdfast demo --serve", "holdfast demo --plain > demo.log"))
@click.option(
    "--sample",
    type=click.Choice(["tenth", "all"]),
    default="tenth",
    show_default=True,
    help="The 2,357 customers of the published 1/10 sample, or all 23,570.",
)
@click.option("--plain", is_flag=True, help="A line every few seconds; so it is where nobody looks on.")
@click.option(
    "--serve/--no-serve",
    default=None,
    help="Keep console, broker and worker running at the end, until Ctrl-C; so it is on a terminal.",
)
@click.option(
    "--timeout",
    type=click.FloatRange(min=1.0),
    default=600.0,
    show_default=True,
    metavar="SECONDS",
    help="Give up after so long.",
)
@click.pass_obj
def demo(
    invocation: Invocation, sample: Literal["tenth", "all"], plain: bool, serve: bool | None, timeout: float
) -> None:
    """See it work on the orders of a real shop.

    Orders of CDNOW, 1997 to 1998, go through an in-memory broker and a worker, on free ports, while the
    model learns and alerts come and go; nothing is left behind. Settings given with --set apply.
    """
    leave_on_sigterm()
    from rich.console import Console

    from agents.demo import Options, run
    from samples.cdnow import messages

    def configure(overrides: Mapping[str, object]) -> Settings:
        chosen = {key: value for key, value in CHOSEN.items() if key not in invocation.assignments}
        return invocation.settings({**chosen, **overrides})

    console = Console(highlight=False)
    stays = console.is_terminal and not plain if serve is None else serve
    options = Options(plain or not console.is_terminal, stays, timeout)
    run(configure, lambda: messages(sample), console, options)
