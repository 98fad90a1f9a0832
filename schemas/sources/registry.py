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


InputOf = Callable[[bytes], int]
"""Takes a line of a file that holds messages of both inputs; gives the place of its own in `INPUTS`."""

_CLICKS, _ORDERS = INPUTS.index(CLICKSTREAM), INPUTS.index(ORDERS)


class _Marks(msgspec.Struct, gc=False):
    event: object = None


_marks = msgspec.json.Decoder(_Marks).decode


def input_of(config: SourceConfig) -> InputOf:
    """Make the function that says which of `INPUTS` a line belongs to, where files hold both.

    A line is an order when the format of the orders says that it is about one; every other line, and one
    that cannot be read, is of the clickstream. An order in the words of the clickstream's format stays
    there when the orders have another format: there its reader knows it.

    Examples
    --------
    >>> config = SourceConfig(orders="debezium", clickstream="snowplow")
    >>> [INPUTS[input_of(config)(line)] for line in (b'{"op": "c"}', b'{"event": "page_view"}', b"oops")]
    ['orders', 'clickstream', 'clickstream']
    """
    is_order = _ORDER_TESTS[config.orders]
    of_segment = config.orders == "segment"

    def input_of_line(line: bytes) -> int:
        # All names of orders there hold "Order"; in JSON a letter may also be a backslash and its number.
        # `find` asks faster than `in`, which takes its left side for a number first; one letter is quickest.
        if of_segment and line.find(b"\\") < 0 and (line.find(b"O") < 0 or line.find(b"Order") < 0):
            return _CLICKS
        try:
            return _ORDERS if is_order(line) else _CLICKS
        except (msgspec.DecodeError, RecursionError, UnicodeError):
            return _CLICKS

    return input_of_line


def _is_segment_order(line: bytes) -> bool:
    name = _marks(line).event
    return isinstance(name, str) and name in ORDER_EVENTS


_ORDER_TESTS: dict[OrderFormat, Callable[[bytes], bool]] = {
    "segment": _is_segment_order,
    "cloudevents": cloudevents.is_order,
    "snowplow": snowplow.is_order,
    "ga4": ga4.is_order,
    "debezium": debezium.is_order,
}
