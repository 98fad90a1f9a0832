"""`python -m bench`: the benches by name, one after the other.

Without a name every bench that needs no broker; `live` is those on Apache Kafka (Java 17 and Maven), `all` is
both, and a bench's name, with its options behind it, is that one alone. `--list` says what there is.
"""

from __future__ import annotations

import importlib.util
import runpy
import sys
from pathlib import Path

PURE = ("decode", "replay")
LIVE = ("throughput", "latency", "recovery", "scale")
ALONE = ("faults", "quality")
"""They have a document of their own to write, and take their time."""

HERE = Path(__file__).parent


def about(name: str) -> str:
    """Give the first line of what a bench says about itself."""
    file = HERE / f"{name}.py"
    if not file.is_file():
        file = HERE / name / "__main__.py"
    return file.read_text(encoding="utf-8").split('"""')[1].strip().splitlines()[0]


def known() -> list[str]:
    """Name the benches that are there."""
    return [name for name in (*PURE, *LIVE, *ALONE) if importlib.util.find_spec(f"bench.{name}")]


def chosen(arguments: list[str]) -> tuple[list[str], list[str]]:
    """Tell from the command line which benches to run, and with which options.

    Examples
    --------
    >>> chosen([])
    (['decode', 'replay'], [])
    >>> chosen(["throughput", "--rounds", "1"])
    (['throughput'], ['--rounds', '1'])
    >>> chosen(["live"])
    (['throughput', 'latency', 'recovery', 'scale'], [])
    """
    if not arguments:
        return list(PURE), []
    name, *options = arguments
    sets = {"pure": PURE, "live": LIVE, "all": PURE + LIVE}
    if name in sets:
        if options:
            raise SystemExit(f"bench: options go with one bench, not with {name}")
        return list(sets[name]), []
    if name not in known():
        raise SystemExit(f"bench: there is no {name}; python -m bench --list shows what there is")
    return [name], options


def run(name: str, options: list[str]) -> None:
    """Run a bench as `python -m` does."""
    print(f"== bench.{name}", flush=True)
    sys.argv = [f"bench.{name}", *options]
    try:
        runpy.run_module(f"bench.{name}", run_name="__main__", alter_sys=True)
    except SystemExit as ended:
        if ended.code:
            raise


def main(arguments: list[str]) -> None:
    if arguments[:1] in (["--list"], ["-l"]):
        for name in known():
            print(f"{name:12}{about(name)}")
        return
    if arguments[:1] in (["--help"], ["-h"]):
        print(__doc__)
        return
    names, options = chosen(arguments)
    for name in names:
        run(name, options)


if __name__ == "__main__":
    main(sys.argv[1:])
