"""The command that runs a worker."""

from __future__ import annotations

import signal
import sys
from pathlib import Path

import click

from agents.command_line import Invocation, examples

EXIT_CODES = "\n".join(
    (
        "\b",  # click, do not wrap
        "Exit codes:",
        "  0   asked to stop; everything is sealed and committed",
        "  1   somebody has to put something right: a setting, a topic, a flood of bad messages",
        "  2   the command line is wrong",
        "  70  a bug, a hung or stalled worker, or a stop that could not seal in time",
        "  75  no broker answers, or it stood still for longer than its session",
        "After 70, 75 or a signal start it again: it goes on from the last sealed epoch. --supervise does.",
    )
)


@click.command(
    epilog=EXIT_CODES
    + "\n\n"
    + examples(
        "holdfast worker", "holdfast worker --supervise", "holdfast --set worker.agents=learner worker"
    )
)
@click.option(
    "--model",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    metavar="FILE",
    help="Serve this model, whatever is learned: the last line of a models.jsonl.",
)
@click.option("-v", "--verbose", is_flag=True, help="Log what the worker does, not only what is wrong.")
@click.option(
    "--supervise", is_flag=True, help="Start the worker again when it dies, after 0.5 s, 1 s, ... 30 s."
)
@click.option("--restarts", type=int, default=0, hidden=True, help="Told by the supervisor.")
@click.pass_obj
def worker(invocation: Invocation, model: Path | None, verbose: bool, supervise: bool, restarts: int) -> None:
    """Read the topics and say who is about to leave.

    It keeps every customer's state. It creates the topics that it writes to and expects the inputs to be
    there. Start it again after any crash: it goes on where it was. Ctrl-C or SIGTERM seals what is done
    and ends it within 10 seconds.
    """
    if supervise:
        from agents.supervisor import Supervisor, worker_command

        arguments = [*(["--model", str(model)] if model else []), *(["-v"] if verbose else [])]
        sys.exit(Supervisor(worker_command(invocation.options(), arguments)).run())
    # Until Faust puts its own handler in place nothing has begun that would have to be sealed.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    from agents import metrics
    from agents.worker import start

    metrics.RESTARTS.set(restarts)
    start(invocation.settings(), model, "INFO" if verbose else "WARN")
