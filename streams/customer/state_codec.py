"""A state to bytes and back.

A state travels as a msgpack array in field order (`streams.customer.state_wire`). A field is only ever
appended, with a default; anything else raises `STATE_VERSION`. States of the version before are read too.
What is not there takes one byte: sums that are zero go as the integer, for a float always takes nine. What
follows from other fields does not travel: when and what the last order was stand among the newest orders,
and what is due next is mostly the next review. What few customers have comes last and is left out where it is
not there.
"""

from __future__ import annotations

from typing import Final

import msgspec

from streams.customer.state import NO_TIME, STATE_VERSION, CustomerState, Verdict
from streams.customer.state_wire import StateOnWire
from streams.customer.state_wire_v1 import upgraded

AS_RISK: Final = 2
"""On the wire, in the place of the published risk: it is the risk of the latest review."""

AS_REVIEW: Final = 1
AS_BORDER: Final = 2
AS_CROSSING: Final = 3
AS_DRAWN_BORDER: Final = 4
"""On the wire, in the place of the moment when something is due: it is that of the review, and so on."""


def _brief(amount: float) -> object:
    return amount if amount != 0.0 else 0


def _on_wire(state: CustomerState) -> tuple[object, ...]:
    """Give the fields as they travel; what follows from others, or is not there, takes one byte."""
    recent = state.recent_orders
    verdict = state.verdict
    due_ms = verdict.due_ms
    if due_ms == state.review_ms:
        due_ms = AS_REVIEW
    elif due_ms == state.border_ms:
        due_ms = AS_BORDER
    elif due_ms == verdict.crossing_ms:
        due_ms = AS_CROSSING
    elif due_ms == verdict.border_ms:
        due_ms = AS_DRAWN_BORDER
    judged = (
        verdict.risk,
        AS_RISK if verdict.published == verdict.risk else verdict.published,
        verdict.values,
        verdict.crossing_ms,
        verdict.episode,
        verdict.episode_ms,
        due_ms,
    )
    fields = (
        state.version,
        state.first_ms,
        state.clock_ms,
        state.landmark_ms - state.first_ms,
        state.click_ms,
        state.session_ms,
        _brief(state.views),
        _brief(state.sessions),
        _brief(state.carts),
        state.orders,
        state.revenue,
        _brief(state.refunded),
        _brief(state.discounted),
        state.first_order_ms - state.first_ms if state.orders else 0,
        0 if recent else state.order_ms,
        0 if recent else state.order_amount,
        state.orders_short,
        state.orders_long,
        state.won_back,
        recent,
        state.refunds,
        state.cancelled,
        state.ids_now,
        state.ids_before,
        state.ids_ms,
        state.applied,
        state.review_ms,
        state.border_ms,
        state.questions,
        state.rfm,
        state.lifecycle,
        judged if verdict.border_ms == NO_TIME else (*judged, verdict.border_ms),
        _brief(state.sessions_short),
        state.cart_ms,
        state.items,
        state.category_cells,
        state.categories,
        state.gap_ms,
    )
    return fields if state.traits is None else (*fields, state.traits)


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(StateOnWire).decode


def encode_state(state: CustomerState) -> bytes:
    """Write a state for the changelog."""
    return _encode(_on_wire(state))


def decode_state(value: bytes) -> CustomerState:
    """Read a state back.

    Raises
    ------
    ValueError
        When the bytes are no state, or one of a version that this program does not know.

    Examples
    --------
    >>> from streams.customer.state import new_state
    >>> state = new_state(1_000, inputs=2)
    >>> decode_state(encode_state(state)) == state
    True
    """
    try:
        wire = upgraded(value) or _decode(value)
    except msgspec.DecodeError as error:
        raise ValueError(f"not a customer state: {error}") from error
    if wire.version != STATE_VERSION:
        raise ValueError(f"customer state of version {wire.version}, this program knows {STATE_VERSION}")
    verdict = wire.verdict
    recent = wire.recent_orders
    first_ms, due_ms = wire.first_ms, verdict.due_ms
    if due_ms == AS_REVIEW:
        due_ms = wire.review_ms
    elif due_ms == AS_BORDER:
        due_ms = wire.border_ms
    elif due_ms == AS_CROSSING:
        due_ms = verdict.crossing_ms
    elif due_ms == AS_DRAWN_BORDER:
        due_ms = verdict.border_ms
    return CustomerState(
        first_ms=first_ms,
        clock_ms=wire.clock_ms,
        landmark_ms=first_ms + wire.landmark_ms,
        click_ms=wire.click_ms,
        session_ms=wire.session_ms,
        views=wire.views,
        sessions=wire.sessions,
        carts=wire.carts,
        orders=wire.orders,
        revenue=wire.revenue,
        refunded=wire.refunded,
        discounted=wire.discounted,
        first_order_ms=first_ms + wire.first_order_ms if wire.orders else NO_TIME,
        order_ms=recent[-1][1] if recent else wire.order_ms,
        order_amount=recent[-1][2] if recent else wire.order_amount,
        orders_short=wire.orders_short,
        orders_long=wire.orders_long,
        won_back=wire.won_back,
        recent_orders=recent,
        refunds=wire.refunds,
        cancelled=wire.cancelled,
        ids_now=wire.ids_now,
        ids_before=wire.ids_before,
        ids_ms=wire.ids_ms,
        applied=wire.applied,
        review_ms=wire.review_ms,
        border_ms=wire.border_ms,
        questions=wire.questions,
        rfm=wire.rfm,
        lifecycle=wire.lifecycle,
        verdict=Verdict(
            verdict.risk,
            verdict.risk if verdict.published == AS_RISK else verdict.published,
            verdict.values,
            verdict.crossing_ms,
            verdict.episode,
            verdict.episode_ms,
            due_ms,
            verdict.border_ms,
        ),
        sessions_short=wire.sessions_short,
        cart_ms=wire.cart_ms,
        items=wire.items,
        category_cells=wire.category_cells,
        categories=wire.categories,
        gap_ms=wire.gap_ms,
        traits=wire.traits,
    )
