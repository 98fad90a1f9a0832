"""The sections of the settings that say how events travel: what each setting is, and what it means.

Types, bounds and meanings are written here once; `agents.settings` puts the sections together, reads
them and describes them. What events mean is configured in `streams.config`.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from schemas.topics import CLICKSTREAM, ORDERS

_BROKERS = (
    r"^(\[[0-9a-fA-F:.]+\]|[A-Za-z0-9._-]+):[0-9]{1,5}(,(\[[0-9a-fA-F:.]+\]|[A-Za-z0-9._-]+):[0-9]{1,5})*$"
)
_NAME_RULE = {"rule": "made of letters, digits, dots, dashes and underscores"}

Seconds = Annotated[float, Meta(ge=0.1, le=3600.0)]
Patience = Annotated[float, Meta(ge=1.0, le=3600.0)]
TopicName = Annotated[str, Meta(pattern=r"^[A-Za-z0-9._-]{1,200}$", extra=_NAME_RULE)]


class KafkaSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The cluster, and how patient to be with it."""

    bootstrap: Annotated[
        str,
        Meta(
            pattern=_BROKERS,
            extra={"rule": "host:port, or several of them separated by commas"},
            description="Brokers to begin with, as host:port, separated by commas.",
        ),
    ] = "127.0.0.1:9092"
    group: Annotated[
        TopicName,
        Meta(description="Consumer group; workers of one shop share it, and nobody else does."),
    ] = "holdfast"
    client_id: Annotated[TopicName, Meta(description="How the broker's logs and quotas name us.")] = (
        "holdfast"
    )
    idempotent_producer: Annotated[
        bool,
        Meta(
            description="The broker drops what a retry repeats. Off for brokers that refuse InitProducerId, "
            "as the embedded one does."
        ),
    ] = True
    session_timeout_seconds: Annotated[
        Seconds, Meta(description="A worker that is silent for so long loses its partitions.")
    ] = 30.0
    rebalance_timeout_seconds: Annotated[
        Seconds, Meta(description="How long a rebalance waits for workers to hand over.")
    ] = 30.0
    request_timeout_seconds: Annotated[
        Seconds,
        Meta(description="How long an answer may take; not less than session_timeout_seconds."),
    ] = 40.0
    fetch_max_records: Annotated[
        int, Meta(ge=1, le=100_000, description="Records of a partition taken in one go.")
    ] = 2000


class TopicSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Names and sizes of the topics."""

    prefix: Annotated[
        str,
        Meta(
            pattern=r"^[A-Za-z0-9._-]{0,40}$",
            extra=_NAME_RULE,
            description="Put before the name of every topic, the inputs' too.",
        ),
    ] = ""
    clickstream: Annotated[TopicName, Meta(description="The topic of clicks.")] = CLICKSTREAM
    orders: Annotated[TopicName, Meta(description="The topic of orders.")] = ORDERS
    partitions: Annotated[
        int,
        Meta(
            ge=1,
            le=10_000,
            description="Partitions of the inputs where they are created; other topics follow the inputs.",
        ),
    ] = 4
    replication: Annotated[
        int, Meta(ge=1, le=15, description="Copies of each topic that is created; 3 in production.")
    ] = 1


class WorkerSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A worker process."""

    agents: Annotated[
        tuple[Literal["customers", "learner"], ...],
        Meta(
            min_length=1,
            description="What this worker runs; of those that may, the group picks one for the learner.",
        ),
    ] = ("customers", "learner")
    epoch_seconds: Annotated[
        float,
        Meta(ge=0.01, le=60.0, description="State is written and offsets are committed so often."),
    ] = 1.0
    epoch_max_records: Annotated[
        int, Meta(ge=1, description="An epoch ends early after so many records of a partition.")
    ] = 50_000
    hung_seconds: Annotated[
        Patience, Meta(description="An event loop that does not turn for longer ends the worker.")
    ] = 60.0
    stalled_seconds: Annotated[
        Patience,
        Meta(description="Records that wait while nothing is sealed for longer end the worker."),
    ] = 60.0


class WebSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The worker's pages: health and metrics."""

    host: Annotated[
        str,
        Meta(
            min_length=1,
            extra={"rule": "a host name or an address"},
            description="Address to listen on; there is no authentication.",
        ),
    ] = "127.0.0.1"
    port: Annotated[int, Meta(ge=0, le=65_535, description="Port to listen on; 0 takes a free one.")] = 6066


class DeadLetterSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Messages that break the contract."""

    max_message_bytes: Annotated[int, Meta(ge=1024, description="Larger messages are refused unread.")] = (
        262_144
    )
    max_share: Annotated[
        float,
        Meta(
            gt=0.0,
            le=1.0,
            description="A larger share of refused messages among the last `window` stops the worker; "
            "1 never does.",
        ),
    ] = 0.2
    window: Annotated[
        int,
        Meta(
            ge=10,
            le=1_000_000,
            description="The share is taken over so many records of an input's partition, once there were "
            "as many since the start.",
        ),
    ] = 1000
    max_consecutive: Annotated[
        int, Meta(ge=1, description="More refused messages of a partition in a row stop the worker.")
    ] = 500
