"""Worker processes under a row's control: started, killed, paused, stopped, and started again."""

from __future__ import annotations

import os
import re
import time
import urllib.request
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

from agents.settings import Settings
from tests.live.harness import Worker, committed

PAGE = os.sysconf("SC_PAGE_SIZE")


def memory_mb(worker: Worker) -> float:
    """Give the resident memory of a worker."""
    pages = int(Path(f"/proc/{worker.process.pid}/statm").read_text().split()[1])
    return pages * PAGE / 2**20


def start(settings: Settings, model: Path | None, *faults: str, options: Sequence[str] = ()) -> Worker:
    """Start a worker: the ordinary one, or by `bench.faults.worker` with these faults."""
    program = ("bench.faults.worker", *faults) if faults else ("agents",)
    return Worker(settings, model, program=program, options=options)


class Fleet:
    """Some workers of one group; a context manager that ends those that are still there.

    Parameters
    ----------
    faults
        Options of `bench.faults.worker` that every worker is started with.

    Attributes
    ----------
    outside
        Settings by which the group is looked at: others than the workers' when a proxy is between.
    """

    def __init__(self, settings: Settings, model: Path, count: int = 2, faults: Sequence[str] = ()) -> None:
        self.settings = settings
        self.faults = tuple(faults)
        self.ended: list[Worker] = []
        self.exit_codes: list[int] = []
        self._model = model
        self.outside = settings
        self.workers = [self.new() for _ in range(count)]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for worker in self.workers:
            worker.__exit__(kind, error, trace)

    def new(self, *faults: str) -> Worker:
        """Start one more; it is not in the fleet until a place is given to it."""
        return start(self.settings, self._model, *self.faults, *faults)

    def until_ready(self) -> None:
        """Wait until every worker has recovered something, or nothing is left for it to recover."""
        for worker in self.workers:
            worker.until_ready()

    def kill(self, place: int) -> None:
        """Kill a worker, as the machine under it would."""
        worker = self.workers[place]
        worker.process.kill()
        self._gone(worker)

    def stop(self, place: int) -> float:
        """Ask a worker to stop; return how long it took."""
        began = time.monotonic()
        self.workers[place].stop()
        self._gone(self.workers[place])
        return time.monotonic() - began

    def forget(self, place: int) -> None:
        """Take note of a worker that ended by itself; `restart` puts another in its place."""
        self._gone(self.workers[place])

    def restart(self, place: int, *faults: str) -> None:
        """Put a new worker in the place of one that has ended."""
        self.workers[place] = self.new(*faults)

    def keep(self) -> int:
        """Start those again that ended by themselves; return how many."""
        again = 0
        for place, worker in enumerate(self.workers):
            if worker.process.poll() is not None:
                self._gone(worker)
                self.restart(place)
                again += 1
        return again

    def _gone(self, worker: Worker) -> None:
        self.exit_codes.append(worker.process.wait())
        self.ended.append(worker)
        worker.close()

    def until_committed(self, total: int, seconds: float, keep: bool = True) -> float:
        """Wait until the group has committed so many records; return how long it took."""
        began = time.monotonic()
        while (done := sum(committed(self.outside).values())) < total:
            waited = time.monotonic() - began
            assert waited < seconds, f"{done} of {total} records committed after {waited:.0f} s"
            if keep:
                self.keep()
            time.sleep(0.3)
        return time.monotonic() - began

    def stop_all(self) -> list[float]:
        """Ask every worker to stop, one after the other."""
        return [self.stop(place) for place in range(len(self.workers))]

    def processed(self) -> int:
        """Count the records that the living have had an outcome for."""
        return sum(int(counters(worker).get("holdfast_records_total", 0.0)) for worker in self.workers)


def counters(worker: Worker) -> dict[str, float]:
    """Give a worker's metrics; none when it does not answer, as when it is dead or starting."""
    try:
        return worker.metrics()
    except (OSError, AssertionError):
        return {}


def samples(worker: Worker, name: str) -> list[Sample]:
    """Give one metric with each of its labels."""
    address = worker.said().split("metrics at ")[1].split()[0]
    with urllib.request.urlopen(address, timeout=5) as answer:
        text = answer.read().decode()
    found = [sample for family in text_string_to_metric_families(text) for sample in family.samples]
    return [sample for sample in found if sample.name == name]


def outcomes(worker: Worker) -> Counter[str]:
    """Count input records by what became of them."""
    counted: Counter[str] = Counter()
    for sample in samples(worker, "holdfast_records_total"):
        counted[sample.labels["outcome"]] += int(sample.value)
    return counted


def said_of(workers: Sequence[Worker], pattern: str) -> list[tuple[str, ...]]:
    """Find what workers printed by a pattern with groups."""
    return [match.groups() for worker in workers for match in re.finditer(pattern, worker.said())]


def until_dead(worker: Worker, seconds: float, what: str) -> int:
    """Wait until a worker ends by itself; return its exit code."""
    deadline = time.monotonic() + seconds
    while worker.process.poll() is None:
        assert time.monotonic() < deadline, f"{what}: still running after {seconds:g} s"
        time.sleep(0.05)
    return int(worker.process.returncode)
