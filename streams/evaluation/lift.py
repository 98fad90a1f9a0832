"""How much better than chance it is to begin with those at highest risk.

Whoever can reach a tenth of the customers reaches the tenth with the highest risks. Lift is the churn rate
there over that of all. Lift quality puts the whole curve into one number: the mean share of leavers
caught in the first 1, 2, ... 10 tenths, between that of chance (0) and that of knowing the answers (1).
Equal risks cannot be told apart, so where a border falls into a group of them, each side gets its share.

References
----------
Piatetsky-Shapiro & Steingold, Measuring lift quality in database marketing, SIGKDD Explorations 2(2) (2000).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from streams.evaluation.judging import Floats, Judged, by_risk

TENTHS = 10


class Decile(NamedTuple):
    """A tenth of the answers by served risk; the first has the highest.

    Attributes
    ----------
    churn_rate
        Share of this tenth that left.
    lift
        Its churn rate over that of all.
    captured
        Share of all who left that are in this tenth or one before.
    """

    decile: int
    churn_rate: float
    lift: float
    captured: float


def captured(groups: Floats, left: Floats) -> Floats | None:
    """Give the share of leavers among the first 0, 1, ... 10 tenths; None when nobody left.

    Parameters
    ----------
    groups, left
        Weight of the answers, and of those who left, by risk, the lowest first.

    Examples
    --------
    >>> captured(np.ones(20), np.array([0.0] * 18 + [1.0, 1.0])).tolist()
    [0.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0]
    """
    churned = left.sum()
    if not churned:
        return None
    reached = np.concatenate(([0.0], np.cumsum(groups[::-1])))
    found = np.concatenate(([0.0], np.cumsum(left[::-1])))
    borders = reached[-1] * np.arange(TENTHS + 1) / TENTHS
    shares: Floats = np.interp(borders, reached, found) / churned
    return shares


def top_decile_lift(groups: Floats, left: Floats) -> float | None:
    """Give the churn rate of the first tenth over that of all; None when nobody left."""
    shares = captured(groups, left)
    return None if shares is None else float(shares[1] * TENTHS)


def quality(groups: Floats, left: Floats) -> float | None:
    """Give lift quality by deciles: 0 for chance, 1 for perfect; None where all or none left.

    Examples
    --------
    >>> quality(np.ones(10), np.array([0.0] * 9 + [1.0])), quality(np.ones(10), np.array([1.0] + [0.0] * 9))
    (1.0, -1.0)
    """
    shares = captured(groups, left)
    if shares is None:
        return None
    chance = np.arange(TENTHS + 1) / TENTHS
    perfect = np.minimum(1.0, chance * groups.sum() / left.sum())
    room = float((perfect - chance).sum())
    return float((shares - chance).sum()) / room if room > 1e-12 else None


def deciles(judged: Judged) -> list[Decile]:
    """Tell of each tenth of the answers; nothing when nobody left.

    Examples
    --------
    >>> from streams.evaluation.judging import Answers
    >>> answers = Answers()
    >>> for number in range(20):
    ...     answers.add("a", (number + 1) / 21, int(number >= 15))
    >>> [(tenth.decile, round(tenth.lift, 9)) for tenth in deciles(answers.judged())][:4]
    [(1, 4.0), (2, 4.0), (3, 2.0), (4, 0.0)]
    """
    if not len(judged):
        return []
    groups, left = by_risk(judged)
    shares = captured(groups, left)
    if shares is None:
        return []
    rate = float(left.sum() / groups.sum())
    lifts = [float(share) * TENTHS for share in np.diff(shares)]
    return [
        Decile(number + 1, lift * rate, lift, float(shares[number + 1])) for number, lift in enumerate(lifts)
    ]
