"""Every operation keeps to the OpenAPI document, whatever it is asked: schemathesis asks."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator

import pytest
import schemathesis
from aiohttp import web
from hypothesis import HealthCheck, settings

from agents.console import openapi
from tests.console.feeding import console_of, said, view_of

schema = schemathesis.openapi.from_dict(openapi.document())


@pytest.fixture(scope="module")
def console() -> Iterator[str]:
    """A console in a thread of its own; gives its address."""
    loop = asyncio.new_event_loop()
    started: list[str] = []
    ready = threading.Event()

    async def serve() -> web.AppRunner:
        _, app, _, _ = console_of(view_of(said()))
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        started.append(f"http://127.0.0.1:{runner.addresses[0][1]}")
        return runner

    def run() -> None:
        runner = loop.run_until_complete(serve())
        ready.set()
        loop.run_forever()
        loop.run_until_complete(runner.cleanup())
        loop.close()

    thread = threading.Thread(target=run)
    thread.start()
    assert ready.wait(10.0)
    yield started[0]
    loop.call_soon_threadsafe(loop.stop)
    thread.join(10.0)


@schema.parametrize()
@settings(
    max_examples=60,
    derandomize=True,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
def test_an_operation_does_what_the_document_says(case: schemathesis.Case, console: str) -> None:
    case.call_and_validate(base_url=console)
