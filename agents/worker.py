"""A worker process: topics checked, metrics served, Faust run until somebody stops it."""

from __future__ import annotations

import asyncio
import gc
import logging
from pathlib import Path

import click
import faust

from agents import metrics
from agents.acls import check_rights
from agents.app import HoldfastApp, make_app, nothing_unexpected
from agents.changelog import read_latest
from agents.cluster import check_layout, create_missing, topic_ids
from agents.connection import aiokafka_arguments
from agents.errors import EXIT_BUG, OperatorError
from agents.model_file import read_model
from agents.settings import Settings
from agents.signing import signing_key, verified_checkpoint
from agents.web import serve
from schemas.topics import LEARNER_CHECKPOINT
from streams.config import DAY_MS
from streams.learning.served import Served


def prepare(settings: Settings) -> None:
    """Create what the worker itself writes to, and refuse topics that cannot work together.

    Raises
    ------
    OperatorError
        When no broker answers, an input topic is missing, partition counts do not fit, or a right is missing.
    """
    check_layout(settings, roles={"input"})
    create_missing(settings, roles={"output", "internal", "dead"})
    check_layout(settings)
    check_rights(settings)
    if "learner" in settings.worker.agents:
        check_checkpoint(settings)


def check_checkpoint(settings: Settings) -> None:
    """Check that we could go on as the learner: every worker may become it, at the worst moment.

    Raises
    ------
    BadSignature
        When the checkpoint was signed with another key.
    """
    topic = settings.topic(LEARNER_CHECKPOINT)
    loop = asyncio.new_event_loop()  # not asyncio.run, which would leave Faust without a loop
    try:
        latest = loop.run_until_complete(read_latest(topic, 0, aiokafka_arguments(settings)))
    finally:
        loop.close()
    for record in latest.values():
        verified_checkpoint(record, signing_key(settings), topic)


def serve_metrics(settings: Settings) -> int:
    """Serve `/metrics` from a thread; return the port.

    Raises
    ------
    OperatorError
        When the port is taken.
    """
    web = settings.web
    try:
        return serve(web.host, web.port)
    except OSError as error:
        raise OperatorError(
            f"cannot serve metrics at {web.host}:{web.port}: {error.strerror}; set web.port to another, or 0"
        ) from None


def run(app: HoldfastApp, loglevel: str) -> None:
    """Run a worker until SIGTERM or SIGINT; everything is sealed before it returns.

    Raises
    ------
    SystemExit
        With the code for a bug when Faust itself has crashed, which it has logged by then.
    """
    worker = faust.Worker(app, loglevel=loglevel, quiet=True, redirect_stdouts=False)
    worker.spinner = None  # it would write cursor codes into logs
    logging.getLogger("kafka").setLevel(logging.WARNING)
    try:
        worker.execute_from_commandline()
    except SystemExit as ended:
        if ended.code:
            raise SystemExit(EXIT_BUG) from None


def collect_seldom() -> None:
    """Look for reference cycles seldom, and not among what was there at the start.

    Nearly everything that a worker allocates is freed by its count. With the interpreter's own thresholds a
    tenth of its time goes into looking for cycles in states and buffers that have none.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(100_000, 20, 100)


def start(settings: Settings, model: Path | None, loglevel: str) -> None:
    """Do all that `holdfast worker` does."""
    with nothing_unexpected():
        frozen = Served(read_model(model, settings.reviews.horizon_days)) if model else None
        prepare(settings)
        metrics.name_build()
        metrics.HORIZON.set(settings.reviews.horizon_days * DAY_MS / 1000.0)
        port = serve_metrics(settings)
        click.echo(
            f"holdfast worker: {' and '.join(settings.worker.agents)} on {settings.kafka.bootstrap}, "
            f"group {settings.kafka.group}, metrics at http://{settings.web.host}:{port}/metrics"
        )
        collect_seldom()
        run(make_app(settings, topic_ids(settings), frozen), loglevel)
