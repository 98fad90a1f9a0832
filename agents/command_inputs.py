"""What `replay`, `suggest` and `verify` read: files, or the input topics as they stand.

A topic is first written to a temporary file (`agents.from_topic`), so that it can be read more than once and
is the same each time.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timezone
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import click

from agents.errors import OperatorError

if TYPE_CHECKING:
    from agents.from_topic import Progress
    from agents.reading import Source
    from agents.settings import Settings

_INPUTS = ("clickstream", "orders")


def inputs(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command what names its input: FILE..., --from-topic, --since, --until."""
    moment = click.DateTime(["%Y-%m-%d", "%Y-%m-%dT%H:%M", "%Y-%m-%dT%H:%M:%S"])
    for option in (
        click.option(
            "--until", type=moment, metavar="TIME", help="Topics: up to the first record at or after, UTC."
        ),
        click.option(
            "--since",
            type=moment,
            metavar="TIME",
            help="Topics: from the first record at or after this record time, UTC (2026-05-01T12:00).",
        ),
        click.option(
            "--from-topic",
            "topics",
            multiple=True,
            type=click.Choice((*_INPUTS, "inputs")),
            help="Read an input topic, all partitions, up to its end now; inputs is both. May be repeated.",
        ),
        click.argument("files", nargs=-1, metavar="[FILE]..."),
    ):
        command = option(command)
    return command


@contextmanager
def opened(
    settings: Settings,
    files: Sequence[str],
    topics: Sequence[str],
    since: datetime | None,
    until: datetime | None,
    again: bool = False,
) -> Iterator[list[Source]]:
    """Open what the options name.

    Parameters
    ----------
    again
        Whether it will be read more than once, which standard input cannot.

    Raises
    ------
    UsageError
        When the options name nothing, or both files and topics.
    OperatorError
        When what they name cannot be read.
    """
    from agents.lines import Lines
    from agents.records import Records

    if bool(files) == bool(topics):
        raise click.UsageError("Name files, or topics with --from-topic.")
    if files:
        if since or until:
            raise click.UsageError("--since and --until are for --from-topic.")
        if again and "-" in files:
            raise OperatorError("standard input can be read once only; put the messages into a file")
        yield [Lines(name) for name in files]
        return
    since_ms, until_ms = (_ms(moment) if moment else None for moment in (since, until))
    if since_ms is not None and until_ms is not None and since_ms >= until_ms:
        raise click.UsageError("--since must be before --until.")
    from agents.from_topic import fetch

    names = [name for name in _INPUTS if name in topics or "inputs" in topics]
    with TemporaryDirectory(prefix="holdfast-") as folder:
        path = Path(folder, "records")
        with path.open("wb") as file, _progress() as progress:
            fetched = fetch(settings, names, since_ms, until_ms, file, progress)
        if not fetched:
            where = " and ".join(settings.topic(name) for name in names)
            raise OperatorError(f"there is nothing on {where}" + (" in that time" if since or until else ""))
        yield [Records(path)]


def _ms(moment: datetime) -> int:
    return int(moment.replace(tzinfo=timezone.utc).timestamp() * 1000)


@contextmanager
def _progress() -> Iterator[Progress | None]:
    """Show how much has been fetched, where somebody may be looking."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    columns = (TextColumn("fetch"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Bar(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("fetch", total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)
