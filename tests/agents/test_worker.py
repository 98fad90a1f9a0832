"""What a worker says when it cannot start: one line, and a code."""

from __future__ import annotations

import socket
from pathlib import Path

import msgspec
import pytest

from agents.cluster import LayoutError, create_missing
from agents.errors import OperatorError
from agents.metrics import CUSTOMERS, WATERMARK, drop_partition
from agents.model_file import read_model
from agents.sections import WebSettings
from agents.settings import Settings
from agents.signing import sign
from agents.worker import prepare, serve_metrics, start
from schemas.codec import encode
from streams.config import StreamConfig
from streams.learning.served import untrained
from tests.live.harness import produce_raw


def test_without_a_broker_it_says_where_it_looked(no_broker: Settings) -> None:
    with pytest.raises(OperatorError, match=r"no Kafka broker answers at 127\.0\.0\.1:1"):
        start(no_broker, None, "WARN")


@pytest.mark.broker
def test_without_input_topics_it_names_them_and_how_to_make_them(broker_settings: Settings) -> None:
    with pytest.raises(LayoutError, match="clickstream") as error:
        prepare(broker_settings)
    assert "topics --create" in str(error.value)


@pytest.mark.broker
def test_with_inputs_it_makes_its_own_topics_with_as_many_partitions(broker_settings: Settings) -> None:
    create_missing(broker_settings, roles={"input"})
    prepare(broker_settings)
    prepare(broker_settings)  # a second worker finds everything there


@pytest.mark.broker
def test_inputs_with_different_partition_counts_are_refused(broker_settings: Settings) -> None:
    create_missing(broker_settings, roles={"input"})
    topics = msgspec.structs.replace(broker_settings.topics, orders="other-orders", partitions=3)
    kafka = broker_settings.kafka
    odd = msgspec.structs.replace(broker_settings, topics=topics, kafka=kafka)
    only_orders = msgspec.structs.replace(odd.topics, clickstream="other-clicks")
    create_missing(msgspec.structs.replace(odd, topics=only_orders), roles={"input"})
    with pytest.raises(LayoutError, match="partition"):
        prepare(odd)


@pytest.mark.broker
def test_a_worker_with_another_signing_key_does_not_start_to_become_the_learner_one_day(
    broker_settings: Settings, tmp_path: Path
) -> None:
    create_missing(broker_settings)
    worker = msgspec.structs.replace(broker_settings.worker, data_folder=str(tmp_path))
    ours = msgspec.structs.replace(broker_settings, worker=worker)
    prepare(ours)  # there is no checkpoint yet
    value = sign(b"what another learned", b"another key of theirs")
    produce_raw(ours, "learner-checkpoint", [value], key=b"learner")
    with pytest.raises(OperatorError, match="signing_key_file"):
        prepare(ours)
    customers_only = msgspec.structs.replace(worker, agents=("customers",))
    prepare(msgspec.structs.replace(ours, worker=customers_only))


def test_a_taken_metrics_port_is_one_line() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        settings = Settings(web=WebSettings(port=taken.getsockname()[1]))
        with pytest.raises(OperatorError, match="cannot serve metrics"):
            serve_metrics(settings)


def test_a_model_of_another_horizon_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "models.jsonl"
    path.write_bytes(encode(untrained(StreamConfig())) + b"\n")
    assert read_model(path, 30.0).model_version == "lr-0"
    with pytest.raises(OperatorError, match="horizon"):
        read_model(path, 84.0)


def test_a_partition_that_has_gone_is_no_longer_reported() -> None:
    WATERMARK.labels("977").set(1.0)
    CUSTOMERS.labels("977").set(1.0)
    drop_partition(977)
    drop_partition(977)
    assert not any(sample.labels["partition"] == "977" for sample in WATERMARK.collect()[0].samples)
