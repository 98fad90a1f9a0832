"""An episode is a table: every finding has its place in it, and nothing else can happen."""

from __future__ import annotations

from itertools import product
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from librt.vecs import vec

from streams.config import DAY_MS, AlertConfig
from streams.customer.alerts import (
    MIN_SILENCE_MS,
    MOST_CHANGES,
    MOST_REASONS,
    SMALLEST_CHANGE,
    TABLE,
    Episode,
    Finding,
    Step,
    band_of,
    changes_of,
    episode_id,
    finding_of,
    may_raise,
    reasons_of,
)
from streams.customer.features import FAMILIES, FEATURES, families_of
from tests.streams.build import T0, rich_model, with_btyd

FINDINGS = st.lists(st.sampled_from(Finding), max_size=40)
CONTRIBUTIONS = st.lists(st.floats(-5, 5) | st.just(0.0), min_size=len(FEATURES), max_size=len(FEATURES))


def steps(findings: list[Finding]) -> list[Step]:
    episode, taken = Episode.NONE, []
    for finding in findings:
        step = TABLE[episode, finding]
        episode = step.to
        taken.append(step)
    return taken


def test_the_table_names_every_state_with_every_finding() -> None:
    assert set(TABLE) == set(product(Episode, Finding))


def test_a_step_speaks_exactly_when_it_moves() -> None:
    for (episode, _), step in TABLE.items():
        assert (step.says is None) is (step.to is episode)


def test_only_these_moves_exist() -> None:
    moves = {(e.name, step.to.name, step.says) for (e, _), step in TABLE.items() if step.says}
    assert moves == {
        ("NONE", "RAISED", "raised"),
        ("RAISED", "ESCALATED", "escalated"),
        ("RAISED", "NONE", "resolved"),
        ("ESCALATED", "NONE", "resolved"),
    }


def test_what_resolves_an_episode_is_named() -> None:
    causes = {Finding.LOW: "risk_fell", Finding.ORDERED: "ordered", Finding.LAPSED: "lapsed"}
    for (_, finding), step in TABLE.items():
        assert step.cause == (causes[finding] if step.says == "resolved" else "risk")


@given(FINDINGS)
def test_an_episode_is_raised_escalated_at_most_once_and_resolved(findings: list[Finding]) -> None:
    said = "".join((step.says or "")[:2] for step in steps(findings))
    while said.startswith("ra"):
        said = said[2:].removeprefix("es").removeprefix("re")
    assert said == ""


@given(st.lists(st.floats(0.71, 0.99), max_size=30), st.booleans())
def test_a_risk_that_hovers_above_the_lower_threshold_raises_once(risks: list[float], eligible: bool) -> None:
    config = AlertConfig()
    said = [step.says for step in steps([finding_of(risk, eligible, config) for risk in risks])]
    assert said.count("raised") <= 1
    assert "resolved" not in said


def test_between_the_thresholds_nothing_happens_either_way() -> None:
    config = AlertConfig(resolve_below=0.6, raise_at=0.8, escalate_at=0.9)
    risks = [0.79, 0.6, 0.8, 0.61, 0.79, 0.89, 0.9, 0.7, 0.59, 0.79, 0.8]
    said = [step.says for step in steps([finding_of(risk, True, config) for risk in risks])]
    assert said == [None, None, "raised", None, None, None, "escalated", None, "resolved", None, "raised"]


def test_equal_thresholds_raise_first_and_escalate_at_the_next_review() -> None:
    config = AlertConfig(raise_at=0.8, escalate_at=0.8)
    said = [step.says for step in steps([finding_of(0.85, True, config)] * 3)]
    assert said == ["raised", "escalated", None]


@given(st.floats(0.001, 0.999))
def test_who_may_not_be_alerted_about_is_never_high(risk: float) -> None:
    assert finding_of(risk, False, AlertConfig()) in (Finding.LOW, Finding.BETWEEN)


@pytest.mark.parametrize(
    ("orders", "silence_ms", "value", "allowed"),
    [
        (2, MIN_SILENCE_MS, 10.0, True),
        (1, MIN_SILENCE_MS, 10.0, False),
        (2, MIN_SILENCE_MS - 1, 10.0, False),
        (2, 90 * DAY_MS, 9.99, False),
    ],
)
def test_who_may_be_alerted_about(orders: int, silence_ms: int, value: float, allowed: bool) -> None:
    assert may_raise(orders, silence_ms, value, AlertConfig(min_value=10.0)) is allowed


def test_bands_end_at_a_half_and_three_quarters() -> None:
    bands = [band_of(risk) for risk in (0.001, 0.499999, 0.5, 0.749999, 0.75, 0.999)]
    assert bands == ["low", "low", "medium", "medium", "high", "high"]


def test_an_episode_has_the_same_id_in_every_process_and_another_for_each_customer_and_start() -> None:
    assert episode_id("c1", T0) == "7d398c0f0a0ae0ca"
    ids = {episode_id(customer, T0 + late) for customer in ("c1", "c2", "c11") for late in range(3)}
    assert len(ids) == 9


@given(CONTRIBUTIONS)
def test_reasons_are_of_different_families_and_the_largest_first(contributions: list[float]) -> None:
    values = [float(place) for place in range(len(FEATURES))]
    reasons = reasons_of(values, contributions)
    shares = dict(zip(FAMILIES, families_of(contributions), strict=True))
    named = [reason.family for reason in reasons]
    assert len(reasons) == min(MOST_REASONS, sum(share != 0.0 for share in shares.values()))
    assert len(set(named)) == len(named)
    sizes = [abs(reason.contribution) for reason in reasons]
    assert sizes == sorted(sizes, reverse=True)
    rest = [abs(share) for family, share in shares.items() if family not in named]
    assert not sizes or max(rest) <= sizes[-1]
    for reason in reasons:
        place = [feature.name for feature in FEATURES].index(reason.feature)
        assert FEATURES[place].family == reason.family
        assert reason.value == values[place]
        # It speaks in the direction of its family, and loudest of those that do.
        sign = 1.0 if reason.contribution > 0.0 else -1.0
        own = [sign * c for f, c in zip(FEATURES, contributions, strict=True) if f.family == reason.family]
        assert sign * contributions[place] == max(own) > 0.0


@pytest.mark.parametrize("seed", range(20))
def test_reasons_the_other_families_and_the_intercept_add_up_to_the_log_odds(seed: int) -> None:
    rng, model = Random(seed), rich_model()
    if seed % 2:
        model = with_btyd(model)
    values = [rng.uniform(0.0, 6.0) for _ in FEATURES]
    contributions = model.contributions(values)
    reasons = reasons_of(values, contributions)
    named = {reason.family for reason in reasons}
    others = zip(FAMILIES, families_of(contributions), strict=True)
    rest = sum(share for family, share in others if family not in named)
    total = model.intercept + sum(reason.contribution for reason in reasons) + rest
    assert total == pytest.approx(model.log_odds(vec[float](values)), abs=1e-12)


@given(st.lists(st.floats(-3, 3), min_size=2 * len(FAMILIES), max_size=2 * len(FAMILIES)))
def test_changes_are_the_families_that_moved_most(contributions: list[float]) -> None:
    before, now = contributions[: len(FAMILIES)], contributions[len(FAMILIES) :]
    changes = changes_of(before, now)
    moves = {f: abs(b - a) for f, b, a in zip(FAMILIES, before, now, strict=True)}
    assert [change.family for change in changes] == sorted(
        (family for family in FAMILIES if moves[family] >= SMALLEST_CHANGE),
        key=lambda family: (-moves[family], FAMILIES.index(family)),
    )[:MOST_CHANGES]
    assert all(change.contribution_now == now[FAMILIES.index(change.family)] for change in changes)


def test_the_first_review_has_nothing_to_compare_with() -> None:
    assert changes_of([], [1.0] * len(FAMILIES)) == []
