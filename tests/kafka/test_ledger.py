"""A ledger on Apache Kafka: an epoch is whole or absent, and only its owner can write one."""

from __future__ import annotations

import asyncio
import itertools
import os
from pathlib import Path

import pytest

from agents.changelog import read_latest
from agents.cluster import create_missing
from agents.connection import aiokafka_arguments
from agents.ledger import Fenced, TransactionalLedger
from agents.settings import Settings, load
from schemas.topics import CHANGELOG

pytestmark = pytest.mark.kafka

_numbers = itertools.count()
END = (b"\x00marker", b"end", [])
END_OF_ZOMBIE = (END[0], b"zombie", [])


@pytest.fixture
def settings(live_broker: dict[str, object]) -> Settings:
    name = f"ledger{os.getpid()}-{next(_numbers)}"
    own = {"topics.prefix": f"{name}.", "kafka.group": name, "topics.partitions": 1}
    made = load(Path(os.devnull), {}, live_broker | own)
    create_missing(made)
    return made


def ledger(settings: Settings) -> TransactionalLedger:
    return TransactionalLedger(
        aiokafka_arguments(settings), settings.kafka.group, settings.topic(CHANGELOG), 0
    )


async def latest(settings: Settings) -> dict[bytes, bytes]:
    return await read_latest(settings.topic(CHANGELOG), 0, aiokafka_arguments(settings), idle_seconds=10.0)


def record(key: str, value: str) -> tuple[bytes, bytes, list[tuple[str, bytes]]]:
    return key.encode(), value.encode(), []


def test_an_epoch_that_was_not_committed_is_not_there(settings: Settings) -> None:
    async def run() -> None:
        first = ledger(settings)
        await first.open()
        await first.append([record("a", "1"), record("b", "1")])
        await first.commit(END, [])
        await first.append([record("a", "2"), record("c", "2")])
        await first.close()  # as a crash would leave it
        second = ledger(settings)
        await second.open()
        assert await latest(settings) == {b"a": b"1", b"b": b"1", END[0]: b"end"}
        await second.append([record("a", "3")])
        await second.commit(END, [(b"b", None, [])])
        await second.close()
        assert await latest(settings) == {b"a": b"3", END[0]: b"end"}

    asyncio.run(run())


def test_whoever_was_fenced_can_neither_append_nor_commit(settings: Settings) -> None:
    async def run() -> None:
        for appends in (True, False):
            zombie, owner = ledger(settings), ledger(settings)
            await zombie.open()
            await zombie.append([record("a", "zombie")])
            await owner.open()
            await owner.append([record("a", "owner")])
            await owner.commit(END, [])
            writes = zombie.append([record("a", "again")]) if appends else zombie.commit(END_OF_ZOMBIE, [])
            with pytest.raises(Fenced):
                await writes
            assert await latest(settings) == {b"a": b"owner", END[0]: b"end"}
            await zombie.close()
            await owner.close()

    asyncio.run(run())


def test_an_epoch_without_changes_still_has_an_end(settings: Settings) -> None:
    async def run() -> None:
        only = ledger(settings)
        await only.open()
        await only.commit(END, [])
        await only.commit((END[0], b"later", []), [])
        await only.close()
        assert await latest(settings) == {END[0]: b"later"}

    asyncio.run(run())


def test_an_epoch_larger_than_a_request_is_one_epoch(settings: Settings) -> None:
    async def run() -> None:
        only = ledger(settings)
        await only.open()
        many = [record(f"c{number}", "x" * 400) for number in range(20_000)]
        await only.append(many)
        assert await latest(settings) == {}
        await only.commit(END, [])
        await only.close()
        assert len(await latest(settings)) == 20_001

    asyncio.run(run())
