"""Figures of the quality bench are what the slow way gives, and its shops and protocol are what they say."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import orjson
import pytest

pytest.importorskip("sklearn")
pytest.importorskip("lightgbm")

from sklearn.metrics import log_loss, roc_auc_score

from bench.quality import asking, candidates, peers, shops, tables
from bench.quality.figures import _placements, auc_interval, figures, loss_interval
from samples import cdnow
from streams.config import DAY_MS
from streams.evaluation.judging import Answers, measures


def drawn(seed: int, count: int = 4_000) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    risk = np.round(np.clip(rng.beta(3.0, 2.0, count), 0.001, 0.999), 3)  # rounded: there are ties
    return risk, (rng.random(count) < risk).astype(np.int64), rng.integers(0, 300, count)


def test_figures_are_those_of_the_report() -> None:
    risk, label, customer = drawn(1)
    answers = Answers()
    for who, one, left in zip(customer, risk, label, strict=True):
        answers.add(str(who), float(one), int(left))
    reported, found = measures(answers.judged()), figures(risk, label)
    assert found.auc == pytest.approx(reported["auc"])
    assert found.log_loss == pytest.approx(reported["log_loss"]) == log_loss(label, risk)
    assert found.ece == pytest.approx(reported["ece"])


def test_an_auc_is_the_mean_of_what_each_row_adds_and_its_interval_is_that_of_drawing_rows() -> None:
    risk, label, customer = drawn(2)
    other = np.clip(risk + np.random.default_rng(3).normal(0.0, 0.2, len(risk)), 0.001, 0.999)
    assert _placements(risk, label)[label == 1].mean() == pytest.approx(roc_auc_score(label, risk))
    found = auc_interval(risk, other, label, customer)
    rng, slow = np.random.default_rng(4), []
    rows = [np.flatnonzero(customer == who) for who in range(300)]
    for _ in range(200):
        some = np.concatenate([rows[who] for who in rng.integers(0, 300, 300)])
        slow.append(roc_auc_score(label[some], risk[some]) - roc_auc_score(label[some], other[some]))
    low, high = np.quantile(slow, [0.025, 0.975])
    assert found.low == pytest.approx(low, abs=0.2 * (high - low))
    assert found.high == pytest.approx(high, abs=0.2 * (high - low))


def test_a_better_forecast_has_its_whole_interval_on_the_better_side() -> None:
    risk, label, customer = drawn(5)
    interval = loss_interval(risk, np.full(len(risk), float(label.mean())), label, customer)
    assert interval.low < interval.high < 0.0


def few(count: int = 150) -> list[tuple[int, bytes]]:
    """Take the messages of some customers of CDNOW."""
    everybody = list(cdnow.messages("tenth"))
    some = set(sorted({message["userId"] for message in everybody})[:count])
    return [(1, orjson.dumps(message)) for message in everybody if message["userId"] in some]


@pytest.fixture(scope="module")
def decided() -> asking.Asked:
    return asking.decisions(few(), 84.0, lambda _: None)


def test_the_protocol_asks_everybody_on_fourteen_days_and_scores_eleven(decided: asking.Asked) -> None:
    assert len(decided.label) == 14 * 150
    assert decided.judged.sum() == 11 * 150
    assert (np.diff(np.unique(decided.asked_ms)) == 28 * DAY_MS).all()
    assert (decided.matured_ms - decided.asked_ms == 84 * DAY_MS).all()


def test_no_decision_is_served_by_a_model_that_knows_an_answer_from_after_it(decided: asking.Asked) -> None:
    for asked_ms in np.unique(decided.asked_ms):
        known = int((decided.matured_ms <= asked_ms).sum())
        assert set(decided.version[decided.asked_ms == asked_ms]) == {known}


def test_a_label_says_whether_an_order_came_within_the_horizon(decided: asking.Asked) -> None:
    """The slow way, for the first decision: look at every order."""
    orders: dict[str, list[int]] = {}
    for message in cdnow.messages("tenth"):
        day = np.datetime64(message["timestamp"][:10]).astype("datetime64[ms]").astype(int)
        orders.setdefault(message["userId"], []).append(int(day))
    some = sorted(orders)[:150]
    left = [
        not any(asking.FIRST_DECISION_MS <= at < asking.FIRST_DECISION_MS + 84 * DAY_MS for at in orders[who])
        for who in some
    ]
    assert decided.label[:150].sum() == sum(left)


def test_batch_models_and_candidates_answer_what_counts(decided: asking.Asked) -> None:
    for make in peers.BATCH.values():
        risk = peers.retrained(decided, make, lambda _: None).risk
        assert (risk[decided.judged] != 0.5).mean() > 0.9
        assert (risk[~decided.judged] == 0.5).all()
    tree = candidates.CANDIDATES["Hoeffding tree"]
    risk = candidates.answered(decided, tree, lambda _: None).risk
    assert (risk[~decided.judged] == 0.5).all()
    assert risk[decided.judged].std() > 0.0


def test_the_mixture_is_served_and_experts_are_what_they_would_have_served(decided: asking.Asked) -> None:
    mixed = np.log(decided.risk / (1.0 - decided.risk))[decided.judged]
    each = np.column_stack([said[decided.judged] for said in decided.experts.values()])
    assert (mixed <= each.max(axis=1) + 1e-6).all()
    assert (mixed >= each.min(axis=1) - 1e-6).all()


def test_tables_go_between_the_markers_of_the_page(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"before\n{tables.BEGIN}\nold\n{tables.END}\nafter\n")
    tables.write("| new |\n", page)
    assert page.read_text() == f"before\n{tables.BEGIN}\n| new |\n{tables.END}\nafter\n"


def test_names_of_shops_differ_and_those_from_outside_say_so() -> None:
    assert len({shop.name for shop in shops.SHOPS}) == len(shops.SHOPS)
    assert [shop.name for shop in shops.SHOPS if shop.outside] == ["retail-30", "retail-90", "journey"]
