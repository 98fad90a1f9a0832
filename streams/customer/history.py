"""Folding a customer's records into the facts.

Each function takes the state as it is and one event, and leaves the state as it should be had the
event come in time: sums fade from the event's own time, firsts and lasts are minima and maxima. So
clicks and orders that come out of order, or late, lead to the same facts as in order, except for what
was decided in between, and for sessions: a click from before the newest one opens none.

An order is known by its id while it is among the newest few: sent twice it is counted once, an update
or a refund finds its amount, a cancellation takes it out again with its refunds. Shops send the
refund of a called-off order too, before or after, so the ids of cancelled orders are kept as well.

Categories are remembered as cells of a bitmap (linear counting): names take no room, a union does not
depend on the order in which things come, and how many cells are taken tells how many categories there are.
The newest orders keep their own cells, so taking one out again leaves exactly those of the others.

References
----------
Whang, Vander-Zanden & Taylor, A linear-time probabilistic counting algorithm, ACM TODS 15 (1990),
doi 10.1145/78922.78925.
"""

from __future__ import annotations

from typing import Final
from zlib import crc32

from schemas.events import Cancellation, Funnel, Order, Refund
from streams.config import SegmentConfig
from streams.customer.decay import forward_weight
from streams.customer.lifecycle import comes_back
from streams.customer.packing import digest
from streams.customer.state import (
    CATEGORY_CELLS,
    NO_TIME,
    ORDERS_LONG_HALF_LIFE_MS,
    ORDERS_SHORT_HALF_LIFE_MS,
    RECENT_ORDERS,
    SESSIONS_HALF_LIFE_MS,
    VIEWS_HALF_LIFE_MS,
    CustomerState,
)
from streams.customer.state_wire import RecentOrder

_CART_ADD: Final = Funnel.CART_ADD  # reading a member off its enum class is slow in Python 3.11


def fold_click(state: CustomerState, time_ms: int, funnel: Funnel) -> None:
    """Count a click, and the session that it begins.

    Examples
    --------
    >>> from streams.customer.state import new_state
    >>> state = new_state(5_000, inputs=2)
    >>> fold_click(state, 5_000, Funnel.CART_ADD)
    >>> state.views, state.carts, state.sessions, state.session_ms
    (1.0, 1.0, 1.0, 5000)
    """
    weight = forward_weight(time_ms, state.landmark_ms, VIEWS_HALF_LIFE_MS)
    state.views += weight
    if funnel is _CART_ADD:
        state.carts += weight
        if time_ms > state.cart_ms:
            state.cart_ms = time_ms
    if time_ms > state.click_ms:
        state.click_ms = time_ms
        if state.session_ms == NO_TIME:
            state.sessions += forward_weight(time_ms, state.landmark_ms, SESSIONS_HALF_LIFE_MS)
            state.sessions_short += weight
        state.session_ms = time_ms


def fold_order(state: CustomerState, order: Order, config: SegmentConfig) -> bool:
    """Count an order, unless it is a known one sent again (then it is an update) or was called off.

    Returns
    -------
    bool
        Whether the order is new.
    """
    key = _key(order.order_id)
    if key in state.cancelled:
        return False
    if _find(state, key) is not None:
        fold_update(state, order)
        return False
    time_ms = order.time_ms
    state.first_order_ms = min(state.first_order_ms, time_ms) if state.orders else time_ms
    recent = (key, time_ms, order.amount, order.discount, order.items, cells_of(order.categories))
    _count(state, recent, sign=1)
    in_order = time_ms > state.order_ms or not state.recent_orders
    state.recent_orders.append(recent)
    if not in_order:
        # Orders of one moment go by their key, so that it does not matter which came in first.
        state.recent_orders.sort(key=lambda recent: (recent[1], recent[0]))
    for gone in state.recent_orders[:-RECENT_ORDERS]:
        _take_refunds(state, gone[0])
        state.category_cells |= gone[5]
    del state.recent_orders[:-RECENT_ORDERS]
    _look_at_newest(state, config)
    return True


def answer_questions(state: CustomerState, time_ms: int, horizon_ms: int) -> None:
    """Mark the open questions that an order at `time_ms` answers: it lies within their horizon."""
    for question in state.questions:
        if question.asked_ms < time_ms <= question.asked_ms + horizon_ms:
            question.ordered = True


def retract_answers(state: CustomerState) -> None:
    """Take back the answers of open questions after which no order is left: it was cancelled."""
    for question in state.questions:
        question.ordered = question.ordered and question.asked_ms < state.order_ms


def fold_update(state: CustomerState, order: Order) -> bool:
    """Give a known order its new amount; tell whether it was known."""
    place = _find(state, _key(order.order_id))
    if place is None:
        return False
    key, time_ms, amount, discount, items, _ = state.recent_orders[place]
    state.revenue += order.amount - amount
    state.discounted += order.discount - discount
    state.items += order.items - items
    cells = cells_of(order.categories)
    state.recent_orders[place] = (key, time_ms, order.amount, order.discount, order.items, cells)
    state.order_amount = state.recent_orders[-1][2]
    _look_at_categories(state)
    return True


def fold_refund(state: CustomerState, refund: Refund) -> bool:
    """Take money back; without an amount what is left of the order's, when it is still known."""
    key = _key(refund.order_id)
    if key in state.cancelled:
        return False
    place, amount = _find(state, key), refund.amount
    if place is None:
        if amount is None:
            return False
    else:
        before = _take_refunds(state, key)
        if amount is None:
            amount = max(0.0, state.recent_orders[place][2] - before)
        state.refunds.append((key, before + amount))
    state.refunded += amount
    return True


def fold_cancellation(state: CustomerState, cancellation: Cancellation, config: SegmentConfig) -> bool:
    """Take an order out again, as if it had never been placed; tell whether it was known."""
    key = _key(cancellation.order_id)
    place = _find(state, key)
    if place is None and state.orders > len(state.recent_orders):
        return False  # perhaps an order of long ago that still counts, and so do its refunds
    if key not in state.cancelled:
        state.cancelled = [*state.cancelled[1 - RECENT_ORDERS :], key]
    if place is None:
        return False
    _count(state, state.recent_orders.pop(place), sign=-1)
    state.refunded -= _take_refunds(state, key)
    if state.orders == 0:
        state.first_order_ms = state.order_ms = NO_TIME
        state.order_amount = state.revenue = state.discounted = state.refunded = 0.0
        state.orders_short = state.orders_long = 0.0
        state.items = state.categories = state.gap_ms = 0
        state.won_back = False
        return True
    if state.orders == len(state.recent_orders):
        state.first_order_ms = state.recent_orders[0][1]
    _look_at_newest(state, config)
    return True


def _look_at_newest(state: CustomerState, config: SegmentConfig) -> None:
    """Derive from the newest orders that are known when the last one was, and what it was."""
    recent = state.recent_orders
    if recent:
        state.order_ms, state.order_amount = recent[-1][1], recent[-1][2]
    else:  # all that were known are cancelled: the first order and the mean are what is left
        state.order_ms = state.first_order_ms
        state.order_amount = state.revenue / state.orders
    state.won_back = len(recent) > 1 and comes_back(recent[-2][1], state.order_ms, config)
    state.gap_ms = 0
    for place in range(1, len(recent)):
        state.gap_ms = max(state.gap_ms, recent[place][1] - recent[place - 1][1])
    _look_at_categories(state)


def _look_at_categories(state: CustomerState) -> None:
    """Count the cells that the orders take: of those long gone, and of the newest, which may change."""
    cells = state.category_cells
    for recent in state.recent_orders:
        cells |= recent[5]
    state.categories = cells.bit_count()


def cells_of(categories: tuple[str, ...]) -> int:
    """Find the cells of some categories, as bits; the same in every process.

    Examples
    --------
    >>> cells_of(("Lamps", "Toys", "Lamps")).bit_count(), cells_of(())
    (2, 0)
    """
    cells = 0
    for category in categories:
        cells |= 1 << (crc32(category.encode()) % CATEGORY_CELLS)
    return cells


def _count(state: CustomerState, order: RecentOrder, sign: int) -> None:
    _, time_ms, amount, discount, items, _ = order
    state.orders += sign
    state.items += sign * items
    state.revenue += sign * amount
    state.discounted += sign * discount
    landmark_ms = state.landmark_ms
    state.orders_short += sign * forward_weight(time_ms, landmark_ms, ORDERS_SHORT_HALF_LIFE_MS)
    state.orders_long += sign * forward_weight(time_ms, landmark_ms, ORDERS_LONG_HALF_LIFE_MS)


def _key(order_id: str) -> int:
    return int.from_bytes(digest(order_id), "big")


def _take_refunds(state: CustomerState, key: int) -> float:
    """Remove what is known of an order's refunds, and return their sum."""
    for place, (known, amount) in enumerate(state.refunds):
        if known == key:
            del state.refunds[place]
            return amount
    return 0.0


def _find(state: CustomerState, key: int) -> int | None:
    for place, recent in enumerate(state.recent_orders):
        if recent[0] == key:
            return place
    return None
