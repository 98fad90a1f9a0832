"""The command that serves the console."""

from __future__ import annotations

import click

from agents.command_line import Invocation, examples


@click.command(
    epilog=examples(
        "holdfast console",
        "holdfast --set console.port=0 console",
        "HOLDFAST_CONSOLE__TOKEN=... holdfast --set console.host=0.0.0.0 console",
    )
)
@click.pass_obj
def console(invocation: Invocation) -> None:
    """Serve a page of who is about to leave.

    And an API behind it. It reads the output topics and needs no database; run as many as you like. The
    API is described at /openapi.json. An address that others can reach needs a token.
    """
    settings = invocation.settings()
    from agents.console.server import run

    run(settings, lambda address: click.echo(f"console at {address} (Ctrl-C stops it)"))
