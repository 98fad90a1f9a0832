"""A topic or file, read again by the same machines that run live.

Replay is the whole of Holdfast without Kafka: messages are decoded and merged by event time, one
customer machine decides, one learner machine learns from each answer as it matures, and a new model
is served from the next record on. There is no clock and no I/O, so two replays of the same messages
say the same, byte for byte. What is served is judged with the delay it had: an answer counts when its
horizon has passed, against the risk that was served when the question was asked.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator

from schemas.codec import MAX_MESSAGE_BYTES, WireError, epoch_ms
from schemas.events import Event
from schemas.learning import Example, ModelSnapshot
from schemas.sources.registry import decoder_for
from schemas.topics import EXAMPLES, INPUTS, MODELS
from streams.clock.merge import Merge
from streams.config import StreamConfig, days_ms
from streams.customer.decision import Decision
from streams.customer.machine import CustomerMachine
from streams.identity.machine import JoiningMachine
from streams.learning.machine import LearnerMachine
from streams.learning.prequential import Prequential
from streams.learning.served import Served, untrained

LOOKAHEAD = 10_000
"""Records read ahead of an input that has none before it is taken to have no more for now."""

Sink = Callable[[Decision], None]
Refuse = Callable[[int, bytes, WireError], None]


class Replay:
    """One pass over messages.

    Parameters
    ----------
    config
        What events mean.
    sink
        Takes each decision, each published model included.
    refuse
        Takes each message that breaks the contract: the number of its input, its bytes, the error.
    model
        A model to serve throughout; without it one is learned on the way.
    max_bytes
        Larger messages are refused unread.

    Attributes
    ----------
    events
        Messages by what became of them: `read`, `dead`, and the names of `Outcome`.
    said
        Decisions by topic.
    first_ms, last_ms
        Event times of the first event taken and of the newest one; None before there is one.
    quality
        Of what was served, over questions asked at least two horizons after `first_ms`.

    Examples
    --------
    >>> said = []
    >>> replay = Replay(StreamConfig(), sink=said.append)
    >>> order = b'''{"type": "track", "event": "Order Completed", "messageId": "m", "userId": "c1",
    ... "timestamp": "2026-01-01T00:00:00Z", "properties": {"order_id": "o", "revenue": 10}}'''
    >>> replay.run([(1, order)])
    >>> replay.events["applied"], [decision.topic for decision in said]
    (1, ['models', 'segment-changes', 'segment-changes', 'customer-scores'])
    """

    def __init__(
        self,
        config: StreamConfig,
        sink: Sink,
        refuse: Refuse | None = None,
        model: ModelSnapshot | None = None,
        max_bytes: int = MAX_MESSAGE_BYTES,
    ) -> None:
        self.config = config
        self.events: Counter[str] = Counter()
        self.said: Counter[str] = Counter()
        self.quality = Prequential()
        self.learner = LearnerMachine(config) if model is None else None
        served = Served(model or untrained(config))
        joins = config.identity.enabled
        self.machine = JoiningMachine(config, served) if joins else CustomerMachine(config, served)
        self._sink = sink
        self._refuse = refuse
        self._max_bytes = max_bytes
        self._decoders = [decoder_for(name, config.sources, joins) for name in INPUTS]
        self.first_ms: int | None = None
        self.last_ms: int | None = None
        self._grace_ms = days_ms(2 * config.reviews.horizon_days)

    def run(self, messages: Iterable[tuple[int, bytes]]) -> None:
        """Process messages, each with the number of its input, to the end."""
        for _ in self.steps(messages):
            pass

    def steps(self, messages: Iterable[tuple[int, bytes]]) -> Iterator[None]:
        """Process messages like `run`, and hand over after each event, for whoever wants to see it go on."""
        machine = self.machine
        self._publish(machine.model.snapshot)
        for source, offset, event in self._merged(messages):
            if self.last_ms is None or event.time_ms > self.last_ms:
                self.last_ms = event.time_ms
                if self.first_ms is None:
                    self.first_ms = event.time_ms
            outcome = machine.apply(event, source, offset)
            self.events[outcome.value] += 1
            decisions = machine.take()
            if decisions:
                self._say(decisions)
            yield

    def _merged(self, messages: Iterable[tuple[int, bytes]]) -> Iterator[tuple[int, int, Event]]:
        merge: Merge[tuple[int, Event]] = Merge(len(INPUTS))
        offsets = [0] * len(INPUTS)
        buffered = 0
        for source, value in messages:
            offset = offsets[source]
            offsets[source] += 1
            self.events["read"] += 1
            try:
                event = self._decoders[source](value, self._max_bytes)
            except WireError as error:
                self.events["dead"] += 1
                if self._refuse is not None:
                    self._refuse(source, value, error)
                continue
            merge.push(source, event.time_ms, (offset, event))
            buffered += 1
            if buffered >= LOOKAHEAD:
                for waiting in merge.waiting_for():
                    merge.caught_up(waiting)
                for source_, (offset_, event_) in merge.ready():
                    yield source_, offset_, event_
                buffered = len(merge)
        for waiting in range(len(INPUTS)):
            merge.caught_up(waiting)
        for source_, (offset_, event_) in merge.ready():
            yield source_, offset_, event_

    def _say(self, decisions: list[Decision]) -> None:
        served: ModelSnapshot | None = None
        for decision in decisions:
            self.said[decision.topic] += 1
            self._sink(decision)
            if decision.topic == EXAMPLES and isinstance(decision.payload, Example):
                served = self._learn(decision.payload) or served
        if served is not None:
            self.machine.adopt(Served(served))

    def _learn(self, example: Example) -> ModelSnapshot | None:
        if epoch_ms(example.asked_at) >= (self.first_ms or 0) + self._grace_ms:
            self.quality.add(example.risk, example.label)
        if self.learner is None:
            return None
        published = self.learner.learn(example)
        if published is not None:
            self._publish(published)
        return published

    def _publish(self, snapshot: ModelSnapshot) -> None:
        """Say which model is served from here on: the first one too, or its risks could not be recomputed."""
        self.said[MODELS] += 1
        self._sink(Decision(MODELS, snapshot.model_version, snapshot))
