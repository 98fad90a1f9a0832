"""Writing a state topic in epochs: all of an epoch or none of it, and by one writer at a time.

A restart begins from what a state topic holds, so two things must not happen: half an epoch that looks
whole, and a worker that has lost its partition, stood still and woke up, writing over its successor. On
Apache Kafka both are one mechanism. Each epoch is a transaction, which a reader of committed records sees
whole or not at all; and whoever opens the ledger of a partition takes over its transactional id, after
which the broker refuses everything from the one before. Opening comes before recovery, so nothing can be
added behind the reader's back.

A broker without transactions gets the same records in an order that makes half an epoch harmless: states
first, then the record that ends the epoch, then tombstones, each acknowledged before the next. A state
from an epoch that never ended knows by offset which records it has applied; a customer who was erased in
one is erased again. There the writer before us is told off by the consumer group only.

References
----------
KIP-98, Exactly Once Delivery and Transactional Messaging.
"""

from __future__ import annotations

import asyncio
from typing import Any, Protocol

from aiokafka import AIOKafkaProducer
from aiokafka.errors import InvalidProducerEpoch, ProducerFenced, TransactionalIdAuthorizationFailed

from agents.errors import EXIT_TRY_AGAIN, OperatorError
from agents.settings import Settings
from agents.transport import MAX_BATCH_BYTES, MAX_REQUEST_BYTES, OutputRecord, Producer, send_in_batches

_TRANSACTION_MS = 60_000
"""How long the broker lets a transaction stay open whose worker is gone without a successor."""


class Fenced(Exception):  # noqa: N818 - a state of the world, named after it
    """Another worker has taken over this ledger; what was not committed is its business now."""


class NoCoordinator(OperatorError):  # noqa: N818 - a state of the world, named after it
    """The cluster gives no coordinator for transactions."""

    exit_code = EXIT_TRY_AGAIN


class Ledger(Protocol):
    """A state topic's partition, held by one writer."""

    async def open(self) -> None:
        """Take it over from whoever has it; to be done before it is read."""

    async def append(self, records: list[OutputRecord]) -> int:
        """Write changed states of the epoch under way; return an offset at or before the last of them."""

    async def commit(self, last: OutputRecord, erased: list[OutputRecord]) -> int:
        """End the epoch, durably.

        Parameters
        ----------
        last
            The record that says that it has ended.
        erased
            Tombstones of what was erased in it.

        Returns
        -------
        int
            An offset at or before `last`, behind every epoch before; negative when the broker does not say.

        Raises
        ------
        Fenced
            When another worker has opened the ledger; nothing of this epoch counts then.
        """

    async def close(self) -> None:
        """Let go; what is not committed does not count."""


class PlainLedger:
    """A ledger on a broker without transactions: the order of the records has to do.

    Parameters
    ----------
    producer
        The worker's own.
    """

    def __init__(self, producer: Producer, topic: str, partition: int) -> None:
        self._producer = producer
        self._place = (topic, partition)

    async def open(self) -> None:
        """Do nothing: such a broker cannot refuse a writer."""

    async def append(self, records: list[OutputRecord]) -> int:
        """Write and wait until it is acknowledged."""
        if not records:
            return -1
        return _last_offset(await asyncio.gather(*await self._producer.send_records(*self._place, records)))

    async def commit(self, last: OutputRecord, erased: list[OutputRecord]) -> int:
        """Write the end, then the tombstones.

        Were they before the end, a crash in between would bring back customers without their history
        and count their last records again. One that stays is erased again by the next owner.
        """
        offset = await self.append([last])
        await self.append(erased)
        return offset

    async def close(self) -> None:
        """Do nothing: the producer is the worker's."""


class TransactionalLedger:
    """A ledger on Apache Kafka: an epoch is a transaction, a transactional id is the right to write.

    Parameters
    ----------
    connection
        What aiokafka needs to reach the cluster.
    group
        The consumer group: the transactional id begins with it, which is what ACLs are given for.
    """

    def __init__(self, connection: dict[str, Any], group: str, topic: str, partition: int) -> None:
        self._place = (topic, partition)
        self._transactional_id = f"{group}-{topic}-{partition}"
        self._patience_seconds = connection["request_timeout_ms"] / 1000.0
        self._producer = AIOKafkaProducer(
            **connection,
            transactional_id=self._transactional_id,
            transaction_timeout_ms=_TRANSACTION_MS,
            max_batch_size=MAX_BATCH_BYTES,
            max_request_size=MAX_REQUEST_BYTES,
        )

    async def open(self) -> None:
        """Fence the writer before us; its open transaction is rolled back."""
        try:
            async with asyncio.timeout(self._patience_seconds):  # the client itself would ask for ever
                await self._producer.start()
                await self._producer.begin_transaction()
        except TimeoutError:
            raise NoCoordinator(
                f"no coordinator for transactions within {self._patience_seconds:g} s: is "
                "__transaction_state available? kafka.transactions = false does without, and without fencing"
            ) from None
        except TransactionalIdAuthorizationFailed:
            raise OperatorError(f"no right to WRITE on transactional id {self._transactional_id}") from None

    async def append(self, records: list[OutputRecord]) -> int:
        """Write as part of the transaction."""
        try:
            sent = await send_in_batches(self._producer, *self._place, records)
            return _last_offset(await asyncio.gather(*sent))
        except (ProducerFenced, InvalidProducerEpoch):
            raise Fenced from None

    async def commit(self, last: OutputRecord, erased: list[OutputRecord]) -> int:
        """Write tombstones and the end, and commit; a new transaction begins."""
        offset = await self.append([*erased, last])
        try:
            await self._producer.commit_transaction()
            await self._producer.begin_transaction()
        except (ProducerFenced, InvalidProducerEpoch):
            raise Fenced from None
        return offset

    async def close(self) -> None:
        """Stop the producer; a successor, or else time, rolls back what is open."""
        await self._producer.stop()


def _last_offset(answers: list[Any]) -> int:
    """Give where the last batch begins, by what the broker said of each."""
    return int(answers[-1].offset) if answers and answers[-1] is not None else -1


def make_ledger(
    settings: Settings, connection: dict[str, Any], producer: Producer, topic: str, partition: int
) -> Ledger:
    """Make the ledger that the cluster allows, as `kafka.transactions` says.

    Parameters
    ----------
    connection
        What an aiokafka producer needs to reach the cluster.
    producer
        The worker's own, for a broker without transactions.
    topic
        Its real name.
    """
    if settings.kafka.transactions:
        return TransactionalLedger(connection, settings.kafka.group, topic, partition)
    return PlainLedger(producer, topic, partition)
