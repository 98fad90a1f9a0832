"""The topics on a cluster: made where missing, checked before anything is read."""

from __future__ import annotations

import msgspec
import pytest
from kafka.admin import ConfigResource

from agents import cluster
from agents.cluster import BrokerAbsent, LayoutError, admin, check_layout, create_missing, describe
from agents.errors import OperatorError
from agents.settings import Settings
from schemas.topics import TOPIC_BY_NAME, TOPICS
from streams.config import DAY_MS

pytestmark = pytest.mark.broker


def make(settings: Settings, **partitions: int) -> None:
    wanted = {
        settings.topic(name): {"num_partitions": count, "replication_factor": 1}
        for name, count in partitions.items()
    }
    with admin(settings) as client:
        client.create_topics(wanted)
        client.wait_for_topics(list(wanted))


def with_partitions(settings: Settings, count: int) -> Settings:
    return msgspec.structs.replace(
        settings, topics=msgspec.structs.replace(settings.topics, partitions=count)
    )


def problems(settings: Settings) -> list[str]:
    with pytest.raises(LayoutError) as caught:
        check_layout(settings)
    assert caught.value.message == "\n".join(caught.value.problems)
    return caught.value.problems


def test_on_an_empty_cluster_every_topic_is_made_and_the_layout_is_right(broker_settings: Settings) -> None:
    created = create_missing(with_partitions(broker_settings, 3))
    assert created == [broker_settings.topic(spec.name) for spec in TOPICS]
    check_layout(broker_settings)
    partitions = {row.name: row.partitions for row in describe(broker_settings)}
    assert partitions[broker_settings.topic("customers-changelog")] == 3
    assert partitions[broker_settings.topic("models")] == 1


def test_making_them_again_makes_nothing(broker_settings: Settings) -> None:
    create_missing(broker_settings)
    assert create_missing(broker_settings) == []


def test_a_worker_leaves_the_inputs_to_the_shop(broker_settings: Settings) -> None:
    created = create_missing(broker_settings, ("output", "internal", "dead"))
    assert broker_settings.topic("orders") not in created
    assert problems(broker_settings) == [
        f"input topic {broker_settings.topic(name)} does not exist; `holdfast topics --create` makes it"
        for name in ("clickstream", "orders")
    ]


def test_topics_about_customers_follow_the_inputs_and_not_the_settings(broker_settings: Settings) -> None:
    make(broker_settings, clickstream=7)
    create_missing(with_partitions(broker_settings, 3))
    rows = {row.name: row for row in describe(broker_settings)}
    assert rows[broker_settings.topic("orders")].partitions == 7
    assert rows[broker_settings.topic("churn-alerts")].partitions == 7
    assert rows[broker_settings.topic("examples")].partitions == 1


def test_inputs_of_different_sizes_are_refused(broker_settings: Settings) -> None:
    make(broker_settings, clickstream=4, orders=2)
    said = "the input topics must have the same number of partitions: "
    said += f"{broker_settings.topic('clickstream')} 4 and {broker_settings.topic('orders')} 2"
    assert problems(broker_settings) == [said]
    with pytest.raises(LayoutError):
        create_missing(broker_settings)


def test_an_output_of_another_size_is_refused(broker_settings: Settings) -> None:
    make(broker_settings, **{"churn-alerts": 3, "models": 4})
    create_missing(broker_settings)
    assert problems(broker_settings) == [
        f"{broker_settings.topic('churn-alerts')} has 3 partitions where 4 are needed",
        f"{broker_settings.topic('models')} has 4 partitions where 1 are needed",
    ]


def test_a_state_topic_that_the_broker_deletes_from_is_refused(broker_settings: Settings) -> None:
    name = broker_settings.topic("customers-changelog")
    with admin(broker_settings) as client:
        client.create_topics(
            {
                name: {
                    "num_partitions": 4,
                    "replication_factor": 1,
                    "configs": {"cleanup.policy": "compact,delete"},
                }
            }
        )
    create_missing(broker_settings)
    assert problems(broker_settings) == [
        f"{name} has cleanup.policy=compact,delete and would lose state; set it to compact"
    ]


def test_topics_are_made_with_the_policies_that_keep_them_right(broker_settings: Settings) -> None:
    create_missing(broker_settings)
    names = ("customers-changelog", "examples", "orders.dlq", "orders")
    with admin(broker_settings) as client:
        found = client.describe_configs(
            [ConfigResource("TOPIC", broker_settings.topic(name)) for name in names], config_filter="all"
        )["topic"]
    wanted = {
        "customers-changelog": {"cleanup.policy": "compact"},
        "examples": {"cleanup.policy": "delete", "retention.ms": str(30 * DAY_MS)},
        "orders.dlq": {"cleanup.policy": "delete", "retention.ms": str(14 * DAY_MS)},
        "orders": {"cleanup.policy": "delete"},
    }
    for name, configs in wanted.items():  # some brokers list their defaults as well
        said = {key: config["value"] for key, config in found[broker_settings.topic(name)].items()}
        assert said | configs == said, name


def test_what_is_missing_is_described_as_missing(broker_settings: Settings) -> None:
    rows = describe(broker_settings)
    assert [row.partitions for row in rows] == [None] * len(TOPIC_BY_NAME)
    assert {row.expected for row in rows} == {1, broker_settings.topics.partitions}


def test_partitions_of_topics_that_are_not_there_cannot_be_counted(broker_settings: Settings) -> None:
    make(broker_settings, orders=2)
    orders = broker_settings.topic("orders")
    assert cluster.partition_counts(broker_settings, [orders]) == {orders: 2}
    with pytest.raises(LayoutError, match=r"topic nowhere does not exist"):
        cluster.partition_counts(broker_settings, [orders, "nowhere"])


def test_no_broker_is_told_in_one_line(no_broker: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster, "CONNECT_MS", 100)
    for ask in (check_layout, create_missing, describe):
        with pytest.raises(BrokerAbsent, match=r"no Kafka broker answers at 127\.0\.0\.1:1;"):
            ask(no_broker)


def test_what_the_broker_refuses_is_told(broker_settings: Settings) -> None:
    make(broker_settings, orders=1)
    with pytest.raises(OperatorError, match=r"^the broker at .* answers: "):
        make(broker_settings, orders=1)
