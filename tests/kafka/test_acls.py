"""The documented rights are enough, and nobody gets in without, on an Apache Kafka that checks them."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import msgspec
import pytest
from kafka.admin import (
    ACL,
    ACLOperation,
    ACLPermissionType,
    ACLResourcePatternType,
    ResourcePattern,
    ResourceType,
)

from agents.acls import PARTIES, Right, check_rights, rights
from agents.client import send, watch
from agents.cluster import admin, create_missing, describe
from agents.errors import OperatorError
from agents.forget import forget
from agents.from_topic import values
from agents.kpis import follow
from agents.settings import Settings
from agents.worker import prepare
from deploy.kafka.local import LocalKafka
from schemas.kpis import RetentionKpis
from schemas.topics import TOPICS
from tests.kafka.listeners import PASSWORD, login, reach, scram_users, secret_file
from tests.live.harness import Worker, committed, own_settings
from tests.live.test_live_equals_replay import small_cdnow

pytestmark = pytest.mark.kafka

_AUTHORIZER = {
    "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
    "super.users": "User:ANONYMOUS",  # who comes by the listener without a login
}


def grant(kafka: LocalKafka, given: Iterable[Right]) -> None:
    acls = []
    for right in given:
        kind = ResourceType[right.resource.replace(" ", "_").upper()]
        prefixed = right.name.endswith("*")
        pattern = ACLResourcePatternType.PREFIXED if prefixed else ACLResourcePatternType.LITERAL
        resource = ResourcePattern(kind, right.name.removesuffix("*"), pattern)
        acls += [
            ACL(f"User:{right.party}", "*", ACLOperation[operation], ACLPermissionType.ALLOW, resource)
            for operation in right.operations
        ]
    with admin(own_settings({"kafka.bootstrap": kafka.bootstrap})) as client:
        made = client.create_acls(acls)
    assert not made["failed"], made


def as_party(settings: Settings, party: str) -> Settings:
    security = msgspec.structs.replace(settings.security, username=party)
    return msgspec.structs.replace(settings, security=security)


def test_a_worker_without_some_right_says_which_and_does_not_begin(tmp_path: Path) -> None:
    listener = {"protocol": "SASL_PLAINTEXT"} | login()
    with LocalKafka(listener=listener, scram=scram_users(*PARTIES), settings=_AUTHORIZER) as kafka:
        security = {
            "protocol": "SASL_PLAINTEXT",
            "allow_plaintext_credentials": True,
            "username": "worker",
            "password_file": secret_file(tmp_path / "password", PASSWORD),
        }
        for _ in range(2):  # on a cluster that has never had a group, and on one that has
            settings = reach(kafka, security, topics__partitions=1)
            open_to_all = msgspec.structs.replace(
                settings,
                kafka=msgspec.structs.replace(settings.kafka, bootstrap=kafka.bootstrap),
                security=Settings().security,
            )
            create_missing(open_to_all)
            without = {settings.topic("orders.dlq"): "WRITE", settings.topic("customers-changelog"): "READ"}
            without |= {settings.kafka.group: "READ"}
            weak = [
                right._replace(operations=tuple(o for o in right.operations if o != without.get(right.name)))
                for right in rights(settings)
            ]
            grant(kafka, weak)
            grant(kafka, [Right("worker", "topic", settings.topic("orders.dlq"), ("DESCRIBE",))])
            with pytest.raises(OperatorError) as caught:
                prepare(settings)
            assert caught.value.message.splitlines() == [
                f"no right to READ on topic {settings.topic('customers-changelog')}",
                f"no right to WRITE on topic {settings.topic('orders.dlq')}",
                f"no right to READ on group {settings.kafka.group}",
            ]
            check_rights(open_to_all)
            assert committed(open_to_all)  # asks for a group: from now on the cluster has had one


def test_with_the_documented_rights_everything_works_and_without_them_it_is_told(tmp_path: Path) -> None:
    listener = {"protocol": "SASL_PLAINTEXT"} | login()
    with LocalKafka(listener=listener, scram=scram_users(*PARTIES), settings=_AUTHORIZER) as kafka:
        security = {
            "protocol": "SASL_PLAINTEXT",
            "allow_plaintext_credentials": True,
            "username": "operator",
            "password_file": secret_file(tmp_path / "password", PASSWORD),
        }
        settings = reach(kafka, security, topics__partitions=2, reviews__horizon_days=28)
        operator, sender, worker, reader, eraser, teller, analyst = (
            as_party(settings, party)
            for party in ("operator", "sender", "worker", "reader", "eraser", "teller", "analyst")
        )
        with pytest.raises(OperatorError, match="refuses to create"):
            create_missing(operator)
        grant(kafka, rights(settings))
        assert len(create_missing(operator)) == len(TOPICS)
        assert all(row.partitions == row.expected for row in describe(operator))

        messages = small_cdnow()[:300]
        assert send(sender, messages).messages == len(messages)
        with pytest.raises(OperatorError):
            list(watch(sender, ["orders"], from_beginning=True, count=1, timeout=5.0))

        with Worker(worker) as running:
            running.until_processed(len(messages))
            for topic in ("segment-changes", "customer-scores"):
                assert list(watch(reader, [topic], from_beginning=True, count=3, timeout=30.0))
            told: list[RetentionKpis] = []
            follow(teller, told.append, once=True)
            assert told
            assert list(watch(reader, ["retention-kpis"], from_beginning=True, count=1, timeout=30.0))
            assert forget(eraser, ["00004"], timeout=60.0).customers
            assert running.stop() == 0, running.said()
        assert sum(1 for _ in values(analyst, "orders")) == len(messages)
        for topic in ("churn-alerts", "customer-scores", "models", "segment-changes", "retention-kpis"):
            list(values(analyst, topic))  # it may
        with pytest.raises(OperatorError):
            list(values(analyst, "customers-changelog"))
        with pytest.raises(OperatorError):
            send(analyst, messages)
        with pytest.raises(OperatorError):
            send(reader, messages)
        with pytest.raises(OperatorError):
            list(watch(reader, ["orders"], from_beginning=True, count=1, timeout=5.0))
