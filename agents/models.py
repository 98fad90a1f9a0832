"""The model feed: every worker hears of every published model.

The models topic has one partition and no group: each worker reads it from its beginning and keeps the
newest model of this program's features. Rooms announce it when an epoch ends.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import msgspec
from aiokafka import AIOKafkaConsumer, TopicPartition

from agents.transport import FETCHING
from schemas.learning import ModelSnapshot
from streams.config import StreamConfig
from streams.learning.served import Served, untrained

log = logging.getLogger(__name__)

_decoder = msgspec.json.Decoder(ModelSnapshot)


ENOUGH_LEARNED = 5_000
"""Examples after which a model may replace one that had learned more."""


def supersedes(new: Served, old: Served) -> bool:
    """Tell whether a model is to be served instead of another.

    A learner that begins anew, as after an upgrade, publishes a model that knows nothing. The one that is
    served goes on until the new one has learned as much, or enough.

    Examples
    --------
    >>> from streams.config import StreamConfig
    >>> nothing = untrained(StreamConfig())
    >>> much = msgspec.structs.replace(nothing, model_version="lr-9000", n_learned=9_000)
    >>> supersedes(Served(much), Served(nothing)), supersedes(Served(nothing), Served(much))
    (True, False)
    """
    if new.snapshot == old.snapshot:
        return False
    return new.n_learned >= min(old.n_learned, ENOUGH_LEARNED)


class ModelFeed:
    """Keeps the newest model.

    Parameters
    ----------
    topic
        The models topic.
    connection
        What aiokafka needs to reach the cluster.
    config
        For the model that is served before any is published.
    frozen
        A model to serve whatever is published.
    """

    def __init__(
        self, topic: str, connection: dict[str, Any], config: StreamConfig, frozen: Served | None = None
    ) -> None:
        self.latest = frozen or Served(untrained(config))
        self._topic = topic
        self._connection = connection
        self._frozen = frozen is not None
        self._horizon_days = config.reviews.horizon_days
        self.ready = asyncio.Event()
        self.taken = 0
        """Published models read so far, for the watchdog."""

    async def run(self) -> None:
        """Follow the topic for ever; `ready` is set when its end has been reached once."""
        if self._frozen:
            self.ready.set()
            return
        tp = TopicPartition(self._topic, 0)
        consumer = AIOKafkaConsumer(
            **self._connection, **FETCHING, enable_auto_commit=False, auto_offset_reset="earliest"
        )
        await consumer.start()
        try:
            consumer.assign([tp])
            await consumer.seek_to_beginning(tp)
            while True:
                got = await consumer.getmany(tp, timeout_ms=100)
                for record in got.get(tp, ()):
                    self._take(record.value)
                    self.taken += 1
                end = consumer.highwater(tp)  # known from the first answer to a fetch on
                if end is not None and await consumer.position(tp) >= end:
                    self.ready.set()
        finally:
            await consumer.stop()

    def _take(self, value: bytes) -> None:
        try:
            snapshot = _decoder.decode(value)
            if snapshot.horizon_days != self._horizon_days:
                raise ValueError(f"model {snapshot.model_version} answers another horizon")
            self.latest = Served(snapshot)
        except (msgspec.DecodeError, ValueError) as error:
            # Somebody else's model, or one of another version of this program: keep ours.
            log.warning("a published model is not for this worker: %s", error)
