"""GA4 events as they are exported to BigQuery, one row a message.

Rows have no id: what tells one from another is the device, the time, the name and where it stood in its
batch, and that makes the message id. Large integers are text in BigQuery's JSON; times are microseconds;
`(not set)` stands for what is missing. Names that GA4 collects by itself and that are no act of the
customer, such as `session_start`, are passive; a name without a counterpart is a plain click.

References
----------
The BigQuery export schema of Google Analytics 4, and its list of recommended e-commerce events.
"""

from __future__ import annotations

from typing import Any

import msgspec

from schemas.codec import WireError
from schemas.messages import Envelope
from schemas.sources.envelope import (
    Headers,
    Number,
    Translate,
    envelope,
    fingerprint,
    moment,
    number,
    passive,
)

_NOT_SET = frozenset({"", "(not set)"})


class _Value(msgspec.Struct, gc=False, frozen=True):
    string_value: str | None = None
    int_value: Number = None
    float_value: Number = None
    double_value: Number = None


class _Param(msgspec.Struct, gc=False):
    key: str
    value: _Value = _Value()


class _Ecommerce(msgspec.Struct, gc=False):
    transaction_id: str | None = None
    purchase_revenue: Number = None
    refund_value: Number = None


class _Row(msgspec.Struct, gc=False):
    event_name: str
    event_timestamp: int | str
    user_id: str | None = None
    user_pseudo_id: str | None = None
    stream_id: Number = None
    event_bundle_sequence_id: Number = None
    batch_page_id: Number = None
    batch_ordering_id: Number = None
    batch_event_index: Number = None
    ecommerce: _Ecommerce | None = None
    event_params: msgspec.Raw = msgspec.Raw(b"[]")


class _Marks(msgspec.Struct, gc=False):
    event_name: object = None


_decode = msgspec.json.Decoder(_Row).decode
_marks = msgspec.json.Decoder(_Marks).decode
_params = msgspec.json.Decoder(list[_Param]).decode

EVENTS = {
    "search": "Products Searched",
    "view_search_results": "Products Searched",
    "view_item_list": "Product List Viewed",
    "select_item": "Product Clicked",
    "view_item": "Product Viewed",
    "add_to_cart": "Product Added",
    "remove_from_cart": "Product Removed",
    "view_cart": "Cart Viewed",
    "begin_checkout": "Checkout Started",
    "add_shipping_info": "Checkout Step Completed",
    "add_payment_info": "Payment Info Entered",
    "purchase": "Order Completed",
    "ecommerce_purchase": "Order Completed",
    "refund": "Order Refunded",
}
"""GA4's recommended names, and what they are called in the Segment spec."""

PASSIVE = frozenset(
    {"session_start", "first_visit", "first_open", "user_engagement", "app_remove", "app_update"}
    | {"os_update", "notification_receive", "notification_dismiss"}
)
"""Names that GA4 collects by itself and that are no act of the customer."""

_PAGES = frozenset({"page_view", "screen_view"})
_ORDERS = frozenset({"purchase", "ecommerce_purchase", "refund"})


def is_order(value: bytes) -> bool:
    """Tell a row about an order by its name, whether or not the rest of it can be read.

    Raises
    ------
    msgspec.DecodeError
        When it is no JSON object.

    Examples
    --------
    >>> is_order(b'{"event_name": "purchase"}'), is_order(b'{"event_name": "view_item"}')
    (True, False)
    """
    name = _marks(value).event_name
    return isinstance(name, str) and name in _ORDERS


def translator() -> Translate:
    """Make the function that reads exported rows.

    Examples
    --------
    >>> made = translator()(
    ...     b'{"event_name": "add_to_cart", "event_timestamp": "1767225600000000", '
    ...     b'"user_id": "c-17", "user_pseudo_id": "1.2"}',
    ...     (),
    ... )
    >>> made.event, made.timestamp.year
    ('Product Added', 2026)
    """
    return _translated


def _translated(value: bytes, _: Headers) -> Envelope:
    row = _decode(value)
    name = row.event_name
    if not name:
        raise WireError("missing", "event_name")
    time = moment(row.event_timestamp, "event_timestamp")
    message_id = fingerprint(
        row.stream_id,
        row.user_pseudo_id or row.user_id,
        row.event_timestamp,
        name,
        row.event_bundle_sequence_id,
        row.batch_page_id,
        row.batch_ordering_id,
        row.batch_event_index,
    )
    user_id, anonymous_id = row.user_id, row.user_pseudo_id
    if name in PASSIVE:
        return passive(message_id, time, user_id, anonymous_id)
    return envelope(
        type="page" if name in _PAGES else "track",
        event=EVENTS.get(name, name),
        message_id=message_id,
        time=time,
        user_id=user_id,
        anonymous_id=anonymous_id,
        properties=_order(row, name) if name in _ORDERS else None,
    )


def _order(row: _Row, name: str) -> dict[str, Any]:
    commerce = row.ecommerce or _Ecommerce()
    params = {param.key: param.value for param in _params(row.event_params)}
    order_id = commerce.transaction_id
    if order_id is None or order_id in _NOT_SET:
        order_id = params.get("transaction_id", _Value()).string_value
    refund = name == "refund"
    amount = number(commerce.refund_value if refund else commerce.purchase_revenue, "purchase_revenue")
    if amount is None:
        amount = _param_number(params.get("value", _Value()))
    properties = {"order_id": order_id, "total" if refund else "revenue": amount}
    return {key: value for key, value in properties.items() if value is not None and value not in _NOT_SET}


def _param_number(value: _Value) -> float | None:
    for found in (value.double_value, value.float_value, value.int_value):
        if found is not None:
            return number(found, "the parameter value")
    return None
