"""Why a customer may leave, in sentences that a marketer can act on.

A phrase of `agents.wording` tells one number. Two numbers beside each other tell more: a silence of 41 days
means nothing until one knows that the customer usually orders every 12. Where all features are at hand, as in
a score, silence and rhythm are told together; with an alert's reasons alone, each is told by its own phrase.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from math import expm1

from agents.wording import WORTH_SAYING, days, phrase
from schemas.decisions import Reason
from streams.customer.features import FEATURE_NAMES

_ABOUT_SILENCE = ("silence", "rhythm")
_SHORTEST_RHYTHM_DAYS = 1.0


def usual_gap_days(features: Mapping[str, float]) -> float | None:
    """Give the mean number of days between a customer's orders; None with one order, or all on one day.

    Examples
    --------
    >>> from math import log1p
    >>> usual_gap_days({"log_recency": log1p(36.0), "log_orders": log1p(4.0)})
    12.0
    """
    between, orders = expm1(features["log_recency"]), round(expm1(features["log_orders"]))
    if orders < 2 or between < _SHORTEST_RHYTHM_DAYS:
        return None
    return round(between / (orders - 1), 9)


def sentences(reasons: Iterable[Reason], features: Sequence[float] | None = None) -> list[str]:
    """Say why a customer may leave.

    Parameters
    ----------
    reasons
        Of an alert, the largest first.
    features
        All features in the order of `FEATURE_NAMES`, as a score carries them, where they are known.

    Returns
    -------
    list of str
        One a reason that weighs enough for leaving, the strongest first, without a capital or a stop.

    Examples
    --------
    >>> from math import log1p
    >>> silence = Reason("log_silence", "silence", value=log1p(41.0), contribution=0.8)
    >>> values = dict.fromkeys(FEATURE_NAMES, 0.0) | {
    ...     "log_silence": log1p(41.0),
    ...     "log_recency": log1p(36.0),
    ...     "log_orders": log1p(4.0),
    ... }
    >>> sentences([silence], list(values.values()))
    ['silent for 41 days, usually orders every 12']
    >>> sentences([silence])
    ['silent for 41 days']
    """
    named = dict(zip(FEATURE_NAMES, features, strict=True)) if features is not None else None
    together = _silence(named) if named is not None else None
    said: list[str] = []
    for reason in reasons:
        if reason.contribution < WORTH_SAYING:
            continue
        text = phrase(reason.feature, reason.value)
        if together and reason.family in _ABOUT_SILENCE:
            text = together
        if text not in said:
            said.append(text)
    return said


def _silence(features: Mapping[str, float]) -> str | None:
    gap = usual_gap_days(features)
    if gap is None:
        return None
    every = f"every {max(1, round(gap))}" if round(gap) > 1 else "every day"
    return f"silent for {days(expm1(features['log_silence']))}, usually orders {every}"
