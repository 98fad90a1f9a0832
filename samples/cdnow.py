"""A real shop: every transaction of 23,570 customers of CDNOW, as `Order Completed` messages.

The customers first bought from CDNOW, an online shop for CDs, in the first quarter of 1997; their
transactions run to 1998-06-30. The set is the usual benchmark of the "buy till you die" models, so
published figures exist to compare with. It has orders only, no clicks, and the day but no time of
day: all messages of a day carry its midnight in UTC, and a customer may have several at that moment.
A message says nothing that the source does not: an order is one line of CDs, and a price per CD is
given only where the amount divides evenly, to the cent, by the number of CDs (it is their average).
A few transactions have an amount of 0 and are kept.

References
----------
Fader, P. S. and Hardie, B. G. S., the CDNOW data set, https://www.brucehardie.com/datasets/
Fader, P. S. and Hardie, B. G. S. (2001), Forecasting repeat sales at CDNOW: a case study,
Interfaces 31(3), S94-S107.
"""

from __future__ import annotations

import csv
import gzip
from collections.abc import Iterator
from importlib import resources
from typing import Any, Literal, NamedTuple


class _Row(NamedTuple):
    number: int  # in the file, from 1: the same in both samples
    day: str
    customer_id: str
    quantity: int
    amount: str


def messages(sample: Literal["all", "tenth"] = "all") -> Iterator[dict[str, Any]]:
    """Replay the transactions in event-time order: by day, within a day in the file's order.

    Parameters
    ----------
    sample
        `all` for the 23,570 customers (69,659 messages), `tenth` for the 2,357 customers of the
        published 1/10 sample (6,919 messages).

    Yields
    ------
    dict
        A track message of the Segment spec. Amounts are US dollars.

    Raises
    ------
    ValueError
        When there is no such sample.

    Examples
    --------
    >>> first = next(messages())
    >>> first["messageId"], first["userId"], first["timestamp"]
    ('cdnow-1', '00001', '1997-01-01T00:00:00.000Z')
    >>> first["properties"]["revenue"], first["properties"]["products"]
    (11.77, [{'product_id': 'cd', 'quantity': 1, 'price': 11.77}])
    >>> sum(1 for _ in messages("tenth"))
    6919
    """
    if sample not in ("all", "tenth"):
        raise ValueError(f"sample must be 'all' or 'tenth', not {sample!r}")
    # The file is sorted by customer; the sort is stable, so a day keeps the file's order.
    for row in sorted(_rows(sample), key=lambda row: row.day):
        yield _message(row)


def _rows(sample: Literal["all", "tenth"]) -> Iterator[_Row]:
    packed = resources.files("samples").joinpath("cdnow_master.csv.gz")
    with packed.open("rb") as raw, gzip.open(raw, "rt", encoding="utf-8", newline="") as text:
        for number, row in enumerate(csv.DictReader(text), start=1):
            if sample == "all" or row["sample_id"]:
                yield _Row(number, row["timestamp"], row["customer_id"], int(row["quantity"]), row["amount"])


def _message(row: _Row) -> dict[str, Any]:
    key = f"cdnow-{row.number}"
    products: dict[str, Any] = {"product_id": "cd", "quantity": row.quantity}
    cents, rest = divmod(int(row.amount.replace(".", "")), row.quantity)
    if not rest:
        products["price"] = cents / 100
    return {
        "messageId": key,
        "type": "track",
        "event": "Order Completed",
        "userId": row.customer_id,
        "timestamp": f"{row.day}T00:00:00.000Z",
        "properties": {
            "order_id": key,
            "revenue": float(row.amount),
            "currency": "USD",
            "products": [products],
        },
    }
