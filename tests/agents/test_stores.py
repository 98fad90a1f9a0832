"""Both stores are one: the same tests for the dictionary and for RocksDB, against a plain model of them.

The model is a changelog: what each flush made durable, as records with offsets. A store that is opened
again reads it from its own position on, as recovery does.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from random import Random
from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from agents.errors import OperatorError
from agents.rocksdb_store import RocksStore, StoreHeld, folder_of, open_rocksdb
from agents.sections import WorkerSettings
from agents.settings import Settings
from agents.settings import load as load_settings
from agents.stores import Change, MemoryStore, Position, StateStore, StoreDamaged, VisitorChange, open_store
from streams.config import DAY_MS, HOUR_MS, ReviewConfig, StreamConfig
from streams.customer.at_hand import state_records
from streams.customer.machine import CustomerMachine
from streams.customer.state import CustomerState, new_state
from streams.customer.state_codec import decode_state, encode_state
from tests.streams.build import Shop, random_events, recorded, rich_model, spoken

ROOT = Path(__file__).parents[2]
SMALL = WorkerSettings(store_cached_customers=2, store_block_cache_mb=1, store_write_buffer_mb=1)
CUSTOMERS = ["a", "b", "é", "customer-4", "5" * 128]


class Disk:
    """Where a store lives, and a way to open it again as after a kill or after a stop."""

    def __init__(self, kind: str, worker: WorkerSettings = SMALL) -> None:
        self.kind = kind
        self.worker = worker
        self.now_ms = 1_800_000_000_000
        self.identity = "cluster group topic 0"
        self._root = Path(tempfile.mkdtemp(prefix="holdfast-store-"))
        self._lives = 0
        self.store = self._new()

    @property
    def folder(self) -> Path:
        return self._root / str(self._lives)

    def _new(self) -> StateStore:
        if self.kind == "memory":
            return MemoryStore()
        return RocksStore(self.folder, self.identity, self.worker, now_ms=lambda: self.now_ms)

    def kill(self) -> StateStore:
        """Open what is on disk while nobody has closed it."""
        dead, before = self.store, self.folder
        self._lives += 1
        if isinstance(dead, RocksStore):
            dead._db.cancel_all_background(True)  # files must stand still while they are copied
            shutil.copytree(before, self.folder)
            with pytest.raises(Exception, match="Shutdown in progress"):
                dead.close()
        self.store = self._new()
        return self.store

    def reopen(self) -> StateStore:
        self.store.close()
        self.store = self._new()
        return self.store

    def remove(self) -> None:
        self.store.close()
        shutil.rmtree(self._root)


@pytest.fixture(params=["memory", "rocksdb"])
def disk(request: pytest.FixtureRequest) -> Iterator[Disk]:
    disk = Disk(request.param)
    yield disk
    disk.remove()


@pytest.fixture
def rocks() -> Iterator[Disk]:
    disk = Disk("rocksdb")
    yield disk
    disk.remove()


def state_of(number: int) -> CustomerState:
    state = new_state(DAY_MS + number, 2)
    state.revenue = float(number)
    state.verdict.due_ms = DAY_MS * (1 + number % 7)
    return state


class Log:
    """A changelog: everything that was made durable, in order."""

    def __init__(self) -> None:
        self.records: list[Change] = []
        self.closed: list[Change] | None = None  # the epoch on its way
        self.sequence = 0

    def seal(self, store: StateStore, dirty: dict[str, None]) -> None:
        """End an epoch: the changelog first, then the store."""
        self.close(store, dirty)
        self.acknowledge(store)

    def close(self, store: StateStore, dirty: Iterable[str]) -> None:
        """Close an epoch; the changelog has not acknowledged it yet."""
        changed, erased = state_records(dirty, store)
        store.border(changed, erased)
        self.closed = [
            Change(key.decode(), value, None if value is None else decode_state(value))
            for key, value, _ in (*changed, *erased)
            if key is not None
        ]

    def append(self) -> Position:
        """Take the closed epoch."""
        assert self.closed is not None
        self.records += self.closed
        self.closed = None
        self.sequence += 1
        return Position(self.sequence, len(self.records))

    def acknowledge(self, store: StateStore) -> None:
        """Take the closed epoch, and tell the store."""
        store.flush(self.append())

    def restore(self, store: StateStore) -> int:
        """Read from where the store stands; return how many records that took."""
        if store.position is None:
            store.wipe()
        start = 0 if store.position is None else store.position.offset
        # Objects of its own: a memory store keeps what it is given, and it will be changed.
        tail = [Change(c, v, v and decode_state(v)) for c, v, _ in self.records[start:]]
        for place in range(0, len(tail), 3):
            store.restore(tail[place : place + 3])
        store.flush(Position(self.sequence, len(self.records)))
        return len(tail)


class AgainstADictionary(RuleBasedStateMachine):
    """Everything that a machine and a room do with a store, in any order."""

    kind = ""

    def __init__(self) -> None:
        super().__init__()
        self.disk = Disk(self.kind)
        self.log = Log()
        self.live: dict[str, CustomerState] = {}  # what the store must hold now
        self.closed: dict[str, bytes] = {}  # what it held at the last border
        self.sealed: dict[str, bytes] = {}  # and what it must hold after a crash
        self.out: dict[str, CustomerState] = {}  # handed out since the last border or flush
        self.dirty: dict[str, None] = {}

    @property
    def store(self) -> StateStore:
        return self.disk.store

    def _handed_out(self, customer_id: str) -> CustomerState:
        state = self.store[customer_id]
        assert self.out.setdefault(customer_id, state) is state, "another object than before"
        return state

    @rule(customer_id=st.sampled_from(CUSTOMERS), number=st.integers(0, 99))
    def put(self, customer_id: str, number: int) -> None:
        state = state_of(number)
        self.store[customer_id] = state
        self.out[customer_id] = state
        self.live[customer_id] = decode_state(encode_state(state))
        self.dirty[customer_id] = None

    @precondition(lambda self: self.live)
    @rule(data=st.data(), number=st.integers(0, 99))
    def change_in_place(self, data: st.DataObject, number: int) -> None:
        customer_id = data.draw(st.sampled_from(sorted(self.live)))
        for state in (self._handed_out(customer_id), self.live[customer_id]):
            state.orders += number
            state.verdict.due_ms += 1
        self.dirty[customer_id] = None

    @precondition(lambda self: self.live)
    @rule(data=st.data())
    def look(self, data: st.DataObject) -> None:
        customer_id = data.draw(st.sampled_from(sorted(self.live)))
        assert self._handed_out(customer_id) == self.live[customer_id]

    @rule(customer_id=st.sampled_from(CUSTOMERS))
    def erase(self, customer_id: str) -> None:
        gone = self.store.pop(customer_id, None)
        assert gone == self.live.pop(customer_id, None)
        if gone is not None:
            self.out.pop(customer_id, None)
            self.dirty[customer_id] = None
            with pytest.raises(KeyError):
                del self.store[customer_id]

    @precondition(lambda self: self.log.closed is None)
    @rule()
    def close(self) -> None:
        self.log.close(self.store, self.dirty)
        self.dirty, self.out = {}, {}
        self.closed = {c: encode_state(s) for c, s in self.live.items()}

    @precondition(lambda self: self.log.closed is not None)
    @rule()
    def acknowledge(self) -> None:
        self.log.acknowledge(self.store)
        self.out = {}
        self.sealed = self.closed

    @precondition(lambda self: self.log.closed is not None)
    @rule()
    def kill_before_the_store_hears_of_an_epoch(self) -> None:
        self.log.append()
        self.sealed = self.closed
        self.kill()

    def _opened_again(self) -> None:
        self.dirty, self.out, self.log.closed = {}, {}, None
        self.log.restore(self.store)
        self.live = {c: decode_state(s) for c, s in self.sealed.items()}

    @rule()
    def kill(self) -> None:
        self.disk.kill()
        self._opened_again()

    @rule()
    def stop(self) -> None:
        self.disk.reopen()
        self._opened_again()

    @rule(days=st.sampled_from([0.1, 1, 30]))
    def let_time_pass(self, days: float) -> None:
        self.disk.now_ms += int(days * DAY_MS)

    @invariant()
    def holds_what_the_dictionary_holds(self) -> None:
        assert len(self.store) == len(self.live)
        assert sorted(self.store) == sorted(self.live)
        assert dict(self.store.dues()) == {c: s.verdict.due_ms for c, s in self.live.items()}
        for customer_id in CUSTOMERS:
            assert (customer_id in self.store) == (customer_id in self.live)

    def teardown(self) -> None:
        assert dict(self.store.items()) == self.live
        self.disk.remove()


def case_of(kind: str, examples: int) -> Any:
    case = type(f"Against{kind.title()}", (AgainstADictionary,), {"kind": kind}).TestCase
    case.settings = settings(
        max_examples=examples,
        stateful_step_count=30,
        deadline=None,
        derandomize=True,
        suppress_health_check=[HealthCheck.too_slow],
    )
    return case


TestMemoryAgainstADictionary = case_of("memory", 100)
TestRocksdbAgainstADictionary = case_of("rocksdb", 15)


def test_what_was_not_flushed_is_gone_after_a_kill_and_the_last_epoch_is_whole(disk: Disk) -> None:
    log = Log()
    disk.store["a"], disk.store["b"] = state_of(1), state_of(2)
    log.seal(disk.store, {"a": None, "b": None})
    disk.store["a"].orders = 7
    del disk.store["b"]
    log.seal(disk.store, {"a": None, "b": None})
    disk.store["a"].orders = 8
    disk.store["c"] = state_of(3)
    read = log.restore(disk.kill())
    assert read == (0 if disk.kind == "rocksdb" else 4)
    assert {c: s.orders for c, s in disk.store.items()} == {"a": 7}


def test_what_changes_while_an_epoch_is_on_its_way_is_of_the_next_one(disk: Disk) -> None:
    log = Log()
    disk.store["a"], disk.store["b"] = state_of(1), state_of(2)
    log.close(disk.store, {"a": None, "b": None})
    disk.store["a"].revenue = 8.0
    del disk.store["b"]
    disk.store["c"] = state_of(3)
    log.acknowledge(disk.store)
    assert {c: s.revenue for c, s in disk.store.items()} == {"a": 8, "c": 3}
    log.restore(disk.kill())
    assert {c: s.revenue for c, s in disk.store.items()} == {"a": 1, "b": 2}


def test_a_machine_over_a_store_does_what_one_over_a_dictionary_does(disk: Disk) -> None:
    config = StreamConfig(reviews=ReviewConfig(silent_days=30.0, forget_days=30.0))
    rng, log = Random(3), Log()
    plain, stored = Shop(config, rich_model()), Shop(config, rich_model())
    stored.machine = CustomerMachine(config, rich_model(), states=disk.store)
    for record in recorded(random_events(3, customers=12, days=300, per_customer=30)):
        assert plain.apply([record]) == stored.apply([record])
        if rng.random() < 0.1:
            log.seal(disk.store, stored.machine.dirty)
            stored.machine.dirty = {}
        if rng.random() < 0.01:
            log.seal(disk.store, stored.machine.dirty)
            watermark_ms = stored.machine.watermark.at_ms
            log.restore(disk.kill())
            stored.machine = CustomerMachine(
                config, rich_model(), watermark_ms=watermark_ms, states=disk.store
            )
            stored.machine.expect(disk.store.dues())
    assert spoken(stored.said) == spoken(plain.said)
    assert {c: encode_state(s) for c, s in disk.store.items()} == {
        c: encode_state(s) for c, s in plain.machine.states.items()
    }
    assert any(decision.payload is None for decision in plain.said), "nobody was forgotten on the way"


def test_visitors_are_kept_beside_the_customers_and_are_none_of_them(disk: Disk) -> None:
    log = Log()
    disk.store["a"] = state_of(1)
    log.seal(disk.store, {"a": None})
    told = [VisitorChange("v-1", b"one"), VisitorChange("v-é", b"two"), VisitorChange("v-3", b"three")]
    if disk.kind == "memory":  # a memory store has them from the changelog only
        disk.store.restore_visitors(told)
    else:
        disk.store.border([], [], told)
        disk.store.flush(Position(2, 5))
    disk.store.restore_visitors(
        [VisitorChange("v-1", None), VisitorChange("v-3", b"3"), VisitorChange("x", None)]
    )
    assert (len(disk.store), list(disk.store), list(disk.store.dues())) == (1, ["a"], [("a", DAY_MS * 2)])
    assert list(disk.store.look_through(10)) == [[state_of(1)]]
    assert disk.store.visitors() == {"v-é": b"two", "v-3": b"3"}
    disk.store.wipe()
    assert disk.store.visitors() == {}


def test_erasing_somebody_unknown_changes_nothing(disk: Disk) -> None:
    log = Log()
    disk.store["a"] = state_of(1)
    log.seal(disk.store, {"a": None})
    log.seal(disk.store, {"nobody": None})
    log.restore(disk.kill())
    assert dict(disk.store.items()) == {"a": state_of(1)}


@pytest.mark.parametrize("most", [1, 7, 100, 1_000])
def test_looking_through_shows_everybody_once_and_keeps_nothing_in_memory(disk: Disk, most: int) -> None:
    store, log = disk.store, Log()
    for number in range(100):
        store[f"c{number}"] = state_of(number)
    log.seal(store, dict.fromkeys(store))
    parts = list(store.look_through(most))
    assert all(0 < len(part) <= most for part in parts)
    seen = [state for part in parts for state in part]
    assert len(seen) == 100
    assert all(state in seen for state in map(state_of, range(100)))
    if isinstance(store, RocksStore):
        assert not store._touched


def test_objects_in_memory_are_those_of_the_epoch_and_of_the_cache(rocks: Disk) -> None:
    store, log = rocks.store, Log()
    assert isinstance(store, RocksStore)
    for number in range(100):
        store[f"c{number}"] = state_of(number)
    log.seal(store, dict.fromkeys(store))
    assert (len(store._touched), len(store._cached)) == (0, 2)
    assert list(store._cached) == ["c98", "c99"]
    for number in range(10):
        store.get(f"c{number}")
    store.get("nobody")
    assert (len(store._touched), len(store._cached)) == (10, 2)
    log.seal(store, {})
    assert list(store._cached) == ["c8", "c9"], "least recently used first"
    assert len(store) == 100


ENDLESS = """
import sys
from pathlib import Path
from agents.rocksdb_store import RocksStore
from agents.stores import Position
from streams.customer.at_hand import state_records
from tests.agents.test_stores import SMALL, state_of

store = RocksStore(Path(sys.argv[1]), "endless", SMALL)
for sequence in range(1, 1_000_000):
    for number in range(50):
        store.get(f"c{number}") or store.__setitem__(f"c{number}", state_of(0))
        store[f"c{number}"].orders = sequence
    store.border(*state_records([f"c{number}" for number in range(50)], store))
    store.flush(Position(sequence, 10 * sequence))
    print(sequence, flush=True)
"""


def test_a_process_killed_while_it_writes_leaves_the_last_epoch_whole(tmp_path: Path) -> None:
    for epochs in (3, 200):  # the second finds what the first left, and fills more than a write buffer
        command = [sys.executable, "-c", ENDLESS, str(tmp_path / "db")]
        with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=ROOT, text=True) as process:
            assert process.stdout is not None
            for line in process.stdout:
                if int(line) == epochs:
                    break
            process.kill()
            said = [int(line) for line in process.stdout if line.endswith("\n")]
        store = RocksStore(tmp_path / "db", "endless", SMALL)
        assert store.position is not None
        sequence = store.position.sequence
        assert sequence in (max([epochs, *said]), max([epochs, *said]) + 1)
        assert store.position.offset == 10 * sequence
        assert [state.orders for state in store.values()] == [sequence] * 50
        store.close()


@pytest.mark.parametrize(
    ("hours", "trusted"),
    [(0.0, True), (11.9, True), (12.1, False), (-0.1, False)],
    ids=["new", "young", "old", "from the future"],
)
def test_a_store_is_trusted_while_no_tombstone_can_have_been_compacted_away(
    rocks: Disk, hours: float, trusted: bool
) -> None:
    rocks.store["a"] = state_of(1)
    rocks.store.border(*state_records(["a"], rocks.store))
    rocks.store.flush(Position(4, 17))
    rocks.now_ms += int(hours * HOUR_MS)
    assert rocks.reopen().position == (Position(4, 17) if trusted else None)


def test_a_customer_erased_while_the_store_was_away_does_not_rise_from_an_old_one(rocks: Disk) -> None:
    log = Log()
    rocks.store["a"], rocks.store["b"] = state_of(1), state_of(2)
    log.seal(rocks.store, {"a": None, "b": None})
    rocks.store.close()
    log.records.append(Change("a", None, None))  # another worker erased a
    del log.records[0], log.records[-1]  # and compaction has dropped the tombstone with what it erased
    rocks.now_ms += 13 * HOUR_MS
    rocks.store = rocks._new()
    log.restore(rocks.store)
    assert set(rocks.store) == {"b"}


def test_an_epoch_whose_place_the_broker_did_not_say_moves_no_position(rocks: Disk) -> None:
    rocks.store["a"] = state_of(1)
    rocks.store.border(*state_records(["a"], rocks.store))
    rocks.store.flush(Position(1, -1))
    assert rocks.reopen().position is None
    rocks.store.wipe()
    for sequence, offset in ((2, 7), (3, -1)):
        rocks.store["a"] = state_of(sequence)
        rocks.store.border(*state_records(["a"], rocks.store))
        rocks.store.flush(Position(sequence, offset))
    assert rocks.reopen().position == Position(2, 7)
    assert rocks.store["a"] == state_of(3)


def test_a_copy_of_something_else_is_not_trusted(rocks: Disk) -> None:
    rocks.store["a"] = state_of(1)
    rocks.store.border(*state_records(["a"], rocks.store))
    rocks.store.flush(Position(1, 2))
    rocks.identity = "another cluster"
    assert rocks.reopen().position is None


def test_a_store_that_was_being_rebuilt_when_its_worker_died_is_not_trusted(rocks: Disk) -> None:
    rocks.store.restore([Change("a", encode_state(state_of(1)), state_of(1))])
    assert rocks.kill().position is None


def flip(path: Path, place: int) -> None:
    content = bytearray(path.read_bytes())
    content[place] ^= 0xFF
    path.write_bytes(content)


def test_a_damaged_table_is_found_before_anybody_is_served_from_it(rocks: Disk) -> None:
    rocks.store["a"] = state_of(1)
    rocks.store.border(*state_records(["a"], rocks.store))
    rocks.store.flush(Position(1, 2))
    rocks.store.close()
    rocks._new().close()  # moves the write-ahead log into a table
    (table,) = rocks.folder.glob("*.sst")
    flip(table, 5)
    rocks.store = rocks._new()
    assert rocks.store.position is None, "the block with the position is the one with the state"
    with pytest.raises(StoreDamaged):
        len(rocks.store)
    rocks.store.wipe()
    assert len(rocks.store) == 0


@pytest.mark.parametrize("broken", ["CURRENT", "MANIFEST-*"])
def test_a_database_that_cannot_be_opened_is_begun_anew(rocks: Disk, broken: str) -> None:
    rocks.store["a"] = state_of(1)
    rocks.store.border(*state_records(["a"], rocks.store))
    rocks.store.flush(Position(1, 2))
    rocks.store.close()
    (path,) = rocks.folder.glob(broken)
    path.write_bytes(b"nonsense")
    rocks.store = rocks._new()
    assert (rocks.store.position, len(rocks.store)) == (None, 0)


def test_one_folder_has_one_owner_until_it_lets_go(rocks: Disk) -> None:
    with pytest.raises(StoreHeld):
        rocks._new()
    rocks.reopen()


@pytest.fixture
def own(tmp_path: Path) -> Settings:
    given: dict[str, object] = {"worker.data_folder": str(tmp_path), "worker.store": "rocksdb"}
    return load_settings(Path(os.devnull), {}, given)


def test_a_partition_handed_over_on_one_machine_waits_for_the_folder(own: Settings) -> None:
    async def hand_over() -> None:
        first = await open_store(own, "changelog", 3)
        first["a"] = state_of(1)
        first.border(*state_records(["a"], first))
        first.flush(Position(5, 6))
        coming = asyncio.create_task(open_store(own, "changelog", 3))
        await asyncio.sleep(0)
        assert not coming.done()
        first.close()
        second = await coming
        assert second.position == Position(5, 6)
        second.close()

    asyncio.run(hand_over())


def test_a_worker_that_hangs_keeps_its_folder_and_the_next_one_takes_a_spare(own: Settings) -> None:
    async def take_over() -> None:
        hanging = await open_store(own, "changelog", 3)
        spare = await open_rocksdb(own, "changelog", 3, lock_seconds=0.0)
        other = await open_rocksdb(own, "changelog", 4, lock_seconds=0.0)
        assert spare.position is None
        places = sorted(p.name for p in folder_of(own, "changelog", 3).parent.iterdir() if p.is_dir())
        assert places == ["3", "3.spare-1", "4"]
        for store in (hanging, spare, other):
            store.close()
        places = sorted(p.name for p in folder_of(own, "changelog", 3).parent.iterdir() if p.is_dir())
        assert places == ["3", "4"]

    asyncio.run(take_over())


def test_groups_and_topics_have_folders_of_their_own(own: Settings) -> None:
    def place(**given: object) -> Path:
        chosen = {key.replace("__", "."): value for key, value in given.items()}
        settings = load_settings(Path(os.devnull), {}, {"worker.data_folder": "d"} | chosen)
        return folder_of(settings, settings.topic("customers-changelog"), 0)

    places = {place(), place(kafka__group="other"), place(topics__prefix="eu."), place(kafka__group="..")}
    assert len(places) == 4
    assert all(p.parts[:2] == ("d", "stores") and ".." not in p.parts for p in places)


def test_a_folder_that_cannot_be_used_is_told_in_one_line(own: Settings, tmp_path: Path) -> None:
    (tmp_path / "stores").write_text("a file is in the way")
    with pytest.raises(OperatorError, match=r"the state store in .* cannot be used: "):
        asyncio.run(open_store(own, "changelog", 0))


def test_a_machine_finds_at_hand_what_a_wiped_store_was_given_anew() -> None:
    store = MemoryStore(2)
    machine = CustomerMachine(StreamConfig(), rich_model(), states=store)
    store["a"] = state_of(1)
    store.wipe()
    store["a"] = state_of(2)
    assert machine._at_hand is store.at_hand
    assert machine._at_hand["a"] == store["a"]


def test_who_was_changed_last_stays_an_object() -> None:
    store = MemoryStore(3)
    for sequence, names in enumerate(["hot b c", "hot", "hot", "d"]):
        for name in names.split():
            if name not in store:
                store[name] = state_of(sequence)
        store.border(*state_records(names.split(), store))
        store.flush(Position(sequence, sequence))
    assert list(store.at_hand) == ["c", "hot", "d"]
    assert len(store) == 4
