"""The learner: one pass over the examples, in the order of their log.

For each example it judges the risk that was served, then learns. Both are done once: an example that
was delivered twice, as happens after a crash, is recognised by its id. What the learner is after n
examples depends on those n examples alone, so a model version names its numbers, and a learner that
goes on from a checkpoint publishes what the uninterrupted one would have.
"""

from __future__ import annotations

from collections import deque
from copy import deepcopy
from datetime import datetime, timedelta

import msgspec

from schemas.codec import epoch_ms
from schemas.learning import Example, ModelSnapshot
from streams.config import StreamConfig
from streams.customer.packing import digest
from streams.learning.pool import Pool, PoolState
from streams.learning.prequential import Prequential
from streams.segments.learner import SegmentLearner, SegmentsState
from streams.value.refits import Refits, RefitsState

CHECKPOINT_VERSION = 3

SAMPLE_CUSTOMERS = 2_000
"""Customers of the sample that BG/NBD is fitted to."""
REFIT_DAYS = 28.0
SEASON_AFTER = timedelta(days=731)
"""The time of year is learned from two years after the first question: what a first year says of seasons is
not told apart from growth. On none of the data sets measured so far has it come to that."""


class Checkpoint(msgspec.Struct, array_like=True):
    """Everything the learner knows."""

    version: int
    pool: PoolState
    refits: RefitsState
    quality: Prequential
    first_asked_at: datetime | None
    latest: datetime | None
    recent: bytes
    duplicates: int
    horizon_days: float
    segments: SegmentsState | None = None


class LearnerMachine:
    """Learns from examples and publishes models.

    Parameters
    ----------
    config
        `config.learner` and the horizon.

    Examples
    --------
    >>> LearnerMachine(StreamConfig()).snapshot().model_version
    'lr-0'
    """

    def __init__(self, config: StreamConfig) -> None:
        self._config = config
        self._pool = Pool(config)
        reviews = config.reviews
        self._refits = Refits(
            size=SAMPLE_CUSTOMERS,
            seed=reviews.seed,
            every_days=REFIT_DAYS,
            horizon_days=reviews.horizon_days,
            every_review_asks=reviews.question_share >= 1.0,
            models=("bgnbd",),
        )
        self._segments = SegmentLearner(config)
        self.quality = Prequential()
        self.duplicates = 0
        self._first_asked_at: datetime | None = None
        self._latest: datetime | None = None
        self._recent: deque[bytes] = deque()
        self._known: set[bytes] = set()

    @property
    def n_learned(self) -> int:
        """Examples learned from so far."""
        return self._pool.n_learned

    def takes_long(self, example: Example) -> bool:
        """Tell whether learning this example takes tens of milliseconds.

        Then a fit of whole histories is due; segments are drawn anew at the same moment.
        """
        return self._refits.begins_interval(example)

    def learn(self, example: Example) -> ModelSnapshot | None:
        """Judge and learn one example; return a model when it is time to publish one."""
        if self._seen(example.id):
            self.duplicates += 1
            return None
        if self._first_asked_at is None:
            self._first_asked_at = example.asked_at
        # Until two horizons have passed there was hardly an answer to learn from: not judged.
        grace = timedelta(days=2 * self._config.reviews.horizon_days)
        if example.asked_at >= self._first_asked_at + grace:
            self.quality.add(example.risk, example.label)
        self._segments.learn(example, self._refits.sample)
        self._refits.learn(example)
        matured_ms = epoch_ms(example.matured_at)
        params = self._refits.fitted.params("bgnbd")
        seasoned = example.asked_at >= self._first_asked_at + SEASON_AFTER
        self._pool.learn(example.features, example.label, params, matured_ms, seasoned)
        # Examples of several partitions come in the order of their log, not of time.
        if self._latest is None or example.matured_at > self._latest:
            self._latest = example.matured_at
        if self.n_learned % self._config.learner.publish_every == 0:
            return self.snapshot()
        return None

    @property
    def pool(self) -> Pool:
        """The experts."""
        return self._pool

    def snapshot(self) -> ModelSnapshot:
        """Give the model as it is now."""
        fitted = self._refits.fitted
        params = fitted.params("bgnbd")
        model = self._pool.snapshot(self._latest, self.quality.metrics(), params, fitted.spend)
        segments = self._segments.model()
        return model if segments is None else msgspec.structs.replace(model, segments=segments)

    def checkpoint(self) -> Checkpoint:
        """Take out everything that `restore` needs."""
        return Checkpoint(
            version=CHECKPOINT_VERSION,
            pool=self._pool.state(),
            refits=self._refits.state(),
            quality=deepcopy(self.quality),
            first_asked_at=self._first_asked_at,
            latest=self._latest,
            recent=b"".join(self._recent),
            duplicates=self.duplicates,
            horizon_days=self._config.reviews.horizon_days,
            segments=self._segments.state(),
        )

    @classmethod
    def restore(cls, config: StreamConfig, checkpoint: Checkpoint) -> LearnerMachine:
        """Go on from a checkpoint.

        Raises
        ------
        ValueError
            When the checkpoint is of a version that this program does not know, or of another horizon.
        """
        if checkpoint.version != CHECKPOINT_VERSION:
            raise ValueError(f"learner checkpoint of unknown version {checkpoint.version}")
        if checkpoint.horizon_days != config.reviews.horizon_days:
            raise ValueError(f"learner checkpoint of a horizon of {checkpoint.horizon_days:g} days")
        learner = cls(config)
        learner._pool = Pool.restore(config, checkpoint.pool)
        learner._refits.restore(checkpoint.refits)
        learner._segments.restore(checkpoint.segments)
        learner.quality = checkpoint.quality
        learner.duplicates = checkpoint.duplicates
        learner._first_asked_at = checkpoint.first_asked_at
        learner._latest = checkpoint.latest
        recent = checkpoint.recent
        learner._recent = deque(recent[at : at + 8] for at in range(0, len(recent), 8))
        learner._known = set(learner._recent)
        return learner

    def _seen(self, example_id: str) -> bool:
        key = digest(example_id)
        if key in self._known:
            return True
        self._known.add(key)
        self._recent.append(key)
        if len(self._recent) > self._config.learner.dedupe_window:
            self._known.discard(self._recent.popleft())
        return False
