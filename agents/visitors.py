"""Visitors at the edge: what a room reads, writes and counts for `streams.identity`.

Visitors live in memory, a bounded number of them. Their records lie in the changelog beside the customers',
under keys of their own, and are sealed by the same markers. What a machine has to say to other partitions
about visitors goes onto the clickstream, by Kafka's own partitioner, where every worker reads it in its turn.
Where joining is switched off, nothing is read or written, but for the removal of what it had left.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from agents import metrics
from agents.client import partition_of
from agents.settings import Settings
from agents.stores import StateStore, VisitorChange
from agents.transport import OutputRecord
from schemas.topics import CLICKSTREAM, INPUTS
from streams.customer.machine import CustomerMachine
from streams.identity.machine import JoiningMachine
from streams.identity.visitor import VISITOR_KEY, decode_visitor, encode_visitor
from streams.learning.served import Served

PartitionsOf = Callable[[str], int | None]
"""Gives the number of partitions of a topic, None while it is not known."""

Place = tuple[str, int]


def sends_to_clickstream(settings: Settings) -> bool:
    """Tell whether workers put messages of their own on the clickstream.

    Examples
    --------
    >>> sends_to_clickstream(Settings())
    False
    """
    identity = settings.identity
    # What they write is a Segment message; a topic of another format must not get any.
    return identity.enabled and identity.across_partitions and settings.sources.clickstream == "segment"


class _Home:
    """Says on which partition of the clickstream a key lies."""

    def __init__(self, topic: str, partition: int, partitions_of: PartitionsOf) -> None:
        self._topic = topic
        self._partition = partition
        self._partitions_of = partitions_of

    def __call__(self, key: str) -> int:
        partitions = self._partitions_of(self._topic)
        return partition_of(key.encode(), partitions) if partitions else self._partition


class Visitors:
    """The visitors of one partition number.

    Parameters
    ----------
    topic
        Real name of the clickstream.
    machine
        The room's, where it joins visitors.
    home
        Gives the partition of a key.
    left
        Visitors in the changelog that nobody needs any more.
    """

    def __init__(
        self, topic: str, machine: JoiningMachine | None, home: Callable[[str], int], left: Iterable[str] = ()
    ) -> None:
        self._topic = topic
        self._machine = machine
        self._home = home
        self._left = [VisitorChange(anonymous_id, None) for anonymous_id in left]
        self._dropped = 0

    @property
    def are_left(self) -> bool:
        """Whether visitors wait to be removed, which no record will call for."""
        return bool(self._left)

    def outgoing(self) -> list[tuple[Place, OutputRecord]]:
        """Take what is to be put on the clickstream, each with where."""
        if self._machine is None:
            return []
        return [
            ((self._topic, self._home(key)), (key.encode(), value, []))
            for key, value in self._machine.take_outgoing()
        ]

    def changed(self) -> list[VisitorChange]:
        """Take the visitors that have changed since the last time."""
        left, self._left = self._left, []
        if self._machine is None:
            return left
        return [
            VisitorChange(anonymous_id, None if visitor is None else encode_visitor(visitor))
            for anonymous_id, visitor in self._machine.stage.take_dirty()
        ]

    def measure(self) -> None:
        """Hand over what was counted."""
        machine = self._machine
        if machine is None:
            return
        metrics.VISITORS.labels(str(machine.partition)).set(len(machine.stage.states))
        for outcome, number in machine.outcomes.items():
            if outcome == "given":
                metrics.VISITOR_CLICKS.labels(outcome).inc(number)
            else:
                metrics.VISITOR_RECORDS.labels(outcome).inc(number)
        machine.outcomes = {}
        metrics.VISITOR_CLICKS.labels("dropped").inc(machine.stage.dropped - self._dropped)
        self._dropped = machine.stage.dropped


def open_machine(
    settings: Settings, model: Served, partition: int, states: StateStore, partitions_of: PartitionsOf
) -> tuple[CustomerMachine, Visitors]:
    """Make the machine of a partition that the settings ask for, with what was recovered.

    Parameters
    ----------
    model
        What it serves first.
    states
        The recovered store.
    partitions_of
        Gives the number of partitions of a topic.
    """
    inputs = tuple(settings.topic(name) for name in INPUTS)
    topic = settings.topic(CLICKSTREAM)
    home = _Home(topic, partition, partitions_of)
    stored = states.visitors()
    if not settings.identity.enabled:
        plain = CustomerMachine(settings.streams, model, partition, inputs, states=states)
        return plain, Visitors(topic, None, home, left=stored)
    machine = JoiningMachine(
        settings.streams,
        model,
        partition,
        inputs,
        states=states,
        visitors={name: decode_visitor(value) for name, value in stored.items()},
        home=home if sends_to_clickstream(settings) else None,
    )
    return machine, Visitors(topic, machine, home)


def visitor_records(changes: Iterable[VisitorChange]) -> tuple[list[OutputRecord], list[OutputRecord]]:
    r"""Make changelog records of visitors, and tombstones of those who are gone.

    Examples
    --------
    >>> visitor_records([VisitorChange("a-7", b"..."), VisitorChange("a-8", None)])
    ([(b'\x00visitor\x00a-7', b'...', [])], [(b'\x00visitor\x00a-8', None, [])])
    """
    kept: list[OutputRecord] = []
    gone: list[OutputRecord] = []
    for anonymous_id, value in changes:
        (gone if value is None else kept).append((VISITOR_KEY + anonymous_id.encode(), value, []))
    return kept, gone
