"""From clicks of nobody to clicks of a customer: the stage before the customer machine.

A visitor's clicks wait under the anonymous id. A message that names both that id and a customer releases
them, as clicks of the customer at their own times, and from then on the visitor's clicks are that
customer's at once. Three things go wrong in the world, and each has a bound. An id that everybody sends
("anonymous", "null", zeros) is refused before it holds anything. A device that several customers log in on
is shared: with each of the first few, what waited since the one before goes to who logs in; after more,
nothing is joined any more. A customer that hundreds of devices are identified as is no person (a service
account, a test user), and is not joined beyond so many.

What waits is bounded in clicks, in time and in visitors; who was seen longest ago goes first, ties by id, so
what is kept follows from the states and not from the order in which they were read back. A record that
comes again changes nothing and gives what it gave: a visitor knows by offset what it has applied, and keeps
what its last identification released.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import MutableMapping
from enum import Enum
from heapq import heapify, heappop, heappush
from typing import Annotated, NamedTuple

import msgspec
from msgspec import Meta

from schemas.codec import WireError, check_customer_id
from schemas.events import Click, Funnel
from streams.config import days_ms
from streams.customer.state import digest
from streams.identity.visitor import Visitor, add_click, clicks_of, count_of, new_visitor, without_old


class IdentityConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How much of visitors is held."""

    hold_days: Annotated[
        float, Meta(gt=0.0, le=365.0, description="A click that is nobody's waits for so many days.")
    ] = 7.0
    clicks_per_visitor: Annotated[
        int, Meta(ge=1, le=1_000, description="So many clicks of a visitor wait, the newest.")
    ] = 64
    visitors_per_partition: Annotated[
        int, Meta(ge=1, description="So many visitors of a partition are known, those seen last.")
    ] = 50_000
    customers_per_visitor: Annotated[
        int, Meta(ge=1, le=100, description="A visitor identified as more customers is a shared device.")
    ] = 3
    visitors_per_customer: Annotated[
        int, Meta(ge=1, le=10_000, description="So many visitors are joined to one customer.")
    ] = 20


class Joined(Enum):
    """What became of a record."""

    HELD = "held"
    JOINED = "joined"
    REPEATED = "repeated"
    REFUSED = "refused"
    """The anonymous id is nobody's: a placeholder, or a shared device."""
    FULL = "full"
    """The customer has as many visitors as one may have."""


class Given(NamedTuple):
    """What the stage makes of a record: an outcome, and clicks for the customer machine, in order of time."""

    outcome: Joined
    clicks: tuple[Click, ...] = ()


class IdentityStage:
    """The visitors of one partition.

    Parameters
    ----------
    config
        The bounds.
    inputs
        How many inputs there are.
    states
        What is known already, by anonymous id; the stage changes it.

    Attributes
    ----------
    dirty
        Anonymous ids whose state has changed, or is gone, since `take_dirty`.

    Examples
    --------
    >>> stage = IdentityStage(IdentityConfig(), inputs=2)
    >>> stage.visit("a-7", "m1", 1_000, Funnel.PAGE, source=0, offset=0).outcome
    <Joined.HELD: 'held'>
    >>> stage.identify("a-7", "c-17", 2_000, source=0, offset=1).clicks
    (Click(customer_id='c-17', message_id='...', time_ms=1000, funnel=<Funnel.PAGE: 1>),)
    >>> stage.visit("a-7", "m2", 3_000, Funnel.CART_ADD, source=0, offset=2).outcome
    <Joined.JOINED: 'joined'>
    """

    def __init__(
        self, config: IdentityConfig, inputs: int, states: MutableMapping[str, Visitor] | None = None
    ) -> None:
        self.states: MutableMapping[str, Visitor] = {} if states is None else states
        self.dirty: dict[str, None] = {}
        self._config = config
        self._inputs = inputs
        self._hold_ms = days_ms(config.hold_days)
        # Both follow from the states, so nothing but the states has to survive.
        self._visitors_of: Counter[str] = Counter(c for v in self.states.values() for c in v.customers)
        self._seen: list[tuple[int, str]] = [(v.seen_ms, name) for name, v in self.states.items()]
        heapify(self._seen)

    def visit(
        self, anonymous_id: str, message_id: str, time_ms: int, funnel: Funnel, source: int, offset: int
    ) -> Given:
        """Take in a click without a customer.

        Returns
        -------
        Given
            The click as a customer's, when the visitor was identified before; nothing while it waits.
        """
        visitor = self._visitor(anonymous_id, time_ms)
        if visitor is None:
            return Given(Joined.REFUSED)
        if offset <= visitor.applied[source]:
            return Given(Joined.REPEATED)
        self._touch(anonymous_id, visitor, time_ms, source, offset)
        if visitor.shared:
            return Given(Joined.REFUSED)
        key = digest(message_id)
        if visitor.customers:
            packed = add_click(b"", time_ms, funnel, key, most=1)
            return Given(Joined.JOINED, tuple(clicks_of(packed, visitor.customers[-1])))
        visitor.clicks = add_click(visitor.clicks, time_ms, funnel, key, self._config.clicks_per_visitor)
        return Given(Joined.HELD)

    def identify(self, anonymous_id: str, customer_id: str, time_ms: int, source: int, offset: int) -> Given:
        """Take in a message that names a visitor and a customer, whose id has been checked.

        Returns
        -------
        Given
            The clicks that waited, as the customer's; to be applied before the message itself.
        """
        visitor = self._visitor(anonymous_id, time_ms)
        if visitor is None:
            return Given(Joined.REFUSED)
        if visitor.given_at == [source, offset]:
            return Given(Joined.REPEATED, tuple(clicks_of(visitor.given, customer_id)))
        if offset <= visitor.applied[source]:
            return Given(Joined.REPEATED)
        self._touch(anonymous_id, visitor, time_ms, source, offset)
        if visitor.shared:
            return Given(Joined.REFUSED)
        if visitor.customers and visitor.customers[-1] == customer_id:
            return Given(Joined.JOINED)
        if customer_id not in visitor.customers:
            if len(visitor.customers) >= self._config.customers_per_visitor:
                self._share(visitor)
                return Given(Joined.REFUSED)
            if self._visitors_of[customer_id] >= self._config.visitors_per_customer:
                return Given(Joined.FULL)
            self._visitors_of[customer_id] += 1
        else:
            visitor.customers.remove(customer_id)
        visitor.customers.append(customer_id)
        waited = without_old(visitor.clicks, time_ms - self._hold_ms)
        visitor.given, visitor.given_at, visitor.clicks = waited, [source, offset], b""
        return Given(Joined.JOINED, tuple(clicks_of(waited, customer_id)))

    def expire(self, watermark_ms: int) -> int:
        """Forget visitors that were not seen for as long as a click waits; tell how many."""
        gone = 0
        while self._seen and self._seen[0][0] < watermark_ms - self._hold_ms:
            gone += self._forget_oldest()
        return gone

    def forget(self, customer_id: str) -> None:
        """Erase a customer: their visitors are nobody's again, and hold nothing."""
        for anonymous_id in [name for name, v in self.states.items() if customer_id in v.customers]:
            self._drop(anonymous_id)

    def take_dirty(self) -> list[tuple[str, Visitor | None]]:
        """Give what has changed since the last time, for the changelog; None for a visitor that is gone."""
        changed = [(name, self.states.get(name)) for name in self.dirty]
        self.dirty.clear()
        return changed

    @property
    def held(self) -> int:
        """Clicks that wait."""
        return sum(count_of(visitor.clicks) for visitor in self.states.values())

    def _visitor(self, anonymous_id: str, time_ms: int) -> Visitor | None:
        """Give the visitor of an id, a new one where it is not known; None for an id that is nobody's."""
        visitor = self.states.get(anonymous_id)
        if visitor is not None:
            return visitor
        try:
            check_customer_id(anonymous_id)  # placeholders are the same for both kinds of ids
        except WireError:
            return None
        while len(self.states) >= self._config.visitors_per_partition:
            self._forget_oldest()
        visitor = self.states[anonymous_id] = new_visitor(time_ms, self._inputs)
        heappush(self._seen, (time_ms, anonymous_id))
        self.dirty[anonymous_id] = None
        return visitor

    def _touch(self, anonymous_id: str, visitor: Visitor, time_ms: int, source: int, offset: int) -> None:
        visitor.applied[source] = offset
        visitor.given, visitor.given_at = b"", []
        self.dirty[anonymous_id] = None
        if time_ms > visitor.seen_ms:
            visitor.seen_ms = time_ms  # its entry in the heap fires early, and is put back then

    def _share(self, visitor: Visitor) -> None:
        for customer_id in visitor.customers:
            self._visitors_of[customer_id] -= 1
        visitor.shared, visitor.clicks, visitor.customers = True, b"", []

    def _forget_oldest(self) -> int:
        """Take the earliest entry of the heap: drop its visitor, or put it back where it belongs by now."""
        seen_ms, anonymous_id = heappop(self._seen)
        visitor = self.states.get(anonymous_id)
        if visitor is None:
            return 0
        if visitor.seen_ms > seen_ms:
            heappush(self._seen, (visitor.seen_ms, anonymous_id))
            return 0
        self._drop(anonymous_id)
        return 1

    def _drop(self, anonymous_id: str) -> None:
        visitor = self.states.pop(anonymous_id, None)
        if visitor is not None:
            for customer_id in visitor.customers:
                self._visitors_of[customer_id] -= 1
            self.dirty[anonymous_id] = None
