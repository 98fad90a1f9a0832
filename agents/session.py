"""Whether this process may still speak for its partitions, judged by its own clock.

A group takes partitions away from a worker that has been silent for longer than its session. One that was
silent because it was dead does no harm. One that stood still (a stopped process, a sleeping machine) wakes
up with work in its hands and, until the group tells it, in the belief that the partitions are its own. Its
clock knows better at once: when more time has passed than a session lasts since the event loop last turned,
what it holds may be another worker's by now, so it ends, and starts again from the last marker.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from agents.errors import EXIT_TRY_AGAIN, OperatorError

_TURN_SECONDS = 0.05
_CLOCK = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


def seconds() -> float:
    """Read a clock that never goes back, and goes on while the process, or the whole machine, sleeps."""
    return time.clock_gettime(_CLOCK)


class StoodStill(OperatorError):  # noqa: N818 - a state of the world, named after it
    """The process stood still for longer than its session lasts."""

    exit_code = EXIT_TRY_AGAIN


class Session:
    """A clock that notices when it was stopped.

    Parameters
    ----------
    timeout_seconds
        `kafka.session_timeout_seconds`.
    clock
        Monotonic seconds; it must go on while the process stands still.

    Examples
    --------
    >>> times = iter([5.0, 40.0])
    >>> session = Session(30.0, clock=lambda: next(times))
    >>> session.turn()
    >>> session.check()
    Traceback (most recent call last):
    agents.session.StoodStill: this worker stood still for 35 s, longer than its session of 30 s: ...
    """

    def __init__(self, timeout_seconds: float, clock: Callable[[], float] = seconds) -> None:
        self._timeout = timeout_seconds
        self._clock = clock
        self._turned_at: float | None = None  # the loop does not turn yet

    def check(self) -> None:
        """Do nothing while the session can be alive; to be called before anything is sent.

        Raises
        ------
        StoodStill
            When the loop has not turned for longer than a session.
        """
        self._look()

    def turn(self) -> None:
        """Say that the loop turns, after the same check."""
        self._turned_at = self._look()

    async def run(self) -> None:
        """Turn for ever."""
        while True:
            self.turn()
            await asyncio.sleep(_TURN_SECONDS)

    def _look(self) -> float:
        now = self._clock()
        still = 0.0 if self._turned_at is None else now - self._turned_at
        if still > self._timeout:
            raise StoodStill(
                f"this worker stood still for {still:.0f} s, longer than its session of {self._timeout:g} s: "
                "another may have taken over; start it again and it goes on from the last epoch"
            )
        return now
