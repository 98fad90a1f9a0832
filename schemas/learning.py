"""What the learner reads and writes: questions with their answers, and the model as plain numbers.

An `Example` is a question that was asked at a review, with the features frozen as they were then,
and the answer that time gave. A `ModelSnapshot` is a logistic model in full: anyone can compute its
risk from the features with a subtraction, a multiplication and an addition each, and nothing has to
be unpickled to do so.
"""

from __future__ import annotations

from datetime import datetime
from typing import Literal

import msgspec

from schemas.btyd import BtydParams, SpendParams
from schemas.segments import SegmentModel


class Example(msgspec.Struct, frozen=True, kw_only=True):
    """One matured question.

    Attributes
    ----------
    asked_at, matured_at
        Event times of the question and of its answer; at least the horizon apart.
    features
        By name, as of `asked_at`; nothing later went into them.
    risk
        What was served at `asked_at`, by `model_version`.
    label
        1 when the customer did not order within the horizon, 0 when they did.
    cause
        Which kind of review asked.
    """

    id: str
    version: int = 1
    customer_id: str
    asked_at: datetime
    matured_at: datetime
    horizon_days: float
    cause: Literal["order", "timer"]
    features: dict[str, float]
    risk: float
    label: int
    model_version: str


class ModelSnapshot(msgspec.Struct, frozen=True, kw_only=True):
    """A served model: risk = sigmoid(intercept + sum of coefficient x (value - centre)).

    The sum runs in the order of `features`, left to right, from the intercept: whoever keeps that
    order gets the same bits. Where `btyd` is given, one more term comes last: btyd_coefficient x
    (the log-odds that BG/NBD gives to no order within the horizon - btyd_centre).

    Attributes
    ----------
    model_version
        Names these numbers; the same version always has the same numbers.
    n_learned
        Examples learned from so far.
    event_time
        When the newest of them matured; null before the first.
    metrics
        Prequential quality of what was served: `n`, `auc`, `log_loss`, `ece`, `churn_rate`.
    btyd, btyd_centre, btyd_coefficient
        The last term; null and 0 before the first fit.
    spend
        What orders are worth: with `btyd` it gives predicted values; null before the first fit.
    champion
        The expert that a confidence sequence has found to be better than each other; null while there is
        none. What is served is the mixture of all of them.
    segments
        Borders and clusters; null where none are learned, and before there are enough customers.
    """

    version: int = 1
    model_version: str
    n_learned: int
    event_time: datetime | None
    horizon_days: float
    features: list[str]
    centre: list[float]
    coefficient: list[float]
    intercept: float
    metrics: dict[str, float]
    btyd: BtydParams | None = None
    btyd_centre: float = 0.0
    btyd_coefficient: float = 0.0
    spend: SpendParams | None = None
    champion: str | None = None
    segments: SegmentModel | None = None
