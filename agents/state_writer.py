"""The states of an epoch, written before it ends.

While the last states of an epoch are written no record of their partition may be processed, or the epoch
would hold half of it. Thousands of them take as long as an alert may, so most are written ahead, some after
each slice. A state that is written and then changes is dirty again, and is written once more at the end. So
whatever changes a state must name it as dirty in the same step, each time.
"""

from __future__ import annotations

from agents.transport import OutputRecord
from streams.customer.at_hand import state_records
from streams.customer.machine import CustomerMachine


class StateWriter:
    """Writes what a machine names as dirty.

    Parameters
    ----------
    machine
        Whose customers; once an epoch's states are being written, its `dirty` holds who changed since.

    Examples
    --------
    >>> from streams.config import StreamConfig
    >>> from streams.learning.served import Served, untrained
    >>> config = StreamConfig()
    >>> machine = CustomerMachine(config, Served(untrained(config)))
    >>> machine.erase("c1")
    >>> writer = StateWriter(machine)
    >>> while writer:
    ...     writer.write(500)
    >>> writer.finish()
    ([], [(b'c1', None, [])])
    """

    def __init__(self, machine: CustomerMachine) -> None:
        self._machine = machine
        self._queue: list[str] = []
        self._records: dict[bytes, OutputRecord] = {}
        self._has_begun = False

    def __bool__(self) -> bool:
        """Whether any state is still to be written."""
        return bool(self._queue or self._machine.dirty)

    @property
    def has_any(self) -> bool:
        """Whether there is anything for the epoch, written or not."""
        return bool(self._records) or bool(self)

    def write_ahead(self, most: int) -> None:
        """Write some of those that were dirty at the epoch's first call and have not changed since."""
        if not self._has_begun and self._machine.dirty:
            self._has_begun = True
            self._begin()
        self._write(most)

    def write(self, most: int) -> None:
        """Write some of all that are dirty."""
        if not self._queue:
            self._begin()
        self._write(most)

    def _begin(self) -> None:
        # From the end, so that who changed first is written first.
        self._queue, self._machine.dirty = list(reversed(self._machine.dirty)), {}

    def _write(self, most: int) -> None:
        some: list[str] = []
        while self._queue and len(some) < most:
            customer_id = self._queue.pop()
            if customer_id not in self._machine.dirty:
                some.append(customer_id)
        if some:
            for records in state_records(some, self._machine.states):
                for record in records:
                    self._records[record[0]] = record

    def finish(self) -> tuple[list[OutputRecord], list[OutputRecord]]:
        """Give the changed states and the tombstones of who was erased; the next epoch begins."""
        records, self._records = self._records, {}
        self._has_begun = False
        changed = [record for record in records.values() if record[1] is not None]
        erased = [record for record in records.values() if record[1] is None]
        return changed, erased
