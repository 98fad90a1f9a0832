"""The Faust application of a worker: topics to agents, agents to rooms, and one way out.

Faust joins the group, fetches, calls the agents and commits what they sealed. All tables are ours (see
`epochs`), so Faust has none, and its recovery does nothing but call us when a rebalance is over. Any
error that nobody expected ends the process, at once and without a last commit: the next start goes on
from the last marker, and that is the one path that is always tested.
"""

from __future__ import annotations

import asyncio
import faulthandler
import logging
import os
import sys
import tempfile
import threading
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, cast

import click
import faust
from faust.exceptions import ConsumerNotStarted
from faust.types import TP

from agents.connection import aiokafka_arguments, faust_credentials
from agents.customers import Customers
from agents.errors import EXIT_BUG, OperatorError
from agents.models import ModelFeed
from agents.session import Session
from agents.settings import Settings
from agents.transport import (
    MAX_BATCH_BYTES,
    MAX_FETCH_BYTES,
    MAX_REQUEST_BYTES,
    SCHEME,
    Consumer,
    Producer,
    RawBatches,
)
from agents.watchdog import Judge, Progress, Watchdog, look_seconds
from schemas.topics import MODELS
from streams.learning.served import Served

if TYPE_CHECKING:
    from agents.learner import Learner

log = logging.getLogger(__name__)

TICK_SECONDS = 0.05


def die(error: BaseException) -> None:
    """End the process for an error that nobody handles; a restart goes on from the last marker."""
    if isinstance(error, OperatorError):
        for line in error.message.splitlines():
            click.echo(f"holdfast: {line}", err=True)
        code = error.exit_code
    else:
        log.critical("the worker ends on an unexpected error", exc_info=error)
        faulthandler.dump_traceback(all_threads=True)
        code = EXIT_BUG
    sys.stderr.flush()
    os._exit(code)


async def guarded(work: Awaitable[Any]) -> None:
    """Await something that must not fail."""
    try:
        await work
    except Exception as error:  # noqa: BLE001 - the one place where anything unexpected ends the process
        die(error)


@contextmanager
def nothing_unexpected() -> Iterator[None]:
    """End the process for an unexpected error where no coroutine is guarded: at the start, in a thread."""
    try:
        yield
    except OperatorError:
        raise
    except Exception as error:  # noqa: BLE001 - as in `guarded`
        die(error)


class HoldfastApp(faust.App):
    """A Faust app that is watched, and seals before it stops."""

    idempotent_producer = True
    readers: Mapping[str, str] = {}  # by topic, the agent that reads it
    before_stop: Callable[[], Awaitable[None]] | None = None
    watchdog: Watchdog | None = None

    async def on_first_start(self) -> None:
        """Begin to watch."""
        await super().on_first_start()
        if self.watchdog is not None:
            threading.Thread(target=_watch, args=(self.watchdog,), name="watchdog", daemon=True).start()

    async def on_stop(self) -> None:
        """Seal and commit while consumer and producer are still there."""
        if self.before_stop is not None:
            await guarded(self.before_stop())
        await super().on_stop()


def _watch(watchdog: Watchdog) -> None:
    with nothing_unexpected():
        watchdog.watch()


def make_app(settings: Settings, topic_ids: Mapping[str, str], frozen: Served | None = None) -> HoldfastApp:
    """Build the application of a worker.

    Parameters
    ----------
    settings
        The whole settings; `settings.worker.agents` says what runs here.
    topic_ids
        By topic that is read, the id that the cluster gave it (`agents.cluster.topic_ids`).
    frozen
        A model to serve whatever is learned, for comparing runs.
    """
    kafka = settings.kafka
    app = HoldfastApp(
        kafka.group,
        broker=";".join(f"{SCHEME}://{broker.strip()}" for broker in kafka.bootstrap.split(",")),
        store="memory://",
        datadir=tempfile.mkdtemp(prefix="holdfast-"),  # Faust insists on a folder; ours holds nothing
        topic_disable_leader=True,
        topic_allow_declare=False,
        stream_wait_empty=False,  # commits follow the sealed table, not what streams acknowledge
        broker_credentials=faust_credentials(settings),
        broker_client_id=kafka.client_id,
        broker_session_timeout=kafka.session_timeout_seconds,
        broker_rebalance_timeout=kafka.rebalance_timeout_seconds,
        broker_heartbeat_interval=kafka.session_timeout_seconds / 10.0,
        broker_request_timeout=kafka.request_timeout_seconds,
        broker_commit_interval=settings.worker.epoch_seconds,
        broker_max_poll_records=kafka.fetch_max_records,
        consumer_auto_offset_reset="earliest",
        consumer_max_fetch_size=MAX_FETCH_BYTES,
        producer_max_batch_size=MAX_BATCH_BYTES,
        producer_max_request_size=MAX_REQUEST_BYTES,
        stream_buffer_maxsize=8,
        web_enabled=False,
    )
    app.idempotent_producer = kafka.idempotent_producer
    reach = aiokafka_arguments(settings)
    session = Session(kafka.session_timeout_seconds)
    feed = ModelFeed(settings.topic(MODELS), reach, settings.streams, frozen)
    parts: list[Customers | Learner] = []
    if "customers" in settings.worker.agents:
        customers = Customers(settings, reach, feed, session, topic_ids, guarded)
        parts.append(customers)
        _agent(app, "customers", customers.topics, customers)
    if "learner" in settings.worker.agents:
        from agents.learner import Learner  # brings River and SciPy: seconds and memory for who learns only

        learner = Learner(settings, reach, session, topic_ids)
        parts.append(learner)
        _agent(app, "learner", (learner.topic,), learner)
    _wire(app, parts, (feed.run, session.run))
    app.watchdog = _watchdog(app, parts, settings)
    return app


def _watchdog(app: HoldfastApp, parts: list[Customers | Learner], settings: Settings) -> Watchdog:
    worker = settings.worker
    look = look_seconds(worker.hung_seconds, worker.stalled_seconds)

    def loops() -> dict[str, asyncio.AbstractEventLoop]:
        fetching = cast(Consumer, app.consumer).fetching_loop
        return {"main": app.loop} | ({"consumer": fetching} if fetching is not None else {})

    def partitions() -> dict[str, Progress]:
        return {name: progress for part in parts for name, progress in part.progress().items()}

    return Watchdog(
        Judge(worker.hung_seconds, worker.stalled_seconds, look),
        look,
        loops=loops,
        partitions=partitions,
        stopping=lambda: bool(app.should_stop),
    )


def _agent(app: HoldfastApp, name: str, topics: tuple[str, ...], part: Customers | Learner) -> None:
    app.readers = {**app.readers, **dict.fromkeys(topics, name)}
    channel = app.topic(*topics, schema=RawBatches(), key_serializer="raw", value_serializer="raw")

    async def consume(stream: Any) -> None:
        async for event in stream.events():
            await guarded(part.feed(event.message))

    app.agent(channel, name=name, concurrency=1)(consume)


def _wire(
    app: HoldfastApp, parts: list[Customers | Learner], beside: Iterable[Callable[[], Awaitable[None]]]
) -> None:
    """Connect rebalances, the clock and the end to the agents."""
    background: list[asyncio.Task[None]] = []

    async def tick() -> None:
        while not app.should_stop:
            await asyncio.sleep(TICK_SECONDS)
            for part in parts:
                await guarded(part.tick())

    async def taken_over(*_: Any, **__: Any) -> None:
        if not background:
            # Not Faust's own tasks: those begin only when the first recovery is over.
            works = [*(work() for work in beside), tick()]
            background.extend(asyncio.create_task(guarded(work)) for work in works)
        consumer = cast(Consumer, app.consumer)
        consumer.before_revocation = handed_over
        # In this order: should a rebalance come between the two, the generation is the old one, and not ours.
        generation = app.consumer_generation_id
        tps = {TP(tp.topic, tp.partition) for tp in consumer.assignment()}
        for part in parts:
            await guarded(part.assigned(tps, generation, consumer, cast(Producer, app.producer)))

    async def handed_over(revoked: set[TP]) -> None:
        for part in parts:
            await guarded(part.revoked(revoked))

    async def seal_all() -> None:
        consumer = cast(Consumer, app.consumer)
        try:
            held = {TP(tp.topic, tp.partition) for tp in consumer.assignment()}
        except ConsumerNotStarted:
            return  # asked to stop before it had joined: there is nothing to seal
        await handed_over(held)
        await consumer.commit()
        for task in background:
            task.cancel()

    app.on_rebalance_complete.connect(taken_over, weak=False)
    app.before_stop = seal_all
