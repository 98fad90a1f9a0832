"""What the learner draws: it goes on after a restart, two replays say the same, and nothing costs nothing."""

from __future__ import annotations

from functools import cache, partial

import msgspec
import pytest

from schemas.codec import encode
from schemas.learning import Example, ModelSnapshot
from schemas.topics import EXAMPLES
from streams.config import LearnerConfig, ReviewConfig, SegmentConfig, StreamConfig
from streams.customer.decision import Decision
from streams.learning.machine import Checkpoint, LearnerMachine
from streams.replay import Replay
from streams.segments.clusters import BEHAVIOURS
from tests.streams.build import simulated

BOTH = StreamConfig(
    reviews=ReviewConfig(horizon_days=14.0),
    segments=SegmentConfig(borders="learned", clusters=3),
    learner=LearnerConfig(publish_every=250),
)
PLAIN = msgspec.structs.replace(BOTH, segments=SegmentConfig())


@cache
def examples() -> tuple[Example, ...]:
    found: list[Example] = []
    replay = Replay(PLAIN, sink=lambda said: found.append(said.payload) if said.topic == EXAMPLES else None)
    replay.run(simulated(400, 130, seed=4))
    return tuple(found)


def learned(learner: LearnerMachine, some: tuple[Example, ...]) -> list[ModelSnapshot]:
    return [model for model in map(learner.learn, some) if model is not None]


@cache
def uninterrupted() -> tuple[ModelSnapshot, ...]:
    return tuple(learned(LearnerMachine(BOTH), examples()))


def hear(said: list[bytes], decision: Decision) -> None:
    said.append(b"-" if decision.payload is None else encode(decision.payload))


def test_the_shop_is_large_enough_for_these_tests() -> None:
    drawn = [model.segments for model in uninterrupted()]
    assert drawn[0] is None, "at the beginning nothing is known"
    last = drawn[-1]
    assert last is not None
    assert last.borders is not None
    assert last.clusters is not None
    assert len(last.clusters.clusters) == 3
    assert len(encode(last)) < 1_500, "a model goes out each second"
    assert 2 <= len({msgspec.json.encode(one) for one in drawn}) <= 7, "drawn anew every four weeks"


@pytest.mark.parametrize("share", [0.3, 0.95])
def test_a_learner_that_was_stopped_anywhere_draws_what_it_would_have_drawn(share: float) -> None:
    stop = int(len(examples()) * share)
    first = LearnerMachine(BOTH)
    said = learned(first, examples()[:stop])
    wire = msgspec.msgpack.encode(first.checkpoint())
    second = LearnerMachine.restore(BOTH, msgspec.msgpack.decode(wire, type=Checkpoint))
    said += learned(second, examples()[stop:])
    assert list(map(encode, said)) == list(map(encode, uninterrupted()))


def test_where_nothing_is_learned_models_and_checkpoints_say_nothing_of_it() -> None:
    plain = LearnerMachine(PLAIN)
    models = learned(plain, examples())
    assert all(model.segments is None for model in models)
    assert plain.checkpoint().segments is None
    assert [msgspec.structs.replace(model, segments=None) for model in uninterrupted()] == models


def test_a_checkpoint_from_before_there_were_segments_is_read() -> None:
    learner = LearnerMachine(PLAIN)
    learned(learner, examples()[:300])
    fields = msgspec.msgpack.decode(msgspec.msgpack.encode(learner.checkpoint()))
    old = msgspec.msgpack.decode(msgspec.msgpack.encode(fields[:-1]), type=Checkpoint)
    assert old.segments is None
    again = LearnerMachine.restore(BOTH, old)
    assert again.snapshot() == learner.snapshot()
    assert learned(again, examples()[300:])[-1].segments is not None


def test_a_checkpoint_of_other_settings_is_gone_on_with() -> None:
    learner = LearnerMachine(BOTH)
    learned(learner, examples())
    assert LearnerMachine.restore(PLAIN, learner.checkpoint()).snapshot().segments is None
    fewer = msgspec.structs.replace(BOTH, segments=SegmentConfig(borders="learned"))
    segments = LearnerMachine.restore(fewer, learner.checkpoint()).snapshot().segments
    assert segments is not None
    assert segments.borders is not None
    assert segments.clusters is None


def test_two_replays_say_the_same_to_the_last_byte_and_scores_name_clusters() -> None:
    runs: list[list[bytes]] = []
    named = 0
    for _ in range(2):
        said: list[bytes] = []
        replay = Replay(BOTH, sink=partial(hear, said))
        replay.run(simulated(400, 130, seed=4))
        runs.append(said)
        named = sum(b'"cluster":{"id"' in one for one in said)
    assert runs[0] == runs[1]
    assert named > 500
    assert {behaviour.feature for behaviour in BEHAVIOURS} <= set(examples()[0].features)
