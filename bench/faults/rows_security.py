"""Row 26: what an attacker would try first.

Each check is small, and each shows first that it could fail where that is possible: the gadget does make
its file when somebody unpickles it.
"""

from __future__ import annotations

import pickle
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from kafka import KafkaConsumer, KafkaProducer, TopicPartition
from kafka.admin import KafkaAdminClient, NewTopic

from agents.settings import Settings, SettingsError
from bench.faults.fleet import start, until_dead
from bench.faults.ground import Ground, say
from bench.faults.registry import Finding, row
from bench.faults.workload import order_lines
from schemas.topics import CHANGELOG, EXAMPLES, INPUTS, LEARNER_CHECKPOINT, MODELS, ORDERS, dead_letters_of
from tests.live.harness import ROOT, read_topic, until

NOT_FOUND = 404
AUDIT_SECONDS = 100.0


def produce(
    settings: Settings, name: str, key: bytes, value: bytes, headers: Sequence[tuple[str, bytes]] = ()
) -> None:
    """Put a record on partition 0 of a topic."""
    producer = KafkaProducer(bootstrap_servers=settings.kafka.bootstrap)
    try:
        producer.send(settings.topic(name), key=key, value=value, headers=list(headers), partition=0)
        producer.flush()
    finally:
        producer.close()


def plaintext_credentials_are_refused(ground: Ground) -> bool:
    """A worker that would send its password in the clear does not start, and says why."""
    given = {"security__protocol": "SASL_PLAINTEXT", "security__mechanism": "PLAIN"}
    try:
        ground.settings(**given, security__username="ann", security__password="swordfish")
    except SettingsError as error:  # when they are loaded, before there is a file that a worker could read
        return "allow_plaintext_credentials" in error.message and "swordfish" not in error.message
    return False


def tables_are_not_served(ground: Ground) -> bool:
    """Faust would serve `/table` to whoever asks."""
    with start(ground.topics(), ground.model_file) as worker:
        worker.until_ready()
        address = worker.said().split("metrics at ")[1].split()[0].removesuffix("/metrics")
        return status(f"{address}/metrics") == 200 and status(f"{address}/table") == NOT_FOUND


def status(url: str) -> int:
    """Ask for a page."""
    try:
        with urllib.request.urlopen(url, timeout=5.0) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code


def replies_are_not_sent(ground: Ground) -> bool:
    """Faust would let a header name the topic that an agent's results go to."""
    settings = ground.topics(worker__agents="customers,learner")
    wanted = settings.topics.prefix + "wanted"
    admin = KafkaAdminClient(bootstrap_servers=settings.kafka.bootstrap)
    try:
        admin.create_topics([NewTopic(wanted, 1, 1)])
    finally:
        admin.close()
    headers = [("Faust-Ag-ReplyTo", wanted.encode()), ("Faust-Ag-CorrelationId", b"7")]
    order = order_lines(1)[0]
    for name in (*INPUTS, EXAMPLES):
        produce(settings, name, b"u0000000", order, headers)
    with start(settings, None) as worker:
        worker.until_processed(2)
        until(partial(has_one, settings, dead_letters_of(EXAMPLES)), "the learner's refusal")
        worker.stop()
    return end_of(settings, wanted) == 0


def end_of(settings: Settings, topic: str) -> int:
    """Give the number of records on a topic of one partition."""
    consumer = KafkaConsumer(bootstrap_servers=settings.kafka.bootstrap)
    try:
        place = TopicPartition(topic, 0)
        return int(consumer.end_offsets([place])[place])
    finally:
        consumer.close()


class Gadget:
    """What makes a file when it is unpickled."""

    def __init__(self, proof: Path) -> None:
        self._proof = proof

    def __reduce__(self) -> tuple[Any, ...]:
        """Say what unpickling does."""
        return Path.touch, (self._proof,)


def pickles_are_inert(ground: Ground) -> bool:
    """A pickle on any topic that a worker reads does nothing: it is a dead letter, or the worker stops."""
    proof = ground.folder / "proof"
    payload = pickle.dumps(Gadget(proof))
    pickle.loads(payload)
    could = proof.exists()
    proof.unlink()
    for name, key in ((CHANGELOG, b"u0000000"), (LEARNER_CHECKPOINT, b"learner")):
        settings = ground.topics(worker__agents="customers,learner")
        produce(settings, name, key, payload)
        with start(settings, None) as worker:
            until_dead(worker, 60.0, f"a pickle on {name}")
    settings = ground.topics(worker__agents="customers,learner")
    for name in (*INPUTS, EXAMPLES, MODELS):
        produce(settings, name, b"u0000000", payload)
    produce(settings, ORDERS, b"u0000000", order_lines(1)[0])
    with start(settings, None) as worker:
        for name in (*INPUTS, EXAMPLES):
            letters = dead_letters_of(name)
            until(partial(has_one, settings, letters), f"a letter on {letters}")
        worker.stop()
    return could and not proof.exists()


def has_one(settings: Settings, name: str) -> bool:
    """Tell whether a topic holds one record."""
    return len(read_topic(settings, name)) == 1


_audit_said = "audit: not run"


def audit_is_clean(_ground: Ground) -> bool:
    """No package in the lock has a known vulnerability; an audit that did not happen is not clean."""
    global _audit_said
    command = [sys.executable, "-m", "deploy.audit", "--strict"]
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=AUDIT_SECONDS
    )
    _audit_said = (done.stdout + done.stderr).strip()[-200:].replace("\n", " ")
    return done.returncode == 0


CHECKS: dict[str, Callable[[Ground], bool]] = {
    "plaintext SASL refused": plaintext_credentials_are_refused,
    "/table 404": tables_are_not_served,
    "Faust-Ag-ReplyTo ignored": replies_are_not_sent,
    "pickle gadget inert": pickles_are_inert,
    "pip-audit clean": audit_is_clean,
}


@row(26, "security: what an attacker tries first", "5 of 5", 300.0)
def security(ground: Ground, _seed: int) -> Finding:
    held = {}
    for name, check in CHECKS.items():
        try:
            held[name] = check(ground)
        except (AssertionError, OSError, subprocess.SubprocessError) as error:
            say(f"{name}: {error}")
            held[name] = False
    told = ", ".join(f"{name} {'yes' if right else 'NO'}" for name, right in held.items())
    return Finding(all(held.values()), f"{sum(held.values())} of {len(held)}: {told} ({_audit_said})")
