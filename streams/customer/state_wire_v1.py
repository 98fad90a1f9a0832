"""States as the program wrote them before they knew of baskets, categories, trends and left carts.

They are read as if what was not counted then had not happened: pieces and categories of orders placed before
count for nothing, visits begin their trend anew. Features frozen then are of a shorter list. Questions with
them are dropped, since an example must say every feature, and the next review compares itself with nothing.
So for one horizon after an upgrade there is less to learn from. A state is written as it is now when it next
changes.
"""

from __future__ import annotations

from itertools import pairwise

import msgspec

from streams.customer.state_wire import Question, StateOnWire, VerdictOnWire

_VERSION = 1
_NOW = 2
_ARRAY_16 = 0xDC  # the array has more than 15 elements, so its length takes two bytes behind this one


class _StateV1(msgspec.Struct, array_like=True, gc=False):
    version: int
    first_ms: int
    clock_ms: int
    landmark_ms: int
    click_ms: int
    session_ms: int
    views: float
    sessions: float
    carts: float
    orders: int
    revenue: float
    refunded: float
    discounted: float
    first_order_ms: int
    order_ms: int
    order_amount: float
    orders_short: float
    orders_long: float
    won_back: bool
    recent_orders: list[tuple[int, int, float, float]]
    refunds: list[tuple[int, float]]
    cancelled: list[int]
    ids_now: bytes
    ids_before: bytes
    ids_ms: int
    applied: list[int]
    review_ms: int
    border_ms: int
    questions: list[Question]
    rfm: int
    lifecycle: int
    verdict: VerdictOnWire


_decode = msgspec.msgpack.Decoder(_StateV1).decode


def upgraded(value: bytes) -> StateOnWire | None:
    """Read a state of version 1; None when the bytes are of another.

    Raises
    ------
    msgspec.DecodeError
        When the bytes say that they are one, and are none.

    Examples
    --------
    >>> upgraded(b"no state at all") is None
    True
    """
    if len(value) < 4 or value[0] != _ARRAY_16 or value[3] != _VERSION:
        return None
    old = _decode(value)
    times = [recent[1] for recent in old.recent_orders]
    fields = {name: getattr(old, name) for name in _StateV1.__struct_fields__}
    fields |= {
        "version": _NOW,
        "landmark_ms": old.landmark_ms - old.first_ms,
        "first_order_ms": old.first_order_ms - old.first_ms if old.orders else 0,
        "recent_orders": [(*recent, 0, 0) for recent in old.recent_orders],
        "questions": [],
        "verdict": msgspec.structs.replace(old.verdict, values=b""),
        "gap_ms": max((late - early for early, late in pairwise(times)), default=0),
    }
    return StateOnWire(**fields)
