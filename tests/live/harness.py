"""Running real workers against a real broker, and reading everything they left."""

from __future__ import annotations

import itertools
import os
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterable
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

import msgspec
from kafka import KafkaConsumer, TopicPartition
from prometheus_client.parser import text_string_to_metric_families

from agents.changelog import MARKER_KEY, Marker, read_marker
from agents.client import partition_of, send
from agents.routing import route
from agents.settings import Settings, load
from schemas.topics import CHANGELOG, INPUTS
from streams.customer.state import CustomerState
from streams.customer.state_codec import decode_state
from streams.identity.visitor import VISITOR_KEY, Visitor, decode_visitor
from streams.replay import Replay

PATIENCE_SECONDS = 90.0
ROOT = Path(__file__).parents[2]
_names = itertools.count()

_COMMAND_LINE = 'from agents.cli import main\nmain(prog_name="holdfast")'

# Short patience: on the embedded broker a group join takes half of the rebalance timeout, and after a
# kill the group waits for the dead member's session to end.
_QUICK: dict[str, object] = {
    "worker.epoch_seconds": 0.2,
    "kafka.session_timeout_seconds": 3.0,
    "kafka.rebalance_timeout_seconds": 1.5,
}


def own_settings(broker: dict[str, object], **given: object) -> Settings:
    """Settings with topics and a group that no other test has; `a__b=1` stands for a.b."""
    name = f"live{os.getpid()}-{next(_names)}"
    folder = tempfile.mkdtemp(prefix="holdfast-test-")  # what workers of one shop share
    own = {"topics.prefix": f"{name}.", "kafka.group": name, "web.port": 0, "worker.data_folder": folder}
    chosen = {key.replace("__", "."): value for key, value in given.items()}
    return load(Path(os.devnull), {}, broker | own | _QUICK | chosen)


def until(holds: Callable[[], bool], what: str) -> None:
    """Wait until something holds; fail when it does not in time."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not holds():
        assert time.monotonic() < deadline, f"{what}: not within {PATIENCE_SECONDS:g} s"
        time.sleep(0.1)


class Worker:
    """A worker process; `before` is Python that runs in it first, to break something on purpose.

    `program` is another module that runs `worker`.
    """

    def __init__(
        self,
        settings: Settings,
        model: Path | None = None,
        options: Iterable[str] = (),
        before: str = "",
        program: Iterable[str] = ("agents",),
    ) -> None:
        folder = Path(tempfile.mkdtemp(prefix="holdfast-test-"))
        from agents.settings import settings_toml

        (folder / "holdfast.toml").write_text(settings_toml(settings))
        self._log = (folder / "log").open("w+b")
        started = ["-c", f"{before}\n{_COMMAND_LINE}"] if before else ["-m", *program]
        command = [sys.executable, *started, "worker", *options]
        command += ["--model", str(model)] if model else []
        surroundings = {k: v for k, v in os.environ.items() if not k.startswith("HOLDFAST_")}
        self.process = subprocess.Popen(
            command,
            cwd=folder,
            env=surroundings | {"PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"},
            stdout=self._log,
            stderr=subprocess.STDOUT,
        )
        self._folder = folder

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        if error is not None:
            error.add_note(self.said()[-4000:])
        self.close()

    def close(self) -> None:
        """Let go of the log; what was printed can still be read."""
        self._log.close()

    def said(self) -> str:
        """Everything it printed."""
        return (self._folder / "log").read_text(errors="replace")

    def stop(self) -> int:
        """Send SIGTERM; return the exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout=15)

    def metrics(self) -> dict[str, float]:
        """Sum each metric over its labels; empty while the worker does not answer yet."""
        said = self.said()
        if "metrics at " not in said:
            assert self.process.poll() is None, f"the worker ended: {said[-2000:]}"
            return {}
        address = said.split("metrics at ")[1].split()[0]
        with urllib.request.urlopen(address, timeout=5) as answer:
            families = text_string_to_metric_families(answer.read().decode())
            sums: dict[str, float] = {}
            for family in families:
                for sample in family.samples:
                    sums[sample.name] = sums.get(sample.name, 0.0) + sample.value
            return sums

    def until_ready(self) -> None:
        """Wait until its partitions are recovered."""
        until(lambda: "holdfast_recovery_seconds" in self.metrics(), "partitions recovered")

    def until_processed(self, records: int) -> None:
        """Wait until so many input records have had their outcome."""

        def done() -> bool:
            sums = self.metrics()
            return sums.get("holdfast_records_total", 0.0) >= records

        until(done, f"{records} records processed")


class Message(NamedTuple):
    """One record of a topic."""

    partition: int
    key: bytes | None
    value: bytes | None
    headers: list[tuple[str, bytes]]


def read_topic(settings: Settings, name: str) -> list[Message]:
    """Read a topic from its beginning to its end."""
    topic = settings.topic(name)
    consumer = KafkaConsumer(
        bootstrap_servers=settings.kafka.bootstrap,
        group_id=None,
        check_crcs=False,
        isolation_level="read_committed",  # an epoch that was rolled back is none
    )
    try:
        partitions = consumer.partitions_for_topic(topic) or set()
        places = [TopicPartition(topic, number) for number in sorted(partitions)]
        consumer.assign(places)
        consumer.seek_to_beginning()
        messages: list[Message] = []
        deadline = time.monotonic() + PATIENCE_SECONDS
        # The end comes from a fetch: the embedded broker counts a last batch as one record when asked.
        while any(
            consumer.highwater(place) is None or consumer.position(place) < consumer.highwater(place)
            for place in places
        ):
            assert time.monotonic() < deadline, f"{topic} cannot be read to its end"
            for records in consumer.poll(timeout_ms=200).values():
                messages += [Message(r.partition, r.key, r.value, list(r.headers)) for r in records]
        return messages
    finally:
        consumer.close()


def payloads(settings: Settings, name: str, kind: type[Any]) -> list[Any]:
    """Read a topic of messages of one type; tombstones are left out."""
    return [
        msgspec.json.decode(m.value, type=kind) for m in read_topic(settings, name) if m.value is not None
    ]


class Kept(NamedTuple):
    """What a partition's changelog holds."""

    marker: Marker | None
    states: dict[str, CustomerState]
    visitors: dict[str, Visitor]


def recovered(settings: Settings) -> dict[int, Kept]:
    """Read what each partition's changelog holds."""
    latest: dict[int, dict[bytes, bytes]] = {}
    for message in read_topic(settings, CHANGELOG):
        held = latest.setdefault(message.partition, {})
        assert message.key is not None
        if message.value is None:
            held.pop(message.key, None)
        else:
            held[message.key] = message.value
    kept = {}
    for partition, held in latest.items():
        marker = held.pop(MARKER_KEY, None)
        visitors = {
            key.removeprefix(VISITOR_KEY).decode(): value for key, value in held.items() if key[:1] == b"\0"
        }
        states = {key.decode(): decode_state(value) for key, value in held.items() if key[:1] != b"\0"}
        known = {name: decode_visitor(value) for name, value in visitors.items()}
        kept[partition] = Kept(marker and read_marker(marker), states, known)
    return kept


def committed(settings: Settings) -> dict[tuple[str, int], int]:
    """Read the group's committed offsets of the inputs."""
    consumer = KafkaConsumer(bootstrap_servers=settings.kafka.bootstrap, group_id=settings.kafka.group)
    try:
        found = {}
        for name in INPUTS:
            topic = settings.topic(name)
            for number in consumer.partitions_for_topic(topic) or ():
                offset = consumer.committed(TopicPartition(topic, number))
                found[name, number] = offset or 0
        return found
    finally:
        consumer.close()


def deliver(settings: Settings, lines: Iterable[bytes]) -> int:
    """Send messages; return how many."""
    return send(settings, lines).messages


def by_partition(lines: Iterable[bytes], partitions: int) -> list[list[tuple[int, bytes]]]:
    """Split messages as the broker does: for each partition, (number of the input, message)."""
    split: list[list[tuple[int, bytes]]] = [[] for _ in range(partitions)]
    for line in lines:
        topic, key = route(line)
        assert key is not None
        split[partition_of(key, partitions)].append((INPUTS.index(topic), line))
    return split


def replay_partitions(
    settings: Settings, lines: list[bytes], partitions: int, **options: Any
) -> tuple[list[Replay], list[Any]]:
    """Replay each partition by itself: what one machine a partition must come to."""
    replays, said = [], []
    for messages in by_partition(lines, partitions):
        replay = Replay(settings.streams, sink=said.append, **options)
        replay.run(messages)
        replays.append(replay)
    return replays, said


def plain(payload: Any) -> dict[str, Any]:
    """Give a message without its evidence, which names offsets."""
    built = msgspec.to_builtins(payload)
    built.pop("evidence", None)
    return built


def produce_raw(settings: Settings, name: str, values: list[bytes], key: bytes | None = None) -> None:
    """Put bytes on a topic as they are, on its partition 0, in order."""
    from kafka import KafkaProducer

    producer = KafkaProducer(
        bootstrap_servers=settings.kafka.bootstrap,
        enable_idempotence=False,
        max_in_flight_requests_per_connection=1,
        max_request_size=16 * 1024 * 1024,
    )
    try:
        for value in values:
            producer.send(settings.topic(name), key=key, value=value, partition=0)
        producer.flush()
    finally:
        producer.close()
