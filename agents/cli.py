"""The command line: `holdfast` and its commands.

The commands live in `agents.commands_*`; what they share is in `agents.command_line`. Nothing heavy is
imported here, so that `--help` and a misspelt option answer at once.
"""

from __future__ import annotations

from importlib import metadata
from pathlib import Path

import click

from agents.command_line import CommandLine, Invocation, assignments, examples
from agents.commands_console import console
from agents.commands_demo import demo
from agents.commands_evaluate import suggest, verify
from agents.commands_forget import forget
from agents.commands_kafka import broker, send, topics, watch
from agents.commands_kpis import kpis
from agents.commands_rekey import rekey
from agents.commands_replay import replay
from agents.commands_samples import sample
from agents.commands_worker import worker
from agents.errors import OperatorError


def _version(context: click.Context, _option: click.Parameter, asked: bool) -> None:
    if not asked:
        return
    try:
        click.echo(f"holdfast {metadata.version('holdfast')}")
    except metadata.PackageNotFoundError:
        raise OperatorError("not installed, so it has no version; run it where it is installed") from None
    context.exit()


@click.group(cls=CommandLine, invoke_without_command=True)
@click.option(
    "--config", type=click.Path(path_type=Path), metavar="FILE", help="TOML file (default: ./holdfast.toml)."
)
@click.option(
    "--set",
    "assigned",
    multiple=True,
    metavar="KEY=VALUE",
    callback=assignments,
    help="Override a setting, such as alerts.raise_at=0.75; may be repeated.",
)
@click.option(
    "--version", is_flag=True, is_eager=True, expose_value=False, callback=_version, help="Say which it is."
)
@click.pass_context
def main(context: click.Context, config: Path | None, assigned: dict[str, str]) -> None:
    """Say who of a shop's customers is about to leave, from its clickstream and order topics.

    Settings come from --set, then from HOLDFAST_SECTION__KEY in the environment, then from the file;
    `holdfast settings` lists them all.
    """
    context.obj = Invocation(config, assigned)
    if context.invoked_subcommand is None:
        click.echo(context.get_help())


@main.command(epilog=examples("holdfast settings > holdfast.toml"))
@click.pass_obj
def settings(invocation: Invocation) -> None:
    """Print the settings in force, as TOML."""
    from agents.settings import settings_toml

    click.echo(settings_toml(invocation.settings()), nl=False)


for command in (
    worker,
    console,
    broker,
    topics,
    send,
    watch,
    kpis,
    forget,
    sample,
    replay,
    suggest,
    verify,
    rekey,
    demo,
):
    main.add_command(command)
