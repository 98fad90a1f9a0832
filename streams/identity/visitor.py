"""What is remembered of one visitor: the clicks that wait, and whose the visitor turned out to be.

A visitor is an anonymous id: a browser, mostly, and sometimes a kiosk, a crawler or a broken integration. So
a visitor's state is small and bounded whatever is sent: a click is its time, its step of the funnel and a
digest of its message id, and only the newest are kept. A state travels as a msgpack array in field order,
as that of a customer does; a field is only ever appended, with a default. It lies in the changelog of its
partition under a key that no customer has.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from enum import Enum
from typing import NamedTuple

import msgspec

from schemas.events import Click, Funnel

VISITOR_VERSION = 1

VISITOR_KEY = b"\x00visitor\x00"
"""What the changelog's keys of visitors begin with; customer ids are printable."""

_CLICK = struct.Struct(">qB8s")
_FUNNELS = {int(step): step for step in Funnel}


class Joined(Enum):
    """What became of a record."""

    HELD = "held"
    """The click waits for its customer."""
    JOINED = "joined"
    """The visitor is that customer's already."""
    IDENTIFIED = "identified"
    """The visitor is that customer's from here on."""
    REPEATED = "repeated"
    """The same record again, after a restart: nothing changed."""
    BLOCKED = "blocked"
    """The anonymous id is nobody's: a placeholder."""
    SHARED = "shared"
    """The visitor was identified as too many customers: a device that many use."""
    FULL = "full"
    """The customer has as many visitors as one may have."""
    MISPLACED = "misplaced"
    """The customer does not belong to this partition, so where the customer is cannot be told."""


class Given(NamedTuple):
    """What the stage makes of a record: an outcome, and clicks for the customer machine, in order of time."""

    outcome: Joined
    clicks: tuple[Click, ...] = ()


class Visitor(msgspec.Struct, array_like=True, gc=False, kw_only=True):
    """One anonymous id.

    Attributes
    ----------
    seen_ms
        Newest event time.
    clicks
        Those that wait for their customer, packed, by event time.
    customers
        Ids of the customers that the visitor was identified as, the newest last.
    shared
        Whether that were too many: a device that many use belongs to nobody.
    applied
        For each input, how far it had been read when something changed here last.
    """

    version: int = VISITOR_VERSION
    seen_ms: int
    clicks: bytes = b""
    customers: list[str]
    shared: bool = False
    applied: list[int]


def new_visitor(time_ms: int, inputs: int) -> Visitor:
    """Begin a visitor at their first record.

    Examples
    --------
    >>> new_visitor(1_000, inputs=2).applied
    [-1, -1]
    """
    return Visitor(seen_ms=time_ms, customers=[], applied=[-1] * inputs)


def add_click(packed: bytes, time_ms: int, funnel: Funnel, key: bytes, most: int) -> bytes:
    """Add a click to packed ones, in the order of time, and keep the newest.

    A click that is there already, by its key, is not added: it was delivered twice.

    Examples
    --------
    >>> packed = add_click(b"", 20, Funnel.PAGE, b"12345678", most=2)
    >>> packed = add_click(packed, 10, Funnel.SEARCH, b"abcdefgh", most=2)
    >>> [click.time_ms for click in clicks_of(packed, "c-17")]
    [10, 20]
    >>> [click.time_ms for click in clicks_of(add_click(packed, 30, Funnel.PAGE, b"........", 2), "c-17")]
    [20, 30]
    """
    clicks = list(_CLICK.iter_unpack(packed))
    if any(known == key for _, _, known in clicks):
        return packed
    clicks.append((time_ms, int(funnel), key))
    clicks.sort(key=lambda click: (click[0], click[2]))
    return b"".join(_CLICK.pack(*click) for click in clicks[-most:])


def without_old(packed: bytes, oldest_ms: int) -> bytes:
    """Drop the clicks from before a time."""
    count = sum(1 for time_ms, _, _ in _CLICK.iter_unpack(packed) if time_ms < oldest_ms)
    return packed[count * _CLICK.size :]


def clicks_of(packed: bytes, customer_id: str) -> Iterator[Click]:
    """Give packed clicks as a customer's, the oldest first; the message id is made of its digest."""
    for time_ms, funnel, key in _CLICK.iter_unpack(packed):
        yield Click(customer_id, key.hex(), time_ms, _FUNNELS.get(funnel, Funnel.OTHER))


def count_of(packed: bytes) -> int:
    """Count packed clicks."""
    return len(packed) // _CLICK.size


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Visitor)


def encode_visitor(visitor: Visitor) -> bytes:
    """Write a visitor for the changelog."""
    return _encoder.encode(visitor)


def decode_visitor(value: bytes) -> Visitor:
    """Read a visitor back.

    Raises
    ------
    ValueError
        When the bytes are none, or one of a version that this program does not know.

    Examples
    --------
    >>> visitor = new_visitor(1_000, inputs=2)
    >>> decode_visitor(encode_visitor(visitor)) == visitor
    True
    """
    try:
        visitor = _decoder.decode(value)
    except msgspec.DecodeError as error:
        raise ValueError(f"not a visitor: {error}") from error
    if visitor.version != VISITOR_VERSION:
        raise ValueError(f"visitor of version {visitor.version}, this program knows {VISITOR_VERSION}")
    return visitor
