"""Recovery reads what a changelog says, into either store: all of it, its tail, or nothing and a reason."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from agents.changelog import MARKER_KEY, MARKER_VERSION, Marker, marker_record
from agents.cluster import create_missing
from agents.connection import aiokafka_arguments
from agents.errors import OperatorError
from agents.recovery import Recovered, Recovery
from agents.rocksdb_store import folder_of
from agents.settings import Settings
from agents.stores import Position, StateStore, open_store
from schemas.topics import CHANGELOG
from streams.config import StreamConfig
from streams.customer.at_hand import state_records
from streams.customer.state import new_state
from streams.customer.state_codec import encode_state
from streams.learning.served import untrained
from tests.live.harness import Worker, own_settings

pytestmark = pytest.mark.broker

Said = tuple[bytes | None, bytes | None]


def value_of(orders: int) -> bytes:
    state = new_state(86_400_000, 2)
    state.orders = orders
    state.verdict.due_ms = 90_000_000 + orders
    return encode_state(state)


def marker_of(sequence: int, customers: int) -> Said:
    model = untrained(StreamConfig())
    key, value, _ = marker_record(Marker(MARKER_VERSION, sequence, {"orders": 7}, 5, model, customers))
    return key, value


class Topic:
    """A changelog of one partition, and the store of the worker that recovers from it."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.name = settings.topic(CHANGELOG)

    async def write(self, *records: Said) -> None:
        async with AIOKafkaProducer(
            bootstrap_servers=self.settings.kafka.bootstrap, acks="all", max_batch_size=1 << 20
        ) as producer:
            sent = [await producer.send(self.name, value, key, partition=0) for key, value in records]
            await asyncio.gather(*sent)

    async def recover(self, **options: Any) -> tuple[Recovered, StateStore]:
        store = await open_store(self.settings, self.name, 0)
        recovery = Recovery(self.name, 0, aiokafka_arguments(self.settings), **options)
        return await recovery.run(store), store

    async def held(self) -> dict[str, int]:
        """Recover, let go, and tell how many orders each customer has."""
        recovered, store = await self.recover()
        held = {customer_id: state.orders for customer_id, state in recovered.states.items()}
        assert dict(store.dues()) == {c: 90_000_000 + orders for c, orders in held.items()}
        store.close()
        return held


@pytest.fixture(params=["memory", "rocksdb"])
def topic(request: pytest.FixtureRequest, live_broker: dict[str, object], tmp_path: Path) -> Topic:
    settings = own_settings(
        live_broker, worker__store=request.param, worker__data_folder=str(tmp_path), topics__partitions=1
    )
    create_missing(settings)
    return Topic(settings)


@pytest.fixture
def rocks(live_broker: dict[str, object], tmp_path: Path) -> Topic:
    settings = own_settings(
        live_broker, worker__store="rocksdb", worker__data_folder=str(tmp_path), topics__partitions=1
    )
    create_missing(settings)
    return Topic(settings)


def run(work: Callable[[], Awaitable[None]]) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(60):
            await work()

    asyncio.run(bounded())


def test_an_empty_changelog_is_a_beginning(topic: Topic) -> None:
    async def work() -> None:
        recovered, store = await topic.recover()
        assert (recovered.marker, len(store), store.position) == (None, 0, None)
        store.close()

    run(work)


def test_the_latest_of_each_customer_counts_and_tombstones_erase(topic: Topic) -> None:
    async def work() -> None:
        await topic.write(
            (b"a", value_of(1)),
            (b"b", value_of(1)),
            (b"c", value_of(1)),
            marker_of(1, 3),
            (b"a", value_of(2)),
        )
        await topic.write((b"b", None), marker_of(2, 2), (b"c", None), (b"c", value_of(3)))
        recovered, store = await topic.recover()
        assert {c: s.orders for c, s in store.items()} == {"a": 2, "c": 3}
        assert recovered.marker is not None
        assert (recovered.marker.sequence, recovered.marker.offsets) == (2, {"orders": 7})
        assert recovered.marker.watermark_ms == 5
        store.close()

    run(work)


def test_a_store_that_survived_reads_the_tail_and_equals_one_that_was_wiped(topic: Topic) -> None:
    async def work() -> None:
        await topic.write((b"a", value_of(1)), (b"b", value_of(1)), (b"c", value_of(1)), marker_of(1, 3))
        assert len(await topic.held()) == 3
        await topic.write((b"a", value_of(2)), (b"b", None), (b"d", value_of(4)), marker_of(2, 3))
        warm = await topic.held()
        store = await open_store(topic.settings, topic.name, 0)
        store.wipe()
        store.close()
        assert await topic.held() == warm == {"a": 2, "c": 1, "d": 4}

    run(work)


def test_only_the_tail_is_read(rocks: Topic, monkeypatch: pytest.MonkeyPatch) -> None:
    from agents.rocksdb_store import RocksStore

    read: list[str] = []
    restore = RocksStore.restore

    def counted(store: RocksStore, changes: Any) -> None:
        listed = list(changes)
        read.extend(change.customer_id for change in listed)
        restore(store, listed)

    monkeypatch.setattr(RocksStore, "restore", counted)

    async def work() -> None:
        await rocks.write((b"a", value_of(1)), (b"b", value_of(1)), marker_of(1, 2))
        await rocks.held()
        assert read == ["a", "b"]
        await rocks.write((b"c", value_of(1)), marker_of(2, 3))
        assert set(await rocks.held()) == {"a", "b", "c"}
        assert read == ["a", "b", "c"]

    run(work)


def test_a_log_that_is_shorter_than_the_store_rebuilds_it(rocks: Topic) -> None:
    async def work() -> None:
        await rocks.write((b"a", value_of(1)), marker_of(1, 1))
        _, store = await rocks.recover()
        store.flush(Position(40, 1000))
        store.close()
        assert await rocks.held() == {"a": 1}

    run(work)


def test_a_log_made_anew_that_has_grown_past_the_store_rebuilds_it(rocks: Topic) -> None:
    async def work() -> None:
        await rocks.write((b"a", value_of(1)), (b"b", value_of(2)), marker_of(1, 2))
        _, store = await rocks.recover()
        store["ghost"] = store["a"]
        store.border(*state_records(["ghost"], store))
        store.flush(Position(40, 1))  # of the 40th epoch, and the log knows of one
        store.close()
        assert await rocks.held() == {"a": 1, "b": 2}

    run(work)


def test_a_store_that_lacks_customers_is_rebuilt(rocks: Topic) -> None:
    async def work() -> None:
        await rocks.write((b"a", value_of(1)), (b"b", value_of(2)), marker_of(1, 2))
        _, store = await rocks.recover()
        del store["a"]
        assert store.position is not None
        store.border(*state_records(["a"], store))
        store.flush(store.position)
        store.close()
        assert await rocks.held() == {"a": 1, "b": 2}

    run(work)


def test_a_damaged_store_is_rebuilt(rocks: Topic) -> None:
    async def work() -> None:
        await rocks.write((b"a", value_of(1)), marker_of(1, 1))
        await rocks.held()
        await rocks.held()
        (table, *_) = folder_of(rocks.settings, rocks.name, 0).glob("*.sst")
        content = bytearray(table.read_bytes())
        content[5] ^= 0xFF
        table.write_bytes(content)
        assert await rocks.held() == {"a": 1}

    run(work)


def test_fewer_customers_than_the_marker_counts_are_refused(topic: Topic) -> None:
    async def work() -> None:
        await topic.write((b"a", value_of(1)), marker_of(1, 2))
        with pytest.raises(OperatorError, match="1 customers where its marker counts 2; state is lost"):
            await topic.recover()

    run(work)


def test_customers_of_an_unfinished_epoch_are_not_too_many(topic: Topic) -> None:
    async def work() -> None:
        await topic.write((b"a", value_of(1)), marker_of(1, 1), (b"b", value_of(1)))
        assert await topic.held() == {"a": 1, "b": 1}

    run(work)


SECRET = b"very-private"


@pytest.mark.parametrize(
    ("key", "value", "what"),
    [
        (b"a", SECRET, "not a customer's state"),
        (b"a", b"", "not a customer's state"),
        (SECRET + b"\xff", value_of(1), "not a customer's state"),
        (None, value_of(1), "not a customer's state"),
        (MARKER_KEY, SECRET, "not an epoch marker"),
        (MARKER_KEY, None, "not an epoch marker"),
    ],
    ids=["state", "empty", "key", "no key", "marker", "marker erased"],
)
def test_a_record_that_cannot_be_read_is_named_by_its_place_only(
    topic: Topic, key: bytes | None, value: bytes | None, what: str
) -> None:
    async def work() -> None:
        await topic.write((b"b", value_of(1)), marker_of(1, 1))
        try:
            await topic.write((key, value))
        except KafkaError:
            assert key is None, "Apache Kafka refuses a record without a key on a compacted topic"
            return
        with pytest.raises(OperatorError) as refused:
            await topic.recover()
        assert f"{topic.name} partition 0 offset 2: " in str(refused.value)
        assert what in str(refused.value)
        assert "private" not in str(refused.value)
        assert refused.value.__cause__ is None

    run(work)


def test_a_worker_with_a_corrupt_changelog_ends_within_seconds(topic: Topic) -> None:
    run(lambda: topic.write((b"a", value_of(1)), marker_of(1, 1), (b"b", SECRET)))
    started = time.monotonic()
    with Worker(topic.settings) as worker:
        assert worker.process.wait(timeout=30) == 1
        assert time.monotonic() - started < 30.0
        assert f"holdfast: {topic.name} partition 0 offset 2: " in worker.said()
        assert "private" not in worker.said()


def test_a_broker_that_falls_silent_is_given_up(topic: Topic, monkeypatch: pytest.MonkeyPatch) -> None:
    """The end is said to lie further on than anything that will ever come."""
    from agents import changelog

    monkeypatch.setattr(changelog, "_end", lambda *_: 10)

    async def work() -> None:
        await topic.write((b"a", value_of(1)), marker_of(1, 1))
        with pytest.raises(TimeoutError, match=r"partition 0: nothing came for 0.5 s at offset 2 of 10$"):
            await topic.recover(idle_seconds=0.5)

    run(work)


@pytest.mark.kafka
def test_a_log_that_ends_in_transaction_markers_is_read_to_its_end(topic: Topic) -> None:
    """And what was rolled back, or is not yet committed, does not count."""

    async def work() -> None:
        producer = AIOKafkaProducer(
            bootstrap_servers=topic.settings.kafka.bootstrap,
            transactional_id=topic.name,
        )
        async with producer:

            async def epoch(*records: Said) -> None:
                sent = [await producer.send(topic.name, value, key, partition=0) for key, value in records]
                await asyncio.gather(*sent)

            async with producer.transaction():
                await epoch((b"a", value_of(1)), (b"b", value_of(1)), marker_of(1, 2))
            assert await topic.held() == {"a": 1, "b": 1}
            async with producer.transaction():
                await epoch((b"a", value_of(2)), (b"b", None), marker_of(2, 1))
            await producer.begin_transaction()
            await epoch((b"a", value_of(3)), (b"c", value_of(3)), marker_of(3, 2))
            await producer.abort_transaction()
            assert await topic.held() == {"a": 2}, "a log that ends in a rollback"
            assert await topic.held() == {"a": 2}, "and again, from a tail with nothing new"
            await producer.begin_transaction()
            await epoch((b"d", value_of(4)), marker_of(3, 2))
            assert await topic.held() == {"a": 2}, "a transaction that is still open"
            await producer.commit_transaction()
            assert await topic.held() == {"a": 2, "d": 4}

    run(work)
