"""Messages of both inputs, decoded, merged by event time and applied to one machine, as fast as that goes.

A replay reads some thousand messages ahead, because files hold the two inputs one after the other or mixed;
then it applies what the merge lets go. An input that has none among them is taken to have no more for now.
There is no clock, and by how much is read ahead decides nothing where both inputs speak.

The learner stands outside, in `streams.replay`: this module is compiled, and knows nothing of River.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

from schemas.codec import EARLIEST_MS, MAX_MESSAGE_BYTES, WireError
from schemas.events import Event
from schemas.sources.envelope import Headers
from schemas.sources.registry import decoder_for
from schemas.topics import INPUTS
from streams.clock.merge import Merge
from streams.config import StreamConfig
from streams.customer.decision import OUTCOMES, Decision
from streams.customer.machine import CustomerMachine

LOOKAHEAD = 10_000
"""Records read ahead of an input that has none before it is taken to have no more for now."""

STEP = 100
"""Events between two looks from outside."""


class Headed(NamedTuple):
    """A message of a topic whose format reads headers, as CloudEvents in binary mode does."""

    value: bytes | None
    headers: Headers


Message = bytes | None | Headed
"""What stands on a line, or what a record holds: None for a tombstone."""

Refuse = Callable[[int, bytes | None, WireError], None]


class Playback:
    """One pass over messages.

    Parameters
    ----------
    config
        What the inputs are written in.
    machine
        What applies them.
    say
        Takes what the machine decided with an event, if it decided anything.
    refuse
        Takes each message that breaks the contract: the number of its input, its value, the error.
    max_bytes
        Larger messages are refused unread.

    Attributes
    ----------
    events
        Messages by what became of them: `read`, `dead`, and the names of `Outcome`; counted after each step.
    done
        Events processed so far.
    first_ms, last_ms
        Event times of the first event taken and of the newest one; None before there is one.
    """

    def __init__(
        self,
        config: StreamConfig,
        machine: CustomerMachine,
        say: Callable[[list[Decision]], None],
        refuse: Refuse | None = None,
        max_bytes: int = MAX_MESSAGE_BYTES,
    ) -> None:
        self.machine = machine
        self.events: Counter[str] = Counter()
        self.done = 0
        self.first_ms: int | None = None
        self.last_ms: int | None = None
        self._say = say
        self._refuse = refuse
        self._max_bytes = max_bytes
        joins = config.identity.enabled
        self._decoders = [decoder_for(name, config.sources, joins) for name in INPUTS]
        self._merge: Merge[tuple[int, Event]] = Merge(len(INPUTS))
        self._offsets = [0] * len(INPUTS)

    def steps(self, messages: Iterable[tuple[int, Message]]) -> Iterator[int]:
        """Process messages, each with the number of its input, to the end.

        Yields
        ------
        int
            How many events have been processed, after every `STEP` of them at most.
        """
        merge = self._merge
        arriving = iter(messages)
        while self._read_ahead(arriving):
            for waiting in merge.waiting_for():
                merge.caught_up(waiting)
            while self._apply(STEP):
                yield self.done
        for waiting in range(len(INPUTS)):
            merge.caught_up(waiting)
        while self._apply(STEP):
            yield self.done

    def _read_ahead(self, arriving: Iterator[tuple[int, Message]]) -> bool:
        """Decode messages until enough of them wait in the merge; False when there are no more."""
        merge, offsets = self._merge, self._offsets
        buffered = len(merge)
        read = dead = 0
        more = False
        for source, message in arriving:
            offset = offsets[source]
            offsets[source] = offset + 1
            read += 1
            event = self._decoded(source, message)
            if event is None:
                dead += 1
                continue
            merge.push(source, event.time_ms, (offset, event))
            buffered += 1
            if buffered >= LOOKAHEAD:
                more = True
                break
        if read:
            self.events["read"] += read
        if dead:
            self.events["dead"] += dead
        return more

    def _decoded(self, source: int, message: Message) -> Event | None:
        """Decode a message; None for one that was refused."""
        try:
            if isinstance(message, Headed):
                return self._decoders[source](message.value, self._max_bytes, message.headers)
            return self._decoders[source](message, self._max_bytes)
        except WireError as error:
            if self._refuse is not None:
                self._refuse(source, message.value if isinstance(message, Headed) else message, error)
            return None

    def _apply(self, most: int) -> bool:
        """Apply so many events that the merge lets go; False when it let none go."""
        merge, machine = self._merge, self.machine
        outcomes = [0] * len(OUTCOMES)
        newest_ms = EARLIEST_MS if self.last_ms is None else self.last_ms  # a tombstone's: at no time
        done = 0
        machine.warm_up([event.customer_id for _, event in merge.ahead(most)])
        while done < most:
            source = merge.next_source()
            if source < 0:
                break
            time_ms = merge.next_ms(source)
            offset, event = merge.take(source)
            if time_ms > newest_ms:
                self.last_ms = newest_ms = time_ms
                if self.first_ms is None:
                    self.first_ms = time_ms
            outcomes[machine.take_in(event, source, offset)] += 1
            done += 1
            if machine.has_decided:
                self._say(machine.take())
        self.done += done
        for place, number in enumerate(outcomes):
            if number:
                self.events[OUTCOMES[place].value] += number
        return done > 0
