"""What the learner does when it loses its ledger, and when assignments come late."""

from __future__ import annotations

import asyncio
import logging
import threading
import traceback
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import msgspec
import pytest
from faust.types import TP

from agents import learner as module
from agents.errors import OperatorError
from agents.learner import AT_ONCE_OF_MANY, Learner
from agents.ledger import Fenced
from agents.session import Session
from agents.settings import Settings, load
from agents.signing import sign, signing_key
from agents.transport import Consumer, Producer
from agents.watchdog import Progress
from schemas.codec import WireError, encode, utc
from schemas.learning import Example
from streams.customer.features import FEATURE_NAMES, LISTS
from streams.learning.machine import LearnerMachine


class FakeLedger:
    """A ledger that somebody else may own by now."""

    def __init__(self) -> None:
        self.opened = self.closed = 0
        self.fenced = False

    async def open(self) -> None:
        self.opened += 1

    async def commit(self, _last: Any, _erased: Any) -> int:
        if self.fenced:
            raise Fenced
        return 0

    async def close(self) -> None:
        self.closed += 1


class FakeConsumer:
    """The group as it is now."""

    generation = 1

    def __init__(self) -> None:
        self.sealed: dict[TP, int] = {}
        self.starts: dict[TP, int] = {}

    def is_ours(self, generation: int) -> bool:
        return generation == self.generation

    def at_end(self, _tp: TP, _next: int) -> bool:
        return True


class FakeProducer:
    """Acknowledges everything."""

    async def send_records(self, *_: Any) -> list[Any]:
        return []


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return load(Path("/dev/null"), {}, {"worker.data_folder": str(tmp_path)})


@pytest.fixture
def ledgers(monkeypatch: pytest.MonkeyPatch) -> list[FakeLedger]:
    made: list[FakeLedger] = []

    def make(*_: Any) -> FakeLedger:
        made.append(FakeLedger())
        return made[-1]

    async def nothing(*_: Any, **__: Any) -> dict[bytes, bytes]:
        return {}

    monkeypatch.setattr(module, "make_ledger", make)
    monkeypatch.setattr(module, "read_latest", nothing)
    return made


EXAMPLES = {TP("examples", 0)}


def take(learner: Learner, consumer: FakeConsumer, tps: set[TP] = EXAMPLES, generation: int = 1) -> Any:
    return learner.assigned(tps, generation, cast(Consumer, consumer), cast(Producer, FakeProducer()))


def test_a_late_assignment_leaves_the_new_owners_ledger_alone(
    settings: Settings, ledgers: list[FakeLedger]
) -> None:
    learner, consumer = Learner(settings, {}, Session(30.0), {}), FakeConsumer()
    consumer.generation = 2
    asyncio.run(take(learner, consumer))
    assert ledgers == []
    assert learner.machine is None


def test_a_fenced_learner_learns_no_more_and_the_watchdog_can_see_it(
    settings: Settings, ledgers: list[FakeLedger]
) -> None:
    async def scenario() -> list[Any]:
        learner, consumer = Learner(settings, {}, Session(30.0), {}), FakeConsumer()
        await take(learner, consumer)
        seen: list[Any] = [learner.progress()]
        ledgers[0].fenced = True
        learner._sealed_at = 0.0
        await learner.tick()
        assert learner.machine is None
        assert consumer.sealed == {}
        seen.append(learner.progress())
        await learner.revoked(EXAMPLES)
        seen.append(learner.progress())
        return seen

    well, fenced, gone = asyncio.run(scenario())
    assert well == {"learner": Progress(False, 0)}
    assert fenced == {"learner": Progress(True, 0)}
    assert gone == {}
    assert ledgers[0].closed == 1


def test_an_assignment_that_follows_another_closes_the_ledger_before_it(
    settings: Settings, ledgers: list[FakeLedger]
) -> None:
    async def scenario() -> None:
        learner, consumer = Learner(settings, {}, Session(30.0), {}), FakeConsumer()
        await take(learner, consumer)
        consumer.generation = 2
        await take(learner, consumer, generation=2)
        assert [ledger.closed for ledger in ledgers] == [1, 0]
        consumer.generation = 3
        await take(learner, consumer, tps={TP("orders", 0)}, generation=3)
        assert learner.machine is None

    asyncio.run(scenario())
    assert [ledger.closed for ledger in ledgers] == [1, 1]


def test_a_refused_example_is_not_quoted() -> None:
    """What is said of it stands in a dead letter's header, which anybody may read."""
    said = b'{"cause": "anna@example.org", "label": 1}'
    with pytest.raises(WireError) as refused:
        module._read(said)
    assert "anna" not in "".join(traceback.format_exception(refused.value))


def of_list(known: int, number: int) -> bytes:
    """Write an example as a program with so many features did."""
    asked_at = utc(1_767_225_600_000 + number)
    return encode(
        Example(
            id=f"e{number}",
            customer_id="c",
            asked_at=asked_at,
            matured_at=asked_at + timedelta(days=30),
            horizon_days=30.0,
            cause="timer",
            features=dict.fromkeys(FEATURE_NAMES[:known], 1.0),
            risk=0.5,
            label=1,
            model_version="lr-0",
        )
    )


def test_examples_of_an_earlier_list_of_features_are_passed_over_with_one_line(
    settings: Settings, ledgers: list[FakeLedger], caplog: pytest.LogCaptureFixture
) -> None:
    """An upgrade finds a topic full of them: they are no flood of broken messages."""
    known = [LISTS[0]] * 2_000 + [len(FEATURE_NAMES)] * 3
    records = [SimpleNamespace(offset=n, value=of_list(k, n)) for n, k in enumerate(known)]

    async def scenario() -> Learner:
        learner, consumer = Learner(settings, {}, Session(30.0), {}), FakeConsumer()
        await take(learner, consumer)
        await learner.feed(SimpleNamespace(generation_id=1, value={TP(learner.topic, 0): records}))
        return learner

    with caplog.at_level(logging.WARNING):
        learner = asyncio.run(scenario())
    assert learner.machine is not None
    assert learner.machine.n_learned == 3
    assert learner._next == len(records)
    assert learner._dead == []
    assert [record.getMessage() for record in caplog.records] == [
        "examples with an earlier list of features are passed over, from 0 on"
    ]


def test_an_example_of_some_features_is_no_earlier_one() -> None:
    with pytest.raises(WireError, match="other features"):
        module._read(of_list(LISTS[0] - 1, 0))


def older(checkpoint: Any) -> list[bytes]:
    """Pack a checkpoint the way that other versions of this program did, or would."""
    plain = msgspec.msgpack.decode(msgspec.msgpack.encode(checkpoint))
    version, pool, *rest = plain
    return [
        msgspec.msgpack.encode([0, [2, ["as", "it", "was"], *rest], ""]),  # another layout
        msgspec.msgpack.encode([0, [version - 1, pool, *rest], ""]),  # another version
        msgspec.msgpack.encode([0, [version, [["one feature"], *pool[1:]], *rest], ""]),  # other features
        msgspec.msgpack.encode([0, [version, [pool[0], ["one expert"], *pool[2:]], *rest], ""]),
    ]


def test_a_checkpoint_of_another_version_is_one_line_for_the_operator(
    settings: Settings, ledgers: list[FakeLedger], monkeypatch: pytest.MonkeyPatch
) -> None:
    for packed in older(LearnerMachine(settings.streams).checkpoint()):

        async def latest(*_: Any, packed: bytes = packed, **__: Any) -> dict[bytes, bytes]:
            return {module.CHECKPOINT_KEY: sign(packed, signing_key(settings))}

        monkeypatch.setattr(module, "read_latest", latest)
        learner = Learner(settings, {}, Session(30.0), {})
        with pytest.raises(OperatorError, match="by another version of Holdfast") as told:
            asyncio.run(take(learner, FakeConsumer()))
        assert "\n" not in str(told.value)
    assert ledgers


@pytest.mark.parametrize("cancelled", [False, True])
def test_records_go_on_during_a_long_fit_and_nobody_goes_on_behind_its_back(
    settings: Settings, ledgers: list[FakeLedger], monkeypatch: pytest.MonkeyPatch, cancelled: bool
) -> None:
    begun, may_end, ended = threading.Event(), threading.Event(), threading.Event()

    def fit(_machine: LearnerMachine, _example: Example) -> None:
        begun.set()
        assert may_end.wait(10.0), "the loop stood still"
        ended.set()

    monkeypatch.setattr(LearnerMachine, "takes_long", lambda *_: True)
    monkeypatch.setattr(LearnerMachine, "learn", fit)

    async def scenario() -> None:
        learner, consumer = Learner(settings, {}, Session(30.0), {}), FakeConsumer()
        await take(learner, consumer)
        record = SimpleNamespace(offset=0, value=of_list(len(FEATURE_NAMES), 1))
        message = SimpleNamespace(generation_id=1, value={TP(learner.topic, 0): [record]})
        task = asyncio.create_task(learner.feed(message))
        assert await asyncio.to_thread(begun.wait, 10.0)
        for _ in range(2 * cancelled):
            task.cancel()
            await asyncio.sleep(0)
        assert learner._lock.locked(), "nothing may be sealed meanwhile"
        may_end.set()
        await asyncio.gather(task, return_exceptions=True)
        assert ended.is_set()
        assert task.cancelled() == cancelled
        assert learner._next == 1, "what was learned is not to be learned again"

    asyncio.run(scenario())


def test_a_long_backlog_is_sealed_on_its_way(settings: Settings, ledgers: list[FakeLedger]) -> None:
    """The lock is held for all that a fetch brought: no tick comes in between."""
    records = [
        SimpleNamespace(offset=n, value=of_list(len(FEATURE_NAMES), n)) for n in range(AT_ONCE_OF_MANY + 10)
    ]

    async def scenario() -> None:
        settings_now = msgspec.structs.replace(
            settings, worker=msgspec.structs.replace(settings.worker, epoch_seconds=0.0)
        )
        learner, consumer = Learner(settings_now, {}, Session(30.0), {}), FakeConsumer()
        await take(learner, consumer)
        await learner.feed(SimpleNamespace(generation_id=1, value={TP(learner.topic, 0): records}))
        assert consumer.sealed == {TP(learner.topic, 0): AT_ONCE_OF_MANY}
        ledgers[0].fenced, learner._sealed_at = True, 0.0
        more = [SimpleNamespace(offset=r.offset + 1_000, value=r.value) for r in records]
        await learner.feed(SimpleNamespace(generation_id=1, value={TP(learner.topic, 0): more}))
        assert learner.machine is None, "another learner goes on"
        assert learner._next == 1_000 + AT_ONCE_OF_MANY, "and this one goes no further"

    asyncio.run(scenario())
