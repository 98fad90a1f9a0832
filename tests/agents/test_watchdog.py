"""When the watchdog bites, in simulated time, and that it says where everything stood."""

from __future__ import annotations

import subprocess
import sys

import pytest

from agents.watchdog import Facts, Judge, Progress

LOOK = 0.5


class Simulation:
    """A worker whose facts a test writes, looked at every half second."""

    def __init__(self) -> None:
        self.judge = Judge(hung_seconds=60.0, stalled_seconds=60.0, look_seconds=LOOK, stop_seconds=9.0)
        self.now = 1000.0
        self.turns = {"main": 0, "consumer": 0}
        self.partitions: dict[str, Progress] = {}
        self.stopping = False

    def look(self, after: float = LOOK) -> str | None:
        self.now += after
        return self.judge.look(self.now, Facts(dict(self.turns), dict(self.partitions), self.stopping))

    def run(self, seconds: float, turning: tuple[str, ...] = ("main", "consumer")) -> str | None:
        """Let time pass until something is wrong or it is over."""
        for _ in range(int(seconds / LOOK)):
            for name in turning:
                self.turns[name] += 1
            if wrong := self.look():
                return wrong
        return None


@pytest.fixture
def worker() -> Simulation:
    return Simulation()


def test_a_worker_whose_loops_turn_is_left_alone(worker: Simulation) -> None:
    assert worker.run(3600) is None


@pytest.mark.parametrize("hung", ["main", "consumer"])
def test_either_loop_that_stops_turning_is_found_and_named(worker: Simulation, hung: str) -> None:
    assert worker.run(100) is None
    began = worker.now
    other = "consumer" if hung == "main" else "main"
    wrong = worker.run(100, turning=(other,))
    assert wrong is not None
    assert wrong.startswith(f"the {hung} event loop")
    assert 60.0 < worker.now - began <= 62.0


def test_a_loop_that_is_only_slow_is_left_alone(worker: Simulation) -> None:
    for _ in range(20):
        assert worker.run(59, turning=("consumer",)) is None
        assert worker.run(1) is None


def test_records_that_wait_while_nothing_is_sealed_are_a_stall(worker: Simulation) -> None:
    worker.partitions = {"partition 0": Progress(False, 7), "partition 1": Progress(True, 7)}
    began = worker.now
    wrong = worker.run(100)
    assert wrong is not None
    assert wrong.startswith("partition 1: records wait")
    assert 60.0 < worker.now - began <= 62.0


def test_a_partition_without_records_need_not_seal(worker: Simulation) -> None:
    worker.partitions = {"partition 0": Progress(False, 7)}
    assert worker.run(3600) is None


def test_a_backlog_that_is_worked_off_is_no_stall(worker: Simulation) -> None:
    for sealed in range(100):
        worker.partitions = {"partition 0": Progress(True, sealed)}
        assert worker.run(50) is None


def test_records_that_begin_to_wait_get_the_whole_patience(worker: Simulation) -> None:
    worker.partitions = {"partition 0": Progress(False, 7)}
    assert worker.run(300) is None
    worker.partitions = {"partition 0": Progress(True, 7)}
    assert worker.run(59) is None


def test_a_partition_in_recovery_is_no_stall_and_begins_afresh_after_it(worker: Simulation) -> None:
    worker.partitions = {"partition 0": Progress(True, 7)}
    assert worker.run(50) is None
    worker.partitions = {}
    assert worker.run(600) is None
    worker.partitions = {"partition 0": Progress(True, 7)}
    assert worker.run(50) is None
    assert worker.run(20) is not None


def test_a_process_that_was_frozen_is_not_judged_by_its_sleep(worker: Simulation) -> None:
    worker.partitions = {"partition 0": Progress(True, 7)}
    assert worker.run(10) is None
    for _ in range(20):  # each time it sleeps far longer than any patience, and turns a little
        assert worker.look(after=10_000.0) is None
        assert worker.run(1) is None
    worker.partitions = {"partition 0": Progress(True, 8)}
    assert worker.run(50) is None


def test_one_that_hung_before_and_after_a_freeze_is_found_all_the_same(worker: Simulation) -> None:
    assert worker.run(40, turning=("consumer",)) is None
    assert worker.look(after=10_000.0) is None
    assert worker.run(21, turning=("consumer",)) is not None


def test_a_stop_has_its_own_deadline_and_nothing_else_is_judged(worker: Simulation) -> None:
    assert worker.run(10) is None
    worker.stopping = True
    worker.partitions = {"partition 0": Progress(True, 7)}
    assert worker.run(9, turning=()) is None
    wrong = worker.run(2, turning=())
    assert wrong is not None
    assert "the stop" in wrong


HUNG = """
import asyncio, threading
from agents.watchdog import Judge, Watchdog

async def a_wait_for_ever():
    await asyncio.Event().wait()

async def main():
    task = asyncio.create_task(a_wait_for_ever())
    loop = asyncio.get_running_loop()
    dog = Watchdog(
        Judge(0.5, 60.0, 0.05), 0.05, loops=lambda: {"main": loop}, partitions=dict, stopping=lambda: False
    )
    threading.Thread(target=dog.watch, daemon=True).start()
    await asyncio.sleep(0.3)
    hang()

def hang():
    threading.Event().wait()

asyncio.run(main())
"""


def test_it_ends_a_hung_process_with_the_stacks_of_threads_and_tasks() -> None:
    ended = subprocess.run([sys.executable, "-c", HUNG], capture_output=True, timeout=30, check=False)
    said = ended.stderr.decode()
    assert ended.returncode == 70
    assert "the watchdog ends the worker: the main event loop has not turned" in said
    assert "in hang" in said
    assert "in a_wait_for_ever" in said
