"""States as earlier programs wrote them: msgpack arrays, in the order of the fields.

Version 2 said the same as is said now, in more bytes and with more work. `landmark_ms` and `first_order_ms`
count from `first_ms`; `order_ms` and `order_amount` are 0 where they are those of the last of the
`recent_orders`; `published` and `due_ms` of the verdict are small integers where they are those of another
field; features of the latest review take three bytes each.

Version 1 did not know of baskets, categories, trends and left carts. Its states are read as if what was not
counted then had not happened: pieces and categories of orders placed before count for nothing, visits begin
their trend anew. Features frozen then are of a shorter list. Questions with them are dropped, since an
example must say every feature, and the next review compares itself with nothing. So for one horizon after an
upgrade there is less to learn from.

Message ids were hashed by another function then, so those of the last days are forgotten: a message that is
delivered twice, once before an upgrade and once after it, counts twice. A state is written as it is now when
it next changes.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any, Final

import msgspec

from streams.customer.packing import pack, unpack
from streams.customer.state import NO_TIME, CustomerState, Verdict
from streams.customer.state_wire import Question, RecentOrder, Traits

_ARRAY_16 = 0xDC  # the array has more than 15 elements, so its length takes two bytes behind this one
_AS_RISK: Final = 2


class _Verdict(msgspec.Struct, array_like=True, gc=False):
    risk: float
    published: float
    values: bytes
    crossing_ms: int
    episode: int
    episode_ms: int
    due_ms: int
    border_ms: int = 0


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
    verdict: _Verdict


class _StateV2(_StateV1, array_like=True, gc=False):
    recent_orders: list[RecentOrder]  # type: ignore[assignment] # in the same place, with two elements more
    sessions_short: float = 0.0
    cart_ms: int = 0
    items: int = 0
    category_cells: int = 0
    categories: int = 0
    gap_ms: int = 0
    traits: Traits | None = None


_decode_v1 = msgspec.msgpack.Decoder(_StateV1).decode
_decode_v2 = msgspec.msgpack.Decoder(_StateV2).decode


def is_old(value: bytes) -> bool:
    """Tell whether these are the bytes of version 1 or 2.

    Examples
    --------
    >>> is_old(b"no state at all")
    False
    """
    return len(value) > 3 and value[0] == _ARRAY_16 and value[3] in (1, 2)


def decode_old(value: bytes) -> CustomerState:
    """Read a state of version 1 or 2.

    Raises
    ------
    msgspec.DecodeError
        When the bytes say that they are one, and are none.
    """
    fields = _fields_of_v1(value) if value[3] == 1 else _fields_of_v2(value)
    return CustomerState(**fields)


def _fields_of_v1(value: bytes) -> dict[str, Any]:
    old = _decode_v1(value)
    fields = _fields_of(old)
    times = [recent[1] for recent in old.recent_orders]
    return fields | {
        "recent_orders": [(*recent, 0, 0) for recent in old.recent_orders],
        "questions": [],
        "verdict": Verdict(**msgspec.structs.asdict(msgspec.structs.replace(old.verdict, values=b""))),
        "gap_ms": max((late - early for early, late in pairwise(times)), default=0),
    }


def _fields_of_v2(value: bytes) -> dict[str, Any]:
    old = _decode_v2(value)
    fields = _fields_of(old)
    fields["landmark_ms"] += old.first_ms
    fields["first_order_ms"] = old.first_ms + old.first_order_ms if old.orders else NO_TIME
    if old.recent_orders:
        _, fields["order_ms"], fields["order_amount"], *_ = old.recent_orders[-1]
    judged = msgspec.structs.asdict(old.verdict)
    if old.verdict.published == _AS_RISK:
        judged["published"] = old.verdict.risk
    due_of = {1: old.review_ms, 2: old.border_ms, 3: old.verdict.crossing_ms, 4: old.verdict.border_ms}
    judged["due_ms"] = due_of.get(old.verdict.due_ms, old.verdict.due_ms)
    judged["values"] = pack(_unpack_short(old.verdict.values))
    return fields | {"verdict": Verdict(**judged)}


def _fields_of(old: _StateV1) -> dict[str, Any]:
    forgotten = ("ids_now", "ids_before", "version")
    return {name: getattr(old, name) for name in old.__struct_fields__ if name not in forgotten}


def _unpack_short(packed: bytes) -> list[float]:
    """Unpack the upper three bytes of 32-bit floats: all firsts, all seconds, all thirds."""
    count = len(packed) // 3
    whole = bytearray(4 * count)
    whole[3::4] = packed[:count]
    whole[2::4] = packed[count : 2 * count]
    whole[1::4] = packed[2 * count :]
    return unpack(bytes(whole))
