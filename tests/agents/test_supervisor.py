"""When the supervisor starts a worker again, in simulated time and with real processes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from agents.supervisor import RestartPolicy

PATIENCE_SECONDS = 30.0


def test_waits_double_up_to_half_a_minute() -> None:
    policy = RestartPolicy()
    waits = [policy.after(-9, 2.0).wait_seconds for _ in range(9)]
    assert waits == [0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0, 30.0]


def test_a_minute_of_good_work_earns_the_short_wait_again() -> None:
    policy = RestartPolicy()
    for _ in range(6):
        policy.after(70, 1.0)
    assert policy.after(70, 59.9).wait_seconds == 30.0
    assert policy.after(70, 60.0).wait_seconds == 0.5
    assert policy.after(70, 1.0).wait_seconds == 1.0


@pytest.mark.parametrize("code", [0, 1, 2])
def test_an_orderly_end_and_an_operators_mistake_are_final(code: int) -> None:
    verdict = RestartPolicy().after(code, 1000.0)
    assert verdict.wait_seconds is None
    assert f"exit code {code}" in verdict.reason


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        (-9, "killed by SIGKILL"),
        (-11, "killed by SIGSEGV"),
        (70, "exit code 70: a bug or a hung worker"),
        (75, "exit code 75: no broker answers, or it stood still"),
        (99, "exit code 99"),
        (-250, "killed by signal 250"),
    ],
)
def test_what_may_be_over_next_time_is_tried_again(code: int, reason: str) -> None:
    assert RestartPolicy().after(code, 1.0) == (0.5, reason)


PARENT = """
import sys
from agents.supervisor import RestartPolicy, Supervisor

script = sys.argv[1]
policy = RestartPolicy(first=float(sys.argv[2]), longest=1.0)
command = lambda restarts: [sys.executable, script, str(restarts)]
sys.exit(Supervisor(command, policy, stop_seconds=float(sys.argv[3])).run())
"""


class Supervised:
    """A supervisor over a script."""

    def __init__(self, folder: Path, script: str, first: float, stop: float) -> None:
        self.folder = folder
        (folder / "child.py").write_text(
            "import os, signal, sys, time\nrestarts = int(sys.argv[1])\n" + script
        )
        (folder / "parent.py").write_text(PARENT)
        self.log = folder / "log"
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, folder / "parent.py", folder / "child.py", str(first), str(stop)],
                env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])},
                cwd=folder,
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    def said(self) -> str:
        return self.log.read_text()

    def until(self, text: str) -> None:
        deadline = time.monotonic() + PATIENCE_SECONDS
        while text not in self.said():
            assert time.monotonic() < deadline, self.said()
            time.sleep(0.02)

    def end(self) -> int:
        return self.process.wait(PATIENCE_SECONDS)


Run = Callable[..., Supervised]


@pytest.fixture
def run(tmp_path: Path):
    running: list[Supervised] = []

    def start(script: str, first: float = 0.05, stop: float = 10.0) -> Supervised:
        running.append(Supervised(tmp_path, script, first, stop))
        return running[-1]

    yield start
    for one in running:
        if one.process.poll() is None:
            one.process.kill()
            one.process.wait()


def gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z"
    except OSError:
        return True


def test_a_killed_worker_comes_again_with_one_line_for_each_restart(run: Run) -> None:
    one = run("os.kill(os.getpid(), 9) if restarts < 1 else sys.exit(70 if restarts < 2 else 0)")
    assert one.end() == 0
    first, second = one.said().splitlines()
    assert first.startswith("holdfast supervisor: the worker ended after ")
    assert first.endswith(" s, killed by SIGKILL; restart 1 in 0.05 s")
    assert second.endswith(" s, exit code 70: a bug or a hung worker; restart 2 in 0.1 s")


@pytest.mark.parametrize("code", [1, 2])
def test_an_operators_mistake_is_passed_on_with_one_line(run: Run, code: int) -> None:
    one = run(f"sys.exit({code})")
    assert one.end() == code
    (line,) = one.said().splitlines()
    assert line.startswith(f"holdfast supervisor: the worker is not started again, exit code {code}: ")


CATCHES = (
    "signal.signal(signal.SIGTERM, lambda *_: sys.exit({code}))\nprint('up', flush=True)\ntime.sleep(60)"
)


@pytest.mark.parametrize("code", [0, 70])
def test_sigterm_is_handed_on_and_the_workers_code_passed_on(run: Run, code: int) -> None:
    one = run(CATCHES.format(code=code))
    one.until("up")
    one.process.terminate()
    assert one.end() == code
    assert one.said() == "up\n"


def test_ctrl_c_reaches_the_worker_once(run: Run) -> None:
    one = run(
        "seen = []\nsignal.signal(signal.SIGINT, lambda *_: seen.append(1))\nprint('up', flush=True)\n"
        "while not seen: time.sleep(0.01)\ntime.sleep(0.2)\nsys.exit(100 + len(seen))"
    )
    one.until("up")
    one.process.send_signal(signal.SIGINT)
    assert one.end() == 101


def test_a_worker_that_does_not_stop_is_killed_and_that_is_said_loudly(run: Run) -> None:
    one = run(
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\nprint('up', flush=True)\ntime.sleep(60)", stop=0.3
    )
    one.until("up")
    one.process.terminate()
    assert one.end() == 128 + 9
    assert "HAS NOT ENDED WITHIN 0.3 s AND IS KILLED" in one.said()


def test_asked_to_stop_between_two_starts_it_ends_at_once(run: Run) -> None:
    one = run("sys.exit(75)", first=1000.0)
    one.until("restart 1 in 1000 s")
    one.process.terminate()
    assert one.end() == 0


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the kernel's help is Linux's")
def test_a_supervisor_that_is_killed_takes_its_worker_with_it(run: Run) -> None:
    one = run("print('pid', os.getpid(), flush=True)\ntime.sleep(60)")
    one.until("pid ")
    one.until("\n")
    pid = int(one.said().split()[1])
    one.process.kill()
    one.process.wait()
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not gone(pid):
        assert time.monotonic() < deadline
        time.sleep(0.02)
