"""The command that erases customers, and how its receipt reads."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

from agents.command_line import Invocation, examples
from agents.errors import OperatorError

if TYPE_CHECKING:
    from agents.forget import Compacted, Forgotten, Kept, Progress, Receipt

_DAY_MS = 86_400_000
_MINUTE_MS = 60_000


@click.command(
    epilog=examples(
        "holdfast forget c-17",
        "holdfast forget c-17 c-18 --json > receipt.json",
        "holdfast forget --file ids.txt",
    )
)
@click.argument("customers", nargs=-1, metavar="[CUSTOMER]...")
@click.option(
    "--file", "file", metavar="FILE", help="Read more ids from a file, one a line; - is standard input."
)
@click.option("--json", "as_json", is_flag=True, help="Print the receipt as JSON.")
@click.option(
    "--timeout",
    type=click.FloatRange(min=0.0),
    default=60.0,
    show_default=True,
    metavar="SECONDS",
    help="How long to wait for the workers.",
)
@click.pass_obj
def forget(
    invocation: Invocation, customers: tuple[str, ...], file: str | None, as_json: bool, timeout: float
) -> None:
    """Erase customers and print a receipt.

    From state, changelog and scores. It asks the workers, so one has to run for each partition, and waits
    until they have done it. Events that stood on the inputs before go with the customer; those that come
    later start a new one. An id of - reads ids from standard input. It cannot be undone.
    """
    settings = invocation.settings()
    ids = [customer_id for customer_id in customers if customer_id != "-"]
    for name in [*(["-"] if "-" in customers else []), *([file] if file else [])]:
        ids += _ids(name)
    if not ids:
        raise click.UsageError("name a customer, or a file of ids with --file")
    from agents import forget as forgetting

    with _progress_of(len(set(ids))) as progress:
        receipt = forgetting.forget(settings, ids, timeout=timeout, progress=progress)
    if as_json:
        import msgspec

        click.echo(msgspec.json.encode(receipt).decode())
    else:
        for line in receipt_lines(receipt):
            click.echo(line)


def _ids(name: str) -> Iterator[str]:
    from agents.lines import Lines

    lines = Lines(name)
    for number, line in enumerate((line for line in lines if line is not None), start=1):
        try:
            customer_id = line.decode().strip()
        except UnicodeDecodeError:
            raise OperatorError(f"{lines.name}:{number}: not UTF-8") from None
        if customer_id:
            yield customer_id


@contextmanager
def _progress_of(total: int) -> Iterator[Progress | None]:
    """Show how far it is, where somebody may be looking."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("waiting for the workers"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("forget", total=total)
        yield lambda done: bar.update(task, completed=done)


def receipt_lines(receipt: Receipt) -> Iterator[str]:
    """Word a receipt for a person, line by line."""
    moments = f"requested {receipt.requested_at:%Y-%m-%d %H:%M:%S} UTC, done {receipt.done_at:%H:%M:%S} UTC"
    for customer in receipt.customers:
        yield f"{customer.customer_id}: erased ({moments})"
        yield from _tombstones(customer)
    yield "What the tombstones replace is gone when the broker has compacted:"
    yield from (f"  {topic.topic}: {_compaction(topic)}" for topic in receipt.compacted)
    yield "Messages about them stay until their time is over:"
    yield from (f"  {topic.topic}: {_retention(topic)}" for topic in receipt.kept)
    yield "Events of theirs that come from now on start a new customer."


def _tombstones(customer: Forgotten) -> Iterator[str]:
    for topic in dict.fromkeys(tombstone.topic for tombstone in customer.tombstones):
        places = [
            f"{tombstone.partition}:{tombstone.offset}"
            for tombstone in customer.tombstones
            if tombstone.topic == topic
        ]
        yield f"  tombstones on {topic}, partition:offset {' '.join(places)}"


def _compaction(topic: Compacted) -> str:
    if topic.within_ms is None:
        return "no limit of time (max.compaction.lag.ms)"
    return f"within {_length(topic.within_ms)} or so"


def _retention(topic: Kept) -> str:
    if "delete" not in topic.cleanup:
        return f"for as long as the shop wants (cleanup.policy={topic.cleanup})"
    if topic.retention_ms is None:
        return "as long as the broker's default says"
    return "for ever" if topic.retention_ms < 0 else _length(topic.retention_ms)


def _length(ms: int) -> str:
    """Word a length of time.

    Examples
    --------
    >>> _length(7 * 86_400_000), _length(90 * 60_000), _length(1_500)
    ('7 days', '90 minutes', '1.5 seconds')
    """
    if ms >= 2 * _DAY_MS:
        return f"{ms / _DAY_MS:g} days"
    return f"{ms / _MINUTE_MS:g} minutes" if ms >= 2 * _MINUTE_MS else f"{ms / 1000:g} seconds"
