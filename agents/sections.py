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
    data_folder: Annotated[
        str,
        Meta(
            min_length=1,
            extra={"rule": "a folder"},
            description="What a worker keeps on its own disk; workers on one machine may share it.",
        ),
    ] = ".holdfast"
    store: Annotated[
        Literal["memory", "rocksdb"],
        Meta(
            description="Where states are kept: in memory, or on disk with what is in use in memory "
            "(needs the extra `rocksdb`)."
        ),
    ] = "memory"
    store_cached_customers: Annotated[
        int,
        Meta(ge=0, description="RocksDB: customers of a partition kept in memory beside those in use."),
    ] = 20_000
    store_block_cache_mb: Annotated[
        int, Meta(ge=1, le=1_048_576, description="RocksDB: cache that the partitions of a worker share.")
    ] = 64
    store_write_buffer_mb: Annotated[
        int, Meta(ge=1, le=1024, description="RocksDB: each of the two write buffers of a partition.")
    ] = 8
    store_trusted_hours: Annotated[
        float,
        Meta(
            ge=0.0,
            le=8760.0,
            description="RocksDB: an older store is rebuilt from the changelog, whose tombstones it may have "
            "missed. At most half of that topic's delete.retention.ms.",
        ),
    ] = 12.0


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
