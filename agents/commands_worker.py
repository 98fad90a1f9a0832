"""The command that runs a worker."""

from __future__ import annotations

from pathlib import Path

import click

from agents.command_line import Invocation, examples


@click.command(epilog=examples("holdfast worker", "holdfast --set worker.agents=learner worker"))
@click.option(
    "--model",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    metavar="FILE",
    help="Serve this model, whatever is learned: the last line of a models.jsonl.",
)
@click.option("-v", "--verbose", is_flag=True, help="Log what the worker does, not only what is wrong.")
@click.pass_obj
def worker(invocation: Invocation, model: Path | None, verbose: bool) -> None:
    """Read the topics, keep every customer's state, and say who is about to leave.

    It creates the topics that it writes to and expects the inputs to be there. Start it again after any
    crash: it goes on where it was. Ctrl-C or SIGTERM seals what is done and ends it.
    """
    from agents.worker import start

    start(invocation.settings(), model, "INFO" if verbose else "WARN")
