"""Retention KPIs by what is known of customers: the values that most of them have, and the others together.

Which values are told follows from the levels at the end of the day, not from the order in which customers
came, so a day is the same however often and in whatever order it was read.
"""

from __future__ import annotations

from typing import Final

from schemas.events import Trait
from schemas.kpis import TraitKpis
from streams.value.alert_outcomes import MICRO
from streams.value.days import Days

TRAIT: Final = "trait/"
"""Begins the dimension of a trait, which no other dimension begins with."""

MOST_VALUES = 20
"""Values of one trait that are told by name."""


def trait_text(value: Trait) -> str:
    """Write a trait as text.

    Examples
    --------
    >>> trait_text(True), trait_text(41), trait_text("gold")
    ('true', '41', 'gold')
    """
    return str(value).lower() if isinstance(value, bool) else str(value)


def trait_kpis(days: Days) -> list[TraitKpis]:
    """Tell the traits as of the end of the day that was closed last.

    Examples
    --------
    >>> days = Days(first=10)
    >>> days.hold(10, None, ("trait/plan", "gold"), 3)
    >>> _ = days.close()
    >>> [(one.trait, one.value, one.customers) for one in trait_kpis(days)]
    [('plan', 'gold', 3)]
    """
    values: dict[str, list[tuple[int, str]]] = {}
    for key in days.held():
        if isinstance(key, tuple) and str(key[0]).startswith(TRAIT) and days.level(key).count:
            values.setdefault(str(key[0]), []).append((-days.level(key).count, str(key[1])))
    told = []
    for dimension in sorted(values):
        ordered = [value for _, value in sorted(values[dimension])]
        told += [_told(days, dimension, [value], value) for value in ordered[:MOST_VALUES]]
        if len(ordered) > MOST_VALUES:
            told.append(_told(days, dimension, ordered[MOST_VALUES:], None))
    return told


def _told(days: Days, dimension: str, values: list[str], value: str | None) -> TraitKpis:
    levels = [days.level((dimension, one)) for one in values]
    return TraitKpis(
        trait=dimension.removeprefix(TRAIT),
        value=value,
        customers=sum(level.count for level in levels),
        historic_value=sum(level.historic for level in levels) / MICRO,
        predicted_value=sum(level.predicted for level in levels) / MICRO,
        value_at_risk=sum(level.at_risk for level in levels) / MICRO,
    )
