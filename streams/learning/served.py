"""The model as the customers see it: a few numbers, the same arithmetic everywhere.

risk = sigmoid(intercept + sum of coefficient x (value - centre)), summed from the intercept in the order
of the features. Where the model has BG/NBD parameters, the term of their log-odds comes last; among the
contributions it belongs to the ratio of silence to gaps (rhythm). The order is part of the contract:
floating-point addition is not associative, and whoever recomputes a published risk must get the same bits.
A contribution is one term of that sum, so an explanation is exact and needs no second model.
"""

from __future__ import annotations

from collections.abc import Iterable
from math import exp, log
from typing import Final

from librt.vecs import vec

from schemas.btyd import BtydParams
from schemas.learning import ModelSnapshot
from streams.config import HIGHEST_RISK, StreamConfig
from streams.customer.features import FEATURE_NAMES, LISTS
from streams.segments.serving import ClusterMap, check_borders
from streams.value.bgnbd_of_one import NoOrder

LOWEST_RISK: Final = 0.001

_ORDERS: Final = FEATURE_NAMES.index("log_orders")
_RECENCY: Final = FEATURE_NAMES.index("log_recency")
_TENURE: Final = FEATURE_NAMES.index("log_tenure")
_SILENCE_IN_GAPS: Final = FEATURE_NAMES.index("log_silence_in_gaps")
_MOST_LOG: Final = 30.0


def btyd_log_odds(params: BtydParams, values: list[float], horizon_days: float) -> float:
    """Compute BG/NBD's log-odds of no order within the horizon, from features in the order of `FEATURES`.

    Examples
    --------
    >>> params = BtydParams(model="bgnbd", r=0.25, alpha=30.0, a=0.8, b=2.4)
    >>> values = [0.0] * len(FEATURE_NAMES)
    >>> values[_TENURE], values[_RECENCY], values[_ORDERS] = 4.394449, 4.110874, 1.386294
    >>> round(btyd_log_odds(params, values, 84.0), 3)
    -0.106
    """
    return no_order_log_odds(
        NoOrder(params, horizon_days), values[_ORDERS], values[_RECENCY], values[_TENURE]
    )


def no_order_log_odds(no_order: NoOrder, log_orders: float, log_recency: float, log_tenure: float) -> float:
    """Ask BG/NBD about three features.

    They are 32-bit logs that may come from anywhere: they are kept to histories that can be.
    """
    return log_odds_at(no_order, repeats_of(log_orders), days_of(log_recency), log_tenure)


def log_odds_at(no_order: NoOrder, repeats: float, recency: float, log_tenure: float) -> float:
    """Ask BG/NBD the same where only the tenure is still a feature: silence moves nothing else."""
    tenure = days_of(log_tenure)
    return no_order.log_odds(repeats, recency if recency < tenure else tenure, tenure)


def repeats_of(log_orders: float) -> float:
    """Count the orders after the first, which is what BG/NBD asks for, from the feature of all orders.

    Examples
    --------
    >>> repeats_of(1.0986123085021973), repeats_of(-1.0)
    (1.0, 0.0)
    """
    orders = float(int(exp(log_orders if log_orders < _MOST_LOG else _MOST_LOG) - 0.5))
    return orders - 1.0 if orders > 1.0 else 0.0


def days_of(log_days: float) -> float:
    """Turn a feature in log1p of days back into days.

    Examples
    --------
    >>> round(days_of(3.4339872), 4), days_of(-1.0)
    (30.0, 0.0)
    """
    return exp(log_days if log_days < _MOST_LOG else _MOST_LOG) - 1.0 if log_days > 0.0 else 0.0


def risk_of(log_odds: float) -> float:
    """Turn log-odds into a risk, kept off 0 and 1 so that no single surprise costs infinitely much.

    Examples
    --------
    >>> risk_of(0.0), risk_of(1000.0), risk_of(-1000.0)
    (0.5, 0.999, 0.001)
    """
    if log_odds > 20.0:
        return HIGHEST_RISK
    if log_odds < -20.0:
        return LOWEST_RISK
    return min(HIGHEST_RISK, max(LOWEST_RISK, 1.0 / (1.0 + exp(-log_odds))))


def log_odds_of(risk: float) -> float:
    """Turn a risk strictly between 0 and 1 into log-odds.

    Examples
    --------
    >>> log_odds_of(0.5)
    0.0
    """
    return log(risk / (1.0 - risk))


def version_name(n_learned: int) -> str:
    """Name the model after so many examples: one log of examples gives one model for each count.

    Examples
    --------
    >>> version_name(1200)
    'lr-1200'
    """
    return f"lr-{n_learned}"


def untrained(config: StreamConfig) -> ModelSnapshot:
    """Give the model before anything has been learned: the prior, whatever the features say.

    Examples
    --------
    >>> untrained(StreamConfig()).model_version
    'lr-0'
    """
    nothing = [0.0] * len(FEATURE_NAMES)
    return ModelSnapshot(
        model_version=version_name(0),
        n_learned=0,
        event_time=None,
        horizon_days=config.reviews.horizon_days,
        features=list(FEATURE_NAMES),
        centre=nothing,
        coefficient=nothing,
        intercept=log_odds_of(config.learner.prior_churn_rate),
        metrics={},
    )


class Served:
    """A snapshot, ready to score.

    Parameters
    ----------
    snapshot
        Its features must be those of this program, in order. One of an earlier program may lack some, as the
        list is only appended to: they get the coefficient 0, which leaves what it says as it was, to the bit.

    Raises
    ------
    ValueError
        When the snapshot speaks of other features, or holds what cannot be served.

    Examples
    --------
    >>> served = Served(untrained(StreamConfig()))
    >>> served.risk([1.0] * len(FEATURE_NAMES))
    0.5
    """

    __slots__ = (
        "btyd_centre", "btyd_coefficient", "centre", "clusters", "coefficient", "intercept", "model_version",
        "n_learned", "no_order", "snapshot",
    )  # fmt: skip

    def __init__(self, snapshot: ModelSnapshot) -> None:
        known = len(snapshot.features)
        if known not in LISTS or tuple(snapshot.features) != FEATURE_NAMES[:known]:
            raise ValueError(
                f"model {snapshot.model_version} speaks of other features than this program: "
                f"{sorted(set(snapshot.features) ^ set(FEATURE_NAMES))}"
            )
        if not len(snapshot.centre) == len(snapshot.coefficient) == known:
            raise ValueError(f"model {snapshot.model_version} lacks a centre or a coefficient")
        btyd = snapshot.btyd
        if btyd is not None and (btyd.model != "bgnbd" or min(btyd.r, btyd.alpha, btyd.a, btyd.b) <= 0.0):
            raise ValueError(f"model {snapshot.model_version} has a BTYD part that is no BG/NBD")
        check_borders(snapshot)
        self.snapshot = snapshot
        self.clusters = ClusterMap(snapshot)
        self.model_version = snapshot.model_version
        self.n_learned = snapshot.n_learned
        self.intercept = snapshot.intercept
        unknown = [0.0] * (len(FEATURE_NAMES) - known)
        self.centre = vec[float](snapshot.centre + unknown)
        self.coefficient = vec[float](snapshot.coefficient + unknown)
        self.btyd_centre = snapshot.btyd_centre
        self.btyd_coefficient = snapshot.btyd_coefficient
        self.no_order: NoOrder | None = None
        if snapshot.btyd is not None and snapshot.btyd_coefficient:
            self.no_order = NoOrder(snapshot.btyd, snapshot.horizon_days)

    def log_odds(self, values: vec[float]) -> float:
        """Compute the log-odds of the risk from features in the order of `FEATURES`."""
        # Strictly from left to right; sum() compensates from Python 3.12 on.
        total = self.intercept
        coefficient, centre = self.coefficient, self.centre
        for place in range(len(coefficient)):
            total += coefficient[place] * (values[place] - centre[place])
        no_order = self.no_order
        return total if no_order is None else total + self._term(no_order, values)

    def risk(self, values: Iterable[float]) -> float:
        """Compute P(no order within the horizon) from features in the order of `FEATURES`."""
        return risk_of(self.log_odds(vec[float](values)))

    def contributions(self, values: Iterable[float]) -> list[float]:
        """Split the log-odds, less the intercept, into one term for each feature."""
        seen = vec[float](values)
        coefficient, centre = self.coefficient, self.centre
        terms = [coefficient[place] * (seen[place] - centre[place]) for place in range(len(coefficient))]
        if self.no_order is not None:
            terms[_SILENCE_IN_GAPS] += self._term(self.no_order, seen)
        return terms

    def _term(self, no_order: NoOrder, values: vec[float]) -> float:
        known = no_order_log_odds(no_order, values[_ORDERS], values[_RECENCY], values[_TENURE])
        return self.btyd_coefficient * (known - self.btyd_centre)
