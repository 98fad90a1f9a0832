"""The learner agent: the edge of `streams.learning.machine`.

It reads examples in the order of their log, learns, and seals about once a second: the model first, then
the checkpoint with the offset that it stands for, each durable, and only then may the offset be
committed. A restart takes the latest checkpoint and reads on from its offset, so the learner that goes
on is the learner that stopped. The checkpoint is signed, and read only when the signature is right.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Coroutine, Mapping
from typing import Any

import msgspec
from faust.types import TP

from agents import metrics
from agents.breaker import Breaker, Tripped, flood
from agents.changelog import read_latest
from agents.dead_letters import dead_letter
from agents.errors import OperatorError
from agents.ledger import Fenced, Ledger, make_ledger
from agents.session import Session
from agents.settings import Settings
from agents.signing import sign, signing_key, verified_checkpoint
from agents.transport import Consumer, OutputRecord, Producer
from agents.watchdog import Progress
from schemas.codec import WireError, encode, refused
from schemas.learning import Example
from schemas.topics import EXAMPLES, LEARNER_CHECKPOINT, MODELS, dead_letters_of
from streams.customer.features import FEATURE_NAMES, LISTS
from streams.learning.machine import Checkpoint, LearnerMachine

log = logging.getLogger(__name__)

CHECKPOINT_KEY = b"learner"

AT_ONCE, AT_ONCE_OF_MANY = 25, 200
"""Examples learned before records and alerts get their turn: more where a fetch brought more than these."""


class Sealed(msgspec.Struct, array_like=True):
    """What the learner's checkpoint topic holds: the next offset, of which topic, and everything learned."""

    offset: int
    checkpoint: Checkpoint
    topic_id: str = ""


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Sealed)
_examples = msgspec.json.Decoder(Example)
_NAMES = set(FEATURE_NAMES)
_EARLIER = [set(FEATURE_NAMES[:known]) for known in LISTS[:-1]]


class Learner:
    """The one learner of the shop.

    Parameters
    ----------
    settings
        The whole settings.
    connection
        What aiokafka needs to reach the cluster.
    session
        Knows when this process has stood still.
    topic_ids
        By topic that is read, the id that the cluster gave it.
    """

    def __init__(
        self,
        settings: Settings,
        connection: dict[str, Any],
        session: Session,
        topic_ids: Mapping[str, str],
    ) -> None:
        self.topic = settings.topic(EXAMPLES)
        self.machine: LearnerMachine | None = None
        self._tp = TP(self.topic, 0)
        self._topic_id = topic_ids.get(self.topic, "")
        self._settings = settings
        self._connection = connection
        self._session = session
        self._checkpoints = settings.topic(LEARNER_CHECKPOINT)
        self._key = signing_key(settings)
        self._ledger: Ledger | None = None
        self._lock = asyncio.Lock()
        self._generation = -1
        self._next = 0
        self._sealed_next = 0
        self._sealed_at = time.monotonic()
        self._drifts: dict[str, int] = {}
        self._passed_over = 0
        self._published = -1
        self._dead: list[OutputRecord] = []
        self._breaker = self._new_breaker()
        self._flood: Tripped | None = None
        self._lost = False
        self._consumer: Consumer | None = None
        self._producer: Producer | None = None

    async def assigned(self, tps: set[TP], generation: int, consumer: Consumer, producer: Producer) -> None:
        """Go on from the latest checkpoint when the examples are ours."""
        await self._let_go()
        self._generation = generation
        if self._tp not in tps or not consumer.is_ours(generation):
            return  # in the second case another rebalance began meanwhile, and will call again
        self._consumer, self._producer = consumer, producer
        ledger = make_ledger(self._settings, self._connection, producer, self._checkpoints, 0)
        await ledger.open()  # first: what is read is then all that there will be
        latest = await read_latest(self._checkpoints, 0, self._connection)
        if not consumer.is_ours(generation):
            await ledger.close()
            return
        self._ledger, self._dead, self._flood = ledger, [], None
        self.machine, self._next = self._restored(latest.get(CHECKPOINT_KEY))
        self._sealed_next, self._published = self._next, -1
        self._breaker = self._new_breaker()
        consumer.starts[self._tp] = self._next
        log.info("learner goes on after %d examples", self.machine.n_learned)

    def _restored(self, value: bytes | None) -> tuple[LearnerMachine, int]:
        if value is None:
            return LearnerMachine(self._settings.streams), 0
        packed = verified_checkpoint(value, self._key, self._checkpoints)
        try:
            sealed = _decoder.decode(packed)
            machine = LearnerMachine.restore(self._settings.streams, sealed.checkpoint)
        except (msgspec.DecodeError, ValueError):  # signed by us, so not damaged: an older or newer Holdfast
            raise OperatorError(
                f"the learner's checkpoint on {self._checkpoints} was written for another horizon "
                "or by another version of Holdfast; run it as it was, or delete that topic to learn anew"
            ) from None
        # Examples that are of a topic created anew are all still to come.
        return machine, sealed.offset if sealed.topic_id == self._topic_id else 0

    def _new_breaker(self) -> Breaker:
        letters = self._settings.dead_letters
        return Breaker(letters.window, letters.max_share, letters.max_consecutive)

    def progress(self) -> dict[str, Progress]:
        """Tell the watchdog how learning gets on; it asks from a thread of its own."""
        if self._lost:  # for as long as no rebalance comes
            return {"learner": Progress(True, self._sealed_next)}
        if self.machine is None or self._consumer is None:
            return {}
        waiting = self._next != self._sealed_next or not self._consumer.at_end(self._tp, self._next)
        return {"learner": Progress(waiting, self._sealed_next)}

    async def revoked(self, tps: set[TP]) -> None:
        """Seal and let go when the examples go to another worker."""
        if self._tp in tps:
            await self._let_go()

    async def _let_go(self) -> None:
        async with self._lock:
            if self.machine is not None:
                await self._seal(self.machine)
            ledger, self.machine, self._ledger, self._lost = self._ledger, None, None, False
            if ledger is not None:
                await ledger.close()

    async def feed(self, message: Any) -> None:
        """Learn what a fetch brought."""
        async with self._lock:
            machine = self.machine
            if machine is None or message.generation_id != self._generation:
                return
            records = message.value.get(self._tp, ())
            at_once = AT_ONCE_OF_MANY if len(records) > AT_ONCE_OF_MANY else AT_ONCE
            for count, record in enumerate(records, start=1):
                if record.offset >= self._next:
                    await self._learn(machine, record)
                if self._flood:
                    await self._seal(machine)
                    raise OperatorError(flood(self._flood, self.topic, 0, dead_letters_of(self.topic)))
                if count % at_once == 0:
                    await asyncio.sleep(0)
                    if self._is_due():  # here too: in a backlog a tick hardly finds us between two fetches
                        await self._seal(machine)
                        if self.machine is None:
                            return  # another learner goes on

    async def _learn(self, machine: LearnerMachine, record: Any) -> None:
        self._next = record.offset + 1  # first: who is cancelled has learned it all the same
        try:
            example = _read(record.value)
        except WireError as error:
            self._dead.append(dead_letter(record, error, self.topic, 0))
            metrics.DEAD_LETTERS.labels(self.topic, error.reason).inc()
            self._flood = self._breaker.bad(error.reason)
        else:
            self._breaker.good()
            if example.features.keys() != _NAMES:
                self._pass_over(record)
                return
            before = machine.n_learned
            if machine.takes_long(example):
                await to_the_end(asyncio.to_thread(machine.learn, example))  # the loop turns meanwhile
            else:
                machine.learn(example)
            (metrics.LEARNED if machine.n_learned > before else metrics.LEARNED_TWICE).inc()

    def _pass_over(self, record: Any) -> None:
        """Leave out a question that a program before an upgrade asked: it does not say every feature."""
        if not self._passed_over:
            log.warning(
                "examples with an earlier list of features are passed over, from %d on", record.offset
            )
        self._passed_over += 1

    def _tell_of_drifts(self, drifts: dict[str, int]) -> None:
        for expert, number in drifts.items():
            if number > self._drifts.get(expert, number):
                log.warning("the errors of expert %s have drifted, for the %dth time", expert, number)
        self._drifts = drifts

    async def tick(self) -> None:
        """Seal when it is time."""
        if self._lock.locked() or not self._is_due():
            return
        async with self._lock:
            if self.machine is not None:
                await self._seal(self.machine)

    def _is_due(self) -> bool:
        return time.monotonic() - self._sealed_at >= self._settings.worker.epoch_seconds

    async def _seal(self, machine: LearnerMachine) -> None:
        self._sealed_at = time.monotonic()
        if self._next == self._sealed_next and self._published == machine.n_learned:
            return
        self._session.check()
        if self._consumer is None or self._ledger is None or not self._consumer.is_ours(self._generation):
            return  # lost, not handed over: another worker may have written since
        dead, self._dead = self._dead, []
        await self._write(dead_letters_of(self.topic), dead)
        if machine.n_learned != self._published:
            snapshot = machine.snapshot()
            key = snapshot.model_version.encode()
            await self._write(self._settings.topic(MODELS), [(key, encode(snapshot), [])])
            self._published = machine.n_learned
            for measure, value in snapshot.metrics.items():
                metrics.QUALITY.labels(measure).set(value)
            if snapshot.event_time is not None:
                metrics.LEARNED_UNTIL.set(snapshot.event_time.timestamp())
            pool = machine.pool
            self._tell_of_drifts(pool.drifts())
            metrics.show_experts(pool.weights(), pool.losses(), pool.drifts(), snapshot.champion)
        sealed = _encoder.encode(Sealed(self._next, machine.checkpoint(), self._topic_id))
        try:
            await self._ledger.commit((CHECKPOINT_KEY, sign(sealed, self._key), []), [])
        except Fenced:
            self.machine, self._lost = None, True  # another learner goes on; a rebalance will tell us
            return
        self._sealed_next = self._next
        self._consumer.sealed[self._tp] = self._next

    async def _write(self, topic: str, records: list[OutputRecord]) -> None:
        if records and self._producer is not None:
            await asyncio.gather(*await self._producer.send_records(topic, 0, records))


async def to_the_end(work: Coroutine[Any, Any, Any]) -> None:
    """Await work in a thread; whoever cancels us waits too, for it may not go on behind our back."""
    task = asyncio.ensure_future(work)
    cancelled: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.shield(task)
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled is not None:
        raise cancelled
    task.result()


def _read(value: bytes | None) -> Example:
    if value is None:
        raise WireError("missing", "the record has no value")
    try:
        example = _examples.decode(value)
    except msgspec.ValidationError as error:
        raise refused(error) from None
    except (msgspec.DecodeError, RecursionError):
        raise WireError("not_json", "an example that is no JSON") from None
    if example.features.keys() != _NAMES and example.features.keys() not in _EARLIER:
        raise WireError("wrong_type", "an example with other features than this program's")
    if not 0.0 < example.risk < 1.0 or example.label not in (0, 1):
        raise WireError("wrong_type", "risk must lie between 0 and 1, and label be 0 or 1")
    return example
