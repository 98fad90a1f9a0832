"""Where the CPU time of a replay goes: each of its parts alone, on what it takes in a replay of a file.

Reading, decoding, output, KPIs and evaluation hand nothing back to what feeds them. So one run in memory
keeps its decisions, and each part gets its own of them again, with nobody else at work; the learner, which
does hand back models, is timed call by call in that run. What is left of the run is the merge and the
machines. Parts that run one after the other find the processor's caches warmer than parts that take turns:
what the command takes beyond their sum is told as `rest`, along with what passes decisions on and the report
at the end.

A program of its own (`python -m bench.replay_parts FILE`), for the same reason as the command: what runs is
the compiled hot path where PYTHONPATH leads to one.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from time import process_time
from typing import NamedTuple

import orjson

from agents.lines import Lines
from agents.reading import Reading
from agents.replay import Results, seldom_collected
from agents.settings import Settings, load
from schemas.kpis import RetentionKpis
from schemas.learning import Example, ModelSnapshot
from schemas.sources.registry import decoder_for
from schemas.topics import INPUTS
from streams.customer.decision import Decision
from streams.evaluation.collector import Collector
from streams.playback import Message
from streams.replay import Replay
from streams.value.kpis import KpiMachine

QUESTIONS = 0.1
"""Share of the reviews that ask a question, as the throughput bench has it."""


class Parts(NamedTuple):
    """Seconds of CPU time of each part."""

    read: float
    decode: float
    machines: float
    learner: float
    kpis: float
    evaluation: float
    output: float


class _Untold:
    """Tells no days, so that what is left is output."""

    def follow(self, _: Decision) -> list[RetentionKpis]:
        return []


class _Timed:
    """A learner, and how long it takes."""

    def __init__(self, replay: Replay) -> None:
        assert replay.learner is not None
        self._learn = replay.learner.learn
        self.seconds = 0.0
        replay.learner.learn = self  # type: ignore[method-assign,assignment]

    def __call__(self, example: Example) -> ModelSnapshot | None:
        before = process_time()
        model = self._learn(example)
        self.seconds += process_time() - before
        return model


def parts_of(file: Path, settings: Settings) -> Parts:
    """Take a replay of a file apart, once."""
    with seldom_collected(), TemporaryDirectory(prefix="holdfast-bench-") as folder:
        begun = process_time()
        for _ in Reading([Lines(str(file))], settings.sources).messages():
            pass
        read = process_time() - begun
        reading = Reading([Lines(str(file))], settings.sources)
        messages = list(reading.messages())
        decode = _decode(messages, settings)
        said: list[Decision] = []
        replay = Replay(settings.streams, sink=said.append)
        learner = _Timed(replay)
        begun = process_time()
        replay.run(messages)
        machines = process_time() - begun - decode - learner.seconds
        kpis, collector = KpiMachine(settings.streams), Collector(settings.streams)
        begun = process_time()
        for decision in said:
            kpis.follow(decision)
        following = process_time() - begun
        begun = process_time()
        for decision in said:
            collector.take(decision, replay.first_ms or 0)
        judging = process_time() - begun
        begun = process_time()
        with Results(Path(folder), reading, _Untold()) as results:
            for decision in said:
                results.say(decision)
        output = process_time() - begun
        return Parts(read, decode, machines, learner.seconds, following, judging, output)


def _decode(messages: list[tuple[int, Message]], settings: Settings) -> float:
    decoders = [decoder_for(name, settings.sources) for name in INPUTS]
    most = settings.dead_letters.max_message_bytes
    begun = process_time()
    for source, message in messages:
        decoders[source](message, most)
    return process_time() - begun


def in_microseconds(runs: list[Parts], events: int) -> dict[str, float]:
    """Give the median of each part, in microseconds an event.

    Examples
    --------
    >>> in_microseconds([Parts(0.5, 1.0, 2.0, 0.0, 0.0, 0.0, 0.25)], 1_000_000)["machines"]
    2.0
    """
    return {name: 1e6 * median(getattr(parts, name) for parts in runs) / events for name in Parts._fields}


if __name__ == "__main__":
    chosen = load(Path(os.devnull), {}, {"reviews.question_share": QUESTIONS})
    sys.stdout.buffer.write(orjson.dumps(parts_of(Path(sys.argv[1]), chosen)._asdict()))
