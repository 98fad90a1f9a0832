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

from schemas.codec import MAX_MESSAGE_BYTES, epoch_ms
from schemas.learning import Example, ModelSnapshot
from schemas.topics import EXAMPLES, MODELS
from streams.config import StreamConfig, days_ms
from streams.customer.decision import Decision
from streams.customer.machine import CustomerMachine
from streams.identity.machine import JoiningMachine
from streams.learning.machine import LearnerMachine
from streams.learning.prequential import Prequential
from streams.learning.served import Served, untrained
from streams.playback import Message, Playback, Refuse

Sink = Callable[[Decision], None]


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
    events, first_ms, last_ms
        As of `streams.playback.Playback`.
    said
        Decisions by topic.
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
        self.said: Counter[str] = Counter()
        self.quality = Prequential()
        self.learner = LearnerMachine(config) if model is None else None
        served = Served(model or untrained(config))
        joins = config.identity.enabled
        self.machine = JoiningMachine(config, served) if joins else CustomerMachine(config, served)
        self._playback = Playback(config, self.machine, self._say, refuse, max_bytes)
        self._sink = sink
        self._grace_ms = days_ms(2 * config.reviews.horizon_days)

    @property
    def events(self) -> Counter[str]:
        """Messages by what became of them."""
        return self._playback.events

    @property
    def first_ms(self) -> int | None:
        """Event time of the first event taken; None before there is one."""
        return self._playback.first_ms

    @property
    def last_ms(self) -> int | None:
        """Event time of the newest event taken; None before there is one."""
        return self._playback.last_ms

    def run(self, messages: Iterable[tuple[int, Message]]) -> None:
        """Process messages, each with the number of its input, to the end."""
        for _ in self.steps(messages):
            pass

    def steps(self, messages: Iterable[tuple[int, Message]]) -> Iterator[int]:
        """Process messages like `run`, for whoever wants to see it go on.

        Yields
        ------
        int
            How many events have been processed, after every `streams.playback.STEP` of them at most.
        """
        self._publish(self.machine.model.snapshot)
        yield from self._playback.steps(messages)

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
