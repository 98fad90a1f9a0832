"""States in RocksDB: more customers than fit in memory, and a restart that reads the tail only.

One database a partition. A value is the state's due time and its changelog bytes, so timers are rebuilt
without decoding anything. States that were handed out in the epochs under way, the open one and the one that
the changelog is about to acknowledge, are held as objects, because the machine changes them in place; after
that they go to a bounded cache, least recently used out first.

An epoch is one write batch with the position that it brings the store to, so whatever prefix of the
batches survives is a state of the changelog at some marker, and recovery reads on from there. Batches go
through RocksDB's own log without waiting for the disk: a killed process loses nothing, a machine that
loses power loses batches from the end. Either is repaired by reading more of the changelog.

A copy can also be wrong as a whole, and then it is wiped and rebuilt: when it is of another group, topic,
cluster or format; when it is damaged; and when it is old. Compaction drops a tombstone a while after it
was written (`delete.retention.ms`), so a store from before that would never hear of it, and an erased
customer would rise from the dead.

`rocksdict` (MIT) was chosen because it brings RocksDB inside its wheels for Linux and macOS, is typed,
and gives write batches, raw keys and all options that matter. Its iterators end silently at a damaged
block, so their status is asked for at the end.

References
----------
Dong et al. (2021), RocksDB: Evolution of Development Priorities in a Key-value Store. ACM TOS 17(4).
"""

from __future__ import annotations

import asyncio
import fcntl
import logging
import os
import shutil
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import msgspec
import rocksdict

from agents.errors import OperatorError
from agents.sections import WorkerSettings
from agents.settings import Settings
from agents.stores import (
    DUE_BYTES,
    Change,
    Position,
    StateStore,
    StoreDamaged,
    VisitorChange,
    due_of,
    with_due,
)
from agents.transport import OutputRecord
from streams.config import HOUR_MS
from streams.customer.state import STATE_VERSION, CustomerState
from streams.customer.state_codec import decode_state
from streams.identity.visitor import VISITOR_KEY

log = logging.getLogger(__name__)

FORMAT = 1

_META = b"\x00store"
_CUSTOMERS = b"\x01"
"""Where the keys of customers begin: their ids are printable, so what else is kept comes before them."""
_MEGABYTE = 1 << 20

LOCK_SECONDS = 5.0
"""How long to wait for a worker on this machine that is just handing the partition over."""

SPARES = 3
"""Further places for a partition whose folder stays locked, as by a worker that hangs."""


class StoreHeld(Exception):  # noqa: N818 - a state of the world, named after it
    """Another process, or a store not yet closed, holds the folder."""


class _Meta(msgspec.Struct, array_like=True):
    format: int
    identity: str
    sequence: int
    offset: int
    written_ms: int


_meta_encoder = msgspec.msgpack.Encoder()
_meta_decoder = msgspec.msgpack.Decoder(_Meta)


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


@contextmanager
def _speaking() -> Iterator[None]:
    try:
        yield
    except Exception as error:
        if type(error) is not Exception:  # rocksdict has no class of its own for what RocksDB reports
            raise
        raise StoreDamaged(str(error)) from error


class RocksStore(StateStore):
    """The states of one partition in a folder.

    Parameters
    ----------
    folder
        Its own; created when it is not there, locked by a file beside it.
    identity
        What it is a copy of; a folder that holds anything else is wiped.
    worker
        Sizes, and how old a copy may be.
    spare
        Whether the folder is a stopgap, which is removed on closing.
    now_ms
        The wall clock.

    Raises
    ------
    StoreHeld
        When somebody else has the folder.
    StoreDamaged
        When RocksDB cannot open it, not even empty.
    OSError
        When the folder cannot be made.
    """

    def __init__(
        self,
        folder: Path,
        identity: str,
        worker: WorkerSettings,
        *,
        spare: bool = False,
        now_ms: Callable[[], int] = _now_ms,
    ) -> None:
        self._folder = folder
        self._identity = identity
        self._worker = worker
        self._spare = spare
        self._now_ms = now_ms
        self._touched: dict[str, CustomerState | None] = {}  # since the last border; None was erased
        self._closed: dict[str, CustomerState | None] = {}  # in the epoch that is not flushed yet
        self._batch = rocksdict.WriteBatch(raw_mode=True)  # of that epoch
        self._cached: OrderedDict[str, CustomerState] = OrderedDict()
        self._count: int | None = None  # customers; None until somebody asks
        folder.parent.mkdir(mode=0o700, parents=True, exist_ok=True)  # customers are nobody else's business
        self._lock = _locked(folder.with_name(folder.name + ".lock"))
        try:
            self._db = self._open()
            self._position = self._read_position()
        except BaseException:
            os.close(self._lock)
            raise

    def _open(self) -> Any:
        try:
            with _speaking():
                return rocksdict.Rdict(str(self._folder), _options(self._worker))
        except StoreDamaged as error:
            log.warning("%s: wiped, because it cannot be opened: %s", self._folder, error)
            shutil.rmtree(self._folder, ignore_errors=True)
            with _speaking():
                return rocksdict.Rdict(str(self._folder), _options(self._worker))

    def _read_position(self) -> Position | None:
        try:
            with _speaking():
                value = self._db.get(_META)
            if value is None:
                return None
            meta = _meta_decoder.decode(value)
        except (StoreDamaged, msgspec.DecodeError) as error:
            log.warning("%s: damaged: %s", self._folder, error)
            return None
        if (meta.format, meta.identity) != (FORMAT, self._identity):
            log.warning("%s: a copy of something else", self._folder)
            return None
        age_ms = self._now_ms() - meta.written_ms
        if not 0 <= age_ms <= self._worker.store_trusted_hours * HOUR_MS:
            log.info("%s: too old to be trusted: written %.1f h ago", self._folder, age_ms / HOUR_MS)
            return None
        return Position(meta.sequence, meta.offset)

    @property
    def position(self) -> Position | None:
        """Where the changelog has to be read from."""
        return self._position

    def wipe(self) -> None:
        """Remove the database and make a new one."""
        self._db.close()
        self._forget()
        self._count = self._position = None
        shutil.rmtree(self._folder)
        self._db = self._open()

    def close(self) -> None:
        """Close the database and let go of the folder."""
        self._forget()
        try:
            self._db.close()
            if self._spare:
                shutil.rmtree(self._folder, ignore_errors=True)
        finally:
            os.close(self._lock)

    def _forget(self) -> None:
        self._touched, self._closed, self._cached = {}, {}, OrderedDict()
        self._batch = rocksdict.WriteBatch(raw_mode=True)

    # Recovery and epochs

    def restore(self, changes: Iterable[Change]) -> None:
        """Write records of the changelog through; the position stays until the end has been read."""
        batch = rocksdict.WriteBatch(raw_mode=True)
        for customer_id, value, state in changes:
            if state is None or value is None:
                batch.delete(customer_id.encode())
            else:
                batch.put(customer_id.encode(), with_due(state, value))
        with _speaking():
            self._db.write(batch)
        self._count = None

    def restore_visitors(self, changes: Iterable[VisitorChange]) -> None:
        """Write what the changelog says of visitors through."""
        batch = rocksdict.WriteBatch(raw_mode=True)
        _put_visitors(batch, changes)
        with _speaking():
            self._db.write(batch)

    def visitors(self) -> dict[str, bytes]:
        """Read the visitors."""
        end = VISITOR_KEY[:-1] + b"\x01"
        return {key.removeprefix(VISITOR_KEY).decode(): value for key, value in self._rows(VISITOR_KEY, end)}

    def border(
        self,
        changed: Iterable[OutputRecord],
        erased: Iterable[OutputRecord],
        visitors: Iterable[VisitorChange] = (),
    ) -> None:
        """Lay the epoch's batch aside: its states may change before it is written."""
        assert not self._closed, "one epoch is on its way at a time"
        self._closed, self._touched = self._touched, {}
        for key, value, _ in changed:
            if key is not None and value is not None:
                state = self._closed[key.decode()]
                assert state is not None, "who was erased has not changed"
                self._batch.put(key, with_due(state, value))
        for key, _, _ in erased:
            if key is not None:
                self._batch.delete(key)
        _put_visitors(self._batch, visitors)

    def flush(self, position: Position) -> None:
        """Write an epoch and its position as one batch."""
        # A broker that drops a repeated batch may not say where the first one lies: then more has to be read.
        known = position if position.offset >= 0 else self._position
        batch, self._batch = self._batch, rocksdict.WriteBatch(raw_mode=True)
        if known is not None:
            meta = _Meta(FORMAT, self._identity, known.sequence, known.offset, self._now_ms())
            batch.put(_META, _meta_encoder.encode(meta))
        with _speaking():
            self._db.write(batch)
        self._position = known
        for customer_id, state in self._closed.items():
            if state is not None and customer_id not in self._touched:
                self._cached[customer_id] = state
        self._closed = {}
        while len(self._cached) > self._worker.store_cached_customers:
            self._cached.popitem(last=False)

    def dues(self) -> Iterator[tuple[str, int]]:
        """Read each customer's `due_ms` off the front of its value."""
        known = {**self._closed, **self._touched}
        for customer_id, state in known.items():
            if state is not None:
                yield customer_id, state.verdict.due_ms
        for key, value in self._rows():
            customer_id = key.decode()
            if customer_id not in known:
                yield customer_id, due_of(value)

    def _rows(self, start: bytes = _CUSTOMERS, end: bytes | None = None) -> Iterator[tuple[bytes, bytes]]:
        """Give what the last flush left from a key on, in the order of the keys."""
        rows = self._db.iter()
        try:
            with _speaking():
                rows.seek(start)
                while rows.valid():
                    key = rows.key()
                    if end is not None and key >= end:
                        break
                    yield key, rows.value()
                    rows.next()
                rows.status()  # a damaged block ends the rows like the last one does
        finally:
            del rows  # while it lives the database stays open

    def look_through(self, most: int) -> Iterator[list[CustomerState]]:
        """Give what the last flush left; nothing is cached for it, and no snapshot held in between."""
        last = _CUSTOMERS
        while True:
            some: list[CustomerState] = []
            for key, value in self._rows(last):
                if key != last:
                    some.append(decode_state(value[DUE_BYTES:]))
                    last = key
                if len(some) == most:
                    break
            if not some:
                return
            yield some

    # The mapping

    def get(self, customer_id: str, default: Any = None) -> Any:
        """Look a customer up: among those handed out, in the cache, in the database."""
        if customer_id in self._touched:
            state = self._touched[customer_id]
        elif customer_id in self._closed:
            state = self._touched[customer_id] = self._closed[customer_id]
        else:
            state = self._cached.pop(customer_id, None)
            if state is None:
                value = self._db.get(customer_id.encode())
                if value is None:
                    return default
                state = decode_state(value[DUE_BYTES:])
            self._touched[customer_id] = state
        return default if state is None else state

    def __getitem__(self, customer_id: str) -> CustomerState:
        state: CustomerState | None = self.get(customer_id)
        if state is None:
            raise KeyError(customer_id)
        return state

    def __setitem__(self, customer_id: str, state: CustomerState) -> None:
        if customer_id not in self:
            self._count = len(self) + 1
        self._cached.pop(customer_id, None)
        self._touched[customer_id] = state

    def __delitem__(self, customer_id: str) -> None:
        if customer_id not in self:
            raise KeyError(customer_id)
        self._count = len(self) - 1
        self._cached.pop(customer_id, None)
        self._touched[customer_id] = None

    def __contains__(self, customer_id: object) -> bool:
        for known in (self._touched, self._closed):
            if customer_id in known:
                return known[str(customer_id)] is not None
        return customer_id in self._cached or str(customer_id).encode() in self._db

    def __iter__(self) -> Iterator[str]:
        return (customer_id for customer_id, _ in self.dues())

    def __len__(self) -> int:
        if self._count is None:
            self._count = sum(1 for _ in self.dues())
        return self._count


def _put_visitors(batch: Any, changes: Iterable[VisitorChange]) -> None:
    for anonymous_id, value in changes:
        key = VISITOR_KEY + anonymous_id.encode()
        if value is None:
            batch.delete(key)
        else:
            batch.put(key, value)


def _locked(path: Path) -> int:
    """Lock a file for as long as it is open; the system lets go of it when the process dies."""
    lock = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock)
        raise StoreHeld(str(path)) from None
    return lock


@cache
def _block_cache(megabytes: int) -> Any:
    """Give the cache that all partitions of a worker share."""
    return rocksdict.Cache(megabytes * _MEGABYTE)


def _options(worker: WorkerSettings) -> Any:
    """Options for many small values read at random; RocksDB's own would take gigabytes a partition."""
    tables = rocksdict.BlockBasedOptions()
    tables.set_block_cache(_block_cache(worker.store_block_cache_mb))
    tables.set_block_size(8 * 1024)
    tables.set_bloom_filter(10, False)  # a customer never seen before costs no read
    # Indexes and filters count against the cache; otherwise they would grow with the customers.
    tables.set_cache_index_and_filter_blocks(True)
    tables.set_pin_l0_filter_and_index_blocks_in_cache(True)
    tables.set_format_version(5)
    options = rocksdict.Options(raw_mode=True)
    options.create_if_missing(True)
    options.set_block_based_table_factory(tables)
    options.set_write_buffer_size(worker.store_write_buffer_mb * _MEGABYTE)
    options.set_max_write_buffer_number(2)
    options.set_compression_type(rocksdict.DBCompressionType.lz4())
    options.set_level_compaction_dynamic_level_bytes(True)
    options.set_max_background_jobs(2)
    options.set_max_open_files(256)
    # After a loss of power: the batches up to the first that is incomplete, and none behind it.
    options.set_wal_recovery_mode(rocksdict.DBRecoveryMode.point_in_time())
    options.set_keep_log_file_num(2)
    options.set_max_log_file_size(_MEGABYTE)
    options.set_stats_dump_period_sec(0)
    return options


def folder_of(settings: Settings, changelog: str, partition: int) -> Path:
    """Name the folder of a partition: under the data folder, one for each group and topic.

    Examples
    --------
    >>> folder_of(Settings(), "customers-changelog", 3).as_posix()
    '.holdfast/stores/group=holdfast/topic=customers-changelog/3'
    """
    root = Path(settings.worker.data_folder) / "stores"
    return root / f"group={settings.kafka.group}" / f"topic={changelog}" / str(partition)


async def open_rocksdb(
    settings: Settings, changelog: str, partition: int, lock_seconds: float = LOCK_SECONDS
) -> RocksStore:
    """Open a partition's store, waiting for a worker that is about to let go of it.

    A worker that stays, stopped or hanging, keeps its folder; the partition then gets a spare one,
    which is rebuilt from the changelog.

    Raises
    ------
    OperatorError
        When the folder cannot be used, or all spare ones are taken too.
    """
    identity = f"{settings.kafka.bootstrap} {settings.kafka.group} {changelog} {partition} {STATE_VERSION}"
    folder = folder_of(settings, changelog, partition)
    deadline = time.monotonic() + lock_seconds
    spare = 0
    while spare <= SPARES:
        place = folder.with_name(f"{folder.name}.spare-{spare}") if spare else folder
        try:
            return RocksStore(place, identity, settings.worker, spare=spare > 0)
        except StoreHeld:
            if time.monotonic() < deadline:
                await asyncio.sleep(0.05)
                continue
            log.warning("%s: another worker keeps it", place)
            spare += 1
        except (StoreDamaged, OSError) as error:
            reason = str(error).splitlines()[0] if isinstance(error, StoreDamaged) else error.strerror
            raise OperatorError(f"the state store in {place} cannot be used: {reason}") from None
    raise OperatorError(f"the state store in {folder} and its spare ones are held by other workers")
