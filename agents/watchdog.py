"""A thread that ends the worker when it no longer gets on.

A process that has died is started again; one that hangs just stands there and holds its partitions.
Nothing inside an event loop can notice that the loop has stopped, and a coroutine that waits for ever
stops nothing else. So a thread looks from outside, every half second at most, at three facts: whether
each event loop turns (ours, and that of Faust's consumer thread, which talks to the broker), whether
partitions on which records wait get their epochs sealed, and whether a stop comes to its end. Where one
of them fails for too long it writes down every thread and every task, and ends the process with code 70;
a restart goes on from the last marker.

Time is counted in looks, and a look counts for twice its interval at most. So a process that was frozen
and wakes up is not judged by the time that it slept: its loops get the same patience as before. Whether
its partitions are still its own is another question, answered where epochs are sealed. Partitions that
are being recovered do not appear: recovery has a deadline of its own. What a thread in Python cannot
see is a call into C that never gives back the interpreter's lock.
"""

from __future__ import annotations

import asyncio
import faulthandler
import gc
import logging
import os
import sys
import threading
import time
from collections.abc import Callable, Mapping
from typing import NamedTuple

from agents.errors import EXIT_BUG

log = logging.getLogger(__name__)

STOP_SECONDS = 8.5
"""How long a stop may take; who asked for it waits 10 seconds."""

_MOST_SECONDS_BETWEEN_LOOKS = 0.5
_DUMP_SECONDS = 5.0
_FRAMES = (("cr_frame", "cr_await"), ("gi_frame", "gi_yieldfrom"), ("ag_frame", "ag_await"))


class Progress(NamedTuple):
    """How a partition gets on.

    Attributes
    ----------
    waiting
        Whether there are records that no sealed epoch covers.
    sealed
        Anything that changes when an epoch is sealed.
    """

    waiting: bool
    sealed: int


class Facts(NamedTuple):
    """What one look sees.

    Attributes
    ----------
    turns
        For each event loop, how often it has answered.
    partitions
        How those get on that are being worked on.
    stopping
        Whether the worker has begun to stop.
    """

    turns: Mapping[str, int]
    partitions: Mapping[str, Progress]
    stopping: bool


class Judge:
    """Says what is wrong, from what successive looks have seen; pure.

    Parameters
    ----------
    hung_seconds
        A loop that has not turned for longer hangs.
    stalled_seconds
        A partition where records wait and nothing was sealed for longer has stalled.
    look_seconds
        The time meant to lie between two looks.
    stop_seconds
        A stop may not take longer.

    Examples
    --------
    >>> judge = Judge(hung_seconds=3.0, stalled_seconds=60.0, look_seconds=1.0)
    >>> facts = Facts({"main": 7}, {}, stopping=False)
    >>> [judge.look(float(second), facts) for second in (0, 1, 2, 3, 4)][-2:]
    [None, 'the main event loop has not turned for 4 s (worker.hung_seconds)']
    """

    def __init__(
        self,
        hung_seconds: float,
        stalled_seconds: float,
        look_seconds: float,
        stop_seconds: float = STOP_SECONDS,
    ) -> None:
        self._hung = hung_seconds
        self._stalled = stalled_seconds
        self._look = look_seconds
        self._stop = stop_seconds
        self._watched = 0.0  # time as counted in looks
        self._last: float | None = None
        self._stopping_since: float | None = None
        self._changed: dict[tuple[str, str], tuple[int, float]] = {}

    def look(self, now: float, facts: Facts) -> str | None:
        """Take in one look; return what is wrong, if anything is.

        Parameters
        ----------
        now
            Seconds on a clock that never goes back.
        facts
            What is seen now.
        """
        if self._last is not None:
            self._watched += min(now - self._last, 2.0 * self._look)
        self._last = now
        if facts.stopping:
            if self._stopping_since is None:
                self._stopping_since = self._watched
            if self._watched - self._stopping_since > self._stop:
                return f"the stop has not come to its end within {self._stop:g} s"
            return None
        before, self._changed = self._changed, {}
        for name, turns in facts.turns.items():
            still = self._unchanged(before, ("loop", name), turns)
            if still > self._hung:
                return f"the {name} event loop has not turned for {still:.0f} s (worker.hung_seconds)"
        for name, progress in facts.partitions.items():
            if progress.waiting:
                still = self._unchanged(before, ("partition", name), progress.sealed)
                if still > self._stalled:
                    return (
                        f"{name}: records wait and nothing has been sealed for {still:.0f} s "
                        "(worker.stalled_seconds)"
                    )
        return None

    def _unchanged(
        self, before: Mapping[tuple[str, str], tuple[int, float]], key: tuple[str, str], value: int
    ) -> float:
        known = before.get(key)
        since = known[1] if known is not None and known[0] == value else self._watched
        self._changed[key] = (value, since)
        return self._watched - since


class Watchdog:
    """The thread; a daemon, so that it holds nobody up.

    Parameters
    ----------
    judge
        Decides.
    look_seconds
        Time between two looks.
    loops
        Gives the event loops that should turn, by name.
    partitions
        Gives how the partitions get on.
    stopping
        Tells whether the worker has begun to stop.
    """

    def __init__(
        self,
        judge: Judge,
        look_seconds: float,
        *,
        loops: Callable[[], Mapping[str, asyncio.AbstractEventLoop]],
        partitions: Callable[[], Mapping[str, Progress]],
        stopping: Callable[[], bool],
    ) -> None:
        self._judge = judge
        self._look_seconds = look_seconds
        self._loops = loops
        self._partitions = partitions
        self._stopping = stopping
        self._turns: dict[str, int] = {}

    def watch(self) -> None:
        """Look for ever."""
        while True:
            time.sleep(self._look_seconds)
            loops = self._loops()
            facts = Facts(
                {name: self._turns.get(name, 0) for name in loops}, self._partitions(), self._stopping()
            )
            wrong = self._judge.look(time.monotonic(), facts)
            if wrong is not None:
                end(wrong, loops)
            for name, loop in loops.items():
                if not loop.is_closed():
                    self._ask(name, loop)

    def _ask(self, name: str, loop: asyncio.AbstractEventLoop) -> None:
        try:
            loop.call_soon_threadsafe(self._turned, name)
        except RuntimeError:
            return  # closed since we looked: the worker ends

    def _turned(self, name: str) -> None:
        self._turns[name] = self._turns.get(name, 0) + 1


def look_seconds(hung_seconds: float, stalled_seconds: float) -> float:
    """Give the time between two looks: short beside both patiences.

    Examples
    --------
    >>> look_seconds(60.0, 60.0), look_seconds(1.0, 60.0)
    (0.5, 0.1)
    """
    return min(_MOST_SECONDS_BETWEEN_LOOKS, hung_seconds / 10.0, stalled_seconds / 10.0)


def end(wrong: str, loops: Mapping[str, asyncio.AbstractEventLoop]) -> None:
    """Say what is wrong and where everything stands, and end the process."""
    # Whoever reads our log may hang as well, and a logging lock may be held for ever.
    latest = threading.Timer(_DUMP_SECONDS, os._exit, (EXIT_BUG,))
    latest.daemon = True
    latest.start()
    log.critical("the watchdog ends the worker: %s", wrong)
    faulthandler.dump_traceback(all_threads=True)
    for name, loop in loops.items():
        for task in asyncio.all_tasks(loop):
            print(f"\nTask of the {name} event loop: {task.get_name()}", file=sys.stderr)  # noqa: T201
            print("\n".join(stack_of(task.get_coro())), file=sys.stderr)  # noqa: T201 - beside the stacks
    sys.stderr.flush()
    os._exit(EXIT_BUG)


def stack_of(waiting: object) -> list[str]:
    """Give where a coroutine stands, outermost call first; `Task.print_stack` ends after one frame.

    Examples
    --------
    >>> async def inner():
    ...     await asyncio.sleep(1.0)
    >>> async def outer():
    ...     await inner()
    >>> async def main():
    ...     task = asyncio.create_task(outer())
    ...     await asyncio.sleep(0)
    ...     stack = stack_of(task.get_coro())
    ...     task.cancel()
    ...     return [line.rpartition(" ")[2] for line in stack]
    >>> asyncio.run(main())
    ['outer', 'inner', 'sleep']
    """
    lines = []
    while waiting is not None:
        kind = next((kind for kind in _FRAMES if hasattr(waiting, kind[0])), None)
        if kind is None:
            # Between `await thing` and a coroutine may lie an object without a frame, as that of an
            # `__await__` (Faust's agents have one) or of `async for`.
            waiting = next((inner for inner in gc.get_referents(waiting) if _has_frame(inner)), None)
            continue
        frame, waiting = getattr(waiting, kind[0]), getattr(waiting, kind[1])
        if frame is not None:
            code = frame.f_code
            lines.append(f'  File "{code.co_filename}", line {frame.f_lineno}, in {code.co_name}')
    return lines


def _has_frame(thing: object) -> bool:
    return any(hasattr(thing, frame) for frame, _ in _FRAMES)
