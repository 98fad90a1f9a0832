"""What of a model groups customers, made ready for use: cells with learned borders, the nearest cluster."""

from __future__ import annotations

import msgspec

from schemas.decisions import CustomerCluster
from schemas.learning import ModelSnapshot
from schemas.segments import SegmentModel
from streams.config import SegmentConfig
from streams.customer.features import FEATURE_NAMES
from streams.customer.rfm import RfmCells


def cells_of(config: SegmentConfig, segments: SegmentModel | None) -> RfmCells:
    """Give the RFM cells with the borders that hold.

    Those of the settings hold where borders are fixed, and before any have been learned.

    Examples
    --------
    >>> from schemas.segments import Borders
    >>> from streams.config import days_ms
    >>> model = SegmentModel(borders=Borders([7.0, 14.0, 28.0, 56.0], [2, 3, 4, 5], customers=900))
    >>> cells_of(SegmentConfig(borders="learned"), model).recency_score(days_ms(14.0))
    3
    >>> cells_of(SegmentConfig(), model).recency_score(days_ms(14.0))
    5
    """
    borders = None if segments is None else segments.borders
    if borders is None or config.borders == "fixed":
        return RfmCells(config)
    recency_days, frequency_orders = tuple(borders.recency_days), tuple(borders.frequency_orders)
    learned = msgspec.structs.replace(config, recency_days=recency_days, frequency_orders=frequency_orders)
    return RfmCells(learned)


def check_borders(snapshot: ModelSnapshot) -> None:
    """Refuse a model whose borders do not grow, or are not four.

    Raises
    ------
    ValueError
        When that is so.
    """
    borders = None if snapshot.segments is None else snapshot.segments.borders
    if borders is None:
        return
    for growing in (borders.recency_days, borders.frequency_orders):
        if len(growing) != 4 or min(growing) <= 0 or sorted(set(growing)) != list(growing):
            raise ValueError(f"model {snapshot.model_version} has borders of segments that do not grow")


class ClusterMap:
    """Finds the nearest cluster.

    Parameters
    ----------
    snapshot
        A model; one without clusters has none for anybody.

    Raises
    ------
    ValueError
        When its clusters speak of other features than this program, or lack a number.

    Examples
    --------
    >>> from streams.config import StreamConfig
    >>> from streams.learning.served import untrained
    >>> ClusterMap(untrained(StreamConfig())).nearest([0.0] * len(FEATURE_NAMES)) is None
    True
    """

    __slots__ = ("_centres", "_names", "_places", "_scale")

    def __init__(self, snapshot: ModelSnapshot) -> None:
        self._names: list[CustomerCluster] = []
        self._centres: list[list[float]] = []
        self._places: list[int] = []
        self._scale: list[float] = []
        clusters = None if snapshot.segments is None else snapshot.segments.clusters
        if clusters is None:
            return
        if not set(clusters.features) <= set(FEATURE_NAMES):
            raise ValueError(f"model {snapshot.model_version} has clusters of features that nobody has")
        if any(len(one.centre) != len(clusters.features) for one in clusters.clusters) or len(
            clusters.scale
        ) != len(clusters.features):
            raise ValueError(f"model {snapshot.model_version} has clusters that lack a number")
        self._places = [FEATURE_NAMES.index(name) for name in clusters.features]
        self._scale = list(clusters.scale)
        for one in clusters.clusters:
            self._names.append(CustomerCluster(one.id, one.name))
            self._centres.append(list(one.centre))

    def nearest(self, values: list[float]) -> CustomerCluster | None:
        """Name the cluster of a customer with these features, in the order of `FEATURES`."""
        found: CustomerCluster | None = None
        least = 0.0
        for number, centre in enumerate(self._centres):
            distance = 0.0
            for place, scale, middle in zip(self._places, self._scale, centre, strict=True):
                off = (values[place] - middle) * scale
                distance += off * off
            if found is None or distance < least:
                found, least = self._names[number], distance
        return found
