"""The customers agent: the edge of `streams.customer.machine`.

It keeps a room for each partition that this worker holds, recovers a room from the changelog when the
partition comes, seals it when the partition goes, and hands records over. What records mean is not
decided here.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping
from typing import Any

from faust.types import TP

from agents import metrics
from agents.census import Census
from agents.epochs import Room
from agents.errors import OperatorError
from agents.inputs import check_same, start_of
from agents.ledger import Ledger, make_ledger
from agents.models import ModelFeed
from agents.recovery import Recovered, Recovery
from agents.session import Session
from agents.settings import Settings
from agents.stores import open_store
from agents.transport import Consumer, Producer
from agents.watchdog import Progress
from schemas.topics import CHANGELOG, ERASURES, INPUTS

log = logging.getLogger(__name__)


class Customers:
    """The rooms of this worker.

    Parameters
    ----------
    settings
        The whole settings.
    connection
        What aiokafka needs to reach the cluster.
    feed
        Where models come from.
    session
        Knows when this process has stood still.
    topic_ids
        By topic that is read, the id that the cluster gave it.
    guard
        Awaits something that must not fail.
    """

    def __init__(
        self,
        settings: Settings,
        connection: dict[str, Any],
        feed: ModelFeed,
        session: Session,
        topic_ids: Mapping[str, str],
        guard: Callable[[Awaitable[None]], Coroutine[Any, Any, None]],
    ) -> None:
        self.topics = tuple(settings.topic(name) for name in (*INPUTS, ERASURES))
        self.rooms: dict[int, Room] = {}
        self._leaving: list[Room] = []
        self._awaits_models = False
        self._settings = settings
        self._connection = connection
        self._feed = feed
        self._session = session
        self._topic_ids = dict(topic_ids)
        self._erasures = settings.topic(ERASURES)
        self._guard = guard
        self._at_work: set[asyncio.Task[None]] = set()
        metrics.begin_at_zero(self.topics[: len(INPUTS)])
        self._census = Census()
        self._shown_at = 0.0

    async def assigned(self, tps: set[TP], generation: int, consumer: Consumer, producer: Producer) -> None:
        """Recover a room for each partition held, and say where it begins."""
        held = {topic: {tp.partition for tp in tps if tp.topic == topic} for topic in self.topics}
        partitions = set.union(*held.values())
        if any(numbers != partitions for numbers in held.values()):
            raise OperatorError(
                f"the group assigns {' and '.join(self.topics)} to different workers; "
                "do they have the same number of partitions, and all workers the same version?"
            )
        await self._let_go(
            n for n, room in self.rooms.items() if room.generation != generation or n not in partitions
        )
        self._awaits_models = True
        await self._feed.ready.wait()
        self._awaits_models = False
        if not consumer.is_ours(generation):
            return  # another rebalance began meanwhile, and will call again; the ledgers may have owners now
        new = sorted(partitions - self.rooms.keys())
        topic = self._settings.topic(CHANGELOG)
        ledgers = [
            make_ledger(self._settings, self._connection, producer, topic, partition) for partition in new
        ]
        recovered = await asyncio.gather(*map(self._take_over, new, ledgers))
        if not consumer.is_ours(generation):
            await asyncio.gather(*(ledger.close() for ledger in ledgers))
            for state in recovered:
                state.states.close()
            return
        for partition, ledger, state in zip(new, ledgers, recovered, strict=True):
            self.rooms[partition] = Room(
                self._settings,
                partition,
                generation,
                state,
                consumer=consumer,
                producer=producer,
                ledger=ledger,
                session=self._session,
                topic_ids=self._topic_ids,
                feed=self._feed,
            )
        gc.freeze()  # what was recovered stays, and holds no cycles
        earliest = await consumer.earliest_offsets(
            *(TP(topic, number) for topic in self.topics for number in self.rooms)
        )
        for room in self.rooms.values():
            if room.partition in new and not room.sequence:
                room.begin_at({tp.topic: at for tp, at in earliest.items() if tp.partition == room.partition})
            for topic, offset in room.offsets().items():
                tp = TP(topic, room.partition)
                consumer.starts[tp] = offset
                if room.sequence:
                    consumer.starts[tp] = start_of(topic, room.partition, offset, earliest.get(tp, 0))
                    consumer.sealed[tp] = offset  # by a worker that may have died before it committed

    async def _take_over(self, partition: int, ledger: Ledger) -> Recovered:
        await ledger.open()  # first: what is read is then all that there will be
        recovered = await self._recover(partition)
        if recovered.marker is not None:
            changelog = self._settings.topic(CHANGELOG)
            ids = {topic: self._topic_ids.get(topic, "") for topic in self.topics if topic != self._erasures}
            check_same(recovered.marker.topic_ids, ids, changelog)
        return recovered

    async def _recover(self, partition: int) -> Recovered:
        started = time.monotonic()
        changelog = self._settings.topic(CHANGELOG)
        store = await open_store(self._settings, changelog, partition)
        recovered = await Recovery(changelog, partition, self._connection).run(store)
        metrics.RECOVERY_SECONDS.labels(str(partition)).set(time.monotonic() - started)
        log.info("partition %d: %d customers recovered", partition, len(recovered.states))
        return recovered

    async def revoked(self, tps: set[TP]) -> None:
        """Seal and drop the rooms of partitions that go."""
        await self._let_go({tp.partition for tp in tps if tp.topic in self.topics} & self.rooms.keys())

    async def _let_go(self, partitions: Iterable[int]) -> None:
        rooms = [self.rooms.pop(partition) for partition in list(partitions)]
        self._leaving = rooms
        self._census.begin_anew()  # it must not look into a store that is closed
        await asyncio.gather(*(room.seal() for room in rooms))
        self._leaving = []
        for room in rooms:
            room.states.close()
            await room.ledger.close()
            metrics.drop_partition(room.partition)

    def progress(self) -> dict[str, Progress]:
        """Tell how each partition gets on, but for those in recovery, which has a deadline of its own."""
        found = {f"partition {room.partition}": room.progress() for room in list(self.rooms.values())}
        for room in self._leaving:  # it is being sealed, whether records wait or not
            found[f"partition {room.partition}"] = Progress(True, room.sequence)
        if self._awaits_models:
            found["the model feed"] = Progress(True, self._feed.taken)
        return found

    async def feed(self, message: Any) -> None:
        """Hand what a fetch brought to its rooms, which work on while others seal."""
        for tp, records in message.value.items():
            room = self.rooms.get(tp.partition)
            if room is None or room.generation != message.generation_id:
                continue  # it was fetched before the partition went, or came back
            room.arrive(tp.topic, records)
            if not room.is_called:
                room.is_called = True
                task = asyncio.create_task(self._process(room))
                self._at_work.add(task)  # the loop itself holds tasks weakly
                task.add_done_callback(self._at_work.discard)

    async def _process(self, room: Room) -> None:
        await self._guard(room.process())

    async def rest(self) -> None:
        """Wait until everything that was handed over has been dealt with."""
        await asyncio.gather(*self._at_work)

    async def tick(self) -> None:
        """Let every room do what time calls for."""
        await asyncio.gather(*(room.tick() for room in list(self.rooms.values())))
        self._show()

    def _show(self) -> None:
        """Show what follows from no single record: how much waits, and who the customers are."""
        if self.rooms:
            judge = next(iter(self.rooms.values())).machine.judge
            self._census.look({number: room.states for number, room in self.rooms.items()}, judge)
        if time.monotonic() - self._shown_at >= 1.0:
            self._shown_at = time.monotonic()
            for room in self.rooms.values():
                room.measure_waiting()
