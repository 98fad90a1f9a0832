"""Quick rows of the scorecard as ordinary tests; `bench/faults` runs them at length, and the others."""

from __future__ import annotations

import time
from collections import Counter
from pathlib import Path
from random import Random

import pytest
from kafka import KafkaProducer

from agents.changelog import MARKER_KEY
from agents.cluster import create_missing
from agents.settings import Settings
from bench.faults.fleet import outcomes, start, until_dead
from bench.faults.oracle import compare, expected
from bench.faults.rows_failure import EXIT_BUG, commits_past
from bench.faults.rows_input import late_by_hand, with_latecomers
from bench.faults.workload import preload, shop_lines
from schemas.codec import encode
from schemas.learning import ModelSnapshot
from schemas.topics import CHANGELOG
from tests.live.harness import Worker, committed, deliver, own_settings, read_topic, until
from tests.live.test_live_equals_replay import small_cdnow, trained

pytestmark = pytest.mark.broker

PARTITIONS = 2


@pytest.fixture
def settings(live_broker: dict[str, object]) -> Settings:
    made = own_settings(
        live_broker,
        topics__partitions=PARTITIONS,
        worker__agents="customers",
        worker__epoch_max_records=50,
        kafka__fetch_max_records=50,
        reviews__horizon_days=28,
        alerts__raise_at=0.75,
    )
    create_missing(made)
    return made


@pytest.fixture
def model(settings: Settings) -> ModelSnapshot:
    return trained(small_cdnow(), settings.streams)


@pytest.fixture
def model_file(model: ModelSnapshot, tmp_path: Path) -> Path:
    path = tmp_path / "models.jsonl"
    path.write_bytes(encode(model))
    return path


def finish(settings: Settings, model_file: Path, total: int) -> None:
    """Let an undisturbed worker do the rest."""
    with start(settings, model_file) as worker:
        until(lambda: sum(committed(settings).values()) == total, "everything committed")
        assert worker.stop() == 0, worker.said()


@pytest.mark.parametrize("seconds", ["0", "2"], ids=["fails", "times-out"])
def test_nothing_is_committed_past_a_changelog_that_fails(
    settings: Settings, model: ModelSnapshot, model_file: Path, seconds: str
) -> None:
    """Row 11."""
    lines = small_cdnow()
    preload(settings, lines)
    with start(settings, model_file, "--changelog", seconds, "--nth", "3") as worker:
        assert until_dead(worker, 60.0, "a failing changelog") == EXIT_BUG
        assert "fault: changelog" in worker.said()
    assert sum(committed(settings).values()) < len(lines)
    assert commits_past(settings) == 0
    finish(settings, model_file, len(lines))
    assert compare(settings, expected(settings, model, lines)).none


@pytest.mark.parametrize("what", ["state", "marker"])
def test_a_corrupt_changelog_record_ends_the_worker_at_once(
    settings: Settings, model_file: Path, what: str
) -> None:
    """Row 14."""
    lines = small_cdnow()[:200]
    preload(settings, lines)
    finish(settings, model_file, len(lines))
    held = [
        m for m in read_topic(settings, CHANGELOG) if m.value and (m.key == MARKER_KEY) == (what == "marker")
    ]
    chosen = Random(7).choice(held)
    producer = KafkaProducer(bootstrap_servers=settings.kafka.bootstrap, enable_idempotence=False)
    producer.send(settings.topic(CHANGELOG), key=chosen.key, value=b"\xc1spoilt", partition=chosen.partition)
    producer.close()
    began = time.monotonic()
    with Worker(settings, model_file) as worker:
        assert until_dead(worker, 30.0, "a corrupt record") > 0
    assert time.monotonic() - began < 30.0


def test_an_exception_in_model_code_loses_nothing(
    settings: Settings, model: ModelSnapshot, model_file: Path
) -> None:
    """Row 21."""
    lines = small_cdnow()
    preload(settings, lines)
    for nth in ("500", "900"):
        with start(settings, model_file, "--raise-in-model", "--nth", nth) as worker:
            assert until_dead(worker, 60.0, "an exception") == EXIT_BUG
            assert "fault: exception in model code" in worker.said()
    finish(settings, model_file, len(lines))
    assert compare(settings, expected(settings, model, lines)).none


def test_late_and_disordered_messages_are_counted_as_the_oracle_counts_them(
    settings: Settings, model: ModelSnapshot, model_file: Path
) -> None:
    """Row 18."""
    lines = with_latecomers(shop_lines(40, 60, 3, disorder_ms=50_000), 0.05, 300, Random(3))
    deliver(settings, lines)
    with start(settings, model_file) as worker:
        until(lambda: sum(committed(settings).values()) == len(lines), "everything committed")
        counted = outcomes(worker)
        assert worker.stop() == 0, worker.said()
    should = expected(settings, model, lines, one_topic=False)
    assert counted["late"] == late_by_hand(lines, PARTITIONS, 60_000) > 0
    assert counted == Counter({k: v for k, v in should.outcomes.items() if v and k != "read"})
    assert compare(settings, should).none


def test_a_message_that_comes_twice_changes_nothing(
    settings: Settings, model: ModelSnapshot, model_file: Path
) -> None:
    """Row 22."""
    lines = small_cdnow()
    twice = [line for line in lines for _ in range(2)]
    preload(settings, twice)
    finish(settings, model_file, len(twice))
    found = compare(settings, expected(settings, model, lines))
    assert found.none
    assert found.repeats == 0
