"""The sections of the settings that say how events travel: what each setting is, and what it means.

Types, bounds and meanings are written here once; `agents.settings` puts the sections together, reads
them and describes them. What events mean is configured in `streams.config`.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from agents.setting_rules import SECRET
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
    transactions: Annotated[
        bool,
        Meta(
            description="Each epoch is a transaction, and a worker that lost a partition cannot write to it. "
            "Off for brokers without transactions, as the embedded one."
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
        int, Meta(ge=1, le=100_000, description="Records taken in one go, of all partitions.")
    ] = 2000


class SecuritySettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Encryption and login on the way to the brokers.

    Files are read when something connects, so that a command that does not connect needs none of them.

    Examples
    --------
    >>> SecuritySettings(password="swordfish")
    SecuritySettings(protocol='PLAINTEXT', username='', password=***)
    >>> SecuritySettings(username="ann").problems()
    ['security: username is set, but protocol PLAINTEXT does not log in; SASL_SSL does']
    """

    protocol: Annotated[
        Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"],
        Meta(description="What the brokers' listener speaks: PLAINTEXT, SSL, SASL_PLAINTEXT or SASL_SSL."),
    ] = "PLAINTEXT"
    mechanism: Annotated[
        Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", "OAUTHBEARER"],
        Meta(description="How to log in with SASL: PLAIN, SCRAM-SHA-256, SCRAM-SHA-512 or OAUTHBEARER."),
    ] = "SCRAM-SHA-512"
    username: Annotated[str, Meta(description="Who logs in by PLAIN or SCRAM.")] = ""
    password: Annotated[
        str,
        Meta(extra=SECRET, description="The password, best from the environment; it is never shown."),
    ] = ""
    password_file: Annotated[str, Meta(description="A file that holds the password instead.")] = ""
    token_file: Annotated[
        str, Meta(description="A file that holds the OAUTHBEARER token; it is read anew for each login.")
    ] = ""
    ca_file: Annotated[
        str,
        Meta(description="PEM file of who may sign a broker's certificate; empty: whom the system trusts."),
    ] = ""
    certificate_file: Annotated[
        str, Meta(description="PEM file of our own certificate, where brokers ask for one (mutual TLS).")
    ] = ""
    key_file: Annotated[
        str, Meta(description="PEM file of its key, not encrypted; empty where certificate_file holds both.")
    ] = ""
    check_hostname: Annotated[
        bool, Meta(description="A broker's certificate must be for the name that we connect to.")
    ] = True
    allow_plaintext_credentials: Annotated[
        bool, Meta(description="Log in over a connection that is not encrypted (SASL_PLAINTEXT).")
    ] = False

    def __repr__(self) -> str:
        shown = "***" if self.password else "''"
        return f"SecuritySettings(protocol={self.protocol!r}, username={self.username!r}, password={shown})"

    @property
    def encrypted(self) -> bool:
        """Whether the connection is TLS."""
        return self.protocol in ("SSL", "SASL_SSL")

    @property
    def logs_in(self) -> bool:
        """Whether there is a SASL login."""
        return self.protocol in ("SASL_PLAINTEXT", "SASL_SSL")

    def problems(self) -> list[str]:
        """Say what is missing or contradicts itself, one line each.

        What would be ignored is refused: a password that goes with a protocol which does not log in means
        that somebody believes in a protection that is not there.
        """
        found = []
        token = self.logs_in and self.mechanism == "OAUTHBEARER"
        for name in ("username", "password", "password_file", "token_file"):
            if getattr(self, name) and not self.logs_in:
                found.append(
                    f"security: {name} is set, but protocol {self.protocol} does not log in; SASL_SSL does"
                )
            elif getattr(self, name) and token != (name == "token_file"):
                found.append(f"security: {name} is set, but mechanism {self.mechanism} does not use it")
        for name in ("ca_file", "certificate_file", "key_file"):
            if getattr(self, name) and not self.encrypted:
                found.append(f"security: {name} is set, but protocol {self.protocol} does not encrypt")
        if token and not self.token_file:
            found.append("security: mechanism OAUTHBEARER needs token_file")
        if self.logs_in and not token:
            if not self.username:
                found.append(f"security: mechanism {self.mechanism} needs username")
            if not (self.password or self.password_file):
                found.append(f"security: mechanism {self.mechanism} needs password_file or password")
        if self.password and self.password_file:
            found.append("security: password and password_file are both set; one of them is enough")
        if self.key_file and not self.certificate_file:
            found.append("security: key_file is set, but certificate_file is not")
        if self.logs_in and not self.encrypted and not self.allow_plaintext_credentials:
            found.append(
                f"security: protocol {self.protocol} would log in over a connection that anybody can read; "
                "use SASL_SSL, or set allow_plaintext_credentials"
            )
        return found


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
    signing_key_file: Annotated[
        str,
        Meta(
            description="Holds the key that signs the learner's checkpoint, the same for all workers. "
            "Empty: one is made in the data folder."
        ),
    ] = ""
    hung_seconds: Annotated[
        Patience, Meta(description="An event loop that does not turn for longer ends the worker.")
    ] = 60.0
    stalled_seconds: Annotated[
        Patience,
        Meta(description="Records that wait while nothing is sealed for longer end the worker."),
    ] = 60.0
    store: Annotated[
        Literal["memory", "rocksdb"],
        Meta(
            description="Where states are kept: in memory, or on disk with what is in use in memory "
            "(needs the extra `rocksdb`)."
        ),
    ] = "memory"
    store_cached_customers: Annotated[
        int,
        Meta(
            ge=0,
            description=(
                "Customers of a partition kept ready beside those in use; "
                "the others are bytes, in memory or on disk."
            ),
        ),
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


class ConsoleSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The console: the page and the customer API.

    Examples
    --------
    >>> ConsoleSettings(token="swordfish and chips")
    ConsoleSettings(host='127.0.0.1', port=6067, token=***)
    >>> ConsoleSettings(token="swordfish").problems()
    ['console: token must have 16 characters or more']
    """

    host: Annotated[
        str,
        Meta(
            min_length=1,
            extra={"rule": "a host name or an address"},
            description="Address to listen on; one that others can reach needs a token.",
        ),
    ] = "127.0.0.1"
    port: Annotated[int, Meta(ge=0, le=65_535, description="Port to listen on; 0 takes a free one.")] = 6067
    token: Annotated[
        str,
        Meta(
            extra=SECRET,
            description="What a client must show as its bearer token, best from the environment.",
        ),
    ] = ""
    token_file: Annotated[str, Meta(description="A file that holds the token instead.")] = ""
    currency: Annotated[str, Meta(max_length=8, description="Written before amounts, such as $.")] = ""
    requests_per_second: Annotated[
        float,
        Meta(
            gt=0.0,
            le=1e6,
            description="What one client address may ask for in the long run; bursts are ten times that.",
        ),
    ] = 20.0
    max_customers: Annotated[
        int, Meta(ge=1, description="Customers whose latest score is kept, about 2 KB each.")
    ] = 100_000
    max_moments: Annotated[
        int,
        Meta(ge=1, description="Moments kept in all histories together, about 200 bytes each."),
    ] = 400_000

    def __repr__(self) -> str:
        shown = "***" if self.token else "''"
        return f"ConsoleSettings(host={self.host!r}, port={self.port!r}, token={shown})"

    def problems(self) -> list[str]:
        """Say what contradicts itself, one line each."""
        found = []
        if self.token and self.token_file:
            found.append("console: token and token_file are both set; one of them is enough")
        if self.token and len(self.token) < 16:
            found.append("console: token must have 16 characters or more")
        return found


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
