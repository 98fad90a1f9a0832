"""JSON Schemas of everything that crosses the wire, derived from the types that read and write it.

The outputs are what their types say. The inputs need more: which properties are checked depends on the
event's name, and which time counts depends on which clocks are given, so the parts that msgspec gives for
each type are put together with the conditions of `schemas.codec`. A schema may say yes where the code
says no, as arithmetic and calendars are beyond it; it never says no to a message that the code takes.
The schemas keep to what JSON Schema draft 7 and 2020-12 have in common, for AsyncAPI has the former.
"""

from __future__ import annotations

import re
from datetime import datetime
from typing import Any

import msgspec

from schemas import codec, messages
from schemas.codec import MAX_AMOUNT, MAX_ID_LENGTH, MAX_MESSAGE_ID_LENGTH, ORDER_EVENTS
from schemas.erasures import ErasureRequest
from schemas.topics import CLICKSTREAM, ERASURES, ORDERS, TOPIC_BY_NAME, TopicSpec

Schema = dict[str, Any]

DIALECT = "https://json-schema.org/draft/2020-12/schema"

_DATE = (
    r"(?:(?:0[13578]|1[02])-(?:0[1-9]|[12]\d|3[01])|(?:0[469]|11)-(?:0[1-9]|[12]\d|30)|02-(?:0[1-9]|1\d|2\d))"
)
_TIME = r"[Tt ](?:[01]\d|2[0-3]):[0-5]\d:[0-5]\d(?:\.\d+)?(?:[Zz]|[+-](?:[01]\d|2[0-3]):?[0-5]\d)$"
ANY_TIME = rf"^(?!0000)\d{{4}}-{_DATE}{_TIME}"
"""RFC 3339 with an offset, which `format` alone would not check in most validators."""
USED_TIME = rf"^(?:(?:199\d|20\d\d)-{_DATE}|1989-12-31|2100-01-01){_TIME}"
"""The same within 1990 to 2100, a day more at each end: the offset decides there."""

UNPRINTABLE = (
    r"\u0000-\u001f\u007f-\u00a0\u00ad\u0600-\u0605\u061c\u06dd\u070f\u0890\u0891\u08e2\u1680\u180e"
    r"\u2000-\u200f\u2028-\u202f\u205f-\u2064\u2066-\u206f\u3000\ue000-\uf8ff\ufeff\ufff9-\ufffb"
)
"""Controls, format characters, blanks other than the space, and private use, up to U+FFFF."""


def _either_case(word: str) -> str:
    """Spell a word as a pattern that takes capitals too; it escapes only what every dialect lets escape."""
    return "".join(f"[{c.upper()}{c}]" if c.isalpha() else f"\\{c}" if c in "[].()*+?" else c for c in word)


PLACEHOLDER = "^(?:[0-]*|" + "|".join(_either_case(word) for word in sorted(codec._BLOCKED_IDS)) + ")$"
"""Ids that broken integrations send for everybody."""

_AMOUNT: Schema = {"minimum": 0, "maximum": MAX_AMOUNT}
_TEXT: Schema = {"type": "string", "minLength": 1}
_CUSTOMER: Schema = {
    "type": "string",
    "minLength": 1,
    "maxLength": MAX_ID_LENGTH,
    "not": {"anyOf": [{"pattern": part} for part in (f"[{UNPRINTABLE}]", "^ | $", PLACEHOLDER)]},
    "description": "Who, in the shop's own naming: printable, no blanks around it, no placeholder.",
}


def _has(*fields: str) -> Schema:
    """Give the condition that fields are there and not null."""
    return {"required": list(fields), "properties": {field: {"not": {"type": "null"}} for field in fields}}


def _lacks(*fields: str) -> Schema:
    return {"not": {"anyOf": [_has(field) for field in fields]}}


def _within(field: str, bounds: Schema) -> Schema:
    return {"properties": {field: bounds}}


def _rule(when: Schema, then: Schema) -> Schema:
    return {"if": when, "then": then}


# Types as msgspec describes them


def _components(*types: type[msgspec.Struct]) -> dict[str, Schema]:
    _, parts = msgspec.json.schema_components(types, ref_template="#/$defs/{name}")
    described = {getattr(t, "__name__", ""): t for t in _all_structs(*types)}
    return {name: _documented(part, described.get(name)) for name, part in parts.items()}


def _all_structs(*types: type[msgspec.Struct]) -> set[type[msgspec.Struct]]:
    found: set[type[msgspec.Struct]] = set()

    def visit(info: msgspec.inspect.Type) -> None:
        if isinstance(info, msgspec.inspect.StructType) and info.cls not in found:
            found.add(info.cls)
            for field in info.fields:
                visit(field.type)
        for name in ("types", "item_type", "type", "value_type"):
            inner = getattr(info, name, ())
            for part in inner if isinstance(inner, tuple) else (inner,):
                if isinstance(part, msgspec.inspect.Type):
                    visit(part)

    for kind in types:
        visit(msgspec.inspect.type_info(kind))
    return found


def _documented(schema: Schema, kind: type[msgspec.Struct] | None) -> Schema:
    """Move what a docstring says about attributes to the properties."""
    schema = dict(schema)
    text = (kind.__doc__ or "") if kind else ""
    about, _, listed = text.partition("Attributes\n")
    if about.strip():
        schema["description"] = re.sub(r"\s+", " ", about.split("\n\n    Examples\n")[0]).strip()
    else:
        schema.pop("description", None)
    for field in msgspec.structs.fields(kind) if kind else ():
        if isinstance(msgspec.inspect.type_info(field.type), msgspec.inspect.DateTimeType):
            schema["properties"][field.encode_name]["format"] = "date-time"
        elif field.type == datetime | None:
            schema["properties"][field.encode_name]["anyOf"][0]["format"] = "date-time"
    for names, said in re.findall(r"^ {4}(\w[\w, ]*)\n((?: {8}.*\n?)+)", listed, re.M):
        for name in names.split(", "):
            field = schema["properties"].get(name)
            if field is not None and "$ref" not in field:
                schema["properties"][name] = {**field, "description": re.sub(r"\s+", " ", said).strip()}
    return schema


def _envelope() -> Schema:
    """Give the schema of the envelope; msgspec has none for a part that is left unread."""
    fields: list[tuple[str, Any, Any]] = []
    for field in msgspec.structs.fields(messages.Envelope):
        kind = Any if field.type is msgspec.Raw else field.type
        default = {} if field.type is msgspec.Raw else field.default
        fields.append((field.encode_name, kind, default))
    plain = msgspec.defstruct("Envelope", fields, kw_only=True)
    (schema,) = _components(plain).values()
    for part in schema["properties"].values():
        for option in part.get("anyOf", (part,)):
            if option.pop("format", None) == "date-time":
                option["pattern"] = ANY_TIME
    schema["properties"]["messageId"] |= {"minLength": 1, "maxLength": MAX_MESSAGE_ID_LENGTH}
    schema["properties"]["userId"] = {"anyOf": [{"enum": ["", None]}, {"$ref": "#/$defs/CustomerId"}]}
    schema["properties"]["properties"] = {"description": "What the event's name promises; see the rules."}
    return schema


def _orders() -> dict[str, Schema]:
    """Give what the properties of the order events must hold."""
    parts = _components(messages.OrderProperties)
    order = parts["OrderProperties"] = parts.pop("OrderProperties")
    order["properties"]["order_id"] |= {"minLength": 1, "maxLength": MAX_ID_LENGTH}
    priced = {
        "required": ["products"],
        "properties": {"products": {"type": "array", "minItems": 1, "items": _has("price")}},
    }
    amount = {
        "description": "revenue, subtotal, total or priced products; the first that is there counts",
        "allOf": [
            {"$ref": "#/$defs/OrderProperties"},
            {"anyOf": [_has("revenue"), _has("subtotal"), _has("total"), priced]},
            _within("discount", _AMOUNT),
            _rule(_has("revenue"), _within("revenue", _AMOUNT)),
            _rule({"allOf": [_has("subtotal"), _lacks("revenue")]}, _within("subtotal", _AMOUNT)),
        ],
    }
    size = {"minimum": -MAX_AMOUNT, "maximum": MAX_AMOUNT}
    refund = {
        "description": "total, else revenue, else the whole order; the sign does not matter",
        "allOf": [
            {"$ref": "#/$defs/OrderProperties"},
            _within("total", size),
            _rule(_lacks("total"), _within("revenue", size)),
        ],
    }
    return {**parts, "PricedOrder": amount, "RefundedOrder": refund}


_ORDER_PROPERTIES = {
    "Order Completed": "PricedOrder",
    "Completed Order": "PricedOrder",
    "Order Updated": "PricedOrder",
    "Order Refunded": "RefundedOrder",
    "Order Cancelled": "OrderProperties",
}


def _message() -> Schema:
    """Give the schema of a message as `schemas.codec.decode_event` reads it."""
    clicks = {name: decoder.type for name, (_, decoder) in codec._CLICKS.items()}
    parts = {**_components(*dict.fromkeys(clicks.values())), **_orders()}
    promised = {name: kind.__name__ for name, kind in clicks.items()} | _ORDER_PROPERTIES
    track = {"properties": {"type": {"const": "track"}}}
    named = {**_has("userId"), "properties": {"userId": _TEXT}}
    rules: list[Schema] = [
        {"anyOf": [named, {"required": ["anonymousId"], "properties": {"anonymousId": _TEXT}}]},
        {
            "anyOf": [
                _has("originalTimestamp", "sentAt", "receivedAt"),
                {"required": ["timestamp"], "properties": {"timestamp": {"pattern": USED_TIME, **_TEXT}}},
            ]
        },
        _rule(track, {"required": ["event"], "properties": {"event": _TEXT}}),
        _rule(_about(ORDER_EVENTS), {"required": ["userId", "properties"], "properties": {"userId": _TEXT}}),
    ]
    for kind in dict.fromkeys(promised.values()):
        names = [name for name, own in promised.items() if own == kind]
        rules.append(
            _rule(
                {"allOf": [_about(names), named]},
                _within("properties", {"$ref": f"#/$defs/{kind.lstrip('_')}"}),
            )
        )
    defs = {name.lstrip("_"): part for name, part in parts.items()}
    message: Schema = _renamed(
        {
            "allOf": [{"$ref": "#/$defs/Envelope"}, *rules],
            "$defs": {"Envelope": _envelope(), "CustomerId": _CUSTOMER, **defs},
        }
    )
    return message


def _about(events: Any) -> Schema:
    return {
        "required": ["type", "event"],
        "properties": {"type": {"const": "track"}, "event": {"enum": sorted(events)}},
    }


def _renamed(schema: Any) -> Any:
    """Drop the underscore of private types from the references to them."""
    if isinstance(schema, dict):
        return {
            key: re.sub(r"/_(?=\w+$)", "/", value) if key == "$ref" else _renamed(value)
            for key, value in schema.items()
        }
    if isinstance(schema, list):
        return [_renamed(part) for part in schema]
    return schema


# One schema a topic

SCHEMA_TOPICS: tuple[str, ...] = (
    CLICKSTREAM,
    ORDERS,
    *(name for name, spec in TOPIC_BY_NAME.items() if spec.schema is not None),
    ERASURES,
)
"""The topics whose values are JSON with a contract."""


def json_schema(topic: str) -> Schema:
    """Give the JSON Schema of the values of a topic.

    Parameters
    ----------
    topic
        One of `SCHEMA_TOPICS`.

    Returns
    -------
    dict
        A schema that stands alone, its parts under `$defs`.

    Examples
    --------
    >>> schema = json_schema("churn-alerts")
    >>> schema["title"], sorted(schema["$defs"])
    ('ChurnAlert', ['Change', 'Evidence', 'Reason'])
    >>> schema["properties"]["episode"]["description"]
    'The same for all steps of one episode.'
    """
    spec = TOPIC_BY_NAME[topic]
    head: Schema = {"$schema": DIALECT, "$id": f"urn:holdfast:schema:{topic}"}
    kind = ErasureRequest if topic == ERASURES else spec.schema
    if kind is None:
        about = f"{spec.about[0].upper()}{spec.about[1:]}: the Segment e-commerce spec, as far as it is read."
        return {**head, "title": _title(spec), "description": about, **_message()}
    parts = _components(kind)
    own = parts.pop(kind.__name__)
    return {**head, **own, **({"$defs": parts} if parts else {})}


def _title(spec: TopicSpec) -> str:
    return f"{spec.name.capitalize().rstrip('s')} message"
