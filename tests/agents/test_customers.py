"""What the watchdog is told while partitions come and go."""

from __future__ import annotations

import asyncio
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

from faust.types import TP

from agents.app import guarded, make_app
from agents.customers import Customers
from agents.ledger import PlainLedger
from agents.models import ModelFeed
from agents.session import Session
from agents.settings import Settings, load
from agents.stores import MemoryStore
from agents.transport import Consumer, Producer
from agents.watchdog import Progress
from schemas.topics import ERASURES, EXAMPLES


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


class TakingRoom:
    """A room that says what it was given."""

    def __init__(self, generation: int) -> None:
        self.generation = generation
        self.is_called = False
        self.arrived: list[tuple[str, list[int]]] = []
        self.processed = 0

    def arrive(self, topic: str, records: list[int]) -> None:
        self.arrived.append((topic, records))

    async def process(self) -> None:
        self.is_called = False
        self.processed += 1


def test_each_room_gets_its_part_of_a_fetch_and_one_call_and_what_is_stale_goes_nowhere() -> None:
    stale, live, other = TakingRoom(1), TakingRoom(2), TakingRoom(2)

    async def scenario() -> None:
        customers = agent()
        customers.rooms = {1: stale, 2: live, 3: other}  # type: ignore[dict-item]
        fetched = {
            TP("clickstream", 0): [10],  # of a partition that has gone
            TP("clickstream", 1): [11],
            TP("clickstream", 2): [12, 13],
            TP("orders", 2): [14],
            TP("erasures", 3): [15],
        }
        await customers.feed(SimpleNamespace(value=fetched, generation_id=2))
        await customers.rest()

    asyncio.run(scenario())
    assert (stale.arrived, stale.processed) == ([], 0)
    assert (live.arrived, live.processed) == ([("clickstream", [12, 13]), ("orders", [14])], 1)
    assert (other.arrived, other.processed) == ([("erasures", [15])], 1)


def test_the_transport_knows_which_agent_reads_which_topic(tmp_path: Path) -> None:
    settings = load(Path("/dev/null"), {}, {"worker.data_folder": str(tmp_path)})
    app = make_app(settings, {})
    assert app.readers == {
        "clickstream": "customers",
        "orders": "customers",
        settings.topic(ERASURES): "customers",
        settings.topic(EXAMPLES): "learner",
    }
    assert cast(Consumer, app.consumer).readers is app.readers
