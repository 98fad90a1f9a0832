"""The commands that talk to a broker: run one, list its topics, put messages in, look at what comes out.

Each reads its options, calls one function elsewhere and prints what it gives. What a command imports, it
imports when it runs: Kafka's clients take most of a second to load, and `--help` must not.
"""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

import click

from agents.command_line import Invocation, examples
from agents.errors import OperatorError

if TYPE_CHECKING:
    from agents.lines import Lines

WATCHABLE = (
    "churn-alerts",
    "segment-changes",
    "customer-scores",
    "examples",
    "models",
    "retention-kpis",
    "clickstream",
    "orders",
    "clickstream.dlq",
    "orders.dlq",
    "examples.dlq",
)
"""The topics that a person can read; written out here so that `--help` has nothing to import."""


@click.command(epilog=examples("holdfast broker", "holdfast --set topics.partitions=8 broker --port 0"))
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option(
    "--port",
    type=click.IntRange(0, 65_535),
    default=9092,
    show_default=True,
    help="Port to listen on; 0 takes a free one.",
)
@click.pass_obj
def broker(invocation: Invocation, host: str, port: int) -> None:
    """Run a Kafka-protocol broker in memory.

    It has all topics and runs until Ctrl-C. It is for trying things on one machine: everything is gone
    when it stops. It prints the settings that other commands need to use it; put them into holdfast.toml.
    """
    from agents.broker import BrokerStartError, EmbeddedBroker

    with EmbeddedBroker(host, port) as embedded:
        leave_on_sigterm()
        from agents.cluster import create_missing
        from agents.setting_rules import toml

        settings = invocation.settings(embedded.settings_overrides())
        created = create_missing(settings)
        click.echo(f"# broker at {embedded.bootstrap} with {len(created)} topics, in memory only: ", nl=False)
        click.echo("everything is gone when it stops (Ctrl-C)")
        click.echo("# holdfast.toml for it:")
        for section in ("kafka", "topics"):
            click.echo(f"[{section}]")
            for key, value in embedded.settings_overrides().items():
                if key.startswith(section + "."):
                    click.echo(f"{key.removeprefix(section + '.')} = {toml(value)}")
        embedded.wait()
        raise BrokerStartError(f"the broker at {embedded.bootstrap} ended by itself")


def leave_on_sigterm() -> None:
    """Let SIGTERM unwind the stack the way Ctrl-C does, so that what was started is stopped."""

    def leave(_number: int, _frame: object) -> None:
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, leave)


@click.command(
    epilog=examples("holdfast send events.jsonl", "holdfast sample shop | holdfast send --rate 500 -")
)
@click.argument("files", nargs=-1, required=True, metavar="FILE...")
@click.option("--rate", type=click.FloatRange(min=0.1), metavar="N", help="At most N messages a second.")
@click.option("--as-is", is_flag=True, help="Send lines that are not JSON objects too, to try dead letters.")
@click.pass_obj
def send(invocation: Invocation, files: tuple[str, ...], rate: float | None, as_is: bool) -> None:
    """Put messages on the input topics.

    One Segment message a line, as JSON, whatever `sources` says: other formats come from collectors that key
    and place them themselves. - reads standard input. Order events go to the orders topic,
    everything else to the clickstream, keyed by userId or else by anonymousId, in the order of the lines.
    """
    settings = invocation.settings()
    from agents import client
    from agents.lines import Lines

    for lines in [Lines(name) for name in files]:
        sent = client.send(settings, _shown(lines), source=lines.name, as_is=as_is, rate=rate)
        click.echo(
            f"{sent.messages:,} messages of {lines.name} sent in {sent.seconds:.1f} s: "
            f"{sent.clickstream:,} to {settings.topic('clickstream')}, "
            f"{sent.orders:,} to {settings.topic('orders')}"
        )


def _shown(lines: Lines) -> Iterable[bytes | None]:
    if lines.size is None or not sys.stderr.isatty():
        return lines
    return _with_progress(lines)


def _with_progress(lines: Lines) -> Iterator[bytes | None]:
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(lines.name, total=lines.size)
        done = 0
        for line in lines:
            if lines.position != done:  # moves by blocks of the file, not by lines
                done = lines.position
                progress.update(task, completed=done)
            yield line


@click.command(
    epilog=examples(
        "holdfast watch",
        "holdfast watch churn-alerts --json | jq .customer_id",
        "holdfast watch clickstream.dlq --from-beginning --timeout 5",
    )
)
@click.argument("topics", nargs=-1, type=click.Choice(WATCHABLE), metavar="[TOPIC]...")
@click.option("--json", "as_json", is_flag=True, help="Print each message as it is, one line of JSON each.")
@click.option("--from-beginning", is_flag=True, help="Begin with what is there, not with what comes next.")
@click.option("--count", type=click.IntRange(min=1), metavar="N", help="Stop after N messages.")
@click.option("--timeout", type=click.FloatRange(min=0.0), metavar="SECONDS", help="Stop after so long.")
@click.pass_obj
def watch(
    invocation: Invocation,
    topics: tuple[str, ...],
    as_json: bool,
    from_beginning: bool,
    count: int | None,
    timeout: float | None,
) -> None:
    """Print what comes out, one line a message.

    Alerts and segment changes, or the topics named. It joins no consumer group, so it disturbs nobody.
    When --timeout strikes before --count messages came, the exit code is 1.
    """
    settings = invocation.settings()
    from rich.console import Console

    from agents import client
    from agents.one_line import json_line, one_line

    console = Console(highlight=False, soft_wrap=True)
    names = dict.fromkeys(topics or ("churn-alerts", "segment-changes"))
    seen = 0
    for record in client.watch(
        settings, list(names), from_beginning=from_beginning, count=count, timeout=timeout
    ):
        seen += 1
        if as_json:
            sys.stdout.buffer.write(json_line(record) + b"\n")
            sys.stdout.buffer.flush()
        else:
            console.print(one_line(record))
    if count is not None and seen < count:
        raise OperatorError(f"{seen} of {count} messages within {timeout:g} s")


@click.command(
    epilog=examples(
        "holdfast topics", "holdfast --set topics.partitions=8 --set topics.replication=3 topics --create"
    )
)
@click.option("--create", is_flag=True, help="Create those that are missing, the inputs too.")
@click.pass_obj
def topics(invocation: Invocation, create: bool) -> None:
    """List the topics, or create them."""
    settings = invocation.settings()
    from rich.console import Console
    from rich.table import Table

    from agents import cluster

    created = cluster.create_missing(settings) if create else []
    table = Table("topic", "role", "partitions", "cleanup", "what", box=None, pad_edge=False)
    rows = cluster.describe(settings)
    for row in rows:
        wrong = row.partitions != row.expected
        count = "missing" if row.partitions is None else str(row.partitions)
        if wrong and row.partitions is not None:
            count += f", must be {row.expected}"
        table.add_row(row.name, row.role, f"[red]{count}[/]" if wrong else count, row.cleanup, row.about)
    Console(highlight=False, width=None if sys.stdout.isatty() else 160).print(table)
    if created:
        click.echo(f"{len(created)} created")
    missing = sum(row.partitions is None for row in rows)
    if missing:
        click.echo(f"{missing} missing; `holdfast topics --create` makes them")
