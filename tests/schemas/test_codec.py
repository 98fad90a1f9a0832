"""The codec against a slow oracle: what valid messages mean, however they are written."""

from __future__ import annotations

import json
from datetime import datetime, timedelta, timezone
from fractions import Fraction
from itertools import combinations
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.codec import (
    CLICK_EVENTS,
    EARLIEST_MS,
    LATEST_MS,
    MAX_ID_LENGTH,
    ORDER_EVENTS,
    decode_event,
    epoch_ms,
    utc,
)
from schemas.events import (
    Anonymous,
    Cancellation,
    Click,
    Event,
    Funnel,
    Order,
    OrderUpdate,
    Passive,
    Profile,
    Refund,
)
from schemas.topics import INPUTS

EXAMPLES = Path(__file__).resolve().parents[2] / "schemas" / "examples"
VALID = [path for topic in INPUTS for path in sorted((EXAMPLES / topic / "valid").iterdir())]

SEEDED = settings(derandomize=True, deadline=None, max_examples=150)

EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)

FUNNEL = {
    "Products Searched": Funnel.SEARCH,
    "Product List Viewed": Funnel.LIST,
    "Product List Filtered": Funnel.LIST,
    "Product Clicked": Funnel.PRODUCT,
    "Product Viewed": Funnel.PRODUCT,
    "Product Added": Funnel.CART_ADD,
    "Product Removed": Funnel.CART_REMOVE,
    "Cart Viewed": Funnel.CART_VIEW,
    "Checkout Started": Funnel.CHECKOUT,
    "Checkout Step Viewed": Funnel.CHECKOUT,
    "Checkout Step Completed": Funnel.CHECKOUT,
    "Payment Info Entered": Funnel.CHECKOUT,
}
PASSIVE = {"Email Delivered", "Email Bounced", "Email Marked as Spam", "Unsubscribed"}


# The oracle: the contract once more, with the standard library and exact arithmetic.


def time_by_oracle(message: dict[str, Any]) -> int:
    clocks = [message.get(name) for name in ("receivedAt", "sentAt", "originalTimestamp")]
    if all(clocks):
        received, sent, original = (datetime.fromisoformat(clock) for clock in clocks if clock)
        moment = received - (sent - original)
    else:
        moment = datetime.fromisoformat(message["timestamp"])
    since = moment - EPOCH
    return since // timedelta(milliseconds=1)


def amount_by_oracle(properties: dict[str, Any]) -> Fraction:
    def exact(name: str) -> Fraction:
        return Fraction(str(properties.get(name) or 0))

    if properties.get("revenue") is not None:
        return exact("revenue")
    if properties.get("subtotal") is not None:
        return exact("subtotal")
    if properties.get("total") is not None:
        return exact("total") - exact("shipping") - exact("tax")
    lines = [(Fraction(str(p["price"])), Fraction(p.get("quantity") or 1)) for p in properties["products"]]
    return sum((price * quantity for price, quantity in lines), Fraction(0)) - exact("discount")


def is_plain(value: Any) -> bool:
    if isinstance(value, str):
        return len(value) <= 64 and value.isprintable()
    return value is None or isinstance(value, float) or (isinstance(value, int) and abs(value) <= 2**53)


def read_by_oracle(value: bytes) -> Event:
    message = json.loads(value)
    customer_id, name, properties = message.get("userId"), message.get("event"), message.get("properties")
    head = (customer_id, message["messageId"], time_by_oracle(message))
    if not customer_id:
        return Anonymous("", *head[1:])
    if message["type"] in ("page", "screen"):
        return Click(*head, Funnel.PAGE)
    if message["type"] == "identify" and message.get("traits"):
        plain = {k: v for k, v in message["traits"].items() if len(k) <= 64 and is_plain(v)}
        return Profile(*head, plain)
    if message["type"] != "track" or name in PASSIVE:
        return Passive(*head)
    if name == "Order Cancelled":
        return Cancellation(*head, properties["order_id"])
    if name == "Order Refunded":
        said = properties.get("total", properties.get("revenue"))
        return Refund(*head, properties["order_id"], None if said is None else abs(said))
    if name in ORDER_EVENTS:
        kind = OrderUpdate if name == "Order Updated" else Order
        amount, discount = float(amount_by_oracle(properties)), properties.get("discount") or 0.0
        return kind(*head, properties["order_id"], amount, discount)
    return Click(*head, FUNNEL.get(name, Funnel.OTHER))


# Valid messages.


def from_microseconds(microseconds: int) -> datetime:
    return EPOCH + timedelta(microseconds=microseconds)


texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=8,
)
cents = st.integers(0, 10_000_000).map(lambda amount: amount / 100)
customer_ids = st.builds("c{}{}".format, st.integers(1, 99), st.text("aZ9._-@é名😀 ", max_size=20)).map(
    str.strip
)
message_ids = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=100)
order_ids = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=MAX_ID_LENGTH)
offsets = st.just(timezone.utc) | st.integers(-14 * 60, 14 * 60).map(
    lambda minutes: timezone(timedelta(minutes=minutes))
)
moments = st.builds(
    datetime.astimezone, st.integers(EARLIEST_MS * 1000, LATEST_MS * 1000 - 1).map(from_microseconds), offsets
)


@st.composite
def iso(draw: st.DrawFn, moment: datetime) -> str:
    text = moment.isoformat(
        sep=draw(st.sampled_from("T ")),
        timespec="auto"
        if moment.microsecond
        else draw(st.sampled_from(["auto", "milliseconds", "microseconds"])),
    )
    return text.replace("+00:00", "Z") if draw(st.booleans()) else text


@st.composite
def priced(draw: st.DrawFn) -> dict[str, Any]:
    """Properties of an order: at least one of the fields that say its amount, and nothing below zero."""
    fields: dict[str, Any] = {"order_id": draw(order_ids), "coupon": draw(st.none() | texts)}
    ways = draw(st.sets(st.sampled_from(["revenue", "subtotal", "total", "products"]), min_size=1))
    discount, shipping, tax = draw(cents), draw(cents), draw(cents)
    if draw(st.booleans()):
        fields["discount"] = discount
    for way in sorted(ways - {"products"}):
        fields[way] = draw(cents) + (discount + shipping + tax if way == "total" else 0)
    if "total" in ways:
        fields |= {"shipping": shipping, "tax": tax}
    if "products" in ways:
        lines = draw(
            st.lists(
                st.fixed_dictionaries({"price": cents}, optional={"quantity": st.integers(1, 9)}), max_size=4
            )
        )
        fields["products"] = [*lines, {"price": discount, "sku": draw(texts)}]
    return fields


@st.composite
def properties_of(draw: st.DrawFn, name: str) -> dict[str, Any]:
    if name in ORDER_EVENTS:
        fields = draw(priced())
    else:
        product = st.fixed_dictionaries({}, optional={"product_id": texts, "price": cents, "quantity": cents})
        fields = draw(
            product
            if name.startswith("Product ")
            else st.fixed_dictionaries(
                {}, optional={"products": st.lists(product, max_size=3), "query": texts}
            )
        )
    unread = st.text("xyz", min_size=1, max_size=4)
    return draw(st.dictionaries(unread, json_values, max_size=3)) | fields


@st.composite
def messages(draw: st.DrawFn) -> dict[str, Any]:
    kind = draw(st.sampled_from(["track"] * 6 + ["page", "screen", "identify", "group", "alias"]))
    message: dict[str, Any] = {
        "type": kind,
        "messageId": draw(message_ids),
        "userId": draw(customer_ids),
        "timestamp": draw(moments.flatmap(iso)),
        "context": draw(json_values),
    }
    if kind == "track":
        names = st.sampled_from(sorted(ORDER_EVENTS | CLICK_EVENTS))
        name = draw(names | st.text("abc ", min_size=1))
        message |= {"event": name, "properties": draw(properties_of(name))}
    if kind == "identify":
        message["traits"] = draw(st.none() | st.dictionaries(texts, json_values, max_size=4))
    if draw(st.booleans()):
        original, waited = draw(moments), timedelta(seconds=draw(st.integers(0, 40_000_000)) / 1000)
        message["originalTimestamp"] = draw(iso(original))
        message["sentAt"] = draw(iso(original + waited)) if original.year < 2098 else None
        message["receivedAt"] = draw(iso(draw(moments.filter(lambda moment: moment.year > 1991))))
    if kind == "track" and message["event"] in ORDER_EVENTS:
        return message
    if draw(st.integers(0, 4)) == 0:
        message |= {"userId": draw(st.sampled_from(["", None])), "anonymousId": "a-1"}
    return message


@st.composite
def written(draw: st.DrawFn) -> bytes:
    """A valid message as some program would write it: any order of keys, any escapes, any blanks."""
    message = draw(messages())
    shuffled = {key: message[key] for key in draw(st.permutations(sorted(message)))}
    indent, ascii_only = draw(st.sampled_from([None, 2])), draw(st.booleans())
    return json.dumps(shuffled, indent=indent, ensure_ascii=ascii_only).encode()


def assert_means_what_the_oracle_says(value: bytes) -> None:
    event, expected = decode_event(value), read_by_oracle(value)
    assert type(event) is type(expected)
    if isinstance(event, Order) and isinstance(expected, Order):
        assert event.amount == pytest.approx(expected.amount, rel=1e-12, abs=1e-6)
        event = msgspec.structs.replace(event, amount=expected.amount)
    assert event == expected


@SEEDED
@given(written())
def test_a_valid_message_means_what_the_oracle_says(value: bytes) -> None:
    assert_means_what_the_oracle_says(value)


@pytest.mark.parametrize("path", VALID, ids=lambda path: path.stem)
def test_a_valid_example_means_what_the_oracle_says(path: Path) -> None:
    assert_means_what_the_oracle_says(path.read_bytes())


# Event time.


@SEEDED
@given(
    moments.filter(lambda moment: 1992 < moment.year < 2098),
    st.timedeltas(timedelta(days=-365), timedelta(days=365)),
    st.timedeltas(timedelta(0), timedelta(days=30)),
)
def test_a_wrong_clock_of_the_client_does_not_move_the_event(
    happened: datetime, skew: timedelta, waited: timedelta
) -> None:
    """The client's clock shows the event and the sending, the server's only the receipt."""
    message = {
        "type": "page",
        "messageId": "m",
        "userId": "c",
        "originalTimestamp": (happened + skew).isoformat(),
        "sentAt": (happened + skew + waited).isoformat(),
        "receivedAt": (happened + waited).isoformat(),
        "timestamp": "2000-01-01T00:00:00Z",
    }
    assert decode_event(json.dumps(message).encode()).time_ms == epoch_ms(happened)


@pytest.mark.parametrize("absent", ["originalTimestamp", "sentAt", "receivedAt"])
def test_the_timestamp_counts_when_one_of_the_three_clocks_is_missing(absent: str) -> None:
    message = {
        "type": "page",
        "messageId": "m",
        "userId": "c",
        "originalTimestamp": "2025-01-01T00:00:00Z",
        "sentAt": "2025-01-01T00:00:01Z",
        "receivedAt": "2025-01-01T00:00:02Z",
        "timestamp": "2025-06-01T00:00:00Z",
    }
    value = json.dumps({key: field for key, field in message.items() if key != absent}).encode()
    assert utc(decode_event(value).time_ms).month == 6


@SEEDED
@given(st.integers(EARLIEST_MS, LATEST_MS - 1), st.integers(0, 999))
def test_epoch_ms_is_the_inverse_of_utc_and_cuts_off_what_is_finer(time_ms: int, microseconds: int) -> None:
    assert epoch_ms(utc(time_ms)) == time_ms
    assert epoch_ms(utc(time_ms) + timedelta(microseconds=microseconds)) == time_ms


@SEEDED
@given(st.integers(EARLIEST_MS, LATEST_MS - 1), offsets)
def test_a_time_written_out_comes_back(time_ms: int, offset: timezone) -> None:
    text = utc(time_ms).astimezone(offset).isoformat()
    value = json.dumps({"type": "page", "messageId": "m", "userId": "c", "timestamp": text}).encode()
    assert decode_event(value).time_ms == time_ms


# Amounts.

WAYS: dict[str, tuple[dict[str, Any], float]] = {
    "revenue": ({"revenue": 50.0}, 50.0),
    "subtotal": ({"subtotal": 40.0}, 40.0),
    "total": ({"total": 40.0, "shipping": 6.0, "tax": 4.0}, 30.0),
    "products": ({"products": [{"price": 10.0, "quantity": 2}, {"price": 3.0}]}, 20.0),
}


def amount_of(**properties: object) -> float:
    message = {
        "type": "track",
        "event": "Order Completed",
        "messageId": "m",
        "userId": "c",
        "timestamp": "2025-01-01T00:00:00Z",
        "properties": {"order_id": "o", **properties},
    }
    order = decode_event(json.dumps(message).encode())
    assert isinstance(order, Order)
    return order.amount


@pytest.mark.parametrize(
    "ways", [ways for count in range(1, 5) for ways in combinations(WAYS, count)], ids="+".join
)
def test_the_amount_comes_from_revenue_then_subtotal_then_total_then_products(ways: tuple[str, ...]) -> None:
    fields: dict[str, Any] = {"discount": 3.0}
    for way in reversed(ways):
        fields |= WAYS[way][0]
    assert amount_of(**fields) == WAYS[ways[0]][1]


def test_a_discount_is_taken_off_the_products_only() -> None:
    """The spec has revenue, subtotal and total after discounts; prices are before."""
    saved = {
        way: amount_of(**fields) - amount_of(discount=3.0, **fields) for way, (fields, _) in WAYS.items()
    }
    assert saved == {"revenue": 0.0, "subtotal": 0.0, "total": 0.0, "products": 3.0}


@SEEDED
@given(st.lists(cents, min_size=1, max_size=6), cents)
def test_nothing_left_is_zero_and_not_a_refusal(prices: list[float], tax: float) -> None:
    """Binary fractions do not add up; an order whose parts cancel out is still worth nothing."""
    products = [{"price": price} for price in prices]
    assert amount_of(discount=round(sum(prices), 2), products=products) == 0.0
    shipping = round(sum(prices), 2)
    assert amount_of(total=round(shipping + tax, 2), shipping=shipping, tax=tax) == 0.0


def test_an_amount_is_never_minus_zero() -> None:
    assert str(amount_of(revenue=-0.0)) == "0.0"
    assert str(amount_of(total=0.3, shipping=0.2, tax=0.1)) == "0.0"
