"""The command line: what it prints, how it fails, how quickly it answers."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from pathlib import Path

import orjson
import pytest
from click.testing import CliRunner, Result

from agents import cluster
from agents.cli import main
from agents.commands_kafka import WATCHABLE
from agents.settings import Settings, settings_toml
from schemas.topics import TOPICS

PLACE = Path(cluster.__file__).parent.parent


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith("HOLDFAST_")]:
        monkeypatch.delenv(name)


def run(*arguments: str, stdin: bytes | None = None) -> Result:
    result = CliRunner().invoke(main, arguments, input=stdin, prog_name="holdfast")
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


def failure(*arguments: str, code: int) -> str:
    result = run(*arguments)
    assert result.exit_code == code
    assert result.stdout == ""
    for line in result.stderr.splitlines():
        assert line.startswith("holdfast: ")
    return result.stderr.removeprefix("holdfast: ").rstrip("\n")


@pytest.fixture
def configured(broker_settings: Settings) -> Settings:
    """A broker with topics, and a holdfast.toml that leads to it."""
    Path("holdfast.toml").write_text(settings_toml(broker_settings), encoding="utf-8")
    cluster.create_missing(broker_settings)
    return broker_settings


def test_help_names_the_commands_and_nothing_else_is_needed_for_it() -> None:
    for arguments in ((), ("--help",)):
        result = run(*arguments)
        assert result.exit_code == 0
        for name in ("broker", "forget", "sample", "send", "settings", "topics", "watch"):
            assert f"\n  {name} " in result.stdout


@pytest.mark.parametrize("command", sorted(set(main.commands)))
def test_every_command_is_described_in_full_sentences(command: str) -> None:
    result = run(command, "--help")
    assert result.exit_code == 0
    about = main.commands[command].get_short_help_str(limit=200)
    assert about.endswith(".")
    assert not about.endswith("...")


def test_help_loads_no_kafka_client() -> None:
    heavy = {"kafka", "aiokafka", "faust", "rich", "river", "msgspec"}
    code = f"import sys, agents.cli; print(sorted({heavy!r} & set(sys.modules)))"
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=PLACE, capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_every_topic_but_the_internal_ones_can_be_watched() -> None:
    assert set(WATCHABLE) == {spec.name for spec in TOPICS if spec.role != "internal"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("nope",), "No such command 'nope'. (see holdfast --help)"),
        (("sample", "nope"), "No such command 'nope'. (see holdfast sample --help)"),
        (("send",), "Missing argument 'FILE...'. (see holdfast send --help)"),
        (
            ("--set", "x", "settings"),
            "Invalid value for '--set': 'x' is not KEY=VALUE (see holdfast --help)",
        ),
    ],
)
def test_a_wrong_command_line_is_told_in_one_line_with_code_2(
    arguments: tuple[str, ...], message: str
) -> None:
    assert failure(*arguments, code=2) == message


def test_what_can_be_put_right_is_told_in_one_line_with_code_1() -> None:
    assert failure("--config", "none.toml", "settings", code=1) == "none.toml: No such file or directory"
    assert failure("send", "none.jsonl", code=1) == "none.jsonl: No such file or directory"
    assert "did you mean alerts.raise_at?" in failure("--set", "alerts.raise=1", "settings", code=1)


def test_each_problem_has_a_line_of_its_own() -> None:
    said = failure("--set", "alerts.resolve_below=0.9", "--set", "topics.orders=models", "settings", code=1)
    assert len(said.splitlines()) == 2


def test_no_broker_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster, "CONNECT_MS", 100)
    for command in (("topics",), ("watch",)):
        said = failure("--set", "kafka.bootstrap=127.0.0.1:1", *command, code=75)
        assert said.startswith("no Kafka broker answers at 127.0.0.1:1;")


def test_the_settings_in_force_are_a_file_that_gives_them_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOLDFAST_WEB__PORT", "7000")
    result = run("--set", "alerts.raise_at=0.75", "settings")
    assert result.exit_code == 0
    Path("own.toml").write_text(result.stdout, encoding="utf-8")
    monkeypatch.delenv("HOLDFAST_WEB__PORT")
    assert run("--config", "own.toml", "settings").stdout == result.stdout
    found = tomllib.loads(result.stdout)
    assert (found["web"]["port"], found["alerts"]["raise_at"]) == (7000, 0.75)


def test_a_sample_is_the_same_on_standard_output_in_a_file_and_compressed() -> None:
    shown = run("sample", "cdnow", "--tenth")
    assert run("sample", "cdnow", "--tenth", "-o", "a.jsonl").stderr == "6,919 messages written to a.jsonl\n"
    run("sample", "cdnow", "--tenth", "-o", "a.jsonl.gz")
    first = Path("a.jsonl.gz").read_bytes()
    run("sample", "cdnow", "--tenth", "-o", "b.jsonl.gz")
    assert Path("a.jsonl").read_bytes() == shown.stdout_bytes
    assert Path("b.jsonl.gz").read_bytes() == first
    assert first[4:8] == bytes(4)  # gzip's place for the time of writing
    assert shown.stdout_bytes.count(b"\n") == 6919


def test_a_sample_of_the_shop_follows_its_options() -> None:
    few = run("sample", "shop", "--customers", "5", "--days", "10", "--seed", "3")
    assert few.stdout == run("sample", "shop", "--customers", "5", "--days", "10", "--seed", "3").stdout
    assert few.stdout != run("sample", "shop", "--customers", "5", "--days", "10", "--seed", "4").stdout
    assert len({orjson.loads(line).get("userId") for line in few.stdout.splitlines()} - {None}) <= 5


def test_a_file_that_cannot_be_written_is_told() -> None:
    said = failure("sample", "cdnow", "--tenth", "-o", "no/such/place.jsonl", code=1)
    assert said == "no/such/place.jsonl: No such file or directory"


def test_a_reader_that_goes_away_ends_it_quietly() -> None:
    command = [sys.executable, "-m", "agents", "sample", "cdnow"]
    with subprocess.Popen(command, cwd=PLACE, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline().startswith(b'{"messageId":"cdnow-1"')
        process.stdout.close()
        assert process.stderr.read() == b""


@pytest.mark.broker
def test_topics_are_listed_and_made(broker_settings: Settings) -> None:
    Path("holdfast.toml").write_text(settings_toml(broker_settings), encoding="utf-8")
    missing = run("topics")
    assert missing.exit_code == 0
    assert missing.stdout.count(" missing ") == len(TOPICS)
    assert f"{len(TOPICS)} missing; `holdfast topics --create` makes them" in missing.stdout
    made = run("topics", "--create")
    assert f"{len(TOPICS)} created" in made.stdout
    assert " missing " not in made.stdout
    assert "created" not in run("topics", "--create").stdout


@pytest.mark.broker
def test_what_is_sent_can_be_watched(configured: Settings) -> None:
    run("sample", "cdnow", "--tenth", "-o", "a.jsonl.gz")
    sent = run("send", "a.jsonl.gz")
    assert sent.stdout.startswith("6,919 messages of a.jsonl.gz sent in ")
    assert sent.stdout.endswith(
        f": 0 to {configured.topic('clickstream')}, 6,919 to {configured.topic('orders')}\n"
    )
    shown = run("watch", "orders", "--from-beginning", "--count", "7", "--timeout", "10", "--json")
    assert [orjson.loads(line)["event"] for line in shown.stdout.splitlines()] == ["Order Completed"] * 7
    lines = run("watch", "orders", "--from-beginning", "--count", "7", "--timeout", "10").stdout
    assert len(lines.splitlines()) == 7


@pytest.mark.broker
def test_standard_input_can_be_sent(configured: Settings) -> None:
    result = run("send", "-", stdin=b'{"userId":"u"}\n{"userId":"v"}')
    assert result.stdout.startswith("2 messages of standard input sent in ")


@pytest.mark.broker
def test_a_bad_line_is_told_and_as_is_sends_it(configured: Settings) -> None:
    Path("bad.jsonl").write_bytes(b'{"userId":"u"}\noops\n')
    assert failure("send", "bad.jsonl", code=1).startswith("bad.jsonl:2: not a JSON object;")
    assert run("send", "--as-is", "bad.jsonl").exit_code == 0


@pytest.mark.broker
def test_watching_in_vain_ends_with_code_1(configured: Settings) -> None:
    assert failure("watch", "--count", "1", "--timeout", "0.1", code=1) == "0 of 1 messages within 0.1 s"


@pytest.mark.broker
def test_the_broker_says_how_to_use_it_and_stops_when_it_is_told_to() -> None:
    command = [sys.executable, "-m", "agents", "broker", "--port", "0"]
    with subprocess.Popen(command, cwd=PLACE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        said = [process.stdout.readline() for _ in range(8)]
        assert "in memory only" in said[0]
        found = tomllib.loads("".join(said))
        assert found["kafka"]["idempotent_producer"] is False
        listed = run("--set", f"kafka.bootstrap={found['kafka']['bootstrap']}", "topics")
        assert listed.exit_code == 0
        assert " missing " not in listed.stdout
        process.terminate()
        assert process.wait(10) == 130


def test_no_summary_of_a_command_is_cut_on_a_terminal() -> None:
    shown = CliRunner(env={"COLUMNS": "80"}).invoke(main, ["--help"], terminal_width=80).output
    assert "..." not in shown.partition("Commands:")[2]
    assert all(len(command.get_short_help_str(200)) <= 66 for command in main.commands.values())
