"""The pool: linear experts behind one scaler, and their mixture as one linear model.

Experts differ in how they take a step, which matters more than the class of the model: River's logistic
regression by gradients, with a step that shrinks by a schedule, and filters that know how sure they are of
each weight and forget at two speeds (`streams.learning.kalman`). The
scaler is the dear part of a River pipeline and would learn the same in each, so there is one for all. All but
two see the log-odds that BG/NBD gives to silence, once there is a fit: before that the scaler does not know
the feature either, or zeros would stay in its mean and variance. Experts behind one scaler, mixed in
log-odds, are linear in the raw features: the mixture is published as a centre and a coefficient for each
feature, exactly.

There is no recalibration after the mixture. Online Platt scaling by delayed answers was tried on CDNOW in
emulations of such pools: at every rate the log loss of natural reviews rose by .003 or more, and that of
four-weekly decisions by .0005 or more, because its feedback is a horizon old and overshoots. Experts that
follow a drift at the right speed need none.
"""

from __future__ import annotations

from datetime import datetime
from math import sqrt
from typing import Any, NamedTuple

import msgspec
from river import linear_model, optim, preprocessing

from schemas.btyd import BtydParams, SpendParams
from schemas.learning import ModelSnapshot
from streams.config import DAY_MS, StreamConfig, days_ms
from streams.customer.features import FEATURE_NAMES, FEATURES
from streams.learning.champion import Champion, ChampionState
from streams.learning.drift import Drift, DriftState
from streams.learning.kalman import Kalman, KalmanState, vector
from streams.learning.mixture import Mixture, MixtureState
from streams.learning.served import btyd_log_odds, log_odds_of, version_name

BTYD = "btyd_log_odds"
_NO_SEASON = {feature.name: 0.0 for feature in FEATURES if feature.family == "season"}
INTERCEPT_RATE = 0.01
LEAST_SPREAD = 0.25
"""Smallest spread that a feature is divided by; features are logarithms, shares, sines, 0 or 1."""
_LEAST_VARIANCE = LEAST_SPREAD * LEAST_SPREAD
_ALL = (*FEATURE_NAMES, BTYD)


class Member(NamedTuple):
    """An expert of the pool.

    Attributes
    ----------
    sees
        Its features.
    step
        How it learns: `inverse`, gradient steps that shrink by a schedule, or `kalman`.
    drift
        Of a filter, how fast its weights wander.
    start
        Its weight in the mixture at the beginning, before it is divided by the sum.
    """

    name: str
    sees: tuple[str, ...]
    step: str
    drift: float = 0.0
    start: float = 25.0


MEMBERS: tuple[Member, ...] = (
    Member("base_rate", (), "inverse", start=1.0),
    Member("btyd", (BTYD,), "inverse", start=1.0),
    Member("inverse", _ALL, "inverse"),
    Member("kalman", _ALL, "kalman", 1e-4),
    Member("kalman_quick", _ALL, "kalman", 1e-3),
)
"""`inverse` takes its step size from the settings; the drifts of the filters are constants.

Tried and dropped: AdaGrad, SGD with a constant step, and those that do not see BG/NBD's log-odds. On every
data set of docs/quality.md the mixture was the same without them, to .0003 of log loss, and each costs 10 to
25 microseconds an example.
"""

_STARTS = [member.start for member in MEMBERS]


class MemberState(msgspec.Struct, array_like=True):
    """What one expert has learned; of a filter, all is in `kalman`."""

    weights: dict[str, float]
    intercept: float
    kalman: KalmanState | None


class PoolState(msgspec.Struct, array_like=True):
    """What the pool has learned, as plain numbers; `features` and `experts` say of what."""

    features: list[str]
    experts: list[str]
    n_learned: int
    counts: dict[str, int]
    means: dict[str, float]
    variances: dict[str, float]
    members: list[MemberState]
    mixture: MixtureState
    drifts: list[DriftState]
    champion: ChampionState


class Pool:
    """All experts.

    Examples
    --------
    >>> pool = Pool(StreamConfig())
    >>> pool.learn(dict.fromkeys(FEATURE_NAMES, 1.0), 1, params=None, matured_ms=DAY_MS)
    >>> pool.n_learned
    1
    """

    def __init__(self, config: StreamConfig) -> None:
        self._config = config
        self._scaler = preprocessing.StandardScaler()
        self._experts = [_expert(member, config) for member in MEMBERS]
        self._mixture = Mixture(_STARTS)
        self._champion = Champion(len(MEMBERS), days_ms(config.reviews.horizon_days))
        self._drifts = [Drift() for _ in MEMBERS]
        self.n_learned = 0

    def learn(
        self,
        features: dict[str, float],
        label: int,
        params: BtydParams | None,
        matured_ms: int,
        seasoned: bool = False,
    ) -> None:
        """Learn one example; each expert is weighed first, by what it says without the answer.

        Parameters
        ----------
        features, label
            The question and its answer.
        params
            Of BG/NBD, as fitted to the examples before this one; None before the first fit.
        matured_ms
            Event time of the answer.
        seasoned
            Whether the time of year may be learned from: where a year has not been seen twice, it only tells
            one half of the history from the other. What is served then has no coefficient for it.
        """
        row = features
        if params is not None:
            values = [features[name] for name in FEATURE_NAMES]
            row = {**features, BTYD: btyd_log_odds(params, values, self._config.reviews.horizon_days)}
        if self._champion.due(matured_ms) and self._mixture.judged:
            self._champion.see(matured_ms, self._mixture.judged, self._mixture.totals())
        self._scaler.learn_one(row)  # it knows no answers, so it may be first, and one scaling is enough
        scaled = _heard(self._scaled(row), seasoned)
        views, seen, at_days = _views(scaled), vector(scaled, _ALL), matured_ms / DAY_MS
        said = [
            expert.log_odds(seen)
            if isinstance(expert, Kalman)
            else float(expert._raw_dot_one(views[member.sees]))
            for expert, member in zip(self._experts, MEMBERS, strict=True)
        ]
        means = self._mixture.learn(said, label)
        if means is not None:
            for drift, mean in zip(self._drifts, means, strict=True):
                drift.add(mean)
        for expert, member in zip(self._experts, MEMBERS, strict=True):
            if isinstance(expert, Kalman):
                expert.learn(seen, label, at_days)
            else:
                expert.learn_one(views[member.sees], bool(label))
        self.n_learned += 1

    def _scaled(self, row: dict[str, float]) -> dict[str, float]:
        """Standardise as River's scaler would, but for what has hardly varied so far.

        The first value of something new would lie a hundred spreads off.
        """
        means, variances, scaled = self._scaler.means, self._scaler.vars, {}
        for name, value in row.items():
            variance = variances[name]
            spread = sqrt(variance) if variance > _LEAST_VARIANCE else LEAST_SPREAD
            scaled[name] = (value - means[name]) / spread
        return scaled

    def snapshot(
        self,
        event_time: datetime | None,
        metrics: dict[str, float],
        params: BtydParams | None,
        spend: SpendParams | None = None,
    ) -> ModelSnapshot:
        """Publish the mixture as plain numbers."""
        return self._published(self._mixture.weights, event_time, metrics, params, spend, self.champion())

    def champion(self) -> str | None:
        """Name the expert that is better than each other beyond chance; None while there is none."""
        place = self._champion.best()
        return None if place is None else MEMBERS[place].name

    def alone(self, params: BtydParams | None) -> dict[str, ModelSnapshot]:
        """Give each expert as the model that it would be without the others, by name."""
        only = [[float(place == own) for own in range(len(MEMBERS))] for place in range(len(MEMBERS))]
        return {
            member.name: self._published(shares, None, {}, params)
            for member, shares in zip(MEMBERS, only, strict=True)
        }

    def _published(
        self,
        shares: list[float],
        event_time: datetime | None,
        metrics: dict[str, float],
        params: BtydParams | None,
        spend: SpendParams | None = None,
        champion: str | None = None,
    ) -> ModelSnapshot:
        weights = [expert.weights for expert in self._experts]
        mixed = list(zip(shares, weights, strict=True))
        centre, coefficient = [], []
        for name in (*FEATURE_NAMES, BTYD):
            # `get`: asking River's dictionaries for a name that they lack would put it in.
            variance = float(self._scaler.vars.get(name, 0.0))
            pooled = sum(weight * float(own.get(name, 0.0)) for weight, own in mixed)
            centre.append(float(self._scaler.means.get(name, 0.0)))
            # A feature that has never varied says nothing; River's scaler makes it 0 as well.
            coefficient.append(pooled / max(LEAST_SPREAD, sqrt(variance)) if variance > 0.0 else 0.0)
        pairs = zip(shares, self._experts, strict=True)
        return ModelSnapshot(
            model_version=version_name(self.n_learned),
            n_learned=self.n_learned,
            event_time=event_time,
            horizon_days=self._config.reviews.horizon_days,
            features=list(FEATURE_NAMES),
            centre=centre[:-1],
            coefficient=coefficient[:-1],
            intercept=sum(weight * float(expert.intercept) for weight, expert in pairs),
            metrics=metrics,
            btyd=params,
            btyd_centre=centre[-1] if params else 0.0,
            btyd_coefficient=coefficient[-1] if params else 0.0,
            spend=spend,
            champion=champion,
        )

    def weights(self) -> dict[str, float]:
        """Weight of each expert in the mixture, by name."""
        return {member.name: weight for member, weight in zip(MEMBERS, self._mixture.weights, strict=True)}

    def losses(self) -> dict[str, float]:
        """Prequential log loss of each expert, by name; empty in the first block."""
        return {member.name: loss for member, loss in zip(MEMBERS, self._mixture.losses(), strict=False)}

    def drifts(self) -> dict[str, int]:
        """Drifts found in each expert's errors so far, by name."""
        return {member.name: drift.drifts for member, drift in zip(MEMBERS, self._drifts, strict=True)}

    def state(self) -> PoolState:
        """Take everything learned out as plain numbers."""
        return PoolState(
            features=list(FEATURE_NAMES),
            experts=[member.name for member in MEMBERS],
            n_learned=self.n_learned,
            counts={name: int(value) for name, value in self._scaler.counts.items()},
            means={name: float(value) for name, value in self._scaler.means.items()},
            variances={name: float(value) for name, value in self._scaler.vars.items()},
            members=[_state_of(expert) for expert in self._experts],
            mixture=self._mixture.state(),
            drifts=[drift.state() for drift in self._drifts],
            champion=self._champion.state(),
        )

    @classmethod
    def restore(cls, config: StreamConfig, state: PoolState) -> Pool:
        """Make a pool that goes on exactly where `state` was taken.

        Raises
        ------
        ValueError
            When the state is of other features or experts than this program's.
        """
        if tuple(state.features) != FEATURE_NAMES or state.experts != [member.name for member in MEMBERS]:
            raise ValueError("a pool of other features or experts than this program's")
        pool = cls(config)
        pool.n_learned = state.n_learned
        scaler: Any = pool._scaler
        scaler.counts.update(state.counts)
        scaler.means.update(state.means)
        scaler.vars.update(state.variances)
        for expert, learned in zip(pool._experts, state.members, strict=True):
            if learned.kalman is not None:
                expert.restore(learned.kalman)
                continue
            expert._weights.update(learned.weights)
            expert.intercept = learned.intercept
            expert.optimizer.n_iterations = state.n_learned
        pool._mixture = Mixture.restore(_STARTS, state.mixture)
        pool._champion = Champion.restore(days_ms(config.reviews.horizon_days), state.champion)
        pool._drifts = [Drift.restore(drift) for drift in state.drifts]
        return pool


def _heard(scaled: dict[str, float], seasoned: bool) -> dict[str, float]:
    """Blank out the season until it may be learned from; the scaler knows it from the beginning."""
    return scaled if seasoned else {**scaled, **_NO_SEASON}


def _state_of(expert: Any) -> MemberState:
    if isinstance(expert, Kalman):
        return MemberState({}, 0.0, expert.state())
    return MemberState(
        {name: float(value) for name, value in expert.weights.items()},
        float(expert.intercept),
        None,
    )


def _views(row: dict[str, float]) -> dict[tuple[str, ...], dict[str, float]]:
    """Give what the members see of a row; made once for all, since dicts are what an example costs."""
    return {(): {}, (BTYD,): {BTYD: row[BTYD]} if BTYD in row else {}, _ALL: row}


def _expert(member: Member, config: StreamConfig) -> Any:
    learner = config.learner
    prior = log_odds_of(learner.prior_churn_rate)
    if member.step == "kalman":
        return Kalman(_ALL, prior, member.drift)
    schedule = optim.schedulers.InverseScaling(learner.learning_rate, learner.learning_rate_power)
    return linear_model.LogisticRegression(
        optimizer=optim.SGD(schedule), l2=learner.l2, intercept_init=prior, intercept_lr=INTERCEPT_RATE
    )
