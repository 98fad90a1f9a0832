"""Settings are checked where they are read, and together."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.config import (
    DAY_MS,
    AlertConfig,
    ReviewConfig,
    SegmentConfig,
    StreamConfig,
    days_ms,
)
from streams.learning.served import risk_of


def read(**settings: Any) -> StreamConfig:
    return msgspec.convert(settings, StreamConfig)


def test_the_defaults_have_no_problems() -> None:
    assert StreamConfig().problems() == []
    assert read() == StreamConfig()


@pytest.mark.parametrize(
    ("config", "problem"),
    [
        (StreamConfig(alerts=AlertConfig(resolve_below=0.8)), "alerts: resolve_below < raise_at"),
        (StreamConfig(alerts=AlertConfig(raise_at=0.95)), "alerts: resolve_below < raise_at <= escalate_at"),
        (
            StreamConfig(segments=SegmentConfig(recency_days=(30.0, 30.0, 60.0, 90.0))),
            "recency_days must grow",
        ),
        (
            StreamConfig(segments=SegmentConfig(recency_days=(30.0, 90.0, 60.0, 99.0))),
            "recency_days must grow",
        ),
        (StreamConfig(segments=SegmentConfig(frequency_orders=(2, 3, 3, 4))), "frequency_orders must grow"),
        (
            StreamConfig(segments=SegmentConfig(active_days=365.0)),
            "active_days must be less than inactive_days",
        ),
        (
            StreamConfig(reviews=ReviewConfig(forget_days=364.0)),
            "forget_days must not be less than silent_days",
        ),
        (StreamConfig(reviews=ReviewConfig(forget_days=394.9)), "silent_days and horizon_days together"),
    ],
)
def test_a_contradiction_is_named(config: StreamConfig, problem: str) -> None:
    (found,) = config.problems()
    assert problem in found


def test_every_contradiction_is_named_at_once() -> None:
    config = StreamConfig(
        alerts=AlertConfig(resolve_below=0.9),
        segments=SegmentConfig(active_days=400.0, frequency_orders=(9, 5, 3, 2)),
        reviews=ReviewConfig(forget_days=1.0),
    )
    assert [line.split(":")[0] for line in config.problems()] == ["alerts", "segments", "segments", "reviews"]


def test_just_long_enough_is_no_contradiction() -> None:
    assert StreamConfig(reviews=ReviewConfig(forget_days=395.0)).problems() == []
    assert StreamConfig(alerts=AlertConfig(raise_at=0.9, escalate_at=0.9)).problems() == []


@pytest.mark.parametrize(
    "settings",
    [
        {"time": {"allowed_lateness_seconds": -1}},
        {"time": {"allowed_lateness_seconds": 90_000}},
        {"reviews": {"horizon_days": 0}},
        {"reviews": {"question_share": 1.1}},
        {"reviews": {"weekly_reviews": -1}},
        {"segments": {"recency_days": [30, 60, 120]}},
        {"segments": {"recency_days": [0, 60, 120, 240]}},
        {"segments": {"frequency_orders": [0, 1, 2, 3]}},
        {"alerts": {"raise_at": 1.0}},
        {"alerts": {"escalate_at": 0.9991}},
        {"alerts": {"min_orders": 0}},
        {"value": {"margin": 1.5}},
        {"learner": {"publish_every": 0}},
        {"learner": {"prior_churn_rate": 1.0}},
        {"reviews": {"horizont_days": 30}},
        {"revues": {}},
    ],
)
def test_a_value_out_of_bounds_or_a_name_misspelt_is_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(msgspec.ValidationError):
        read(**settings)


def test_no_threshold_lies_above_the_highest_risk_that_is_served() -> None:
    highest = risk_of(1000.0)
    read(alerts={"raise_at": highest, "escalate_at": highest})
    with pytest.raises(msgspec.ValidationError):
        read(alerts={"raise_at": highest + 1e-9})


@given(st.floats(0.001, 4000.0))
def test_days_turn_into_the_first_millisecond_at_which_they_have_passed(days: float) -> None:
    whole_ms = days_ms(days)
    assert whole_ms / DAY_MS >= days > (whole_ms - 1) / DAY_MS


def test_every_setting_says_what_it_is() -> None:
    definitions = msgspec.json.schema(StreamConfig)["$defs"]
    for group in msgspec.structs.fields(StreamConfig):
        settings = definitions[type(group.default).__name__]["properties"]
        assert settings
        for name, setting in settings.items():
            assert "description" in setting, f"{group.name}.{name}"
