"""Whether an expert has begun to err differently: ADWIN over its mean log loss, a block at a time.

ADWIN keeps a window of what it has seen and cuts it where the means of two parts differ by more than chance
would have them. Blocks, not examples, are what it sees: answers of one day are alike, and what matters is the
week, not the hour. A change in either direction counts. After one the window begins afresh, as it does when
it has grown very long, so what a detector knows is the blocks since then: that is what a checkpoint holds,
and a detector that is fed them again is the same.

References
----------
Bifet & Gavalda, Learning from time-changing data with adaptive windowing, SDM 2007,
doi 10.1137/1.9781611972771.42.
"""

from __future__ import annotations

import msgspec
from river.drift import ADWIN

LONGEST = 2_000
"""Blocks after which a window begins afresh: a million examples."""

SMALLEST_WINDOW = 5
"""Blocks on each side of a cut."""


class DriftState(msgspec.Struct, array_like=True):
    """What a detector has seen since its window began, and its drifts so far."""

    blocks: list[float]
    drifts: int


class Drift:
    """Watches one expert.

    Examples
    --------
    >>> drift = Drift()
    >>> for block in range(200):
    ...     _ = drift.add(0.4 if block < 100 else 0.8)
    >>> drift.drifts
    1
    """

    def __init__(self) -> None:
        self.drifts = 0
        self._begin()

    def _begin(self) -> None:
        self._blocks: list[float] = []
        self._adwin = ADWIN(clock=1, min_window_length=SMALLEST_WINDOW, grace_period=2 * SMALLEST_WINDOW)

    def add(self, loss: float) -> bool:
        """Take the mean log loss of a block; tell whether it shows a drift."""
        self._blocks.append(loss)
        self._adwin.update(loss)
        drifted = bool(self._adwin.drift_detected)
        self.drifts += drifted
        if drifted or len(self._blocks) == LONGEST:
            self._begin()
        return drifted

    def state(self) -> DriftState:
        """Take everything out."""
        return DriftState(list(self._blocks), self.drifts)

    @classmethod
    def restore(cls, state: DriftState) -> Drift:
        """Go on from a state."""
        drift = cls()
        for loss in state.blocks:
            drift._blocks.append(loss)
            drift._adwin.update(loss)
        drift.drifts = state.drifts
        return drift
