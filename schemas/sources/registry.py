"""Which function reads an input: chosen once, at the start, by the settings.

For the default format it is `decode_event` itself, so a shop that sends Segment messages pays nothing for
the formats that it does not use.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from schemas.codec import ORDER_EVENTS, decode_envelope, decode_event, event_of
from schemas.events import Event
from schemas.identity import decode_with_visitor, event_with_visitor
from schemas.sources import cloudevents, debezium, ga4, snowplow
from schemas.sources.config import OrderFormat, SourceConfig
from schemas.sources.envelope import Decoder
from schemas.topics import CLICKSTREAM, INPUTS, ORDERS

FORMATS: tuple[OrderFormat, ...] = ("segment", "cloudevents", "snowplow", "ga4", "debezium")


Decode = Callable[..., Event]
"""Takes a record's value and the most bytes that it may have, some (`reads_headers`) its headers too."""


def format_of(topic: str, config: SourceConfig) -> OrderFormat:
    """Say what an input is written in.

    Examples
    --------
    >>> format_of("orders", SourceConfig(orders="debezium"))
    'debezium'
    """
    return config.orders if topic == ORDERS else config.clickstream


def reader(name: OrderFormat, config: SourceConfig, with_visitors: bool = False) -> Decoder:
    """Make the reader of a format that can also be asked for the envelope alone."""
    make = event_with_visitor if with_visitors else event_of
    match name:
        case "segment":
            return Decoder(lambda value, _: decode_envelope(value), make=make)
        case "cloudevents":
            return Decoder(cloudevents.translator(config), make=make)
        case "snowplow":
            return Decoder(snowplow.translator(), make=make)
        case "ga4":
            return Decoder(ga4.translator(), make=make)
        case "debezium":
            return Decoder(debezium.translator(config), empty=debezium.TOMBSTONE, make=make)


def decoder_for(topic: str, config: SourceConfig, with_visitors: bool = False) -> Decode:
    """Give the function that reads an input.

    Parameters
    ----------
    topic
        A name of `schemas.topics.INPUTS`.
    with_visitors
        Whether it keeps who the visitor is (`schemas.identity`), which not every machine can deal with.

    Examples
    --------
    >>> decoder_for("orders", SourceConfig()) is decode_event
    True
    """
    name = format_of(topic, config)
    if name == "segment":
        return decode_with_visitor if with_visitors else decode_event
    return reader(name, config, with_visitors)


def reads_headers(topic: str, config: SourceConfig) -> bool:
    """Say whether the function of `decoder_for` wants the record's headers as its third argument."""
    return format_of(topic, config) == "cloudevents"


class _Marks(msgspec.Struct, gc=False):
    """What tells a line of orders from one of clicks, in any format."""

    event: object = None
    type: object = None
    specversion: object = None
    op: object = None
    payload: object = None


_marks = msgspec.json.Decoder(_Marks).decode


def input_of(line: bytes, config: SourceConfig) -> int:
    """Say which of `INPUTS` a line of a file belongs to, where files hold both.

    Examples
    --------
    >>> config = SourceConfig(orders="debezium", clickstream="snowplow")
    >>> [INPUTS[input_of(line, config)] for line in (b'{"op": "c"}', b'{"event": "page_view"}', b"oops")]
    ['orders', 'clickstream', 'clickstream']
    """
    clicks, orders = INPUTS.index(CLICKSTREAM), INPUTS.index(ORDERS)
    try:
        marks = _marks(line)
    except (msgspec.DecodeError, RecursionError, UnicodeError):
        return clicks
    if config.orders == "debezium" and (
        marks.op is not None or (isinstance(marks.payload, dict) and "op" in marks.payload)
    ):
        return orders
    name = marks.event
    if config.orders == "cloudevents" and marks.specversion is not None and isinstance(marks.type, str):
        _, name = cloudevents.event_name(marks.type)
    return orders if isinstance(name, str) and name in ORDER_EVENTS else clicks
