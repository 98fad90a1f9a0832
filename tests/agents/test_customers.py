"""What the watchdog is told while partitions come and go."""

from __future__ import annotations

import asyncio
from typing import Any, cast

from faust.types import TP

from agents.app import guarded
from agents.customers import Customers
from agents.ledger import PlainLedger
from agents.models import ModelFeed
from agents.session import Session
from agents.settings import Settings
from agents.stores import MemoryStore
from agents.transport import Producer
from agents.watchdog import Progress


class HangingRoom:
    """A room whose last epoch is never acknowledged."""

    partition = 3
    sequence = 7
    generation = 1

    def __init__(self) -> None:
        self.acknowledged = asyncio.Event()
        self.ledger = PlainLedger(cast(Producer, None), "customers-changelog", 3)
        self.states = MemoryStore()

    def progress(self) -> Progress:
        return Progress(False, self.sequence)

    async def seal(self) -> None:
        await self.acknowledged.wait()


def agent() -> Customers:
    settings = Settings()
    return Customers(settings, {}, ModelFeed("models", {}, settings.streams), Session(30.0), {}, guarded)


def test_a_partition_that_is_handed_over_is_watched_until_it_is_sealed() -> None:
    async def scenario() -> list[dict[str, Progress]]:
        customers, room = agent(), HangingRoom()
        customers.rooms = {3: room}  # type: ignore[dict-item]
        seen = [customers.progress()]
        leaving = asyncio.create_task(customers.revoked({TP("orders", 3)}))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        seen.append(customers.progress())
        room.acknowledged.set()
        await leaving
        return [*seen, customers.progress()]

    quiet, handed_over, gone = asyncio.run(scenario())
    assert quiet == {"partition 3": Progress(False, 7)}
    assert handed_over == {"partition 3": Progress(True, 7)}
    assert gone == {}


def test_waiting_for_the_first_model_is_watched() -> None:
    async def scenario() -> dict[str, Progress]:
        customers: Any = agent()
        taking_over = asyncio.create_task(
            customers.assigned({TP(topic, 0) for topic in customers.topics}, 1, None, None)
        )
        await asyncio.sleep(0)
        seen = customers.progress()
        taking_over.cancel()
        return seen

    assert asyncio.run(scenario()) == {"the model feed": Progress(True, 0)}
