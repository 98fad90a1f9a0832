"""Replaying files: the edge of `streams.replay`.

Files of messages go in, one message a line; decisions come out as files of lines, each line the very
bytes that a worker puts on the topic, and a report. Results replace those of an earlier replay all at
once, at the end: a replay that fails, or is stopped, leaves what was there. Nothing here decides
anything about customers, and nothing depends on when it ran.
"""

from __future__ import annotations

import base64
import gc
import shutil
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Protocol

import msgspec
import orjson

from agents.errors import OperatorError
from agents.explanations import rhythm_at, why_alert
from agents.reading import Reading, Source
from agents.report import DECISIONS, compared, encode_report, report
from agents.report_page import page
from agents.settings import Settings
from schemas.codec import WireError, encode
from schemas.decisions import ChurnAlert, CustomerScore
from schemas.kpis import RetentionKpis
from schemas.learning import ModelSnapshot
from schemas.topics import INPUTS
from streams.customer.decision import Decision
from streams.evaluation.bootstrap import Sample, compare
from streams.evaluation.collector import Collector
from streams.replay import Replay
from streams.value.kpis import KpiMachine

REPORT = "report.json"
PAGE = "report.html"
VARIANTS = "variants"
RESAMPLES = 200
SEED = 1
KPIS = "retention_kpis.jsonl"
DEAD_LETTERS = "dead_letters.jsonl"
RESULTS = (REPORT, PAGE, *(f"{name}.jsonl" for name in DECISIONS.values()), KPIS, DEAD_LETTERS)
"""The files that a replay writes."""

_MOST_OPEN = 10

_LINES_AT_ONCE = 100
"""Messages of a topic that are encoded together; the bytes are those of `schemas.codec.encode`."""

_encode_lines = msgspec.json.Encoder().encode_lines

Progress = Callable[[int, int, int], None]
"""Takes bytes done, events done, and the newest event time in epoch milliseconds."""


def replay_files(
    settings: Settings,
    files: Sequence[Source],
    out: Path,
    model: ModelSnapshot | None = None,
    progress: Progress | None = None,
    variants: Mapping[str, Settings] | None = None,
    resamples: int = RESAMPLES,
) -> dict[str, Any]:
    """Replay files one after the other and write what comes out.

    Parameters
    ----------
    settings
        Their stream settings decide; of the rest, only the size limit of a message counts.
    files
        Messages in event-time order, one a line, and the files themselves in that order too. A line
        that breaks the contract, JSON or not, is a dead letter; a blank one is nothing.
    out
        Folder for the results; made when it is not there.
    model
        A model to serve throughout; without it one is learned on the way.
    progress
        Called every hundred events at least.
    variants
        Other settings by name; each replays the same files into `variants/NAME` and is compared.
    resamples
        How many times customers are drawn for the intervals of a comparison.

    Returns
    -------
    dict
        The report, as `agents.report.report` gives it.

    Raises
    ------
    OperatorError
        When a file cannot be read or the results cannot be written.
    """
    try:
        out.mkdir(parents=True, exist_ok=True)
        with seldom_collected(), TemporaryDirectory(prefix=".replay-", dir=out) as folder:
            content = _replay_all(Path(folder), settings, files, model, progress, variants or {}, resamples)
            shutil.rmtree(out / VARIANTS, ignore_errors=True)
            if variants:
                Path(folder, VARIANTS).replace(out / VARIANTS)
            for name in reversed(RESULTS):  # the report last: where it is new, all is
                Path(folder, name).replace(out / name)
    except OSError as error:  # of writing: what goes wrong in reading is told by `Lines`
        raise OperatorError(f"{out}: {error.strerror or error}") from None
    return content


@contextmanager
def seldom_collected() -> Iterator[None]:
    """Look for reference cycles seldom: states have none, and looking goes through all of them each time.

    What there is before is passed over: modules make no cycles while they are in use.
    """
    before = gc.get_threshold()
    gc.freeze()
    gc.set_threshold(100_000, 20, 1_000)
    try:
        yield
    finally:
        gc.set_threshold(*before)
        gc.unfreeze()


def _replay_all(
    folder: Path,
    settings: Settings,
    files: Sequence[Source],
    model: ModelSnapshot | None,
    progress: Progress | None,
    variants: Mapping[str, Settings],
    resamples: int,
) -> dict[str, Any]:
    content, sample = _replay_into(folder, settings, files, model, progress)
    if variants:
        others, samples = [], [sample]
        for name, own in variants.items():
            place = folder / VARIANTS / name
            place.mkdir(parents=True)
            other, sample = _replay_into(place, own, files, model, progress)
            _write(place, other)
            others.append((name, other))
            samples.append(sample)
        content["comparison"] = compared(content, others, compare(samples, resamples, SEED), resamples)
    _write(folder, content)
    return content


def _write(folder: Path, content: dict[str, Any]) -> None:
    (folder / PAGE).write_text(page(content), encoding="utf-8")
    (folder / REPORT).write_bytes(encode_report(content))


def _replay_into(
    folder: Path,
    settings: Settings,
    files: Sequence[Source],
    model: ModelSnapshot | None,
    progress: Progress | None,
) -> tuple[dict[str, Any], Sample]:
    reading = Reading(files, settings.sources)
    collector = Collector(settings.streams)
    with Results(folder, reading, KpiMachine(settings.streams)) as results:
        say, take = results.say, collector.take

        def sink(decision: Decision) -> None:
            say(decision)
            take(decision, replay.first_ms or 0)

        replay = Replay(
            settings.streams,
            sink=sink,
            refuse=results.refuse,
            model=model,
            max_bytes=settings.dead_letters.max_message_bytes,
        )
        for done in replay.steps(reading.messages()):
            if progress:
                progress(_bytes_done(reading, replay, done), done, replay.last_ms or 0)
    content = report(replay, results.alert_states, results.dead_reasons)
    content["evaluation"] = collector.figures(replay.first_ms, replay.last_ms)
    content["evaluation"]["open_alerts"] = results.open_alerts()
    return content, collector.sample()


def _bytes_done(reading: Reading, replay: Replay, events: int) -> int:
    """Estimate the bytes of what has been processed: a replay reads thousands of messages ahead."""
    read = replay.events["read"]
    waiting = read - replay.events["dead"] - events
    return reading.bytes_read * (read - waiting) // read


class Telling(Protocol):
    """Takes decisions and tells days, as `KpiMachine` does."""

    def follow(self, decision: Decision, /) -> list[RetentionKpis]:
        """Take the next decision; tell the days that are over with it."""


class Results:
    """The files of lines while they are written, and what has to be counted on the way."""

    def __init__(self, folder: Path, reading: Reading, kpis: Telling) -> None:
        self.alert_states: Counter[str] = Counter()
        self.dead_reasons: Counter[str] = Counter()
        self._open: dict[str, ChurnAlert] = {}
        self._scores: dict[str, CustomerScore] = {}
        self._folder = folder
        self._reading = reading
        self._kpis = kpis
        self._stack = ExitStack()

    def __enter__(self) -> Results:
        def opened(name: str) -> Any:
            return self._stack.enter_context((self._folder / name).open("wb"))

        self._topics = {topic: opened(f"{name}.jsonl") for topic, name in DECISIONS.items()}
        self._waiting: dict[str, list[msgspec.Struct | msgspec.Raw]] = {topic: [] for topic in DECISIONS}
        self._stack.callback(self._flush)  # before the files are closed
        self._told = opened(KPIS)
        self._dead = opened(DEAD_LETTERS)
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def say(self, decision: Decision) -> None:
        """Write a decision, and the days of KPIs that are over with it."""
        topic, customer_id, payload = decision
        waiting = self._waiting[topic]
        if payload is None:
            waiting.append(msgspec.Raw(orjson.dumps({"customer_id": customer_id, "erased": True})))
        else:
            waiting.append(payload)
            if isinstance(payload, CustomerScore):
                if customer_id in self._open:
                    self._scores[customer_id] = payload
            elif isinstance(payload, ChurnAlert):
                self._follow(payload)
        if len(waiting) == _LINES_AT_ONCE:
            self._write(topic)
        for day in self._kpis.follow(decision):
            self._told.write(encode(day) + b"\n")

    def _follow(self, alert: ChurnAlert) -> None:
        self.alert_states[alert.state] += 1
        self._open[alert.customer_id] = alert
        if alert.state == "resolved":
            del self._open[alert.customer_id]
            self._scores.pop(alert.customer_id, None)

    def _write(self, topic: str) -> None:
        self._topics[topic].write(_encode_lines(self._waiting[topic]))
        self._waiting[topic].clear()

    def _flush(self) -> None:
        for topic in self._topics:
            self._write(topic)

    def open_alerts(self) -> list[dict[str, Any]]:
        """Tell of the open alerts with the most at risk, with their reasons in words."""
        most = sorted(self._open.values(), key=lambda alert: (-alert.value_at_risk, alert.id))[:_MOST_OPEN]
        return [
            {
                "customer_id": alert.customer_id,
                "since": alert.episode_started_at.date().isoformat(),
                "state": alert.state,
                "risk": alert.risk,
                "value_at_risk": alert.value_at_risk,
                "why": why_alert(alert, rhythm_at(alert, self._scores.get(alert.customer_id))),
            }
            for alert in most
        ]

    def refuse(self, source: int, value: bytes | None, error: WireError) -> None:
        """Write a dead letter."""
        self.dead_reasons[error.reason] += 1
        # A message is refused as soon as it is read, so the reading still stands at its line.
        letter = {
            "topic": INPUTS[source],
            "file": self._reading.file,
            "line": self._reading.line,
            "reason": error.reason,
            "message": error.detail,
            "value": None if value is None else base64.b64encode(value).decode(),
        }
        self._dead.write(orjson.dumps(letter, option=orjson.OPT_APPEND_NEWLINE))
