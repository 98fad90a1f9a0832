"""What a partition says, on its way to the broker.

A producer takes a batch for a topic partition only when the one before it has left, so whoever hands over
what each slice has said waits for a request after every slice. Here nobody waits: records go into a lane for
each topic partition, a lane has one batch with the broker at a time, and what is said meanwhile goes together
as the next one. The busier it gets, the fewer and larger the batches. Topics that nobody waits for have
patience besides. A batch of the others leaves as soon as the one before it has been acknowledged.

A border cuts all lanes. What was said before it is on its way, behind what already was, and the border is
sealed when all of that has been acknowledged; what is said after it goes into batches of its own.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Collection

from agents.transport import OutputRecord, Producer

PATIENCE_SECONDS = 0.05
"""How long a patient topic waits for more after it has sent something."""

MOST_WAITING = 20_000
"""Records that wait or are on their way before whoever puts more has to wait too."""


class _Lane:
    """One topic partition: what waits, and the newest batch that does not."""

    __slots__ = ("is_patient", "place", "records", "sent_at", "under_way")

    def __init__(self, topic: str, partition: int, is_patient: bool) -> None:
        self.place = topic, partition
        self.is_patient = is_patient
        self.records: list[OutputRecord] = []
        self.sent_at = 0.0
        self.under_way: asyncio.Task[None] | None = None


class Outbox:
    """Sends records, in order for each topic partition.

    Parameters
    ----------
    producer
        What sends them.
    may_send
        Asked before each batch; what may not be sent any more is dropped.
    patient
        Topics whose records may wait a little for more of them.
    """

    def __init__(self, producer: Producer, may_send: Callable[[], bool], patient: Collection[str]) -> None:
        self._producer = producer
        self._may_send = may_send
        self._patient = frozenset(patient)
        self._lanes: dict[tuple[str, int], _Lane] = {}
        self._since_border: list[asyncio.Task[None]] = []
        self._waiting = 0

    def __bool__(self) -> bool:
        """Whether anything was put since the last border."""
        return bool(self._since_border) or any(lane.records for lane in self._lanes.values())

    def put(self, topic: str, partition: int, record: OutputRecord) -> None:
        """Take a record; `send` or `border` is to follow."""
        lane = self._lanes.get((topic, partition))
        if lane is None:
            lane = self._lanes[topic, partition] = _Lane(topic, partition, topic in self._patient)
        lane.records.append(record)
        self._waiting += 1

    async def drain(self) -> None:
        """Wait while too much is on its way: the broker is slower than we are."""
        while self._waiting > MOST_WAITING:
            self.send()
            going = [lane.under_way for lane in self._lanes.values() if lane.under_way is not None]
            unfinished = [task for task in going if not task.done()]
            if not unfinished:
                return
            await asyncio.wait(unfinished, return_when=asyncio.FIRST_COMPLETED)

    def send(self) -> None:
        """Send what may go now, or raise what kept an earlier batch from arriving."""
        now = time.monotonic()
        for lane in self._lanes.values():
            if not lane.records or (lane.is_patient and now - lane.sent_at < PATIENCE_SECONDS):
                continue
            if lane.under_way is not None and not lane.under_way.done():
                continue
            if not self._may_send():
                return
            if lane.under_way is not None:
                lane.under_way.result()
            self._begin(lane, now)

    def border(self) -> list[asyncio.Task[None]]:
        """Send everything; give what has to be done before all that was put since the last one is there."""
        now = time.monotonic()
        for lane in self._lanes.values():
            if lane.records:
                self._begin(lane, now)
        tasks, self._since_border = self._since_border, []
        return tasks

    def _begin(self, lane: _Lane, now: float) -> None:
        records, lane.records = lane.records, []
        lane.sent_at = now
        lane.under_way = task = asyncio.create_task(self._carry(lane.place, records, lane.under_way))
        self._since_border.append(task)
        if not lane.is_patient:
            task.add_done_callback(lambda task: self._go_on(lane, task))

    def _go_on(self, lane: _Lane, task: asyncio.Task[None]) -> None:
        """Send what was put while a batch was under way; that one failed is for `send` and the border."""
        went_well = not task.cancelled() and task.exception() is None
        if went_well and lane.under_way is task and lane.records and self._may_send():
            self._begin(lane, time.monotonic())

    async def _carry(
        self, place: tuple[str, int], records: list[OutputRecord], before: asyncio.Task[None] | None
    ) -> None:
        if before is not None:
            await asyncio.wait([before])
            before.result()
        if self._may_send():
            await asyncio.gather(*await self._producer.send_records(*place, records))
        self._waiting -= len(records)
