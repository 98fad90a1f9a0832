"""The calculation for a large shop."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.plan import Measured, Shop, described, plan, plan_text
from bench.scale import MEASURED as DOCUMENTED
from bench.scale import cores_for

MEASURED = Measured(
    cpu_micros=10.0,
    base_mb=200.0,
    memory_bytes=1000.0,
    changelog_bytes=500.0,
    wire_bytes=100.0,
    recovered_per_second=50_000.0,
    learner_micros=50.0,
    examples=0.1,
)


def test_a_plan_can_be_redone_by_hand() -> None:
    found = plan(MEASURED, Shop())
    assert found.workers_for_events == 20  # 1e6/s x 10 us = 10 cores, half busy
    assert found.workers_for_memory == 13  # 100 GB in parts of 8 GB
    assert found.workers_for_restart == 17  # 2,000 s of reading, 120 s each
    assert (found.workers, found.partitions) == (20, 80)
    assert found.customers_each == 5e6
    assert found.memory_each_gb == pytest.approx(5.2)
    assert found.restart_seconds == 100.0
    assert (found.changelog_mb_per_second, found.replicated_mb_per_second) == (100.0, 300.0)
    assert found.changelog_gb == 150.0
    assert found.examples_per_second == pytest.approx(5_000.0)
    assert found.learner_cores == pytest.approx(0.25)
    assert found.most_question_share == pytest.approx(0.1)


@pytest.mark.parametrize(
    ("dear", "which"),
    [
        ({"cpu_micros": 100.0}, "workers_for_events"),
        ({"memory_bytes": 100_000.0}, "workers_for_memory"),
        ({"recovered_per_second": 500.0}, "workers_for_restart"),
    ],
)
def test_what_is_scarcest_decides_the_number_of_workers(dear: dict[str, float], which: str) -> None:
    found = plan(MEASURED._replace(**dear), Shop())
    assert found.workers == getattr(found, which) > 100


def test_a_small_shop_takes_one_worker_that_keeps_every_question() -> None:
    found = plan(MEASURED, Shop(customers=1_000.0, events_per_second=10.0))
    assert (found.workers, found.most_question_share) == (1, 1.0)


def test_each_row_says_how_it_comes_about() -> None:
    assert all(much and why for _, much, why in described(MEASURED, Shop()))


def test_workers_have_cores_of_their_own_where_there_are_enough() -> None:
    assert cores_for(4, cores=8) == (0, 2, 3, 4)
    assert cores_for(4, cores=4) == (0, 2, 3, 1)
    assert cores_for(4, cores=2) == (0, 1, 0, 1)
    assert cores_for(1, cores=1) == (0,)


def test_the_document_has_the_plan_that_follows_from_what_was_measured() -> None:
    document = Path(__file__).parents[2] / "docs" / "scaling.md"
    text = plan_text(DOCUMENTED, Shop())
    assert text in document.read_text(encoding="utf-8"), f"docs/scaling.md should have:\n{text}"
