"""What should have come out, and how what did come out differs from it.

The oracle is a replay of each partition's input by itself, in the order of the log, with the same frozen
model. Lost, doubled and disordered are counted over the four outputs; the states in the changelog are
compared as a whole. A message delivered twice is no fault as long as both are the same to the letter
(evidence apart, which names offsets): its id says what it is, and a reader drops the second.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from hashlib import blake2b
from multiprocessing import get_context
from typing import NamedTuple

import msgspec

from agents.client import partition_of
from agents.routing import route
from agents.settings import Settings
from schemas.codec import encode
from schemas.learning import ModelSnapshot
from schemas.topics import CHURN_ALERTS, CUSTOMER_SCORES, EXAMPLES, INPUTS, ORDERS, SEGMENT_CHANGES
from streams.config import StreamConfig
from streams.customer.decision import Decision
from streams.customer.state import facts
from streams.replay import Replay
from tests.live.harness import read_topic, recovered

OUTPUTS = (CHURN_ALERTS, SEGMENT_CHANGES, EXAMPLES, CUSTOMER_SCORES)
_EVIDENCE = re.compile(rb'"evidence":\[[^\]]*\]')

Spoken = tuple[str, bytes, bytes]
"""Topic, id, digest of the message without its evidence."""


_Replayed = tuple[dict[str, list[Spoken]], dict[str, bytes], Counter[str]]

_FEW = 5_000
"""Messages that are replayed sooner than two processes have started."""


class _Head(msgspec.Struct):
    customer_id: str
    id: str = ""
    event_time: str = ""
    cause: str = ""


_head = msgspec.json.Decoder(_Head)


class Expected(NamedTuple):
    """What the oracle says: by customer in order, the facts of each state, outcomes of records."""

    said: dict[str, list[Spoken]]
    states: dict[str, bytes]
    outcomes: Counter[str]


class Difference(NamedTuple):
    """How a run differs from the oracle.

    Attributes
    ----------
    lost
        Messages that were never said.
    doubled
        Messages that are more than the oracle's after dropping repeats by id: said twice with another
        content, or said though they should not be.
    disordered
        Customers whose messages first appear in another order, topic by topic.
    states
        Customers whose state differs, is missing, or should not be there.
    repeats
        Messages that came again, the same: allowed, and visible as such.
    """

    lost: int
    doubled: int
    disordered: int
    states: int
    repeats: int
    messages: int

    @property
    def none(self) -> bool:
        """Whether nothing is lost, doubled, out of order, or wrong in the state."""
        return not (self.lost or self.doubled or self.disordered or self.states)

    def __str__(self) -> str:
        return (
            f"L/D/O {self.lost}/{self.doubled}/{self.disordered} of {self.messages:,} messages, "
            f"{self.states} states differ, {self.repeats:,} recognisable repeats"
        )


def spoken(topic: str, value: bytes) -> tuple[str, Spoken]:
    """Reduce an output to its customer, its id and a digest."""
    head = _head.decode(value)
    name = head.id or f"{head.event_time}/{head.cause}"
    digest = blake2b(_EVIDENCE.sub(b"", value), digest_size=8).digest()
    return head.customer_id, (topic, name.encode(), digest)


def _replay(config: StreamConfig, model: ModelSnapshot, messages: list[tuple[int, bytes]]) -> _Replayed:
    said: dict[str, list[Spoken]] = {}

    def hear(decision: Decision) -> None:
        if decision.topic in OUTPUTS and decision.payload is not None:
            customer, what = spoken(decision.topic, encode(decision.payload))
            said.setdefault(customer, []).append(what)

    replay = Replay(config, sink=hear, model=model)
    replay.run(messages)
    states = {customer: repr(facts(state)).encode() for customer, state in replay.machine.states.items()}
    return said, states, replay.events


def expected(
    settings: Settings, model: ModelSnapshot, lines: Sequence[bytes], *, one_topic: bool = True
) -> Expected:
    """Replay each partition of an input, two at a time.

    Parameters
    ----------
    one_topic
        Everything is on the orders topic; otherwise messages are where `agents.routing` puts them.
    """
    split: list[list[tuple[int, bytes]]] = [[] for _ in range(settings.topics.partitions)]
    for line in lines:
        topic, key = route(line)
        assert key is not None
        source = INPUTS.index(ORDERS if one_topic else topic)
        split[partition_of(key, len(split))].append((source, line))
    whole = Expected({}, {}, Counter())
    for said, states, outcomes in _replay_all(settings.streams, model, split):
        whole.said.update(said)
        whole.states.update(states)
        whole.outcomes.update(outcomes)
    return whole


def _replay_all(
    config: StreamConfig, model: ModelSnapshot, split: list[list[tuple[int, bytes]]]
) -> list[_Replayed]:
    if sum(map(len, split)) < _FEW:
        return [_replay(config, model, messages) for messages in split]
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        parts = [pool.submit(_replay, config, model, messages) for messages in split]
        return [part.result() for part in parts]


def published(settings: Settings) -> dict[str, list[Spoken]]:
    """Read what is on the output topics: by customer, in the order of each topic."""
    found: dict[str, list[Spoken]] = {}
    for topic in OUTPUTS:
        for message in read_topic(settings, topic):
            if message.value is not None:
                customer, what = spoken(topic, message.value)
                found.setdefault(customer, []).append(what)
    return found


def kept(settings: Settings) -> dict[str, bytes]:
    """Read the facts of the states that the changelog holds."""
    return {
        customer: repr(facts(state)).encode()
        for part in recovered(settings).values()
        for customer, state in part.states.items()
    }


def compare(settings: Settings, should: Expected) -> Difference:
    """Read everything that a run left, and hold it against the oracle."""
    found = published(settings)
    states = kept(settings)
    lost = doubled = disordered = repeats = 0
    for customer in should.said.keys() | found.keys():
        wanted, got = should.said.get(customer, []), found.get(customer, [])
        distinct = dict.fromkeys(got)
        repeats += len(got) - len(distinct)
        ids = {what[:2] for what in wanted}
        lost += len(ids - {what[:2] for what in distinct})
        doubled += len(distinct.keys() - set(wanted))
        for topic in OUTPUTS:
            first_seen = list(dict.fromkeys(what[1] for what in got if what[0] == topic))
            in_order = dict.fromkeys(what[1] for what in wanted if what[0] == topic)
            present = set(first_seen)
            if [i for i in first_seen if (topic, i) in ids] != [i for i in in_order if i in present]:
                disordered += 1
    differ = sum(
        states.get(customer) != should.states.get(customer) for customer in states.keys() | should.states
    )
    total = sum(map(len, should.said.values()))
    return Difference(lost, doubled, disordered, differ, repeats, total)
