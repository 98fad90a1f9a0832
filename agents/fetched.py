"""How what a fetch brought is read: as the client reads it, and checked by the processor's own instruction.

aiokafka goes through a fetched batch record by record, copies each into an object with its topic, partition
and sizes, and computes the checksum of the batch in plain C. Each of these costs a good part of what decoding
the message in a record does. Here a consumer that says so (`as_read`) gets records as the client reads them,
and the checksums of every consumer are computed by the processor. Which records come, from which offset, in
which order, and what is skipped (control records, aborted transactions, what a compressed batch holds from
before) stays the client's.

The hooks are private to aiokafka, hence its exact pin; a test runs each of them.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Any

import google_crc32c
from aiokafka.consumer import fetcher
from aiokafka.consumer.fetcher import FetchResult, PartitionRecords
from aiokafka.record.memory_records import MemoryRecords
from aiokafka.structs import TopicPartition

# Of a record batch, in bytes (https://kafka.apache.org/documentation/#recordbatch): where its length, what
# that counts from, its magic and what its checksum covers begin.
_LENGTH, _LEADER_EPOCH, _MAGIC, _COVERED = 8, 12, 16, 21
_NEWEST_MAGIC = 2


def as_read(_key: bytes) -> bytes:
    """Stand for a key deserializer: a consumer that has it gives its records as the client reads them.

    What the client reads has offset, timestamp, key, value and headers.
    """
    raise AssertionError("no key is deserialized where records are left as they are")


class _Batch:
    """A batch of the client's, told apart from it in how it is checked.

    Parameters
    ----------
    batch
        The client's.
    data
        The answer that it is in, from `start` to `end`.
    """

    __slots__ = ("_batch", "_data", "_end", "_start", "is_control_batch", "next_offset")

    def __init__(self, batch: Any, data: bytes, start: int, end: int) -> None:
        self._batch = batch
        self.is_control_batch = batch.is_control_batch  # asked of each; the rest is asked seldom
        self.next_offset = batch.next_offset
        self._data = data
        self._start = start
        self._end = end

    def __getattr__(self, name: str) -> Any:
        return getattr(self._batch, name)

    def __iter__(self) -> Iterator[Any]:
        return iter(self._batch)

    def __next__(self) -> Any:
        return next(self._batch)

    def validate_crc(self) -> bool:
        # Where no wheel of the package fits, it computes in Python, which nobody wants.
        start = self._start
        if self._data[start + _MAGIC] < _NEWEST_MAGIC or google_crc32c.implementation != "c":
            return bool(self._batch.validate_crc())
        return bool(google_crc32c.value(self._data[start + _COVERED : self._end]) == self._batch.crc)


class Batches:
    """The batches of an answer to a fetch: what the client's `MemoryRecords` gives, as `_Batch`."""

    __slots__ = ("_at", "_data", "_records")

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._records = MemoryRecords(data)
        self._at = 0

    def size_in_bytes(self) -> int:
        """Count the bytes of all batches."""
        return int(self._records.size_in_bytes())

    def has_next(self) -> bool:
        """Tell whether a whole batch is left."""
        return bool(self._records.has_next())

    def next_batch(self) -> _Batch | None:
        """Give the next batch."""
        batch = self._records.next_batch()
        if batch is None:
            return None
        start = self._at
        length = self._data[start + _LENGTH : start + _LEADER_EPOCH]
        self._at = start + _LEADER_EPOCH + int.from_bytes(length, "big")
        return _Batch(batch, self._data, start, self._at)


fetcher.MemoryRecords = Batches


def _consumer_record(records: PartitionRecords, tp: TopicPartition, record: Any) -> Any:
    return record if records._key_deserializer is as_read else _copied(records, tp, record)


_copied = PartitionRecords._consumer_record
PartitionRecords._consumer_record = _consumer_record


def all_fetched(fetched: FetchResult, max_records: int | None = None) -> list[Any]:
    """Hand over what was fetched at once, where records are left as they are: the client goes one by one."""
    waiting = fetched._partition_records
    if waiting is None or waiting._key_deserializer is not as_read:
        return list(one_by_one(fetched, max_records))
    if not fetched.check_assignment(fetched._topic_partition):
        return []
    records = list(islice(waiting._records_iterator, max_records))
    fetched._update_position()
    if max_records is None or len(records) < max_records:
        fetched._partition_records = None  # spent
    return records


one_by_one = FetchResult.getall
FetchResult.getall = all_fetched
