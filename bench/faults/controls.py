"""Negative controls: rows 3, 6, 11 and 21 on the stock program, which must fail them.

Each control passes when the stock program fails. A first run without a fault must come out clean, or the
failures would say nothing about the faults.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from random import Random
from types import TracebackType
from typing import NamedTuple, Self

from kafka import KafkaConsumer, TopicPartition
from kafka.admin import KafkaAdminClient, NewTopic

from agents.client import partition_of
from bench.faults import stock
from bench.faults.ground import PARTITIONS, Ground
from bench.faults.registry import Finding, row
from bench.faults.workload import Feeder, cdnow_tenth
from tests.live.harness import ROOT, until

ORDERS = 3_000
RATE = 150.0
_STALLED_SECONDS = 12.0


class Totals(NamedTuple):
    """How the stock program's results differ from the fold over its input.

    Attributes
    ----------
    receipts
        Orders for which no message was ever sent.
    lost, twice
        Orders missing in the table, and counted more than once.
    past
        Orders below the committed offsets that the table's changelog does not have.
    """

    receipts: int
    lost: int
    twice: int
    past: int

    def __str__(self) -> str:
        return (
            f"{self.receipts} messages never sent, {self.lost} orders missing in the table, "
            f"{self.twice} counted twice, {self.past} committed without their changelog"
        )


class Stock:
    """Stock workers on topics of their own, with a feeder."""

    def __init__(self, ground: Ground, orders: int = ORDERS, rate: float = RATE) -> None:
        settings = ground.settings()
        self.name = settings.kafka.group
        self.bootstrap = settings.kafka.bootstrap
        self.lines = cdnow_tenth()[:orders]
        names = (stock.input_topic, stock.output_topic, stock.changelog_topic)
        admin = KafkaAdminClient(bootstrap_servers=self.bootstrap)
        try:
            admin.create_topics([NewTopic(name(self.name), PARTITIONS, 1) for name in names])
        finally:
            admin.close()
        self._feeder = Feeder(settings, self.lines, [(1.0, rate)])
        self.processes: list[subprocess.Popen[bytes]] = []
        self._logs: list[Path] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for process in self.processes:
            if process.poll() is None:
                process.kill()
                process.wait()

    def start(self, *faults: str) -> int:
        """Start a worker; give its number."""
        log = Path(tempfile.mkdtemp(prefix="holdfast-stock-")) / "log"
        command = [sys.executable, "-m", "bench.faults.stock", "--broker", self.bootstrap]
        command += ["--name", self.name, "--partitions", str(PARTITIONS), *faults]
        with log.open("wb") as file:
            self.processes.append(
                subprocess.Popen(
                    command,
                    cwd=log.parent,
                    env=os.environ | {"PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"},
                    stdout=file,
                    stderr=subprocess.STDOUT,
                )
            )
        self._logs.append(log)
        return len(self.processes) - 1

    def said(self, number: int) -> str:
        """Everything a worker printed."""
        return self._logs[number].read_text(errors="replace")

    def until_ready(self, number: int) -> None:
        """Wait until a worker has been through a rebalance."""

        def ready() -> bool:
            assert self.processes[number].poll() is None, self.said(number)[-1000:]
            return "ready" in self.said(number)

        until(ready, "a stock worker")

    def feed(self) -> None:
        """Begin to send."""
        self._feeder.start()

    def kill(self, number: int) -> None:
        """Kill -9."""
        self.processes[number].kill()
        self.processes[number].wait()

    def stop(self, number: int, seconds: float = 15.0) -> None:
        """SIGTERM; a worker that does not leave is killed."""
        self.processes[number].send_signal(signal.SIGTERM)
        try:
            self.processes[number].wait(seconds)
        except subprocess.TimeoutExpired:
            self.kill(number)

    def settle(self, again: Sequence[str] | None = None) -> Totals:
        """Let everything be sent and committed, or commits stand still; stop all; add up what is there.

        With `again`, a program that has ended by itself is started again with these faults.
        """
        if again is None:
            self._feeder.finish(120.0)
        moved, before = time.monotonic(), -1
        while (now := sum(self.committed().values())) < len(self.lines):
            if again is not None and self.processes[-1].poll() is not None:
                self.start(*again)
            if now != before:
                moved, before = time.monotonic(), now
            if time.monotonic() - moved > _STALLED_SECONDS:
                break
            time.sleep(0.5)
        time.sleep(1.0)
        for number, process in enumerate(self.processes):
            if process.poll() is None:
                self.stop(number)
        return self.totals()

    def committed(self) -> dict[int, int]:
        """Read the group's offsets."""
        topic = stock.input_topic(self.name)
        consumer = KafkaConsumer(bootstrap_servers=self.bootstrap, group_id=self.name)
        try:
            return {p: consumer.committed(TopicPartition(topic, p)) or 0 for p in range(PARTITIONS)}
        finally:
            consumer.close()

    def totals(self) -> Totals:
        """Compare with a fold over the input."""
        should: dict[str, int] = defaultdict(int)
        order_of: dict[int, list[str]] = defaultdict(list)
        ids = set()
        for line in self.lines:
            order = json.loads(line)
            should[order["userId"]] += 1
            ids.add(order["messageId"])
            order_of[partition_of(order["userId"].encode(), PARTITIONS)].append(order["userId"])
        sent = {json.loads(value)["id"] for _, value in self._read(stock.output_topic(self.name))}
        latest = {k.decode(): json.loads(v)[0] for k, v in self._read(stock.changelog_topic(self.name))}
        lost = sum(max(0, count - latest.get(customer, 0)) for customer, count in should.items())
        twice = sum(max(0, latest.get(customer, 0) - count) for customer, count in should.items())
        past = 0
        for partition, offset in self.committed().items():
            below: dict[str, int] = defaultdict(int)
            for customer in order_of[partition][:offset]:
                below[customer] += 1
            past += sum(max(0, count - latest.get(customer, 0)) for customer, count in below.items())
        return Totals(len(ids - sent), lost, twice, past)

    def _read(self, topic: str) -> list[tuple[bytes, bytes]]:
        consumer = KafkaConsumer(bootstrap_servers=self.bootstrap, check_crcs=False)
        try:
            places = [TopicPartition(topic, number) for number in range(PARTITIONS)]
            consumer.assign(places)
            consumer.seek_to_beginning()
            ends = consumer.end_offsets(places)
            found = []
            while any(consumer.position(place) < ends[place] for place in places):
                for records in consumer.poll(timeout_ms=200).values():
                    found += [(record.key, record.value) for record in records]
            return found
        finally:
            consumer.close()


_clean: list[Totals] = []


def clean(ground: Ground) -> Totals:
    """Run the stock program without a fault, once."""
    if not _clean:
        with Stock(ground, 1_000) as program:
            program.until_ready(program.start())
            program.feed()
            _clean.append(program.settle())
    return _clean[0]


def verdict(ground: Ground, found: Totals, failed: bool, fault: str) -> Finding:
    """A control has done its work when the stock program failed, and did not without a fault."""
    undisturbed = clean(ground)
    told = "clean without a fault" if not any(undisturbed) else f"WITHOUT A FAULT TOO: {undisturbed}"
    return Finding(failed and not any(undisturbed), f"{fault}: {found}; {told}")


@row("control 3", "kill -9 at random times, stock program", "must fail", 150.0)
def killed(ground: Ground, seed: int, kills: int = 6) -> Finding:
    random = Random(seed)
    with Stock(ground) as program:
        workers = [program.start(), program.start()]
        for number in workers:
            program.until_ready(number)
        program.feed()
        for _ in range(kills):
            time.sleep(random.uniform(1.0, 4.0))
            place = random.randrange(2)
            program.kill(workers[place])
            workers[place] = program.start()
        found = program.settle()
    return verdict(ground, found, found.lost + found.receipts + found.twice > 0, f"{kills} kills")


@row("control 6", "workers joining and leaving, stock program", "must fail", 150.0)
def joined(ground: Ground, seed: int, rebalances: int = 8) -> Finding:
    random = Random(seed)
    with Stock(ground) as program:
        workers = [program.start(), program.start()]
        for number in workers:
            program.until_ready(number)
        program.feed()
        for _ in range(rebalances // 2):
            workers.append(program.start())
            program.until_ready(workers[-1])
            time.sleep(random.uniform(0.2, 1.0))
            program.stop(workers.pop(random.randrange(3)))
        found = program.settle()
    failed = found.lost + found.receipts + found.twice > 0
    return verdict(ground, found, failed, f"{rebalances} rebalances")


@row("control 11", "changelog send fails, stock program", "must fail", 150.0)
def changelog(ground: Ground, _seed: int) -> Finding:
    with Stock(ground, 1_000) as program:
        number = program.start("--changelog-fails", "500")
        program.until_ready(number)
        program.feed()
        found = program.settle()
    return verdict(ground, found, found.past > 0, "changelog refuses all after 500 records")


@row("control 21", "exception in agent code, stock program", "must fail", 150.0)
def raised(ground: Ground, _seed: int) -> Finding:
    faults = ("--raise-every", "95")
    with Stock(ground, 1_000) as program:
        program.until_ready(program.start(*faults))
        program.feed()
        found = program.settle(again=faults)
        injected = sum(program.said(number).count("fault: exc") for number in range(len(program.processes)))
    return verdict(ground, found, found.past > 0, f"{injected} exceptions, started again after its crashes")
