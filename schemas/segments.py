"""What a model says about groups of customers: borders of the RFM cells, behavioural clusters.

Plain numbers, like the rest of a model: a customer's group can be found again from the model and the score.
"""

from __future__ import annotations

import msgspec


class Borders(msgspec.Struct, frozen=True):
    """Borders of the RFM cells.

    Attributes
    ----------
    recency_days
        Days since the last order that end the recency scores 5, 4, 3 and 2, growing.
    frequency_orders
        Orders that begin the frequency scores 2, 3, 4 and 5, growing.
    customers
        How many customers they were learned from.
    """

    recency_days: list[float]
    frequency_orders: list[int]
    customers: int


class Cluster(msgspec.Struct, frozen=True):
    """One behavioural cluster.

    Attributes
    ----------
    id
        Stays with the cluster from model to model.
    name
        The features that stand out most, in words.
    centre
        In the order of `Clusters.features`.
    share
        Of the customers looked at lately.
    """

    id: int
    name: str
    centre: list[float]
    share: float


class Clusters(msgspec.Struct, frozen=True):
    """Behavioural clusters: a customer belongs to the nearest centre.

    The distance is the sum of ((value - centre) x scale) squared over `features`; of two equally near, the
    first counts.

    Attributes
    ----------
    features
        By name, as in scores and examples.
    scale
        One over the standard deviation; 0 for a feature that has never varied.
    """

    features: list[str]
    scale: list[float]
    clusters: list[Cluster]


class SegmentModel(msgspec.Struct, frozen=True):
    """What is learned about groups.

    Attributes
    ----------
    borders, clusters
        Null where they are not learned, or not yet.
    """

    borders: Borders | None = None
    clusters: Clusters | None = None
