"""How many events a second one worker takes: `python -m bench.throughput`.

A worker with everything on (validation, dedupe, state, features, reviews, alerts, segment changes, scores,
durable epochs, the learner) drains a backlog from Apache Kafka or from the embedded broker. It runs on one
core, the broker and this bench on another. What counts is wall time and CPU time (user and system, all
threads) between the first and the last look at which it was busy, twice a second: start-up and the last
partial epoch are outside, every other epoch is inside. A run counts only when it came out right: every
event applied, none dead or repeated, all offsets committed, every example learned.

With `--peers FOLDER` the other engines' jobs run in the same rounds on the same workload in their own form
and size, and what is printed is ratios of medians: the machine is shared, so absolute figures are of one
hour.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from statistics import median
from typing import NamedTuple

import msgspec

from agents.client import send
from agents.cluster import create_missing
from agents.settings import Settings
from bench import peers, workload
from bench.figures import Sample, steady, table
from bench.stage import (
    BROKER_CORE,
    LOOK_SECONDS,
    PATIENCE_SECONDS,
    WORKER_CORE,
    WatchedWorker,
    begin_anew,
    broker,
    hot_path,
    in_group,
    memory_mb,
    settings_for,
    until_committed,
)

LEARNERS = ("same", "apart", "off")
FLAME_SECONDS = 8


class Figures(NamedTuple):
    """One run of one engine; NaN where it does not say."""

    per_second: float
    cpu_micros: float
    peak_mb: float = float("nan")
    changelog_mb: float = float("nan")
    wire_per_event: float = float("nan")
    alerts: float = float("nan")
    examples: float = float("nan")


def measure(settings: Settings, events: int, learner: str = "same") -> Figures:
    """Drain a backlog of so many events with a new worker.

    Parameters
    ----------
    learner
        `same` process, `apart` in a second worker on the broker's core, or `off`.
    """
    names = ("customers", "learner") if learner == "same" else ("customers",)
    with ExitStack() as stack:
        worker = stack.enter_context(WatchedWorker(_running(settings, names), {WORKER_CORE}))
        learning = worker
        if learner == "apart":
            apart = WatchedWorker(_running(settings, ("learner",)), {BROKER_CORE})
            learning = stack.enter_context(apart)
        samples = drain(worker, events)
        until_committed(settings, events)
        if learner != "off":
            _until_learned(learning, worker.said("examples"))
        outcomes = worker.outcomes()
        if outcomes["applied"] != events or outcomes.total() != events:
            raise SystemExit(f"not every event was applied once: {dict(outcomes)} of {events:,}")
        sums, peak = worker.metrics(), memory_mb(worker.pid, peak=True)
        learned = learning.metrics().get("holdfast_learned_examples_total", 0.0)
    rate = steady(samples, events)
    log = sums["holdfast_changelog_bytes_total"]
    said = sums.get("holdfast_alerts_total", 0.0)
    return Figures(rate.per_second, rate.cpu_micros, peak, log / 1e6, log / events, said, learned)


def flame(settings: Settings, program: str, file: Path) -> None:
    """Drain the backlog once more with py-spy beside it; write where the interpreter spends its time.

    Only what holds the interpreter's lock is counted, by function: waiting is not work.
    """
    command = [program, "record", "--gil", "--function", "--rate", "200"]
    if hot_path() == "compiled":
        command.append("--native")  # or what is compiled would hide behind whoever calls it
    with WatchedWorker(settings, {WORKER_CORE}) as worker:
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not worker.look()[0].records:
            if time.monotonic() > deadline:
                raise SystemExit("the worker does not begin")
            time.sleep(LOOK_SECONDS)
        command += ["--duration", f"{FLAME_SECONDS}", "--pid", f"{worker.pid}", "--output", str(file)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise SystemExit(f"{program} fails: {done.stderr[-1000:]}")
    title = re.compile(r">[^<]*py-spy record[^<]*<")  # it names this machine's folders
    file.write_text(title.sub(">holdfast worker, by function<", file.read_text()))
    print(f"flame graph of {FLAME_SECONDS} s: {file}", flush=True)


def drain(worker: WatchedWorker, events: int) -> list[Sample]:
    """Look at a worker until all events have had their outcome."""
    samples: list[Sample] = []
    moved = time.monotonic()
    while not samples or samples[-1].records < events:
        time.sleep(LOOK_SECONDS)
        sample, sums = worker.look()
        if not sums:
            continue
        if not samples or sample.records > samples[-1].records:
            moved = sample.seconds
        elif sample.seconds - moved > PATIENCE_SECONDS:
            raise SystemExit(f"the worker stands still at {sample.records:,.0f} of {events:,} events")
        samples.append(sample)
    return samples


def _running(settings: Settings, names: tuple[str, ...]) -> Settings:
    return msgspec.structs.replace(settings, worker=msgspec.structs.replace(settings.worker, agents=names))


def _until_learned(worker: WatchedWorker, said: float) -> None:
    """Wait until the learner has come to the end of the examples."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        sums = worker.metrics()
        if sums.get("holdfast_learned_examples_total", 0.0) >= said:
            return
        if time.monotonic() > deadline:
            raise SystemExit(f"the learner stands still: {sums} of {said:,.0f} examples")
        time.sleep(LOOK_SECONDS)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.throughput", description=__doc__)
    parser.add_argument("--events", type=int, default=workload.EVENTS)
    parser.add_argument("--customers", type=int, default=workload.CUSTOMERS)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--broker", choices=("kafka", "embedded"), default="kafka")
    parser.add_argument("--learner", choices=LEARNERS, default="same", help="where it runs (default: same)")
    parser.add_argument("--question-share", type=float, default=0.1, help="reviews kept as questions")
    parser.add_argument("--store", choices=("memory", "rocksdb"), default="memory")
    parser.add_argument("--peers", type=Path, help="folder of the other engines' jobs")
    parser.add_argument("--peers-python", type=Path, default=Path(sys.executable), help="their interpreter")
    parser.add_argument("--peers-events", type=int, default=peers.EVENTS)
    parser.add_argument("--peers-customers", type=int, default=peers.CUSTOMERS)
    parser.add_argument("--flame", type=Path, help="write a flame graph here, in a round that does not count")
    parser.add_argument("--py-spy", default="py-spy", help="the program that makes it (default: py-spy)")
    options = parser.parse_args()
    with broker(options.broker) as overrides, tempfile.TemporaryDirectory() as folder:
        others = None
        if options.peers:
            size = (options.peers_events, options.peers_customers)
            bootstrap = str(overrides["kafka.bootstrap"])
            others = peers.Peers(options.peers.resolve(), options.peers_python.absolute(), bootstrap, *size)
            others.load(Path(folder))
            print(f"peers: {size[0]:,} events of {size[1]:,} customers loaded; the same as ours", flush=True)
        settings = settings_for(
            overrides,
            reviews__question_share=options.question_share,
            worker__store=options.store,
            worker__data_folder=folder,
        )
        create_missing(settings, roles={"input"})
        sent = send(settings, workload.messages(options.events, options.customers))
        print(
            f"holdfast: {sent.clickstream:,} clicks and {sent.orders:,} orders of {options.customers:,} "
            f"customers, sent in {sent.seconds:.0f} s",
            flush=True,
        )
        if options.flame:
            begin_anew(settings)
            flame(in_group(settings, "bench-flame"), options.py_spy, options.flame)
        print(_summary(_rounds(options, settings, others)))


def _rounds(
    options: argparse.Namespace, settings: Settings, others: peers.Peers | None
) -> dict[str, list[Figures]]:
    runs: dict[str, list[Figures]] = {}

    def show(name: str, figures: Figures) -> None:
        runs.setdefault(name, []).append(figures)
        told = f"{figures.per_second:,.0f} events/s, {figures.cpu_micros:.1f} us CPU"
        print(f"round {number}: {name} {told}", flush=True)

    for number in range(1, options.rounds + 1):
        begin_anew(settings)
        own = in_group(settings, f"bench-{number}")
        show("holdfast", measure(own, options.events, options.learner))
        for name in peers.NAMES if others else ():
            assert others is not None
            figures = others.measure(name)
            show(name, Figures(figures.per_second, figures.cpu_micros))
    return runs


def _summary(runs: dict[str, list[Figures]]) -> str:
    heads = (
        "engine",
        "events/s",
        "least",
        "most",
        "CPU us",
        "peak MB",
        "log MB",
        "log B/event",
        "ratio",
        "CPU ratio",
    )
    ours = median(run.per_second for run in runs["holdfast"])
    our_cpu = median(run.cpu_micros for run in runs["holdfast"])
    rows = []
    for name, figures in runs.items():
        middle = Figures(*(median(column) for column in zip(*figures, strict=True)))
        speeds = [run.per_second for run in figures]
        parts = [f"{middle.per_second:,.0f}", f"{min(speeds):,.0f}", f"{max(speeds):,.0f}"]
        parts.append(f"{middle.cpu_micros:.1f}")
        own = name == "holdfast"
        parts += [f"{middle.peak_mb:,.0f}", f"{middle.changelog_mb:,.1f}"] if own else ["", ""]
        parts.append(f"{middle.wire_per_event:,.0f}" if own else "")
        parts += [f"{ours / middle.per_second:.2f}", f"{middle.cpu_micros / our_cpu:.2f}"]
        rows.append((name, *parts))
    last = runs["holdfast"][-1]
    ending = f"the last run: {last.alerts:,.0f} alerts, {last.examples:,.0f} examples learned"
    meaning = "ratios: how many times the engine's speed ours is, by wall time and by CPU time an event"
    return f"\n{table(heads, rows)}\n\n{meaning}; {ending}"


if __name__ == "__main__":
    main()
