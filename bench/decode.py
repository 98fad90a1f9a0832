"""How long the codec takes for a message: `python -m bench.decode`.

The mix is what the simulated shop says, 96 clicks to 4 orders; the examples are the valid ones of the
contract, many of them as large as a browser makes them. Other programs share the machine and its speed
changes within milliseconds, so the codec is timed in short chunks, all rows in turn, each chunk beside a
fixed loop of plain Python. Two runs on two days compare by the last column, the ratio of the two.
"""

from __future__ import annotations

import argparse
import platform
from itertools import cycle, islice
from pathlib import Path
from statistics import median
from time import perf_counter_ns

import msgspec
import orjson

from samples.shop import ShopConfig, messages
from schemas.codec import ORDER_EVENTS, decode_event
from schemas.topics import CLICKSTREAM, ORDERS

EXAMPLES = Path(__file__).resolve().parents[1] / "schemas" / "examples"
SHOP = ShopConfig(customers=2_000, days=60, seed=7)
CLICKS_IN_MIX, ORDERS_IN_MIX = 4_800, 200
CHUNK = 250
STEPS = 2_000


class Row:
    """Messages, with the microseconds a message and the nanoseconds a step of the loop of each chunk."""

    def __init__(self, name: str, values: list[bytes]) -> None:
        self.name, self.values = name, values
        self.micros: list[float] = []
        self.loop_nanos: list[float] = []
        self._next = cycle(values)

    def time_chunk(self) -> None:
        chunk = list(islice(self._next, CHUNK))
        self.loop_nanos.append(calibrate())
        start = perf_counter_ns()
        for value in chunk:
            decode_event(value)
        self.micros.append((perf_counter_ns() - start) / (1_000.0 * CHUNK))

    def __str__(self) -> str:
        size = sum(map(len, self.values)) / len(self.values)
        steps = median(1_000.0 * us / ns for us, ns in zip(self.micros, self.loop_nanos, strict=True))
        times = f"{median(self.micros):11.2f}{min(self.micros):12.2f}{steps:10.1f}"
        return f"{self.name:28}{len(self.values):9}{size:7.0f}{times}"


def calibrate() -> float:
    """Nanoseconds a step of a loop that never changes."""
    start = perf_counter_ns()
    total = 0
    for step in range(STEPS):
        total = (total * 31 + step) & 0xFFFF
    return (perf_counter_ns() - start) / STEPS


def examples(topic: str) -> list[bytes]:
    """The valid examples of a topic, without the blanks that people read them by."""
    paths = sorted((EXAMPLES / topic / "valid").iterdir())
    return [orjson.dumps(orjson.loads(path.read_bytes())) for path in paths]


def mix() -> tuple[list[bytes], list[bytes], list[bytes]]:
    """Clicks, orders, and both in the order in which they came."""
    clicks: list[bytes] = []
    orders: list[bytes] = []
    both: list[bytes] = []
    for message in messages(SHOP):
        of_its_kind, most = (
            (orders, ORDERS_IN_MIX) if message.get("event") in ORDER_EVENTS else (clicks, CLICKS_IN_MIX)
        )
        if len(of_its_kind) < most:
            value = orjson.dumps(message)
            of_its_kind.append(value)
            both.append(value)
        if len(both) == CLICKS_IN_MIX + ORDERS_IN_MIX:
            return clicks, orders, both
    raise SystemExit("decode: the simulated shop is too small for the mix")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.decode", description="Time of decoding a message.")
    parser.add_argument("--repeats", type=int, default=10, help="passes over the mix (default: 10)")
    repeats = max(1, parser.parse_args().repeats)
    clicks, orders, both = mix()
    rows = [
        Row("valid examples, clickstream", examples(CLICKSTREAM)),
        Row("valid examples, orders", examples(ORDERS)),
        Row("mix, clicks only", clicks),
        Row("mix, orders only", orders),
        Row("mix, 96 % clicks", both),
    ]
    for _ in range(repeats * len(both) // CHUNK):
        for row in rows:
            row.time_chunk()
    loop = median(nanos for row in rows for nanos in row.loop_nanos)
    print(f"decode: Python {platform.python_version()}, msgspec {msgspec.__version__}, {repeats} repeats")
    print(f"calibration: {loop:.1f} ns a step of a fixed Python loop\n")
    print(f"{'':28}{'messages':>9}{'bytes':>7}{'median µs':>11}{'fastest µs':>12}{'in steps':>10}")
    for row in rows:
        print(row)
    print(f"\nmix: {median(rows[-1].micros):.2f} µs a message")


if __name__ == "__main__":
    main()
