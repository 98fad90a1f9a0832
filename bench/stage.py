"""What the live benches stand on: a broker on one core, workers on others, and looks at them from outside.

Nothing that is measured shares a core with what measures: the bench itself runs on the broker's core. CPU
time comes from the kernel, for all threads of a process; what a worker has done comes from its own
counters, asked for twice a second, which costs it about a thousandth of its time.
"""

from __future__ import annotations

import logging
import os
import platform
import re
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

import msgspec
from prometheus_client.parser import text_string_to_metric_families

from agents.broker import EmbeddedBroker
from agents.cluster import admin, create_missing
from agents.settings import Settings, load
from agents.worker_process import WorkerProcess
from bench.figures import Sample
from deploy.kafka.local import LocalKafka
from schemas.topics import TOPICS
from tests.live.harness import committed

WORKER_CORE, BROKER_CORE = 0, 1
LOOK_SECONDS = 0.5
PATIENCE_SECONDS = 120.0
"""How long anything may stand still before a bench gives up."""

_TICK = os.sysconf("SC_CLK_TCK")
_ANSWER_SECONDS = 10.0


def conditions() -> str:
    """Say under which conditions is measured: a busy machine should show in what it printed."""
    load, when = os.getloadavg()[0], time.strftime("%Y-%m-%d %H:%M")
    cores = os.cpu_count() or 1
    busy = "; others use this machine, so believe CPU time and not wall time" if load > 1.0 else ""
    python = f"Python {platform.python_version()}, hot path {hot_path()}"
    return f"{when}, {python}, {cores} cores, load average {load:.1f}{busy}"


def hot_path() -> str:
    """Say whether a worker would run the compiled hot path: it does where PYTHONPATH leads to one first."""
    asked = [sys.executable, "-c", "import streams.intake; print(streams.intake.__file__)"]
    with tempfile.TemporaryDirectory() as elsewhere:
        found = subprocess.run(asked, cwd=elsewhere, capture_output=True, text=True, check=True).stdout
    return "interpreted" if found.strip().endswith(".py") else "compiled"


@contextmanager
def broker(kind: str, properties: Mapping[str, str] | None = None) -> Iterator[dict[str, object]]:
    """Run a broker on its core, and us beside it; give the settings that lead to it.

    Parameters
    ----------
    kind
        `kafka` or `embedded`.
    properties
        Of Kafka's, beside the usual ones.
    """
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)  # a topic just made has no leader for a moment
    print(conditions(), flush=True)
    everywhere = os.sched_getaffinity(0)
    with ExitStack() as stack:
        if BROKER_CORE in everywhere:
            os.sched_setaffinity(0, {BROKER_CORE})
            stack.callback(os.sched_setaffinity, 0, everywhere)
        if kind == "kafka":
            yield stack.enter_context(LocalKafka(settings=properties)).settings_overrides()
        else:
            yield stack.enter_context(EmbeddedBroker()).settings_overrides()


@contextmanager
def on_cores(cores: set[int]) -> Iterator[None]:
    """Let what is started here run on other cores than ours, where the machine has them."""
    before = os.sched_getaffinity(0)
    wanted = {core for core in cores if core < (os.cpu_count() or 1)}
    os.sched_setaffinity(0, wanted or before)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def cpu_seconds(pid: int) -> float:
    """Give the CPU time of a process, all its threads, user and system."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / _TICK


def memory_mb(pid: int, peak: bool = False) -> float:
    """Give the resident memory of a process, or the most that it ever had."""
    found = re.search(rf"Vm{'HWM' if peak else 'RSS'}:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())
    return int(found[1]) / 1024 if found else 0.0


def free_port() -> int:
    """Find a port of this machine that nobody has."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        return int(held.getsockname()[1])


class WatchedWorker:
    """A worker on cores of its own; a context manager that starts it and ends it.

    Parameters
    ----------
    settings
        All of them but where it serves its metrics.
    cores
        Where it runs.
    """

    def __init__(self, settings: Settings, cores: set[int]) -> None:
        web = msgspec.structs.replace(settings.web, host="127.0.0.1", port=free_port())
        self.settings = msgspec.structs.replace(settings, web=web)
        self._cores = cores
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        folder = self._stack.enter_context(tempfile.TemporaryDirectory(prefix="holdfast-bench-"))
        self.process = WorkerProcess(self.settings, Path(folder))
        with on_cores(self._cores):
            self._stack.enter_context(self.process)
        self.pid = self.process.pid
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.__exit__(kind, error, trace)

    def metrics(self) -> dict[str, float]:
        """Sum each metric over its labels; empty while it does not answer yet. Raises when it has ended."""
        sums: dict[str, float] = {}
        for name, _, value in self._samples():
            sums[name] = sums.get(name, 0.0) + value
        return sums

    def partitions(self) -> int:
        """Count the partitions that it holds."""
        return sum(name == "holdfast_recovery_seconds" for name, _, _ in self._samples())

    def recovery_seconds(self) -> float:
        """Tell how long its slowest partition took to recover."""
        return max((value for name, _, value in self._samples() if name == "holdfast_recovery_seconds"))

    def outcomes(self) -> Counter[str]:
        """Count input records by what became of them."""
        counted: Counter[str] = Counter()
        for name, labels, value in self._samples():
            if name == "holdfast_records_total":
                counted[labels["outcome"]] += int(value)
        return counted

    def said(self, topic: str) -> float:
        """Count what it has said on a topic, by its name in `schemas.topics`."""
        of = "holdfast_decisions_total"
        return sum(v for name, labels, v in self._samples() if name == of and labels["topic"] == topic)

    def look(self) -> tuple[Sample, dict[str, float]]:
        """Take a sample."""
        sums = self.metrics()
        done = sums.get("holdfast_records_total", 0.0)
        return Sample(time.monotonic(), cpu_seconds(self.pid), done), sums

    def _samples(self) -> Iterator[tuple[str, dict[str, str], float]]:
        self.process.check()
        try:
            with urllib.request.urlopen(self.process.metrics_url, timeout=_ANSWER_SECONDS) as answer:
                text = answer.read().decode()
        except OSError:
            return
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                yield sample.name, sample.labels, sample.value


def until_committed(settings: Settings, events: int) -> None:
    """Wait until the group has committed every record: nothing is left, and all of it is durable."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while (done := sum(committed(settings).values())) < events:
        if time.monotonic() > deadline:
            raise SystemExit(f"only {done:,} of {events:,} records committed in time")
        time.sleep(0.2)


def settings_for(overrides: dict[str, object], **given: object) -> Settings:
    """Make settings of a bench from the broker's; `a__b=1` stands for a.b. The environment has no say."""
    chosen = {key.replace("__", "."): value for key, value in given.items()}
    return load(Path(os.devnull), {}, overrides | {"topics.partitions": 4, "web.port": 0} | chosen)


def in_group(settings: Settings, group: str) -> Settings:
    """Give the same settings for another consumer group."""
    return msgspec.structs.replace(settings, kafka=msgspec.structs.replace(settings.kafka, group=group))


def begin_anew(settings: Settings) -> None:
    """Take away what an earlier run wrote; the inputs stay."""
    names = [settings.topic(spec.name) for spec in TOPICS if spec.role != "input"]
    with admin(settings) as client:
        there = [name for name in names if name in client.list_topics()]
        if there:
            client.delete_topics(there)
        while set(names) & set(client.list_topics()):
            time.sleep(0.1)
    create_missing(settings)
