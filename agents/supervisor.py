"""A small parent that starts the worker again when it dies.

A worker is crash-only: on anything that it does not expect it ends at once, and the next start goes on
from the last marker. So somebody has to start it. Where systemd or Kubernetes does, this is not needed;
elsewhere `holdfast worker --supervise` is that somebody. It knows nothing about the work, so there is
little in it that could fail.

Not every end calls for a start. A worker that was asked to stop is done, and one that met a mistake in
its settings would meet it again: those codes are passed on. A signal, a bug (70) and an absent broker
(75) may be over the next time, so they are tried again, each time after twice the wait, up to half a
minute; a worker that ran well for a minute has earned the short wait again. The waits have no jitter: a
few workers of one shop do not make a crowd, and a restart that can be predicted can be tested.
"""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import click

from agents.broker import die_with_parent
from agents.errors import EXIT_BUG, EXIT_OPERATOR, EXIT_TRY_AGAIN, EXIT_USAGE

FIRST_WAIT_SECONDS = 0.5
LONGEST_WAIT_SECONDS = 30.0
RAN_WELL_SECONDS = 60.0
STOP_SECONDS = 10.0
"""How long a worker that was asked to stop may take to seal its work and leave."""

_ROOT = Path(__file__).parent.parent
_DONE = {
    0: "it ended in order",
    EXIT_OPERATOR: "somebody has to put that right first",
    EXIT_USAGE: "the command line is wrong",
}
_MEANINGS = {EXIT_BUG: "a bug or a hung worker", EXIT_TRY_AGAIN: "no broker answers, or it stood still"}


class Verdict(NamedTuple):
    """What to do about a worker that has ended.

    Attributes
    ----------
    wait_seconds
        How long until the next start; None when there is none.
    reason
        Why the worker ended, or why it is not started again.
    """

    wait_seconds: float | None
    reason: str


class RestartPolicy:
    """Decides whether and when a worker is started again.

    Parameters
    ----------
    first
        Wait before the first restart, in seconds; each further one waits twice as long.
    longest
        No wait is longer.
    well
        A worker that ran for so long makes the next wait the first again.

    Examples
    --------
    >>> policy = RestartPolicy()
    >>> policy.after(-9, ran_seconds=3.0)
    Verdict(wait_seconds=0.5, reason='killed by SIGKILL')
    >>> policy.after(75, ran_seconds=5.0)
    Verdict(wait_seconds=1.0, reason='exit code 75: no broker answers, or it stood still')
    >>> policy.after(1, ran_seconds=1.0)
    Verdict(wait_seconds=None, reason='exit code 1: somebody has to put that right first')
    """

    def __init__(
        self,
        first: float = FIRST_WAIT_SECONDS,
        longest: float = LONGEST_WAIT_SECONDS,
        well: float = RAN_WELL_SECONDS,
    ) -> None:
        self._first = first
        self._longest = longest
        self._well = well
        self._next = first

    def after(self, code: int, ran_seconds: float) -> Verdict:
        """Judge an end.

        Parameters
        ----------
        code
            As `subprocess` gives it: the exit code, or minus the number of the signal.
        ran_seconds
            How long that worker lived.
        """
        if code in _DONE:
            return Verdict(None, f"exit code {code}: {_DONE[code]}")
        if ran_seconds >= self._well:
            self._next = self._first
        wait, self._next = self._next, min(2.0 * self._next, self._longest)
        return Verdict(wait, way_out(code))


def way_out(code: int) -> str:
    """Say how a process ended.

    Examples
    --------
    >>> way_out(-15), way_out(70)
    ('killed by SIGTERM', 'exit code 70: a bug or a hung worker')
    """
    if code < 0:
        known = {s.value: s.name for s in signal.Signals}
        return f"killed by {known.get(-code, f'signal {-code}')}"
    return f"exit code {code}" + (f": {_MEANINGS[code]}" if code in _MEANINGS else "")


class Supervisor:
    """Keeps one worker running. Use it from the main thread of a process of its own.

    Parameters
    ----------
    command
        Gives the command line of a worker from the number of restarts before it.
    policy
        Whether and when to start again.
    stop_seconds
        How long a worker that was asked to stop may take.
    """

    def __init__(
        self,
        command: Callable[[int], Sequence[str]],
        policy: RestartPolicy | None = None,
        stop_seconds: float = STOP_SECONDS,
    ) -> None:
        self._command = command
        self._policy = policy or RestartPolicy()
        self._stop_seconds = stop_seconds
        self._asked: signal.Signals | None = None
        self._wakened = -1

    def run(self) -> int:
        """Start the worker, and again when it dies; return the exit code to end with."""
        self._wakened, waker = os.pipe()
        for end in (self._wakened, waker):
            os.set_blocking(end, False)
        signal.set_wakeup_fd(waker)  # signals come as bytes: nothing runs between two other lines
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGCHLD):
            signal.signal(number, lambda *_: None)
        restarts = 0
        while True:
            began = time.monotonic()
            code = self._live(self._command(restarts))
            if self._asked is not None:
                return self._last_code(code)
            ran = time.monotonic() - began
            verdict = self._policy.after(code, ran)
            if verdict.wait_seconds is None:
                if code:
                    _say(f"the worker is not started again, {verdict.reason}")
                return code
            restarts += 1
            _say(
                f"the worker ended after {ran:.1f} s, {verdict.reason}; "
                f"restart {restarts} in {verdict.wait_seconds:g} s"
            )
            if self._asked_within(verdict.wait_seconds):
                return 0  # there is no worker: what it had sealed is sealed

    def _live(self, command: Sequence[str]) -> int:
        """Run a worker to its end, hand on what we are asked, and do not wait for ever."""
        paths = [str(_ROOT), os.environ.get("PYTHONPATH", "")]
        worker = subprocess.Popen(
            command,
            env=os.environ | {"PYTHONPATH": os.pathsep.join(path for path in paths if path)},
            stdin=subprocess.DEVNULL,
            start_new_session=True,  # Ctrl-C is for us, who hand it on: the worker gets it once
            preexec_fn=die_with_parent(),
        )
        while (code := worker.poll()) is None:
            if self._asked_within(None, worker):
                worker.send_signal(self._asked or signal.SIGTERM)
                return self._wait_for_the_end(worker)
        return code

    def _wait_for_the_end(self, worker: subprocess.Popen[bytes]) -> int:
        try:
            return worker.wait(self._stop_seconds)
        except subprocess.TimeoutExpired:
            _say(
                f"THE WORKER HAS NOT ENDED WITHIN {self._stop_seconds:g} s AND IS KILLED; "
                "the next start goes on from the last epoch that it sealed"
            )
            worker.kill()
            return worker.wait()

    def _last_code(self, code: int) -> int:
        if code == -(self._asked or 0):
            return 0  # it had not begun: a worker that has begun catches the signal
        return 128 - code if code < 0 else code

    def _asked_within(self, seconds: float | None, worker: subprocess.Popen[bytes] | None = None) -> bool:
        """Wait until we are asked to stop, the time is up, or the worker has ended."""
        until = None if seconds is None else time.monotonic() + seconds
        while True:
            left = None if until is None else max(0.0, until - time.monotonic())
            if not select.select([self._wakened], [], [], left)[0]:
                return False
            for number in os.read(self._wakened, 512):
                if number in (signal.SIGTERM, signal.SIGINT):
                    self._asked = signal.Signals(number)
            if self._asked is not None:
                return True
            if worker is not None and worker.poll() is not None:
                return False


def worker_command(options: Sequence[str], arguments: Sequence[str]) -> Callable[[int], list[str]]:
    """Make the command line of an unsupervised worker.

    Parameters
    ----------
    options
        What stands before the command.
    arguments
        What stands behind it.

    Examples
    --------
    >>> worker_command(["--set", "web.port=0"], ["-v"])(2)[1:]
    ['-m', 'agents', '--set', 'web.port=0', 'worker', '-v', '--restarts', '2']
    """

    def command(restarts: int) -> list[str]:
        return [sys.executable, "-m", "agents", *options, "worker", *arguments, "--restarts", str(restarts)]

    return command


def _say(what: str) -> None:
    click.echo(f"holdfast supervisor: {what}", err=True)
