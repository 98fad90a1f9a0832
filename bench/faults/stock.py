"""The negative control: orders counted and added up by a Faust program as its tutorials show it.

Plain agents, `take()` for batches, concurrency 2, a table for each customer's count and sum, messages sent
with `send()`, and whatever Faust does on its own about commits, errors and the end. The same faults go
through the same harness, and it must find what is lost here, or finding nothing elsewhere means nothing.

`python -m bench.faults.stock --broker HOST:PORT --name NAME --partitions 4 [--changelog-fails N]
[--raise-every N]`
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import tempfile
from typing import Any

import faust

WITHIN_SECONDS = 0.3
BATCH = 50
WORK_SECONDS = 0.002
"""What the agent awaits for each order, as one that asks a database does."""


def input_topic(name: str) -> str:
    """Name the input."""
    return f"{name}.orders"


def output_topic(name: str) -> str:
    """Name the output: one message an order."""
    return f"{name}.receipts"


def changelog_topic(name: str) -> str:
    """Name the table's changelog, as Faust does."""
    return f"{name}-totals-changelog"


def make_app(broker: str, name: str, partitions: int, session_seconds: float, raise_every: int) -> faust.App:
    """Build the program."""
    app = faust.App(
        name,
        broker=f"kafka://{broker}",
        store="memory://",
        datadir=tempfile.mkdtemp(prefix="stock-"),
        topic_partitions=partitions,
        topic_replication_factor=1,
        topic_disable_leader=True,
        consumer_auto_offset_reset="earliest",
        broker_session_timeout=session_seconds,
        broker_heartbeat_interval=session_seconds / 10.0,
        broker_rebalance_timeout=1.5,
        broker_commit_interval=0.2,
        table_standby_replicas=0,
        web_enabled=False,
    )
    orders = app.topic(input_topic(name), key_type=bytes, value_type=bytes, value_serializer="raw")
    receipts = app.topic(output_topic(name), key_type=bytes, value_type=bytes, value_serializer="raw")
    totals = app.Table(
        "totals",
        default=lambda: [0, 0.0],
        partitions=partitions,
        key_type=bytes,
        use_partitioner=True,  # without it a table cannot be written behind `take()` at all
    )
    seen = 0

    @app.agent(orders, concurrency=2)  # type: ignore[untyped-decorator]
    async def count(stream: Any) -> None:
        nonlocal seen
        async for batch in stream.take(BATCH, within=WITHIN_SECONDS):
            for value in batch:
                order = json.loads(value)
                seen += 1
                if raise_every and seen % raise_every == 0:
                    print("fault: exception in model code", flush=True)
                    raise RuntimeError("injected: the model does not like this customer")
                await asyncio.sleep(WORK_SECONDS)
                customer = order["userId"].encode()
                number, amount = totals[customer]
                totals[customer] = [number + 1, amount + order["properties"]["revenue"]]
                receipt = json.dumps({"id": order["messageId"], "number": number + 1})
                await receipts.send(key=customer, value=receipt.encode())

    @app.on_rebalance_complete.connect  # type: ignore[untyped-decorator]
    async def ready(*_: Any, **__: Any) -> None:
        print("ready", flush=True)

    return app


def fail_changelog(name: str, after: int) -> None:
    """Let the changelog refuse everything from its so-manieth record on; other topics go on."""
    from aiokafka import AIOKafkaProducer
    from aiokafka.errors import KafkaTimeoutError

    original = AIOKafkaProducer.send
    sent = 0

    async def send(self: Any, topic: str, *arguments: Any, **named: Any) -> Any:
        nonlocal sent
        if topic == changelog_topic(name):
            sent += 1
            if sent > after:
                if sent == after + 1:
                    print("fault: changelog", flush=True)
                refused = asyncio.get_running_loop().create_future()
                refused.set_exception(KafkaTimeoutError("injected: the changelog does not take this"))
                return refused
        return await original(self, topic, *arguments, **named)

    AIOKafkaProducer.send = send


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.faults.stock", description=__doc__)
    parser.add_argument("--broker", required=True)
    parser.add_argument("--name", required=True)
    parser.add_argument("--partitions", type=int, required=True)
    parser.add_argument("--session", type=float, default=3.0)
    parser.add_argument("--changelog-fails", type=int, default=0)
    parser.add_argument("--raise-every", type=int, default=0)
    options = parser.parse_args()
    app = make_app(options.broker, options.name, options.partitions, options.session, options.raise_every)
    if options.changelog_fails:
        fail_changelog(options.name, options.changelog_fails)
    worker = faust.Worker(app, loglevel="WARN", quiet=True, redirect_stdouts=False)
    worker.spinner = None
    sys.argv = ["stock"]
    worker.execute_from_commandline()


if __name__ == "__main__":
    main()
