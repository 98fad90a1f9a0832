"""Rebalances, crashes and zombies without a broker: the real agents on a broker that is a few lists.

Everything that chance decides comes from one seed: how large fetched batches are, how long the broker
takes to acknowledge, when a partition moves, who is killed in the middle of what. At each commit the
simulation knows what the broker holds, and counts offsets committed past work that is not there. Odd
seeds have a broker with transactions, and zombies, who go on in the belief that nothing happened; even
ones have the plain order of records, where the group alone tells a worker off.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncGenerator, Awaitable, Iterable, Sequence
from functools import cache
from random import Random
from types import SimpleNamespace
from typing import Any, NamedTuple
from unittest.mock import patch

import msgspec
from faust.types import TP

from agents import customers, recovery
from agents.changelog import MARKER_KEY, Marker, read_marker
from agents.customers import Customers
from agents.ledger import Fenced, PlainLedger
from agents.session import Session
from agents.settings import Settings, load
from bench.faults.oracle import OUTPUTS, Spoken, spoken
from schemas.codec import encode
from schemas.topics import CHANGELOG, INPUTS
from streams.customer.decision import Decision
from streams.customer.state import facts
from streams.customer.state_codec import decode_state
from streams.learning.served import Served, untrained
from streams.replay import Replay
from tests.streams.build import simulated, snapshot_of


class _ByModel(msgspec.Struct):
    model_version: str = ""


_by_model = msgspec.json.Decoder(_ByModel)

SHOP = (6, 60)
STEPS = 60
MOST_BATCH = 80


class Broker:
    """What is durable: records of each topic partition, in order."""

    def __init__(self, inputs: Sequence[list[Any]]) -> None:
        self.inputs = inputs
        self.ends = [len(log) for log in inputs]
        self.models: dict[tuple[str, bytes], set[str]] = defaultdict(set)
        self.logs: dict[tuple[str, int], list[tuple[bytes | None, bytes | None]]] = defaultdict(list)
        self.said: set[Spoken] = set()
        self.holders: dict[int, object] = {}
        self.committed = [0, 0]

    def write(self, place: tuple[str, int], records: Iterable[Any]) -> int:
        """Make records durable; return the offset of the first."""
        first = len(self.logs[place])
        self.logs[place] += [(key, value) for key, value, _ in records]
        if place[0] in OUTPUTS:
            for _, value, _ in records:
                if value is not None:
                    what = spoken(place[0], value)[1]
                    self.said.add(what)
                    self.models[what[:2]].add(_by_model.decode(value).model_version)
        return first

    def marker(self) -> Marker | None:
        """Give the newest marker."""
        found = [value for key, value in self.logs[CHANGELOG, 0] if key == MARKER_KEY]
        return read_marker(found[-1]) if found else None

    def states(self) -> dict[str, list[object]]:
        """Give the facts of the states that compaction would leave."""
        latest = dict(self.logs[CHANGELOG, 0])
        return {
            (key or b"").decode(): facts(decode_state(value))
            for key, value in latest.items()
            if key != MARKER_KEY and value is not None
        }


class Link:
    """A worker's producer: what it sends arrives later, or never when it is cut, in order a partition."""

    def __init__(self, broker: Broker, random: Random) -> None:
        self._broker = broker
        self._random = random
        self._under_way: dict[tuple[str, int], list[tuple[list[Any], asyncio.Future[Any]]]] = {}
        self.cut = False

    async def send_records(
        self, topic: str, partition: int, records: Iterable[Any]
    ) -> list[asyncio.Future[Any]]:
        """Take records; they are acknowledged when they have arrived."""
        records = list(records)
        if not records:
            return []
        done = asyncio.get_running_loop().create_future()
        self._under_way.setdefault((topic, partition), []).append((records, done))
        return [done]

    def deliver(self, most: int) -> None:
        """Let some of what is under way arrive: whichever partition is quick, its oldest first."""
        for _ in range(most):
            waiting = [place for place, batches in self._under_way.items() if batches]
            if not waiting:
                return
            place = self._random.choice(waiting)
            records, done = self._under_way[place].pop(0)
            first = self._broker.write(place, records)
            if not done.done():
                done.set_result(SimpleNamespace(offset=first))

    async def run(self) -> None:
        """Deliver until the end."""
        while not self.cut:
            for _ in range(self._random.randint(1, 4)):
                await asyncio.sleep(0)
            self.deliver(self._random.randint(0, 2))


class Transactions:
    """A ledger whose epochs arrive whole, and which one worker at a time may write."""

    def __init__(self, broker: Broker, link: Link, topic: str, partition: int) -> None:
        self._broker, self._link = broker, link
        self._place = (topic, partition)
        self._pending: list[Any] = []

    async def open(self) -> None:
        """Fence whoever had it."""
        self._broker.holders[self._place[1]] = self

    async def append(self, records: list[Any]) -> int:
        """Add to the transaction."""
        await asyncio.sleep(0)
        self._check()
        self._pending += records
        return -1

    async def commit(self, last: Any, erased: list[Any]) -> int:
        """Make it all visible at once."""
        await asyncio.sleep(0)
        self._check()
        first = self._broker.write(self._place, [*self._pending, *erased, last])
        self._pending = []
        await asyncio.sleep(0)  # done, though whoever is killed now never hears of it
        return first

    async def close(self) -> None:
        """Let go."""

    def _check(self) -> None:
        if self._link.cut or self._broker.holders[self._place[1]] is not self:
            raise Fenced


class Group:
    """A worker's consumer: what it is assigned, what it has sealed, how far it has read."""

    def __init__(self, broker: Broker, generation: int) -> None:
        self._broker = broker
        self.generation = generation
        self.sealed: dict[TP, int] = {}
        self.paused: set[TP] = set()
        self.starts: dict[TP, int] = {}
        self.lost = False

    def is_ours(self, generation: int) -> bool:
        """Say what the worker has been told."""
        return not self.lost and generation == self.generation

    def at_end(self, tp: TP, next_offset: int) -> bool:
        """Tell whether an input holds no more."""
        return tp.topic not in INPUTS or next_offset >= self._broker.ends[INPUTS.index(tp.topic)]

    def pause_partitions(self, tps: set[TP]) -> None:
        """Fetch no more of these."""
        assert all(isinstance(tp, TP) for tp in tps), "Faust's fetcher asserts that too"
        self.paused |= tps

    def resume_partitions(self, tps: set[TP]) -> None:
        """Fetch them again."""
        self.paused -= tps

    def topic_partitions(self, _topic: str) -> int:
        """Say how many there are."""
        return 1

    async def earliest_offsets(self, *tps: TP) -> dict[TP, int]:
        """Say that nothing has been deleted."""
        return dict.fromkeys(tps, 0)


class Outcome(NamedTuple):
    """What a simulation came to; all but the first three must be 0.

    Where models change, nobody knows which decided what, so what was said is held against itself only: of
    each id, one content. Where the inputs grow, each at its own pace, records of both come in other orders
    to another worker, which makes some of them late; then it is one model for each id.
    """

    commits: int
    handed_over: int
    killed: int
    past: int
    lost: int
    wrong: int


@cache
def told() -> tuple[tuple[tuple[int, bytes], ...], list[tuple[int, int, Spoken]], dict[str, list[object]]]:
    """Messages; what the oracle says of them, each with the offsets that it needs; facts of the states."""
    messages = simulated(*SHOP)
    said: list[tuple[int, int, Spoken]] = []
    done = [0, 0]
    config = settings().streams

    def hear(decision: Decision) -> None:
        if decision.topic in OUTPUTS and decision.payload is not None:
            said.append((done[0], done[1], spoken(decision.topic, encode(decision.payload))[1]))

    replay = Replay(config, hear, model=untrained(config))
    original = replay.machine.take_in

    def take_in(event: Any, source: int, offset: int) -> int:
        done[source] = offset + 1
        return original(event, source, offset)

    replay.machine.take_in = take_in  # type: ignore[method-assign]
    replay.run(messages)
    return messages, said, {c: facts(s) for c, s in replay.machine.states.items()}


def settings() -> Settings:
    """Short epochs, so that there are many."""
    given: dict[str, object] = {
        "worker.epoch_max_records": 40,
        "topics.partitions": 1,
        "alerts.min_orders": 1,
    }
    given |= {"alerts.raise_at": 0.4, "alerts.resolve_below": 0.3}
    return load(None, {}, given)


class Simulation:
    """One seed.

    Parameters
    ----------
    newer_models
        Whether newer models come now and then.
    lag
        Messages that one input may be behind the other while both grow; 0 for inputs that are all there.
    """

    def __init__(self, seed: int, newer_models: bool = False, lag: int = 0) -> None:
        self._random = Random(seed)
        self._newer_models = newer_models
        self._lag = lag
        self._come = 0
        self._transactional = bool(seed % 2)
        self._settings = settings()
        messages, self._said, self._facts = told()
        inputs: list[list[Any]] = [[], []]
        for source, value in messages:
            inputs[source].append(
                SimpleNamespace(
                    topic=INPUTS[source], partition=0, offset=len(inputs[source]), timestamp=-1, value=value
                )
            )
        self._sources = [source for source, _ in messages]
        self._broker = Broker(inputs)
        if lag:
            self._broker.ends = [0, 0]
        ready = asyncio.Event()
        ready.set()
        self._feed = SimpleNamespace(latest=Served(untrained(self._settings.streams)), ready=ready)
        self._generation = 0
        self._zombies: list[Worker] = []
        self.commits = self.handed_over = self.killed = self.past = 0

    async def run(self) -> Outcome:
        """Let the partition go from worker to worker until all is processed, then look at what is left."""
        worker = await self._next_worker()
        for step in range(10_000):
            await self._feed_some(worker)
            chance = self._random.random()
            if step < STEPS and chance < 0.25:
                await self._move(worker, chance)
                worker = await self._next_worker()
            self._commit(worker)
            if step >= STEPS and worker.read_everything():
                break
        await worker.customers.revoked(worker.tps)
        self._commit(worker)
        worker.end()
        for zombie in self._zombies:
            zombie.end()
        return self._result()

    async def _next_worker(self) -> Worker:
        self._generation += 1
        customers = make_customers(self._settings, self._feed)
        worker = Worker(customers, self._broker, self._generation, self._random, self._transactional)
        await worker.take_over()
        return worker

    async def _feed_some(self, worker: Worker) -> None:
        if self._newer_models and self._random.random() < 0.3:
            self._publish()
        if self._lag:
            self._grow()
        task = asyncio.create_task(worker.feed(self._random))
        while not task.done():
            await asyncio.sleep(0)
            if self._random.random() < 0.1:  # Faust commits when it likes
                self._commit(worker)
        await task
        for zombie in self._zombies:
            await zombie.feed(self._random)

    def _publish(self) -> None:
        number = self._feed.latest.n_learned + 1
        weights = {"log_silence": self._random.uniform(0.0, 2.0)}
        model = snapshot_of(self._random.uniform(-3.0, 0.0), weights, version=f"lr-{number}")
        self._feed.latest = Served(msgspec.structs.replace(model, n_learned=number))

    def _grow(self) -> None:
        self._come += self._random.randint(0, 25)
        for source, end in enumerate(self._broker.ends):
            come = self._sources[: max(0, self._come - self._random.randint(0, self._lag))]
            self._broker.ends[source] = max(end, come.count(source))

    async def _move(self, worker: Worker, chance: float) -> None:
        """Hand the partition over in order, kill the worker in the middle of something, or lose it."""
        if chance < 0.1:
            await worker.customers.revoked(worker.tps)
            self._commit(worker)
            worker.end()
            self.handed_over += 1
        elif chance < 0.2 or not self._transactional:
            task = asyncio.create_task(worker.feed(self._random))
            for _ in range(self._random.randint(0, 12)):
                await asyncio.sleep(0)
            if self._random.random() < 0.5:
                self._commit(worker)
            task.cancel()
            worker.link.deliver(self._random.randint(0, 3))  # what had left before it died arrives
            worker.end()
            self.killed += 1
        else:
            self._zombies.append(worker)  # it does not know; nobody has told it

    def _commit(self, worker: Worker) -> None:
        """Commit what a worker has sealed, and count what of it is not there."""
        for source, topic in enumerate(INPUTS):
            self._broker.committed[source] = worker.group.sealed.get(TP(topic, 0), 0)
        clicks, orders = self._broker.committed
        marker = self._broker.marker()
        durable = [marker.offsets[topic] if marker else 0 for topic in INPUTS]
        self.past += sum(max(0, c - d) for c, d in zip(self._broker.committed, durable, strict=True))
        out = self._broker.said
        if not (self._newer_models or self._lag):
            self.past += sum(what not in out for c, o, what in self._said if c <= clicks and o <= orders)
        self.commits += 1

    def _result(self) -> Outcome:
        out, wanted = self._broker.said, {what for _, _, what in self._said}
        held = self._broker.states()
        lost, wrong = len(wanted - out), len(out - wanted)
        if self._lag:
            contradictions = sum(len(models) > 1 for models in self._broker.models.values())
            return Outcome(self.commits, self.handed_over, self.killed, 0, 0, contradictions)
        if self._newer_models:
            lost, wrong = 0, len(out) - len({what[:2] for what in out})
        wrong += sum(held.get(c) != f for c, f in self._facts.items()) + len(held.keys() - self._facts.keys())
        return Outcome(self.commits, self.handed_over, self.killed, self.past, lost, wrong)


class Worker:
    """The real customers agent, with a simulated broker around it."""

    def __init__(
        self, customers: Customers, broker: Broker, generation: int, random: Random, transactional: bool
    ) -> None:
        self.customers = customers
        self.group = Group(broker, generation)
        self.link = Link(broker, random)
        self.tps = {TP(topic, 0) for topic in self.customers.topics}
        self._broker = broker
        self._transactional = transactional
        self._next: list[int] = []
        self._background = asyncio.create_task(self.link.run())

    async def take_over(self) -> None:
        """Recover, and read on from where the state says."""

        async def read_log(topic: str, partition: int, *_: Any, **__: Any) -> AsyncGenerator[list[Any], None]:
            await asyncio.sleep(0)
            log = list(self._broker.logs[topic, partition])
            yield [SimpleNamespace(offset=at, key=key, value=value) for at, (key, value) in enumerate(log)]

        def ledger(_settings: Any, _connection: Any, link: Any, topic: str, partition: int) -> Any:
            if self._transactional:
                return Transactions(self._broker, link, topic, partition)
            return PlainLedger(link, topic, partition)

        with (
            patch.object(recovery, "read_log", read_log),
            patch.object(customers, "make_ledger", ledger),
        ):
            await self.customers.assigned(self.tps, self.group.generation, self.group, self.link)  # type: ignore[arg-type]
        self._next = [self.group.starts.get(TP(topic, 0), 0) for topic in INPUTS]

    async def feed(self, random: Random) -> None:
        """Fetch what there is of one input, or of both, and process it."""
        sources = random.choice(([0], [1], [0, 1]))
        if all(self._next[source] >= len(self._broker.inputs[source]) for source in sources):
            sources = [0, 1]
        fetched = {}
        for source in sources:
            come = self._broker.inputs[source][self._next[source] : self._broker.ends[source]]
            records = come[: random.randint(1, MOST_BATCH)]
            if records and not self._is_paused(source):
                self._next[source] = records[-1].offset + 1
                fetched[TP(INPUTS[source], 0)] = records
        if fetched:
            await self.customers.feed(SimpleNamespace(value=fetched, generation_id=self.group.generation))
            await self.customers.rest()

    def _is_paused(self, source: int) -> bool:
        return TP(INPUTS[source], 0) in self.group.paused

    def read_everything(self) -> bool:
        """Tell whether nothing is left to fetch."""
        return all(at >= len(log) for at, log in zip(self._next, self._broker.inputs, strict=True))

    def end(self) -> None:
        """Be gone."""
        self.link.cut = True
        self._background.cancel()


def make_customers(settings: Settings, feed: Any) -> Customers:
    """Make the agent with nothing behind it."""

    async def unguarded(work: Awaitable[None]) -> None:
        await work

    return Customers(settings, {}, feed, Session(1e9), topic_ids={}, guard=unguarded)


def simulate(seed: int, newer_models: bool = False, lag: int = 0) -> Outcome:
    """Run the simulation of a seed."""

    async def run() -> Outcome:
        return await Simulation(seed, newer_models, lag).run()

    return asyncio.run(run())
