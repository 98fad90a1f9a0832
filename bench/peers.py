"""The same job on other engines, measured in the same round: their programs, their form of the workload.

The project keeps no copy of them; `--peers` names the folder. Each runs on the worker's core while the
broker has its own, prints its figures as it goes and stops at the last event; the last figures that it
printed count.
"""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path
from typing import NamedTuple

from bench import workload
from bench.stage import WORKER_CORE, on_cores

NAMES = ("faust_plain", "quix", "bytewax_peer", "loop_plain")
PREFIX = "peers."
EVENTS, CUSTOMERS = 400_000, 30_000
"""The size that their README asks for."""

_PATIENCE_SECONDS = 1_200.0
_FIGURES = re.compile(r"n=(\d+) (\d+) ev/s cpu ([\d.]+) us/ev")


class PeerFigures(NamedTuple):
    """What a peer said at the end."""

    events: int
    per_second: float
    cpu_micros: float


class Peers:
    """The peers of a folder.

    Parameters
    ----------
    folder
        Where their programs lie.
    python
        Interpreter of an environment that has what they need.
    bootstrap
        Where the broker is.
    events, customers
        Size of the workload that they get.
    """

    def __init__(self, folder: Path, python: Path, bootstrap: str, events: int, customers: int) -> None:
        self._folder, self._python, self._events, self._customers = folder, python, events, customers
        self._surroundings = os.environ | {
            "BOOT": bootstrap,
            "PREFIX": PREFIX,
            "TOTAL": str(events),
            "PYTHONDONTWRITEBYTECODE": "1",
        }
        self._bootstrap = bootstrap

    def load(self, scratch: Path) -> None:
        """Let their generator and loader bring the workload, and check that it is ours."""
        file = scratch / "peers.jsonl"
        size = (str(self._events), str(self._customers), str(workload.SEED))
        self._run("gen.py", str(file), *size)
        workload.check_against(file, self._events, self._customers)
        self._run("load.py", str(file), self._bootstrap, "4", PREFIX)
        file.unlink()

    def measure(self, name: str) -> PeerFigures:
        """Run one of them to its end."""
        program = ("-m", "bytewax.run", "bytewax_peer:flow") if name == "bytewax_peer" else (f"{name}.py",)
        with on_cores({WORKER_CORE}):
            return last_figures(self._run(*program), name)

    def _run(self, *command: str) -> str:
        done = subprocess.run(
            [str(self._python), *command],
            cwd=self._folder,
            env=self._surroundings,
            capture_output=True,
            text=True,
            check=False,
            timeout=_PATIENCE_SECONDS,
        )
        if done.returncode:
            raise SystemExit(f"{command[0]} of the peers fails: {done.stderr[-1500:]}")
        return done.stdout


def last_figures(said: str, name: str) -> PeerFigures:
    r"""Read the last figures that a peer printed.

    Examples
    --------
    >>> last_figures("x n=1 9 ev/s cpu 3.0 us/ev alerts=0\nx n=2 8 ev/s cpu 2.5 us/ev alerts=0\n", "x")
    PeerFigures(events=2, per_second=8.0, cpu_micros=2.5)
    """
    found = _FIGURES.findall(said)
    if not found:
        raise SystemExit(f"{name} gave no figures: {said[-500:]!r}")
    events, per_second, cpu = found[-1]
    return PeerFigures(int(events), float(per_second), float(cpu))
