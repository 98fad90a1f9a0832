"""Reading the topics: everything that is there first, then what comes, through a real broker."""

from __future__ import annotations

import asyncio
import itertools
import os
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
from agents.console.view import View
from agents.settings import Settings, load
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
