"""Records go on while the broker acknowledges the epoch before; only a border of models is waited for."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from types import SimpleNamespace

import msgspec
import pytest
from faust.types import TP

from agents import epochs
from agents.epochs import Room
from bench.faults.simulated import Broker, Simulation, Worker, settings
from schemas.topics import CHANGELOG, INPUTS
from streams.learning.served import Served, untrained

MOST = settings().worker.epoch_max_records


class Gate:
    """A ledger that takes states only when it is told to."""

    def __init__(self, room: Room) -> None:
        self.open = asyncio.Event()
        self._append = room.ledger.append
        room.ledger.append = self._wait_and_append  # type: ignore[method-assign]

    async def _wait_and_append(self, records: list[object]) -> int:
        await self.open.wait()
        return await self._append(records)  # type: ignore[arg-type]


def with_a_gate(work: Callable[[Room, Worker, Gate, Broker], Awaitable[None]], seed: int = 1) -> None:
    """Give a room that has records for many epochs and a ledger that does not answer."""

    async def run() -> None:
        simulation = Simulation(seed)
        worker = await simulation._next_worker()
        room = worker.customers.rooms[0]
        await work(room, worker, Gate(room), simulation._broker)
        worker.end()

    asyncio.run(run())


def give_everything(worker: Worker, broker: Broker) -> asyncio.Task[None]:
    async def give() -> None:
        fetched = {TP(topic, 0): broker.inputs[source] for source, topic in enumerate(INPUTS)}
        await worker.customers.feed(SimpleNamespace(value=fetched, generation_id=worker.group.generation))
        await worker.customers.rest()

    return asyncio.create_task(give())


async def turns(number: int = 500) -> None:
    for _ in range(number):
        await asyncio.sleep(0)


def test_a_whole_epoch_is_processed_and_said_while_the_one_before_is_on_its_way() -> None:
    async def work(room: Room, worker: Worker, gate: Gate, broker: Broker) -> None:
        task = give_everything(worker, broker)
        await turns()
        assert room._intake.taken == 2 * MOST, "one epoch closed and on its way, the next one full"
        assert not worker.group.sealed, "nothing may be committed yet"
        assert room.sequence == 0
        said = len(broker.said)
        assert said > 0
        gate.open.set()
        await task
        await room.seal()
        assert sum(worker.group.sealed[TP(topic, 0)] for topic in INPUTS) > 4 * MOST
        assert len(broker.said) > said

    with_a_gate(work)


def test_a_model_is_adopted_only_where_the_marker_that_carries_it_is_durable_before_any_record() -> None:
    async def work(room: Room, worker: Worker, gate: Gate, broker: Broker) -> None:
        snapshot = msgspec.structs.replace(untrained(settings().streams), model_version="lr-7", n_learned=7)
        room._feed.latest = Served(snapshot)
        task = give_everything(worker, broker)
        await turns()
        assert room._intake.taken == MOST, "the next epoch would be of another model"
        gate.open.set()
        await task
        await room.seal()
        assert room._intake.taken > 4 * MOST
        assert room.machine.model.model_version == "lr-7"

    with_a_gate(work)


def adoptions(seconds: float, days: float) -> list[str]:
    """Offer a newer model at every border; give the model of each marker."""
    versions: list[str] = []

    async def work(room: Room, worker: Worker, gate: Gate, broker: Broker) -> None:
        room_may_adopt = room._may_adopt

        def offered() -> bool:
            number = len(versions) + 1
            model = msgspec.structs.replace(untrained(settings().streams), n_learned=number)
            room._feed.latest = Served(msgspec.structs.replace(model, model_version=f"lr-{number}"))
            may = room_may_adopt()
            versions.append(f"lr-{number}" if may else room.machine.model.model_version)
            return may

        room._may_adopt = offered  # type: ignore[method-assign]
        gate.open.set()
        await give_everything(worker, broker)
        await room.seal()

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(epochs, "ADOPT_SECONDS", seconds)
        patched.setattr(epochs, "ADOPT_DAYS", days)
        with_a_gate(work)
    return versions


def test_the_next_model_is_waited_for_only_when_a_while_has_passed() -> None:
    versions = adoptions(seconds=1e9, days=1e5)
    assert len(versions) > 4
    assert set(versions) == {"lr-1"}


@pytest.mark.parametrize(("seconds", "days"), [(0.0, 1e5), (1e9, 0.0)], ids=["clock", "event time"])
def test_a_while_is_one_of_the_clock_or_of_event_time(seconds: float, days: float) -> None:
    versions = adoptions(seconds, days)
    assert versions == [f"lr-{number}" for number in range(1, len(versions) + 1)]


def test_offsets_of_an_epoch_are_those_of_its_border_and_not_of_what_came_after() -> None:
    async def work(room: Room, worker: Worker, gate: Gate, broker: Broker) -> None:
        task = give_everything(worker, broker)
        await turns()
        sealed: list[int] = []
        flush = room.states.flush

        def watched(position: object) -> None:
            flush(position)  # type: ignore[arg-type]
            marker = broker.marker()
            assert marker is not None
            sealed.append(sum(marker.offsets[topic] for topic in INPUTS))

        room.states.flush = watched  # type: ignore[method-assign]
        gate.open.set()
        await task
        await room.seal()
        steps = [after - before for before, after in zip([0, *sealed], sealed, strict=False)]
        assert sealed[0] == MOST
        assert all(step <= MOST for step in steps)

    with_a_gate(work)


@pytest.mark.parametrize("seed", [0, 1], ids=["a plain ledger", "transactions"])
def test_who_loses_the_partition_while_an_epoch_is_on_its_way_writes_nothing_more(seed: int) -> None:
    async def work(room: Room, worker: Worker, gate: Gate, broker: Broker) -> None:
        task = give_everything(worker, broker)
        await turns()
        before = {place: len(log) for place, log in broker.logs.items()}
        worker.group.lost = True
        gate.open.set()
        await task
        await room.seal()
        assert room.lost
        assert broker.marker() is None
        # A plain ledger may have been in the middle of a step: states, and no end of an epoch.
        after = {place: len(log) for place, log in broker.logs.items() if place[0] != CHANGELOG}
        assert after == {place: before[place] for place in after}
        assert not worker.group.sealed

    with_a_gate(work, seed)


def test_what_keeps_an_epoch_from_becoming_durable_ends_the_worker_at_the_next_border() -> None:
    async def work(room: Room, worker: Worker, gate: Gate, broker: Broker) -> None:
        async def fail(_records: object) -> int:
            raise OSError("no disk")

        gate._append = fail  # type: ignore[method-assign,assignment]
        gate.open.set()
        with pytest.raises(OSError, match="no disk"):
            await give_everything(worker, broker)
        assert not worker.group.sealed

    with_a_gate(work)
