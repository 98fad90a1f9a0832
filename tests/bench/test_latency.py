"""Matching alerts with records, and choosing benches."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from bench.__main__ import about, chosen, known
from bench.latency import Heard, Latency, latencies, summary
from bench.pacer import Paced
from schemas.decisions import ChurnAlert

MOMENTS = [(0, "a"), (70_000, "b"), (140_000, "b")]
PACED = Paced(due=[10.0, 11.0, 12.0], sent=[10.1, 11.1, 12.1], had=[10.12, 11.12, 12.12])


def alert(customer_id: str, at_ms: int) -> ChurnAlert:
    moment = datetime.fromtimestamp(at_ms / 1000, UTC)
    return ChurnAlert(
        id="i",
        episode="e",
        state="raised",
        cause="risk",
        customer_id=customer_id,
        event_time=moment,
        episode_started_at=moment,
        risk=0.9,
        band="high",
        horizon_days=30.0,
        predicted_value=1.0,
        value_at_risk=1.0,
        model_version="m",
        intercept=0.0,
        reasons=[],
        changed=[],
        evidence=[],
    )


def match(
    seconds: float, at_ms: int, partition: int = 0, since: float = 0.0
) -> list[tuple[float, float, float]]:
    heard = [Heard(seconds, partition, alert("a", at_ms))]
    found = latencies(heard, [0, 0, 0], MOMENTS, PACED, 60_000, since)
    return [
        (round(one.from_broker, 6), round(one.from_sender, 6), round(one.from_schedule, 6)) for one in found
    ]


def test_time_counts_from_the_record_that_moved_the_watermark() -> None:
    assert match(11.15, at_ms=5_000) == [(0.03, 0.05, 0.15)]


def test_alerts_of_the_warm_up_do_not_count() -> None:
    assert match(11.15, at_ms=5_000, since=11.5) == []


def test_an_alert_before_its_record_is_an_error_of_the_bench() -> None:
    with pytest.raises(ValueError, match="too early"):
        match(11.05, at_ms=5_000)


def test_an_alert_that_no_record_made_due_is_an_error_of_the_bench() -> None:
    with pytest.raises(ValueError, match="no record"):
        match(20.0, at_ms=100_000)


def test_a_percentile_is_not_shown_when_too_few_alerts_lie_beyond_it() -> None:
    found = [Latency("raised", 0.001 * number, 0.002 * number, 0.003 * number) for number in range(1, 101)]
    row = summary(found).splitlines()[1].split()
    assert row[-6:] == ["100", "50.0", "90.0", "99.0", "few", "100.0"]


def test_every_bench_says_what_it_is_for() -> None:
    assert {"decode", "replay", "throughput", "latency", "recovery", "scale"} <= set(known())
    assert all(len(about(name)) > 20 for name in known())


def test_a_bench_that_is_not_there_is_refused() -> None:
    with pytest.raises(SystemExit, match="there is no nonsense"):
        chosen(["nonsense"])
    with pytest.raises(SystemExit, match="options go with one bench"):
        chosen(["all", "--rounds", "1"])
