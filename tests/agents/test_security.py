"""Encryption and login: what is refused before anything connects, and that a password is never shown."""

from __future__ import annotations

import ast
import asyncio
import logging
import os
import socketserver
import ssl
import stat
import threading
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from agents import cluster, connection
from agents.broker import EmbeddedBroker
from agents.cli import main
from agents.cluster import BrokerAbsent, describe
from agents.connection import (
    Secret,
    aiokafka_arguments,
    check_files,
    faust_credentials,
    kafka_python_arguments,
)
from agents.errors import OperatorError
from agents.sections import SecuritySettings
from agents.settings import Settings, SettingsError, load, settings_toml
from agents.worker_process import WorkerProcess

PASSWORD = "swordfish-7"
CLIENTS = ("AIOKafkaConsumer", "AIOKafkaProducer", "AIOKafkaClient", "KafkaConsumer", "KafkaProducer")
ADMINS = ("KafkaAdminClient", "AIOKafkaAdminClient", "KafkaClient")
ARGUMENTS = {"aiokafka_arguments", "kafka_python_arguments", "connection"}


def settings(**security: object) -> Settings:
    return Settings(security=SecuritySettings(**security))


def scram(**more: object) -> Settings:
    return settings(**({"protocol": "SASL_SSL", "username": "ann", "password": PASSWORD} | more))


def file(path: Path, content: bytes | str, mode: int = 0o600) -> str:
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    path.chmod(mode)
    return str(path)


def complaints(**security: object) -> list[str]:
    with pytest.raises(OperatorError) as caught:
        check_files(SecuritySettings(**security))
    return caught.value.message.splitlines()


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


# What contradicts itself


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"username": "ann"}, "username is set, but protocol PLAINTEXT does not log in; SASL_SSL does"),
        (
            {"protocol": "SSL", "password": "p"},
            "password is set, but protocol SSL does not log in; SASL_SSL does",
        ),
        ({"ca_file": "ca.pem"}, "ca_file is set, but protocol PLAINTEXT does not encrypt"),
        ({"protocol": "SSL", "key_file": "key.pem"}, "key_file is set, but certificate_file is not"),
        (
            {"protocol": "SASL_SSL", "mechanism": "OAUTHBEARER"},
            "mechanism OAUTHBEARER needs token_file",
        ),
        (
            {"protocol": "SASL_SSL", "mechanism": "OAUTHBEARER", "token_file": "t", "username": "ann"},
            "username is set, but mechanism OAUTHBEARER does not use it",
        ),
        (
            {"protocol": "SASL_SSL", "username": "ann", "password": "p", "token_file": "t"},
            "token_file is set, but mechanism SCRAM-SHA-512 does not use it",
        ),
        ({"protocol": "SASL_SSL", "password": "p"}, "mechanism SCRAM-SHA-512 needs username"),
        (
            {"protocol": "SASL_SSL", "username": "ann"},
            "mechanism SCRAM-SHA-512 needs password_file or password",
        ),
        (
            {"protocol": "SASL_SSL", "username": "ann", "password": "p", "password_file": "f"},
            "password and password_file are both set; one of them is enough",
        ),
        (
            {"protocol": "SASL_PLAINTEXT", "username": "ann", "password": "p"},
            "protocol SASL_PLAINTEXT would log in over a connection that anybody can read; "
            "use SASL_SSL, or set allow_plaintext_credentials",
        ),
    ],
)
def test_what_contradicts_itself_or_is_missing_is_one_line(given: dict[str, object], said: str) -> None:
    assert settings(**given).problems() == [f"security: {said}"]


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"protocol": "SSL"},
        {"protocol": "SSL", "certificate_file": "c", "key_file": "k", "check_hostname": False},
        {"protocol": "SASL_SSL", "username": "ann", "password": "p"},
        {"protocol": "SASL_SSL", "mechanism": "PLAIN", "username": "ann", "password_file": "f"},
        {"protocol": "SASL_SSL", "mechanism": "OAUTHBEARER", "token_file": "t", "ca_file": "c"},
        {
            "protocol": "SASL_PLAINTEXT",
            "username": "ann",
            "password": "p",
            "allow_plaintext_credentials": True,
        },
    ],
)
def test_what_is_whole_is_accepted(given: dict[str, object]) -> None:
    assert settings(**given).problems() == []


def test_a_login_over_a_readable_connection_is_refused_by_every_command() -> None:
    Path("holdfast.toml").write_text(
        "[security]\nprotocol = 'SASL_PLAINTEXT'\nusername = 'ann'\npassword_file = 'p'\n"
    )
    for command in ("worker", "topics", "watch", "settings"):
        result = run(command)
        assert result.exit_code == 1
        (line,) = result.stderr.splitlines()
        assert "a connection that anybody can read" in line


# Files


def test_files_that_cannot_be_used_are_told_one_line_each_and_all_of_them(tmp_path: Path) -> None:
    assert complaints(
        protocol="SASL_SSL",
        username="ann",
        password_file="/nowhere/password",
        ca_file=file(tmp_path / "ca.pem", "not a certificate"),
        certificate_file="/nowhere/own.pem",
    ) == [
        "security.password_file: /nowhere/password: No such file or directory",
        f"security.ca_file: {tmp_path}/ca.pem: it holds no certificate in PEM form",
        "security.certificate_file: /nowhere/own.pem: No such file or directory",
    ]


@pytest.mark.parametrize(
    ("content", "said"), [(b"", "it is empty"), (b"\n", "it is empty"), (b"\xff\xfe", "not text in UTF-8")]
)
def test_a_file_without_a_password_is_told(tmp_path: Path, content: bytes, said: str) -> None:
    path = file(tmp_path / "password", content)
    given = {"protocol": "SASL_SSL", "username": "ann", "password_file": path}
    assert complaints(**given) == [f"security.password_file: {path}: {said}"]


@pytest.mark.parametrize("content", [b"", b"two words", b"a\x01b", "tökén".encode()])
def test_a_file_without_a_token_is_told(tmp_path: Path, content: bytes) -> None:
    path = file(tmp_path / "token", content)
    given = {"protocol": "SASL_SSL", "mechanism": "OAUTHBEARER", "token_file": path}
    assert complaints(**given) == [f"security.token_file: {path}: it does not hold one token"]
    missing = given | {"token_file": "/nowhere/token"}
    assert complaints(**missing) == ["security.token_file: /nowhere/token: No such file or directory"]


def test_only_the_end_of_the_line_is_not_part_of_a_password(tmp_path: Path) -> None:
    path = file(tmp_path / "password", " two words \r\n")
    assert kafka_python_arguments(scram(password="", password_file=path))["sasl_plain_password"] == (
        " two words "
    )


def test_a_secret_that_everybody_can_read_is_warned_about_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = file(tmp_path / "password", PASSWORD, mode=0o644)
    private = file(tmp_path / "private", PASSWORD)
    for each in (path, private, path):
        aiokafka_arguments(scram(password="", password_file=each))
    (record,) = [r for r in caplog.records if r.name == connection.__name__]
    assert record.levelno == logging.WARNING
    assert record.getMessage() == (
        f"security.password_file: {path} can be read by every user of this machine (chmod o-r)"
    )


def test_a_token_is_read_anew_for_each_login(tmp_path: Path) -> None:
    path = tmp_path / "token"
    file(path, "first\n")
    chosen = settings(protocol="SASL_SSL", mechanism="OAUTHBEARER", token_file=str(path))
    waiting = aiokafka_arguments(chosen)["sasl_oauth_token_provider"]
    blocking = kafka_python_arguments(chosen)["sasl_oauth_token_provider"]
    faust = faust_credentials(chosen).oauth_cb
    for content in ("first", "second"):
        file(path, content)
        assert asyncio.run(waiting.token()) == asyncio.run(faust.token()) == blocking.token() == content


# What clients are given


def test_a_broker_is_verified_by_name_and_by_nothing_older_than_tls_1_2() -> None:
    for arguments in (aiokafka_arguments(settings(protocol="SSL")), kafka_python_arguments(scram())):
        context = arguments["ssl_context"]
        assert context.check_hostname
        assert context.verify_mode is ssl.CERT_REQUIRED
        assert context.minimum_version is ssl.TLSVersion.TLSv1_2
    unnamed = aiokafka_arguments(settings(protocol="SSL", check_hostname=False))["ssl_context"]
    assert not unnamed.check_hostname
    assert unnamed.verify_mode is ssl.CERT_REQUIRED


@pytest.mark.parametrize("mechanism", ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"])
def test_faust_logs_in_over_tls_whenever_the_settings_say_so(mechanism: str) -> None:
    """Faust falls back to SASL_PLAINTEXT where it gets no SSL context."""
    found = faust_credentials(scram(mechanism=mechanism))
    assert found.protocol.value == "SASL_SSL"
    assert (found.mechanism.value, found.username, found.password) == (mechanism, "ann", PASSWORD)
    readable = faust_credentials(scram(protocol="SASL_PLAINTEXT", allow_plaintext_credentials=True))
    assert (readable.protocol.value, readable.ssl_context) == ("SASL_PLAINTEXT", None)
    assert faust_credentials(settings(protocol="SSL")).protocol.value == "SSL"
    assert faust_credentials(settings()) is None


def test_every_kafka_client_takes_its_arguments_from_one_place() -> None:
    """Each falls back to plaintext when it is told nothing, so none may be made of anything else."""
    made = 0
    for path in Path(connection.__file__).parent.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if not (isinstance(node, ast.Call) and _name(node.func) in CLIENTS + ADMINS):
                continue
            made += 1
            spread = [ast.unparse(keyword.value) for keyword in node.keywords if keyword.arg is None]
            assert any(part.partition("(")[0].split(".")[-1].lstrip("_") in ARGUMENTS for part in spread), (
                f"{path.name}:{node.lineno}"
            )
    assert made >= 6


def _name(function: ast.expr) -> str:
    return ast.unparse(function).split(".")[-1]


@pytest.mark.parametrize("protocol", ["PLAINTEXT", "SSL"])
def test_what_only_closes_connections_is_a_broker_that_is_not_there(
    protocol: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A proxy before a broker that is starting again: no reason to give up for good."""
    monkeypatch.setattr(cluster, "CONNECT_MS", 300)

    class Closing(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            self.request.recv(1)

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Closing) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        overrides = {
            "kafka.bootstrap": f"127.0.0.1:{server.server_address[1]}",
            "security.protocol": protocol,
        }
        with pytest.raises(BrokerAbsent):
            describe(load(Path(os.devnull), {}, overrides))
        server.shutdown()


# What comes from the wire is data


def test_nothing_is_ever_unpickled_or_evaluated() -> None:
    """What comes from a topic is read by types; no module has the means to run it."""
    executing = {"pickle", "_pickle", "cPickle", "cloudpickle", "dill", "joblib", "shelve", "marshal"}
    executing |= {"eval", "exec", "jsonpickle", "yaml"}
    root = Path(connection.__file__).parents[1]
    files = [
        path for part in ("agents", "streams", "schemas", "samples") for path in (root / part).rglob("*.py")
    ]
    assert len(files) > 50
    found = []
    for path in files:
        text = path.read_text()
        assert "allow_pickle" not in text, path
        for node in ast.walk(ast.parse(text)):
            names = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                names = [node.module or ""]
            elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                names = [node.func.id]
            found += [f"{path.name}: {name}" for name in names if name.partition(".")[0] in executing]
    # It writes a document, by safe_dump, and is no part of what runs.
    assert found == ["documents.py: yaml"]


# Passwords


def run(*arguments: str, **variables: str) -> Result:
    return CliRunner().invoke(main, list(arguments), env=variables)


def test_a_password_is_never_shown() -> None:
    secured = scram()
    shown = [
        repr(secured),
        str(secured.security),
        repr(aiokafka_arguments(secured)),
        repr(kafka_python_arguments(secured)),
        repr(faust_credentials(secured)),
        f"{Secret(PASSWORD)!r}",
        settings_toml(secured),
    ]
    assert [text for text in shown if PASSWORD in text] == []


def test_the_command_that_lists_the_settings_says_only_that_it_is_set() -> None:
    file(Path("holdfast.toml"), "[security]\nprotocol = 'SASL_SSL'\nusername = 'ann'\n")
    result = run("settings", HOLDFAST_SECURITY__PASSWORD=PASSWORD)
    assert result.exit_code == 0
    assert "# password is set and not shown" in result.stdout
    assert PASSWORD not in result.output


def test_a_password_of_the_wrong_type_is_not_repeated_and_one_on_the_command_line_is_refused() -> None:
    path = Path("some.toml")
    file(path, "[security]\npassword = 4711\n")
    with pytest.raises(SettingsError) as caught:
        load(path, {}, {})
    assert caught.value.message == "some.toml: security.password must be text, not this one"
    result = run("--set", f"security.password={PASSWORD}", "settings")
    assert result.exit_code == 2
    assert "HOLDFAST_SECURITY__PASSWORD" in result.output
    assert PASSWORD not in result.output


def test_a_worker_process_gets_the_password_in_a_file_that_nobody_else_can_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agents.worker_process.sys.executable", "/bin/true")
    old = tmp_path / "worker.toml"
    file(old, "", mode=0o644)
    worker = WorkerProcess(scram(), tmp_path)
    worker.start()
    worker.kill()
    assert stat.S_IMODE(old.stat().st_mode) == 0o600
    assert load(old, {}, {}) == scram()


def test_the_embedded_broker_takes_no_login_that_is_meant_for_another() -> None:
    environ = {"HOLDFAST_SECURITY__USERNAME": "ann", "HOLDFAST_SECURITY__PASSWORD": PASSWORD}
    overrides = EmbeddedBroker().settings_overrides() | {"kafka.bootstrap": "127.0.0.1:1"}
    environ |= {"HOLDFAST_SECURITY__PROTOCOL": "SASL_SSL"}
    assert load(Path(os.devnull), environ, overrides).security == SecuritySettings()
