"""Why a customer may leave, in sentences that a marketer can act on: the one source of them.

Console, demo, report and `holdfast watch` all say what is said here. A phrase of `agents.wording` tells one
number. Two numbers beside each other tell more: a silence of 41 days means nothing until one knows that the
customer usually orders every 12. Where all features are at hand, as in a score, silence and rhythm are told
together; with an alert's reasons alone, each is told by its own phrase.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from math import expm1
from typing import NamedTuple

from agents.wording import CAUSE_WORDS, WORTH_SAYING, days, phrase
from schemas.codec import epoch_ms
from schemas.decisions import ChurnAlert, CustomerScore, Reason
from streams.config import DAY_MS
from streams.customer.features import FEATURE_NAMES

NONE_STANDS_OUT = "no single reason stands out"

_ABOUT_SILENCE = ("silence", "rhythm")
_FALLS_IN_SILENCE = ("log_orders_28d", "log_orders_84d")
"""Few orders lately and a silence longer than usual are one thing; the second says it better."""

_NO_NEWS = "tenure"  # how long somebody has been a customer is nothing to act on
_SHORTEST_RHYTHM_DAYS = 1.0
_MOST_SLIGHT = 2
_A_MOMENT_DAYS = 0.01  # features are 32-bit floats: silence of a year is known to some minutes


class Rhythm(NamedTuple):
    """How long a customer has been silent, and how often they usually order; both in days."""

    silent: float
    usual_gap: float


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


def rhythm_of(features: Sequence[float], before_days: float = 0.0) -> Rhythm | None:
    """Read silence and rhythm from all features of a customer.

    Parameters
    ----------
    features
        In the order of `FEATURE_NAMES`, as a score carries them.
    before_days
        How long before their moment the silence is asked for.

    Returns
    -------
    Rhythm or None
        None without a rhythm, when an order came in between, and for features of another version.
    """
    if len(features) != len(FEATURE_NAMES):
        return None
    named = dict(zip(FEATURE_NAMES, features, strict=True))
    gap, silent = usual_gap_days(named), expm1(named["log_silence"]) - before_days
    if gap is None or before_days < 0.0 or silent < -_A_MOMENT_DAYS:
        return None
    return Rhythm(max(0.0, silent), gap)


def rhythm_at(alert: ChurnAlert, score: CustomerScore | None) -> Rhythm | None:
    """Read a customer's silence at an alert, and their rhythm, from a score that is as old or newer."""
    if score is None:
        return None
    return rhythm_of(score.features, (epoch_ms(score.event_time) - epoch_ms(alert.event_time)) / DAY_MS)


def sentences(reasons: Iterable[Reason], rhythm: Rhythm | None = None) -> list[str]:
    """Say why a customer may leave.

    Parameters
    ----------
    reasons
        Of an alert, the largest first.
    rhythm
        Where it is known.

    Returns
    -------
    list of str
        One a reason that weighs enough for leaving, the strongest first, without a capital or a stop. A
        silence longer than usual is always told, last where it weighs little: nobody understands a risk
        without it. Empty when there is neither, as where most customers leave anyway.

    Examples
    --------
    >>> from math import log1p
    >>> silence = Reason("log_silence", "silence", value=log1p(41.0), contribution=0.8)
    >>> loyal = Reason("log_orders", "frequency", value=2.3979, contribution=-1.1)
    >>> sentences([loyal, silence], Rhythm(silent=41.0, usual_gap=12.0))
    ['silent for 41 days, usually orders every 12']
    >>> sentences([silence])
    ['silent for 41 days']
    """
    together = _silence(rhythm) if rhythm is not None else None
    longer = rhythm is not None and rhythm.silent > rhythm.usual_gap
    said: list[str] = []
    for reason in reasons:
        if reason.contribution < WORTH_SAYING or reason.family == _NO_NEWS:
            continue
        text = phrase(reason.feature, reason.value)
        falls = longer and reason.feature in _FALLS_IN_SILENCE
        if together and (falls or reason.family in _ABOUT_SILENCE):
            text = together
        if text not in said:
            said.append(text)
    if together and longer and together not in said:
        said.append(together)
    return said


def why(
    reasons: Sequence[Reason],
    intercept: float,
    horizon_days: float,
    rhythm: Rhythm | None = None,
) -> list[str]:
    """Say why somebody may leave: what weighs enough, or else what holds for most and weighs a little.

    Parameters
    ----------
    reasons
        The largest first.
    intercept
        Log-odds of a customer whose every feature is at its mean.
    horizon_days
        Of the risk.
    rhythm
        Where it is known.

    Returns
    -------
    list of str
        One at least.

    Examples
    --------
    >>> why([Reason("log_silence", "silence", value=5.0, contribution=0.05)], 1.2, 84.0)
    ['most customers here do not order within 84 days', 'silent for 147 days']
    >>> why([], -1.0, 84.0)
    ['no single reason stands out']
    """
    strong = sentences(reasons, rhythm)
    if strong:
        return strong
    slight = [r for r in reasons if r.contribution > 0.0 and r.family != _NO_NEWS][:_MOST_SLIGHT]
    often = [f"most customers here do not order within {horizon_days:g} days"] if intercept > 0.0 else []
    return [*often, *(phrase(reason.feature, reason.value) for reason in slight)] or [NONE_STANDS_OUT]


def why_alert(alert: ChurnAlert, rhythm: Rhythm | None = None) -> list[str]:
    """Say what an alert is about: why somebody may leave, or how the episode ended.

    Parameters
    ----------
    alert
        One step of an episode.
    rhythm
        Where it is known (`rhythm_at`).
    """
    if alert.state != "resolved":
        return why(alert.reasons, alert.intercept, alert.horizon_days, rhythm)
    waited = days((epoch_ms(alert.event_time) - epoch_ms(alert.episode_started_at)) / DAY_MS)
    if alert.cause == "lapsed":
        return [f"lapsed: no order in {waited}"]
    return [f"{CAUSE_WORDS[alert.cause]} after {waited}"]


def _silence(rhythm: Rhythm) -> str:
    every = f"every {round(rhythm.usual_gap)}" if round(rhythm.usual_gap) > 1 else "every day"
    return f"silent for {days(rhythm.silent)}, usually orders {every}"
