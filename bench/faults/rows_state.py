"""Rows 12 to 14: state rebuilt from the changelog, also a compacted one, also a corrupt one."""

from __future__ import annotations

import time
from pathlib import Path
from random import Random

import orjson
from kafka import KafkaProducer
from kafka.admin import ConfigResource, ConfigResourceType, KafkaAdminClient

from agents.changelog import MARKER_KEY
from agents.settings import Settings
from bench.faults.fleet import Fleet, said_of, samples, start, until_dead
from bench.faults.ground import Ground, say
from bench.faults.oracle import expected, kept
from bench.faults.registry import Finding, row
from bench.faults.workload import order_lines, preload
from schemas.topics import CHANGELOG
from tests.live.harness import Worker, read_topic, until

HASHES = r"hash (recovered|sealed) (\d+) (\d+) ([0-9a-f]{64})"
KEYS = 100_000
EXIT_SECONDS = 30.0

Hashes = dict[int, tuple[int, str]]
"""By partition: customers and hash of their states."""


def hashes(workers: list[Worker], when: str) -> Hashes:
    """Collect the last hash of each partition that workers have printed."""
    return {
        int(partition): (int(count), whole)
        for told, partition, count, whole in said_of(workers, HASHES)
        if told == when
    }


def build(ground: Ground, settings: Settings, lines: list[bytes]) -> Hashes:
    """Let two workers process an input, stop, and say what state they leave."""
    preload(settings, lines)
    with Fleet(settings, ground.model_file, faults=("--hash",)) as fleet:
        fleet.until_ready()
        fleet.until_committed(len(lines), 120.0)
        fleet.stop_all()
    return hashes(fleet.ended, "sealed")


def rebuild(ground: Ground, settings: Settings) -> tuple[Hashes, float, float]:
    """Start two workers on nothing but the changelog; give what they recovered, and how long it took.

    The first seconds are those that recovering the slowest partition took, the second those until both
    workers, started as processes, had everything.
    """
    began = time.monotonic()
    with Fleet(settings, ground.model_file, faults=("--hash",)) as fleet:
        until(lambda: len(hashes(fleet.workers, "recovered")) == settings.topics.partitions, "recovered")
        fleet.until_ready()
        whole = time.monotonic() - began
        slowest = max(s.value for w in fleet.workers for s in samples(w, "holdfast_recovery_seconds"))
        fleet.stop_all()
    return hashes(fleet.ended, "recovered"), slowest, whole


@row(12, "state wiped, rebuilt from the changelog", f"{KEYS:,} keys, hash equal, seconds reported", 240.0)
def wiped(ground: Ground, _seed: int) -> Finding:
    settings = ground.topics()
    lines = order_lines(KEYS)
    left = build(ground, settings, lines)
    wipe(settings)
    found, slowest, whole = rebuild(ground, settings)
    keys = sum(count for count, _ in found.values())
    right = kept(settings) == expected(settings, ground.model, lines).states
    return Finding(
        found == left and keys == KEYS and right,
        f"{keys:,} keys on {len(found)} partitions, hashes {'equal' if found == left else 'DIFFER'}, "
        f"facts {'equal' if right else 'DIFFER FROM'} the oracle's; slowest partition {slowest:.1f} s, "
        f"two processes started and recovered in {whole:.1f} s",
    )


def wipe(settings: Settings) -> None:
    """Remove what workers keep in files; the changelog is all that is left."""
    folder = Path(settings.worker.data_folder)
    for file in sorted(folder.rglob("*"), reverse=True):
        if file.name != "signing.key":
            file.unlink() if file.is_file() else None


FORGET_DAYS = 400.0


def leaving_and_staying(leaving: int, staying: int) -> list[bytes]:
    """Customers who order once and are forgotten, and some who order on for longer than it takes."""
    lines = order_lines(leaving, "2024-01-01T00:00:00Z")
    stay = order_lines(staying, "2024-01-02T00:00:00Z")
    for month in range(18):
        stamp = f"{2024 + month // 12}-{month % 12 + 1:02d}-03T00:00:00Z"
        for number, line in enumerate(stay):
            message = orjson.loads(line)
            message |= {"userId": f"s{number:06d}", "messageId": f"s{number}-{month}", "timestamp": stamp}
            message["properties"]["order_id"] = f"s{number}-{month}"
            lines.append(orjson.dumps(message))
    return lines


@row(13, "compacted changelog with tombstones, then rebuilt", "hash equal, 0 keys risen from the dead", 240.0)
def compacted(ground: Ground, _seed: int, leaving: int = 5_000, staying: int = 500) -> Finding:
    settings = ground.topics(reviews__forget_days=FORGET_DAYS, reviews__silent_days=360)
    compact_eagerly(settings)
    left = build(ground, settings, leaving_and_staying(leaving, staying))
    records, remaining, tombstones = compact(settings)
    found, _, whole = rebuild(ground, settings)
    risen = sum(key.startswith("u") for key in kept(settings))
    keys = sum(count for count, _ in found.values())
    return Finding(
        found == left and risen == 0 and keys == staying and remaining < records,
        f"{records:,} records compacted to {remaining:,} with {tombstones:,} tombstones; {keys:,} keys, "
        f"hashes {'equal' if found == left else 'DIFFER'}, {risen} of {leaving:,} risen from the dead; "
        f"rebuilt in {whole:.1f} s",
    )


def compact_eagerly(settings: Settings) -> None:
    """Have the broker close segments of the changelog soon and compact whatever can be compacted."""
    configs = {"segment.ms": "1000", "min.cleanable.dirty.ratio": "0.001", "max.compaction.lag.ms": "1000"}
    alter(settings, CHANGELOG, configs)


def alter(settings: Settings, topic: str, configs: dict[str, str]) -> None:
    """Change a topic's configuration."""
    admin = KafkaAdminClient(bootstrap_servers=settings.kafka.bootstrap)
    try:
        admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, settings.topic(topic), configs)])
    finally:
        admin.close()


def compact(settings: Settings, seconds: float = 60.0) -> tuple[int, int, int]:
    """Wait until the broker has compacted the changelog; give records before and after, and tombstones."""
    before = read_topic(settings, CHANGELOG)
    newest = {(message.partition, message.key) for message in before}
    deadline = time.monotonic() + seconds
    while True:
        # A segment is closed when something is written behind it, and only closed ones are compacted.
        write_filler(settings)
        time.sleep(1.5)
        now = read_topic(settings, CHANGELOG)
        if len(now) <= 1.2 * len(newest) or time.monotonic() > deadline:
            return len(before), len(now), sum(message.value is None for message in now)


def write_filler(settings: Settings) -> None:
    """Write a tombstone of a customer who never was to every partition of the changelog."""
    producer = KafkaProducer(bootstrap_servers=settings.kafka.bootstrap)
    try:
        for partition in range(settings.topics.partitions):
            producer.send(settings.topic(CHANGELOG), key=b"nobody", value=None, partition=partition)
        producer.flush()
    finally:
        producer.close()


@row(14, "corrupt changelog record", "exit or quarantine < 30 s, no hang")
def corrupt(ground: Ground, seed: int) -> Finding:
    random = Random(seed)
    outcomes = []
    for what in ("state", "marker", "truncated state"):
        settings = ground.topics()
        lines = order_lines(400)
        build(ground, settings, lines)
        spoil(settings, what, random)
        began = time.monotonic()
        with start(settings, ground.model_file) as worker:
            code = until_dead(worker, EXIT_SECONDS, f"corrupt {what}")
            outcomes.append((what, code, time.monotonic() - began))
    told = ", ".join(f"{what}: exit {code} after {seconds:.1f} s" for what, code, seconds in outcomes)
    return Finding(all(code > 0 for _, code, _ in outcomes), told)


def spoil(settings: Settings, what: str, random: Random) -> None:
    """Put a record on the changelog that no program can read, in the place of one that it can."""
    records = [m for m in read_topic(settings, CHANGELOG) if (m.key == MARKER_KEY) == (what == "marker")]
    chosen = random.choice([m for m in records if m.value])
    assert chosen.value is not None
    value = chosen.value[: len(chosen.value) // 2] if what.startswith("truncated") else random.randbytes(40)
    producer = KafkaProducer(bootstrap_servers=settings.kafka.bootstrap)
    try:
        producer.send(settings.topic(CHANGELOG), key=chosen.key, value=value, partition=chosen.partition)
        producer.flush()
    finally:
        producer.close()
    say(f"{what} of partition {chosen.partition} spoilt")
