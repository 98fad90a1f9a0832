"""How many customers are in which segment, and how much money is at risk: a look at some at a time.

Sums over all customers could be kept current by taking each customer out before a review and putting
them back in after it. That would cost every review, and a sum that is wrong once stays wrong. A census
costs records nothing: at each tick it looks at a few hundred customers, and when it has seen everybody
it publishes and begins anew. What it shows is at most one round old (two seconds for ten thousand customers,
minutes for a million); nobody is counted twice, and whoever came or went meanwhile is in the next one.
It is right after a restart, a rebalance and an erasure without anything having been remembered for it.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Mapping

from agents import metrics
from agents.stores import StateStore
from streams.customer.alerts import Episode, band_of
from streams.customer.lifecycle import LIFECYCLE_NAMES, PROSPECT
from streams.customer.rfm import RFM_NAMES
from streams.customer.state import CustomerState
from streams.customer.verdicts import Judge

AT_ONCE = 250
"""Customers looked at in a tick of 50 ms: 1.7 µs each, so less than a hundredth of a core."""

_BANDS = ("low", "medium", "high")
_OPEN = tuple(episode for episode in Episode if episode is not Episode.NONE)


class Census:
    """Counts the customers of this worker, over and over."""

    def __init__(self) -> None:
        self._round: Iterator[list[CustomerState]] | None = None
        self._started = 0.0
        self._sizes: Counter[tuple[int, int]] = Counter()
        self._bands: Counter[str] = Counter()
        self._episodes: Counter[int] = Counter()
        self._at_risk: dict[str, float] = {}
        self._open_value: dict[int, float] = {}
        self._predicted = 0.0

    def begin_anew(self) -> None:
        """Give up the round under way: partitions have come or gone."""
        self._round = None

    def look(self, stores: Mapping[int, StateStore], judge: Judge) -> bool:
        """Look at some more customers; tell whether that was the last of them.

        Parameters
        ----------
        stores
            The states of each partition held.
        judge
            Knows what a customer is worth: it is asked what alerts and scores were told.
        """
        if self._round is None:
            self._round = self._look_through(list(stores.values()))
            self._started = time.monotonic()
            self._sizes, self._bands, self._episodes = Counter(), Counter(), Counter()
            self._at_risk = dict.fromkeys(_BANDS, 0.0)
            self._open_value = dict.fromkeys(_OPEN, 0.0)
            self._predicted = 0.0
        states = next(self._round, None)
        if states is None:
            self._publish()
            self._round = None
            return True
        for state in states:
            self._count(state, judge)
        return False

    @staticmethod
    def _look_through(stores: list[StateStore]) -> Iterator[list[CustomerState]]:
        for store in stores:
            yield from store.look_through(AT_ONCE)

    def _count(self, state: CustomerState, judge: Judge) -> None:
        if not state.orders or state.lifecycle in (-1, PROSPECT):
            return
        self._sizes[state.rfm, state.lifecycle] += 1
        risk = state.verdict.risk
        if risk < 0.0:
            return
        worth = judge.worth(state, state.clock_ms)
        band = band_of(risk)
        self._bands[band] += 1
        self._at_risk[band] += risk * worth
        self._predicted += worth
        if state.verdict.episode in self._open_value:
            self._episodes[state.verdict.episode] += 1
            self._open_value[state.verdict.episode] += risk * worth

    def _publish(self) -> None:
        """Show the whole round; what is empty is shown as 0, or a panel would keep the last value."""
        rfm: Counter[int] = Counter()
        stages: Counter[int] = Counter()
        for (segment, stage), number in self._sizes.items():
            rfm[segment] += number
            stages[stage] += number
        for segment, name in enumerate(RFM_NAMES):
            metrics.SEGMENT_SIZE.labels("rfm", name).set(rfm[segment])
        for stage, name in enumerate(LIFECYCLE_NAMES):
            if stage != PROSPECT:
                metrics.SEGMENT_SIZE.labels("lifecycle", name).set(stages[stage])
        for band in _BANDS:
            metrics.BAND_SIZE.labels(band).set(self._bands[band])
            metrics.VALUE_AT_RISK.labels(band).set(self._at_risk[band])
        for episode in _OPEN:
            label = episode.name.lower()
            metrics.OPEN_EPISODES.labels(label).set(self._episodes[episode])
            metrics.OPEN_VALUE.labels(label).set(self._open_value[episode])
        metrics.PREDICTED_VALUE.set(self._predicted)
        metrics.CENSUS_SECONDS.set(time.monotonic() - self._started)
