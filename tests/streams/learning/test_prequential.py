"""Running quality equals what slow definitions give."""

from __future__ import annotations

from math import log
from random import Random

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.learning.prequential import AUC_BINS, ECE_BINS, Prequential

ANSWERS = st.lists(st.tuples(st.floats(0.001, 0.999), st.integers(0, 1)), max_size=60)


def judged(answers: list[tuple[float, int]]) -> Prequential:
    quality = Prequential()
    for risk, label in answers:
        quality.add(risk, label)
    return quality


def rank_auc(answers: list[tuple[float, int]]) -> float | None:
    """Compare every churner with every stayer."""
    churners = [risk for risk, label in answers if label]
    stayers = [risk for risk, label in answers if not label]
    if not churners or not stayers:
        return None
    wins = sum((a > b) + 0.5 * (a == b) for a in churners for b in stayers)
    return wins / (len(churners) * len(stayers))


def drawn(seed: int, count: int) -> list[tuple[float, int]]:
    rng = Random(seed)
    answers = []
    for _ in range(count):
        risk = min(0.999, max(0.001, rng.betavariate(2, 1)))
        answers.append((risk, int(rng.random() < 0.2 + 0.6 * risk)))
    return answers


@pytest.mark.parametrize("seed", range(4))
def test_auc_in_bins_is_the_rank_auc_within_a_thousandth(seed: int) -> None:
    answers = drawn(seed, 800)
    assert judged(answers).auc() == pytest.approx(rank_auc(answers), abs=1e-3)


@given(ANSWERS)
def test_auc_is_off_by_no_more_than_ties_within_a_bin_can_hide(answers: list[tuple[float, int]]) -> None:
    auc, exact = judged(answers).auc(), rank_auc(answers)
    if exact is None:
        assert auc is None
        return
    binned = rank_auc([(int(risk * AUC_BINS) / AUC_BINS, label) for risk, label in answers])
    assert auc == pytest.approx(binned, abs=1e-12)
    churned = sum(label for _, label in answers)
    hidden = sum(
        int(a * AUC_BINS) == int(b * AUC_BINS) for a, x in answers for b, y in answers if x and not y
    )
    assert auc is not None
    assert abs(auc - exact) <= 0.5 * hidden / (churned * (len(answers) - churned)) + 1e-12


@given(ANSWERS)
def test_log_loss_is_exact(answers: list[tuple[float, int]]) -> None:
    expected = [-log(risk if label else 1.0 - risk) for risk, label in answers]
    quality = judged(answers)
    if not answers:
        assert quality.log_loss() is None
    else:
        assert quality.log_loss() == pytest.approx(sum(expected) / len(expected), rel=1e-12)


@given(ANSWERS)
def test_calibration_error_is_the_mean_gap_over_twenty_bins(answers: list[tuple[float, int]]) -> None:
    quality = judged(answers)
    if not answers:
        assert quality.ece() is None
        return
    gap = 0.0
    for place in range(ECE_BINS):
        inside = [(risk, label) for risk, label in answers if int(risk * ECE_BINS) == place]
        if inside:
            mean_risk = sum(risk for risk, _ in inside) / len(inside)
            share = sum(label for _, label in inside) / len(inside)
            gap += len(inside) / len(answers) * abs(mean_risk - share)
    assert quality.ece() == pytest.approx(gap, abs=1e-12)


def test_metrics_name_what_is_defined_so_far() -> None:
    assert Prequential().metrics() == {"n": 0}
    assert set(judged([(0.5, 1)]).metrics()) == {"n", "churn_rate", "log_loss", "ece"}
    metrics = judged([(0.75, 1), (0.25, 0)]).metrics()
    assert metrics == {
        "n": 2,
        "churn_rate": 0.5,
        "auc": 1.0,
        "log_loss": pytest.approx(-log(0.75)),
        "ece": 0.25,
    }


def test_quality_survives_the_wire() -> None:
    quality = judged(drawn(1, 300))
    wire = msgspec.msgpack.encode(quality)
    back = msgspec.msgpack.decode(wire, type=Prequential)
    assert back == quality
    assert back.metrics() == quality.metrics()


def test_memory_does_not_grow_with_answers() -> None:
    few, many = judged(drawn(1, 10)), judged(drawn(1, 3000))
    for name in ("positives", "negatives", "counts", "risk_sums", "label_sums"):
        assert len(getattr(few, name)) == len(getattr(many, name))
