"""Logging in over TLS, on Apache Kafka: every mechanism, and what is said when it fails."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from agents import cluster
from agents.client import send, watch
from agents.cluster import BrokerRefusal, create_missing, describe
from agents.settings import Settings, settings_toml
from deploy.kafka.local import LocalKafka
from tests.kafka.certificates import Authority
from tests.kafka.listeners import (
    PASSWORD,
    USER,
    holdfast,
    login,
    reach,
    scram_users,
    secret_file,
    tls,
    token,
)
from tests.live.harness import Worker, committed, until
from tests.live.test_live_equals_replay import small_cdnow

pytestmark = pytest.mark.kafka


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def kafka(authority: Authority) -> Iterator[LocalKafka]:
    """A broker whose clients must encrypt and log in."""
    listener = {"protocol": "SASL_SSL"} | tls(authority) | login()
    with LocalKafka(listener=listener, scram=scram_users(USER)) as running:
        yield running


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster, "CONNECT_MS", 1_000)


@pytest.fixture
def secured(kafka: LocalKafka, authority: Authority, tmp_path: Path) -> dict[str, object]:
    """The security settings that get in."""
    return {
        "protocol": "SASL_SSL",
        "username": USER,
        "password_file": secret_file(tmp_path / "password", PASSWORD),
        "ca_file": str(authority.ca),
    }


def refusal(settings: Settings) -> str:
    with pytest.raises(BrokerRefusal) as caught:
        describe(settings)
    (line,) = caught.value.message.splitlines()
    return line.removeprefix(f"the broker at {settings.kafka.bootstrap} does not let us in: ")


def talk(settings: Settings) -> None:
    """Let each client that commands use say something."""
    create_missing(settings)
    line = small_cdnow()[0].rstrip()
    assert send(settings, [line]).messages == 1
    (record,) = watch(settings, ["orders"], from_beginning=True, count=1, timeout=20.0)
    assert record.value == line


@pytest.mark.parametrize("mechanism", ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"])
def test_name_and_password_get_in(kafka: LocalKafka, secured: dict[str, object], mechanism: str) -> None:
    talk(reach(kafka, secured | {"mechanism": mechanism}))


def test_a_token_gets_in(kafka: LocalKafka, authority: Authority, tmp_path: Path) -> None:
    file = secret_file(tmp_path / "token", token())
    security = {
        "protocol": "SASL_SSL",
        "mechanism": "OAUTHBEARER",
        "token_file": file,
        "ca_file": authority.ca,
    }
    talk(reach(kafka, security | {"ca_file": str(authority.ca)}))


def test_a_worker_runs_from_end_to_end(kafka: LocalKafka, secured: dict[str, object], tmp_path: Path) -> None:
    """Topics made, messages sent, worked on and looked at, all by one login over TLS."""
    settings = reach(kafka, secured, topics__partitions=2, reviews__horizon_days=28)
    (tmp_path / "holdfast.toml").write_text(settings_toml(settings))
    messages = small_cdnow()[:300]
    (tmp_path / "orders.jsonl").write_bytes(b"\n".join(messages) + b"\n")
    for arguments in (("topics", "--create"), ("send", "orders.jsonl")):
        done = holdfast(tmp_path, *arguments)
        assert done.returncode == 0, done.stderr
    with Worker(settings) as worker:
        worker.until_processed(len(messages))
        watched = holdfast(tmp_path, "watch", "segment-changes", "--from-beginning", "--count", "5")
        assert watched.returncode == 0, watched.stderr
        assert len(watched.stdout.splitlines()) == 5
        assert worker.stop() == 0, worker.said()
    assert PASSWORD not in worker.said()
    open_to_all = msgspec.structs.replace(
        settings,
        kafka=msgspec.structs.replace(settings.kafka, bootstrap=kafka.bootstrap),
        security=Settings().security,
    )
    assert sum(committed(open_to_all).values()) == len(messages)


def test_a_worker_outlives_the_sessions_that_its_tokens_buy(
    kafka: LocalKafka, authority: Authority, tmp_path: Path
) -> None:
    """The broker ends a session after three seconds; who comes back brings the token of that moment."""
    file = tmp_path / "token"
    secret_file(file, token(seconds=30.0))
    security = {"protocol": "SASL_SSL", "mechanism": "OAUTHBEARER", "token_file": str(file)}
    settings = reach(kafka, security | {"ca_file": str(authority.ca)}, topics__partitions=2)
    create_missing(settings)
    messages = small_cdnow()[:200]
    with Worker(settings) as worker:
        worker.until_ready()
        began = time.monotonic()
        for number in range(8):  # more than four sessions' worth
            secret_file(file, token(seconds=30.0))
            send(settings, messages[25 * number : 25 * (number + 1)])
            worker.until_processed(25 * (number + 1))
            until(lambda n=number: time.monotonic() - began > 1.7 * (n + 1), "time to go by")
        assert worker.stop() == 0, worker.said()
    assert time.monotonic() - began > 12.0


@pytest.mark.parametrize(
    ("command", "mechanism"),
    [
        ("worker", "PLAIN"),
        ("worker", "SCRAM-SHA-512"),
        ("send some.jsonl", "PLAIN"),
        ("watch", "SCRAM-SHA-256"),
    ],
)
def test_a_wrong_password_is_one_line_and_code_1(
    kafka: LocalKafka, secured: dict[str, object], tmp_path: Path, command: str, mechanism: str
) -> None:
    wrong = "some other password"
    settings = reach(kafka, secured | {"password_file": "", "password": wrong, "mechanism": mechanism})
    (tmp_path / "holdfast.toml").write_text(settings_toml(settings))
    (tmp_path / "some.jsonl").write_bytes(small_cdnow()[0])
    began = time.monotonic()
    done = holdfast(tmp_path, *command.split(), HOLDFAST_SECURITY__PASSWORD=wrong)
    assert time.monotonic() - began < 20.0
    assert done.returncode == 1
    assert done.stderr == (
        f"holdfast: the broker at {kafka.client_bootstrap} does not let us in: "
        f"it refuses the login of {USER} by {mechanism}: wrong name or password\n"
    )
    assert done.stdout == ""


def test_what_is_wrong_has_a_name(
    kafka: LocalKafka, secured: dict[str, object], authority: Authority, tmp_path: Path
) -> None:
    stranger = Authority(tmp_path / "stranger", "Somebody else")
    assert "certificate is not trusted" in refusal(reach(kafka, secured | {"ca_file": str(stranger.ca)}))
    assert "certificate is not trusted" in refusal(reach(kafka, secured | {"ca_file": ""}))
    assert refusal(reach(kafka, {})) == ("it wants TLS, and security.protocol is PLAINTEXT")
    assert refusal(reach(kafka, {"protocol": "SSL", "ca_file": str(authority.ca)})) == (
        "it wants a login (OAUTHBEARER or PLAIN or SCRAM-SHA-256 or SCRAM-SHA-512), "
        "and security.protocol is SSL"
    )
    expired = secret_file(tmp_path / "token", token(seconds=-600))
    security = {"protocol": "SASL_SSL", "mechanism": "OAUTHBEARER", "token_file": expired}
    assert refusal(reach(kafka, security | {"ca_file": str(authority.ca)})) == (
        f"it refuses the token in {expired}"
    )


def test_a_certificate_for_another_name_is_refused_unless_names_are_not_checked(
    kafka: LocalKafka, secured: dict[str, object]
) -> None:
    by_name = {"kafka__bootstrap": kafka.client_bootstrap.replace("127.0.0.1", "localhost")}
    assert "not valid for 'localhost'" in refusal(reach(kafka, secured, **by_name))
    assert describe(reach(kafka, secured | {"check_hostname": False}, **by_name))


def test_a_plaintext_listener_is_told_from_one_with_tls_or_a_login(
    kafka: LocalKafka, secured: dict[str, object]
) -> None:
    open_to_all = {"kafka__bootstrap": kafka.bootstrap}
    assert refusal(reach(kafka, secured, **open_to_all)) == (
        "it does not speak TLS, and security.protocol is SASL_SSL"
    )
    readable = secured | {"protocol": "SASL_PLAINTEXT", "allow_plaintext_credentials": True, "ca_file": ""}
    assert refusal(reach(kafka, readable, **open_to_all)) == (
        "it knows no login there, and security.protocol is SASL_PLAINTEXT"
    )
