"""How long an alert takes: `python -m bench.latency`.

From the record that makes an alert due to the alert's arrival at a consumer, both by this machine's clock,
while a worker with everything on gets half of what it can take, at an open-loop pace (`bench.pacer`), in
the same density of customers and time as the throughput bench.

Which record that is stands in `bench.triggers`: alerts come from silence, so it is rarely the customer's
own. The start is the broker's timestamp of that record (LogAppendTime, which the bench asks the broker to
keep). The second row starts when the sender handed the record over, the third at the moment at which it was
due by the pace: sender, broker and consumer share a core here, and what they cost each other shows there and
hides nothing. The end is the clock of a consumer in a process of its own. The embedded broker keeps the
sender's timestamps only.

Thresholds are lower than the defaults, so that a shop of 90 days says enough alerts for a 99.9th
percentile; that makes more work, not less. Alerts of the first seconds do not count, while the worker is
warming up.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import msgspec

from agents.client import send
from agents.cluster import create_missing
from agents.settings import Settings
from bench import throughput, workload
from bench.figures import percentile, table
from bench.pacer import Paced, Ready, pace, ready
from bench.stage import (
    PATIENCE_SECONDS,
    WORKER_CORE,
    WatchedWorker,
    broker,
    settings_for,
    until_committed,
)
from bench.triggers import Triggers
from schemas.codec import epoch_ms
from schemas.decisions import ChurnAlert
from schemas.topics import CHURN_ALERTS

PARTITIONS = 4
EVENTS_PER_CUSTOMER = workload.EVENTS // workload.CUSTOMERS
WARM_UP_SECONDS = 5.0
_QUIET_SECONDS = 2.0
_MAXIMUM_EVENTS = 1_000_000
_APPEND_TIME = {"log.message.timestamp.type": "LogAppendTime"}
_THRESHOLDS = {"alerts__raise_at": 0.6, "alerts__escalate_at": 0.75, "alerts__resolve_below": 0.5}


class Heard(NamedTuple):
    """An alert, and when it came."""

    seconds: float
    partition: int
    alert: ChurnAlert


class Latency(NamedTuple):
    """Of one alert, in seconds: since the broker had its record, since it was sent, since that was due."""

    state: str
    from_broker: float
    from_sender: float
    from_schedule: float


def latencies(
    heard: Sequence[Heard],
    partitions: Sequence[int],
    moments: Sequence[tuple[int, str]],
    paced: Paced,
    lateness_ms: int,
    since: float,
) -> list[Latency]:
    """Match alerts with the records that made them due.

    Parameters
    ----------
    partitions, moments
        Of each message, in the order of event time: its partition; its event time and customer.
    since
        Alerts whose record was due earlier do not count.

    Raises
    ------
    ValueError
        When an alert came before its record: then it was not its record.
    """
    of_partition = [Triggers(lateness_ms) for _ in range(PARTITIONS)]
    numbers: list[list[int]] = [[] for _ in range(PARTITIONS)]
    for number, (partition, moment) in enumerate(zip(partitions, moments, strict=True)):
        of_partition[partition].add(*moment)
        numbers[partition].append(number)
    found = []
    for seconds, partition, alert in heard:
        place = of_partition[partition].of(alert.customer_id, epoch_ms(alert.event_time))
        if place is None:
            raise ValueError(f"no record has made {alert.state} {alert.id} due")
        number = numbers[partition][place]
        if seconds < paced.sent[number]:
            raise ValueError(f"{alert.state} {alert.id} came {paced.sent[number] - seconds:.3f} s too early")
        if paced.due[number] >= since:
            since_broker, since_sender = seconds - paced.had[number], seconds - paced.sent[number]
            found.append(Latency(alert.state, since_broker, since_sender, seconds - paced.due[number]))
    return found


@contextmanager
def listening(settings: Settings, file: Path) -> Iterator[None]:
    """Run a consumer of alerts beside us."""
    listener = [sys.executable, "-m", "bench.listener", settings.kafka.bootstrap]
    command = [*listener, settings.topic(CHURN_ALERTS), str(PARTITIONS), str(file)]
    process = subprocess.Popen(command)
    try:
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not (file.exists() and file.stat().st_size):
            if process.poll() is not None or time.monotonic() > deadline:
                raise SystemExit("the consumer of alerts does not start")
            time.sleep(0.1)
        yield
    finally:
        process.terminate()
        process.wait()


def _heard(file: Path) -> list[Heard]:
    found = []
    for line in file.read_text().splitlines()[1:]:
        seconds, partition, value = line.split(" ")
        alert = msgspec.json.decode(base64.b64decode(value), type=ChurnAlert)
        found.append(Heard(float(seconds), int(partition), alert))
    return found


def _until_quiet(file: Path) -> None:
    """Wait until no alert has come for a while."""
    size, changed = file.stat().st_size, time.monotonic()
    while time.monotonic() - changed < _QUIET_SECONDS:
        time.sleep(0.1)
        if file.stat().st_size != size:
            size, changed = file.stat().st_size, time.monotonic()


def maximum(overrides: dict[str, object], folder: str, share: float) -> float:
    """Measure what a worker takes when a backlog waits."""
    settings = settings_for(
        overrides,
        topics__prefix="maximum.",
        kafka__group="maximum",
        reviews__question_share=share,
        worker__data_folder=folder,
        **_THRESHOLDS,
    )
    create_missing(settings)
    customers = _MAXIMUM_EVENTS // EVENTS_PER_CUSTOMER
    send(settings, workload.messages(_MAXIMUM_EVENTS, customers))
    return throughput.measure(settings, _MAXIMUM_EVENTS).per_second


def run(settings: Settings, rate: float, seconds: float, folder: Path) -> list[Latency]:
    """Load a worker for so long at a rate; give the latency of each alert."""
    create_missing(settings)
    events = int(rate * seconds)
    customers = max(1, events // EVENTS_PER_CUSTOMER)
    moments = [(h.time_ms, h.customer_id) for h in workload.happenings(events, customers)]
    lines = workload.with_inputs(workload.messages(events, customers))
    messages = [
        ready(source, customer_id, line, PARTITIONS)
        for (source, line), (_, customer_id) in zip(lines, moments, strict=True)
    ]
    file = folder / "alerts"
    with listening(settings, file), WatchedWorker(settings, {WORKER_CORE}) as worker:
        _until_ready(worker)
        print(f"{events:,} events of {customers:,} customers at {rate:,.0f}/s", flush=True)
        paced = asyncio.run(_load(settings, messages, rate))
        behind = events - worker.metrics().get("holdfast_records_total", 0.0)
        until_committed(settings, events)
        _until_quiet(file)
    print(f"{behind:,.0f} events behind when the last was sent ({1000 * behind / rate:,.0f} ms of load)")
    if behind > rate:
        print("more than a second: the worker does not keep up, and what follows measures a queue")
    late = [sent - due for sent, due in zip(paced.sent, paced.due, strict=True)]
    print(f"the sender: {1000 * percentile(late, 0.5):.1f} ms after the pace, p99 ", end="")
    print(f"{1000 * percentile(late, 0.99):.1f} ms", flush=True)
    since = paced.due[0] + min(WARM_UP_SECONDS, seconds / 4)
    lateness_ms = int(settings.time.allowed_lateness_seconds * 1000)
    partitions = [message.partition for message in messages]
    return latencies(_heard(file), partitions, moments, paced, lateness_ms, since)


async def _load(settings: Settings, messages: Sequence[Ready], rate: float) -> Paced:
    return await pace(settings, messages, rate)


def _until_ready(worker: WatchedWorker) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while worker.partitions() < PARTITIONS:
        if time.monotonic() > deadline:
            raise SystemExit("the worker does not take over its partitions")
        time.sleep(0.2)


def summary(found: Sequence[Latency]) -> str:
    """Lay out percentiles in milliseconds."""
    rows = []
    for name, values in (
        ("from the broker's timestamp", [one.from_broker for one in found]),
        ("from the sender's timestamp", [one.from_sender for one in found]),
        ("from when it was due", [one.from_schedule for one in found]),
        ("raised, from the broker's", [one.from_broker for one in found if one.state == "raised"]),
    ):
        if values:
            shown = [_shown(values, share) for share in (0.5, 0.9, 0.99, 0.999, 1.0)]
            rows.append((name, f"{len(values):,}", *shown))
    return table(("milliseconds", "alerts", "p50", "p90", "p99", "p99.9", "most"), rows)


def _shown(values: Sequence[float], share: float) -> str:
    """A percentile that would be the largest value, for want of values beyond it, is none."""
    enough = share == 1.0 or len(values) * (1.0 - share) >= 1.0 - 1e-9
    return f"{1000 * percentile(values, share):.1f}" if enough else "few"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.latency", description=__doc__)
    parser.add_argument("--rate", type=float, help="events a second (default: half of the measured maximum)")
    parser.add_argument("--seconds", type=float, default=60.0, help="how long to load (default: 60)")
    parser.add_argument("--broker", choices=("kafka", "embedded"), default="kafka")
    parser.add_argument("--question-share", type=float, default=0.1, help="reviews kept as questions")
    options = parser.parse_args()
    with broker(options.broker, _APPEND_TIME) as overrides, tempfile.TemporaryDirectory() as folder:
        rate = options.rate
        if rate is None:
            most = maximum(overrides, folder, options.question_share)
            rate = most / 2.0
            print(f"the maximum is {most:,.0f} events/s; half of it is sent", flush=True)
        settings = settings_for(
            overrides,
            topics__prefix="latency.",
            kafka__group="latency",
            reviews__question_share=options.question_share,
            worker__data_folder=folder,
            **_THRESHOLDS,
        )
        found = run(settings, rate, options.seconds, Path(folder))
    if not found:
        raise SystemExit("no alert was raised; load for longer")
    print(f"\n{summary(found)}")


if __name__ == "__main__":
    main()
