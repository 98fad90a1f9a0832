"""Replaying files: what is written adds up, says the same twice, and can be recomputed from itself."""

from __future__ import annotations

import base64
import gzip
import io
import os
import subprocess
import sys
from datetime import datetime, timedelta
from itertools import pairwise
from math import log
from pathlib import Path
from typing import Any

import msgspec
import orjson
import pytest
from click.testing import CliRunner, Result

from agents import commands_replay
from agents.cli import main
from agents.commands_replay import _progress_of
from agents.lines import Lines
from agents.replay import DEAD_LETTERS, REPORT, RESULTS, replay_files
from agents.report import DECISIONS
from agents.settings import Settings, load
from samples.shop import ShopConfig, messages
from samples.write import lines
from schemas.codec import ORDER_EVENTS, encode
from schemas.learning import ModelSnapshot
from schemas.sources.config import SourceConfig
from schemas.sources.registry import input_of
from schemas.topics import INPUTS
from streams.config import StreamConfig
from streams.customer.decision import Decision
from streams.learning.served import Served, untrained
from streams.replay import Replay

HORIZON_DAYS = 14
SHOP = ShopConfig(
    customers=20,
    days=150,
    seed=7,
    cancelled_share=0.2,
    duplicate_rate=0.03,
    disorder_ms=600_000,
    anonymous_share=0.1,
)
BAD_ORDER = (
    b'{"type":"track","event":"Order Completed","messageId":"x","userId":"secret-customer",'
    b'"timestamp":"2023-02-01T00:00:00Z","properties":{"order_id":"o","revenue":-1}}'
)
ROOT = Path(__file__).parents[2]
INPUT_OF = input_of(SourceConfig())


@pytest.fixture(scope="module")
def shop() -> list[bytes]:
    return list(lines(messages(SHOP)))


@pytest.fixture(scope="module")
def settings() -> Settings:
    return load(
        Path(os.devnull), {}, {"reviews.horizon_days": float(HORIZON_DAYS), "learner.publish_every": 20}
    )


@pytest.fixture(scope="module")
def replayed(
    shop: list[bytes], settings: Settings, tmp_path_factory: pytest.TempPathFactory
) -> tuple[dict[str, Any], Path]:
    """A report, and the folder with the results; two of the lines are no messages."""
    folder = tmp_path_factory.mktemp("replayed")
    (folder / "shop.jsonl").write_bytes(b"".join([*shop[:100], BAD_ORDER, b"\n\noops\n", *shop[100:]]))
    return replay_files(settings, [Lines(str(folder / "shop.jsonl"))], folder / "out"), folder / "out"


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith("HOLDFAST_")]:
        monkeypatch.delenv(name)


def run(*arguments: str, stdin: bytes | None = None) -> Result:
    result = CliRunner().invoke(main, arguments, input=stdin, prog_name="holdfast")
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


def failure(*arguments: str, code: int = 1) -> str:
    result = run(*arguments)
    assert (result.exit_code, result.stdout) == (code, "")
    assert result.stderr.count("\n") == 1
    return result.stderr.removeprefix("holdfast: ").rstrip("\n")


def results(folder: Path) -> dict[str, bytes]:
    assert sorted(path.name for path in folder.iterdir()) == sorted(RESULTS)
    return {name: (folder / name).read_bytes() for name in RESULTS}


def rows(folder: Path, name: str) -> list[dict[str, Any]]:
    return [orjson.loads(line) for line in (folder / name).read_bytes().splitlines()]


def test_every_message_read_has_one_outcome_and_all_of_them_occur_here(
    replayed: tuple[dict[str, Any], Path], shop: list[bytes]
) -> None:
    events = dict(replayed[0]["events"])
    assert events.pop("read") == sum(events.values()) == len(shop) + 2
    assert set(events) == {"applied", "duplicate", "late", "anonymous", "dead"}
    assert all(events.values())


def test_the_report_counts_what_is_in_the_files(replayed: tuple[dict[str, Any], Path]) -> None:
    report, out = replayed
    for name, count in report["decisions"].items():
        assert len(rows(out, f"{name}.jsonl")) == count > 0
    assert len(rows(out, DEAD_LETTERS)) == report["events"]["dead"] == 2
    assert sum(report["dead_by_reason"].values()) == 2
    assert sum(report["alerts_by_state"].values()) == report["decisions"]["alerts"]


def test_every_customer_has_one_segment_and_one_stage(replayed: tuple[dict[str, Any], Path]) -> None:
    report = replayed[0]
    assert sum(report["segments"].values()) == sum(report["lifecycle"].values()) == report["customers"]
    changes = rows(replayed[1], "segment_changes.jsonl")
    latest = {row["customer_id"]: row["current"] for row in changes if row["dimension"] == "rfm"}
    named = {name: size for name, size in report["segments"].items() if size and name != "none"}
    assert named == {
        name: sum(now == name for now in latest.values()) for name in set(latest.values()) - {"none"}
    }


def test_each_line_is_the_message_that_goes_on_the_topic(
    replayed: tuple[dict[str, Any], Path], shop: list[bytes], settings: Settings
) -> None:
    said: list[Decision] = []
    replay = Replay(settings.streams, sink=said.append)
    replay.run((INPUT_OF(line), line) for line in [*shop[:100], BAD_ORDER, b"oops", *shop[100:]])
    for topic, name in DECISIONS.items():
        expected = [
            encode(decision.payload)
            if decision.payload is not None
            else orjson.dumps({"customer_id": decision.customer_id, "erased": True})
            for decision in said
            if decision.topic == topic
        ]
        assert (replayed[1] / f"{name}.jsonl").read_bytes().splitlines() == expected
    assert any(decision.payload is None for decision in said)


def test_every_score_can_be_recomputed_from_the_models_to_the_last_bit(
    replayed: tuple[dict[str, Any], Path], settings: Settings
) -> None:
    out = replayed[1]
    served = {"lr-0": Served(untrained(settings.streams))}
    for line in (out / "models.jsonl").read_bytes().splitlines():
        snapshot = msgspec.json.decode(line, type=ModelSnapshot)
        served[snapshot.model_version] = Served(snapshot)
    scores = [row for row in rows(out, "scores.jsonl") if "erased" not in row]
    assert len({row["model_version"] for row in scores}) > 3
    for row in scores:
        assert served[row["model_version"]].risk(row["features"]) == row["risk"]
    for row in rows(out, "examples.jsonl"):
        assert served[row["model_version"]].risk(list(row["features"].values())) == row["risk"]


def test_the_quality_is_that_of_the_examples_asked_two_horizons_after_the_first_event(
    replayed: tuple[dict[str, Any], Path],
) -> None:
    report, out = replayed
    quality = report["prequential"]
    begin = datetime.fromisoformat(report["first_event"]) + timedelta(days=2 * HORIZON_DAYS)
    judged = [
        (row["risk"], row["label"])
        for row in rows(out, "examples.jsonl")
        if datetime.fromisoformat(row["asked_at"]) >= begin
    ]
    assert 0 < len(judged) == quality["n"] < report["decisions"]["examples"]
    assert quality["churn_rate"] == pytest.approx(sum(label for _, label in judged) / len(judged))
    losses = [-log(risk if label else 1.0 - risk) for risk, label in judged]
    assert quality["log_loss"] == pytest.approx(sum(losses) / len(losses))
    left = [risk for risk, label in judged if label]
    stayed = [risk for risk, label in judged if not label]
    wins = sum((a > b) + 0.5 * (a == b) for a in left for b in stayed)
    assert quality["auc"] == pytest.approx(wins / (len(left) * len(stayed)), abs=2e-3)


def test_the_report_has_the_settings_the_model_and_the_time_but_no_place(
    replayed: tuple[dict[str, Any], Path], settings: Settings
) -> None:
    report, out = replayed
    assert report["settings"] == msgspec.to_builtins(settings.streams)
    last = rows(out, "models.jsonl")[-1]
    assert report["model"]["model_version"] == last["model_version"]
    assert list(report["model"]["coefficients"].values()) == last["coefficient"]
    assert report["model"]["frozen"] is False
    assert report["model"]["spend"] == last["spend"]
    assert "2023-01-01" <= report["first_event"][:10] < report["last_event"][:10] <= "2023-05-31"
    text = (out / REPORT).read_bytes()
    assert text == orjson.dumps(report, option=orjson.OPT_SORT_KEYS | orjson.OPT_INDENT_2) + b"\n"
    assert str(out).encode() not in text


def test_a_bad_line_is_a_dead_letter_with_its_place_and_without_the_customer(
    replayed: tuple[dict[str, Any], Path],
) -> None:
    order, oops = rows(replayed[1], DEAD_LETTERS)
    assert (order["topic"], order["file"], order["line"]) == ("orders", 1, 101)
    assert order["reason"] == "bad_amount"
    assert base64.b64decode(order["value"]) == BAD_ORDER
    assert "secret-customer" not in order["message"]
    assert (oops["topic"], oops["line"], oops["reason"]) == ("clickstream", 103, "not_json")
    assert base64.b64decode(oops["value"]) == b"oops"


def test_a_dead_letter_names_its_file_by_number(shop: list[bytes]) -> None:
    Path("a.jsonl").write_bytes(b"".join(shop[:50]))
    Path("b.jsonl").write_bytes(b"".join(shop[50:60]) + b"[]")
    assert run("replay", "a.jsonl", "b.jsonl").exit_code == 0
    (letter,) = rows(Path("replay-out"), DEAD_LETTERS)
    assert (letter["file"], letter["line"], letter["reason"]) == (2, 11, "wrong_type")


def test_the_same_messages_give_the_same_bytes_however_they_are_read(shop: list[bytes]) -> None:
    whole = b"".join(shop)
    Path("shop.jsonl").write_bytes(whole)
    Path("shop.jsonl.gz").write_bytes(gzip.compress(whole))
    Path("first.jsonl").write_bytes(b"".join(shop[:700]))
    Path("second.jsonl.gz").write_bytes(gzip.compress(b"".join(shop[700:])))
    options = ("--set", "learner.publish_every=20", "replay", "--horizon-days", "14", "--out")
    for out, files in (
        ("a", ["shop.jsonl"]),
        ("b", ["shop.jsonl.gz"]),
        ("c", ["first.jsonl", "second.jsonl.gz"]),
    ):
        assert run(*options, out, *files).exit_code == 0
    command = [sys.executable, "-m", "agents", *options, "d", "-"]
    surroundings = os.environ | {"PYTHONHASHSEED": "12345", "PYTHONPATH": str(ROOT)}
    subprocess.run(command, input=whole, env=surroundings, check=True, capture_output=True)
    first = results(Path("a"))
    assert orjson.loads(first[REPORT])["decisions"]["models"] > 0
    for out in "bcd":
        assert results(Path(out)) == first


def test_a_frozen_model_is_served_throughout_and_twice_the_same(
    replayed: tuple[dict[str, Any], Path], shop: list[bytes]
) -> None:
    models = str(replayed[1] / "models.jsonl")
    Path("shop.jsonl").write_bytes(b"".join(shop))
    for out in "ab":
        result = run("replay", "shop.jsonl", "--horizon-days", "14", "--model", models, "--out", out)
        assert result.exit_code == 0
        assert "frozen, from --model" in result.stdout
    assert results(Path("a")) == results(Path("b"))
    report = orjson.loads(results(Path("a"))[REPORT])
    assert report["model"] == {**replayed[0]["model"], "frozen": True}
    assert report["decisions"]["models"] == 1  # the one that is served
    assert report["prequential"]["n"] > 0
    versions = {row.get("model_version") for row in rows(Path("a"), "scores.jsonl")}
    assert versions == {report["model"]["model_version"], None}


def test_the_horizon_option_goes_above_the_setting(shop: list[bytes]) -> None:
    Path("shop.jsonl").write_bytes(b"".join(shop))
    chosen = run("--set", "reviews.horizon_days=30", "replay", "shop.jsonl", "--horizon-days", "21")
    assert chosen.exit_code == 0
    assert orjson.loads(results(Path("replay-out"))[REPORT])["settings"]["reviews"]["horizon_days"] == 21.0
    assert {row["horizon_days"] for row in rows(Path("replay-out"), "examples.jsonl")} == {21.0}


def test_the_size_limit_of_messages_is_that_of_the_settings(shop: list[bytes]) -> None:
    Path("shop.jsonl").write_bytes(shop[0].replace(b"{", b"{" + b" " * 2_000, 1) + shop[1])
    assert run("--set", "dead_letters.max_message_bytes=2000", "replay", "shop.jsonl").exit_code == 0
    (letter,) = rows(Path("replay-out"), DEAD_LETTERS)
    assert (letter["line"], letter["reason"]) == (1, "too_large")


def test_nothing_to_read_gives_a_report_that_says_so() -> None:
    result = run("replay", "-", stdin=b"\n")
    assert result.exit_code == 0
    report = orjson.loads(results(Path("replay-out"))[REPORT])
    assert report["events"]["read"] == report["customers"] == report["prequential"]["n"] == 0
    assert [report["prequential"][name] for name in ("auc", "log_loss", "ece", "churn_rate")] == [None] * 4
    assert report["first_event"] is report["last_event"] is None
    assert "AUC -, log loss -, ECE -, churn rate -, n 0" in result.stdout


def test_the_summary_says_the_figures_of_the_report(shop: list[bytes]) -> None:
    Path("shop.jsonl").write_bytes(b"".join(shop) + b"oops")
    result = run("replay", "shop.jsonl", "--horizon-days", "14", "--out", "out")
    report = orjson.loads(results(Path("out"))[REPORT])
    said = {line[:17].strip(): line[17:] for line in result.stdout.splitlines()}
    assert said["events"].startswith(f"{len(shop) + 1:,} read: {report['events']['applied']:,} applied, ")
    assert said["dead letters"] == "1 not_json"
    assert said["event time"].startswith("2023-01-0")
    assert said["prequential"].startswith(f"AUC {report['prequential']['auc']:.4f}, log loss ")
    assert said["results"] == f"out: {', '.join(RESULTS)}"
    assert result.stderr == ""


@pytest.mark.parametrize("event", [*sorted(ORDER_EVENTS), "Product Viewed", "order completed", None])
def test_order_events_are_orders_and_everything_else_is_clicks(event: str | None) -> None:
    expected = "orders" if event in ORDER_EVENTS else "clickstream"
    assert INPUTS[INPUT_OF(orjson.dumps({"event": event, "userId": "u"}))] == expected


@pytest.mark.parametrize("line", [b"", b"oops", b"[]", b"\xff\xfe", b"null", b"[" * 100_000])
def test_what_cannot_be_read_is_on_the_clickstream(line: bytes) -> None:
    assert INPUTS[INPUT_OF(line)] == "clickstream"


def test_progress_is_told_as_bytes_events_and_event_time(
    shop: list[bytes], settings: Settings, tmp_path: Path
) -> None:
    Path("shop.jsonl.gz").write_bytes(gzip.compress(b"".join(shop)))
    files = [Lines("shop.jsonl.gz")]
    told: list[tuple[int, int, int]] = []
    replay_files(settings, files, tmp_path / "out", progress=lambda *now: told.append(now))
    done = [0, *(events for _, events, _ in told)]
    assert done[-1] == len(shop)
    assert all(0 < after - before <= 100 for before, after in pairwise(done))
    assert told == sorted(told)
    assert told[len(told) // 2][0] == pytest.approx((files[0].size or 0) / 2, rel=0.1)
    assert [reached for _, _, reached in told] == sorted(reached for _, _, reached in told)


def test_a_terminal_shows_the_bar_and_a_pipe_does_not(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    Path("a.jsonl").write_bytes(b"x" * 1_000)
    files = [Lines("a.jsonl")]
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    with _progress_of(files) as progress:
        assert progress is None
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "120")
    monkeypatch.setattr(commands_replay, "_REFRESH_SECONDS", 0.0)
    for shown in (files, [Lines("-")]):
        monkeypatch.setattr(sys, "stderr", terminal := Terminal())
        with _progress_of(shown) as progress:
            assert progress is not None
            progress(1_000, 1_000, 1_675_209_600_000)
        assert "replay 2023-02-01" in terminal.getvalue()
        assert "events/s" in terminal.getvalue()


def test_what_is_wrong_with_the_files_is_told_in_one_line(shop: list[bytes]) -> None:
    Path("shop.jsonl").write_bytes(shop[0])
    Path("torn.jsonl.gz").write_bytes(gzip.compress(b"".join(shop))[:-100])
    assert failure("replay", "none.jsonl") == "none.jsonl: No such file or directory"
    assert failure("replay", ".") == ".: Is a directory"
    assert failure("replay", "torn.jsonl.gz").startswith("torn.jsonl.gz: not a whole gzip file: ")
    assert failure("replay", "shop.jsonl", "--out", "shop.jsonl/out") == "shop.jsonl/out: Not a directory"
    assert "'shop.jsonl' is a file" in failure("replay", "shop.jsonl", "--out", "shop.jsonl", code=2)
    assert "0.0<x<=3650.0" in failure("replay", "shop.jsonl", "--horizon-days", "0", code=2)


def test_a_replay_that_fails_leaves_the_results_of_the_one_before(shop: list[bytes]) -> None:
    Path("shop.jsonl").write_bytes(b"".join(shop[:200]))
    Path("torn.jsonl.gz").write_bytes(gzip.compress(b"".join(shop))[:-100])
    run("replay", "shop.jsonl")
    before = results(Path("replay-out"))
    failure("replay", "torn.jsonl.gz")
    assert results(Path("replay-out")) == before
    run("replay", "shop.jsonl", "--horizon-days", "7")
    assert results(Path("replay-out"))[REPORT] != before[REPORT]


def test_a_model_that_cannot_be_served_is_told_in_one_line(shop: list[bytes]) -> None:
    Path("shop.jsonl").write_bytes(shop[0])
    good = untrained(StreamConfig())
    swapped = msgspec.structs.replace(good, features=["height", *good.features[1:]])
    short = msgspec.structs.replace(good, centre=good.centre[1:])

    def told(content: bytes) -> str:
        Path("models.jsonl").write_bytes(content)
        said = failure("replay", "shop.jsonl", "--model", "models.jsonl")
        return said.removeprefix("models.jsonl: ")

    assert told(b"").startswith("does not end in a model: ")
    assert told(b'{"version":1}\n').startswith("does not end in a model: ")
    assert told(b"\xff\xfe").startswith("does not end in a model: ")
    assert told(msgspec.json.encode(good) + b"\n" + msgspec.json.encode(swapped)).startswith(
        "model lr-0 speaks of other features than this program: "
    )
    assert told(msgspec.json.encode(short)) == "model lr-0 lacks a centre or a coefficient"
    other = msgspec.structs.replace(good, horizon_days=84.0)
    assert told(msgspec.json.encode(other)) == "model lr-0 is of a horizon of 84 days, not of 30"
    assert "does not exist" in failure("replay", "shop.jsonl", "--model", "none.jsonl", code=2)
