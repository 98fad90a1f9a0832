"""Alert episodes: from the first sign that a customer is leaving to the moment they came back.

An episode is a state machine, and the machine is a table: what a review found (a `Finding`) moves the
episode and may say something. Two thresholds with a gap between them keep a risk that hovers from
raising and resolving all day. An episode is raised once, may escalate once, at a later review, and
is resolved once: because the customer ordered, because the risk fell, or because nobody has come
for so long that reviews stop. Its id is a function of customer and start, so a step that is
delivered again after a crash is recognisable.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Final, NamedTuple

from schemas.decisions import AlertCause, AlertState, Change, Reason, RiskBand
from streams.config import DAY_MS, AlertConfig
from streams.customer.features import FAMILIES, FAMILY_OF, FEATURES, families_of
from streams.customer.packing import digest

MOST_REASONS: Final = 4
MOST_CHANGES: Final = 3
SMALLEST_CHANGE: Final = 0.05
"""Log-odds: a family that moved by less is not worth a line."""

MIN_SILENCE_MS: Final = 7 * DAY_MS
"""Nobody is about to leave within a week of an order, however rarely they order."""


class Episode(IntEnum):
    """Where an episode stands."""

    NONE = 0
    RAISED = 1
    ESCALATED = 2


class Finding(IntEnum):
    """What a review found about the risk."""

    LOW = 0
    BETWEEN = 1
    HIGH = 2
    VERY_HIGH = 3
    ORDERED = 4
    LAPSED = 5


class Step(NamedTuple):
    """Where a finding leads, and what is said."""

    to: Episode
    says: AlertState | None = None
    cause: AlertCause = "risk"


_STAY = {episode: Step(episode) for episode in Episode}

TABLE: dict[tuple[Episode, Finding], Step] = {
    (Episode.NONE, Finding.LOW): _STAY[Episode.NONE],
    (Episode.NONE, Finding.BETWEEN): _STAY[Episode.NONE],
    (Episode.NONE, Finding.HIGH): Step(Episode.RAISED, "raised"),
    (Episode.NONE, Finding.VERY_HIGH): Step(Episode.RAISED, "raised"),
    (Episode.NONE, Finding.ORDERED): _STAY[Episode.NONE],
    (Episode.NONE, Finding.LAPSED): _STAY[Episode.NONE],
    (Episode.RAISED, Finding.LOW): Step(Episode.NONE, "resolved", "risk_fell"),
    (Episode.RAISED, Finding.BETWEEN): _STAY[Episode.RAISED],
    (Episode.RAISED, Finding.HIGH): _STAY[Episode.RAISED],
    (Episode.RAISED, Finding.VERY_HIGH): Step(Episode.ESCALATED, "escalated"),
    (Episode.RAISED, Finding.ORDERED): Step(Episode.NONE, "resolved", "ordered"),
    (Episode.RAISED, Finding.LAPSED): Step(Episode.NONE, "resolved", "lapsed"),
    (Episode.ESCALATED, Finding.LOW): Step(Episode.NONE, "resolved", "risk_fell"),
    (Episode.ESCALATED, Finding.BETWEEN): _STAY[Episode.ESCALATED],
    (Episode.ESCALATED, Finding.HIGH): _STAY[Episode.ESCALATED],
    (Episode.ESCALATED, Finding.VERY_HIGH): _STAY[Episode.ESCALATED],
    (Episode.ESCALATED, Finding.ORDERED): Step(Episode.NONE, "resolved", "ordered"),
    (Episode.ESCALATED, Finding.LAPSED): Step(Episode.NONE, "resolved", "lapsed"),
}
"""Every state with every finding: an episode can never be somewhere that the table does not name."""

STEPS: list[list[Step]] = [[TABLE[episode, finding] for finding in Finding] for episode in Episode]
"""The same table by number, `STEPS[episode][finding]`: it is looked into at every review."""

NO_EPISODE: Final = 0
"""The number of `Episode.NONE`."""


def may_raise(orders: int, silence_ms: int, value_at_risk: float, config: AlertConfig) -> bool:
    """Tell whether this customer is one to alert about at all.

    Examples
    --------
    >>> may_raise(2, 8 * DAY_MS, 10.0, AlertConfig()), may_raise(1, 8 * DAY_MS, 10.0, AlertConfig())
    (True, False)
    """
    return orders >= config.min_orders and silence_ms >= MIN_SILENCE_MS and value_at_risk >= config.min_value


def finding_of(risk: float, eligible: bool, config: AlertConfig) -> Finding:
    """Name what a risk means for an episode.

    Examples
    --------
    >>> [finding_of(risk, True, AlertConfig()).name for risk in (0.1, 0.75, 0.8, 0.95)]
    ['LOW', 'BETWEEN', 'HIGH', 'VERY_HIGH']
    >>> finding_of(0.95, False, AlertConfig()).name
    'BETWEEN'
    """
    if risk < config.resolve_below:
        return Finding.LOW
    if not eligible or risk < config.raise_at:
        return Finding.BETWEEN
    return Finding.HIGH if risk < config.escalate_at else Finding.VERY_HIGH


def band_of(risk: float) -> RiskBand:
    """Give the band of a risk: low below .5, medium below .75, else high.

    Examples
    --------
    >>> [band_of(risk) for risk in (0.1, 0.5, 0.75)]
    ['low', 'medium', 'high']
    """
    return "low" if risk < 0.5 else "medium" if risk < 0.75 else "high"


def episode_id(customer_id: str, started_ms: int) -> str:
    """Name an episode after its customer and start.

    Examples
    --------
    >>> episode_id("c1", 1000) == episode_id("c1", 1000) != episode_id("c1", 1001)
    True
    """
    return digest(f"churn/{customer_id}/{started_ms}").hex()


def reasons_of(values: list[float], contributions: list[float]) -> list[Reason]:
    """Pick the families that weigh most, each by the feature that weighs most in its direction.

    Parameters
    ----------
    values, contributions
        In the order of `FEATURES`.

    Returns
    -------
    list of Reason
        At most four, of different families, the largest contribution first.

    Examples
    --------
    >>> contributions = [0.0] * len(FEATURES)
    >>> contributions[1] = 1.5
    >>> [(r.feature, r.contribution) for r in reasons_of([0.0] * len(FEATURES), contributions)]
    [('log_silence', 1.5)]
    """
    shares = families_of(contributions)
    ranked = sorted(range(len(FAMILIES)), key=lambda family: (-abs(shares[family]), family))
    reasons = []
    for family in ranked[:MOST_REASONS]:
        if shares[family] == 0.0:
            break
        members = [place for place, own in enumerate(FAMILY_OF) if own == family]
        # The feature that speaks for a family must not contradict it: same sign, then the largest.
        sign = 1.0 if shares[family] > 0.0 else -1.0
        best = max(members, key=lambda place: sign * contributions[place])
        reasons.append(
            Reason(
                feature=FEATURES[best].name,
                family=FAMILIES[family],
                value=values[best],
                contribution=shares[family],
            )
        )
    return reasons


def changes_of(before: list[float], now: list[float]) -> list[Change]:
    """Name the families whose contribution moved most since the review before.

    Examples
    --------
    >>> now = [0.0] * len(FAMILIES)
    >>> now[1] = 1.0
    >>> [(change.family, change.contribution_now) for change in changes_of([0.0] * len(FAMILIES), now)]
    [('silence', 1.0)]
    """
    if not before:
        return []
    moved = sorted(range(len(now)), key=lambda family: (-abs(now[family] - before[family]), family))
    return [
        Change(family=FAMILIES[family], contribution_before=before[family], contribution_now=now[family])
        for family in moved[:MOST_CHANGES]
        if abs(now[family] - before[family]) >= SMALLEST_CHANGE
    ]
