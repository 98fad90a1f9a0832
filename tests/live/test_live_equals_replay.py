"""The same messages, through a broker and a real worker, or replayed: the same machines, the same words."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from agents.cluster import create_missing
from agents.settings import Settings
from samples import cdnow, shop, write
from schemas.codec import encode, epoch_ms
from schemas.decisions import ChurnAlert, CustomerScore, SegmentChange
from schemas.learning import Example, ModelSnapshot
from schemas.topics import (
    CHURN_ALERTS,
    CUSTOMER_SCORES,
    EXAMPLES,
    INPUTS,
    MODELS,
    SEGMENT_CHANGES,
)
from streams.config import StreamConfig
from streams.customer.features import FEATURE_NAMES
from streams.customer.state import facts
from streams.learning.served import Served
from streams.replay import Replay
from tests.live.harness import (
    Worker,
    committed,
    deliver,
    own_settings,
    payloads,
    plain,
    read_topic,
    recovered,
    replay_partitions,
    until,
)

pytestmark = pytest.mark.broker

PARTITIONS = 3
CUSTOMERS = 150


def small_cdnow() -> list[bytes]:
    """The orders of the first customers of the tenth sample."""
    messages = list(cdnow.messages("tenth"))
    chosen = set(sorted({message["userId"] for message in messages})[:CUSTOMERS])
    return list(write.lines(message for message in messages if message["userId"] in chosen))


def small_shop() -> list[bytes]:
    """Clicks and orders of a simulated shop, some twice, some out of order."""
    config = shop.ShopConfig(customers=40, days=120, seed=5, duplicate_rate=0.02, disorder_ms=20_000)
    return list(write.lines(shop.messages(config)))


def trained(lines: list[bytes], config: StreamConfig) -> ModelSnapshot:
    """A model that has seen these customers."""
    replay = Replay(config, sink=lambda _: None)
    replay.run([(1, line) for line in lines])
    assert replay.learner is not None
    return replay.learner.snapshot()


def said(kind: type, decisions: list) -> list:
    return sorted(
        (plain(decision.payload) for decision in decisions if isinstance(decision.payload, kind)),
        key=str,
    )


@pytest.mark.parametrize("lines", [small_cdnow, small_shop], ids=["cdnow", "shop"])
def test_with_a_frozen_model_a_worker_says_what_the_replay_says(
    lines, live_broker: dict[str, object], tmp_path: Path
) -> None:
    messages = lines()
    settings = own_settings(
        live_broker,
        topics__partitions=PARTITIONS,
        worker__agents="customers",
        reviews__horizon_days=28,
        alerts__raise_at=0.75,
    )
    model = trained(small_cdnow(), settings.streams)
    (tmp_path / "models.jsonl").write_bytes(encode(model))
    create_missing(settings)
    deliver(settings, messages)
    with Worker(settings, model=tmp_path / "models.jsonl") as worker:
        worker.until_processed(len(messages))
        assert worker.stop() == 0, worker.said()

    replays, decisions = replay_partitions(settings, messages, PARTITIONS, model=model)
    states = {c: s for replay in replays for c, s in replay.machine.states.items()}
    kept = {c: s for part in recovered(settings).values() for c, s in part.states.items()}
    assert kept.keys() == states.keys()
    assert all(facts(kept[customer]) == facts(states[customer]) for customer in states)
    for topic, kind in (
        (SEGMENT_CHANGES, SegmentChange),
        (CUSTOMER_SCORES, CustomerScore),
        (CHURN_ALERTS, ChurnAlert),
        (EXAMPLES, Example),
    ):
        published = sorted((plain(p) for p in payloads(settings, topic, kind)), key=str)
        assert published == said(kind, decisions), topic
    assert said(ChurnAlert, decisions), "a test without an alert proves little"
    ends = {(name, part): 0 for name in INPUTS for part in range(PARTITIONS)}
    for name in INPUTS:
        for message in read_topic(settings, name):
            ends[name, message.partition] += 1
    assert committed(settings) == ends


def learned(settings: Settings) -> int:
    """Give how many examples the latest model knows."""
    return max((model.n_learned for model in payloads(settings, MODELS, ModelSnapshot)), default=0)


def test_with_learning_on_every_published_risk_can_be_recomputed_to_the_last_bit(
    live_broker: dict[str, object],
) -> None:
    messages = small_cdnow()
    settings = own_settings(
        live_broker, topics__partitions=2, reviews__horizon_days=28, worker__epoch_seconds=0.05
    )
    create_missing(settings)
    with Worker(settings) as worker:
        worker.until_ready()
        for at in range(0, len(messages), 60):  # in portions, so that the model changes on the way
            deliver(settings, messages[at : at + 60])
            worker.until_processed(min(at + 60, len(messages)))
            until(lambda: learned(settings) == len(read_topic(settings, EXAMPLES)), "a model of all examples")
        assert worker.stop() == 0, worker.said()
    models = {m.model_version: m for m in payloads(settings, MODELS, ModelSnapshot)}
    scores = payloads(settings, CUSTOMER_SCORES, CustomerScore)
    examples = payloads(settings, EXAMPLES, Example)
    # What is served before the learner has published is the prior, which every program knows.
    replay = Replay(settings.streams, sink=lambda _: None)
    models.setdefault("lr-0", replay.machine.model.snapshot)
    assert len({score.model_version for score in scores}) > 3
    served = {version: Served(snapshot) for version, snapshot in models.items()}
    for score in scores:
        assert served[score.model_version].risk(score.features) == score.risk
    for example in examples:
        values = [example.features[name] for name in FEATURE_NAMES]
        assert served[example.model_version].risk(values) == example.risk
    scored = {(s.customer_id, s.event_time, s.risk, s.model_version) for s in scores}
    for alert in payloads(settings, CHURN_ALERTS, ChurnAlert):
        # An alert always comes with the score that it rests on.
        assert (alert.customer_id, alert.event_time, alert.risk, alert.model_version) in scored


@pytest.mark.parametrize("end", ["stopped", "killed"])
def test_what_the_learner_publishes_follows_from_its_log_alone(
    live_broker: dict[str, object], end: str
) -> None:
    from streams.learning.machine import LearnerMachine

    messages = small_cdnow()
    settings = own_settings(live_broker, topics__partitions=2, reviews__horizon_days=28)
    create_missing(settings)
    half = len(messages) // 2
    deliver(settings, messages[:half])
    with Worker(settings) as first:
        until(lambda: first.metrics().get("holdfast_learned_examples_total", 0.0) > 100, "learned")
        if end == "killed":
            first.process.kill()
            first.process.wait()
        else:
            assert first.stop() == 0, first.said()
    examples = len(payloads(settings, EXAMPLES, Example))
    deliver(settings, messages[half:])
    with Worker(settings) as second:  # goes on from the first one's checkpoint
        until(lambda: len(payloads(settings, EXAMPLES, Example)) > examples + 100, "more to learn from")
        assert second.stop() == 0, second.said()
    machine = LearnerMachine(settings.streams)
    models = {0: machine.snapshot()}
    for example in payloads(settings, EXAMPLES, Example):
        machine.learn(example)
        models[machine.n_learned] = machine.snapshot()
    published = payloads(settings, MODELS, ModelSnapshot)
    assert max(snapshot.n_learned for snapshot in published) > examples
    for snapshot in published:
        assert msgspec.to_builtins(snapshot) == msgspec.to_builtins(models[snapshot.n_learned])
    assert all(epoch_ms(e.matured_at) > epoch_ms(e.asked_at) for e in payloads(settings, EXAMPLES, Example))
