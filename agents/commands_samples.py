"""The command that makes messages to send, on standard output or into a file."""

from __future__ import annotations

import gzip
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import click

from agents.command_line import examples
from agents.errors import OperatorError


@click.group(invoke_without_command=True)
@click.pass_context
def sample(context: click.Context) -> None:
    """Make messages of a real or simulated shop."""
    if context.invoked_subcommand is None:
        click.echo(context.get_help())


_OUTPUT = click.option(
    "-o", "output", default="-", metavar="FILE", help="Where to; compressed when it ends in .gz (default: -)."
)


@sample.command(epilog=examples("holdfast sample cdnow --tenth -o cdnow.jsonl.gz"))
@click.option("--tenth", is_flag=True, help="The 2,357 customers of the published 1/10 sample only.")
@_OUTPUT
def cdnow(tenth: bool, output: str) -> None:
    """Give the orders of a real shop, CDNOW.

    69,659 orders of 23,570 customers, January 1997 to June 1998, without clicks.
    """
    from samples.cdnow import messages

    _write(messages("tenth" if tenth else "all"), output)


@sample.command(epilog=examples("holdfast sample shop --customers 500 --days 200 | holdfast send -"))
@click.option("--customers", type=click.IntRange(min=1), metavar="N", help="How many come over the time.")
@click.option("--days", type=click.IntRange(min=1), metavar="N", help="How many days to simulate.")
@click.option("--seed", type=click.IntRange(min=0), metavar="N", help="The same seed, the same shop.")
@_OUTPUT
def shop(customers: int | None, days: int | None, seed: int | None, output: str) -> None:
    """Give clicks and orders of a simulated shop.

    Its customers come, fade and leave, and some come back.
    """
    from samples.shop import messages
    from samples.shop_config import ShopConfig

    given = {"customers": customers, "days": days, "seed": seed}
    config = ShopConfig(**{name: value for name, value in given.items() if value is not None})
    _write(messages(config), output)


def _write(messages: Iterable[Mapping[str, Any]], output: str) -> None:
    from samples.write import lines

    if output == "-":
        sys.stdout.buffer.writelines(lines(messages))
        sys.stdout.buffer.flush()
        return
    count = 0
    try:
        with Path(output).open("wb") as raw:
            compressed = output.endswith(".gz")
            # No name and no time inside, so that the same messages make the same file.
            file = gzip.GzipFile("", "wb", 6, raw, mtime=0) if compressed else raw
            for line in lines(messages):
                file.write(line)
                count += 1
            if compressed:
                file.close()
    except OSError as error:
        raise OperatorError(f"{output}: {error.strerror or error}") from None
    click.echo(f"{count:,} messages written to {output}", err=True)
