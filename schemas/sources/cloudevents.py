"""CloudEvents 1.0 on Kafka, in binary and in structured mode.

A CloudEvent is an envelope around somebody's data, so there are two kinds of data here. Where it is a
Segment message, CloudEvents only carries it, and fills in what it leaves out: id, time, customer. Where
it is not, the event's type says what happened (`com.shop.order.completed.v1` is `Order Completed`), and
the data holds the properties. An id is unique within its source only, so both make the message id.

References
----------
CloudEvents 1.0.2, and its protocol binding for Kafka: in binary mode attributes are headers that begin
with `ce_`, in structured mode the value is the whole event as `application/cloudevents+json`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any

import msgspec

from schemas.codec import CLICK_EVENTS, ORDER_EVENTS, WireError
from schemas.messages import Envelope, Time
from schemas.sources.config import SourceConfig
from schemas.sources.envelope import Headers, Translate, moment, short

_SEGMENT_TYPES = frozenset({"track", "page", "screen", "identify", "group", "alias"})
_WORDS = re.compile(r"[a-z0-9]+")
_VERSION = re.compile(r"v?\d+$")
_MOST_WORDS = 5

_NAMES = {
    **{" ".join(_WORDS.findall(name.lower())): name for name in CLICK_EVENTS | ORDER_EVENTS},
    # What back ends call it, which are where CloudEvents come from.
    "order placed": "Order Completed",
    "order created": "Order Completed",
    "order canceled": "Order Cancelled",
}
_PAGES = frozenset({"page viewed", "page view"})


class _Structured(msgspec.Struct, gc=False):
    id: str
    source: str
    type: str
    specversion: str
    data: msgspec.Raw = msgspec.Raw(b"")
    data_base64: msgspec.Raw = msgspec.Raw(b"")
    datacontenttype: str | None = None
    time: str | None = None
    subject: str | None = None
    partitionkey: str | None = None


class _Head(msgspec.Struct, gc=False, rename="camel"):
    type: object = None
    user_id: str | None = None
    anonymous_id: str | None = None


class _Segment(msgspec.Struct, gc=False, kw_only=True, rename="camel"):
    anonymous_id: str | None = None
    event: str | None = None
    message_id: str | None = None
    original_timestamp: Time | None = None
    properties: msgspec.Raw = msgspec.Raw(b"{}")
    received_at: Time | None = None
    sent_at: Time | None = None
    timestamp: Time | None = None
    traits: dict[str, Any] | None = None
    user_id: str | None = None


class _Marks(msgspec.Struct, gc=False):
    specversion: object = None
    type: object = None
    data: object = None


_structured = msgspec.json.Decoder(_Structured).decode
_marks = msgspec.json.Decoder(_Marks).decode
_head = msgspec.json.Decoder(_Head).decode
_segment = msgspec.json.Decoder(_Segment).decode


def is_order(value: bytes) -> bool:
    """Tell an event about an order by its type, or by the name of the Segment message that it carries.

    Raises
    ------
    msgspec.DecodeError
        When it is no JSON object.

    Examples
    --------
    >>> is_order(b'{"specversion": "1.0", "type": "com.shop.order.placed.v2"}')
    True
    >>> carried = b'{"type": "track", "event": "Order Updated"}'
    >>> is_order(b'{"specversion": "1.0", "type": "segment", "data": ' + carried + b"}")
    True
    """
    marks = _marks(value)
    if marks.specversion is None:
        return False
    name = event_name(marks.type)[1] if isinstance(marks.type, str) else None
    if isinstance(marks.data, dict) and marks.data.get("type") in _SEGMENT_TYPES:
        name = marks.data.get("event")
    return isinstance(name, str) and name in ORDER_EVENTS


def translator(config: SourceConfig) -> Translate:
    """Make the function that reads CloudEvents of either mode.

    Examples
    --------
    >>> translate = translator(SourceConfig())
    >>> headers = [
    ...     ("ce_specversion", b"1.0"),
    ...     ("ce_id", b"7"),
    ...     ("ce_source", b"/shop"),
    ...     ("ce_type", b"com.shop.order.placed.v2"),
    ...     ("ce_time", b"2026-01-01T00:00:00Z"),
    ...     ("ce_subject", b"c-17"),
    ...     ("content-type", b"application/json"),
    ... ]
    >>> made = translate(b'{"order_id": "o-1", "revenue": 42.5}', headers)
    >>> made.event, made.user_id
    ('Order Completed', 'c-17')
    """
    attribute = config.cloudevents_customer

    def translate(value: bytes, headers: Headers) -> Envelope:
        names = {name.lower(): content for name, content in headers}
        binary = "ce_specversion" in names
        event = _binary(value, names) if binary else _structured(value)
        if event.specversion != "1.0":
            raise WireError("wrong_type", "specversion is not 1.0")
        if not event.id or not event.source or not event.type:
            raise WireError("bad_id", "id, source and type of a CloudEvent are not empty")
        content_type = (event.datacontenttype or "application/json").split(";")[0].strip().lower()
        if not content_type.endswith(("/json", "+json")):
            raise WireError("not_json", "datacontenttype is not JSON")
        if bytes(event.data_base64):
            raise WireError("not_json", "data_base64 is not read")
        customer = getattr(event, attribute) if attribute != "none" else None
        return _translated(event, customer)

    return translate


def _binary(value: bytes, names: Mapping[str, bytes]) -> _Structured:
    def attribute(name: str) -> str | None:
        content = names.get("ce_" + name)
        return None if content is None else content.decode()

    for required in ("id", "source", "type"):
        if "ce_" + required not in names:
            raise WireError("missing", f"header ce_{required}")
    content_type = names.get("content-type")
    return _Structured(
        id=attribute("id") or "",
        source=attribute("source") or "",
        type=attribute("type") or "",
        specversion=attribute("specversion") or "",
        data=msgspec.Raw(value),
        datacontenttype=None if content_type is None else content_type.decode(),
        time=attribute("time"),
        subject=attribute("subject"),
        partitionkey=attribute("partitionkey"),
    )


def _translated(event: _Structured, customer: str | None) -> Envelope:
    data = event.data
    if not bytes(data).strip() or bytes(data) == b"null":
        data = msgspec.Raw(b"{}")
    time = moment(event.time, "time")
    message_id = short(f"{event.source}#{event.id}")
    head = _head(data)
    if isinstance(head.type, str) and head.type in _SEGMENT_TYPES:
        return _carried(_segment(data), head.type, message_id, time, customer)
    kind, name = event_name(event.type)
    return Envelope(
        type=kind,  # type: ignore[arg-type]
        event=name,
        message_id=message_id,
        timestamp=time,
        user_id=head.user_id or customer,
        anonymous_id=head.anonymous_id,
        properties=data,
    )


def _carried(
    message: _Segment, kind: str, message_id: str, time: datetime | None, customer: str | None
) -> Envelope:
    return Envelope(
        type=kind,  # type: ignore[arg-type]
        event=message.event,
        message_id=message_id if message.message_id is None else message.message_id,
        original_timestamp=message.original_timestamp,
        sent_at=message.sent_at,
        received_at=message.received_at,
        timestamp=message.timestamp or time,
        user_id=message.user_id or customer,
        anonymous_id=message.anonymous_id,
        properties=message.properties,
        traits=message.traits,
    )


def event_name(kind: str) -> tuple[str, str | None]:
    """Say what a CloudEvents type means: by its last words, a version after them left out.

    Examples
    --------
    >>> event_name("com.shop.order.completed.v1"), event_name("shop/page-viewed")
    (('track', 'Order Completed'), ('page', None))
    >>> event_name("com.shop.wishlist.opened")
    ('track', 'com.shop.wishlist.opened')
    """
    words = _WORDS.findall(kind.lower())
    while words and _VERSION.fullmatch(words[-1]):
        words.pop()
    for count in range(min(_MOST_WORDS, len(words)), 0, -1):
        last = " ".join(words[-count:])
        if last in _PAGES:
            return "page", None
        if last in _NAMES:
            return "track", _NAMES[last]
    return "track", kind
