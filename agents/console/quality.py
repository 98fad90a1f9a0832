"""The published models: how good each was when it was published, and enough of each to explain a score.

A score names the model that it was computed with. The newest models are kept as they stand on the topic, so
that a score can be explained by its own model; a score older than all of them is explained by the newest,
and the answer says so. Quality over time is kept for every model kept.
"""

from __future__ import annotations

from collections import OrderedDict

import msgspec

from schemas.learning import ModelSnapshot
from streams.learning.served import Served

MOST_MODELS = 2_048
"""Models kept: half an hour of a busy learner, or months of a quiet one; some 4 MB."""

_models = msgspec.json.Decoder(ModelSnapshot)


class Quality(msgspec.Struct, frozen=True, gc=False):
    """Prequential quality at the time a model was published.

    Attributes
    ----------
    n_learned
        Examples that the model had learned from.
    n
        Answered questions that were judged.
    auc, log_loss, calibration_error, churn_rate
        Of the risks as they were served; null before there is anything to judge.
    """

    n_learned: int
    n: int
    auc: float | None
    log_loss: float | None
    calibration_error: float | None
    churn_rate: float | None


class ModelLog:
    """The newest models, by version.

    Attributes
    ----------
    latest
        The newest; None before the first.
    taken
        Models read so far.

    Examples
    --------
    >>> log = ModelLog()
    >>> log.latest is None, log.served("lr-1") is None
    (True, True)
    """

    def __init__(self) -> None:
        self.latest: ModelSnapshot | None = None
        self.taken = 0
        self._raw: OrderedDict[str, bytes] = OrderedDict()
        self._quality: OrderedDict[str, Quality] = OrderedDict()

    def take(self, value: bytes) -> None:
        """Take in one model.

        Raises
        ------
        msgspec.DecodeError
            When it is none.
        """
        snapshot = _models.decode(value)
        self.taken += 1
        version = snapshot.model_version
        self._raw.pop(version, None)
        self._quality.pop(version, None)
        self._raw[version] = value
        self._quality[version] = _quality(snapshot)
        if len(self._raw) > MOST_MODELS:
            self._raw.popitem(last=False)
            self._quality.popitem(last=False)
        self.latest = snapshot

    def served(self, version: str) -> Served | None:
        """Give a model ready to score: the one of that name, else the newest of this program's features."""
        raw = self._raw.get(version)
        snapshot = self.latest if raw is None else _models.decode(raw)
        try:
            return None if snapshot is None else Served(snapshot)
        except ValueError:  # of another version of this program
            return None

    def quality(self, points: int) -> list[Quality]:
        """Give the quality over time, thinned evenly to at most so many points, the newest always there."""
        every = list(self._quality.values())
        if len(every) <= points:
            return every
        step = (len(every) - 1) / (points - 1)
        return [every[round(place * step)] for place in range(points)]


def _quality(snapshot: ModelSnapshot) -> Quality:
    metrics = snapshot.metrics
    return Quality(
        n_learned=snapshot.n_learned,
        n=int(metrics.get("n", 0)),
        auc=metrics.get("auc"),
        log_loss=metrics.get("log_loss"),
        calibration_error=metrics.get("ece"),
        churn_rate=metrics.get("churn_rate"),
    )
