"""The learner's part of segments: now and then it draws borders and clusters; in between both stand still.

Groups are for people, who want them to stand still. So both are drawn anew every few weeks of event time,
with the first example of a new interval, like the fits of `streams.value.refits`; what was drawn goes into
every model until the next time. It follows from the examples alone, and a learner that goes on from a
checkpoint draws what the uninterrupted one would have.
"""

from __future__ import annotations

import msgspec

from schemas.codec import epoch_ms
from schemas.learning import Example
from schemas.segments import SegmentModel
from streams.config import StreamConfig, days_ms
from streams.segments.borders import Crowd
from streams.segments.clusters import ClusterLearner, ClustersState
from streams.value.customers_sample import CustomersSample

REDRAW_DAYS = 28.0


class SegmentsState(msgspec.Struct, array_like=True):
    """Everything that `restore` needs."""

    latest_ms: int
    interval: int
    drawn: SegmentModel
    clusters: ClustersState | None


class SegmentLearner:
    """Draws borders and clusters from examples and a sample of customers.

    Parameters
    ----------
    config
        `segments`, and the horizon.

    Examples
    --------
    >>> SegmentLearner(StreamConfig()).model() is None
    True
    """

    def __init__(self, config: StreamConfig) -> None:
        segments = config.segments
        self._learned = segments.borders == "learned"
        self._number = segments.clusters
        self._seed = config.reviews.seed
        self._horizon_ms = days_ms(config.reviews.horizon_days)
        self._forget_s = days_ms(config.reviews.forget_days) // 1000
        self._every_ms = days_ms(REDRAW_DAYS)
        self._latest_ms = 0
        self._interval = -1
        self._drawn = SegmentModel()
        self._clusters = ClusterLearner(self._number, self._seed) if self._number > 1 else None

    def learn(self, example: Example, sample: CustomersSample) -> None:
        """Take an example, and the sample of customers before it."""
        if not self._learned and self._clusters is None:
            return
        matured_ms = epoch_ms(example.matured_at)
        if matured_ms > self._latest_ms:
            interval = matured_ms // self._every_ms
            if interval > self._interval:
                self._draw(sample)
                self._interval = interval
            self._latest_ms = matured_ms
        if self._clusters is not None:
            self._clusters.learn(example.features)

    def _draw(self, sample: CustomersSample) -> None:
        borders, clusters = self._drawn.borders, self._drawn.clusters
        if self._learned:
            as_of_s = (self._latest_ms - self._horizon_ms) // 1000
            crowd = Crowd(sample.last_orders(as_of_s - self._forget_s, as_of_s))
            borders = crowd.borders(as_of_s, borders) or borders
        if self._clusters is not None:
            self._clusters.begin()
            clusters = self._clusters.publish()
        self._drawn = SegmentModel(borders, clusters)

    def model(self) -> SegmentModel | None:
        """Give what was drawn last; None before that."""
        drawn = self._drawn
        return None if drawn.borders is None and drawn.clusters is None else drawn

    def state(self) -> SegmentsState | None:
        """Take out everything that `restore` needs; None where nothing is learned."""
        if not self._learned and self._clusters is None:
            return None
        clusters = None if self._clusters is None else self._clusters.state()
        return SegmentsState(self._latest_ms, self._interval, self._drawn, clusters)

    def restore(self, state: SegmentsState | None) -> None:
        """Go on from a state, with the settings of this object: what they do not ask for is dropped."""
        if state is None or (not self._learned and self._clusters is None):
            return
        self._latest_ms, self._interval = state.latest_ms, state.interval
        if self._clusters is not None and state.clusters is not None:
            self._clusters = ClusterLearner.restore(self._number, self._seed, state.clusters)
        self._drawn = SegmentModel(
            state.drawn.borders if self._learned else None,
            state.drawn.clusters if self._clusters is not None else None,
        )
