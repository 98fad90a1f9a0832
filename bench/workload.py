"""The workload of the benches: clicks and orders of many customers over 90 days.

96 clicks to 4 orders, customers of very different activity (weights from a Pareto distribution), evenly
spread over time, seeded. It is the shop of the peers' generator, draw for draw: the same customer does the
same at the same moment, there in the peers' own form and here as Segment messages. `check_against` reads a
file of theirs beside it, and the throughput bench does that each time before it compares engines.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator
from itertools import zip_longest
from pathlib import Path
from typing import Any, NamedTuple

import orjson

from schemas.codec import utc
from schemas.topics import CLICKSTREAM, INPUTS, ORDERS

EVENTS, CUSTOMERS, SEED = 2_000_000, 50_000, 7
START_SECONDS = 1_700_000_000.0
SPAN_SECONDS = 90 * 86_400.0
ORDER_SHARE = 0.04

PAGE = "page"
# What happened, by the peers' name for it, and how many of a hundred clicks.
_MIX = (
    (PAGE, 70),
    ("Product Viewed", 18),
    ("Product Added", 6),
    ("Products Searched", 4),
    ("Product Removed", 2),
)
_CLICKS = [name for name, weight in _MIX for _ in range(weight)]
_OF_PEERS = {
    "page_view": PAGE,
    "product_view": "Product Viewed",
    "add_to_cart": "Product Added",
    "search": "Products Searched",
    "remove_from_cart": "Product Removed",
}


class Happening(NamedTuple):
    """One event before it has a form: an order has `products`, a click has a `product`.

    Attributes
    ----------
    number
        Its place in the workload, from 0.
    kind
        `page`, or the name of a track event.
    """

    number: int
    customer_id: str
    time_ms: int
    kind: str
    product: str
    products: tuple[tuple[str, int, float], ...]


def happenings(events: int, customers: int, seed: int = SEED) -> Iterator[Happening]:
    """Draw the workload, in the order of event time.

    Examples
    --------
    >>> first, second = happenings(2, customers=10)
    >>> first.time_ms, second.time_ms - first.time_ms == 45 * 86_400_000
    (1700000000000, True)
    """
    chance = random.Random(seed)
    activity = [chance.paretovariate(1.2) for _ in range(customers)]
    picks = chance.choices(range(customers), weights=activity, k=events)
    for number, customer in enumerate(picks):
        time_ms = int((START_SECONDS + SPAN_SECONDS * number / events) * 1000)
        customer_id = f"c{customer:06d}"
        if chance.random() < ORDER_SHARE:
            products = tuple(
                (
                    f"p{chance.randrange(5000):05d}",
                    chance.randint(1, 3),
                    round(chance.lognormvariate(3, 0.6), 2),
                )
                for _ in range(chance.randint(1, 3))
            )
            yield Happening(number, customer_id, time_ms, "Order Completed", "", products)
        else:
            kind = chance.choice(_CLICKS)
            chance.randrange(5000)  # the peers' page address, which a click of ours does not need
            yield Happening(number, customer_id, time_ms, kind, f"p{chance.randrange(5000):05d}", ())


def messages(events: int = EVENTS, customers: int = CUSTOMERS, seed: int = SEED) -> Iterator[bytes]:
    """Give the workload as Segment messages, one line each."""
    for happening in happenings(events, customers, seed):
        yield _order(happening) if happening.products else _click(happening)


def with_inputs(lines: Iterable[bytes]) -> Iterator[tuple[int, bytes]]:
    """Name the input of each line by its place in `schemas.topics.INPUTS`."""
    clicks, orders = INPUTS.index(CLICKSTREAM), INPUTS.index(ORDERS)
    for line in lines:
        yield (orders if b'"Order Completed"' in line else clicks), line


class DifferentWorkload(AssertionError):  # noqa: N818 - what was found, not what went wrong
    """The peers would process something else than we do."""


def check_against(file: Path, events: int, customers: int, seed: int = SEED) -> None:
    """Compare the workload with a file of the peers' generator, event by event.

    Raises
    ------
    DifferentWorkload
        At the first event that has another customer, time or content.
    """
    with file.open("rb") as lines:
        for ours, line in zip_longest(happenings(events, customers, seed), lines):
            if ours is None or line is None or ours != (theirs := _of_peers(line, ours.number)):
                raise DifferentWorkload(f"{file}: {theirs if ours and line else line!r} is not {ours}")


def _of_peers(line: bytes, number: int) -> Happening:
    record = orjson.loads(line)
    value = record["value"]
    products = tuple((p["product_id"], p["quantity"], p["price"]) for p in value.get("products", ()))
    kind = "Order Completed" if record["topic"] == ORDERS else _OF_PEERS[value["type"]]
    return Happening(
        number,
        record["key"],
        int(value["timestamp"] * 1000),
        kind,
        "" if products else value["product_id"],
        products,
    )


def _envelope(happening: Happening, message_id: str) -> dict[str, Any]:
    return {
        "anonymousId": "a-" + happening.customer_id,
        "context": {"page": {"path": "/p"}, "userAgent": "Mozilla/5.0 (X11; Linux x86_64)"},
        "messageId": message_id,
        "timestamp": utc(happening.time_ms),
        "userId": happening.customer_id,
    }


def _order(happening: Happening) -> bytes:
    products = [
        {"product_id": product, "quantity": quantity, "price": price}
        for product, quantity, price in happening.products
    ]
    properties = {
        "currency": "EUR",
        "discount": 0.0,
        "order_id": f"O{happening.number:09d}",
        "products": products,
        "revenue": round(sum(price * quantity for _, quantity, price in happening.products), 2),
    }
    named = {"event": happening.kind, "properties": properties, "type": "track"}
    return orjson.dumps(_envelope(happening, f"o{happening.number:09d}") | named)


def _click(happening: Happening) -> bytes:
    message = _envelope(happening, f"e{happening.number:09d}")
    if happening.kind == PAGE:
        properties: dict[str, Any] = {"url": "/p/" + happening.product, "referrer": "google"}
        return orjson.dumps(message | {"type": "page", "properties": properties})
    properties = {"product_id": happening.product, "quantity": 1, "price": 19.9}
    return orjson.dumps(message | {"type": "track", "event": happening.kind, "properties": properties})
