"""What is published of the pool is the pool, and a restored one goes on bit for bit."""

from __future__ import annotations

from math import sqrt
from random import Random
from statistics import fmean
from typing import Any

import msgspec
import pytest
from librt.vecs import vec

from schemas.btyd import BtydParams
from streams.config import DAY_MS, HIGHEST_RISK, LearnerConfig, StreamConfig
from streams.customer.features import FEATURE_NAMES, FEATURES, LISTS
from streams.learning.kalman import Kalman, vector
from streams.learning.pool import BTYD, LEAST_SPREAD, MEMBERS, Pool, PoolState
from streams.learning.served import (
    LOWEST_RISK,
    Served,
    btyd_log_odds,
    log_odds_of,
    risk_of,
    untrained,
    version_name,
)
from tests.streams.build import snapshot_of

PARAMS = BtydParams(model="bgnbd", r=0.25, alpha=30.0, a=0.8, b=2.4)

SEASON = [feature.name for feature in FEATURES if feature.family == "season"]

CONFIGS = [
    StreamConfig(),
    StreamConfig(learner=LearnerConfig(learning_rate=0.5, learning_rate_power=0.0)),
    StreamConfig(learner=LearnerConfig(l2=0.01, prior_churn_rate=0.8)),
]


def rows(seed: int, count: int) -> list[tuple[dict[str, float], int]]:
    """Draw examples with one feature that never varies and one that rarely does."""
    rng = Random(seed)
    drawn = []
    for _ in range(count):
        values = [rng.gauss(3.0, 1.5) for _ in FEATURE_NAMES]
        values[2], values[11] = 1.25, float(rng.random() < 0.05)
        label = int(rng.random() < risk_of(values[1] - values[4]))
        drawn.append((dict(zip(FEATURE_NAMES, values, strict=True)), label))
    return drawn


def trained(seed: int, count: int, config: StreamConfig) -> Pool:
    expert = Pool(config)
    for number, (features, label) in enumerate(rows(seed, count)):
        expert.learn(features, label, PARAMS, number * DAY_MS // 8)
    return expert


def by_spread(pool: Pool, row: dict[str, float]) -> dict[str, float]:
    """Standardise by hand, with no spread below the least."""
    state = pool.state()
    spreads = {name: max(LEAST_SPREAD, sqrt(variance)) for name, variance in state.variances.items()}
    return {name: (value - state.means[name]) / spreads[name] for name, value in row.items()}


def pooled(pool: Pool, features: dict[str, float]) -> float:
    """Ask each River model and mix their log-odds, the slow way."""
    known = btyd_log_odds(PARAMS, list(features.values()), 30.0)
    row = by_spread(pool, {**features, BTYD: known})
    total = 0.0
    for member, expert in zip(MEMBERS, pool._experts, strict=True):
        seen = {name: row[name] for name in member.sees}  # risks may be 1 in floats, log-odds are not
        asked = expert.log_odds(vector(seen, member.sees)) if isinstance(expert, Kalman) else None
        said = float(expert._raw_dot_one(seen)) if asked is None else asked
        total += pool.weights()[member.name] * said
    return total


@pytest.mark.parametrize("config", CONFIGS)
@pytest.mark.parametrize("count", [1, 2, 1300])
def test_what_is_served_is_the_mixture_of_the_river_models(config: StreamConfig, count: int) -> None:
    pool = trained(3, count, config)
    served = Served(pool.snapshot(None, {}, PARAMS))
    for features, _ in rows(4, 60):
        expected = min(HIGHEST_RISK, max(LOWEST_RISK, risk_of(pooled(pool, features))))
        assert served.risk(list(features.values())) == pytest.approx(expected, abs=1e-9)


def test_weights_are_positive_and_add_up_to_one() -> None:
    weights = trained(3, 1300, StreamConfig()).weights()
    assert sum(weights.values()) == pytest.approx(1.0)
    assert min(weights.values()) > 0.0
    assert weights["inverse"] > weights["base_rate"]


def test_a_prediction_changes_nothing() -> None:
    expert = trained(1, 50, StreamConfig())
    before = expert.state()
    for features, _ in rows(2, 20):
        Served(expert.snapshot(None, {}, PARAMS)).risk(list(features.values()))
    assert expert.state() == before


@pytest.mark.parametrize("config", CONFIGS)
def test_a_restored_expert_learns_on_bit_for_bit(config: StreamConfig) -> None:
    expert = trained(5, 200, config)
    wire = msgspec.msgpack.encode(expert.state())
    restored = Pool.restore(config, msgspec.msgpack.decode(wire, type=PoolState))
    for number, (features, label) in enumerate(rows(6, 200), start=200):
        expert.learn(features, label, PARAMS, number * DAY_MS // 8)
        restored.learn(features, label, PARAMS, number * DAY_MS // 8)
        assert restored.snapshot(None, {}, PARAMS) == expert.snapshot(None, {}, PARAMS)
    assert restored.state() == expert.state()


def test_learning_reduces_the_loss() -> None:
    expert = trained(7, 1500, StreamConfig())
    served, prior = Served(expert.snapshot(None, {}, PARAMS)), Served(untrained(StreamConfig()))
    right = [0, 0]
    for features, label in rows(8, 300):
        values = list(features.values())
        right[0] += (served.risk(values) > 0.5) == bool(label)
        right[1] += (prior.risk(values) > 0.5) == bool(label)
    assert right[0] > 200 > right[1]


def test_before_anything_is_learned_the_prior_is_served() -> None:
    served = Served(untrained(StreamConfig(learner=LearnerConfig(prior_churn_rate=0.7))))
    assert served.risk([9.0] * len(FEATURE_NAMES)) == pytest.approx(0.7)
    assert served.model_version == "lr-0"


def test_a_feature_that_never_varied_says_nothing() -> None:
    snapshot = trained(1, 100, StreamConfig()).snapshot(None, {}, PARAMS)
    assert snapshot.coefficient[2] == 0.0
    assert snapshot.centre[2] == 1.25
    silent = [n for n, weight in zip(snapshot.features, snapshot.coefficient, strict=True) if weight == 0.0]
    assert silent == [FEATURE_NAMES[2], *SEASON], "the season has to wait"


def test_the_season_is_learned_only_where_it_may_be_and_the_rest_is_the_same_until_then() -> None:
    """What is not heard leaves no trace: neither in weights nor in what others learn."""
    quiet, heard = Pool(StreamConfig()), Pool(StreamConfig())
    for day, (features, label) in enumerate(rows(3, 200), start=1):
        at_ms = day * DAY_MS
        quiet.learn({**features, SEASON[0]: float(label)}, label, PARAMS, at_ms)
        heard.learn({**features, SEASON[0]: float(label)}, label, PARAMS, at_ms, seasoned=True)
    place = FEATURE_NAMES.index(SEASON[0])
    assert quiet.snapshot(None, {}, PARAMS).coefficient[place] == 0.0
    assert heard.snapshot(None, {}, PARAMS).coefficient[place] > 0.1
    elsewhere = Pool(StreamConfig())
    for day, (features, label) in enumerate(rows(3, 200), start=1):
        elsewhere.learn({**features, SEASON[0]: float(-label)}, label, PARAMS, day * DAY_MS)
    coefficients = [pool.snapshot(None, {}, PARAMS).coefficient for pool in (quiet, elsewhere)]
    assert coefficients[0] == coefficients[1]


def test_a_season_that_begins_to_be_heard_does_not_jump() -> None:
    """The scaler knew it before, so the first step is as small as any other's."""
    pool = Pool(StreamConfig())
    for count, (features, label) in enumerate(rows(3, 400)):
        row = {**features, SEASON[0]: count / 400}
        pool.learn(row, label, PARAMS, (count + 1) * DAY_MS, seasoned=count >= 300)
    place = FEATURE_NAMES.index(SEASON[0])
    assert 0.0 < abs(pool.snapshot(None, {}, PARAMS).coefficient[place]) < 1.0


def test_a_version_names_the_number_of_examples() -> None:
    expert = trained(1, 17, StreamConfig())
    assert expert.snapshot(None, {}, PARAMS).model_version == version_name(17) == "lr-17"
    assert expert.snapshot(None, {}, PARAMS).n_learned == 17


def test_two_experts_with_the_same_examples_are_the_same() -> None:
    assert trained(1, 100, StreamConfig()).state() == trained(1, 100, StreamConfig()).state()


# Serving


def by_hand(
    snapshot_coefficients: list[float], centre: list[float], intercept: float, values: list[float]
) -> float:
    """Add from left to right, as the contract says."""
    total = intercept
    for coefficient, middle, value in zip(snapshot_coefficients, centre, values, strict=True):
        total += coefficient * (value - middle)
    return total


def test_log_odds_are_the_sum_from_left_to_right_to_the_last_bit() -> None:
    snapshot = trained(9, 300, StreamConfig()).snapshot(None, {}, PARAMS)
    served = Served(snapshot)
    for features, _ in rows(10, 200):
        values = list(features.values())
        expected = by_hand(snapshot.coefficient, snapshot.centre, snapshot.intercept, values)
        known = btyd_log_odds(PARAMS, values, snapshot.horizon_days)
        expected += snapshot.btyd_coefficient * (known - snapshot.btyd_centre)
        assert served.log_odds(vec[float](values)) == expected
        assert served.risk(values) == risk_of(expected)


def test_contributions_and_the_intercept_add_up_to_the_log_odds() -> None:
    served = Served(trained(9, 300, StreamConfig()).snapshot(None, {}, PARAMS))
    for features, _ in rows(11, 50):
        values = list(features.values())
        total = served.intercept + sum(served.contributions(values))
        assert total == pytest.approx(served.log_odds(vec[float](values)), abs=1e-12)


def test_a_model_of_other_features_is_refused() -> None:
    snapshot = snapshot_of(0.0)
    for names in (snapshot.features[:-1], [*snapshot.features, "more"], snapshot.features[::-1]):
        with pytest.raises(ValueError, match="speaks of other features"):
            Served(msgspec.structs.replace(snapshot, features=names))


def test_a_model_of_an_earlier_list_says_what_it_said() -> None:
    """To the last bit: an upgrade goes on serving it until a model of the new list is there."""
    whole = trained(9, 300, StreamConfig()).snapshot(None, {}, PARAMS)
    known = LISTS[0]
    earlier = msgspec.structs.replace(
        whole,
        features=whole.features[:known],
        centre=whole.centre[:known],
        coefficient=whole.coefficient[:known],
    )
    served = Served(earlier)
    for features, _ in rows(10, 100):
        values = list(features.values())
        expected = by_hand(earlier.coefficient, earlier.centre, earlier.intercept, values[:known])
        expected += earlier.btyd_coefficient * (
            btyd_log_odds(PARAMS, values, earlier.horizon_days) - earlier.btyd_centre
        )
        assert served.log_odds(vec[float](values)) == expected
        assert served.contributions(values)[known:] == [0.0] * (len(FEATURE_NAMES) - known)


def test_risks_stay_off_zero_and_one_and_rise_with_log_odds() -> None:
    risks = [risk_of(step / 10) for step in range(-400, 401)]
    assert risks == sorted(risks)
    assert (risks[0], risks[-1]) == (LOWEST_RISK, HIGHEST_RISK) == (0.001, 0.999)
    assert risk_of(1e308) == HIGHEST_RISK
    assert risk_of(-1e308) == LOWEST_RISK


@pytest.mark.parametrize("risk", [0.002, 0.3, 0.5, 0.8, 0.998])
def test_log_odds_and_risk_are_inverse(risk: float) -> None:
    assert risk_of(log_odds_of(risk)) == pytest.approx(risk, abs=1e-12)


@pytest.mark.parametrize(
    "change",
    [
        {"centre": [0.0]},
        {"coefficient": [0.0] * 15},
        {"btyd": msgspec.structs.replace(PARAMS, model="paretonbd")},
        {"btyd": msgspec.structs.replace(PARAMS, model="mbgnbd")},
        {"btyd": msgspec.structs.replace(PARAMS, alpha=0.0)},
    ],
)
def test_a_model_that_could_not_be_served_is_refused_at_once(change: dict[str, Any]) -> None:
    """Everybody reads it at every start: found at the first look, it would end worker after worker."""
    snapshot = trained(9, 300, StreamConfig()).snapshot(None, {}, PARAMS)
    assert Served(snapshot).no_order is not None
    with pytest.raises(ValueError, match=r"lacks a centre or a coefficient|no BG/NBD"):
        Served(msgspec.structs.replace(snapshot, **change))


def test_before_the_first_fit_the_scaler_does_not_know_btyd() -> None:
    """Zeros would stay in its mean and variance for good."""
    pool = Pool(StreamConfig())
    drawn = rows(12, 400)
    for number, (features, label) in enumerate(drawn[:200]):
        pool.learn(features, label, None, number * DAY_MS // 8)
    assert BTYD not in pool.state().means
    known = [btyd_log_odds(PARAMS, list(features.values()), 30.0) for features, _ in drawn[200:]]
    for number, (features, label) in enumerate(drawn[200:], start=200):
        pool.learn(features, label, PARAMS, number * DAY_MS // 8)
    snapshot = pool.snapshot(None, {}, PARAMS)
    assert snapshot.btyd_centre == pytest.approx(fmean(known))
    assert snapshot.btyd_coefficient != 0.0


def test_the_first_who_has_something_new_decides_nothing_for_all_who_have_it_later() -> None:
    """A shop that never gave discounts gives its first one, and that customer stays."""
    pool, random = Pool(StreamConfig()), Random(8)
    features, _ = rows(3, 1)[0]
    plain = {**features, "discount_share": 0.0}
    for number in range(5_000):
        pool.learn(plain, int(random.random() < 0.95), PARAMS, number * DAY_MS // 50)
    usual = Served(pool.snapshot(None, {}, PARAMS)).risk(list(plain.values()))
    new = {**plain, "discount_share": 0.3}
    pool.learn(new, 0, PARAMS, 100 * DAY_MS)
    assert 0.5 < Served(pool.snapshot(None, {}, PARAMS)).risk(list(new.values())) < usual


def test_an_expert_alone_is_what_its_river_model_or_filter_says() -> None:
    pool = trained(13, 700, StreamConfig())
    alone = {name: Served(model) for name, model in pool.alone(PARAMS).items()}
    assert list(alone) == [member.name for member in MEMBERS]
    for features, _ in rows(14, 20):
        values = list(features.values())
        known = btyd_log_odds(PARAMS, values, 30.0)
        row = by_spread(pool, {**features, BTYD: known})
        for member, expert in zip(MEMBERS, pool._experts, strict=True):
            seen = {name: row[name] for name in member.sees}
            if isinstance(expert, Kalman):
                said = expert.log_odds(vector(seen, member.sees))
            else:
                said = float(expert._raw_dot_one(seen))
            assert alone[member.name].log_odds(vec[float](values)) == pytest.approx(said, abs=1e-9)


def test_a_champion_is_published_once_there_is_one() -> None:
    """Over years of answers that two features explain, the base rate is beaten, but by several alike."""
    pool = trained(15, 1_300, StreamConfig())
    assert pool.champion() is None
    assert pool.snapshot(None, {}, PARAMS).champion is None
    for place in range(len(MEMBERS)):
        pool._champion._means[place] = 0.5
        pool._champion._moments[place][place] = 1e-6
    pool._champion._blocks, pool._champion._means[3] = 40, 0.4
    assert pool.snapshot(None, {}, PARAMS).champion == MEMBERS[3].name


def test_a_pool_of_other_features_or_experts_is_refused() -> None:
    state = trained(1, 10, StreamConfig()).state()
    for change in ({"features": ["one"]}, {"experts": ["one"]}):
        with pytest.raises(ValueError, match="other features or experts"):
            Pool.restore(StreamConfig(), msgspec.structs.replace(state, **change))
