"""The shops that quality is measured on, as messages of the Segment spec in event-time order.

CDNOW and the simulated shop come with the project. Online Retail and Complete Journey do not: they are read
from a folder that the command names. Of Online Retail, lines without a customer are left out, and so are
cancellations and adjustments, which do not say which order they call off.
"""

from __future__ import annotations

import csv
import gzip
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import orjson

from samples import cdnow, shop

ONLINE_RETAIL = "online_retail_y1_2009-12_2010-11.csv.gz"
COMPLETE_JOURNEY = "completejourney_baskets.csv.gz"

ORDERS = 1
CLICKS = 0

Messages = Iterator[tuple[int, bytes]]
"""Each with the number of its input."""


class Shop(NamedTuple):
    """A shop, the horizon that is asked for, and what it needs."""

    name: str
    title: str
    horizon_days: float
    messages: Callable[[Path | None], Messages]
    outside: bool = False
    protocol: bool = False


def _wire(messages: Iterable[dict[str, Any]]) -> Messages:
    for message in messages:
        ordered = str(message.get("event", "")).startswith("Order")
        yield ORDERS if ordered else CLICKS, orjson.dumps(message)


def _order(shop: str, customer: str, order_id: str, timestamp: str, **properties: Any) -> dict[str, Any]:
    return {
        "messageId": f"{shop}-{order_id}",
        "type": "track",
        "event": "Order Completed",
        "userId": customer,
        "timestamp": timestamp,
        "properties": {"order_id": order_id, **properties},
    }


def _rows(folder: Path | None, name: str) -> Iterator[dict[str, str]]:
    assert folder is not None
    with gzip.open(folder / name, "rt", encoding="utf-8", newline="") as text:
        yield from csv.DictReader(text)


def online_retail(folder: Path | None) -> Messages:
    """Orders of a UK gift shop from December 2009 to November 2010; times are taken for UTC."""
    found: dict[str, dict[str, Any]] = {}
    for row in _rows(folder, ONLINE_RETAIL):
        number, quantity, price = row["order_id"], int(row["quantity"]), float(row["unit_price"])
        if not row["customer_id"] or number[0] in "CA" or quantity <= 0 or price < 0.0:
            continue
        order = found.setdefault(
            number, _order("or", row["customer_id"], number, row["timestamp"] + "Z", revenue=0.0, products=[])
        )
        properties = order["properties"]
        properties["revenue"] = round(properties["revenue"] + quantity * price, 2)
        properties["products"].append({"product_id": row["product_id"], "quantity": quantity, "price": price})
    return _wire(sorted(found.values(), key=lambda order: str(order["timestamp"])))


def complete_journey(folder: Path | None) -> Messages:
    """Baskets of 2,469 households at a grocer, in 2017."""
    baskets = []
    for row in _rows(folder, COMPLETE_JOURNEY):
        paid = float(row["sales_value"])
        saved = sum(abs(float(row[name])) for name in ("retail_disc", "coupon_disc", "coupon_match_disc"))
        order = _order(
            "cj",
            row["customer_id"],
            row["order_id"],
            row["timestamp"],
            revenue=paid,
            discount=round(saved, 2),
        )
        baskets.append(order)
    return _wire(sorted(baskets, key=lambda order: str(order["timestamp"])))


def _cdnow(_: Path | None) -> Messages:
    return _wire(cdnow.messages("all"))


def _tenth(_: Path | None) -> Messages:
    return _wire(cdnow.messages("tenth"))


def simulated(_: Path | None) -> Messages:
    """The simulated shop, with clicks: 2,000 customers over a year."""
    return _wire(shop.messages(shop.ShopConfig()))


SHOPS: tuple[Shop, ...] = (
    Shop("cdnow", "CDNOW, natural reviews", 84.0, _cdnow),
    Shop("protocol", "CDNOW, 14 four-weekly decisions", 84.0, _cdnow, protocol=True),
    Shop("tenth", "CDNOW, a tenth of the customers", 84.0, _tenth),
    Shop("retail-30", "Online Retail, 30 days", 30.0, online_retail, outside=True),
    Shop("retail-90", "Online Retail, 90 days", 90.0, online_retail, outside=True),
    Shop("journey", "Complete Journey", 28.0, complete_journey, outside=True),
    Shop("shop", "Simulated shop", 30.0, simulated),
)
