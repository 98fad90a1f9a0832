"""Ends and new starts: asked to stop at any moment, hung, without a broker, killed under a supervisor."""

from __future__ import annotations

import os
import signal
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
import pytest

from agents.broker import EmbeddedBroker
from agents.cluster import create_missing
from agents.settings import Settings
from deploy.kafka.local import LocalKafka
from samples import cdnow, write
from tests.live.harness import Worker, committed, deliver, own_settings, recovered, until
from tests.live.test_live_equals_replay import small_cdnow

pytestmark = pytest.mark.broker

STOP_SECONDS = 10.0

SLOW_RECOVERY = """
import asyncio
from agents.recovery import Recovery
async def run(self, store):
    print("recovery has begun", flush=True)
    await asyncio.sleep(1000.0)
Recovery.run = run
"""

SLOW_JOIN = """
import asyncio, agents.transport
on_start = agents.transport._ConsumerThread.on_start
async def slow(self):
    print("it joins", flush=True)
    await asyncio.sleep(2.0)
    await on_start(self)
agents.transport._ConsumerThread.on_start = slow
"""

WAITS_FOR_EVER = """
import asyncio, agents.customers
async def this_never_returns(self, message):
    await asyncio.Event().wait()
agents.customers.Customers.feed = this_never_returns
"""

BLOCKS_THE_LOOP = """
import threading, agents.customers
def this_blocks():
    threading.Event().wait()
async def feed(self, message):
    this_blocks()
agents.customers.Customers.feed = feed
"""

BLOCKS_THE_CONSUMER = """
import threading, agents.transport
def this_blocks():
    threading.Event().wait()
async def fetch(self, *_, **__):
    this_blocks()
agents.transport._ConsumerThread._fetch_records = fetch
"""


def large_backlog() -> list[bytes]:
    """Every tenth customer of CDNOW: several seconds of work, for their timers fire for years."""
    return list(write.lines(cdnow.messages("tenth")))


def asked_to_stop(worker: Worker) -> tuple[int, float]:
    asked = time.monotonic()
    return worker.stop(), time.monotonic() - asked


def marked(settings: Settings) -> int:
    """Records that the markers cover."""
    parts = recovered(settings).values()
    return sum(sum(part.marker.offsets.values()) for part in parts if part.marker)


def shop(live_broker: dict[str, object], **given: object) -> Settings:
    settings = own_settings(live_broker, topics__partitions=2, worker__agents="customers", **given)
    create_missing(settings)
    return settings


@contextmanager
def a_broker_of_our_own() -> Iterator[tuple[dict[str, object], EmbeddedBroker | LocalKafka]]:
    """A broker that a test may stop, of the kind that the other tests run on."""
    if os.environ.get("HOLDFAST_TEST_BROKER"):
        with LocalKafka() as kafka:
            yield kafka.settings_overrides(), kafka
    else:
        with EmbeddedBroker() as broker:
            yield broker.settings_overrides(), broker


def test_asked_to_stop_in_a_backlog_it_seals_and_reads_nothing_again(live_broker: dict[str, object]) -> None:
    messages = large_backlog()
    settings = shop(live_broker)
    deliver(settings, messages)
    before = 0
    for share in (0.1, 0.4):
        with Worker(settings) as worker:
            # At least one: a quick machine may have gone past the next share already when it was stopped.
            goal = max(1.0, share * len(messages) - before)
            until(lambda w=worker, g=goal: w.metrics().get("holdfast_records_total", 0) >= g, "some work")
            code, seconds = asked_to_stop(worker)
            assert code == 0, worker.said()
            assert seconds < STOP_SECONDS
        before = sum(committed(settings).values())
        assert before == marked(settings)
        assert 0 < before < len(messages), "it was to be stopped in the middle"
    with Worker(settings) as worker:
        until(lambda: sum(committed(settings).values()) == len(messages), "the rest")
        assert worker.metrics()["holdfast_records_total"] == len(messages) - before
        assert asked_to_stop(worker)[0] == 0


def test_asked_to_stop_while_it_joins_or_recovers_it_ends_in_time(live_broker: dict[str, object]) -> None:
    settings = shop(live_broker)
    deliver(settings, small_cdnow())
    with Worker(settings) as worker:
        until(lambda: "metrics at " in worker.said(), "the first line")
        code, seconds = asked_to_stop(worker)
        assert code == 0, worker.said()
        assert seconds < STOP_SECONDS
    for patch, moment in ((SLOW_JOIN, "it joins"), (SLOW_RECOVERY, "recovery has begun")):
        with Worker(settings, before=patch) as worker:
            until(lambda w=worker, m=moment: m in w.said(), moment)
            code, seconds = asked_to_stop(worker)
            assert code == 0, worker.said()
            assert seconds < STOP_SECONDS
    assert marked(settings) == sum(committed(settings).values()) == 0


def test_asked_to_stop_with_nothing_to_do_it_ends_in_time(live_broker: dict[str, object]) -> None:
    settings = shop(live_broker)
    with Worker(settings) as worker:
        worker.until_ready()
        code, seconds = asked_to_stop(worker)
    assert code == 0, worker.said()
    assert seconds < STOP_SECONDS


@pytest.mark.parametrize("unsealed", [True, False], ids=["with work to seal", "with everything sealed"])
def test_asked_to_stop_without_a_broker_it_ends_in_time_with_another_code(unsealed: bool) -> None:
    with a_broker_of_our_own() as (leads_to_it, broker):
        settings = shop(leads_to_it, worker__epoch_seconds=25.0 if unsealed else 0.2)
        messages = small_cdnow()
        deliver(settings, messages)
        with Worker(settings) as worker:
            worker.until_processed(len(messages))
            if not unsealed:
                until(lambda: sum(committed(settings).values()) == len(messages), "all committed")
            if isinstance(broker, LocalKafka):
                broker.stop(hard=True)
            else:
                broker.stop()
            code, seconds = asked_to_stop(worker)
            assert seconds < STOP_SECONDS
            assert code == 70 if unsealed else code in (0, 70), worker.said()


@pytest.mark.parametrize(
    ("patch", "wrong", "where"),
    [
        (WAITS_FOR_EVER, "records wait and nothing has been sealed", "in this_never_returns"),
        (BLOCKS_THE_LOOP, "the main event loop has not turned", "in this_blocks"),
        (BLOCKS_THE_CONSUMER, "the consumer event loop has not turned", "in this_blocks"),
    ],
    ids=["a coroutine that waits", "a blocked loop", "a blocked consumer thread"],
)
def test_a_hung_worker_ends_itself_and_shows_where(
    live_broker: dict[str, object], patch: str, wrong: str, where: str
) -> None:
    settings = shop(live_broker, worker__hung_seconds=3.0, worker__stalled_seconds=4.0)
    deliver(settings, small_cdnow())
    with Worker(settings, before=patch) as worker:
        assert worker.process.wait(timeout=40) == 70, worker.said()
        said = worker.said()
    assert "the watchdog ends the worker: " in said
    assert wrong in said
    assert where in said
    with Worker(settings) as worker:  # what it had read is read again
        until(lambda: sum(committed(settings).values()) == len(small_cdnow()), "all committed")
        assert worker.stop() == 0


def test_a_worker_that_was_frozen_goes_on_when_it_wakes(live_broker: dict[str, object]) -> None:
    settings = shop(
        live_broker,
        worker__hung_seconds=2.5,
        worker__stalled_seconds=4.0,
        kafka__session_timeout_seconds=20.0,
        kafka__request_timeout_seconds=20.0,
    )
    messages = small_cdnow()
    deliver(settings, messages)
    with Worker(settings) as worker:
        until(lambda: worker.metrics().get("holdfast_records_total", 0) > 0, "some work")
        worker.process.send_signal(signal.SIGSTOP)
        time.sleep(6.0)  # more than twice what a hung loop is granted
        worker.process.send_signal(signal.SIGCONT)
        until(lambda: sum(committed(settings).values()) == len(messages), "all committed")
        assert worker.stop() == 0, worker.said()


def forward(listener: socket.socket, to: tuple[str, int]) -> None:
    """Carry connections to a broker, each both ways, until the listener is closed."""

    def carry(source: socket.socket, sink: socket.socket) -> None:
        try:
            while part := source.recv(65_536):
                sink.sendall(part)
        except OSError:
            pass
        finally:
            sink.close()

    while True:
        try:
            near, _ = listener.accept()
        except OSError:
            return
        far = socket.create_connection(to)
        for ends in ((near, far), (far, near)):
            threading.Thread(target=carry, args=ends, daemon=True).start()


def test_a_supervised_worker_waits_for_its_broker_and_survives_kill_9(live_broker: dict[str, object]) -> None:
    there = shop(live_broker)
    messages = small_cdnow()
    deliver(there, messages)
    host, _, port = there.kafka.bootstrap.partition(":")
    with socket.socket() as later:
        later.bind(("127.0.0.1", 0))  # bound and not listening: connections are refused
        elsewhere = f"127.0.0.1:{later.getsockname()[1]}"
        settings = msgspec.structs.replace(
            there, kafka=msgspec.structs.replace(there.kafka, bootstrap=elsewhere)
        )
        with Worker(settings, options=["--supervise"]) as worker:
            until(lambda: "it stood still; restart 2 in 1 s" in worker.said(), "two tries")
            later.listen()
            threading.Thread(target=forward, args=(later, (host, int(port))), daemon=True).start()
            worker.until_ready()
            assert worker.metrics()["holdfast_restarts"] >= 2
            supervisor = worker.process.pid
            (child,) = Path(f"/proc/{supervisor}/task/{supervisor}/children").read_text().split()
            os.kill(int(child), signal.SIGKILL)
            until(lambda: "killed by SIGKILL; restart" in worker.said(), "the next start")
            until(lambda: sum(committed(there).values()) == len(messages), "all committed")
            code, seconds = asked_to_stop(worker)
            assert code == 0, worker.said()
            assert seconds < STOP_SECONDS
