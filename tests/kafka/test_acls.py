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

from agents.acls import PARTIES, Right, rights
from agents.client import send, watch
from agents.cluster import admin, create_missing, describe
from agents.errors import OperatorError
from agents.settings import Settings
from agents.worker import prepare
from deploy.kafka.local import LocalKafka
from schemas.topics import TOPICS
from tests.kafka.listeners import PASSWORD, login, reach, scram_users, secret_file
from tests.live.harness import Worker, own_settings
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
        operator, sender, worker, reader = (
            as_party(settings, party) for party in ("operator", "sender", "worker", "reader")
        )
        with pytest.raises(OperatorError, match="refuses to create"):
            create_missing(operator)
        needed = rights(settings)
        grant(kafka, needed)
        assert len(create_missing(operator)) == len(TOPICS)
        assert all(row.partitions == row.expected for row in describe(operator))

        messages = small_cdnow()[:300]
        assert send(sender, messages).messages == len(messages)
        with pytest.raises(OperatorError):
            list(watch(sender, ["orders"], from_beginning=True, count=1, timeout=5.0))

        prepare(worker)
        with Worker(worker) as running:
            running.until_processed(len(messages))
            for topic in ("segment-changes", "customer-scores"):
                assert list(watch(reader, [topic], from_beginning=True, count=3, timeout=30.0))
            assert running.stop() == 0, running.said()
        with pytest.raises(OperatorError):
            send(reader, messages)
        with pytest.raises(OperatorError):
            list(watch(reader, ["orders"], from_beginning=True, count=1, timeout=5.0))
