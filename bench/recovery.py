"""How long a restart without its store takes, and what a customer costs: `python -m bench.recovery`.

A changelog of a million customers is read into an empty store by a worker that was just started; the clock
stops when it has processed a record of those that waited. With one review in ten kept as a question and
with all, with states in memory and in RocksDB, and once more with the RocksDB store that the run before
left behind.

The states are real ones: customers of the simulated shop after some months, as the machine leaves them
(orders, visits, open questions, message ids). So that a million of them take minutes and not hours, the
shop has fewer customers and each state is written under many names; nothing in a recovery depends on how
alike two customers are. They lie in batches of the size that a worker writes, with its marker behind them.
Each is there once, as compaction leaves it; `--versions` writes older ones before it.

Bytes of the changelog are of the record batches as the broker keeps them, keys and framing included. Memory
is the worker's resident memory after recovery, less that of a worker that recovered one customer a
partition.
"""

from __future__ import annotations

import argparse
import asyncio
import tempfile
import time
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import msgspec
from aiokafka import AIOKafkaProducer
from librt.vecs import vec
from mypy_extensions import i64

from agents.changelog import MARKER_VERSION, Marker, marker_record
from agents.client import partition_of, send
from agents.cluster import create_missing, topic_ids
from agents.connection import aiokafka_arguments
from agents.settings import Settings
from agents.transport import MAX_BATCH_BYTES, MAX_REQUEST_BYTES
from bench.figures import table
from bench.stage import (
    PATIENCE_SECONDS,
    WORKER_CORE,
    WatchedWorker,
    broker,
    memory_mb,
    settings_for,
)
from samples import shop, write
from samples.shop_config import ShopConfig
from schemas.codec import utc
from schemas.learning import ModelSnapshot
from schemas.topics import CHANGELOG, CLICKSTREAM, INPUTS, ORDERS
from streams.customer.state_codec import encode_state
from streams.replay import Replay

CUSTOMERS = 1_000_000
PARTITIONS = 4
SHOP = ShopConfig(customers=4_000, days=120, seed=7)
WAITING = 2_000
"""Records that wait on the inputs."""

_LOOK_SECONDS = 0.1
_IN_FLIGHT = 8


class Grown(NamedTuple):
    """Customers as a machine left them: their states as bytes, and where time stood."""

    states: list[bytes]
    watermark_ms: int
    model: ModelSnapshot
    next_messages: list[bytes]


class Recovered(NamedTuple):
    """One restart."""

    seconds: float
    recovery_seconds: float
    memory_mb: float


def grow(share: float, config: ShopConfig = SHOP) -> Grown:
    """Let the simulated shop run through the machine; keep what is left at the end.

    Parameters
    ----------
    share
        Reviews kept as questions.
    """
    settings = settings_for({}, reviews__question_share=share)
    replay = Replay(settings.streams, sink=lambda _: None)
    lines = write.lines(shop.messages(config))
    replay.run((INPUTS.index(ORDERS if _is_order(line) else CLICKSTREAM), line) for line in lines)
    machine = replay.machine
    for state in machine.states.values():
        state.applied = vec[i64]([-1] * len(INPUTS))  # the inputs that the worker reads are others
    states = [encode_state(state) for state in machine.states.values()]
    return Grown(states, machine.watermark.at_ms, machine.model.snapshot, _clicks(replay.last_ms or 0))


def _is_order(line: bytes) -> bool:
    return b'"event":"Order ' in line


def _clicks(last_ms: int) -> list[bytes]:
    """Clicks of new customers right behind the last event."""
    return [
        msgspec.json.encode(
            {
                "type": "track",
                "event": "Product Viewed",
                "messageId": f"w{number}",
                "userId": f"waiting-{number}",
                "timestamp": utc(last_ms + 1 + number),
                "properties": {"product_id": "p1"},
            }
        )
        for number in range(WAITING)
    ]


def names(customers: int) -> Iterator[tuple[str, int]]:
    """Give customer ids with their partitions."""
    for number in range(customers):
        customer_id = f"c{number:09d}"
        yield customer_id, partition_of(customer_id.encode(), PARTITIONS)


async def fill(settings: Settings, grown: Grown, customers: int, versions: int = 1) -> float:
    """Write a changelog as workers would have left it; return its bytes a customer in the newest version."""
    per_partition: list[list[tuple[bytes, bytes]]] = [[] for _ in range(PARTITIONS)]
    for number, (customer_id, partition) in enumerate(names(customers)):
        per_partition[partition].append((customer_id.encode(), grown.states[number % len(grown.states)]))
    topic, ids = settings.topic(CHANGELOG), topic_ids(settings)
    producer = AIOKafkaProducer(
        **aiokafka_arguments(settings),
        acks="all",
        max_batch_size=MAX_BATCH_BYTES,
        max_request_size=MAX_REQUEST_BYTES,
    )
    await producer.start()
    try:
        newest: dict[int, int] = {}
        for partition, records in enumerate(per_partition):
            for _ in range(versions):
                newest[partition] = await _write(producer, topic, partition, records)
            marker = Marker(
                version=MARKER_VERSION,
                sequence=1,
                offsets={settings.topic(name): 0 for name in INPUTS},
                watermark_ms=grown.watermark_ms,
                model=grown.model,
                customers=len(records),
                topic_ids=ids,
            )
            key, value, _ = marker_record(marker)
            await _write(producer, topic, partition, [(key or b"", value or b"")])
        return sum(newest.values()) / customers
    finally:
        await producer.stop()


async def _write(
    producer: AIOKafkaProducer, topic: str, partition: int, records: Iterable[tuple[bytes, bytes]]
) -> int:
    size, waits = 0, list[Any]()
    batch = producer.create_batch()
    for key, value in records:
        if batch.append(timestamp=None, key=key, value=value) is None:
            size += int(batch.size())
            waits.append(await producer.send_batch(batch, topic, partition=partition))
            if len(waits) >= _IN_FLIGHT:
                await waits.pop(0)
            batch = producer.create_batch()
            batch.append(timestamp=None, key=key, value=value)
    size += int(batch.size())
    waits.append(await producer.send_batch(batch, topic, partition=partition))
    await asyncio.gather(*waits)
    return size


def restart(settings: Settings, cores: set[int]) -> Recovered:
    """Start a worker; measure until it has processed a record that waited."""
    began = time.monotonic()
    with WatchedWorker(settings, cores) as worker:
        while True:
            sums = worker.metrics()
            if sums.get("holdfast_records_total", 0.0) > 0:
                break
            if time.monotonic() - began > 5 * PATIENCE_SECONDS:
                raise SystemExit(f"nothing is processed after {time.monotonic() - began:.0f} s")
            time.sleep(_LOOK_SECONDS)
        seconds = time.monotonic() - began
        while (done := worker.metrics().get("holdfast_records_total", 0.0)) < WAITING:
            if time.monotonic() - began > 5 * PATIENCE_SECONDS:
                raise SystemExit(f"only {done:,.0f} of {WAITING:,} waiting records processed")
            time.sleep(_LOOK_SECONDS)
        return Recovered(seconds, worker.recovery_seconds(), memory_mb(worker.pid))


def _case(overrides: dict[str, object], name: str, **given: object) -> Settings:
    settings = settings_for(
        overrides, topics__prefix=f"{name}.", kafka__group=name, worker__agents=("customers",), **given
    )
    create_missing(settings)
    return settings


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.recovery", description=__doc__)
    parser.add_argument("--customers", type=int, default=CUSTOMERS)
    parser.add_argument("--versions", type=int, default=1, help="versions of each state in the changelog")
    parser.add_argument("--shares", type=float, nargs="+", default=[0.1, 1.0], help="reviews kept")
    parser.add_argument("--stores", nargs="+", choices=("memory", "rocksdb"), default=["memory", "rocksdb"])
    parser.add_argument("--broker", choices=("kafka", "embedded"), default="kafka")
    options = parser.parse_args()
    rows = []
    with broker(options.broker) as overrides:
        for share in options.shares:
            grown = grow(share)
            print(f"question_share {share}: {len(grown.states):,} customers grown", flush=True)
            empty = _measure(overrides, grown, f"empty-{share}", PARTITIONS, share, "memory", 1)[-1]
            for store in options.stores:
                name = f"full-{share}-{store}"
                of = _measure(overrides, grown, name, options.customers, share, store, options.versions)
                for how, wire, found in of:
                    each = (found.memory_mb - empty[2].memory_mb) * 2**20 / options.customers
                    state = sum(map(len, grown.states)) / len(grown.states)
                    figures = (f"{found.seconds:.1f}", f"{found.recovery_seconds:.1f}", f"{each:,.0f}")
                    rows.append((f"{share}, {store}, {how}", *figures, f"{wire:,.0f}", f"{state:,.0f}"))
                    print(rows[-1], flush=True)
    heads = ("question share, store", "s to go on", "s recovery", "memory B", "changelog B", "state B")
    print(f"\n{options.customers:,} customers, {options.versions} version(s) of each; bytes are a customer\n")
    print(table(heads, rows))


def _measure(
    overrides: dict[str, object],
    grown: Grown,
    name: str,
    customers: int,
    share: float,
    store: str,
    versions: int,
) -> list[tuple[str, float, Recovered]]:
    """Fill a changelog and restart on it: with nothing, and where a store is left behind, with that."""
    with tempfile.TemporaryDirectory(prefix="holdfast-bench-") as folder:
        given = {"reviews__question_share": share, "worker__store": store, "worker__data_folder": folder}
        settings = _case(overrides, name, **given)
        wire = asyncio.run(fill(settings, grown, customers, versions))
        send(settings, grown.next_messages)
        found = [("wiped", wire, restart(settings, {WORKER_CORE}))]
        if store == "rocksdb" and customers > PARTITIONS:
            later = [
                line.replace(b'"w', b'"v').replace(b"waiting-", b"later-") for line in grown.next_messages
            ]
            send(settings, later)
            found.append(("kept", wire, restart(settings, {WORKER_CORE})))
        return found


if __name__ == "__main__":
    main()
