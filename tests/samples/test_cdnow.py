"""The CDNOW messages say what the file says, all of it, and in order of time."""

from __future__ import annotations

import csv
import gzip
from collections import Counter
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

import samples
from samples import cdnow
from samples.write import lines
from schemas.codec import decode_event
from schemas.events import Order


@pytest.fixture(scope="module")
def everyone() -> list[dict[str, Any]]:
    return list(cdnow.messages())


@pytest.fixture(scope="module")
def tenth() -> list[dict[str, Any]]:
    return list(cdnow.messages("tenth"))


@pytest.fixture(scope="module")
def rows() -> list[dict[str, str]]:
    path = Path(samples.__file__).parent / "cdnow_master.csv.gz"
    with gzip.open(path, "rt", encoding="utf-8", newline="") as text:
        return list(csv.DictReader(text))


def _cents(amount: float | str) -> int:
    return int(Decimal(str(amount)) * 100)


def test_every_transaction_is_one_message(everyone: list[dict[str, Any]]) -> None:
    assert len(everyone) == 69_659
    assert len({message["userId"] for message in everyone}) == 23_570
    assert len({message["messageId"] for message in everyone}) == 69_659


def test_the_tenth_holds_the_published_customers(tenth: list[dict[str, Any]]) -> None:
    assert len(tenth) == 6_919
    assert len({message["userId"] for message in tenth}) == 2_357


def test_a_message_is_the_same_in_both_samples(
    everyone: list[dict[str, Any]], tenth: list[dict[str, Any]]
) -> None:
    by_id = {message["messageId"]: message for message in everyone}
    assert all(by_id[message["messageId"]] == message for message in tenth)


def test_messages_come_by_day_and_within_a_day_in_the_order_of_the_file(
    everyone: list[dict[str, Any]],
) -> None:
    keys = [(message["timestamp"], int(message["messageId"].removeprefix("cdnow-"))) for message in everyone]
    assert keys == sorted(keys)
    assert (keys[0][0], keys[-1][0]) == ("1997-01-01T00:00:00.000Z", "1998-06-30T00:00:00.000Z")


def test_each_message_says_what_its_row_says(
    everyone: list[dict[str, Any]], rows: list[dict[str, str]]
) -> None:
    for message in everyone:
        row = rows[int(message["messageId"].removeprefix("cdnow-")) - 1]
        properties = message["properties"]
        assert message["userId"] == row["customer_id"]
        assert message["timestamp"][:10] == row["timestamp"]
        assert _cents(properties["revenue"]) == _cents(row["amount"])
        assert properties["products"][0]["quantity"] == int(row["quantity"])


def test_revenue_adds_up_to_that_of_the_file(
    everyone: list[dict[str, Any]], rows: list[dict[str, str]]
) -> None:
    said = sum(_cents(message["properties"]["revenue"]) for message in everyone)
    assert said == sum(_cents(row["amount"]) for row in rows) == 250_031_563


def test_a_price_is_said_exactly_where_it_is_true_to_the_cent(everyone: list[dict[str, Any]]) -> None:
    priced = Counter[bool]()
    for message in everyone:
        properties = message["properties"]
        (product,) = properties["products"]
        revenue = _cents(properties["revenue"])
        assert ("price" in product) == (revenue % product["quantity"] == 0)
        if "price" in product:
            assert _cents(product["price"]) * product["quantity"] == revenue
        priced["price" in product] += 1
    assert priced == {True: 51_390, False: 18_269}


def test_orders_of_nothing_are_kept(everyone: list[dict[str, Any]]) -> None:
    assert sum(message["properties"]["revenue"] == 0 for message in everyone) == 80


def test_the_codec_reads_every_message_as_an_order(tenth: list[dict[str, Any]]) -> None:
    for message, line in zip(tenth, lines(tenth), strict=True):
        event = decode_event(line)
        assert isinstance(event, Order)
        assert (event.customer_id, event.amount) == (message["userId"], message["properties"]["revenue"])


def test_an_unknown_sample_is_refused() -> None:
    with pytest.raises(ValueError, match="half"):
        next(cdnow.messages("half"))  # type: ignore[arg-type]  # that it is refused is the point
