"""The records of one partition: decoded as they arrive, merged by event time, applied one by one.

A record that breaks the contract keeps its place in the order of its input, so that "everything up to this
offset is done" has one meaning. Records are applied some at a time, and whoever asked gets the turn back
early in two cases: after a refused record, which is his to deal with, and before one that time has to come
up to first, when a long gap makes more due than a turn may take. How records were batched and how long turns
are changes nothing that is decided.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from schemas.codec import WireError
from schemas.events import Event
from schemas.sources.config import SourceConfig
from schemas.sources.registry import decoder_for, reads_headers
from schemas.topics import INPUTS
from streams.clock.merge import Merge
from streams.customer.decision import OUTCOMES, Outcome
from streams.customer.machine import CustomerMachine


class Record(Protocol):
    """A record as a consumer hands it over.

    Attributes
    ----------
    offset
        Its place in its input.
    timestamp
        The broker's or the sender's, in epoch milliseconds; negative for none.
    value
        The message.
    headers
        Read only where the input's format needs them.
    """

    offset: int
    timestamp: int
    value: bytes | None
    headers: Sequence[tuple[str, bytes]]


class Refused(NamedTuple):
    """A record that breaks the contract, and how."""

    source: int
    record: Record
    error: WireError


class Intake:
    """Takes a partition's records in.

    Parameters
    ----------
    machine
        What applies them.
    offsets
        For each input, the offset to begin with; what comes before it is passed over.
    max_bytes
        Larger messages are refused unread.
    max_ahead_ms
        An event time further ahead of the record's timestamp, or of the clock, is refused.
    sources
        What the inputs are written in.
    with_visitors
        Whether the machine takes visitors (`streams.identity`), so that messages keep who they are.

    Attributes
    ----------
    read, done
        For each input, the next offset that has not arrived, and the next of which nothing has been done.
    taken
        Records applied or refused so far.

    Examples
    --------
    >>> from types import SimpleNamespace
    >>> from streams.config import StreamConfig
    >>> from streams.learning.served import Served, untrained
    >>> config = StreamConfig()
    >>> intake = Intake(CustomerMachine(config, Served(untrained(config))), [0, 0], 1000, 0)
    >>> intake.arrive(0, [SimpleNamespace(offset=0, timestamp=-1, value=b"{")], now_ms=0)
    >>> intake.merge.caught_up(1)
    >>> intake.run(most=10, most_timers=10)
    True
    >>> intake.take_refused().error.reason, intake.done
    ('not_json', [1, 0])
    """

    def __init__(
        self,
        machine: CustomerMachine,
        offsets: list[int],
        max_bytes: int,
        max_ahead_ms: int,
        sources: SourceConfig | None = None,
        with_visitors: bool = False,
    ) -> None:
        sources = sources or SourceConfig()
        self.machine = machine
        self.read = list(offsets)
        self.done = list(offsets)
        self.taken = 0
        self.merge: Merge[tuple[int, Event | Refused]] = Merge(len(offsets))
        self._max_bytes = max_bytes
        self._decoders = [decoder_for(name, sources, with_visitors) for name in INPUTS]
        self._with_headers = [reads_headers(name, sources) for name in INPUTS]
        self._max_ahead_ms = max_ahead_ms
        self._held: tuple[int, Event] | None = None  # taken from the merge, before its time has come
        self._held_source = 0
        self._refused: Refused | None = None
        self._warm_until = 0
        self._outcomes = [[0] * len(OUTCOMES) for _ in offsets]

    def arrive(self, source: int, records: list[Record], now_ms: int) -> Event | None:
        """Decode records of an input and keep them until it is their turn.

        Parameters
        ----------
        now_ms
            The clock: a record's own timestamp may be the sender's, so event times are held against both.

        Returns
        -------
        Event or None
            The last one that arrived, for whoever looks at a sample.
        """
        latest_allowed_ms = now_ms + self._max_ahead_ms
        merge, max_bytes, max_ahead_ms = self.merge, self._max_bytes, self._max_ahead_ms
        next_offset = self.read[source]
        decode, with_headers = self._decoders[source], self._with_headers[source]
        latest_ms = 0
        last: Event | None = None
        for record in records:
            offset = record.offset
            if offset < next_offset:
                continue
            next_offset = offset + 1
            try:
                if with_headers:
                    event = decode(record.value, max_bytes, record.headers)
                else:
                    event = decode(record.value, max_bytes)
                time_ms = event.time_ms
                timestamp_ms = record.timestamp
                if 0 <= timestamp_ms < time_ms - max_ahead_ms:
                    raise WireError("future_time", "ahead of the broker's timestamp")
                if time_ms > latest_allowed_ms:
                    raise WireError("future_time", "ahead of the clock")
            except WireError as error:
                # It goes through the merge too, at the time of the one before it.
                merge.push(source, latest_ms, (offset, Refused(source, record, error)))
            else:
                latest_ms = time_ms
                merge.push(source, time_ms, (offset, event))
                last = event
        self.read[source] = next_offset
        return last

    def run(self, most: int, most_timers: int) -> bool:
        """Apply what the merge lets go.

        Parameters
        ----------
        most
            Records to take at most.
        most_timers
            Timers to let fire at most before a record, when a gap in time makes many due.

        Returns
        -------
        bool
            Whether it ended before the records did.
        """
        merge, machine, done = self.merge, self.machine, self.done
        if most > 1 and self.taken >= self._warm_until:  # not anew where the last run ended early
            ahead = merge.ahead(most)
            self._warm_until = self.taken + len(ahead)
            machine.warm_up([event.customer_id for _, event in ahead if not isinstance(event, Refused)])
        for _ in range(most):
            held = self._held
            if held is not None:
                self._held = None
                source, offset, event = self._held_source, held[0], held[1]
                time_ms = event.time_ms
            else:
                source = merge.next_source()
                if source < 0:
                    return False
                time_ms = merge.next_ms(source)
                offset, arrived = merge.take(source)
                if isinstance(arrived, Refused):
                    self._refused = arrived
                    done[source] = offset + 1
                    self.taken += 1
                    return True
                event = arrived
            if machine.may_take_long(time_ms) and not machine.lead(time_ms, most_timers):
                self._held, self._held_source = (offset, event), source
                return True
            self._outcomes[source][machine.take_in(event, source, offset)] += 1
            done[source] = offset + 1
            self.taken += 1
        return True

    def take_refused(self) -> Refused | None:
        """Take the refused record that ended the last run, if one did."""
        refused, self._refused = self._refused, None
        return refused

    def take_outcomes(self) -> list[tuple[int, Outcome, int]]:
        """Take what became of records since the last time: input, outcome, how many."""
        found = []
        for source, numbers in enumerate(self._outcomes):
            for place, number in enumerate(numbers):
                if number:
                    found.append((source, OUTCOMES[place], number))
                    numbers[place] = 0
        return found

    @property
    def is_held(self) -> bool:
        """Whether time has yet to come up to the next record."""
        return self._held is not None

    @property
    def is_busy(self) -> bool:
        """Whether records are waiting, in the merge or for their time to come."""
        return self._held is not None or len(self.merge) > 0
