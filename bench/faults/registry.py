"""The rows: their numbers, names and criteria, and what running one comes to."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import NamedTuple

from bench.faults.ground import Ground


class Finding(NamedTuple):
    """What a row function found: whether it passed, and the figures that say so."""

    passed: bool
    measured: str


class Row(NamedTuple):
    """A row of the scorecard.

    Attributes
    ----------
    label
        Its number, or, for a row run on the stock variant, `control 3` and the like.
    seconds
        It has failed when it takes longer.
    """

    label: str
    name: str
    criterion: str
    seconds: float
    function: Callable[[Ground, int], Finding]


class Result(NamedTuple):
    """A row that was run."""

    row: Row
    passed: bool
    measured: str
    seed: int
    seconds: float


ROWS: dict[str, Row] = {}

RowFunction = Callable[[Ground, int], Finding]


def row(
    label: int | str, name: str, criterion: str, seconds: float = 120.0
) -> Callable[[RowFunction], RowFunction]:
    """Register a function as a row."""

    def register(function: RowFunction) -> RowFunction:
        ROWS[str(label)] = Row(str(label), name, criterion, seconds, function)
        return function

    return register


class OutOfTimeError(Exception):
    """A row took longer than it may."""


def run(chosen: Row, ground: Ground, seed: int, alarm: Callable[[float], None]) -> Result:
    """Run a row; whatever goes wrong in it is a failure of this row, and the next one is still run.

    Parameters
    ----------
    alarm
        Raises `OutOfTimeError` in this thread after so many seconds; 0 calls it off.
    """
    began = time.monotonic()
    alarm(chosen.seconds)
    try:
        passed, measured = chosen.function(ground, seed)
    except Exception as error:  # noqa: BLE001 - a row that breaks has failed; the others must still run
        notes = "".join(f"\n{note}" for note in getattr(error, "__notes__", ()))
        print(f"  {type(error).__name__}: {error}{notes[-3000:]}", flush=True)
        passed, measured = False, f"{type(error).__name__}: {str(error).strip().splitlines()[0][:200]}"
    finally:
        alarm(0.0)
    return Result(chosen, passed, measured, seed, time.monotonic() - began)
