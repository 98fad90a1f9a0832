"""How many events a second a replay takes: `python -m bench.replay`.

First `holdfast replay` itself, on files: reading, routing, decoding, merging, customers, learning, results
and report written. An event is a line, click or order. What it costs depends on how often customers are
looked at, so there are three files (`told`). It runs on one core; what counts is events a second of CPU time,
all its processes, and of wall time, less what the same command needs for one event. A second table says where
an event's CPU time goes (`bench.replay_parts`); 200,000 a second are 5 microseconds for all of it.

Then three workloads that are in memory before the clock starts, so that what is measured is `streams.replay`
and nothing is written. CDNOW has orders only, months apart, so most of its work is reviews that time brings;
the simulated shop has 96 clicks to 4 orders, and few customers with much history; the third is the workload
of the file. The machine is shared, so each run stands beside a fixed loop of plain Python, and two days
compare by the last column: how many steps of that loop an event costs.
"""

from __future__ import annotations

import argparse
import os
import platform
import resource
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable, Mapping
from itertools import islice
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Any

import msgspec
import orjson

from agents.replay import REPORT
from bench import workload
from bench.decode import calibrate
from bench.figures import table
from bench.replay_parts import QUESTIONS, Parts, in_microseconds
from bench.stage import WORKER_CORE, on_cores
from samples import cdnow, shop
from samples.shop_config import ShopConfig
from schemas.codec import ORDER_EVENTS
from schemas.topics import CLICKSTREAM, INPUTS, ORDERS
from streams.config import ReviewConfig, StreamConfig
from streams.replay import Replay

SHOP = ShopConfig(customers=2_000, days=120, seed=7)
EVENTS = 400_000
EVENTS_PER_CUSTOMER = workload.EVENTS // workload.CUSTOMERS
ROOT = Path(__file__).resolve().parents[1]
RUNS = 3
LOOPS = 25


class Row:
    """Messages with their inputs, and the seconds and loop nanoseconds of each run."""

    def __init__(
        self, name: str, config: StreamConfig, messages: Iterable[Mapping[str, Any]], most: int | None
    ) -> None:
        self.name, self.config = name, config
        self.messages = [
            (
                INPUTS.index(ORDERS if message.get("event") in ORDER_EVENTS else CLICKSTREAM),
                orjson.dumps(message),
            )
            for message in islice(messages, most)
        ]
        self.seconds: list[float] = []
        self.loop_nanos: list[float] = []
        self.said: Counter[str] = Counter()

    def run(self) -> None:
        replay = Replay(self.config, sink=_nowhere)
        before = _loop()
        start = perf_counter()
        replay.run(self.messages)
        self.seconds.append(perf_counter() - start)
        self.loop_nanos.append((before + _loop()) / 2)
        self.said = replay.said

    def __str__(self) -> str:
        count = len(self.messages)
        rates = [count / seconds for seconds in self.seconds]
        steps = median(1e9 * s / ns / count for s, ns in zip(self.seconds, self.loop_nanos, strict=True))
        decisions = sum(self.said.values()) / count
        speed = f"{median(rates):12,.0f}{max(rates):12,.0f}{steps:11,.0f}"
        return f"{self.name:24}{count:9,}{decisions:11.2f}{speed}"


def _nowhere(_: object) -> None:
    """Take a decision and do nothing with it."""


def _loop() -> float:
    return median(calibrate() for _ in range(LOOPS))


def command_seconds(file: Path, out: Path) -> tuple[float, float]:
    """Run `holdfast replay` on a file, on one core: seconds of wall time and of CPU time."""
    share = ("--set", f"reviews.question_share={QUESTIONS}")
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), perf_counter()
    _run(file, "agents", *share, "replay", str(file), "--out", str(out))
    wall, after = perf_counter() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    return wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def _run(file: Path, *command: str) -> str:
    """Run a module on the core of workers; not among the sources, for a caller may want the compiled ones."""
    paths = os.pathsep.join([os.environ.get("PYTHONPATH", ""), str(ROOT)]).strip(os.pathsep)
    with on_cores({WORKER_CORE}):
        done = subprocess.run(
            [sys.executable, "-m", *command],
            capture_output=True,
            text=True,
            check=False,
            cwd=file.parent,
            env=os.environ | {"PYTHONPATH": paths},
        )
    if done.returncode:
        raise SystemExit(f"{command[0]} fails: {done.stderr[-1500:]}")
    return done.stdout


def told(most: int) -> dict[str, list[bytes]]:
    """Give the messages of each file that the command reads, by what they are.

    In the throughput bench's workload every click is a visit of its own: after each of a customer who has
    ordered, a session ends and is reviewed. In a shop clicks come in visits of several. A clickstream without
    any order has nobody to review: what is left is to read, merge, fold and remember.
    """
    own = list(workload.messages(most, max(1, most // EVENTS_PER_CUSTOMER)))
    return {
        "throughput's: each click a visit": own,
        "simulated shop: clicks in visits": [
            orjson.dumps(message) for message in islice(shop.messages(SHOP), most)
        ],
        "throughput's clicks, no order": [line for line in own if b'"Order Completed"' not in line],
    }


def measure_command(most: int) -> str:
    """Measure `holdfast replay` on files, all of whose results are written; decisions are an event's."""
    rates, shares = [], []
    with TemporaryDirectory(prefix="holdfast-bench-") as folder:
        one = Path(folder, "one.jsonl")
        for name, lines in told(most).items():
            one.write_bytes(lines[0] + b"\n")
            many = Path(folder, "many.jsonl")
            many.write_bytes(b"\n".join(lines) + b"\n")
            clicks = sum(b'"Order ' not in line for line in lines)
            walls, cpus, runs = [], [], []
            for _ in range(RUNS):
                start_wall, start_cpu = command_seconds(one, Path(folder, "out"))
                wall, cpu = command_seconds(many, Path(folder, "out"))
                walls.append(len(lines) / (wall - start_wall))
                cpus.append(len(lines) / (cpu - start_cpu))
                runs.append(Parts(**orjson.loads(_run(many, "bench.replay_parts", str(many)))))
            decisions = sum(orjson.loads(Path(folder, "out", REPORT).read_bytes())["decisions"].values())
            rates.append(
                (
                    name,
                    f"{len(lines):,}",
                    f"{clicks / len(lines):.1%}",
                    f"{decisions / len(lines):.2f}",
                    f"{median(cpus):,.0f}",
                    f"{max(cpus):,.0f}",
                    f"{median(walls):,.0f}",
                )
            )
            parts, total = in_microseconds(runs, len(lines)), 1e6 / median(cpus)
            cells = (*parts.values(), total - sum(parts.values()), total)
            shares.append((name, *(f"{cell:.2f}" for cell in cells)))
    said = "decisions", "events/s of CPU", "most", "of wall time"
    rate_table = table(("holdfast replay", "events", "clicks", *said), rates)
    part_table = table(("CPU us an event", *Parts._fields, "rest", "all"), shares)
    return f"{rate_table}\n\n{part_table}"


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m bench.replay", description="Events a second of a replay."
    )
    parser.add_argument("--messages", type=int, metavar="N", help="the first N of each workload only")
    parser.add_argument("--core-only", action="store_true", help="not the command, only what is in memory")
    options = parser.parse_args()
    most = options.messages
    if not options.core_only:
        print(f"{measure_command(most or EVENTS)}\n", flush=True)
    months = StreamConfig(reviews=ReviewConfig(horizon_days=84.0))
    tenth = StreamConfig(reviews=ReviewConfig(question_share=QUESTIONS))
    own = map(orjson.loads, workload.messages(EVENTS, EVENTS // EVENTS_PER_CUSTOMER))
    rows = [
        Row("CDNOW tenth, 84 days", months, cdnow.messages("tenth"), most),
        Row("simulated shop, 30 days", StreamConfig(), shop.messages(SHOP), most or 100_000),
        Row("throughput's, 30 days", tenth, own, most),
    ]
    for _ in range(RUNS):
        for row in rows:
            row.run()
    loop = median(nanos for row in rows for nanos in row.loop_nanos)
    print(
        f"replay: Python {platform.python_version()}, msgspec {msgspec.__version__}, medians of {RUNS} runs"
    )
    print(f"calibration: {loop:.1f} ns a step of a fixed Python loop\n")
    print(f"{'':24}{'events':>9}{'decisions':>11}{'events/s':>12}{'fastest':>12}{'in steps':>11}")
    for row in rows:
        print(row)


if __name__ == "__main__":
    main()
