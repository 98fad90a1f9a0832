"""Records that try to make a worker do something: they are data, whatever they say."""

from __future__ import annotations

import pickle
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest
from kafka import KafkaProducer

from agents.cluster import admin, create_missing
from agents.connection import kafka_python_arguments
from agents.settings import Settings
from schemas.topics import (
    CHANGELOG,
    CLICKSTREAM,
    EXAMPLES,
    INPUTS,
    LEARNER_CHECKPOINT,
    MODELS,
    ORDERS,
    TOPICS,
    dead_letters_of,
)
from tests.live.harness import Worker, own_settings, read_topic, until
from tests.live.test_live_equals_replay import small_cdnow

pytestmark = pytest.mark.broker


def produce(settings: Settings, name: str, key: bytes, value: bytes, headers: Sequence[Any] = ()) -> None:
    """Put a record on partition 0 of a topic."""
    arguments = kafka_python_arguments(settings)
    producer = KafkaProducer(**arguments, enable_idempotence=False)
    try:
        producer.send(name, key=key, value=value, headers=list(headers), partition=0)
        producer.flush()
    finally:
        producer.close()


def test_a_reply_that_a_header_asks_for_is_never_sent(live_broker: dict[str, object]) -> None:
    """Stock Faust lets the sender of a record name the topic that an agent's results go to."""
    settings = own_settings(live_broker, topics__partitions=1)
    create_missing(settings)
    wanted = settings.topics.prefix + "wanted"
    with admin(settings) as client:
        client.create_topics({wanted: {"num_partitions": 1, "replication_factor": 1}})
        client.wait_for_topics([wanted])
    elsewhere = settings.topics.prefix + "not-there"
    order = small_cdnow()[0]
    for name in (*INPUTS, EXAMPLES):
        for target in (wanted, elsewhere):
            headers = [("Faust-Ag-ReplyTo", target.encode()), ("Faust-Ag-CorrelationId", b"7")]
            produce(settings, settings.topic(name), b"c-1", order, headers)
    with Worker(settings) as worker:
        worker.until_processed(4)
        letters = dead_letters_of(EXAMPLES)
        until(lambda: len(read_topic(settings, letters)) == 2, "the learner refusing what is no example")
        assert worker.stop() == 0, worker.said()
    assert topic_is_empty(settings, wanted)
    with admin(settings) as client:
        ours = {t["name"] for t in client.describe_topics() if t["name"].startswith(settings.topics.prefix)}
    assert ours == {settings.topic(spec.name) for spec in TOPICS} | {wanted}
    assert elsewhere not in ours


def topic_is_empty(settings: Settings, name: str) -> bool:
    topics = msgspec.structs.replace(settings.topics, prefix="", clickstream=name)
    return read_topic(msgspec.structs.replace(settings, topics=topics), CLICKSTREAM) == []


class Gadget:
    """What makes a file when it is unpickled."""

    def __init__(self, proof: Path) -> None:
        self._proof = proof

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self._proof,)


@pytest.fixture
def proof(tmp_path: Path) -> Path:
    """A file that is there when something was unpickled; it is shown that it would be."""
    path = tmp_path / "proof"
    pickle.loads(pickle.dumps(Gadget(path)))
    assert path.exists()
    path.unlink()
    return path


@pytest.mark.parametrize("name", [CHANGELOG, LEARNER_CHECKPOINT])
def test_a_pickle_among_the_state_stops_the_worker_and_does_nothing(
    live_broker: dict[str, object], proof: Path, name: str
) -> None:
    settings = own_settings(live_broker, topics__partitions=1)
    create_missing(settings)
    key = b"learner" if name == LEARNER_CHECKPOINT else b"c-1"
    produce(settings, settings.topic(name), key, pickle.dumps(Gadget(proof)))
    with Worker(settings) as worker:
        until(lambda: worker.process.poll() is not None, "state that cannot be read stopping the worker")
        assert worker.process.returncode != 0
    assert not proof.exists()


@pytest.mark.parametrize("name", [EXAMPLES, ORDERS, CLICKSTREAM])
def test_a_pickle_among_the_messages_becomes_a_dead_letter_and_does_nothing(
    live_broker: dict[str, object], proof: Path, name: str
) -> None:
    settings = own_settings(live_broker, topics__partitions=1)
    create_missing(settings)
    payload = pickle.dumps(Gadget(proof))
    produce(settings, settings.topic(name), b"c-1", payload)
    with Worker(settings) as worker:
        letters = dead_letters_of(name)
        until(lambda: len(read_topic(settings, letters)) == 1, "a dead letter")
        assert worker.stop() == 0, worker.said()
    (letter,) = read_topic(settings, letters)
    assert letter.value == payload
    assert not proof.exists()


def test_a_pickle_among_the_models_is_passed_over_and_does_nothing(
    live_broker: dict[str, object], proof: Path
) -> None:
    settings = own_settings(live_broker, topics__partitions=1)
    create_missing(settings)
    produce(settings, settings.topic(MODELS), b"lr-0", pickle.dumps(Gadget(proof)))
    produce(settings, settings.topic(ORDERS), b"00004", small_cdnow()[0])
    with Worker(settings) as worker:
        worker.until_processed(1)  # it begins only when the models topic has been read
        assert "a published model is not for this worker" in worker.said()
        assert worker.stop() == 0, worker.said()
    assert not proof.exists()
