"""Builders for tests of `streams`: events by day, a machine that remembers what it said, models by hand.

Days count from `T0`. Message and order ids follow from the content, so a test never depends on another.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cache
from random import Random
from typing import Any

import msgspec
import orjson

from samples.shop import ShopConfig, messages
from schemas.btyd import BtydParams
from schemas.codec import ORDER_EVENTS, decode_event
from schemas.decisions import ChurnAlert, CustomerScore, SegmentChange
from schemas.events import (
    Anonymous,
    Cancellation,
    Click,
    Described,
    Event,
    Funnel,
    Order,
    OrderUpdate,
    Passive,
    Refund,
    Trait,
)
from schemas.learning import Example, ModelSnapshot
from schemas.topics import CHURN_ALERTS, CUSTOMER_SCORES, EXAMPLES, SEGMENT_CHANGES
from streams.config import DAY_MS, SECOND_MS, StreamConfig
from streams.customer.decision import Decision, Outcome
from streams.customer.features import FEATURE_NAMES
from streams.customer.machine import CustomerMachine
from streams.customer.state import RECENT_ORDERS
from streams.learning.served import Served

T0 = 1_767_225_600_000
"""2026-01-01, the day 0 of every test."""

MINUTE = 1 / 1440
"""One minute in days."""

Record = tuple[int, int, Event]
"""Number of the input, offset there, event."""


def at(days: float) -> int:
    """Give the event time so many days after `T0`."""
    return T0 + round(days * DAY_MS)


def click(customer: str, days: float, funnel: Funnel = Funnel.PRODUCT, message: str = "") -> Click:
    return Click(customer, message or f"click/{customer}/{at(days)}", at(days), funnel)


def order(
    customer: str,
    days: float,
    amount: float = 20.0,
    name: str = "",
    discount: float = 0.0,
    message: str = "",
    basket: tuple[str, ...] = (),
) -> Order:
    """Order pieces, each of a category."""
    name = name or f"{customer}/{at(days)}"
    message = message or f"order/{name}/{at(days)}"
    categories = tuple(dict.fromkeys(basket))
    return Order(customer, message, at(days), name, amount, discount, len(basket), categories)


def update(customer: str, days: float, name: str, amount: float, discount: float = 0.0) -> OrderUpdate:
    return OrderUpdate(customer, f"update/{name}/{at(days)}", at(days), name, amount, discount)


def refund(customer: str, days: float, name: str, amount: float | None = None) -> Refund:
    return Refund(customer, f"refund/{name}/{at(days)}", at(days), name, amount)


def cancel(customer: str, days: float, name: str) -> Cancellation:
    return Cancellation(customer, f"cancel/{name}/{at(days)}", at(days), name)


def passive(customer: str, days: float) -> Passive:
    return Passive(customer, f"passive/{customer}/{at(days)}", at(days))


def identify(customer: str, days: float, **traits: Trait) -> Described:
    return Described(customer, f"identify/{customer}/{at(days)}/{sorted(traits)}", at(days), traits)


def nobody(days: float) -> Anonymous:
    return Anonymous("", f"nobody/{at(days)}", at(days))


def source_of(event: Event) -> int:
    """Name the input that an event comes on: 1 for orders and what follows from them, 0 for the rest."""
    return int(isinstance(event, Order | Refund | Cancellation))


def recorded(events: Iterable[Event], offsets: list[int] | None = None) -> list[Record]:
    """Give each event its input and its offset there."""
    offsets = [0, 0] if offsets is None else offsets
    records = []
    for event in events:
        source = source_of(event)
        records.append((source, offsets[source], event))
        offsets[source] += 1
    return records


def snapshot_of(
    intercept: float,
    coefficients: dict[str, float] | None = None,
    centre: dict[str, float] | None = None,
    version: str = "by-hand",
    horizon_days: float = 30.0,
) -> ModelSnapshot:
    """Write a model down by hand: coefficients by name, 0 for the rest."""
    coefficients, centre = coefficients or {}, centre or {}
    assert set(coefficients) | set(centre) <= set(FEATURE_NAMES)
    return ModelSnapshot(
        model_version=version,
        n_learned=0,
        event_time=None,
        horizon_days=horizon_days,
        features=list(FEATURE_NAMES),
        centre=[centre.get(name, 0.0) for name in FEATURE_NAMES],
        coefficient=[coefficients.get(name, 0.0) for name in FEATURE_NAMES],
        intercept=intercept,
        metrics={},
    )


def silence_model() -> Served:
    """Serve a risk that grows with silence alone: .5 after 3.5 days, .8 after 8, .9 after 12.5."""
    return Served(snapshot_of(-3.0, {"log_silence": 2.0}))


def rich_model() -> Served:
    """Serve a risk that listens to every family of features, at realistic weights."""
    return Served(
        snapshot_of(
            1.5,
            {
                "log_tenure": -0.1,
                "log_silence": 1.2,
                "log_recency": -0.1,
                "log_silence_in_gaps": 0.5,
                "log_orders": -0.4,
                "log_orders_84d": -0.5,
                "one_timer": 0.3,
                "log_revenue": -0.1,
                "log_order_value": 0.05,
                "refund_share": 0.7,
                "discount_share": -0.2,
                "log_views": -0.3,
                "log_sessions": -0.2,
                "log_cart_adds": -0.1,
                "log_items": -0.1,
                "log_categories": -0.2,
                "log_longest_gap": -0.2,
                "log_visit_trend": -0.3,
                "season_sine": 0.2,
                "season_cosine": -0.3,
                "log_visited_after": -0.1,
                "log_cart_left": -0.4,
            },
            {
                "log_tenure": 3.0,
                "log_silence": 2.0,
                "log_revenue": 3.0,
                "log_views": 0.5,
                "log_longest_gap": 2.0,
            },
            version="rich",
        )
    )


def with_btyd(model: Served) -> Served:
    """Serve a model with the log-odds of BG/NBD besides."""
    btyd = BtydParams(model="bgnbd", r=0.25, alpha=30.0, a=0.8, b=2.4)
    return Served(msgspec.structs.replace(model.snapshot, btyd=btyd, btyd_centre=0.2, btyd_coefficient=0.4))


class Shop:
    """A customer machine that is told events and remembers what it said.

    Parameters
    ----------
    config, model
        As for the machine.
    """

    def __init__(self, config: StreamConfig | None = None, model: Served | None = None) -> None:
        self.config = config or StreamConfig()
        self.machine = CustomerMachine(self.config, model or silence_model())
        self.said: list[Decision] = []
        self._offsets = [0, 0]

    def tell(self, *events: Event) -> list[Outcome]:
        """Apply events, each as the next record of its input."""
        return self.apply(recorded(events, self._offsets))

    def apply(self, records: Iterable[Record]) -> list[Outcome]:
        """Apply records."""
        outcomes = []
        for source, offset, event in records:
            outcomes.append(self.machine.apply(event, source, offset))
            self.said += self.machine.take()
        return outcomes

    def until(self, days: float) -> Shop:
        """Move the watermark to so many days after `T0`."""
        return self.until_ms(at(days))

    def until_ms(self, time_ms: int) -> Shop:
        """Move the watermark to `time_ms` exactly."""
        self.machine.tick(time_ms + int(self.config.time.allowed_lateness_seconds * SECOND_MS) + 1)
        self.said += self.machine.take()
        return self

    def alerts(self, customer: str | None = None) -> list[ChurnAlert]:
        return said_on(CHURN_ALERTS, self.said, customer)

    def changes(self, customer: str | None = None) -> list[SegmentChange]:
        return said_on(SEGMENT_CHANGES, self.said, customer)

    def scores(self, customer: str | None = None) -> list[CustomerScore]:
        return said_on(CUSTOMER_SCORES, self.said, customer)

    def examples(self, customer: str | None = None) -> list[Example]:
        return said_on(EXAMPLES, self.said, customer)


def said_on(topic: str, said: Iterable[Decision], customer: str | None = None) -> list[Any]:
    """Pick the payloads of a topic, withdrawals left out."""
    return [
        decision.payload
        for decision in said
        if decision.topic == topic
        and decision.payload is not None
        and (customer is None or decision.customer_id == customer)
    ]


def without_evidence(decision: Decision) -> Decision:
    """Blank out where the records lay: that depends on how a topic is partitioned."""
    payload = decision.payload
    if payload is None or not hasattr(payload, "evidence"):
        return decision
    return decision._replace(payload=msgspec.structs.replace(payload, evidence=[]))


def spoken(said: Sequence[Decision]) -> bytes:
    """Write decisions down, byte for byte as they would travel."""
    return b"\n".join(
        b"%s %s %s" % (topic.encode(), customer.encode(), msgspec.json.encode(payload))
        for topic, customer, payload in said
    )


def random_events(seed: int, customers: int = 5, days: int = 200, per_customer: int = 60) -> list[Event]:
    """Draw a stream in order of time, no two events at the same moment.

    It has everything: bursts of clicks, orders, orders sent again, updates, refunds, cancellations,
    passive and anonymous messages. What follows an order speaks of one of the customer's newest, the
    ones that a state knows by name, or of one that was called off.
    """
    rng = Random(seed)
    times: set[int] = set()
    drafts: list[tuple[int, str, str]] = []
    kinds = ["clicks", "order", "again", "update", "refund", "cancel", "passive", "nobody"]
    for customer in range(customers):
        for kind in rng.choices(kinds, [30, 24, 3, 6, 8, 6, 4, 3], k=per_customer):
            time_ms = T0 + int(rng.random() * days * DAY_MS)
            for _ in range(rng.randrange(1, 6) if kind == "clicks" else 1):
                if time_ms not in times:
                    times.add(time_ms)
                    drafts.append((time_ms, f"c{customer}", kind))
                time_ms += rng.randrange(1, 50 * 60_000)
    told = _Telling(rng)
    return [told.event(time_ms, customer, kind) for time_ms, customer, kind in sorted(drafts)]


CATEGORIES = [f"category {number}" for number in range(40)]


class _Telling:
    """Which orders each customer's state knows, so that what follows an order finds it."""

    def __init__(self, rng: Random) -> None:
        self._rng = rng
        self._known: dict[str, list[str]] = {}
        self._count: dict[str, int] = {}
        self._cancelled: dict[str, list[str]] = {}

    def event(self, time_ms: int, customer: str, kind: str) -> Event:
        rng, message = self._rng, f"m{time_ms}"
        known = self._known.setdefault(customer, [])
        if kind == "nobody":
            return Anonymous("", message, time_ms)
        if kind == "passive":
            return Passive(customer, message, time_ms)
        if kind == "clicks" or (kind != "order" and not known):
            return Click(customer, message, time_ms, rng.choice(list(Funnel)))
        amount, discount = rng.choice([0.0, 5.5, 20.0, 99.99]), rng.choice([0.0, 0.0, 3.25])
        basket = rng.choices(CATEGORIES, k=rng.randrange(5))
        what = (amount, discount, len(basket), tuple(dict.fromkeys(basket)))
        if kind == "order":
            name = f"{customer}/{time_ms}"
            self._count[customer] = self._count.get(customer, 0) + 1
            known.append(name)
            del known[:-RECENT_ORDERS]
            return Order(customer, message, time_ms, name, *what)
        name = rng.choice(known + self._cancelled.get(customer, []))
        if kind == "again":
            return Order(customer, message, time_ms, name, *what)
        if kind == "update":
            return OrderUpdate(customer, message, time_ms, name, *what)
        if kind == "refund":
            return Refund(customer, message, time_ms, name, rng.choice([None, 2.5, 30.0]))
        return self._cancellation(time_ms, customer, name)

    def _cancellation(self, time_ms: int, customer: str, name: str) -> Event:
        known = self._known[customer]
        if name in known:
            if len(known) <= 2 and self._count[customer] > len(known):
                # The state would not know which order is the newest then, or what it won back.
                return Passive(customer, f"m{time_ms}", time_ms)
            known.remove(name)
            self._count[customer] -= 1
            cancelled = self._cancelled.setdefault(customer, [])
            cancelled.append(name)
            del cancelled[:-RECENT_ORDERS]
        return Cancellation(customer, f"m{time_ms}", time_ms, name)


@cache
def simulated(customers: int, days: int, seed: int = 7, **robustness: float) -> tuple[tuple[int, bytes], ...]:
    """Simulate a shop and give its messages as bytes, each with the number of its input."""
    shop = ShopConfig(customers=customers, days=days, seed=seed, **robustness)  # type: ignore[arg-type]
    return tuple((int(m.get("event") in ORDER_EVENTS), orjson.dumps(m)) for m in messages(shop))


@cache
def simulated_records(customers: int, days: int, seed: int = 7) -> tuple[Record, ...]:
    """Simulate a shop and give its events in order of time, each with its input and offset."""
    return tuple(recorded(decode_event(value) for _, value in simulated(customers, days, seed)))
