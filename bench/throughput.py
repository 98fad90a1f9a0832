"""How many events a second one worker takes: `python -m bench.throughput`.

A worker with everything on (validation, dedupe, state, reviews, alerts, scores, durable epochs; the learner
in the same process or not at all, as `--learner` says) drains a backlog from Apache Kafka or from the
embedded broker. It is pinned to one core and the broker to the other. With `--peers FOLDER` the other
engines' jobs run on the same events in the same rounds, and what is printed is ratios of medians: the
machine is shared, so absolute figures are of one hour.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import NamedTuple

import msgspec
from prometheus_client.parser import text_string_to_metric_families

from agents.broker import EmbeddedBroker
from agents.client import send
from agents.cluster import admin, create_missing
from agents.settings import Settings, load, settings_toml
from bench import workload
from deploy.kafka.local import LocalKafka
from schemas.topics import TOPICS

ROOT = Path(__file__).resolve().parents[1]
WORKER_CORE, BROKER_CORE = 0, 1
PEERS = ("faust_plain", "quix", "bytewax_peer", "loop_plain")
_TICK = os.sysconf("SC_CLK_TCK")
_PEER_LINE = re.compile(r"n=(\d+) (\d+) ev/s cpu ([\d.]+) us/ev")


class Figures(NamedTuple):
    """One run of one engine."""

    per_second: float
    cpu_micros: float
    peak_mb: float
    changelog_mb: float


@contextmanager
def pinned(core: int) -> Iterator[None]:
    """Let what is started here run on one core."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core} & before or before)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


@contextmanager
def broker(kind: str) -> Iterator[dict[str, object]]:
    """Run the broker on its core; give the settings that lead to it."""
    with pinned(BROKER_CORE):
        made = LocalKafka() if kind == "kafka" else EmbeddedBroker()
        made.__enter__()
    try:
        yield made.settings_overrides()
    finally:
        made.__exit__(None, None, None)


def holdfast(settings: Settings, events: int) -> Figures:
    """Drain the backlog with a new group; measured from the first to the last record processed."""
    folder = Path(tempfile.mkdtemp(prefix="holdfast-bench-"))
    (folder / "holdfast.toml").write_text(settings_toml(settings))
    with (folder / "log").open("wb") as log, pinned(WORKER_CORE):
        process = subprocess.Popen(
            [sys.executable, "-m", "agents", "worker"],
            cwd=folder,
            env=os.environ | {"PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"},
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    try:
        began = at = cpu = ended_cpu = done = 0.0
        while done < events:
            time.sleep(0.1)
            said = (folder / "log").read_text(errors="replace")
            if process.poll() is not None:
                raise SystemExit(f"the worker ended: {said[-6000:]}")
            if "metrics at " not in said:
                continue
            done = _metrics(said)["holdfast_records_total"]
            if done and not began:
                began, cpu, first = time.monotonic(), _cpu_seconds(process.pid), done
            at, ended_cpu = time.monotonic(), _cpu_seconds(process.pid)
        sums = _metrics(said)
        seconds, records = at - began, done - first
        peak = int(re.findall(r"VmHWM:\s+(\d+)", Path(f"/proc/{process.pid}/status").read_text())[0]) / 1024
        return Figures(
            records / seconds,
            1e6 * (ended_cpu - cpu) / records,
            peak,
            sums["holdfast_changelog_bytes_total"] / 1e6,
        )
    finally:
        process.terminate()
        process.wait(20)


def _begin_anew(settings: Settings) -> None:
    """Take away what the round before wrote; the inputs stay."""
    names = [settings.topic(spec.name) for spec in TOPICS if spec.role != "input"]
    with admin(settings) as client:
        there = [name for name in names if name in client.list_topics()]
        if there:
            client.delete_topics(there)
        while set(names) & set(client.list_topics()):
            time.sleep(0.1)
    create_missing(settings)


def _show(number: int, name: str, runs: dict[str, list[Figures]], figures: Figures) -> None:
    runs.setdefault(name, []).append(figures)
    print(f"round {number}: {name} {figures.per_second:,.0f}/s, {figures.cpu_micros:.1f} us CPU", flush=True)


def _metrics(said: str) -> dict[str, float]:
    address = said.split("metrics at ")[1].split()[0]
    with urllib.request.urlopen(address, timeout=5) as answer:
        sums: dict[str, float] = {"holdfast_records_total": 0.0, "holdfast_changelog_bytes_total": 0.0}
        for family in text_string_to_metric_families(answer.read().decode()):
            for sample in family.samples:
                sums[sample.name] = sums.get(sample.name, 0.0) + sample.value
        return sums


def _cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / _TICK


def peer(name: str, folder: Path, bootstrap: str, events: int) -> Figures:
    """Run one of the peers on its own copy of the events; its last line of figures counts."""
    command = [sys.executable, f"{name}.py"]
    if name == "bytewax_peer":
        command = [sys.executable, "-m", "bytewax.run", "bytewax_peer:flow"]
    found = os.environ | {"BOOT": bootstrap, "PREFIX": "peers.", "TOTAL": str(events)}
    with pinned(WORKER_CORE):
        done = subprocess.run(command, cwd=folder, env=found, capture_output=True, text=True, check=False)
    figures = _PEER_LINE.findall(done.stdout)
    if not figures:
        raise SystemExit(f"{name} gave no figures: {done.stdout[-500:]}{done.stderr[-1500:]}")
    return Figures(float(figures[-1][1]), float(figures[-1][2]), 0.0, 0.0)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.throughput", description=__doc__)
    parser.add_argument("--events", type=int, default=400_000)
    parser.add_argument("--customers", type=int, default=30_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--broker", choices=("kafka", "embedded"), default="kafka")
    parser.add_argument("--learner", action="store_true", help="run the learner in the same process")
    parser.add_argument("--question-share", type=float, default=0.1, help="reviews kept as questions")
    parser.add_argument("--peers", type=Path, help="folder of the other engines' jobs")
    options = parser.parse_args()
    with broker(options.broker) as overrides, tempfile.TemporaryDirectory() as folder:
        bootstrap = str(overrides["kafka.bootstrap"])
        lines: Iterator[bytes] = workload.messages(options.events, options.customers)
        if options.peers:
            file = Path(folder, "events.jsonl")
            workload.peers_file(options.peers, file, options.events, options.customers)
            load_peers = [sys.executable, "load.py", str(file), bootstrap, "4", "peers."]
            subprocess.run(load_peers, cwd=options.peers, check=True)
            lines = workload.from_peers(file)
        base: dict[str, object] = {
            "topics.partitions": 4,
            "web.port": 0,
            "reviews.question_share": options.question_share,
            "worker.agents": "customers,learner" if options.learner else "customers",
            "worker.data_folder": folder,
        }
        settings = load(Path(os.devnull), {}, overrides | base)
        create_missing(settings, ("input",))
        sent = send(settings, lines)
        print(f"{sent.messages:,} events sent in {sent.seconds:.0f} s", flush=True)
        _rounds(options, settings, bootstrap)


def _rounds(options: argparse.Namespace, settings: Settings, bootstrap: str) -> None:
    runs: dict[str, list[Figures]] = {}
    for number in range(1, options.rounds + 1):
        kafka = msgspec.structs.replace(settings.kafka, group=f"bench-{number}")
        own = msgspec.structs.replace(settings, kafka=kafka)
        _begin_anew(own)
        _show(number, "holdfast", runs, holdfast(own, options.events))
        for name in PEERS if options.peers else ():
            _show(number, name, runs, peer(name, options.peers, bootstrap, options.events))
    base = median(run.per_second for run in runs["holdfast"])
    print(f"{'engine':14}{'events/s':>10}{'CPU us/event':>14}{'peak MB':>9}{'changelog MB':>14}{'ratio':>8}")
    for name, figures in runs.items():
        per_second, cpu, peak, log = (median(column) for column in zip(*figures, strict=True))
        print(f"{name:14}{per_second:10,.0f}{cpu:14.1f}{peak:9.0f}{log:14.1f}{base / per_second:8.2f}")


if __name__ == "__main__":
    main()
