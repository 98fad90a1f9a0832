"""A Segment message told again as other collectors would: what they would have sent of the same act."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from datetime import timezone
from typing import Any

import orjson

from schemas.codec import decode_event, utc
from schemas.events import Anonymous, Cancellation, Event, Order, OrderUpdate, Refund
from schemas.sources import ga4, snowplow

Told = dict[str, Any]


def _number(message: Told) -> int:
    return int.from_bytes(hashlib.blake2b(message["messageId"].encode(), digest_size=6).digest(), "big")


def cloudevent(message: Told, event: Event) -> Told:
    words = (message.get("event") or "page viewed").lower().split()
    ids = {k: message[k] for k in ("userId", "anonymousId") if message.get(k)}
    return {
        "specversion": "1.0",
        "id": message["messageId"],
        "source": "/shop",
        "type": ".".join(["com.shop", *words, "v1"]),
        "time": utc(event.time_ms).isoformat(timespec="milliseconds"),
        "datacontenttype": "application/json",
        "data": {**message.get("properties", {}), **ids},
    }


def enriched(message: Told, event: Event) -> Told:
    """Tell a click, or a message that is no act, as Snowplow would."""
    name = message.get("event")
    kind = "page_view" if name is None else "unstruct"
    told: Told = {
        "event_id": message["messageId"],
        "event": "page_ping" if name and name.startswith(("Email", "Unsub")) else kind,
        "event_name": name or "page_view",
        "user_id": message.get("userId"),
        "domain_userid": message.get("anonymousId"),
        "derived_tstamp": utc(event.time_ms).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
    }
    for action, ours in snowplow.ACTIONS.items():
        if ours == name and action not in ("transaction", "refund"):
            key = "unstruct_event_com_snowplowanalytics_snowplow_ecommerce_snowplow_ecommerce_action_1"
            told |= {"event_name": "snowplow_ecommerce_action", key: {"type": action}}
    return told


def exported(message: Told, event: Event) -> Told:
    """Tell a click, an order or a refund as GA4's export would."""
    name = message.get("event")
    names = {ours: theirs for theirs, ours in ga4.EVENTS.items() if theirs != "ecommerce_purchase"}
    told: Told = {
        "event_name": "page_view" if name is None else names.get(name, name.lower().replace(" ", "_")),
        "event_timestamp": str(event.time_ms * 1000),
        "user_id": message.get("userId"),
        "user_pseudo_id": message.get("anonymousId") or "1.1",
        "event_bundle_sequence_id": str(_number(message)),
        "event_params": [],
    }
    if name and name.startswith(("Email", "Unsub")):
        told["event_name"] = "user_engagement"
    match event:
        case Order():
            told["ecommerce"] = {"transaction_id": event.order_id, "purchase_revenue": event.amount}
        case Refund():
            told["ecommerce"] = {"transaction_id": event.order_id, "refund_value": event.amount}
    return told


def changed(message: Told, event: Event) -> Told:
    """Tell what happened to an order as Debezium would of its row."""
    row: Told = {"id": getattr(event, "order_id", ""), "customer_id": event.customer_id}
    told: Told = {
        "op": "u",
        "before": None,
        "after": row,
        "source": {"db": "shop", "table": "orders", "lsn": _number(message), "ts_ms": event.time_ms},
    }
    match event:
        case Refund():
            row |= {"status": "refunded", "refund": event.amount}
        case Cancellation():
            told |= {"op": "d", "before": row, "after": None}
        case Order():
            moment = utc(event.time_ms).astimezone(timezone.utc).isoformat(timespec="milliseconds")
            told["op"] = "u" if isinstance(event, OrderUpdate) else "c"
            row |= {"status": "paid", "total": str(event.amount), "created_at": moment}
            row |= {"discount": event.discount}
    return told


def told(value: bytes, tell: Callable[[Told, Event], Told]) -> bytes:
    """Tell a message of Segment again."""
    event = decode_event(value)
    assert not isinstance(event, Anonymous) or not event.customer_id
    return orjson.dumps(tell(orjson.loads(value), event))
