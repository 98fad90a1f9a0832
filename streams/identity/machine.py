"""The customer machine with visitors: what waits for a customer is applied when the customer is known.

It is the customer machine, and takes three more kinds of events. A visitor's click moves time, as any message
does, and waits, or is applied at once where the visitor is somebody's by now. A message that names both
releases what waited: those clicks are applied at their own times, all of them at the offset of the message,
and then the message itself, which marks that offset as done. So a record that comes again finds the customer
ahead of it and releases nothing a second time.

A visitor and the customer may lie on different partitions. Then the machine that reads the identification
has a message for the visitor's partition, and that one has the clicks for the customer's. They come there as
records like any others, late ones, which a state takes at their own times. A machine alone, as in a replay,
has everybody at home.
"""

from __future__ import annotations

from collections.abc import Callable, MutableMapping
from typing import Final

from schemas.events import Click, Event, Identified, Link, Visit
from schemas.identity import click_message, link_message
from schemas.topics import INPUTS
from streams.clock.watermark import NEVER_MS
from streams.config import StreamConfig
from streams.customer.machine import CustomerMachine
from streams.customer.state import CustomerState
from streams.identity.stage import SEEN_AGAIN, UNKNOWN, IdentityStage
from streams.identity.visitor import Given, Joined, Visitor
from streams.learning.served import Served

_ANONYMOUS: Final = 4  # in `OUTCOMES`


class JoiningMachine(CustomerMachine):
    """All customers of one partition, and the visitors who may turn out to be customers.

    Parameters
    ----------
    config, model, partition, inputs, watermark_ms, states
        As for `CustomerMachine`.
    visitors
        Those known already, by anonymous id.
    home
        Gives the partition of a key; None where all are here.

    Attributes
    ----------
    outcomes
        Visitors' records by what became of them, and clicks `given` to customers; for whoever counts them.

    Examples
    --------
    >>> from streams.learning.served import untrained
    >>> config = StreamConfig()
    >>> machine = JoiningMachine(config, Served(untrained(config)))
    >>> machine.apply(Visit("", "m1", 1_767_225_600_000, "a-7"), source=0, offset=0)
    <Outcome.ANONYMOUS: 'anonymous'>
    >>> page = Click("c1", "m2", 1_767_225_700_000)
    >>> machine.apply(Identified("c1", "m2", page.time_ms, "a-7", page), source=0, offset=1)
    <Outcome.APPLIED: 'applied'>
    >>> machine.states["c1"].first_ms, machine.states["c1"].sessions
    (1767225600000, 1.0)
    """

    def __init__(
        self,
        config: StreamConfig,
        model: Served,
        partition: int = 0,
        inputs: tuple[str, ...] = INPUTS,
        watermark_ms: int = NEVER_MS,
        states: MutableMapping[str, CustomerState] | None = None,
        visitors: MutableMapping[str, Visitor] | None = None,
        home: Callable[[str], int] | None = None,
    ) -> None:
        super().__init__(config, model, partition, inputs, watermark_ms, states)
        self.stage = IdentityStage(config.identity, len(inputs), visitors)
        self.outcomes: dict[str, int] = {}
        self._home = home
        self._outgoing: list[tuple[str, bytes]] = []

    def take_outgoing(self) -> list[tuple[str, bytes]]:
        """Take what is to be put on the clickstream: keys and messages, in order."""
        outgoing, self._outgoing = self._outgoing, []
        return outgoing

    def erase(self, customer_id: str) -> None:
        """Forget a customer, and the visitors who were that customer."""
        super().erase(customer_id)
        self.stage.forget(customer_id)

    def take_in(self, event: Event, source: int, offset: int) -> int:
        """Take in one record like `apply`; the answer is the outcome's place in `OUTCOMES`."""
        kind = type(event)
        if kind is Identified:
            assert isinstance(event, Identified)
            return self._identified(event, source, offset)
        if kind is Visit:
            assert isinstance(event, Visit)
            return self._visit(event, source, offset)
        if kind is Link:
            assert isinstance(event, Link)
            return self._link(event, source, offset)
        return super().take_in(event, source, offset)

    def _identified(self, event: Identified, source: int, offset: int) -> int:
        visitor, customer_id = event.anonymous_id, event.customer_id
        known = self.stage.known(visitor, customer_id, event.time_ms, source, offset)
        if known == SEEN_AGAIN and not self._is_here(visitor):
            self._outgoing.append((visitor, link_message(event)))  # or the visitor is forgotten there
        if known == UNKNOWN:
            self._expire()
            if not self._is_here(customer_id):  # nor can anybody say where its clicks should go
                self._count(Joined.MISPLACED.value, 1)
            else:
                given = self._counted(
                    self.stage.identify(visitor, customer_id, event.time_ms, source, offset)
                )
                if given.outcome is Joined.IDENTIFIED and not self._is_here(visitor):
                    self._outgoing.append((visitor, link_message(event)))
                self._give(given.clicks, source, offset)
        return super().take_in(event.event, source, offset)

    def _visit(self, event: Visit, source: int, offset: int) -> int:
        self._expire()
        given = self._counted(
            self.stage.visit(
                event.anonymous_id, event.message_id, event.time_ms, event.funnel, source, offset
            )
        )
        if given.clicks and self._is_here(given.clicks[0].customer_id):
            return super().take_in(given.clicks[0], source, offset)
        self._send(given.clicks)
        return self._pass(event.time_ms)

    def _link(self, event: Link, source: int, offset: int) -> int:
        self._expire()
        given = self._counted(
            self.stage.identify(event.anonymous_id, event.linked_to, event.time_ms, source, offset)
        )
        if self._is_here(event.linked_to):
            self._give(given.clicks, source, offset)
        else:
            self._send(given.clicks)
        return self._pass(event.time_ms)

    def _give(self, clicks: tuple[Click, ...], source: int, offset: int) -> None:
        """Apply a customer's clicks, all at one offset, and leave it to the record itself to mark that."""
        if not clicks:
            return
        customer_id = clicks[0].customer_id
        state = self.states.get(customer_id)
        before = -1 if state is None else state.applied[source]
        if offset <= before:
            return  # the customer was written, the visitor was not: they are applied already
        for click in clicks:
            super().take_in(click, source, offset)
            state = self.states.get(customer_id)
            if state is not None:
                state.applied[source] = before

    def _send(self, clicks: tuple[Click, ...]) -> None:
        for click in clicks:
            self._outgoing.append((click.customer_id, click_message(click)))

    def _pass(self, time_ms: int) -> int:
        """Let time come up to a record that is nobody's here."""
        if time_ms > self.watermark.at_ms:
            self._advance(time_ms)
        return _ANONYMOUS

    def _expire(self) -> None:
        self.stage.expire(self.watermark.at_ms)

    def _is_here(self, key: str) -> bool:
        return self._home is None or self._home(key) == self.partition

    def _counted(self, given: Given) -> Given:
        self._count(given.outcome.value, 1)
        if given.clicks:
            self._count("given", len(given.clicks))
        return given

    def _count(self, outcome: str, number: int) -> None:
        self.outcomes[outcome] = self.outcomes.get(outcome, 0) + number
