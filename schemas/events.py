"""Input events, after the wire has been checked and before anything is made of them.

The wire is the Segment e-commerce spec v2, which RudderStack, Jitsu and others put on Kafka as it is.
It has dozens of event names; what a customer's history needs from them is little: that the customer
did something (`Click`, with the step of the funnel), ordered (`Order`), changed an order
(`OrderUpdate`), got money back (`Refund`) or called it off (`Cancellation`). `Passive` is a message
about the customer that is no act of theirs (an e-mail was delivered), `Profile` one that says something
of them (traits), `Anonymous` one that names nobody. Every event carries the same head: who, which message,
when.
"""

from __future__ import annotations

from enum import IntEnum

import msgspec

Trait = str | int | float | bool | None
"""What is known of a customer under one name; None where it was taken back."""


class Funnel(IntEnum):
    """The step of the purchase funnel that a click belongs to."""

    OTHER = 0
    PAGE = 1
    SEARCH = 2
    LIST = 3
    PRODUCT = 4
    CART_ADD = 5
    CART_REMOVE = 6
    CART_VIEW = 7
    CHECKOUT = 8


class Event(msgspec.Struct, gc=False, frozen=True):
    """What every event says.

    Attributes
    ----------
    customer_id
        Who, in the shop's own naming (`userId`); empty on `Anonymous`.
    message_id
        The sender's id of the message, the same when it is delivered twice.
    time_ms
        Event time, epoch milliseconds, corrected for the client's clock skew.
    """

    customer_id: str
    message_id: str
    time_ms: int


class Click(Event, gc=False, frozen=True):
    """The customer did something in the shop other than ordering."""

    funnel: Funnel = Funnel.OTHER


class Order(Event, gc=False, frozen=True):
    """The customer ordered.

    Attributes
    ----------
    order_id
        The shop's id of the order.
    amount
        Revenue after discounts, before shipping and tax, in the shop's currency.
    discount
        What the customer saved, same currency, 0 when not said.
    """

    order_id: str
    amount: float
    discount: float = 0.0


class OrderUpdate(Order, gc=False, frozen=True):
    """An order placed earlier has a new content; it is not a new order."""


class Refund(Event, gc=False, frozen=True):
    """Money went back: `amount`, or the whole order when the message does not say."""

    order_id: str
    amount: float | None = None


class Cancellation(Event, gc=False, frozen=True):
    """An order was called off: it counts as if it had never been placed."""

    order_id: str


class Passive(Event, gc=False, frozen=True):
    """Something happened around the customer (an e-mail was delivered)."""


class Profile(Event, gc=False, frozen=True):
    """Somebody said what is known of the customer.

    Attributes
    ----------
    traits
        By name, plain values only: what is nested or long is no dimension of anything.
    """

    traits: dict[str, Trait]


class Anonymous(Event, gc=False, frozen=True):
    """A message without a `userId`: it moves time and belongs to nobody yet."""
