"""The command that copies a topic onto an input, keyed by customer."""

from __future__ import annotations

import logging

import click

from agents.command_line import Invocation, examples


@click.command(
    epilog=examples(
        "holdfast rekey --from raw-clicks --to clickstream",
        "holdfast --set sources.orders=debezium rekey --from shop.public.orders --to orders",
        "holdfast rekey --from raw-clicks --to clickstream --until-end",
    )
)
@click.option("--from", "origin", required=True, metavar="TOPIC", help="The topic to read, by its full name.")
@click.option("--to", required=True, type=click.Choice(["clickstream", "orders"]), help="The input to write.")
@click.option("--until-end", is_flag=True, help="Stop where the topic ends now, for a migration.")
@click.pass_obj
def rekey(invocation: Invocation, origin: str, to: str, until_end: bool) -> None:
    """Copy a topic onto an input, keyed and partitioned by customer.

    For topics that are keyed by something else. Values, headers and timestamps stay as they are; the
    format is the input's, as sources.clickstream and sources.orders say. Records that name nobody go to the
    input's dead letters. At least once, in a consumer group of its own: several may share the work.
    """
    settings = invocation.settings()
    from agents.rekey import Rekey

    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(message)s")
    for noisy in ("aiokafka", "kafka"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    copying = Rekey(settings, origin, to, until_end)
    click.echo(f"copying {origin} to {settings.topic(to)}", err=True)
    click.echo(f"{origin} to {settings.topic(to)}: {copying.run()}")
