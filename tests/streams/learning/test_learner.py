"""The learner learns each example once, in order, and goes on from a checkpoint as if never stopped."""

from __future__ import annotations

from random import Random

import msgspec
import pytest

from schemas.codec import utc
from schemas.learning import Example, ModelSnapshot
from streams.config import DAY_MS, LearnerConfig, ReviewConfig, StreamConfig
from streams.customer.features import FEATURE_NAMES
from streams.learning.machine import CHECKPOINT_VERSION, Checkpoint, LearnerMachine
from streams.learning.served import risk_of
from tests.streams.build import T0

CONFIG = StreamConfig(learner=LearnerConfig(publish_every=25, dedupe_window=64))


def examples(seed: int, count: int, horizon_days: float = 30.0) -> list[Example]:
    """Draw matured questions, one every eighth of a day."""
    rng = Random(seed)
    drawn = []
    for number in range(count):
        values = [rng.gauss(2.0, 1.0) for _ in FEATURE_NAMES]
        asked_ms = T0 + number * DAY_MS // 8
        drawn.append(
            Example(
                id=f"e{number}",
                customer_id=f"c{number % 50}",
                asked_at=utc(asked_ms),
                matured_at=utc(asked_ms + round(horizon_days * DAY_MS)),
                horizon_days=horizon_days,
                cause="timer",
                features=dict(zip(FEATURE_NAMES, values, strict=True)),
                risk=rng.uniform(0.01, 0.99),
                label=int(rng.random() < risk_of(values[1] - 1.0)),
                model_version="lr-0",
            )
        )
    return drawn


def learned(learner: LearnerMachine, log: list[Example]) -> list[ModelSnapshot]:
    return [published for example in log if (published := learner.learn(example)) is not None]


def through_the_wire(checkpoint: Checkpoint) -> Checkpoint:
    return msgspec.msgpack.decode(msgspec.msgpack.encode(checkpoint), type=Checkpoint)


@pytest.mark.parametrize("cut", [0, 1, 24, 25, 26, 333])
def test_a_learner_restored_from_a_checkpoint_publishes_what_the_uninterrupted_one_does(cut: int) -> None:
    log = examples(1, 700)
    one = LearnerMachine(CONFIG)
    published = learned(one, log)
    stopped = LearnerMachine(CONFIG)
    before = learned(stopped, log[:cut])
    resumed = LearnerMachine.restore(CONFIG, through_the_wire(stopped.checkpoint()))
    assert before + learned(resumed, log[cut:]) == published
    wire = msgspec.msgpack.encode
    assert wire(resumed.checkpoint()) == wire(one.checkpoint())
    assert resumed.snapshot() == one.snapshot()
    assert len(published) == 28


def test_a_checkpoint_is_a_copy() -> None:
    log = examples(2, 900)
    learner = LearnerMachine(CONFIG)
    learned(learner, log[:600])
    checkpoint = learner.checkpoint()
    before = msgspec.msgpack.encode(checkpoint)
    learned(learner, log[600:])
    assert msgspec.msgpack.encode(checkpoint) == before


def test_a_checkpoint_of_an_unknown_version_is_refused() -> None:
    checkpoint = LearnerMachine(CONFIG).checkpoint()
    checkpoint.version = CHECKPOINT_VERSION + 1
    with pytest.raises(ValueError, match="unknown version"):
        LearnerMachine.restore(CONFIG, checkpoint)


def test_an_example_twice_is_learned_once() -> None:
    log = examples(3, 80)
    one, other = LearnerMachine(CONFIG), LearnerMachine(CONFIG)
    published = learned(one, log)
    repeated = [
        example for place, example in enumerate(log) for example in log[max(0, place - 2) : place + 1]
    ]
    assert learned(other, repeated) == published
    assert other.snapshot() == one.snapshot()
    assert other.n_learned == 80
    assert other.duplicates == len(repeated) - 80


def test_an_example_read_again_after_a_restart_is_learned_once() -> None:
    log = examples(3, 100)
    one = LearnerMachine(CONFIG)
    learned(one, log)
    stopped = LearnerMachine(CONFIG)
    learned(stopped, log[:70])
    resumed = LearnerMachine.restore(CONFIG, through_the_wire(stopped.checkpoint()))
    learned(resumed, log[40:])
    assert resumed.snapshot() == one.snapshot()
    assert resumed.duplicates == 30


def test_as_many_ids_are_kept_as_the_window_says() -> None:
    log = examples(4, 100)
    learner = LearnerMachine(CONFIG)
    learned(learner, log)
    assert len(learner.checkpoint().recent) == 64 * 8
    learner.learn(log[36])
    assert learner.duplicates == 1
    learner.learn(log[35])
    assert (learner.duplicates, learner.n_learned) == (1, 101)


def test_models_are_published_every_so_many_examples_and_named_by_them() -> None:
    published = learned(LearnerMachine(CONFIG), examples(5, 130))
    assert [model.model_version for model in published] == ["lr-25", "lr-50", "lr-75", "lr-100", "lr-125"]
    assert [model.n_learned for model in published] == [25, 50, 75, 100, 125]


def test_a_model_says_when_the_newest_of_its_examples_matured_in_whatever_order_they_came() -> None:
    log = examples(6, 50)
    learner = LearnerMachine(CONFIG)
    learned(learner, log[::-1])
    assert learner.snapshot().event_time == log[-1].matured_at
    assert LearnerMachine(CONFIG).snapshot().event_time is None


def test_answers_are_judged_by_what_was_served_and_only_after_two_horizons() -> None:
    config = StreamConfig(reviews=ReviewConfig(horizon_days=5.0))
    log = examples(7, 200, horizon_days=5.0)
    learner = LearnerMachine(config)
    learned(learner, log)
    judged = log[80:]  # eight a day for ten days
    assert learner.quality.n == len(judged)
    assert learner.quality.risk_sums == pytest.approx(
        [sum(e.risk for e in judged if int(e.risk * 20) == place) for place in range(20)]
    )
    assert learner.snapshot().metrics == learner.quality.metrics()


def test_what_is_learned_depends_on_the_order_of_the_log() -> None:
    log = examples(8, 60)
    one, other = LearnerMachine(CONFIG), LearnerMachine(CONFIG)
    learned(one, log)
    learned(other, log[::-1])
    assert one.snapshot().coefficient != other.snapshot().coefficient, "so the log must have one order"


def test_the_season_is_learned_from_its_third_year_on() -> None:
    config = StreamConfig(learner=LearnerConfig(publish_every=25))
    log = [
        msgspec.structs.replace(example, asked_at=utc(T0 + place * 4 * DAY_MS))
        for place, example in enumerate(examples(4, 225))
    ]
    place = FEATURE_NAMES.index("season_sine")
    weights = [(s.n_learned, s.coefficient[place]) for s in learned(LearnerMachine(config), log)]
    years = 731 // 4
    assert [weight for count, weight in weights if count <= years] == [0.0] * (years // 25)
    assert weights[-1][1] != 0.0
