"""Messages that say who a visitor is, and what workers tell each other about visitors.

Read by the plain rules (`schemas.codec`), a message without a `userId` names nobody and one with a `userId`
says nothing of the visitor. Here the `anonymousId` is kept. That costs every message that has one, so these
readers are chosen only where visitors are joined to customers.

A visitor's clicks lie on the partition of the anonymous id, the customer's on that of the customer id. So
workers put two kinds of messages of their own on the clickstream, in the words of the Segment spec, which
every reader of that topic understands. A link goes to the visitor's partition and names the customer. A
click that turned out to be a customer's goes to the customer's partition, with its own time and an id made
of its own, so that one sent twice counts once. Both have `context.library.name` set to `holdfast`.
"""

from __future__ import annotations

import hashlib

import msgspec

from schemas.codec import (
    FUNNEL_OF,
    MAX_MESSAGE_BYTES,
    ORDER_EVENTS,
    PASSIVE_EVENTS,
    WireError,
    check_customer_id,
    check_id,
    decode_envelope,
    decode_event,
    event_of,
    utc,
)
from schemas.events import Click, Event, Funnel, Identified, Link, Visit
from schemas.messages import Envelope

IDENTIFIED = "Holdfast Visitor Identified"
"""The event name of a link."""

_SAME_STEP = {
    Funnel.OTHER: "Visitor Clicked",
    Funnel.SEARCH: "Products Searched",
    Funnel.LIST: "Product List Viewed",
    Funnel.PRODUCT: "Product Viewed",
    Funnel.CART_ADD: "Product Added",
    Funnel.CART_REMOVE: "Product Removed",
    Funnel.CART_VIEW: "Cart Viewed",
    Funnel.CHECKOUT: "Checkout Started",
}
_CONTEXT = {"library": {"name": "holdfast"}}


class _LinkProperties(msgspec.Struct, gc=False):
    customer_id: str


_link_properties = msgspec.json.Decoder(_LinkProperties).decode
_encode = msgspec.json.Encoder().encode


def event_with_visitor(envelope: Envelope) -> Event:
    """Check an envelope and read the event in it, as `event_of` does, and keep who the visitor is.

    Raises
    ------
    WireError
        When the message breaks the contract.

    Examples
    --------
    >>> made = Envelope(type="page", message_id="m", timestamp=utc(1_767_225_600_000), anonymous_id="a-7")
    >>> event_with_visitor(made)
    Visit(customer_id='', message_id='m', time_ms=1767225600000, anonymous_id='a-7', funnel=<Funnel.PAGE: 1>)
    """
    event = event_of(envelope)
    visitor = envelope.anonymous_id
    if not visitor:
        return event
    if event.customer_id:
        return Identified(event.customer_id, event.message_id, event.time_ms, visitor, event)
    kind, name = envelope.type, envelope.event
    if kind == "page" or kind == "screen":
        return Visit("", event.message_id, event.time_ms, visitor, Funnel.PAGE)
    if kind != "track" or name is None or name in PASSIVE_EVENTS:
        return event
    assert name not in ORDER_EVENTS, "an order of nobody was refused"
    if name == IDENTIFIED:
        customer_id = _link_properties(envelope.properties).customer_id
        check_customer_id(customer_id)
        return Link("", event.message_id, event.time_ms, visitor, customer_id)
    return Visit("", event.message_id, event.time_ms, visitor, FUNNEL_OF.get(name, Funnel.OTHER))


def decode_with_visitor(value: bytes | None, max_bytes: int = MAX_MESSAGE_BYTES) -> Event:
    """Read one message of the Segment spec, as `decode_event` does, and keep who the visitor is.

    Raises
    ------
    WireError
        When the bytes break the contract.
    """
    if value is not None and len(value) <= max_bytes:
        try:
            return event_with_visitor(decode_envelope(value))
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            pass  # said below, in the words of the contract
    return decode_event(value, max_bytes)


def is_nobodys(anonymous_id: str) -> bool:
    """Tell whether an anonymous id cannot be one visitor's: the rules are those of customer ids.

    Examples
    --------
    >>> is_nobodys("null"), is_nobodys("00000000-0000-0000"), is_nobodys("a-7")
    (True, True, False)
    """
    try:
        check_id(anonymous_id)
    except WireError:
        return True
    return False


def link_message(event: Identified) -> bytes:
    """Write what the visitor's partition has to know of an identification.

    Examples
    --------
    >>> from schemas.messages import Envelope
    >>> page = Click("c-17", "m", 1_767_225_600_000)
    >>> made = link_message(Identified("c-17", "m", 1_767_225_600_000, "a-7", page))
    >>> link = event_with_visitor(msgspec.json.decode(made, type=Envelope))
    >>> link.anonymous_id, link.linked_to, link.time_ms
    ('a-7', 'c-17', 1767225600000)
    """
    told = hashlib.blake2b(f"{event.anonymous_id}/{event.customer_id}/{event.message_id}".encode())
    return _encode(
        {
            "anonymousId": event.anonymous_id,
            "context": _CONTEXT,
            "event": IDENTIFIED,
            "messageId": f"holdfast-{told.hexdigest()[:32]}",
            "properties": {"customer_id": event.customer_id},
            "timestamp": utc(event.time_ms),
            "type": "track",
        }
    )


def click_message(click: Click) -> bytes:
    """Write a visitor's click as the customer's; the step of the funnel stays, the properties are gone.

    Examples
    --------
    >>> from schemas.codec import decode_event
    >>> click = Click("c-17", "00ff00ff00ff00ff", 1_767_225_600_000, Funnel.CART_ADD)
    >>> decode_event(click_message(click)) == click
    True
    """
    head = {
        "context": _CONTEXT,
        "messageId": click.message_id,
        "timestamp": utc(click.time_ms),
        "userId": click.customer_id,
    }
    if click.funnel is Funnel.PAGE:
        return _encode({**head, "type": "page"})
    return _encode({**head, "type": "track", "event": _SAME_STEP[click.funnel]})
