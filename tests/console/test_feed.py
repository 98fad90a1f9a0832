"""Reading the topics: everything that is there first, then what comes, through a real broker."""

from __future__ import annotations

import asyncio
import itertools
import os
import socket
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
import pytest
from aiokafka import AIOKafkaProducer

from agents.client import partition_of
from agents.cluster import LayoutError, create_missing
from agents.connection import aiokafka_arguments
from agents.console.feed import Feed, News
from agents.console.server import run
from agents.console.view import View
from agents.errors import EXIT_BUG
from agents.sections import ConsoleSettings
from agents.settings import Settings, load
from agents.worker_process import ConsoleProcess, WorkerEndedError
from schemas.decisions import ChurnAlert
from schemas.topics import CHURN_ALERTS, CUSTOMER_SCORES, MODELS, dead_letters_of
from tests.console.feeding import Message, decoded, said, until, view_of

_numbers = itertools.count()


@pytest.fixture
def settings(live_broker: dict[str, object]) -> Settings:
    prefix = f"console{os.getpid()}-{next(_numbers)}."
    return load(Path(os.devnull), {}, live_broker | {"topics.prefix": prefix})


@asynccontextmanager
async def producer_of(settings: Settings) -> AsyncIterator[AIOKafkaProducer]:
    producer = AIOKafkaProducer(**aiokafka_arguments(settings), acks="all")
    await producer.start()
    try:
        yield producer
    finally:
        await producer.stop()


async def send(producer: AIOKafkaProducer, settings: Settings, messages: Sequence[Message]) -> None:
    futures = []
    for topic, key, value in messages:
        partition = 0 if topic == MODELS else partition_of(key, settings.topics.partitions)
        futures.append(await producer.send(settings.topic(topic), value, key, partition=partition))
    await asyncio.gather(*futures)


@pytest.mark.broker
def test_what_is_there_is_read_first_and_what_comes_is_news(settings: Settings) -> None:
    create_missing(settings)
    messages = said()
    last = max(place for place, m in enumerate(messages) if m.topic == CHURN_ALERTS)
    there, later = [*messages[:last], *messages[last + 1 :]], messages[last]
    view, news = View(), list[News]()

    async def run() -> None:
        feed = Feed(settings, view, news.append)
        partitions = await asyncio.to_thread(feed.partitions)
        async with producer_of(settings) as producer:
            await send(producer, settings, there)
            letters = settings.topic(dead_letters_of("orders"))
            for reason in (b"not_json", b"not_json", b"said by somebody else"):
                await producer.send_and_wait(letters, b"?", headers=[("holdfast.reason", reason)])
            reading = asyncio.create_task(feed.run(partitions))
            try:
                await asyncio.wait_for(feed.caught_up.wait(), 20.0)
                assert news == []
                assert view.sizes == view_of(there).sizes
                assert view.flows == view_of(there).flows
                assert view.open == view_of(there).open
                await send(producer, settings, [later])
                await until(lambda: news, "the alert")
                topics, dead = feed.health(now=0.0, wall_ms=0)
                assert sum(topic.read for topic in topics) == len(messages)
                assert {topic.behind for topic in topics} == {0}
                (orders,) = [one for one in dead if one.topic == letters]
                assert orders.reasons == {"not_json": 2, "other": 1}
                assert orders.kept == 3
                await producer.send_and_wait(  # `holdfast forget`
                    settings.topic(CUSTOMER_SCORES),
                    None,
                    later.key,
                    partition=partition_of(later.key, settings.topics.partitions),
                )
                await until(lambda: later.key.decode() not in view.customers, "the erasure")
            finally:
                reading.cancel()
                await asyncio.gather(reading, return_exceptions=True)

    asyncio.run(run())
    (alert,) = decoded([later], CHURN_ALERTS, ChurnAlert)
    assert [one.id for one in news[0].alerts] == [alert.id]
    assert news[0].customers == {alert.customer_id}


@pytest.mark.kafka
def test_what_an_epoch_took_back_is_not_read(settings: Settings) -> None:
    create_missing(settings)
    alerts = [message for message in said() if message.topic == CHURN_ALERTS][:2]
    view, news = View(), list[News]()

    async def run() -> None:
        feed = Feed(settings, view, news.append)
        partitions = await asyncio.to_thread(feed.partitions)
        producer = AIOKafkaProducer(**aiokafka_arguments(settings), transactional_id=settings.topics.prefix)
        await producer.start()
        reading = asyncio.create_task(feed.run(partitions))
        try:
            for alert, kept in zip(alerts, (False, True), strict=True):
                await producer.begin_transaction()
                await send(producer, settings, [alert])
                await (producer.commit_transaction() if kept else producer.abort_transaction())
            await until(lambda: view.alerts, "the alert that was kept")
            await asyncio.wait_for(feed.caught_up.wait(), 20.0)
        finally:
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)
            await producer.stop()

    asyncio.run(run())
    assert [alert.id for alert in view.alerts.values()] == [
        alert.id for alert in decoded(alerts[1:], CHURN_ALERTS, ChurnAlert)
    ]


# The process


@pytest.mark.broker
def test_the_process_says_where_it_serves_and_leaves_in_order(settings: Settings, tmp_path: Path) -> None:
    create_missing(settings)
    taken = socket.socket()
    with taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
    chosen = msgspec.structs.replace(settings, console=ConsoleSettings(port=port))
    with ConsoleProcess(chosen, tmp_path) as console:  # leaves with exit code 0, or this fails

        def answers() -> bool:
            try:
                with urllib.request.urlopen(f"{console.url}readyz") as answer:
                    return bool(answer.status == 200)
            except (urllib.error.URLError, ConnectionError):
                return False

        def ended() -> bool:
            try:
                second.check()
            except WorkerEndedError as error:
                last_words.append(error.message)
            return bool(last_words)

        asyncio.run(until(answers, "the console", 30.0))
        (tmp_path / "second").mkdir()
        second, last_words = ConsoleProcess(chosen, tmp_path / "second"), list[str]()
        second.start()
        asyncio.run(until(ended, "the end of the second at the same port", 30.0))
        second.kill()
    assert last_words[0].startswith(
        f"the console ended by itself, with exit code 1: cannot listen at 127.0.0.1:{port}: "
        "Address already in use; set console.port to another, or 0 (whole log: "
    )


def test_a_bug_ends_the_process_with_70(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    async def broken(_self: Feed, _partitions: object) -> None:
        raise KeyError("a bug")

    monkeypatch.setattr(Feed, "run", broken)
    monkeypatch.setattr(Feed, "partitions", lambda _self: [])
    chosen = msgspec.structs.replace(settings, console=ConsoleSettings(port=0))
    said_where: list[str] = []
    with pytest.raises(SystemExit) as left:
        run(chosen, said_where.append)
    assert left.value.code == EXIT_BUG
    assert said_where[0].startswith("http://127.0.0.1:")


@pytest.mark.broker
def test_topics_that_are_not_there_are_told(settings: Settings) -> None:
    async def run() -> None:
        await asyncio.to_thread(Feed(settings, View(), lambda _news: None).partitions)

    with pytest.raises(LayoutError, match=f"{settings.topic('churn-alerts')} does not exist"):
        asyncio.run(run())


def test_every_message_of_the_sample_is_one() -> None:
    """What the tests feed is what the topics carry."""
    assert view_of(said()).unreadable == 0
    assert msgspec.json.decode(said()[0].value)["model_version"] == "rich"
