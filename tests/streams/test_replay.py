"""A replay says the same each time, accounts for every message, and can be checked number by number."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from functools import cache
from math import exp

import pytest

from schemas.codec import WireError, decode_event, epoch_ms
from schemas.learning import ModelSnapshot
from schemas.topics import CHURN_ALERTS, CUSTOMER_SCORES, EXAMPLES, MODELS, SEGMENT_CHANGES
from streams.config import DAY_MS, LearnerConfig, ReviewConfig, StreamConfig, TimeConfig
from streams.customer.decision import Decision
from streams.customer.features import FEATURE_NAMES
from streams.learning.served import untrained
from streams.playback import LOOKAHEAD
from streams.replay import Replay
from tests.streams.build import rich_model, said_on, simulated, spoken, without_evidence

CONFIG = StreamConfig(
    reviews=ReviewConfig(horizon_days=14.0), learner=LearnerConfig(publish_every=20, learning_rate=0.3)
)
Messages = Sequence[tuple[int, bytes]]


def replayed(
    messages: Messages, config: StreamConfig = CONFIG, model: ModelSnapshot | None = None
) -> tuple[Replay, list[Decision]]:
    said: list[Decision] = []
    replay = Replay(config, said.append, model=model)
    replay.run(messages)
    return replay, said


@cache
def learned() -> tuple[Replay, list[Decision]]:
    return replayed(shop())


def shop() -> Messages:
    return simulated(30, 120)


def test_twice_the_same_messages_say_the_same_to_the_last_byte() -> None:
    one, said = learned()
    other, again = replayed(shop())
    assert spoken(again) == spoken(said)
    assert other.events == one.events
    assert other.quality == one.quality


def test_everything_is_said_in_a_replay() -> None:
    replay, said = learned()
    assert {decision.topic for decision in said} == {
        CHURN_ALERTS,
        SEGMENT_CHANGES,
        CUSTOMER_SCORES,
        EXAMPLES,
        MODELS,
    }
    assert replay.said == Counter(decision.topic for decision in said)
    assert replay.learner is not None
    learned_from = [model.n_learned for model in said_on(MODELS, said)]
    assert learned_from == list(range(0, replay.learner.n_learned + 1, 20))
    assert len(learned_from) > 5
    assert replay.machine.model.n_learned == learned_from[-1]


# Accounting

BROKEN = (b"not json", b'{"type":"page"}', b'{"type":"page","messageId":"m","userId":"null","timestamp":"x"}')


def test_every_message_is_accounted_for() -> None:
    messages = list(simulated(30, 60, duplicate_rate=0.05, disorder_ms=180_000, anonymous_share=0.2))
    for place, value in enumerate(BROKEN):
        messages.insert(place * 100, (place % 2, value))
    refused: list[tuple[int, bytes, str]] = []

    def refuse(source: int, value: bytes, error: WireError) -> None:
        refused.append((source, value, error.reason))

    replay = Replay(CONFIG, lambda _: None, refuse)
    replay.run(messages)
    events = replay.events
    assert events["read"] == len(messages)
    outcomes = ("applied", "late", "duplicate", "anonymous", "dead")
    assert events["read"] == sum(events[name] for name in outcomes)
    assert all(events[name] > 0 for name in outcomes)
    assert set(events) == {"read", *outcomes}
    assert [value for _, value, _ in refused] == list(BROKEN)
    assert events["dead"] == len(BROKEN)


def test_late_messages_are_exactly_those_behind_the_watermark() -> None:
    config = StreamConfig(time=TimeConfig(allowed_lateness_seconds=0.0))
    messages = [message for message in simulated(20, 40, disorder_ms=600_000) if message[0] == 0]
    replay, _ = replayed(messages, config)
    times = [decode_event(value).time_ms for _, value in messages]
    newest, late = times[0], 0
    for time_ms in times:
        late += time_ms < newest
        newest = max(newest, time_ms)
    assert replay.events["late"] == late > 50


def test_duplicates_change_nothing_but_the_count() -> None:
    """Offsets move, so evidence does; nothing else may."""
    plain, said = replayed(shop(), model=rich_model().snapshot)
    doubled = [message for message in shop() for _ in range(2)]
    replay, again = replayed(doubled, model=rich_model().snapshot)
    assert replay.events["duplicate"] == plain.events["applied"]
    assert replay.events["applied"] == plain.events["applied"]
    assert [without_evidence(decision) for decision in again] == [without_evidence(d) for d in said]
    assert replay.quality == plain.quality


def test_duplicates_change_nothing_of_what_is_learned() -> None:
    plain, _ = learned()
    replay, _ = replayed([message for message in shop() for _ in range(2)])
    assert replay.learner is not None
    assert plain.learner is not None
    assert replay.learner.snapshot() == plain.learner.snapshot()


# Checked number by number


def served_models() -> dict[str, ModelSnapshot]:
    return {model.model_version: model for model in said_on(MODELS, learned()[1])}


def recomputed(model: ModelSnapshot, values: Sequence[float]) -> float:
    """What any consumer can do with a snapshot: a multiplication and an addition for each feature."""
    log_odds = model.intercept
    for coefficient, centre, value in zip(model.coefficient, model.centre, values, strict=True):
        log_odds += coefficient * (value - centre)
    return min(0.999, max(0.001, 1.0 / (1.0 + exp(-log_odds))))


def test_every_published_risk_can_be_recomputed_to_the_last_bit() -> None:
    models = served_models()
    scores, examples = said_on(CUSTOMER_SCORES, learned()[1]), said_on(EXAMPLES, learned()[1])
    assert len({score.model_version for score in scores}) > 5
    for score in scores:
        assert score.risk == recomputed(models[score.model_version], score.features)
        assert score.value_at_risk == score.risk * score.predicted_value
    for example in examples:
        assert tuple(example.features) == FEATURE_NAMES
        assert example.risk == recomputed(models[example.model_version], list(example.features.values()))


def test_a_version_names_one_model() -> None:
    assert len(served_models()) == len(said_on(MODELS, learned()[1]))
    assert served_models()["lr-0"] == untrained(CONFIG)


def test_a_model_is_served_from_the_record_after_it_was_published() -> None:
    current, published = "lr-0", "lr-0"
    for decision in learned()[1]:
        if decision.topic == MODELS:
            published = decision.payload.model_version  # type: ignore[union-attr]
        elif decision.topic == CUSTOMER_SCORES and decision.payload is not None:
            version = decision.payload.model_version  # type: ignore[attr-defined]
            assert version in (current, published)
            current = version


def test_an_alert_adds_up() -> None:
    models = served_models()
    alerts = said_on(CHURN_ALERTS, learned()[1])
    assert len(alerts) > 10
    for alert in alerts:
        assert alert.intercept == models[alert.model_version].intercept
        assert 1 <= len(alert.reasons) <= 4
        assert alert.value_at_risk == alert.risk * alert.predicted_value
        assert alert.evidence


def test_quality_is_that_of_the_examples_asked_after_two_horizons() -> None:
    replay, said = learned()
    first_ms = min(decode_event(value).time_ms for _, value in shop())
    judged = [e for e in said_on(EXAMPLES, said) if epoch_ms(e.asked_at) >= first_ms + 28 * DAY_MS]
    assert replay.quality.n == len(judged) > 100
    assert replay.quality.churned == sum(example.label for example in judged)


def test_an_answer_is_learned_only_after_its_horizon() -> None:
    """A score served at t may rest on examples that had matured by t, and on no others."""
    newest_ms = {
        model.model_version: epoch_ms(model.event_time) if model.event_time else 0
        for model in served_models().values()
    }
    for score in said_on(CUSTOMER_SCORES, learned()[1]):
        assert newest_ms[score.model_version] <= epoch_ms(score.event_time) + 60_001


def test_a_frozen_model_is_served_throughout() -> None:
    replay, said = replayed(shop(), model=rich_model().snapshot)
    assert replay.learner is None
    assert {score.model_version for score in said_on(CUSTOMER_SCORES, said)} == {"rich"}
    assert said_on(MODELS, said) == [rich_model().snapshot]


# Topics


def test_topics_may_come_one_after_the_other_and_are_merged_by_time() -> None:
    """Two files, read one after the other, say what one file in order of time says."""
    messages = simulated(30, 60)
    assert len(messages) < LOOKAHEAD
    apart = [message for source in (1, 0) for message in messages if message[0] == source]
    assert spoken(replayed(apart)[1]) == spoken(replayed(messages)[1])


def test_an_input_that_says_nothing_holds_nobody_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """Clicks without an order in sight are processed along the way, not kept to the end."""
    clicks = [message for message in simulated(30, 60) if message[0] == 0]
    monkeypatch.setattr("streams.playback.LOOKAHEAD", 100)
    replay = Replay(CONFIG, lambda _: None)
    behind = [replay.events["read"] - replay.events["applied"] for _ in replay.steps(clicks)]
    assert replay.events["applied"] == len(clicks)
    assert max(behind) < 100


def test_reading_ahead_by_less_says_the_same_when_both_topics_speak(monkeypatch: pytest.MonkeyPatch) -> None:
    said = spoken(replayed(simulated(30, 60))[1])
    monkeypatch.setattr("streams.playback.LOOKAHEAD", 1)
    assert spoken(replayed(simulated(30, 60))[1]) == said


def test_nothing_at_all_is_fine() -> None:
    replay, said = replayed([])
    assert [decision.topic for decision in said] == [MODELS]
    assert replay.quality.metrics() == {"n": 0}
    assert not replay.events
