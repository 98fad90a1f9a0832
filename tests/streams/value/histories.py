"""Histories of CDNOW's customers as the literature counts them: by day, in weeks, to a day of 1997."""

from __future__ import annotations

from datetime import date
from functools import cache
from typing import Literal, NamedTuple

from samples import cdnow

CALIBRATION_END = date(1997, 9, 30)
"""39 weeks; the other 39 are the holdout."""


class History(NamedTuple):
    """One customer: days with an order, and what was spent on each of them."""

    days: list[date]
    spent: list[float]


@cache
def histories(sample: Literal["all", "tenth"]) -> list[History]:
    """Every customer's days; orders of one day count once, as in the published fits."""
    spent: dict[str, dict[date, float]] = {}
    for message in cdnow.messages(sample):
        days = spent.setdefault(message["userId"], {})
        day = date.fromisoformat(message["timestamp"][:10])
        days[day] = days.get(day, 0.0) + message["properties"]["revenue"]
    return [History(sorted(days), [days[day] for day in sorted(days)]) for days in spent.values()]


@cache
def customers(
    sample: Literal["all", "tenth"], end: date = CALIBRATION_END
) -> list[tuple[float, float, float]]:
    """(x, t_x, T) of each customer, in weeks."""
    found = []
    for history in histories(sample):
        days = [day for day in history.days if day <= end]
        first = days[0]
        found.append((float(len(days) - 1), (days[-1] - first).days / 7, (end - first).days / 7))
    return found


@cache
def repeat_spending(end: date = CALIBRATION_END) -> list[tuple[float, float]]:
    """(repeat orders, their mean value) of each customer of the tenth who came back."""
    found = []
    for history in histories("tenth"):
        values = [value for day, value in zip(history.days, history.spent, strict=True) if day <= end][1:]
        if values:
            found.append((float(len(values)), sum(values) / len(values)))
    return found
