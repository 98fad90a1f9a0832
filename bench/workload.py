"""The workload of the throughput bench: clicks and orders of many customers over 90 days.

96 clicks to 4 orders, customers of very different activity, in the order of event time, seeded. The same
shop comes in two forms: as Segment messages, which is what Holdfast reads, and, by the peers' own
generator where its folder is given, as the plain records that the peers read.
"""

from __future__ import annotations

import random
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson

from schemas.codec import utc

START_MS = 1_700_000_000_000
SPAN_MS = 90 * 86_400_000
ORDER_SHARE = 0.04
SEED = 7

# type and event name, and how many of a hundred clicks.
_MIX = [
    (("page", None), 70),
    (("track", "Product Viewed"), 18),
    (("track", "Product Added"), 6),
    (("track", "Products Searched"), 4),
    (("track", "Product Removed"), 2),
]
_CLICKS = [kind for kind, weight in _MIX for _ in range(weight)]
_OF_PEERS = {
    "page_view": _MIX[0][0],
    "product_view": _MIX[1][0],
    "add_to_cart": _MIX[2][0],
    "search": _MIX[3][0],
    "remove_from_cart": _MIX[4][0],
}


def messages(events: int, customers: int, seed: int = SEED) -> Iterator[bytes]:
    """Make the shop's messages, one line each."""
    chance = random.Random(seed)
    activity = [chance.paretovariate(1.2) for _ in range(customers)]
    for number, customer in enumerate(chance.choices(range(customers), weights=activity, k=events)):
        time_ms = START_MS + SPAN_MS * number // events
        customer_id = f"c{customer:06d}"
        if chance.random() < ORDER_SHARE:
            products = [
                {
                    "product_id": f"p{chance.randrange(5000):05d}",
                    "quantity": chance.randint(1, 3),
                    "price": round(chance.lognormvariate(3, 0.6), 2),
                }
                for _ in range(chance.randint(1, 3))
            ]
            yield _order(f"o{number:09d}", customer_id, time_ms, products)
        else:
            kind = chance.choice(_CLICKS)
            product = f"p{chance.randrange(5000):05d}"
            yield _click(f"e{number:09d}", customer_id, time_ms, kind, product)


def peers_file(peers: Path, out: Path, events: int, customers: int, seed: int = SEED) -> None:
    """Let the peers' generator write its records."""
    command = [sys.executable, str(peers / "gen.py"), str(out), str(events), str(customers), str(seed)]
    subprocess.run(command, check=True)


def from_peers(file: Path) -> Iterator[bytes]:
    """Turn the records of the peers' generator into Segment messages."""
    with file.open("rb") as lines:
        for line in lines:
            record = orjson.loads(line)
            value = record["value"]
            time_ms = int(value["timestamp"] * 1000)
            if record["topic"] == "orders":
                yield _order(value["event_id"], record["key"], time_ms, value["products"])
            else:
                kind = _OF_PEERS[value["type"]]
                yield _click(value["event_id"], record["key"], time_ms, kind, value["product_id"])


def _envelope(message_id: str, customer_id: str, time_ms: int) -> dict[str, Any]:
    moment = utc(time_ms)
    return {
        "anonymousId": "a-" + customer_id,
        "context": {"page": {"path": "/p"}, "userAgent": "Mozilla/5.0 (X11; Linux x86_64)"},
        "messageId": message_id,
        "timestamp": moment,
        "userId": customer_id,
    }


def _order(message_id: str, customer_id: str, time_ms: int, products: list[dict[str, Any]]) -> bytes:
    revenue = round(sum(product["price"] * product["quantity"] for product in products), 2)
    message = _envelope(message_id, customer_id, time_ms) | {
        "event": "Order Completed",
        "properties": {
            "currency": "EUR",
            "discount": 0.0,
            "order_id": "O" + message_id[1:],
            "products": products,
            "revenue": revenue,
        },
        "type": "track",
    }
    return orjson.dumps(message)


def _click(
    message_id: str, customer_id: str, time_ms: int, kind: tuple[str, str | None], product: str
) -> bytes:
    message = _envelope(message_id, customer_id, time_ms) | {"type": kind[0]}
    if kind[1] is not None:
        message |= {"event": kind[1], "properties": {"product_id": product, "quantity": 1, "price": 19.9}}
    else:
        message["properties"] = {"url": "/p/" + product, "referrer": "google"}
    return orjson.dumps(message)
