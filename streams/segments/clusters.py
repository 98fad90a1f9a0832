"""Behavioural clusters: customers who buy alike, found by k-means over standardised features.

The learner shows each frozen set of features to River's incremental k-means: the nearest centre moves a
little towards it. A centre keeps its number as it moves, so a cluster keeps its id, from one model to the
next and over a restart. Centres begin where k-means++ and Lloyd's iterations put them on the newest rows,
once there are enough. Only what a customer does goes in, not how long they have been silent: that is what
risk and RFM are about.

River sums over a set of names, whose order differs between processes when names are text; numbers are used
for names here, and the same examples give the same centres to the last bit.

References
----------
MacQueen, Some methods for classification and analysis of multivariate observations (1967). Arthur, D. and
Vassilvitskii, S. (2007), k-means++: the advantages of careful seeding, SODA.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from math import sqrt
from typing import Any, NamedTuple

import msgspec
import numpy as np
from river import cluster, preprocessing
from scipy.cluster.vq import kmeans2

from schemas.segments import Cluster, Clusters

ENOUGH_ROWS = 500
"""Rows that centres begin with."""

STEP = 0.01
"""How far the nearest centre moves towards a row: it remembers the last few hundred of its own."""

LEAST_SHARE = 0.01
"""A cluster of fewer customers than that is not published."""

_SHARE_STEP = 0.002
_CLIP = 3.0
"""In standard deviations: one customer with a thousand orders is no cluster."""
_STANDS_OUT = 0.5
_MOST_WORDS = 3
_LIKE_MOST = "like most"


class Behaviour(NamedTuple):
    """A feature that clusters look at, and what little and much of it is called."""

    feature: str
    little: str
    much: str


BEHAVIOURS: tuple[Behaviour, ...] = (
    Behaviour("log_orders", "few orders", "many orders"),
    Behaviour("log_orders_84d", "quiet lately", "busy lately"),
    Behaviour("log_order_value", "small baskets", "large baskets"),
    Behaviour("discount_share", "full price", "discounts"),
    Behaviour("refund_share", "keeps all", "sends back"),
    Behaviour("log_sessions", "rare visits", "frequent visits"),
)


class ClustersState(msgspec.Struct, array_like=True):
    """Everything that `restore` needs."""

    counts: list[int]
    means: list[float]
    variances: list[float]
    centres: list[list[float]]
    shares: list[float]
    waiting: list[list[float]]


class ClusterLearner:
    """Learns clusters from features.

    Parameters
    ----------
    clusters
        How many to look for, at least two.
    seed
        Of where centres begin.

    Examples
    --------
    >>> learner = ClusterLearner(3, seed=1)
    >>> learner.learn({behaviour.feature: 1.0 for behaviour in BEHAVIOURS})
    >>> learner.publish() is None
    True
    """

    def __init__(self, clusters: int, seed: int) -> None:
        self._clusters = clusters
        self._seed = seed
        self._scaler: Any = preprocessing.StandardScaler()
        self._model: Any = None
        self._shares: list[float] = []
        self._waiting: deque[list[float]] = deque(maxlen=ENOUGH_ROWS)

    def learn(self, features: Mapping[str, float]) -> None:
        """Take the features of a customer at a review."""
        row = {place: features[behaviour.feature] for place, behaviour in enumerate(BEHAVIOURS)}
        self._scaler.learn_one(row)
        if self._model is None:
            self._waiting.append(list(row.values()))
            return
        won = self._model.learn_predict_one(self._standard(row))
        for number, share in enumerate(self._shares):
            self._shares[number] = share + _SHARE_STEP * ((number == won) - share)

    def begin(self) -> bool:
        """Put the centres where the newest rows are, if there are enough and there are none yet."""
        if self._model is not None or len(self._waiting) < ENOUGH_ROWS:
            return False
        rows = np.array([list(self._standard(dict(enumerate(row))).values()) for row in self._waiting])
        number = min(self._clusters, len(np.unique(rows, axis=0)))
        if number < 2:
            return False
        centres, nearest = kmeans2(rows, number, iter=20, minit="++", missing="warn", rng=self._seed)
        self._model = _model([[float(value) for value in centre] for centre in centres])
        counts = np.bincount(nearest, minlength=number)
        self._shares = [int(count) / len(rows) for count in counts]
        self._waiting.clear()
        return True

    def publish(self) -> Clusters | None:
        """Give the clusters as plain numbers; None before there are any."""
        if self._model is None:
            return None
        centres = _centres(self._model)
        spread = [sqrt(float(self._scaler.vars[place])) for place in range(len(BEHAVIOURS))]
        names = names_of(centres)
        found = []
        for number, centre in enumerate(centres):
            if self._shares[number] >= LEAST_SHARE:
                plain = [
                    float(self._scaler.means[place]) + value * spread[place]
                    for place, value in enumerate(centre)
                ]
                found.append(Cluster(number, names[number], plain, self._shares[number]))
        return Clusters(
            features=[behaviour.feature for behaviour in BEHAVIOURS],
            scale=[1.0 / one if one > 0.0 else 0.0 for one in spread],
            clusters=found,
        )

    def state(self) -> ClustersState:
        """Take everything out as plain numbers."""
        places = range(len(BEHAVIOURS)) if self._scaler.counts else range(0)
        return ClustersState(
            counts=[int(self._scaler.counts[place]) for place in places],
            means=[float(self._scaler.means[place]) for place in places],
            variances=[float(self._scaler.vars[place]) for place in places],
            centres=[] if self._model is None else _centres(self._model),
            shares=list(self._shares),
            waiting=[list(row) for row in self._waiting],
        )

    @classmethod
    def restore(cls, clusters: int, seed: int, state: ClustersState) -> ClusterLearner:
        """Go on exactly where `state` was taken; clusters that are there stay as many as they are."""
        learner = cls(clusters, seed)
        learner._scaler.counts.update(dict(enumerate(state.counts)))
        learner._scaler.means.update(dict(enumerate(state.means)))
        learner._scaler.vars.update(dict(enumerate(state.variances)))
        learner._model = _model(state.centres) if state.centres else None
        learner._shares = list(state.shares)
        learner._waiting.extend(state.waiting)
        return learner

    def _standard(self, row: dict[int, float]) -> dict[int, float]:
        scaled = self._scaler.transform_one(row)
        return {place: min(_CLIP, max(-_CLIP, float(value))) for place, value in scaled.items()}


def _model(centres: Sequence[Sequence[float]]) -> Any:
    model: Any = cluster.KMeans(n_clusters=len(centres), halflife=STEP)
    for number, centre in enumerate(centres):
        model.centers[number].update(enumerate(centre))
    return model


def _centres(model: Any) -> list[list[float]]:
    return [
        [float(model.centers[number][place]) for place in range(len(BEHAVIOURS))]
        for number in range(model.n_clusters)
    ]


def names_of(centres: Sequence[Sequence[float]]) -> list[str]:
    """Name clusters by what stands out most about each; no two have one name.

    Parameters
    ----------
    centres
        In standard deviations from the mean, in the order of `BEHAVIOURS`.

    Examples
    --------
    >>> names_of([[1.4, 0.2, -0.9, 0.0, 0.0, 0.0], [0.0] * 6, [0.0] * 6])
    ['many orders, small baskets', 'like most', 'like most (2)']
    """
    names: list[str] = []
    for centre in centres:
        loudest = sorted(range(len(centre)), key=lambda place: (-abs(centre[place]), place))
        words = [
            BEHAVIOURS[place].much if centre[place] > 0.0 else BEHAVIOURS[place].little
            for place in loudest
            if centre[place] != 0.0
        ]
        least = min(_MOST_WORDS, sum(abs(value) >= _STANDS_OUT for value in centre))
        # More is said only where others are called the same.
        tries = [", ".join(words[:many]) or _LIKE_MOST for many in range(least, len(words) + 1)]
        tries += [f"{tries[0]} ({number})" for number in range(2, len(centres) + 1)]
        names.append(next(name for name in tries if name not in names))
    return names
