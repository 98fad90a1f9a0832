"""The demo: it ends by itself, says what the topics say, looks decent, and fails in one line."""

from __future__ import annotations

import io
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner
from rich.console import Console

from agents import client, commands_demo, demo, demo_ends
from agents.cli import main
from agents.cluster import create_missing
from agents.demo_ends import Feed, Sender
from agents.demo_summary import summary
from agents.errors import OperatorError
from agents.live_view import Scene
from agents.settings import Settings, load
from agents.worker_process import Counters, counters_of, last_words
from samples.cdnow import messages
from samples.write import lines
from schemas.decisions import ChurnAlert, SegmentChange
from schemas.learning import Example, ModelSnapshot
from schemas.topics import CHURN_ALERTS, EXAMPLES, MODELS, SEGMENT_CHANGES
from streams.config import DAY_MS

PATIENCE_SECONDS = 60.0
ROOT = Path(demo.__file__).parents[1]


def until(holds: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not holds():
        assert time.monotonic() < deadline, f"{what}: not within {PATIENCE_SECONDS:g} s"
        time.sleep(0.02)


def sixty_customers() -> Iterator[dict[str, Any]]:
    return (message for message in messages() if int(message["userId"]) <= 60)


def configure(overrides: Mapping[str, object]) -> Settings:
    return load(Path(os.devnull), {}, {**commands_demo.CHOSEN, **overrides})


# A whole run


class Topics:
    """What the topics held when the summary was written, read by somebody else."""

    def __init__(self, settings: Settings, counted: int) -> None:
        self.alerts: list[ChurnAlert] = []
        self.changes: list[SegmentChange] = []
        self.examples: list[Example] = []
        self.models: list[ModelSnapshot] = []
        kept: dict[str, tuple[list[Any], type[Any]]] = {
            CHURN_ALERTS: (self.alerts, ChurnAlert),
            SEGMENT_CHANGES: (self.changes, SegmentChange),
            EXAMPLES: (self.examples, Example),
            MODELS: (self.models, ModelSnapshot),
        }
        for record in client.watch(
            settings, list(kept), from_beginning=True, count=counted, timeout=PATIENCE_SECONDS
        ):
            messages, kind = kept[record.topic]
            messages.append(msgspec.json.decode(record.value or b"", type=kind))


@pytest.mark.broker
def test_it_ends_by_itself_and_its_summary_says_what_the_topics_say(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(demo_ends, "AHEAD_MS", 90 * DAY_MS)  # quicker; the pace has a test of its own
    known: list[Settings] = []
    seen: list[Topics] = []

    def remembering(overrides: Mapping[str, object]) -> Settings:
        known.append(configure(overrides))
        return known[0]

    def reading(scene: Scene) -> object:
        seen.append(Topics(known[0], scene.tally.read.total() + scene.learned))
        return summary(scene)

    monkeypatch.setattr(demo, "summary", reading)
    paper = io.StringIO()
    console = Console(file=paper, width=1_000)
    tally = demo.run(remembering, sixty_customers, console, demo.Options(plain=True, timeout=120.0))
    said, (topics,) = paper.getvalue(), seen

    assert "60 customers placed 251 orders from 1997-01-01 to 1998-06-13." in said
    steps = Counter(alert.state for alert in topics.alerts)
    causes = Counter(alert.cause for alert in topics.alerts if alert.state == "resolved")
    assert tally.steps == steps
    assert steps["raised"] > 5
    assert f"{steps['raised']} alerts raised, {steps['escalated']} of them escalated." in said
    assert (
        f"{causes['ordered']} resolved because the customer came back, {causes['risk_fell']} because the "
        f"risk fell, {causes['lapsed']} lapsed after 365 days of silence; "
        f"{steps['raised'] - steps['resolved']} still open."
    ) in said
    assert f"Segments: {len(topics.changes)} changes" in said
    moves = Counter((c.previous, c.current) for c in topics.changes if c.dimension == "rfm" and c.previous)
    assert f"{moves.most_common(1)[0][1]}  " in said
    newest = topics.models[-1]
    assert newest.n_learned == len({example.id for example in topics.examples}) > 1_000
    assert f"{newest.model_version} has learned from {newest.n_learned:,} answers." in said
    assert f"n = {newest.metrics['n']:,.0f}: AUC {newest.metrics['auc']:.3f}" in said
    assert said.endswith("Stopping console, worker and broker.\n")
    assert list(tmp_path.iterdir()) == []


# How it fails


def command(*arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(main, ["demo", *arguments], prog_name="holdfast")
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, result.stderr


@pytest.fixture
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(commands_demo, "leave_on_sigterm", lambda: None)


@pytest.mark.broker
@pytest.mark.usefixtures("_elsewhere")
def test_a_worker_that_dies_is_told_in_one_line_with_the_end_of_its_log(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        ports = iter([port, demo._free_port()])
        monkeypatch.setattr(demo, "_free_port", lambda: next(ports))
        code, said = command("--plain")
    (folder,) = tmp_path.glob("holdfast-demo-*")
    assert code == 1
    assert said == (
        "holdfast: the worker ended by itself, with exit code 1: cannot serve metrics at "
        f"127.0.0.1:{port}: Address already in use; set web.port to another, or 0 "
        f"(whole log: {folder / 'worker.log'})\n"
    )


@pytest.mark.broker
@pytest.mark.usefixtures("_elsewhere")
def test_a_demo_that_takes_too_long_says_how_far_it_came(tmp_path: Path) -> None:
    code, said = command("--plain", "--timeout", "1")
    assert code == 1
    assert said == (
        "holdfast: not done in time: 0 of 6,919 orders processed, 0 examples learned; "
        "--timeout gives it longer\n"
    )
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux ends children with their parent")
def test_a_worker_does_not_outlive_a_demo_that_is_killed(tmp_path: Path) -> None:
    code = (
        "import pathlib, sys, time\n"
        "from agents.settings import load\n"
        "from agents.worker_process import WorkerProcess\n"
        "folder = pathlib.Path(sys.argv[1])\n"
        "worker = WorkerProcess(load(folder / 'none.toml', {}, {}), folder)\n"
        "worker.start()\n"
        "print(worker.pid, flush=True)\n"
        "time.sleep(600)\n"
    )
    (tmp_path / "none.toml").touch()
    with subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)], cwd=ROOT, stdout=subprocess.PIPE, text=True
    ) as parent:
        assert parent.stdout is not None
        worker = int(parent.stdout.readline())
        assert alive(worker)
        parent.kill()
    until(lambda: not alive(worker), "the end of the worker")


def alive(pid: int) -> bool:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return stat.rpartition(")")[2].split()[0] != "Z"


@pytest.mark.parametrize(
    ("log", "words"),
    [
        ("\x1b[?25lholdfast: no broker\n\x1b[?25h", "no broker"),
        (
            "Traceback\nagents.errors.OperatorError: x\n  File 'a', line 1 in run\n",
            "agents.errors.OperatorError: x",
        ),
        ("only this\n", "only this"),
        ("", "its log is empty"),
    ],
)
def test_the_line_of_a_log_that_says_most_is_found(log: str, words: str) -> None:
    assert last_words(log) == words


# The command


def test_the_command_passes_on_what_it_was_asked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(commands_demo, "leave_on_sigterm", lambda: None)
    asked: list[tuple[Settings, int, demo.Options]] = []

    def run(configure: Any, source: Any, _console: Console, options: demo.Options) -> None:
        asked.append((configure({"web.port": 7}), sum(1 for _ in source()), options))

    monkeypatch.setattr(demo, "run", run)
    overrides = ["--set", "reviews.horizon_days=30", "--set", "web.port=6"]
    for arguments in (["demo"], [*overrides, "demo", "--sample", "all", "--serve", "--timeout", "9"]):
        result = CliRunner().invoke(main, arguments, prog_name="holdfast")
        assert result.exit_code == 0, result.output
    (first, tenth, usual), (second, everyone, chosen) = asked
    assert (tenth, everyone) == (6_919, 69_659)
    assert usual == demo.Options(plain=True, serve=False, timeout=600.0)  # no terminal here
    assert chosen == demo.Options(plain=True, serve=True, timeout=9.0)
    assert (first.reviews.horizon_days, second.reviews.horizon_days) == (84.0, 30.0)
    assert first.web.port == second.web.port == 7


# The two ends


@pytest.mark.broker
def test_the_sender_stays_within_two_weeks_of_the_worker(broker_settings: Settings) -> None:
    create_missing(broker_settings)
    feed = Feed.of(sixty_customers())
    sender = Sender(broker_settings, feed)

    def within(processed: int) -> int:
        begin_ms = feed.times_ms[processed]
        return sum(time_ms <= begin_ms + demo_ends.AHEAD_MS for time_ms in feed.times_ms)

    def counters(processed: int, said: int = 0) -> Counters:
        return Counters(processed, {EXAMPLES: said}, 0, 0, 4, None)

    sender.start()
    until(lambda: sender.sent == within(0), "the first two weeks")
    sender.follow(counters(100, said=demo_ends.MOST_UNLEARNED + 1))
    assert sender.sent == within(0)  # the learner is behind
    sender.follow(counters(100))
    until(lambda: sender.sent == within(100), "two weeks more")
    for processed in range(100, len(feed.lines)):  # a customer base this small has pauses of weeks
        sender.follow(counters(processed))
        until(lambda reached=processed: sender.sent > reached, "the next order, however long after")
    until(lambda: sender.sent == len(feed.lines), "all orders")
    sender.stop()
    found = client.watch(
        broker_settings, ["orders"], from_beginning=True, count=len(feed.lines), timeout=20.0
    )
    assert sorted(record.value or b"" for record in found) == sorted(
        line.rstrip(b"\n") for line in lines(sixty_customers())
    )


@pytest.mark.broker
def test_a_sender_that_fails_says_so_where_it_is_followed(broker_settings: Settings) -> None:
    sender = Sender(broker_settings, Feed.of(sixty_customers()))  # to topics that nobody has made
    sender.start()

    def failed() -> bool:
        try:
            sender.follow(Counters(0, {}, 0, 0, 4, None))
        except OperatorError as error:
            return "does not exist" in error.message
        return False

    until(failed, "the failure")


def test_counters_are_read_from_the_metrics_of_a_worker() -> None:
    exposition = (
        "# TYPE holdfast_records counter\n"
        'holdfast_records_total{topic="orders",outcome="applied"} 5.0\n'
        'holdfast_records_total{topic="orders",outcome="late"} 2.0\n'
        'holdfast_records_total{topic="clickstream",outcome="dead"} 1.0\n'
        "# TYPE holdfast_decisions counter\n"
        'holdfast_decisions_total{topic="examples"} 9.0\n'
        "# TYPE holdfast_learned_examples counter\n"
        "holdfast_learned_examples_total 6.0\n"
        "# TYPE holdfast_repeated_examples counter\n"
        "holdfast_repeated_examples_total 2.0\n"
        "# TYPE holdfast_dead_letters counter\n"
        'holdfast_dead_letters_total{topic="eu.examples",reason="not_json"} 1.0\n'
        'holdfast_dead_letters_total{topic="clickstream",reason="not_json"} 1.0\n'
        "# TYPE holdfast_recovery_seconds gauge\n"
        'holdfast_recovery_seconds{partition="0"} 0.1\n'
        'holdfast_recovery_seconds{partition="1"} 0.1\n'
        "# TYPE holdfast_watermark_seconds gauge\n"
        'holdfast_watermark_seconds{partition="0"} 20.5\n'
        'holdfast_watermark_seconds{partition="1"} 0.0\n'
    )
    assert counters_of(exposition, "eu.examples") == Counters(8, {"examples": 9}, 6, 9, 2, 20_500)
