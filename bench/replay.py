"""How many events a second a replay takes: `python -m bench.replay`.

Two workloads, each in memory before the clock starts, so that what is measured is `streams.replay`:
decoding, merging, customers, learning, and nothing written. CDNOW has orders only, months apart, so most
of its work is reviews that time brings; the simulated shop has 96 clicks to 4 orders. The machine is
shared, so each run stands beside a fixed loop of plain Python, and two days compare by the last column:
how many steps of that loop an event costs.
"""

from __future__ import annotations

import argparse
import platform
from collections import Counter
from collections.abc import Iterable, Mapping
from itertools import islice
from statistics import median
from time import perf_counter
from typing import Any

import msgspec
import orjson

from bench.decode import calibrate
from samples import cdnow, shop
from samples.shop_config import ShopConfig
from schemas.codec import ORDER_EVENTS
from schemas.topics import CLICKSTREAM, INPUTS, ORDERS
from streams.config import ReviewConfig, StreamConfig
from streams.replay import Replay

SHOP = ShopConfig(customers=2_000, days=120, seed=7)
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


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m bench.replay", description="Events a second of a replay."
    )
    parser.add_argument("--messages", type=int, metavar="N", help="the first N of each workload only")
    most = parser.parse_args().messages
    months = StreamConfig(reviews=ReviewConfig(horizon_days=84.0))
    rows = [
        Row("CDNOW tenth, 84 days", months, cdnow.messages("tenth"), most),
        Row("simulated shop, 30 days", StreamConfig(), shop.messages(SHOP), most or 100_000),
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
