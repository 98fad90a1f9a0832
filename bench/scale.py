"""Whether more workers take more: `python -m bench.scale`; and what a large shop takes: `--plan`.

One, two and four workers of one group drain the same backlog. A worker has a core of its own where the
machine has one; the broker's core is the last that is given, and more workers than cores share them. Where
cores are shared the total cannot grow as the workers do, and what shows whether they get in each other's way
is CPU time an event staying flat. What the broker's neighbourhood costs a worker is measured too, by one
worker alone on its core. The window runs from
when every worker holds its partitions and is busy to when the first of them runs out, so that joining and
leaving are outside. Kafka's group waits for all of them before it gives out partitions: what an event costs
rises along the workload, the longer customers are known, so a window that began when a worker had come late
would compare other events.

`--plan` computes by `bench.plan` from figures that were measured; each can be given by an option.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from statistics import median
from typing import NamedTuple

from agents.client import send
from agents.cluster import create_missing
from agents.settings import Settings
from bench import workload
from bench.figures import Sample, table
from bench.plan import Measured, Shop, plan_text
from bench.stage import (
    BROKER_CORE,
    LOOK_SECONDS,
    PATIENCE_SECONDS,
    WatchedWorker,
    begin_anew,
    broker,
    in_group,
    settings_for,
    until_committed,
)
from schemas.learning import Example
from streams.config import ReviewConfig, StreamConfig
from streams.learning.machine import LearnerMachine
from streams.replay import Replay

PARTITIONS = 4
_JOIN_TOGETHER = {"group.initial.rebalance.delay.ms": "6000"}
COUNTS = (1, 2, 4)

MEASURED = Measured(
    cpu_micros=10.0,
    base_mb=140.0,
    memory_bytes=810.0,
    changelog_bytes=460.0,
    wire_bytes=57.0,
    recovered_per_second=185_000.0,
    learner_micros=108.0,
    examples=0.063,
)
"""What docs/performance.md says; to be kept with it."""


class Together(NamedTuple):
    """Some workers at once, each on one of these cores."""

    cores: tuple[int, ...]
    per_second: float
    cpu_micros: float

    @property
    def where(self) -> str:
        """Say which cores."""
        shown = " ".join(f"{core}" for core in sorted(set(self.cores)))
        return f"{shown} (the broker's)" if set(self.cores) == {BROKER_CORE} else shown


def cores_for(workers: int, cores: int) -> tuple[int, ...]:
    """Give each worker a core: the broker's last, and in turn where there are more workers.

    Examples
    --------
    >>> cores_for(1, cores=2), cores_for(2, cores=2), cores_for(4, cores=2), cores_for(2, cores=4)
    ((0,), (0, 1), (0, 1, 0, 1), (0, 2))
    """
    order = [core for core in range(cores) if core != BROKER_CORE]
    if cores > BROKER_CORE:
        order.append(BROKER_CORE)
    return tuple(order[number % len(order)] for number in range(workers))


def window(looks: Sequence[Sequence[Sample]], since: int) -> tuple[float, float, float]:
    """Sum over workers between the looks at which all of them were busy.

    Parameters
    ----------
    looks
        For each look, a sample of each worker.
    since
        The look from which on everybody had their partitions.

    Returns
    -------
    tuple
        Seconds, records, CPU seconds.

    Examples
    --------
    >>> looks = [[Sample(at, at, 10 * at), Sample(at, at, min(20 * at, 60))] for at in range(6)]
    >>> window(looks, since=0)
    (1, 30, 2)
    """
    final = [sample.records for sample in looks[-1]]
    busy = [
        look
        for look in looks[since:]
        if all(0 < sample.records < last for sample, last in zip(look, final, strict=True))
    ]
    if len(busy) < 2:
        raise ValueError("too short to measure: give more events")
    first, last = busy[0], busy[-1]
    seconds = max(b.seconds - a.seconds for a, b in zip(first, last, strict=True))
    records = sum(b.records - a.records for a, b in zip(first, last, strict=True))
    cpu = sum(b.cpu_seconds - a.cpu_seconds for a, b in zip(first, last, strict=True))
    return seconds, records, cpu


def measure(settings: Settings, cores: tuple[int, ...], events: int) -> Together:
    """Drain a backlog of so many events with a worker on each of some cores."""
    looks: list[list[Sample]] = []
    since, moved, most = None, time.monotonic(), 0.0
    with ExitStack() as stack:
        fleet = [stack.enter_context(WatchedWorker(settings, {core})) for core in cores]
        while True:
            time.sleep(LOOK_SECONDS)
            seen = [worker.look() for worker in fleet]
            if not all(sums for _, sums in seen):
                continue
            looks.append([sample for sample, _ in seen])
            if since is None and all(worker.partitions() == PARTITIONS // len(cores) for worker in fleet):
                since = len(looks) - 1
            done = sum(sample.records for sample in looks[-1])
            now = time.monotonic()
            if done > most:
                most, moved = done, now
            elif done >= events and now - moved > 3 * LOOK_SECONDS:
                break  # records that a rebalance made two of them process count twice: wait till all stand
            elif now - moved > PATIENCE_SECONDS:
                raise SystemExit(f"the workers stand still at {done:,.0f} of {events:,} events")
        until_committed(settings, events)
    if since is None:
        raise SystemExit("the workers did not share the partitions before the backlog ended; more events")
    seconds, records, cpu = window(looks, since)
    return Together(cores, records / seconds, 1e6 * cpu / records)


def learner_micros(events: int = 200_000, customers: int = 5_000) -> tuple[float, float]:
    """Measure the learner by itself: CPU microseconds an example, and examples an event."""
    config = StreamConfig(reviews=ReviewConfig(question_share=1.0))
    examples: list[Example] = []

    def keep(decision: object) -> None:
        payload = getattr(decision, "payload", None)
        if isinstance(payload, Example):
            examples.append(payload)

    Replay(config, sink=keep, model=LearnerMachine(config).snapshot()).run(
        workload.with_inputs(workload.messages(events, customers))
    )
    learner = LearnerMachine(config)
    began = time.process_time()
    for example in examples:
        learner.learn(example)
    return 1e6 * (time.process_time() - began) / len(examples), len(examples) / events


def _measure_all(options: argparse.Namespace) -> None:
    micros, each = learner_micros()
    print(f"learner: {micros:.1f} us CPU an example; {each:.3f} examples an event with every review kept")
    rows: list[Together] = []
    with broker(options.broker, _JOIN_TOGETHER) as overrides, tempfile.TemporaryDirectory() as folder:
        settings = settings_for(
            overrides,
            worker__agents=("customers",),
            reviews__question_share=options.question_share,
            worker__data_folder=str(Path(folder)),
        )
        create_missing(settings, roles={"input"})
        send(settings, workload.messages(options.events, options.customers))
        ways = [cores_for(workers, os.cpu_count() or 1) for workers in options.workers]
        if any(BROKER_CORE in cores for cores in ways) and (BROKER_CORE,) not in ways:
            ways.append((BROKER_CORE,))
        for number in range(1, options.rounds + 1):
            for way, cores in enumerate(ways):
                begin_anew(settings)
                found = measure(in_group(settings, f"scale-{number}-{way}"), cores, options.events)
                rows.append(found)
                told = f"{found.per_second:,.0f} events/s, {found.cpu_micros:.1f} us CPU an event"
                print(f"round {number}: {len(cores)} worker(s) on core {found.where}: {told}", flush=True)
    print(f"\n{_summary(rows)}")


def _summary(rows: Sequence[Together]) -> str:
    shown = []
    fewest = min(rows, key=lambda row: len(row.cores)).cores  # the first of them: not beside the broker
    one = median(row.per_second for row in rows if row.cores == fewest)
    for cores in dict.fromkeys(row.cores for row in rows):
        own = [row for row in rows if row.cores == cores]
        speed, cpu = median(row.per_second for row in own), median(row.cpu_micros for row in own)
        cells = (own[0].where, f"{speed:,.0f}", f"{speed / one:.2f}", f"{cpu:.1f}")
        shown.append((f"{len(cores)}", *cells))
    return table(("workers", "on core", "events/s", "ratio", "CPU us/event"), shown)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.scale", description=__doc__)
    parser.add_argument("--events", type=int, default=workload.EVENTS)
    parser.add_argument("--customers", type=int, default=workload.CUSTOMERS)
    parser.add_argument("--workers", type=int, nargs="+", choices=COUNTS, default=list(COUNTS))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--broker", choices=("kafka", "embedded"), default="kafka")
    parser.add_argument("--question-share", type=float, default=0.05, help="reviews kept as questions")
    parser.add_argument("--plan", action="store_true", help="measure nothing: print the calculation")
    for name, value in MEASURED._asdict().items():
        parser.add_argument(f"--{name.replace('_', '-')}", type=float, default=value)
    for name, value in Shop()._asdict().items():
        parser.add_argument(f"--shop-{name.replace('_', '-')}", type=type(value), default=value)
    options = parser.parse_args()
    if not options.plan:
        _measure_all(options)
        return
    measured = Measured(*(getattr(options, name) for name in Measured._fields))
    shop = Shop(*(getattr(options, f"shop_{name}") for name in Shop._fields))
    print(plan_text(measured, shop))


if __name__ == "__main__":
    main()
