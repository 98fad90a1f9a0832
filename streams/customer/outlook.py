"""What a customer's features would become: in silence, after an order, after a visit.

A published score carries the features that its risk was computed from, and nothing else of the state. That
is enough to look ahead. Every feature is a known function of facts and time (`features`), and those of the
facts that matter can be read back from the features: the mean gap from the recency and the number of
orders, sums that fade from their values now. So whoever has a score and the model that it names can say
what an order today would do, and how the risk will move if nothing happens, without asking who keeps the
state. What comes out agrees with the features of the state itself to the precision of 32-bit floats.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import atan2, cos, expm1, log1p, pi, sin

from streams.config import DAY_MS
from streams.customer.features import FEATURE_NAMES, GAP_PRIOR_DAYS, YEAR_MS, trend
from streams.customer.state import (
    ORDERS_LONG_HALF_LIFE_MS,
    ORDERS_SHORT_HALF_LIFE_MS,
    SESSIONS_HALF_LIFE_MS,
    VIEWS_HALF_LIFE_MS,
)


def _faster(short_ms: float, long_ms: float) -> float:
    """Give the half-life in days of what fades by the one over what fades by the other."""
    return 1.0 / (DAY_MS / short_ms - DAY_MS / long_ms)


FADING_DAYS: dict[str, float] = {
    "log_orders_28d": ORDERS_SHORT_HALF_LIFE_MS / DAY_MS,
    "log_orders_84d": ORDERS_LONG_HALF_LIFE_MS / DAY_MS,
    "log_views": VIEWS_HALF_LIFE_MS / DAY_MS,
    "log_sessions": SESSIONS_HALF_LIFE_MS / DAY_MS,
    "log_cart_adds": VIEWS_HALF_LIFE_MS / DAY_MS,
    "log_cart_left": VIEWS_HALF_LIFE_MS / DAY_MS,
    "log_visit_trend": _faster(VIEWS_HALF_LIFE_MS, SESSIONS_HALF_LIFE_MS),
}
"""Half-lives of the features that are sums which fade, or shares of such sums, in days."""

_GROWING = ("log_tenure", "log_silence")

VISIT_CLICKS = 5
"""Clicks of the visit that `after_visit` supposes, one of which puts something into the cart."""


def _named(values: Sequence[float]) -> dict[str, float]:
    return dict(zip(FEATURE_NAMES, values, strict=True))


def _mean_gap_days(named: dict[str, float]) -> float:
    return (expm1(named["log_recency"]) + GAP_PRIOR_DAYS) / expm1(named["log_orders"])


def in_silence(values: Sequence[float], days: float) -> list[float]:
    """Give the features after so many more days in which nothing happens.

    Parameters
    ----------
    values
        Features in the order of `FEATURES`.
    days
        Not negative.

    Examples
    --------
    >>> now = [0.0] * len(FEATURE_NAMES)
    >>> now[FEATURE_NAMES.index("log_orders")] = log1p(1)
    >>> later = in_silence(now, 9.0)
    >>> round(expm1(later[FEATURE_NAMES.index("log_silence")]), 6)
    9.0
    """
    named = _named(values)
    silence_days = expm1(named["log_silence"]) + days
    for name in _GROWING:
        named[name] = log1p(expm1(named[name]) + days)
    named["log_silence_in_gaps"] = log1p(silence_days / _mean_gap_days(named))
    for name, half_life_days in FADING_DAYS.items():
        named[name] = log1p(expm1(named[name]) * 2.0 ** (-days / half_life_days))
    turned = 2.0 * pi * days * DAY_MS / YEAR_MS
    angle = atan2(named["season_sine"], named["season_cosine"]) + turned
    named["season_sine"], named["season_cosine"] = sin(angle), cos(angle)
    return list(named.values())


def after_order(values: Sequence[float]) -> list[float]:
    """Give the features right after an order of the customer's usual size and kind, without a discount.

    Which of the newest four orders leaves their number is not known: their longest gap is taken to stay.

    Parameters
    ----------
    values
        Features in the order of `FEATURES`.

    Examples
    --------
    >>> now = [0.0] * len(FEATURE_NAMES)
    >>> now[FEATURE_NAMES.index("log_orders")] = log1p(2)
    >>> now[FEATURE_NAMES.index("log_silence")] = log1p(40.0)
    >>> then = after_order(now)
    >>> then[FEATURE_NAMES.index("log_silence")], round(expm1(then[FEATURE_NAMES.index("log_orders")]))
    (0.0, 3)
    """
    named = _named(values)
    amount, orders = expm1(named["log_order_value"]), expm1(named["log_orders"])
    revenue = amount * orders
    net = revenue * (1.0 - named["refund_share"]) + amount
    discounted = revenue * named["discount_share"] / max(1.0 - named["discount_share"], 1e-9)
    named |= {
        "log_silence": 0.0,
        "log_silence_in_gaps": 0.0,
        "log_recency": named["log_tenure"],
        "log_orders": log1p(orders + 1.0),
        "log_orders_28d": log1p(expm1(named["log_orders_28d"]) + 1.0),
        "log_orders_84d": log1p(expm1(named["log_orders_84d"]) + 1.0),
        "log_longest_gap": max(named["log_longest_gap"], named["log_silence"]),
        "log_visited_after": 0.0,
        "log_cart_left": 0.0,
        "one_timer": 0.0,
        "log_revenue": log1p(net),
        "log_last_order_value": log1p(amount),
    }
    if revenue > 0.0:
        named["refund_share"] *= revenue / (revenue + amount)
        named["discount_share"] = discounted / (revenue + amount + discounted)
    return list(named.values())


def after_visit(values: Sequence[float]) -> list[float]:
    """Give the features right after a visit of a few clicks, in which something was put into the cart.

    Parameters
    ----------
    values
        Features in the order of `FEATURES`.

    Examples
    --------
    >>> then = after_visit([0.0] * len(FEATURE_NAMES))
    >>> (
    ...     round(expm1(then[FEATURE_NAMES.index("log_views")])),
    ...     round(expm1(then[FEATURE_NAMES.index("log_sessions")])),
    ... )
    (5, 1)
    """
    named = _named(values)
    sessions = named["log_sessions"]
    for name, more in (("log_views", VISIT_CLICKS), ("log_sessions", 1), ("log_cart_adds", 1)):
        named[name] = log1p(expm1(named[name]) + more)
    sessions_week = expm1(named["log_visit_trend"]) * expm1(sessions)
    named["log_visit_trend"] = log1p(trend(sessions_week + 1.0, expm1(sessions) + 1.0))
    named["log_visited_after"] = named["log_silence"]
    named["log_cart_left"] = log1p(1.0)
    return list(named.values())
