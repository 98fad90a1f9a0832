"""Records go on while the broker acknowledges the epoch before, and meet the models that markers announce."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from types import SimpleNamespace

import msgspec
import pytest
from faust.types import TP

from agents import epochs, metrics
from agents.changelog import MARKER_KEY, read_marker
from agents.epochs import Room
from bench.faults.simulated import Broker, Group, Simulation, Worker, settings
from schemas.topics import CHANGELOG, CUSTOMER_SCORES, INPUTS
from streams.learning.served import Served
from tests.streams.build import snapshot_of

MOST = settings().worker.epoch_max_records


class Gate:
    """A ledger that takes states only when it is told to; a marker alone it takes at once."""

    def __init__(self, room: Room) -> None:
        self.open = asyncio.Event()
        self._append = room.ledger.append
        room.ledger.append = self._wait_and_append  # type: ignore[method-assign]

    async def _wait_and_append(self, records: list[object]) -> int:
        if records:
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
        assert not any(worker.group.sealed.values()), "nothing may be committed yet"
        assert room.sequence == 1, "the marker that a partition begins with"
        said = len(broker.said)
        assert said > 0
        gate.open.set()
        await task
        await room.seal()
        assert sum(worker.group.sealed[TP(topic, 0)] for topic in INPUTS) > 4 * MOST
        assert len(broker.said) > said

    with_a_gate(work)


class Feed:
    """Has a newer model from a room's first record on; each time it is asked, where it never rests."""

    def __init__(self, room: Room, never_rests: bool = False) -> None:
        self._room, self._first, self._never_rests = room, room.machine.model, never_rests
        self._number = 7
        room._feed = self  # type: ignore[assignment]

    @property
    def latest(self) -> Served:
        if not self._room._intake.taken:
            return self._first
        self._number += self._never_rests
        snapshot = snapshot_of(-1.0, {"log_silence": 1.0}, version=f"lr-{self._number}")
        return Served(msgspec.structs.replace(snapshot, n_learned=self._number))


def models_of(broker: Broker) -> set[str]:
    """Name the models of the scores that were said."""
    values = [value for _, value in broker.logs[CUSTOMER_SCORES, 0]]
    return {msgspec.json.decode(value)["model_version"] for value in values if value is not None}


def test_a_model_decides_aloud_only_when_the_marker_that_announced_it_is_durable() -> None:
    async def work(room: Room, worker: Worker, gate: Gate, broker: Broker) -> None:
        Feed(room)
        task = give_everything(worker, broker)
        await turns()
        assert room.machine.has_used_news
        assert room._intake.taken == 2 * MOST, "the slice in which it was used was gone through"
        assert models_of(broker) == {"lr-0"}
        gate.open.set()
        await task
        await room.seal()
        assert room._intake.taken > 4 * MOST
        assert models_of(broker) == {"lr-0", "lr-7"}

    with_a_gate(work)


def test_a_marker_announces_a_model_for_a_moment_between_it_and_the_next() -> None:
    async def work(room: Room, worker: Worker, gate: Gate, broker: Broker) -> None:
        Feed(room)
        gate.open.set()
        await give_everything(worker, broker)
        await room.seal()
        markers = [read_marker(value) for key, value in broker.logs[CHANGELOG, 0] if key == MARKER_KEY]
        announcing = [marker for marker in markers if marker.later_model is not None]
        assert markers[0].later_model is None
        assert announcing == markers[-len(announcing) :], "from there on each marker says so"
        for marker in announcing:
            assert marker.later_model is not None
            assert (marker.model.model_version, marker.later_model.model_version) == ("lr-0", "lr-7")
        first, second = announcing[:2]
        assert first.watermark_ms < first.later_from_ms == second.later_from_ms <= second.watermark_ms

    with_a_gate(work)


def test_a_partition_whose_logs_begin_later_begins_there_and_misses_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def earliest(_group: Group, *tps: TP) -> dict[TP, int]:
        return {tp: 5 if tp.topic in INPUTS else 0 for tp in tps}

    monkeypatch.setattr(Group, "earliest_offsets", earliest)
    cut = [metrics.CUT.labels(topic) for topic in INPUTS]
    before = [counter._value.get() for counter in cut]

    async def work(room: Room, worker: Worker, gate: Gate, broker: Broker) -> None:
        assert [worker.group.starts[TP(topic, 0)] for topic in INPUTS] == [5, 5]
        room.arrive(INPUTS[0], broker.inputs[0][5:15])
        await room.process()  # which waits for the other input, with the first marker written
        marker = broker.marker()
        assert marker is not None
        assert [marker.offsets[topic] for topic in INPUTS] == [5, 5]

    with_a_gate(work)
    assert [counter._value.get() for counter in cut] == before


def announcements(seconds: float, days: float) -> list[str]:
    """Offer a newer model whenever one is asked for; give those that markers announced, border by border."""
    versions: list[str] = []

    async def work(room: Room, worker: Worker, gate: Gate, broker: Broker) -> None:
        announce = room._announce

        def offered(moved_ms: int) -> None:
            announce(moved_ms)
            if room.machine.later_model is not None:
                versions.append(room.machine.later_model.model_version)

        room._announce = offered  # type: ignore[method-assign]
        Feed(room, never_rests=True)
        gate.open.set()
        await give_everything(worker, broker)
        await room.seal()

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(epochs, "ANNOUNCE_SECONDS", seconds)
        patched.setattr(epochs, "ANNOUNCE_DAYS", days)
        with_a_gate(work)
    return versions


def test_the_next_model_is_announced_only_when_a_while_has_passed() -> None:
    assert len(set(announcements(seconds=1e9, days=1e5))) == 1


@pytest.mark.parametrize(("seconds", "days"), [(0.0, 1e5), (1e9, 0.0)], ids=["clock", "event time"])
def test_a_while_is_one_of_the_clock_or_of_event_time(seconds: float, days: float) -> None:
    assert len(set(announcements(seconds, days))) > 2


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
        assert sealed[0] == MOST, "the first is on its way"
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
        marker = broker.marker()
        assert marker is not None
        assert marker.sequence == 1, "the one that a partition begins with"
        # A plain ledger may have been in the middle of a step: states, and no end of an epoch.
        after = {place: len(log) for place, log in broker.logs.items() if place[0] != CHANGELOG}
        assert after == {place: before[place] for place in after}
        assert not any(worker.group.sealed.values())

    with_a_gate(work, seed)


def test_what_keeps_an_epoch_from_becoming_durable_ends_the_worker_at_the_next_border() -> None:
    async def work(room: Room, worker: Worker, gate: Gate, broker: Broker) -> None:
        async def fail(_records: object) -> int:
            raise OSError("no disk")

        gate._append = fail  # type: ignore[method-assign,assignment]
        gate.open.set()
        with pytest.raises(OSError, match="no disk"):
            await give_everything(worker, broker)
        assert not any(worker.group.sealed.values())

    with_a_gate(work)
