"""The command that erases customers: what it refuses, what it says, what it leaves behind."""

from __future__ import annotations

import os
from datetime import datetime, timezone
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner, Result

from agents import cluster, forget
from agents.cli import main
from agents.cluster import LayoutError, create_missing
from agents.commands_forget import receipt_lines
from agents.errors import OperatorError
from agents.forget import Compacted, Forgotten, Kept, Receipt, Tombstone
from agents.settings import Settings, settings_toml
from schemas.erasures import decode_request
from schemas.topics import ERASURES, TOPIC_BY_NAME, TOPICS
from tests.live.harness import read_topic

NOON = datetime(2026, 3, 1, 12, tzinfo=timezone.utc)
DAY_MS = 86_400_000


def receipt(**changes: object) -> Receipt:
    given = Receipt(
        version=1,
        requested_at=NOON,
        done_at=NOON,
        customers=[
            Forgotten("c-17", [Tombstone("log", 0, 5), Tombstone("log", 1, 7), Tombstone("scores", 0, 2)])
        ],
        compacted=[Compacted("log", 7 * DAY_MS), Compacted("scores", None)],
        kept=[
            Kept("alerts", "delete", 3 * DAY_MS),
            Kept("orders", "delete", -1),
            Kept("clicks", "compact", 7 * DAY_MS),
            Kept("letters", "delete", None),
        ],
    )
    return msgspec.structs.replace(given, **changes)


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith("HOLDFAST_")]:
        monkeypatch.delenv(name)


def run(*arguments: str, stdin: bytes | None = None) -> Result:
    result = CliRunner().invoke(main, ("forget", *arguments), input=stdin, prog_name="holdfast")
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


def asked_for(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    asked = []

    def fake(_settings: Settings, ids: list[str], **_options: object) -> Receipt:
        asked.append(ids)
        return receipt()

    monkeypatch.setattr(forget, "forget", fake)
    return asked


# The command line


def test_ids_come_from_arguments_files_and_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = asked_for(monkeypatch)
    Path("ids").write_text("c-3\n\n  c-4 \r\n")
    assert run("c-1", "c-2", "--file", "ids").exit_code == 0
    assert run("c-1", "-", stdin=b"c-5\nc-6").exit_code == 0
    assert run("--file", "-", stdin=b"c-7\n").exit_code == 0
    assert asked == [["c-1", "c-2", "c-3", "c-4"], ["c-1", "c-5", "c-6"], ["c-7"]]


def test_nobody_named_is_a_wrong_command_line() -> None:
    for result in (run(), run("-", stdin=b"\n")):
        assert result.exit_code == 2
        assert result.stderr.startswith("holdfast: name a customer")


def test_a_file_that_is_not_text_is_told() -> None:
    Path("ids").write_bytes(b"c-1\n\xff\n")
    result = run("--file", "ids")
    assert (result.exit_code, result.stderr) == (1, "holdfast: ids:2: not UTF-8\n")


def test_a_receipt_as_json_can_be_read_again(monkeypatch: pytest.MonkeyPatch) -> None:
    asked_for(monkeypatch)
    assert msgspec.json.decode(run("c-17", "--json").stdout, type=Receipt) == receipt()


def test_a_receipt_says_what_is_gone_what_stays_and_for_how_long(monkeypatch: pytest.MonkeyPatch) -> None:
    asked_for(monkeypatch)
    assert run("c-17").stdout.splitlines() == list(receipt_lines(receipt()))
    assert list(receipt_lines(receipt())) == [
        "c-17: erased (requested 2026-03-01 12:00:00 UTC, done 12:00:00 UTC)",
        "  tombstones on log, partition:offset 0:5 1:7",
        "  tombstones on scores, partition:offset 0:2",
        "What the tombstones replace is gone when the broker has compacted:",
        "  log: within 7 days or so",
        "  scores: no limit of time (max.compaction.lag.ms)",
        "Messages about them stay until their time is over:",
        "  alerts: 3 days",
        "  orders: for ever",
        "  clicks: for as long as the shop wants (cleanup.policy=compact)",
        "  letters: as long as the broker's default says",
        "Events of theirs that come from now on start a new customer.",
    ]


# Asking


@pytest.mark.parametrize("bad", ["", " c", "null", "x" * 1000, "a\x00b"])
def test_an_id_that_no_customer_can_have_is_refused_before_anything_is_asked(
    no_broker: Settings, bad: str
) -> None:
    with pytest.raises(OperatorError, match=r"^customer 2 of 2: userId "):
        forget.forget(no_broker, ["c-1", bad], timeout=1)


def test_every_topic_about_customers_is_named_in_a_receipt() -> None:
    named = {*forget.COMPACTED, *forget.KEPT}
    totals = {"model version", "constant", "day"}
    assert named == {spec.name for spec in TOPICS if spec.key not in totals}
    assert all(TOPIC_BY_NAME[name].cleanup == "compact" for name in forget.COMPACTED)


def test_no_broker_is_told(no_broker: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster, "CONNECT_MS", 100)
    with pytest.raises(OperatorError, match="no Kafka broker answers"):
        forget.forget(no_broker, ["c-1"], timeout=1)


@pytest.mark.broker
def test_missing_topics_are_told(broker_settings: Settings) -> None:
    with pytest.raises(LayoutError, match="erasures does not exist"):
        forget.forget(broker_settings, ["c-1"], timeout=1)


@pytest.mark.broker
def test_without_a_worker_it_says_that_the_request_stands(broker_settings: Settings) -> None:
    create_missing(broker_settings)
    Path("holdfast.toml").write_text(settings_toml(broker_settings), encoding="utf-8")
    result = run("c-17", "c-18", "c-17", "--timeout", "0.3")
    assert result.exit_code == 1
    assert result.stdout == ""
    assert result.stderr == (
        "holdfast: not done within 0.3 s: no worker has come to it in partitions 0, 1, 2, 3; the request "
        "stands and is done as soon as a worker runs and has caught up; the same command again gives a "
        "receipt\n"
    )
    asked = read_topic(broker_settings, ERASURES)
    assert sorted((m.partition, m.key) for m in asked) == [
        (number, key) for number in range(4) for key in (b"c-17", b"c-18")
    ]
    inputs = {broker_settings.topic(name) for name in ("clickstream", "orders")}
    assert all(decode_request(m.value or b"").until == dict.fromkeys(inputs, 0) for m in asked)
