"""The customers agent: the edge of `streams.customer.machine`.

It keeps a room for each partition that this worker holds, recovers a room from the changelog when the
partition comes, seals it when the partition goes, and hands records over. What records mean is not
decided here.
"""

from __future__ import annotations

import asyncio
import logging
import time
from typing import Any

from faust.types import TP

from agents import metrics
from agents.epochs import Room
from agents.errors import OperatorError
from agents.models import ModelFeed
from agents.recovery import Recovered, Recovery
from agents.settings import Settings
from agents.stores import open_store
from agents.transport import Consumer, Producer
from schemas.topics import CHANGELOG, INPUTS

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
    """

    def __init__(self, settings: Settings, connection: dict[str, Any], feed: ModelFeed) -> None:
        self.inputs = tuple(settings.topic(name) for name in INPUTS)
        self.rooms: dict[int, Room] = {}
        self._settings = settings
        self._connection = connection
        self._feed = feed

    async def assigned(self, tps: set[TP], generation: int, consumer: Consumer, producer: Producer) -> None:
        """Recover a room for each partition held, and say where it begins."""
        held = {topic: {tp.partition for tp in tps if tp.topic == topic} for topic in self.inputs}
        partitions = set.union(*held.values())
        if any(numbers != partitions for numbers in held.values()):
            raise OperatorError(
                f"the group assigns {' and '.join(self.inputs)} to different workers; "
                "do both topics have the same number of partitions?"
            )
        await self._let_go({n for n, room in self.rooms.items() if room.generation != generation})
        await self._feed.ready.wait()
        new = sorted(partitions - self.rooms.keys())
        recovered = await asyncio.gather(*(self._recover(partition) for partition in new))
        if not consumer.is_ours(generation):
            for state in recovered:
                state.states.close()
            return  # another rebalance began meanwhile, and will call again
        for partition, state in zip(new, recovered, strict=True):
            self.rooms[partition] = Room(
                self._settings,
                partition,
                generation,
                state,
                consumer=consumer,
                producer=producer,
                feed=self._feed,
            )
        for room in self.rooms.values():
            for topic, offset in zip(self.inputs, room.done, strict=True):
                tp = TP(topic, room.partition)
                consumer.starts[tp] = offset
                if room.sequence:  # sealed by a worker that may have died before it committed
                    consumer.sealed[tp] = offset

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
        await self._let_go({tp.partition for tp in tps if tp.topic in self.inputs} & self.rooms.keys())

    async def _let_go(self, partitions: set[int]) -> None:
        rooms = [self.rooms.pop(partition) for partition in partitions]
        await asyncio.gather(*(room.seal() for room in rooms))
        for room in rooms:
            room.states.close()
            metrics.drop_partition(room.partition)

    async def feed(self, message: Any) -> None:
        """Hand a fetched batch to its room."""
        room = self.rooms.get(message.partition)
        if room is not None:  # else it was fetched before the partition went
            await room.feed(message)

    async def tick(self) -> None:
        """Let every room do what time calls for."""
        await asyncio.gather(*(room.tick() for room in list(self.rooms.values())))
