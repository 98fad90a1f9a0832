"""What all commands share: how they fail, where their settings come from, how their help looks.

There are two ways to fail. What the person in front can put right is told in one line, `holdfast: ...`,
with exit code 1, 2 when the command line itself is wrong, or 75 when no broker answers. Anything else
is a bug and keeps its traceback.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from agents.errors import OperatorError

if TYPE_CHECKING:
    from agents.settings import Settings

_INTERRUPTED = 130


class CommandLine(click.Group):
    """A group of commands whose expected failures are one line each."""

    def main(self, *args: Any, **kwargs: Any) -> Any:
        """Run a command and exit with its code."""
        kwargs["standalone_mode"] = False
        try:
            sys.exit(super().main(*args, **kwargs))
        except OperatorError as error:
            for line in error.message.splitlines():
                click.echo(f"holdfast: {line}", err=True)
            sys.exit(error.exit_code)
        except click.UsageError as error:
            where = f" (see {error.ctx.command_path} --help)" if error.ctx else ""
            click.echo(f"holdfast: {error.format_message()}{where}", err=True)
            sys.exit(error.exit_code)
        except click.ClickException as error:
            click.echo(f"holdfast: {error.format_message()}", err=True)
            sys.exit(error.exit_code)
        except click.Abort:
            sys.exit(_INTERRUPTED)


class Invocation:
    """What stands before the command: where the settings are, and which of them are overridden.

    Parameters
    ----------
    config
        The file given with `--config`.
    assignments
        By dotted key, what was given with `--set`.
    """

    def __init__(self, config: Path | None, assignments: Mapping[str, str]) -> None:
        self.config = config
        self.assignments = dict(assignments)

    def options(self) -> list[str]:
        """Give what stands before the command, as it would be written again.

        Examples
        --------
        >>> Invocation(Path("shop.toml"), {"web.port": "0"}).options()
        ['--config', 'shop.toml', '--set', 'web.port=0']
        """
        options = ["--config", str(self.config)] if self.config is not None else []
        for key, value in self.assignments.items():
            options += ["--set", f"{key}={value}"]
        return options

    def settings(self, overrides: Mapping[str, object] | None = None) -> Settings:
        """Load the settings.

        Parameters
        ----------
        overrides
            By dotted key, what the command itself insists on: it goes above everything.

        Raises
        ------
        SettingsError
            When they are not sound.
        """
        from agents.settings import load

        return load(self.config, os.environ, {**self.assignments, **(overrides or {})})


_SECRETS = ("security.password", "console.token")


def assignments(_context: click.Context, _option: click.Parameter, values: tuple[str, ...]) -> dict[str, str]:
    """Read repeated KEY=VALUE options; a callback for click."""
    pairs = [value.partition("=") for value in values]
    for value, (key, equals, _) in zip(values, pairs, strict=True):
        if not equals:
            raise click.BadParameter(f"{value!r} is not KEY=VALUE")
        secret = key.strip()
        if secret in _SECRETS:
            raise click.BadParameter(
                f"a {secret.partition('.')[2]} on the command line is seen by every user of the machine; "
                f"HOLDFAST_{secret.upper().replace('.', '__')} or {secret}_file keeps it"
            )
    return {key.strip(): value for key, _, value in pairs}


def examples(*lines: str) -> str:
    r"""Give command lines as the end of a command's help, each on a line of its own.

    Examples
    --------
    >>> examples("holdfast topics", "holdfast topics --create")
    '\x08\nExamples:\n  holdfast topics\n  holdfast topics --create'
    """
    return "\n".join(["\b", "Examples:", *(f"  {line}" for line in lines)])  # \b: click, do not wrap
