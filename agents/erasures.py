"""The requests to erase customers that one partition has read, and when their turn comes.

A request is taken when everything that stood on the partition's inputs before it has been processed, never
earlier: a message of the customer that is still on its way would bring them back with a fragment of their
history. Then two epochs are sealed, with no record between them. The first ends with the tombstones, and
its marker still stands before the request; only the second says that the request is done. So wherever a
worker dies, the request is either done or read again, and doing it again erases nobody's new history:
after a takeover no record is processed before the requests that stand are known.

Requests come in order and are done in order. One that cannot be read still names its customer in the key,
and is taken at once. Customer ids are never logged.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

from schemas.erasures import decode_request

log = logging.getLogger(__name__)


class _Request(NamedTuple):
    offset: int
    customer_id: str | None  # None where the key is nobody's id: it only takes its place among the offsets
    until: Mapping[str, int]


class Requests:
    """The requests of one partition.

    Parameters
    ----------
    start
        The first offset that is not known to be done.

    Attributes
    ----------
    read
        The next offset to read.
    offset
        What a marker may say: everything before it is done, and durable.

    Examples
    --------
    >>> from types import SimpleNamespace
    >>> requests = Requests(start=4)
    >>> value = b'{"version":1,"requested_at":"2026-03-01T12:00:00Z","until":{"orders":7}}'
    >>> requests.arrive([SimpleNamespace(offset=4, key=b"c-17", value=value)])
    >>> requests.take(lambda until: 6 >= until["orders"])
    []
    >>> requests.take(lambda until: 7 >= until["orders"])
    ['c-17']
    >>> requests.offset
    4
    >>> requests.settle()
    >>> requests.offset
    5
    """

    def __init__(self, start: int) -> None:
        self.read = start
        self.offset = start
        self._waiting: deque[_Request] = deque()

    def __len__(self) -> int:
        """Count the requests that wait for their turn."""
        return len(self._waiting)

    def arrive(self, records: Iterable[Any]) -> None:
        """Take in the records of one fetched batch; those seen before are left out."""
        for record in records:
            if record.offset >= self.read:
                self.read = record.offset + 1
                self._waiting.append(_request(record))

    def is_due(self, passed: Callable[[Mapping[str, int]], bool]) -> bool:
        """Tell whether the turn of the first one has come; `passed` as for `take`."""
        return bool(self._waiting) and passed(self._waiting[0].until)

    def take(self, passed: Callable[[Mapping[str, int]], bool]) -> list[str]:
        """Take the customers whose turn has come, in order.

        Parameters
        ----------
        passed
            Tells whether everything before an offset of each input has been processed.
        """
        taken = []
        while self._waiting and passed(self._waiting[0].until):
            customer_id = self._waiting.popleft().customer_id
            if customer_id is not None:
                taken.append(customer_id)
        return taken

    def settle(self) -> None:
        """Say that the tombstones of everything taken so far are durable."""
        self.offset = self._waiting[0].offset if self._waiting else self.read


def _request(record: Any) -> _Request:
    try:
        customer_id = record.key.decode() if record.key else None
    except UnicodeDecodeError:
        customer_id = None
    if customer_id is None or not customer_id.isprintable():  # not the marker's key, for one
        log.warning("the request at offset %d has no customer id for a key: ignored", record.offset)
        return _Request(record.offset, None, {})
    try:
        return _Request(record.offset, customer_id, decode_request(record.value or b"").until)
    except ValueError:
        log.warning("the request at offset %d cannot be read: its customer is erased at once", record.offset)
        return _Request(record.offset, customer_id, {})
