"""From clicks of nobody to clicks of a customer: the stage before the customer machine.

A visitor's clicks wait under the anonymous id. A message that names both that id and a customer releases
them, as clicks of the customer at their own times, and from then on the visitor's clicks are that
customer's at once. Three things go wrong in the world, and each has a bound. An id that everybody sends
("anonymous", "null", zeros) is refused before it holds anything. A device that several customers log in on
is shared: with each of the first few, what waited since the one before goes to who logs in; after more,
nothing is joined any more. A customer that hundreds of devices are identified as is no person (a service
account, a test user), and is not joined beyond so many.

What waits is bounded in clicks, in time and in visitors; who was seen longest ago goes first, ties by id, so
what is kept follows from the states and not from the order in which they were read back. Most messages of a
customer name a visitor who is known to be theirs. They change nothing, so nothing is written for them, but
for the time at which the visitor was seen, and that only every eighth of the time that a click may wait.

A record that comes again changes nothing. A visitor who changes takes down how far each input had been read
by then, and leaves out what lies before that. A click that is given at once leaves no mark here, and is given
again; the customer knows by offset what has been applied. That is also why a visitor must never be durable
before the customers of the same records are.
"""

from __future__ import annotations

from collections.abc import MutableMapping
from heapq import heapify, heappop, heappush
from typing import Final

from schemas.events import Funnel
from schemas.identity import is_nobodys
from streams.config import IdentityConfig, days_ms
from streams.customer.packing import digest
from streams.identity.visitor import (
    Given,
    Joined,
    Visitor,
    add_click,
    clicks_of,
    count_of,
    new_visitor,
    without_old,
)

UNKNOWN: Final = 0
KNOWN: Final = 1
SEEN_AGAIN: Final = 2
"""What `IdentityStage.known` answers."""


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
    dropped
        Clicks that waited in vain so far: too long, or beyond a bound.

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
        self.dropped = 0
        self._config = config
        self._read = [-1] * inputs  # newest offset seen, for each input
        self._hold_ms = days_ms(config.hold_days)
        self._grain_ms = self._hold_ms // 8
        # Both follow from the states, so nothing but the states has to survive.
        self._visitors_of: dict[str, int] = {}
        for visitor in self.states.values():
            for customer_id in visitor.customers:
                self._visitors_of[customer_id] = self._visitors_of.get(customer_id, 0) + 1
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
        self._read[source] = offset
        visitor = self._visitor(anonymous_id, time_ms)
        if visitor is None:
            return Given(Joined.BLOCKED)
        if offset <= visitor.applied[source]:
            return Given(Joined.REPEATED)
        self._see(anonymous_id, visitor, time_ms, self._grain_ms)
        if visitor.shared:
            return Given(Joined.SHARED)
        key = digest(message_id)
        if visitor.customers:
            packed = add_click(b"", time_ms, funnel, key, most=1)
            return Given(Joined.JOINED, tuple(clicks_of(packed, visitor.customers[-1])))
        before = visitor.clicks
        visitor.clicks = add_click(before, time_ms, funnel, key, self._config.clicks_per_visitor)
        self.dropped += len(before) > 0 and len(visitor.clicks) == len(before) and visitor.clicks != before
        self._mark(anonymous_id, visitor, time_ms)
        return Given(Joined.HELD)

    def known(self, anonymous_id: str, customer_id: str, time_ms: int, source: int, offset: int) -> int:
        """Tell whether a visitor is that customer's already: then a message that says so says nothing new.

        Returns
        -------
        int
            `UNKNOWN`, `KNOWN`, or `SEEN_AGAIN` where it is known and was not heard of for a while: whoever
            else keeps the visitor should hear of it, or it is forgotten there.
        """
        self._read[source] = offset
        visitor = self.states.get(anonymous_id)
        if visitor is None or not visitor.customers or visitor.customers[-1] != customer_id:
            return UNKNOWN
        if time_ms - visitor.seen_ms < self._grain_ms:
            return KNOWN
        self._see(anonymous_id, visitor, time_ms, self._grain_ms)
        return SEEN_AGAIN

    def identify(self, anonymous_id: str, customer_id: str, time_ms: int, source: int, offset: int) -> Given:
        """Take in a message that names a visitor and a customer, whose id has been checked.

        Returns
        -------
        Given
            The clicks that waited, as the customer's; to be applied before the message itself.
        """
        self._read[source] = offset
        visitor = self._visitor(anonymous_id, time_ms)
        if visitor is None:
            return Given(Joined.BLOCKED)
        if offset <= visitor.applied[source]:
            return Given(Joined.REPEATED)
        self._see(anonymous_id, visitor, time_ms, self._grain_ms)
        if visitor.shared:
            return Given(Joined.SHARED)
        if visitor.customers and visitor.customers[-1] == customer_id:
            return Given(Joined.JOINED)
        known = self._visitors_of.get(customer_id, 0)
        if customer_id in visitor.customers:
            visitor.customers.remove(customer_id)
        elif len(visitor.customers) >= self._config.customers_per_visitor:
            self._share(visitor)
            self._mark(anonymous_id, visitor, time_ms)
            return Given(Joined.SHARED)
        elif known >= self._config.visitors_per_customer:
            # Not this customer's, and whose it was has signed out.
            if visitor.customers:
                self._leave(visitor)
                visitor.customers = []
                self._mark(anonymous_id, visitor, time_ms)
            return Given(Joined.FULL)
        else:
            self._visitors_of[customer_id] = known + 1
        visitor.customers.append(customer_id)
        waited = without_old(visitor.clicks, time_ms - self._hold_ms)
        self.dropped += count_of(visitor.clicks) - count_of(waited)
        visitor.clicks = b""
        self._mark(anonymous_id, visitor, time_ms)
        return Given(Joined.IDENTIFIED, tuple(clicks_of(waited, customer_id)))

    def expire(self, watermark_ms: int) -> int:
        """Forget visitors that were not seen for longer than a click waits; tell how many."""
        gone = 0
        oldest_ms = watermark_ms - self._hold_ms - self._grain_ms
        while self._seen and self._seen[0][0] < oldest_ms:
            gone += self._forget_oldest()
        return gone

    def forget(self, customer_id: str) -> None:
        """Erase a customer: their visitors are nobody's again, and hold nothing."""
        if customer_id in self._visitors_of:
            for anonymous_id in [name for name, v in self.states.items() if customer_id in v.customers]:
                self._drop(anonymous_id)

    def take_dirty(self) -> list[tuple[str, Visitor | None]]:
        """Give what has changed since the last time, for the changelog; None for a visitor that is gone."""
        changed = [(name, self.states.get(name)) for name in self.dirty]
        self.dirty = {}
        return changed

    @property
    def held(self) -> int:
        """Clicks that wait."""
        return sum([count_of(visitor.clicks) for visitor in self.states.values()])

    def _visitor(self, anonymous_id: str, time_ms: int) -> Visitor | None:
        """Give the visitor of an id, a new one where it is not known; None for an id that is nobody's."""
        visitor = self.states.get(anonymous_id)
        if visitor is not None:
            return visitor
        if is_nobodys(anonymous_id):
            return None
        while len(self.states) >= self._config.visitors_per_partition:
            self._forget_oldest()
        visitor = self.states[anonymous_id] = new_visitor(time_ms, len(self._read))
        heappush(self._seen, (time_ms, anonymous_id))
        self.dirty[anonymous_id] = None
        return visitor

    def _see(self, anonymous_id: str, visitor: Visitor, time_ms: int, grain_ms: int) -> None:
        """Note when a visitor was seen last; its entry in the heap fires early, and is put back then."""
        if time_ms > visitor.seen_ms and time_ms - visitor.seen_ms >= grain_ms:
            visitor.seen_ms = time_ms
            self.dirty[anonymous_id] = None

    def _mark(self, anonymous_id: str, visitor: Visitor, time_ms: int) -> None:
        """Note that the record read last has changed the visitor."""
        for source, offset in enumerate(self._read):
            if offset > visitor.applied[source]:
                visitor.applied[source] = offset
        self.dirty[anonymous_id] = None
        self._see(anonymous_id, visitor, time_ms, 0)

    def _share(self, visitor: Visitor) -> None:
        self._leave(visitor)
        self.dropped += count_of(visitor.clicks)
        visitor.shared, visitor.clicks, visitor.customers = True, b"", []

    def _leave(self, visitor: Visitor) -> None:
        for customer_id in visitor.customers:
            left = self._visitors_of[customer_id] - 1
            if left:
                self._visitors_of[customer_id] = left
            else:
                del self._visitors_of[customer_id]

    def _forget_oldest(self) -> int:
        """Take the earliest entry of the heap: drop its visitor, or put it back where it belongs by now."""
        seen_ms, anonymous_id = heappop(self._seen)
        visitor = self.states.get(anonymous_id)
        if visitor is None:
            return 0
        if visitor.seen_ms > seen_ms:
            heappush(self._seen, (visitor.seen_ms, anonymous_id))
            return 0
        self.dropped += count_of(visitor.clicks)
        self._drop(anonymous_id)
        return 1

    def _drop(self, anonymous_id: str) -> None:
        visitor = self.states.pop(anonymous_id, None)
        if visitor is not None:
            self._leave(visitor)
            self.dirty[anonymous_id] = None
