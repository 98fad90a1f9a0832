"""The slow oracle: it keeps every event and works everything out anew for each moment.

It knows nothing of landmarks, newest orders, open sessions or timers, so it cannot be wrong in the way
the state can. It is for events in order of time, no two of a customer at one moment.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from math import cos, log, log1p, pi, sin
from zlib import crc32

import msgspec

from schemas.events import Cancellation, Click, Event, Funnel, Order, OrderUpdate, Refund
from streams.config import DAY_MS, MINUTE_MS, StreamConfig
from streams.customer.features import FEATURE_NAMES, GAP_PRIOR_DAYS


class Bought(msgspec.Struct):
    """An order as it stands: later updates and refunds are in it."""

    time_ms: int
    amount: float
    discount: float
    items: int = 0
    categories: tuple[str, ...] = ()
    refunded: float = 0.0


def standing_orders(events: Sequence[Event], as_of_ms: int) -> list[Bought]:
    """List the orders that stand as of a moment, oldest first."""
    orders: dict[str, Bought] = {}
    cancelled: set[str] = set()
    for event in events:
        if event.time_ms > as_of_ms:
            break
        if isinstance(event, Order):
            known = orders.get(event.order_id)
            if known is not None:
                known.amount, known.discount = event.amount, event.discount
                known.items, known.categories = event.items, event.categories
            elif event.order_id not in cancelled and not isinstance(event, OrderUpdate):
                orders[event.order_id] = Bought(
                    event.time_ms, event.amount, event.discount, event.items, event.categories
                )
        elif isinstance(event, Refund) and event.order_id in orders:
            known = orders[event.order_id]
            whole = max(0.0, known.amount - known.refunded)
            known.refunded += whole if event.amount is None else event.amount
        elif isinstance(event, Cancellation):
            orders.pop(event.order_id, None)
            cancelled.add(event.order_id)
    return list(orders.values())


def newest_orders(events: Sequence[Event], as_of_ms: int) -> list[int]:
    """Give the times of those of the newest four orders that still stand: an older one does not move up."""
    newest: list[tuple[str, int]] = []
    seen: set[str] = set()
    for event in events:
        if event.time_ms > as_of_ms:
            break
        if type(event) is Order and event.order_id not in seen:
            newest = [*newest, (event.order_id, event.time_ms)][-4:]
        if isinstance(event, Order | Cancellation):
            seen.add(event.order_id)
        if isinstance(event, Cancellation):
            newest = [known for known in newest if known[0] != event.order_id]
    return [time_ms for _, time_ms in newest]


def different(categories: set[str]) -> float:
    """Estimate their number from how many of 32 cells they fill, as a sketch can."""
    cells = len({crc32(category.encode()) % 32 for category in categories})
    return -32 * log(max(32 - cells, 0.5) / 32)


def session_starts(clicks: Sequence[int], config: StreamConfig) -> list[int]:
    """List the clicks that begin a session."""
    gap_ms = config.reviews.session_gap_minutes * MINUTE_MS
    return [
        click_ms
        for place, click_ms in enumerate(clicks)
        if place == 0 or click_ms - clicks[place - 1] > gap_ms
    ]


def lately(times_ms: Sequence[int], as_of_ms: int, half_life_days: float) -> float:
    """Count events, each half as much for every half-life that has passed since."""
    return sum(float(2.0 ** (-(as_of_ms - time_ms) / (half_life_days * DAY_MS))) for time_ms in times_ms)


def _share(times_ms: Sequence[int], as_of_ms: int, short_days: float, long_days: float) -> float:
    return lately(times_ms, as_of_ms, short_days) / lately(times_ms, as_of_ms, long_days) if times_ms else 0.0


def naive_features(events: Sequence[Event], as_of_ms: int, config: StreamConfig) -> dict[str, float]:
    """Compute every feature of a customer from all of their events up to a moment."""
    orders = standing_orders(events, as_of_ms)
    clicks = [e for e in events if isinstance(e, Click) and e.time_ms <= as_of_ms]
    order_times = [order.time_ms for order in orders]
    click_times = [event.time_ms for event in clicks]
    carts = [event.time_ms for event in clicks if event.funnel is Funnel.CART_ADD]
    count = len(orders)
    revenue = sum(order.amount for order in orders)
    refunded = sum(order.refunded for order in orders)
    discounted = sum(order.discount for order in orders)
    tenure = (as_of_ms - order_times[0]) / DAY_MS
    silence = (as_of_ms - order_times[-1]) / DAY_MS
    mean_gap = (tenure - silence + GAP_PRIOR_DAYS) / count
    newest = newest_orders(events, as_of_ms)
    gaps = [(late - early) / DAY_MS for early, late in pairwise(newest)]
    sessions = session_starts(click_times, config)
    last_click = max(click_times, default=0)
    left = [cart_ms for cart_ms in carts if cart_ms > order_times[-1]]
    year = 2 * pi * as_of_ms / DAY_MS / 365.2425
    named = {
        "log_tenure": log1p(tenure),
        "log_silence": log1p(silence),
        "log_recency": log1p(tenure - silence),
        "log_silence_in_gaps": log1p(silence / mean_gap),
        "log_orders": log1p(count),
        "log_orders_28d": log1p(lately(order_times, as_of_ms, 28)),
        "log_orders_84d": log1p(lately(order_times, as_of_ms, 84)),
        "one_timer": float(count == 1),
        "log_revenue": log1p(max(0.0, revenue - refunded)),
        "log_order_value": log1p(revenue / count),
        "log_last_order_value": log1p(orders[-1].amount),
        "refund_share": min(1.0, refunded / revenue) if revenue else 0.0,
        "discount_share": discounted / (revenue + discounted) if revenue + discounted else 0.0,
        "log_views": log1p(lately(click_times, as_of_ms, 7)),
        "log_sessions": log1p(lately(sessions, as_of_ms, 28)),
        "log_cart_adds": log1p(lately(carts, as_of_ms, 7)),
        "log_items": log1p(sum(order.items for order in orders) / count),
        "log_categories": log1p(different({c for order in orders for c in order.categories})),
        "log_longest_gap": log1p(max(gaps, default=0.0)),
        "log_visit_trend": log1p(_share(sessions, as_of_ms, 7, 28)),
        "season_sine": sin(year),
        "season_cosine": cos(year),
        "log_visited_after": log1p(max(0.0, (last_click - order_times[-1]) / DAY_MS)),
        "log_cart_left": log1p(lately(left[-1:], as_of_ms, 7)),
    }
    assert set(named) == set(FEATURE_NAMES)
    return named


_RFM = {
    **dict.fromkeys(["11", "12", "21", "22"], "hibernating"),
    **dict.fromkeys(["13", "14", "23", "24"], "at_risk"),
    **dict.fromkeys(["15", "25"], "cant_lose"),
    **dict.fromkeys(["31", "32"], "about_to_sleep"),
    "33": "need_attention",
    **dict.fromkeys(["34", "35", "44", "45"], "loyal"),
    "41": "promising",
    "51": "new",
    **dict.fromkeys(["42", "43", "52", "53"], "potential_loyalists"),
    **dict.fromkeys(["54", "55"], "champions"),
}


def naive_segments(events: Sequence[Event], as_of_ms: int, config: StreamConfig) -> tuple[str, str]:
    """Name the RFM segment and the lifecycle stage as of a moment; `none` and `prospect` without orders."""
    orders = standing_orders(events, as_of_ms)
    if not orders:
        return "none", "prospect"
    segments = config.segments
    days = (as_of_ms - orders[-1].time_ms) / DAY_MS
    recency = 5 - sum(days >= border for border in segments.recency_days)
    frequency = 1 + sum(len(orders) >= border for border in segments.frequency_orders)
    if days >= segments.inactive_days:
        stage = "inactive"
    elif days >= segments.active_days:
        stage = "defecting"
    elif len(orders) > 1 and orders[-1].time_ms - orders[-2].time_ms >= segments.active_days * DAY_MS:
        stage = "won_back"
    else:
        stage = "first_time" if len(orders) == 1 else "active"
    return _RFM[f"{recency}{frequency}"], stage
