"""Bytes to events and values to bytes: the only door for what others send.

Decoding goes in two steps because most messages are clicks and most bytes of a click are properties
that nobody reads. The first step checks the envelope and leaves `properties` raw; the second reads
the raw part for the event names that need it, with the types that name promises. A message that
breaks the contract raises `WireError` with a reason from a closed list, so it can be counted,
dead-lettered and searched for; nothing else may escape from here for any bytes at all. Size is
checked before parsing and nesting is bounded by the parser's own recursion limit.

References
----------
Segment e-commerce spec v2, https://segment.com/docs/connections/spec/ecommerce/v2/
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from typing import Any, Literal, get_args

import msgspec

from schemas.events import (
    Anonymous,
    Cancellation,
    Click,
    Described,
    Event,
    Funnel,
    Order,
    OrderUpdate,
    Passive,
    Refund,
    Trait,
)
from schemas.messages import CartProperties, Envelope, ListProperties, OrderProperties, Product

WireReason = Literal[
    "too_large", "not_json", "wrong_type", "missing", "bad_id", "bad_time", "bad_amount", "future_time"
]
"""Why a message was refused; the closed list that dead letters and metrics use."""

WIRE_REASONS: tuple[WireReason, ...] = get_args(WireReason)

MAX_MESSAGE_BYTES = 262_144
MAX_ID_LENGTH = 128
MAX_MESSAGE_ID_LENGTH = 100  # the limit of the Segment spec
MAX_AMOUNT = 1e9
MAX_PIECES = 1e6  # of one product in an order; more counts as this many
MAX_TRAIT_LENGTH = 64
"""Longer texts are no trait to group customers by, and may be anything."""
_MAX_TRAIT_INTEGER = 2**53
EARLIEST_MS = 631_152_000_000  # 1990-01-01: before web shops, so a broken clock
LATEST_MS = 4_102_444_800_000  # 2100-01-01

_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
_MILLISECOND = timedelta(milliseconds=1)


class WireError(ValueError):
    """A message that breaks the contract.

    Parameters
    ----------
    reason
        One of `WIRE_REASONS`.
    detail
        Where and what, for a person; never a customer's value.
    """

    def __init__(self, reason: WireReason, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason: WireReason = reason
        self.detail = detail


_Reader = Callable[[str, str, int, msgspec.Raw], Event]
"""Customer id, message id, event time, raw properties -> event."""

decode_envelope = msgspec.json.Decoder(Envelope).decode
_order_properties = msgspec.json.Decoder(OrderProperties)
_product = msgspec.json.Decoder(Product)
_list = msgspec.json.Decoder(ListProperties)
_cart = msgspec.json.Decoder(CartProperties)

_PAGE = Funnel.PAGE  # reading a member off its enum class is slow in Python 3.11

_CLICKS: dict[str, tuple[Funnel, msgspec.json.Decoder[Any]]] = {
    "Products Searched": (Funnel.SEARCH, _list),
    "Product List Viewed": (Funnel.LIST, _list),
    "Product List Filtered": (Funnel.LIST, _list),
    "Product Clicked": (Funnel.PRODUCT, _product),
    "Product Viewed": (Funnel.PRODUCT, _product),
    "Product Added": (Funnel.CART_ADD, _product),
    "Product Removed": (Funnel.CART_REMOVE, _product),
    "Cart Viewed": (Funnel.CART_VIEW, _cart),
    "Checkout Started": (Funnel.CHECKOUT, _cart),
    "Checkout Step Viewed": (Funnel.CHECKOUT, _cart),
    "Checkout Step Completed": (Funnel.CHECKOUT, _cart),
    "Payment Info Entered": (Funnel.CHECKOUT, _cart),
}

_PASSIVE = frozenset({"Email Delivered", "Email Bounced", "Email Marked as Spam", "Unsubscribed"})

# Ids that broken integrations send for everybody at once: one such id would merge a whole shop.
_BLOCKED_IDS = frozenset(
    {"-1", "null", "none", "nil", "undefined", "nan", "anonymous", "unknown", "guest", "true", "false"}
    | {"[object object]", "n/a", "na"}
)

_MOST_FAMILIAR = 65_536
_familiar_ids: set[str] = set()
"""Ids that passed: the same few customers send most clicks. A set, for it is asked with each of them."""


def decode_event(value: bytes | None, max_bytes: int = MAX_MESSAGE_BYTES) -> Event:
    """Read one message.

    Parameters
    ----------
    value
        The record's value as it came.
    max_bytes
        Larger values are refused unread.

    Returns
    -------
    Event
        The event with its time corrected for the client's clock.

    Raises
    ------
    WireError
        When the bytes break the contract; its `reason` says how.

    Examples
    --------
    >>> decode_event(b'{"type":"page","messageId":"m1","userId":"u1","timestamp":"2026-01-01T00:00:00Z"}')
    Click(customer_id='u1', message_id='m1', time_ms=1767225600000, funnel=<Funnel.PAGE: 1>)
    >>> decode_event(b'{"type":"page","messageId":"m1","userId":"u1"}')
    Traceback (most recent call last):
    schemas.codec.WireError: missing: timestamp
    """
    if value is None:
        raise WireError("missing", "the record has no value")
    if len(value) > max_bytes:
        raise WireError("too_large", f"{len(value)} bytes, at most {max_bytes}")
    try:
        return event_of(decode_envelope(value))
    except msgspec.ValidationError as error:
        raise refused(error) from None
    except msgspec.DecodeError as error:
        raise WireError("not_json", str(error)) from None
    except UnicodeDecodeError:
        raise WireError("not_json", "not UTF-8") from None
    except RecursionError:
        raise WireError("not_json", "nested too deeply") from None


def event_of(envelope: Envelope) -> Event:
    """Check an envelope and read the event in it; raises what `decode_event` does."""
    message_id = envelope.message_id
    if not 0 < len(message_id) <= MAX_MESSAGE_ID_LENGTH:
        raise WireError("bad_id", f"messageId must have 1 to {MAX_MESSAGE_ID_LENGTH} characters")
    time_ms = _event_time_ms(envelope)
    customer_id = envelope.user_id
    kind = envelope.type
    if kind == "track":
        name = envelope.event
        if not name:
            raise WireError("missing", "event, on a track message")
        if customer_id:
            if customer_id not in _familiar_ids:
                check_customer_id(customer_id)
            click = _CLICK_READERS.get(name)
            if click is not None:
                funnel, check = click
                check(envelope.properties)  # a shop that sends text for a price wants to know
                return Click(customer_id, message_id, time_ms, funnel)
            reader = _READERS.get(name)
            if reader is None:
                return Click(customer_id, message_id, time_ms)
            return reader(customer_id, message_id, time_ms, envelope.properties)
        if name in ORDER_EVENTS:
            raise WireError("missing", f"userId, on {name!r}")
    elif customer_id:
        if customer_id not in _familiar_ids:
            check_customer_id(customer_id)
        if kind == "page" or kind == "screen":
            return Click(customer_id, message_id, time_ms, _PAGE)
        if envelope.traits and kind == "identify":
            return Described(customer_id, message_id, time_ms, _traits(envelope.traits))
        return Passive(customer_id, message_id, time_ms)
    if not envelope.anonymous_id:
        raise WireError("missing", "userId and anonymousId")
    return Anonymous("", message_id, time_ms)


def _traits(given: dict[str, Any]) -> dict[str, Trait]:
    """Keep what is short and plain."""
    kept: dict[str, Trait] = {}
    for name, value in given.items():
        if len(name) > MAX_TRAIT_LENGTH:
            continue
        if isinstance(value, str):
            if len(value) <= MAX_TRAIT_LENGTH and value.isprintable():
                kept[name] = value
        elif isinstance(value, int):  # true and false as well
            if -_MAX_TRAIT_INTEGER <= value <= _MAX_TRAIT_INTEGER:
                kept[name] = value
        elif value is None or isinstance(value, float):
            kept[name] = value
    return kept


def _event_time_ms(envelope: Envelope) -> int:
    original = envelope.original_timestamp
    if (
        original is not None
        and (sent := envelope.sent_at) is not None
        and (received := envelope.received_at) is not None
    ):
        # The client's clock may be wrong; how long the message waited there is not. The sum of two
        # durations cannot leave the calendar, which `received - (sent - original)` could.
        since_epoch = (original - _EPOCH) + (received - sent)
    else:
        said = envelope.timestamp
        if said is None:
            raise WireError("missing", "timestamp")
        since_epoch = said - _EPOCH
    # Whole milliseconds, the rest cut off: what `epoch_ms` does with a slow division.
    time_ms = since_epoch.days * 86_400_000 + since_epoch.seconds * 1_000 + since_epoch.microseconds // 1_000
    if not EARLIEST_MS <= time_ms < LATEST_MS:
        raise WireError("bad_time", "outside 1990 to 2100")
    return time_ms


def check_customer_id(customer_id: str) -> None:
    """Refuse ids that no single customer has, and remember those that passed.

    Raises
    ------
    WireError
        `bad_id` for ids that are too long, blank, all zeros, or placeholders such as `null`.

    Examples
    --------
    >>> check_customer_id("c-17")
    >>> check_customer_id("undefined")
    Traceback (most recent call last):
    schemas.codec.WireError: bad_id: userId is a placeholder
    """
    if customer_id in _familiar_ids:
        return
    check_id(customer_id)
    if len(_familiar_ids) >= _MOST_FAMILIAR:
        _familiar_ids.clear()
    _familiar_ids.add(customer_id)


def check_id(person_id: str) -> None:
    """Refuse ids that no single person has, as `check_customer_id` does, and remember nothing."""
    if len(person_id) > MAX_ID_LENGTH:
        raise WireError("bad_id", f"userId has more than {MAX_ID_LENGTH} characters")
    if not person_id.isprintable() or person_id != person_id.strip():
        raise WireError("bad_id", "userId has blanks around it or characters that cannot be printed")
    if not person_id.strip("0-") or person_id.lower() in _BLOCKED_IDS:
        raise WireError("bad_id", "userId is a placeholder")


def _order_id(order_id: str) -> str:
    if not 0 < len(order_id) <= MAX_ID_LENGTH:
        raise WireError("bad_id", f"order_id must have 1 to {MAX_ID_LENGTH} characters")
    return order_id


def _money(amount: float, field: str) -> float:
    if not 0.0 <= amount <= MAX_AMOUNT:
        raise WireError("bad_amount", f"{field} must lie between 0 and {MAX_AMOUNT:.0f}")
    return amount + 0.0  # so that -0.0 is 0.0


def _difference(amount: float, less: float, field: str) -> float:
    # Binary fractions: 0.3 - 0.2 - 0.1 is a little below zero, and no currency has a seventh decimal.
    return _money(round(amount - less, 6), field)


def _order_amount(order: OrderProperties, discount: float) -> float:
    """Revenue after discounts, before shipping and tax, from the best field that is there."""
    if order.revenue is not None:
        return _money(order.revenue, "revenue")
    if order.subtotal is not None:
        return _money(order.subtotal, "subtotal")  # the spec has it after discounts
    if order.total is not None:
        extra = (order.shipping or 0.0) + (order.tax or 0.0)
        return _difference(order.total, extra, "total less shipping and tax")
    if order.products and all(p.price is not None for p in order.products):
        worth = sum((p.price or 0.0) * (1.0 if p.quantity is None else p.quantity) for p in order.products)
        return _difference(worth, discount, "products less discount")
    raise WireError("missing", "revenue, subtotal, total or priced products")


def _basket(products: list[Product]) -> tuple[int, tuple[str, ...]]:
    """Count the pieces and name the categories; what is sold by weight or length is one piece at least."""
    items = 0
    categories: dict[str, None] = {}  # an ordered set
    for product in products:
        quantity = product.quantity
        items += 1 if quantity is None or quantity < 1.0 else int(min(quantity, MAX_PIECES))
        categories[product.category or product.product_id or product.sku or ""] = None
    categories.pop("", None)
    return items, tuple(categories)


def _completed(customer_id: str, message_id: str, time_ms: int, raw: msgspec.Raw) -> Order:
    order = _order_properties.decode(raw)
    discount = _money(order.discount or 0.0, "discount")
    order_id, amount = _order_id(order.order_id), _order_amount(order, discount)
    products = order.products
    if not products:
        return Order(customer_id, message_id, time_ms, order_id, amount, discount)
    items, categories = _basket(products)
    return Order(customer_id, message_id, time_ms, order_id, amount, discount, items, categories)


def _updated(customer_id: str, message_id: str, time_ms: int, raw: msgspec.Raw) -> OrderUpdate:
    order = _completed(customer_id, message_id, time_ms, raw)
    known = (order.order_id, order.amount, order.discount, order.items, order.categories)
    return OrderUpdate(customer_id, message_id, time_ms, *known)


def _refunded(customer_id: str, message_id: str, time_ms: int, raw: msgspec.Raw) -> Refund:
    order = _order_properties.decode(raw)
    amount = order.total if order.total is not None else order.revenue
    # Senders disagree about the sign of a refund; its size is what counts.
    size = None if amount is None else _money(abs(amount), "total")
    return Refund(customer_id, message_id, time_ms, _order_id(order.order_id), size)


def _cancelled(customer_id: str, message_id: str, time_ms: int, raw: msgspec.Raw) -> Cancellation:
    order = _order_properties.decode(raw)
    return Cancellation(customer_id, message_id, time_ms, _order_id(order.order_id))


def _passive(customer_id: str, message_id: str, time_ms: int, _: msgspec.Raw) -> Passive:
    return Passive(customer_id, message_id, time_ms)


_ORDERS: dict[str, _Reader] = {
    "Order Completed": _completed,
    "Completed Order": _completed,
    "Order Updated": _updated,
    "Order Refunded": _refunded,
    "Order Cancelled": _cancelled,
}

_READERS: dict[str, _Reader] = {
    **_ORDERS,
    **dict.fromkeys(_PASSIVE, _passive),
}

_CLICK_READERS = {name: (funnel, properties.decode) for name, (funnel, properties) in _CLICKS.items()}

ORDER_EVENTS = frozenset(_ORDERS)
"""The event names that belong on the orders topic."""

CLICK_EVENTS = frozenset(_CLICKS) | _PASSIVE
"""The other event names with a meaning of their own; any further name is a plain click."""

PASSIVE_EVENTS = _PASSIVE
"""Those of them that are no act of the customer's."""

FUNNEL_OF = {name: funnel for name, (funnel, _) in _CLICKS.items()}
"""Steps of the funnel by event name; a name that is not here is `Funnel.OTHER`."""


def refused(error: msgspec.ValidationError) -> WireError:
    """Say which rule a parser saw broken, without what it quotes from the message."""
    # Without what msgspec quotes from the message: it may be a customer's, and it must not choose the reason.
    text = re.sub(r"(?<=value )(['\"]).*\1", "(hidden)", str(error))
    if "missing required field" in text:
        return WireError("missing", text)
    if "RFC3339" in text or "timezone" in text or "datetime" in text:
        return WireError("bad_time", text)
    return WireError("wrong_type", text)


_encoder = msgspec.json.Encoder()


def encode(value: msgspec.Struct) -> bytes:
    """Write one output message as JSON.

    Examples
    --------
    >>> from schemas.decisions import Evidence
    >>> encode(Evidence(topic="orders", partition=0, offset=7))
    b'{"topic":"orders","partition":0,"offset":7}'
    """
    return _encoder.encode(value)


def utc(time_ms: int) -> datetime:
    """Turn epoch milliseconds into the aware `datetime` that goes on the wire as ISO 8601.

    Examples
    --------
    >>> utc(1_767_225_600_000).isoformat()
    '2026-01-01T00:00:00+00:00'
    """
    return _EPOCH + _MILLISECOND * time_ms  # half as long as a `timedelta` by keyword


def epoch_ms(moment: datetime) -> int:
    """Turn an aware `datetime` into epoch milliseconds, the inverse of `utc`.

    Examples
    --------
    >>> epoch_ms(utc(1_767_225_600_123))
    1767225600123
    """
    return (moment - _EPOCH) // _MILLISECOND
