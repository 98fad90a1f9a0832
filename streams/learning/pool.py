"""The pool: linear River experts behind one scaler, and their mixture as one linear model.

Experts differ in the schedule of their step size, which matters more than the class of the model, and in
whether they see the log-odds that BG/NBD gives to silence. The scaler is the dear part of a River pipeline
and would learn the same in each, so there is one for all. Experts behind one scaler, mixed in log-odds, are
linear in the raw features: the mixture is published as a centre and a coefficient for each feature, exactly.

There is no recalibration after the mixture. Online Platt scaling by delayed answers was tried on CDNOW in
emulations of such pools: at every rate the log loss of natural reviews rose by .003 or more, and that of
four-weekly decisions by .0005 or more, because its feedback is a horizon old and overshoots.
"""

from __future__ import annotations

from datetime import datetime
from math import sqrt
from typing import Any, NamedTuple

import msgspec
from river import linear_model, optim, preprocessing

from schemas.btyd import BtydParams, SpendParams
from schemas.learning import ModelSnapshot
from streams.config import StreamConfig
from streams.customer.features import FEATURE_NAMES, FEATURES
from streams.learning.drift import Drift, DriftState
from streams.learning.mixture import Mixture, MixtureState
from streams.learning.served import btyd_log_odds, log_odds_of, version_name

BTYD = "btyd_log_odds"
_NO_SEASON = {feature.name: 0.0 for feature in FEATURES if feature.family == "season"}
_WITHOUT = FEATURE_NAMES
_WITH = (*FEATURE_NAMES, BTYD)


class Member(NamedTuple):
    """An expert of the pool: what it sees, and its steps."""

    name: str
    sees: tuple[str, ...]
    step: str = "inverse"
    rate: float = 0.05
    intercept_rate: float = 0.01


MEMBERS: tuple[Member, ...] = (
    Member("base_rate", ()),
    Member("btyd", (BTYD,)),
    Member("inverse", _WITHOUT),
    Member("inverse_btyd", _WITH),
    Member("inverse_btyd_steady", _WITH, intercept_rate=0.001),
    Member("adagrad", _WITHOUT, "adagrad"),
    Member("adagrad_btyd", _WITH, "adagrad"),
    Member("sgd", _WITHOUT, "constant", 0.01),
    Member("sgd_btyd", _WITH, "constant", 0.01),
)
"""`inverse` takes its step size from the settings; the rates of the others are those of the literature."""


class MemberState(msgspec.Struct, array_like=True):
    """What one expert has learned."""

    weights: dict[str, float]
    intercept: float
    squares: dict[str, float]


class PoolState(msgspec.Struct, array_like=True):
    """What the pool has learned, as plain numbers."""

    n_learned: int
    counts: dict[str, int]
    means: dict[str, float]
    variances: dict[str, float]
    members: list[MemberState]
    mixture: MixtureState
    drifts: list[DriftState]


class Pool:
    """All experts.

    Examples
    --------
    >>> pool = Pool(StreamConfig())
    >>> pool.learn(dict.fromkeys(FEATURE_NAMES, 1.0), 1, params=None)
    >>> pool.n_learned
    1
    """

    def __init__(self, config: StreamConfig) -> None:
        self._config = config
        self._scaler = preprocessing.StandardScaler()
        self._experts = [_expert(member, config) for member in MEMBERS]
        self._mixture = Mixture(len(MEMBERS))
        self._drifts = [Drift() for _ in MEMBERS]
        self.n_learned = 0

    def learn(
        self, features: dict[str, float], label: int, params: BtydParams | None, seasoned: bool = False
    ) -> None:
        """Learn one example; each expert is weighed first, by what it says without the answer.

        Parameters
        ----------
        features, label
            The question and its answer.
        params
            Of BG/NBD, as fitted to the examples before this one; None before the first fit.
        seasoned
            Whether the time of year may be learned from: where a year has not been seen twice, it only tells
            one half of the history from the other. What is served then has no coefficient for it.
        """
        values = [features[name] for name in FEATURE_NAMES]
        horizon_days = self._config.reviews.horizon_days
        known = 0.0 if params is None else btyd_log_odds(params, values, horizon_days)
        row = {**features, BTYD: known}
        if self.n_learned:
            before = _views(_heard(self._scaler.transform_one(row), seasoned))
            said = [
                float(expert._raw_dot_one(before[member.sees]))
                for expert, member in zip(self._experts, MEMBERS, strict=True)
            ]
        else:
            said = [float(expert.intercept) for expert in self._experts]
        means = self._mixture.learn(said, label)
        if means is not None:
            for drift, mean in zip(self._drifts, means, strict=True):
                drift.add(mean)
        self._scaler.learn_one(row)
        scaled = _views(_heard(self._scaler.transform_one(row), seasoned))
        for expert, member in zip(self._experts, MEMBERS, strict=True):
            expert.learn_one(scaled[member.sees], bool(label))
        self.n_learned += 1

    def snapshot(
        self,
        event_time: datetime | None,
        metrics: dict[str, float],
        params: BtydParams | None,
        spend: SpendParams | None = None,
    ) -> ModelSnapshot:
        """Publish the mixture as plain numbers."""
        weights = [expert.weights for expert in self._experts]
        mixed = list(zip(self._mixture.weights, weights, strict=True))
        centre, coefficient = [], []
        for name in (*FEATURE_NAMES, BTYD):
            spread = sqrt(self._scaler.vars[name])
            pooled = sum(weight * float(own.get(name, 0.0)) for weight, own in mixed)
            centre.append(float(self._scaler.means[name]))
            # A feature that has never varied says nothing; River's scaler makes it 0 as well.
            coefficient.append(pooled / spread if spread > 0.0 else 0.0)
        pairs = zip(self._mixture.weights, self._experts, strict=True)
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
            n_learned=self.n_learned,
            counts={name: int(value) for name, value in self._scaler.counts.items()},
            means={name: float(value) for name, value in self._scaler.means.items()},
            variances={name: float(value) for name, value in self._scaler.vars.items()},
            members=[
                MemberState(
                    {name: float(value) for name, value in expert.weights.items()},
                    float(expert.intercept),
                    {name: float(v) for name, v in getattr(expert.optimizer, "g2", {}).items()},
                )
                for expert in self._experts
            ],
            mixture=self._mixture.state(),
            drifts=[drift.state() for drift in self._drifts],
        )

    @classmethod
    def restore(cls, config: StreamConfig, state: PoolState) -> Pool:
        """Make a pool that goes on exactly where `state` was taken."""
        pool = cls(config)
        pool.n_learned = state.n_learned
        scaler: Any = pool._scaler
        scaler.counts.update(state.counts)
        scaler.means.update(state.means)
        scaler.vars.update(state.variances)
        for expert, learned in zip(pool._experts, state.members, strict=True):
            expert._weights.update(learned.weights)
            expert.intercept = learned.intercept
            expert.optimizer.n_iterations = state.n_learned
            if learned.squares:
                expert.optimizer.g2.update(learned.squares)
        pool._mixture = Mixture.restore(state.mixture)
        pool._drifts = [Drift.restore(drift) for drift in state.drifts]
        return pool


def _heard(scaled: dict[str, float], seasoned: bool) -> dict[str, float]:
    """Blank out the season until it may be learned from; the scaler knows it from the beginning."""
    return scaled if seasoned else {**scaled, **_NO_SEASON}


def _views(row: dict[str, float]) -> dict[tuple[str, ...], dict[str, float]]:
    """Give what the members see of a row; made once for all, since dicts are what an example costs."""
    without = dict(row)
    btyd = without.pop(BTYD)
    return {(): {}, (BTYD,): {BTYD: btyd}, _WITHOUT: without, _WITH: row}


def _expert(member: Member, config: StreamConfig) -> Any:
    learner = config.learner
    if member.step == "adagrad":
        optimizer: Any = optim.AdaGrad(member.rate)
    elif member.step == "constant":
        optimizer = optim.SGD(member.rate)
    else:
        schedule = optim.schedulers.InverseScaling(learner.learning_rate, learner.learning_rate_power)
        optimizer = optim.SGD(schedule)
    return linear_model.LogisticRegression(
        optimizer=optimizer,
        l2=learner.l2,
        intercept_init=log_odds_of(learner.prior_churn_rate),
        intercept_lr=member.intercept_rate,
    )
