"""An expert: a River pipeline that learns one example at a time.

StandardScaler | LogisticRegression with a step size that falls with the inverse root of the examples
seen. Measured on real orders with honest label delay, the schedule of the step size matters more than
the class of the model, and this one is level with batch models retrained every month. A linear expert
behind a scaler is linear in the raw features too, so it is published as a centre and a coefficient for
each feature; that is exact, not an approximation.

References
----------
Montiel et al., River: machine learning for streaming data in Python, JMLR 22 (2021).
"""

from __future__ import annotations

from datetime import datetime
from math import sqrt
from typing import Any

import msgspec
from river import compose, linear_model, optim, preprocessing

from schemas.learning import ModelSnapshot
from streams.config import StreamConfig
from streams.customer.features import FEATURE_NAMES
from streams.learning.served import log_odds_of, version_name


class ExpertState(msgspec.Struct, array_like=True):
    """All that an expert has learned, as plain numbers: what a checkpoint holds."""

    n_learned: int
    counts: dict[str, int]
    means: dict[str, float]
    variances: dict[str, float]
    weights: dict[str, float]
    intercept: float


class LogisticExpert:
    """StandardScaler | LogisticRegression with inverse-scaling SGD.

    Parameters
    ----------
    config
        `config.learner` holds the step size, its schedule, the L2 penalty and the prior.

    Examples
    --------
    >>> expert = LogisticExpert(StreamConfig())
    >>> expert.learn(dict.fromkeys(FEATURE_NAMES, 1.0), label=1)
    >>> expert.n_learned
    1
    """

    def __init__(self, config: StreamConfig) -> None:
        learner = config.learner
        self._config = config
        self._scaler = preprocessing.StandardScaler()
        self._optimizer = optim.SGD(
            optim.schedulers.InverseScaling(learner.learning_rate, learner.learning_rate_power)
        )
        self._regression = linear_model.LogisticRegression(
            optimizer=self._optimizer,
            l2=learner.l2,
            intercept_init=log_odds_of(learner.prior_churn_rate),
        )
        self.pipeline = compose.Pipeline(self._scaler, self._regression)
        self.n_learned = 0

    def learn(self, features: dict[str, float], label: int) -> None:
        """Learn one example."""
        self.pipeline.learn_one(features, bool(label))
        self.n_learned += 1

    def snapshot(self, event_time: datetime | None, metrics: dict[str, float]) -> ModelSnapshot:
        """Publish the expert as plain numbers."""
        weights: dict[str, float] = self._regression.weights
        centre, coefficient = [], []
        for name in FEATURE_NAMES:
            spread = sqrt(self._scaler.vars[name])
            centre.append(float(self._scaler.means[name]))
            # A feature that has never varied says nothing; River's scaler makes it 0 as well.
            coefficient.append(float(weights.get(name, 0.0)) / spread if spread > 0.0 else 0.0)
        return ModelSnapshot(
            model_version=version_name(self.n_learned),
            n_learned=self.n_learned,
            event_time=event_time,
            horizon_days=self._config.reviews.horizon_days,
            features=list(FEATURE_NAMES),
            centre=centre,
            coefficient=coefficient,
            intercept=float(self._regression.intercept),
            metrics=metrics,
        )

    def state(self) -> ExpertState:
        """Take everything learned out as plain numbers."""
        return ExpertState(
            n_learned=self.n_learned,
            counts={name: int(value) for name, value in self._scaler.counts.items()},
            means={name: float(value) for name, value in self._scaler.means.items()},
            variances={name: float(value) for name, value in self._scaler.vars.items()},
            weights={name: float(value) for name, value in self._regression.weights.items()},
            intercept=float(self._regression.intercept),
        )

    @classmethod
    def restore(cls, config: StreamConfig, state: ExpertState) -> LogisticExpert:
        """Make an expert that goes on exactly where `state` was taken."""
        expert = cls(config)
        expert.n_learned = state.n_learned
        scaler: Any = expert._scaler
        scaler.counts.update(state.counts)
        scaler.means.update(state.means)
        scaler.vars.update(state.variances)
        regression: Any = expert._regression
        regression._weights.update(state.weights)
        regression.intercept = state.intercept
        expert._optimizer.n_iterations = state.n_learned
        return expert
