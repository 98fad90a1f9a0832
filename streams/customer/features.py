"""What a model is told about a customer, as of a moment.

Every feature is a function of the facts and of `as_of_ms`, never of anything later, and falls into a
family: features of one family say nearly the same, so a reason speaks for the family. Counts,
money and durations are heavy-tailed and enter as the logarithm of one more. Values are rounded to
32-bit floats at once, so that what a model is asked with, what is kept until the answer comes and what
is published are the same numbers to the last bit.

In silence only the features marked `moves` change; the crossing search relies on that
(`streams.customer.silence`). They stand in a `vec`, numbers side by side: in compiled code a list of as many
objects takes ten times as long. The rounding is arithmetic, Veltkamp's splitting, because it is the same
wherever this module runs, compiled or not.

References
----------
Dekker, A floating-point technique for extending the available precision, Numer. Math. 18 (1971).
"""

from __future__ import annotations

from math import cos, log, pow, sin
from typing import Final, NamedTuple

from librt.vecs import vec

from streams.config import DAY_MS
from streams.customer.state import (
    CATEGORY_CELLS,
    ORDERS_LONG_HALF_LIFE_MS,
    SESSIONS_HALF_LIFE_MS,
    VIEWS_HALF_LIFE_MS,
    CustomerState,
)

GAP_PRIOR_DAYS: Final = 60.0
"""Gap that is assumed once beside the gaps seen: one order says nothing about its rhythm."""

YEAR_MS: Final = 31_556_952_000.0
"""The mean year of the calendar, 365.2425 days."""

TURN: Final = 6.283185307179586


class Feature(NamedTuple):
    """One feature: its name, family and unit, whether silence moves it, what it is, and as of when."""

    name: str
    family: str
    unit: str
    moves: bool
    about: str
    as_of: str


_SINCE = "grows with time"
_FADES = "each fades from its own time"
_YEARLY = "turns with the year"
_STANDS = "as the orders up to then say"

FEATURES: tuple[Feature, ...] = (
    Feature("log_tenure", "tenure", "log1p days", True, "time since the first order (T)", _SINCE),
    Feature("log_silence", "silence", "log1p days", True, "time since the last order", _SINCE),
    Feature(
        "log_recency",
        "rhythm",
        "log1p days",
        False,
        "first to last order (recency in the CLV sense)",
        _STANDS,
    ),
    Feature(
        "log_silence_in_gaps",
        "rhythm",
        "log1p ratio",
        True,
        "silence over the customer's own mean gap",
        _SINCE,
    ),
    Feature("log_orders", "frequency", "log1p orders", False, "orders so far", _STANDS),
    Feature("log_orders_28d", "frequency", "log1p orders", True, "orders lately, half-life 28 days", _FADES),
    Feature("log_orders_84d", "frequency", "log1p orders", True, "orders lately, half-life 84 days", _FADES),
    Feature("one_timer", "frequency", "0 or 1", False, "whether there was one order only", _STANDS),
    Feature("log_revenue", "money", "log1p currency", False, "revenue so far, net of refunds", _STANDS),
    Feature("log_order_value", "money", "log1p currency", False, "mean revenue of an order", _STANDS),
    Feature("log_last_order_value", "money", "log1p currency", False, "revenue of the last order", _STANDS),
    Feature("refund_share", "refunds", "share", False, "refunded share of the revenue", _STANDS),
    Feature("discount_share", "discounts", "share", False, "discounts over revenue and discounts", _STANDS),
    Feature("log_views", "browsing", "log1p clicks", True, "clicks lately, half-life 7 days", _FADES),
    Feature("log_sessions", "browsing", "log1p sessions", True, "sessions lately, half-life 28 days", _FADES),
    Feature(
        "log_cart_adds",
        "cart",
        "log1p products",
        True,
        "products put into the cart, half-life 7 days",
        _FADES,
    ),
    Feature("log_items", "basket", "log1p pieces", False, "mean number of pieces in an order", _STANDS),
    Feature(
        "log_categories",
        "category",
        "log1p categories",
        False,
        "different categories bought so far; products, where no category is named",
        _STANDS,
    ),
    Feature(
        "log_longest_gap",
        "rhythm",
        "log1p days",
        False,
        "the longest gap among the newest four orders, 0 with one order: silence below it is as usual",
        _STANDS,
    ),
    Feature(
        "log_visit_trend",
        "trend",
        "log1p share",
        True,
        "sessions lately at half-life 7 days over those at 28: a quarter when steady",
        "both fade, the short one faster",
    ),
    Feature("season_sine", "season", "-1 to 1", True, "time of year, sine: 1 at the end of March", _YEARLY),
    Feature("season_cosine", "season", "-1 to 1", True, "time of year, cosine: 1 at the new year", _YEARLY),
    Feature(
        "log_visited_after",
        "browsing",
        "log1p days",
        False,
        "from the last order to the last click after it",
        "as the clicks up to then say",
    ),
    Feature(
        "log_cart_left",
        "cart",
        "log1p share",
        True,
        "1 when something is put into the cart and not ordered, half-life 7 days",
        "fades; 0 once an order follows",
    ),
)
"""Only ever appended to: a model of an earlier list is served still (`streams.learning.served`)."""

FEATURE_NAMES: tuple[str, ...] = tuple(feature.name for feature in FEATURES)

LISTS: tuple[int, ...] = (16, len(FEATURES))
"""How many features the list has had, from first to now."""

FAMILIES: tuple[str, ...] = tuple(dict.fromkeys(feature.family for feature in FEATURES))

FAMILY_OF: tuple[int, ...] = tuple(FAMILIES.index(feature.family) for feature in FEATURES)
"""For each feature, the number of its family."""


def features(state: CustomerState, as_of_ms: int) -> vec[float]:
    """Compute all features of a customer with at least one order.

    Parameters
    ----------
    state
        The customer; `state.orders` must be positive.
    as_of_ms
        Not before the customer's last order.

    Returns
    -------
    vec of float
        In the order of `FEATURES`; each value is exactly a 32-bit float. It must not be changed.

    Examples
    --------
    >>> from streams.customer.state import new_state
    >>> state = new_state(0, inputs=2)
    >>> state.orders, state.revenue, state.order_amount = 1, 20.0, 20.0
    >>> dict(zip(FEATURE_NAMES, features(state, 7 * DAY_MS), strict=True))["log_silence"]
    2.079441547393799
    """
    orders = state.orders
    silence_days = (as_of_ms - state.order_ms) / DAY_MS
    recency_days = (state.order_ms - state.first_order_ms) / DAY_MS
    mean_gap_days = (recency_days + GAP_PRIOR_DAYS) / orders
    back_ms = float(state.landmark_ms - as_of_ms)
    fade_views = pow(2.0, back_ms / VIEWS_HALF_LIFE_MS)
    fade_month = pow(2.0, back_ms / SESSIONS_HALF_LIFE_MS)  # and of the orders lately
    sessions = state.sessions * fade_month
    net = state.revenue - state.refunded
    gross = state.revenue + state.discounted
    refund_share = min(1.0, state.refunded / state.revenue) if state.revenue > 0.0 else 0.0
    angle = TURN * (as_of_ms / YEAR_MS)
    return vec[float](
        [
            single(log(1.0 + (recency_days + silence_days))),
            single(log(1.0 + silence_days)),
            single(log(1.0 + recency_days)),
            single(log(1.0 + silence_days / mean_gap_days)),
            single(log(1.0 + orders)),
            single(log(1.0 + state.orders_short * fade_month)),
            single(log(1.0 + state.orders_long * pow(2.0, back_ms / ORDERS_LONG_HALF_LIFE_MS))),
            1.0 if orders == 1 else 0.0,
            single(log(1.0 + net)) if net > 0.0 else 0.0,
            single(log(1.0 + state.revenue / orders)),
            single(log(1.0 + state.order_amount)),
            single(refund_share),
            single(state.discounted / gross) if gross > 0.0 else 0.0,
            single(log(1.0 + state.views * fade_views)),
            single(log(1.0 + sessions)),
            single(log(1.0 + state.carts * fade_views)),
            single(log(1.0 + state.items / orders)),
            LOG_CATEGORIES[state.categories],
            single(log(1.0 + state.gap_ms / DAY_MS)),
            single(log(1.0 + trend(state.sessions_short * fade_views, sessions))),
            single(sin(angle)),
            single(cos(angle)),
            single(log(1.0 + (state.click_ms - state.order_ms) / DAY_MS))
            if state.click_ms > state.order_ms
            else 0.0,
            single(log(1.0 + cart_left(state, as_of_ms))),
        ]
    )


def trend(short: float, long: float) -> float:
    """Divide a sum that fades fast by one of the same events that fades slowly.

    It is 0 where there were none, and never more than 1.

    Examples
    --------
    >>> trend(0.25, 0.5), trend(0.0, 0.0), trend(1e-17, -1e-17)
    (0.5, 0.0, 0.0)
    """
    if short <= 0.0 or long <= 0.0:
        return 0.0
    return min(1.0, short / long)


def cart_left(state: CustomerState, as_of_ms: int) -> float:
    """Say how fresh a cart is that was not ordered: 1 when just filled, half a week later."""
    cart_ms = state.cart_ms
    if cart_ms <= state.order_ms:
        return 0.0
    return pow(2.0, float(cart_ms - as_of_ms) / VIEWS_HALF_LIFE_MS)


def single(value: float) -> float:
    """Round to the nearest 32-bit float.

    Parameters
    ----------
    value
        Of a size that a 32-bit float can have (below 1e38), not among its subnormal numbers.

    Examples
    --------
    >>> single(0.1)
    0.10000000149011612
    """
    split = value * 536_870_913.0  # 2^29 + 1: of the 53 bits of a double, 24 are to stay
    return split - (split - value)


def families_of(contributions: list[float]) -> list[float]:
    """Add contributions of features up to those of families, in the order of `FAMILIES`.

    Examples
    --------
    >>> families_of([1.0] * len(FEATURES))[FAMILIES.index("money")]
    3.0
    """
    sums = [0.0] * len(FAMILIES)
    for family, contribution in zip(FAMILY_OF, contributions, strict=True):
        sums[family] += contribution
    return sums


def _categories(cells: int) -> float:
    """Estimate how many categories filled so many of the cells (linear counting)."""
    free = max(CATEGORY_CELLS - cells, 0.5)
    return single(log(1.0 - CATEGORY_CELLS * log(free / CATEGORY_CELLS)))


LOG_CATEGORIES: Final[tuple[float, ...]] = tuple(_categories(cells) for cells in range(CATEGORY_CELLS + 1))
"""The feature `log_categories` by the number of cells that are taken."""
