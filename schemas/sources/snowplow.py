"""Snowplow enriched events as JSON: what the analytics SDKs and Snowbridge make of the enriched lines.

The event's kind stands in `event`; self-describing events name themselves in `event_name`. Actions of the
e-commerce plug-in are all one event, `snowplow_ecommerce_action`, whose `type` says which, and what they
are about lies beside them as entities. The time is `derived_tstamp`, which the pipeline has corrected for
the device's clock in the way that `schemas.codec` does for Segment. A page ping is a heartbeat of the
browser and no act of the customer.

References
----------
Iglu Central, com.snowplowanalytics.snowplow.ecommerce (snowplow_ecommerce_action, transaction, refund);
Snowplow's canonical event model.
"""

from __future__ import annotations

from typing import Any

import msgspec

from schemas.codec import ORDER_EVENTS, WireError
from schemas.messages import Envelope
from schemas.sources.envelope import (
    Headers,
    Number,
    Translate,
    envelope,
    moment,
    number,
    passive,
    short,
)

_ECOMMERCE = "com_snowplowanalytics_snowplow_ecommerce"


class _Action(msgspec.Struct, gc=False):
    type: str


class _Transaction(msgspec.Struct, gc=False):
    transaction_id: str
    revenue: Number = None
    discount_amount: Number = None


class _Refund(msgspec.Struct, gc=False):
    transaction_id: str
    refund_amount: Number = None


class _Enriched(msgspec.Struct, gc=False):
    event_id: str
    event: str | None = None
    event_name: str | None = None
    user_id: str | None = None
    domain_userid: str | None = None
    network_userid: str | None = None
    derived_tstamp: str | None = None
    collector_tstamp: str | None = None
    tr_orderid: str | None = None
    tr_total: Number = None
    tr_tax: Number = None
    tr_shipping: Number = None
    action: _Action | None = msgspec.field(
        name=f"unstruct_event_{_ECOMMERCE}_snowplow_ecommerce_action_1", default=None
    )
    transactions: list[_Transaction] | None = msgspec.field(
        name=f"contexts_{_ECOMMERCE}_transaction_1", default=None
    )
    refunds: list[_Refund] | None = msgspec.field(name=f"contexts_{_ECOMMERCE}_refund_1", default=None)


class _Marks(msgspec.Struct, gc=False):
    event: object = None
    action: object = msgspec.field(
        name=f"unstruct_event_{_ECOMMERCE}_snowplow_ecommerce_action_1", default=None
    )


_decode = msgspec.json.Decoder(_Enriched).decode
_marks = msgspec.json.Decoder(_Marks).decode

ACTIONS = {
    "product_view": "Product Viewed",
    "list_click": "Product Clicked",
    "list_view": "Product List Viewed",
    "add_to_cart": "Product Added",
    "remove_from_cart": "Product Removed",
    "checkout_step": "Checkout Step Completed",
    "transaction": "Order Completed",
    "refund": "Order Refunded",
}
"""What the actions of the e-commerce plug-in are called in the Segment spec; the others are plain clicks."""

EVENTS = {
    "add_to_cart": "Product Added",
    "remove_from_cart": "Product Removed",
    "site_search": "Products Searched",
}
"""Self-describing events of before the plug-in that have a meaning."""

_HEARTBEATS = frozenset({"page_ping", "transaction_item"})  # an item repeats what its transaction says


def is_order(value: bytes) -> bool:
    """Tell an event about an order by its name, whether or not the rest of it can be read.

    Raises
    ------
    msgspec.DecodeError
        When it is no JSON object.

    Examples
    --------
    >>> is_order(b'{"event": "transaction"}'), is_order(b'{"event": "page_view"}')
    (True, False)
    """
    marks = _marks(value)
    action = marks.action.get("type") if isinstance(marks.action, dict) else None
    return marks.event == "transaction" or (isinstance(action, str) and ACTIONS.get(action) in ORDER_EVENTS)


def translator() -> Translate:
    """Make the function that reads enriched events.

    Examples
    --------
    >>> made = translator()(
    ...     b'{"event_id": "e-1", "event": "page_view", "user_id": "c-17", '
    ...     b'"derived_tstamp": "2026-01-01T00:00:00.000Z"}',
    ...     (),
    ... )
    >>> made.type, made.user_id
    ('page', 'c-17')
    """
    return _translated


def _translated(value: bytes, _: Headers) -> Envelope:
    enriched = _decode(value)
    message_id = short(enriched.event_id)
    stamp = enriched.derived_tstamp or enriched.collector_tstamp
    time = moment(stamp, "derived_tstamp")
    user_id = enriched.user_id
    anonymous_id = enriched.domain_userid or enriched.network_userid
    kind = enriched.event
    if kind is None:
        raise WireError("missing", "event")
    if kind in _HEARTBEATS:
        return passive(message_id, time, user_id, anonymous_id)
    name = enriched.event_name
    if kind == "page_view" or name == "screen_view":
        return envelope(
            type="page", message_id=message_id, time=time, user_id=user_id, anonymous_id=anonymous_id
        )
    event, properties = _meaning(enriched, kind, name)
    return envelope(
        type="track",
        event=event,
        message_id=message_id,
        time=time,
        user_id=user_id,
        anonymous_id=anonymous_id,
        properties=properties,
    )


def _meaning(enriched: _Enriched, kind: str, name: str | None) -> tuple[str, dict[str, Any] | None]:
    if kind == "transaction":
        return "Order Completed", _without_none(
            order_id=enriched.tr_orderid,
            total=number(enriched.tr_total, "tr_total"),
            tax=number(enriched.tr_tax, "tr_tax"),
            shipping=number(enriched.tr_shipping, "tr_shipping"),
        )
    if enriched.action is None:
        return EVENTS.get(name or "", name or kind), None
    action = enriched.action.type
    if action == "transaction":
        if not enriched.transactions:
            raise WireError("missing", "the transaction entity, on a transaction")
        (sold, *_) = enriched.transactions
        return ACTIONS[action], _without_none(
            order_id=sold.transaction_id,
            revenue=number(sold.revenue, "revenue"),
            discount=number(sold.discount_amount, "discount_amount"),
        )
    if action == "refund":
        if not enriched.refunds:
            raise WireError("missing", "the refund entity, on a refund")
        (refund, *_) = enriched.refunds
        return ACTIONS[action], _without_none(
            order_id=refund.transaction_id, total=number(refund.refund_amount, "refund_amount")
        )
    return ACTIONS.get(action, action), None


def _without_none(**properties: object) -> dict[str, Any]:
    return {name: value for name, value in properties.items() if value is not None}
