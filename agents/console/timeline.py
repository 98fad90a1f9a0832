"""A customer's history in sentences: what they did, what was thought, what was said.

Events are read off the scores. A score says why Holdfast looked, how many orders there are and what they
came to, so two in a row tell what an order was worth. A look that found nothing new is told with the risk.
"""

from __future__ import annotations

from collections.abc import Iterable

from agents.console import answers
from agents.console.view import Moment, Move, Point, Step
from agents.wording import name_in_words
from schemas.codec import utc

_LOOKED = {
    "timer": "still silent at a regular look",
    "boundary": "silent for long enough to change segment",
    "crossing": "silent until the risk reached the alert threshold",
}
_KINDS: dict[str, answers.Moment] = {"order": "order", "session": "visit", "correction": "correction"}


def money(amount: float, currency: str) -> str:
    """Write an amount.

    Examples
    --------
    >>> money(1234.5, "$"), money(12.0, ""), money(-3.0, "$")
    ('$1,234.50', '12.00', '-$3.00')
    """
    return f"{'-' if amount < 0 else ''}{currency}{abs(amount):,.2f}"


def told(history: Iterable[Moment], currency: str) -> list[answers.Told]:
    """Tell a history, the oldest first.

    Parameters
    ----------
    history
        As the view keeps it.
    currency
        Written before amounts.

    Examples
    --------
    >>> points = [Point(0, 0.2, "order", 1, 20.0), Point(1, 0.1, "order", 2, 65.0)]
    >>> [entry.words for entry in told(points, "$")]
    ['order 1; $20.00 spent so far', 'order 2, for $45.00']
    """
    entries = []
    before: Point | None = None
    # Topics are read beside each other: what a customer's messages say of time puts them in order.
    for moment in sorted(history, key=lambda moment: (moment.time_ms, _RANKS[type(moment)])):
        match moment:
            case Point():
                entries.append(_looked(moment, before, currency))
                before = moment
            case Step():
                entries.append(
                    answers.Told(
                        event_time=utc(moment.time_ms),
                        kind="alert",
                        words=_step(moment, currency),
                        risk=moment.risk,
                    )
                )
            case Move():
                entries.append(
                    answers.Told(
                        event_time=utc(moment.time_ms), kind="segment", words=_move(moment), risk=None
                    )
                )
    return entries


_RANKS: dict[type, int] = {Point: 0, Move: 1, Step: 2}


def _looked(point: Point, before: Point | None, currency: str) -> answers.Told:
    match point.cause:
        case "order" if before is not None and before.orders == point.orders - 1:
            words = f"order {point.orders}, for {money(point.revenue - before.revenue, currency)}"
        case "order":
            words = f"order {point.orders}; {money(point.revenue, currency)} spent so far"
        case "session":
            words = "visited the shop"
        case "correction":
            words = (
                f"an order was changed, refunded or called off; {money(point.revenue, currency)} spent so far"
            )
        case cause:
            words = _LOOKED.get(cause, cause)
    return answers.Told(
        event_time=utc(point.time_ms), kind=_KINDS.get(point.cause, "look"), words=words, risk=point.risk
    )


def _step(step: Step, currency: str) -> str:
    at_stake = money(step.value_at_risk, currency)
    match step.state, step.cause:
        case "raised", _:
            return f"alert raised: {at_stake} at risk"
        case "escalated", _:
            return f"alert escalated: {at_stake} at risk"
        case _, "ordered":
            return "alert resolved: came back"
        case _, "risk_fell":
            return "alert resolved: the risk fell"
    return "alert closed: nobody has come for too long"


def _move(move: Move) -> str:
    into = f"“{name_in_words(move.current)}”"
    what = "segment" if move.dimension == "rfm" else "stage"
    return (
        f"entered {what} {into}"
        if move.previous is None
        else f"{what} “{name_in_words(move.previous)}” → {into}"
    )
