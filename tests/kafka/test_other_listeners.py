"""Certificates of our own, and logins over a readable connection, on Apache Kafka."""

from __future__ import annotations

from pathlib import Path

import pytest

from agents import cluster
from agents.client import send, watch
from agents.cluster import BrokerRefusal, create_missing, describe
from agents.settings import Settings, SettingsError
from deploy.kafka.local import LocalKafka
from tests.kafka.certificates import Authority
from tests.kafka.listeners import PASSWORD, USER, login, reach, scram_users, tls
from tests.live.harness import Worker
from tests.live.test_live_equals_replay import small_cdnow

pytestmark = pytest.mark.kafka


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster, "CONNECT_MS", 1_000)


def work(settings: Settings) -> None:
    """Let every client say something: of the commands, and of a worker."""
    create_missing(settings)
    messages = small_cdnow()[:20]
    assert send(settings, messages).messages == 20
    with Worker(settings) as worker:
        worker.until_processed(20)
        assert (
            len(list(watch(settings, ["segment-changes"], from_beginning=True, count=3, timeout=30.0))) == 3
        )
        assert worker.stop() == 0, worker.said()


def refusal(settings: Settings) -> str:
    with pytest.raises(BrokerRefusal) as caught:
        describe(settings)
    return caught.value.message


def test_a_certificate_of_ours_gets_in_and_no_other(tmp_path: Path) -> None:
    """Mutual TLS: the broker asks for a certificate that the same authority signed."""
    authority, stranger = Authority(tmp_path / "one"), Authority(tmp_path / "other", "Somebody else")
    ours, theirs = authority.sign(USER), stranger.sign(USER)
    encrypted = {"protocol": "SSL", "ca_file": str(authority.ca)}
    listener = {"protocol": "SSL"} | tls(authority, clients="required")
    with LocalKafka(listener=listener) as kafka:
        own = {"certificate_file": str(ours.certificate), "key_file": str(ours.key)}
        work(reach(kafka, encrypted | own))
        assert describe(reach(kafka, encrypted | {"certificate_file": str(ours.both)}))
        assert "it wants a certificate" in refusal(reach(kafka, encrypted))
        unknown = reach(kafka, encrypted | {"certificate_file": str(theirs.both)})
        assert f"does not accept the certificate in {theirs.both}" in refusal(unknown)


def test_a_login_over_a_readable_connection_works_only_where_it_is_allowed() -> None:
    with LocalKafka(listener={"protocol": "SASL_PLAINTEXT"} | login(), scram=scram_users(USER)) as kafka:
        security = {"protocol": "SASL_PLAINTEXT", "username": USER, "password": PASSWORD}
        with pytest.raises(SettingsError, match="would log in over a connection that anybody can read"):
            reach(kafka, security)
        allowed = reach(kafka, security | {"allow_plaintext_credentials": True})
        create_missing(allowed)
        assert all(row.partitions for row in describe(allowed))
