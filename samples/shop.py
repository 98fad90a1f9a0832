"""A simulated web shop whose truth is known. Simulated: no customer, product or order in it is real.

Real shops do not say when a customer left, so nothing measured on them shows how early an alert comes.
Here a customer's spells and hazard are drawn first (`samples.lives`) and the messages follow from them.
While a spell lasts, visits come at the customer's own rate times the season (`samples.seasons`); before
its end the customer fades, which is all that a model can see of it: visits become rarer and shorter,
falling in a straight line to `fade_floor` over `fade_days`. A visit is composed when it begins
(`samples.visits`) and its messages wait in a heap until time reaches them, so messages of all customers
come in event-time order. Memory holds one next visit for a customer who will come again, the open
visits, and the refunds and reviews of the last three weeks; it does not grow with the days.

Chance comes from Python's `random.Random`, seeded per purpose: the same configuration gives the same
messages on the same Python version, and the robustness settings change nothing but what they name.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from heapq import heappop, heappush
from itertools import count
from random import Random
from typing import Any

from samples.after_sale import after_sale
from samples.baskets import Catalogue
from samples.lives import Life, lives
from samples.seasons import DAY_MS, Seasons
from samples.shop_config import ShopConfig
from samples.visits import Draft, Visitor, visit

__all__ = ["ShopConfig", "messages", "truth"]

_SITE = "https://shop.example"
_BROWSER = {"name": "analytics.js", "version": "2.11.1"}
_SERVER_CONTEXT = {"library": {"name": "analytics-python", "version": "2.2.3"}}
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MINUTES = [f"{hour:02d}:{minute:02d}" for hour in range(24) for minute in range(60)]

_Timed = tuple[int, dict[str, Any]]


def messages(config: ShopConfig) -> Iterator[dict[str, Any]]:
    """Simulate the shop and give its messages in the order in which they arrive.

    Parameters
    ----------
    config
        The shop. With `disorder_ms` 0 the messages are in event-time order; otherwise none comes
        more than that many milliseconds of event time after a later one.

    Yields
    ------
    dict
        A page or track message of the Segment spec. Take it as read-only: messages share parts.

    Examples
    --------
    >>> shop = ShopConfig(customers=20, days=30)
    >>> first = next(messages(shop))
    >>> first["messageId"], first["type"], first["userId"]
    ('shop-1', 'page', 'c0000001')
    >>> sum(message.get("event") == "Order Completed" for message in messages(shop)) >= 20
    True
    """
    timeline = _Shop(config).timeline()
    if config.duplicate_rate or config.disorder_ms:
        timeline = _delivered(timeline, config)
    for _, message in timeline:
        yield message


def truth(config: ShopConfig) -> Iterator[dict[str, Any]]:
    """Tell what the messages of the same configuration do not: who left when, and how likely it was.

    Parameters
    ----------
    config
        The shop.

    Yields
    ------
    dict
        Per customer, in the order of their arrival: `customer_id`; `hazard`, the probability to leave
        within a day while active; `order_rate` and `visit_rate` per ordinary day while active and not
        yet fading; `spells`, each with `start_ms` (acquired or came back) and `end_ms` (left silently;
        None when still active at the end of the window), epoch milliseconds. Who arrives in the
        last hour of the window may not have finished their first order in it.

    Examples
    --------
    >>> shop = ShopConfig(customers=20, days=30)
    >>> first = next(truth(shop))
    >>> first["customer_id"], 0 < first["hazard"] < 1, first["spells"][0]["start_ms"] > shop.start_ms
    ('c0000001', True, True)
    """
    seasons = _seasons(config)
    for life in lives(config, seasons):
        yield {
            "customer_id": life.customer_id,
            "hazard": life.hazard,
            "order_rate": life.order_rate,
            "visit_rate": life.visit_rate,
            "spells": [
                {
                    "start_ms": spell.start_ms,
                    "end_ms": spell.end_ms if spell.end_ms < seasons.end_ms else None,
                }
                for spell in life.spells
            ],
        }


def _seasons(config: ShopConfig) -> Seasons:
    return Seasons(config.start_ms, config.days, config.december_peak)


class _Customer:
    """A customer on the way through their spells."""

    __slots__ = ("last_ms", "life", "spell")

    def __init__(self, life: Life) -> None:
        self.life = life
        self.spell = 0  # index of the one in which the next visit falls
        self.last_ms = 0  # of the last message


class _Shop:
    """The state of one simulation: who comes next, and what is composed but not yet said."""

    def __init__(self, config: ShopConfig) -> None:
        self._config = config
        self._seasons = _seasons(config)
        self._catalogue = Catalogue(config.seed, config.products)
        self._rng = Random(f"{config.seed}/visits")
        # Apart, so that hiding who clicked does not change who clicks.
        self._hiding = Random(f"{config.seed}/anonymous")
        self._arrivals = lives(config, self._seasons)
        self._serial = count()  # breaks ties of time, so that no heap compares further
        self._visit_numbers = count(1)
        self._agenda: list[tuple[int, int, _Customer]] = []
        self._waiting: list[tuple[int, int, _Customer, bool, Draft]] = []
        self._contexts: dict[str, dict[str, Any]] = {"": _SERVER_CONTEXT}

    def timeline(self) -> Iterator[_Timed]:
        """Give every message with its event time, in order of time."""
        waiting = self._waiting
        numbers = count(1)
        self._admit_next()
        while True:
            # Nothing composed later can be earlier than the next visit on the agenda.
            until_ms = self._agenda[0][0] if self._agenda else self._seasons.end_ms
            while waiting and waiting[0][0] < until_ms:
                at_ms, _, customer, hidden, draft = heappop(waiting)
                if at_ms == customer.last_ms:  # two that follow orders: they stay on odd milliseconds
                    heappush(waiting, (at_ms + 2, next(self._serial), customer, hidden, draft))
                    continue
                customer.last_ms = at_ms
                yield at_ms, self._message(f"shop-{next(numbers)}", at_ms, customer.life, hidden, draft)
            if not self._agenda:
                return
            self._begin_visit()

    def _begin_visit(self) -> None:
        start_ms, _, customer = heappop(self._agenda)
        opening = start_ms == customer.life.spells[customer.spell].start_ms
        if opening and customer.spell == 0:
            self._admit_next()
        self._plan_visit(customer, self._compose_visit(customer, start_ms, opening))

    def _admit_next(self) -> None:
        """Put the next customer to arrive on the agenda; they arrive in order, so one is enough."""
        life = next(self._arrivals, None)
        if life is not None:
            self._schedule(life.spells[0].start_ms, _Customer(life))

    def _schedule(self, at_ms: int, customer: _Customer) -> None:
        heappush(self._agenda, (at_ms, next(self._serial), customer))

    def _engagement(self, at_ms: int, leaves_ms: int) -> float:
        fade_ms = self._config.fade_days * DAY_MS
        if leaves_ms - at_ms >= fade_ms:
            return 1.0
        floor = self._config.fade_floor
        return floor + (1.0 - floor) * (leaves_ms - at_ms) / fade_ms

    def _compose_visit(self, customer: _Customer, start_ms: int, opening: bool) -> int:
        """Draft the messages of a visit and of what follows from it; return when the visit ends."""
        life, config, rng = customer.life, self._config, self._rng
        leaves_ms = life.spells[customer.spell].end_ms
        visitor = Visitor(
            taste=life.taste,
            engagement=self._engagement(start_ms, leaves_ms),
            orders=rng.random() * life.visits_per_order < 1.0 or opening,
            coupon_share=config.coupon_share,
        )
        even_ms = start_ms + (start_ms & 1)
        drafts, placed = visit(rng, self._catalogue, visitor, next(self._visit_numbers), even_ms)
        hidden = self._hiding.random() < config.anonymous_share
        for draft in drafts:
            if draft.at_ms >= leaves_ms:  # who leaves in the middle of a visit does not finish it
                break
            heappush(self._waiting, (draft.at_ms, next(self._serial), customer, hidden, draft))
        if placed is not None and placed.at_ms < leaves_ms:
            for draft in after_sale(rng, config, placed, leaves_ms):
                heappush(self._waiting, (draft.at_ms, next(self._serial), customer, False, draft))
        return drafts[-1].at_ms

    def _plan_visit(self, customer: _Customer, after_ms: int) -> None:
        """Find the customer's next visit, in this spell or at the start of the next; there may be none."""
        life, seasons, rng = customer.life, self._seasons, self._rng
        leaves_ms = life.spells[customer.spell].end_ms
        at_ms = after_ms
        while True:
            at_ms = 1 + seasons.clock_ms(seasons.shop_days(at_ms) + rng.expovariate(life.visit_rate))
            if at_ms >= min(leaves_ms, seasons.end_ms):
                break
            if rng.random() < self._engagement(at_ms, leaves_ms):
                return self._schedule(at_ms, customer)
        if customer.spell + 1 < len(life.spells):
            customer.spell += 1
            self._schedule(life.spells[customer.spell].start_ms, customer)
        return None

    def _message(self, message_id: str, at_ms: int, life: Life, hidden: bool, draft: Draft) -> dict[str, Any]:
        message = {
            "messageId": message_id,
            "type": "track",
            "event": draft.event,
            "userId": life.customer_id,
            "anonymousId": life.anonymous_id,
            "timestamp": _iso(at_ms),
            "context": self._context(draft.path),
            "properties": draft.properties,
        }
        if not draft.event:  # pages have a name instead
            del message["event"]
            message["type"] = "page"
            message["name"] = draft.properties["title"]
        if hidden and draft.event != "Order Completed":  # guests too say who they are to order
            del message["userId"]
        return message

    def _context(self, path: str) -> dict[str, Any]:
        context = self._contexts.get(path)
        if context is None:
            context = {"page": {"path": path, "url": _SITE + path}, "library": _BROWSER}
            self._contexts[path] = context
        return context


def _iso(at_ms: int) -> str:
    day, of_day_ms = divmod(at_ms, DAY_MS)
    minute, of_minute_ms = divmod(of_day_ms, 60_000)
    return f"{_iso_day(day)}T{_MINUTES[minute]}:{of_minute_ms // 1000:02d}.{of_minute_ms % 1000:03d}Z"


@lru_cache(maxsize=64)  # messages come in order of time, so a few days are enough
def _iso_day(day: int) -> str:
    return f"{_EPOCH + timedelta(days=day):%Y-%m-%d}"


def _delivered(timeline: Iterator[_Timed], config: ShopConfig) -> Iterator[_Timed]:
    """Deliver some messages twice and each up to `disorder_ms` late, in order of arrival."""
    rng = Random(f"{config.seed}/delivery")
    on_the_way: list[tuple[int, int, _Timed]] = []
    serial = count()

    def send(timed: _Timed) -> None:
        arrives_ms = timed[0] + int(rng.random() * (config.disorder_ms + 1))
        heappush(on_the_way, (arrives_ms, next(serial), timed))

    for timed in timeline:
        while on_the_way and on_the_way[0][0] < timed[0]:
            yield heappop(on_the_way)[2]
        send(timed)
        if rng.random() < config.duplicate_rate:
            send((timed[0], dict(timed[1])))
    while on_the_way:
        yield heappop(on_the_way)[2]
