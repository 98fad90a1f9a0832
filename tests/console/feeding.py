"""What a machine says about a small shop, as messages on topics, and a console that has read them."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from functools import cache
from pathlib import Path
from random import Random
from typing import NamedTuple

import msgspec
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from agents.console.feed import Feed
from agents.console.push import Hub
from agents.console.server import Server
from agents.console.view import Bounds, View
from agents.settings import load
from schemas.codec import encode
from schemas.events import Event, Funnel
from schemas.topics import CHURN_ALERTS, CUSTOMER_SCORES, MODELS, SEGMENT_CHANGES
from tests.streams.build import Shop, click, order, rich_model

STRANGE = "c/ü <b>&'\" " + "long" * 20


class Message(NamedTuple):
    topic: str
    key: bytes
    value: bytes


@cache
def said(customers: int = 12, seed: int = 1) -> tuple[Message, ...]:
    """Let customers with habits of their own come and go for a year."""
    random = Random(seed)
    events: list[Event] = []
    for number in range(customers):
        name = STRANGE if number == 0 else f"c{number}"
        gap, day = random.uniform(4.0, 40.0), random.uniform(0.0, 60.0)
        while day < random.uniform(100.0, 360.0):
            events += [
                click(name, day, Funnel.CART_ADD),
                order(name, day + 0.01, amount=random.uniform(5.0, 90.0)),
            ]
            day += random.expovariate(1.0 / gap)
        if number % 3 == 2:
            events.append(order(name, 390.0 + number / 10, amount=20.0))  # comes back
    events.sort(key=lambda event: event.time_ms)
    shop = Shop(model=rich_model())
    shop.tell(*events)
    shop.until(400.0)
    read = {CHURN_ALERTS, SEGMENT_CHANGES, CUSTOMER_SCORES}
    model = encode(rich_model().snapshot)
    return (
        Message(MODELS, b"rich", model),
        *(
            Message(decision.topic, decision.customer_id.encode(), encode(decision.payload))
            for decision in shop.said
            if decision.topic in read and decision.payload is not None
        ),
    )


def view_of(messages: Sequence[Message], bounds: Bounds = Bounds()) -> View:  # noqa: B008
    view = View(bounds)
    for message in messages:
        view.take(*message)
    return view


class StillFeed(Feed):
    """A feed that nothing runs: what it knows is put in by hand."""


def console_of(view: View, **overrides: object) -> tuple[Server, web.Application, StillFeed, Hub]:
    generous: dict[str, object] = {"console.requests_per_second": 1e5, "console.currency": "$"}
    dotted = {name.replace("__", "."): value for name, value in overrides.items()}
    settings = load(Path(os.devnull), {}, generous | dotted)
    hub = Hub()
    feed = StillFeed(settings, view, lambda _news: None)
    feed.caught_up.set()
    server = Server(settings, view, feed, hub)
    return server, server.app(), feed, hub


@asynccontextmanager
async def client_of(app: web.Application) -> AsyncIterator[TestClient]:
    async with TestClient(TestServer(app)) as client:
        yield client


async def until(holds: object, what: str, seconds: float = 10.0) -> None:
    """Wait for a condition."""
    deadline = time.monotonic() + seconds
    while not holds():  # type: ignore[operator]
        assert time.monotonic() < deadline, f"{what}: not within {seconds:g} s"
        await asyncio.sleep(0.01)


def decoded(messages: Sequence[Message], topic: str, kind: type) -> list:
    return [msgspec.json.decode(m.value, type=kind) for m in messages if m.topic == topic]
