"""The shapes of messages on the wire, as far as they are read: the Segment spec, field by field.

What is not named here is skipped by the parser, unread. These are apart from the rules in `schemas.codec`
because that module may be compiled, and a Struct must be made by the interpreter.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

import msgspec

Time = Annotated[datetime, msgspec.Meta(tz=True)]


class Envelope(msgspec.Struct, gc=False, kw_only=True, rename="camel"):
    """What every message has, whatever it says."""

    # Alphabetical, as most senders write it: the parser looks for each key from the last match on.
    anonymous_id: str | None = None
    event: str | None = None
    message_id: str
    original_timestamp: Time | None = None
    properties: msgspec.Raw = msgspec.Raw(b"{}")
    received_at: Time | None = None
    sent_at: Time | None = None
    timestamp: Time | None = None
    traits: dict[str, Any] | None = None
    type: Literal["track", "page", "screen", "identify", "group", "alias"]
    user_id: str | None = None


class Product(msgspec.Struct, gc=False):
    """A product, in whichever list it stands."""

    product_id: str | None = None
    sku: str | None = None
    category: str | None = None
    name: str | None = None
    brand: str | None = None
    variant: str | None = None
    price: float | None = None
    quantity: float | None = None


class OrderProperties(msgspec.Struct, gc=False):
    """Of an order, its update, refund or cancellation."""

    order_id: str
    revenue: float | None = None
    subtotal: float | None = None
    total: float | None = None
    shipping: float | None = None
    tax: float | None = None
    discount: float | None = None
    coupon: str | None = None
    currency: str | None = None
    products: list[Product] | None = None


class ListProperties(msgspec.Struct, gc=False):
    """Of a list of products, or a search."""

    list_id: str | None = None
    category: str | None = None
    query: str | None = None
    products: list[Product] | None = None


class CartProperties(msgspec.Struct, gc=False):
    """Of a cart, or a step of the checkout."""

    cart_id: str | None = None
    order_id: str | None = None
    revenue: float | None = None
    value: float | None = None
    currency: str | None = None
    products: list[Product] | None = None
