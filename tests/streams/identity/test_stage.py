"""Clicks of nobody find their customer once, in order, within bounds; whatever is repeated or resumed."""

from __future__ import annotations

from typing import Any, NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.events import Click, Funnel
from streams.config import DAY_MS, IdentityConfig
from streams.customer.packing import digest
from streams.identity.stage import IdentityStage
from streams.identity.visitor import Given, Joined, count_of, decode_visitor, encode_visitor

SMALL = IdentityConfig(
    hold_days=1.0,
    clicks_per_visitor=3,
    visitors_per_partition=4,
    customers_per_visitor=2,
    visitors_per_customer=2,
)


class Naive:
    """Keeps everything in lists and looks through all of it each time."""

    def __init__(self, config: IdentityConfig) -> None:
        self.config = config
        self.seen: dict[str, int] = {}
        self.clicks: dict[str, list[tuple[int, bytes, Funnel]]] = {}
        self.customers: dict[str, list[str]] = {}
        self.shared: set[str] = set()

    def _known(self, visitor: str, time_ms: int) -> None:
        if visitor not in self.seen:
            if len(self.seen) >= self.config.visitors_per_partition:
                gone = min(self.seen, key=lambda name: (self.seen[name], name))
                for kept in (self.seen, self.clicks, self.customers):
                    kept.pop(gone)
                self.shared.discard(gone)
            self.clicks[visitor], self.customers[visitor] = [], []
            self.seen[visitor] = time_ms

    def _see(self, visitor: str, time_ms: int, grain_ms: int = DAY_MS // 8) -> None:
        if time_ms > self.seen[visitor] and time_ms - self.seen[visitor] >= grain_ms:
            self.seen[visitor] = time_ms

    def visit(self, visitor: str, message: str, time_ms: int, funnel: Funnel) -> tuple[Joined, list[Click]]:
        self._known(visitor, time_ms)
        self._see(visitor, time_ms)
        key = digest(message)
        if visitor in self.shared:
            return Joined.SHARED, []
        if self.customers[visitor]:
            return Joined.JOINED, [Click(self.customers[visitor][-1], key.hex(), time_ms, funnel)]
        self._see(visitor, time_ms, 0)
        held = self.clicks[visitor]
        if key not in {known for _, known, _ in held}:
            held.append((time_ms, key, funnel))
            held.sort(key=lambda click: click[:2])
            del held[: -self.config.clicks_per_visitor]
        return Joined.HELD, []

    def identify(self, visitor: str, customer: str, time_ms: int) -> tuple[Joined, list[Click]]:
        self._known(visitor, time_ms)
        self._see(visitor, time_ms)
        own = self.customers[visitor]
        if visitor in self.shared:
            return Joined.SHARED, []
        if own and own[-1] == customer:
            return Joined.JOINED, []
        if customer not in own:
            if len(own) >= self.config.customers_per_visitor:
                self.shared.add(visitor)
                self._see(visitor, time_ms, 0)
                self.customers[visitor], self.clicks[visitor] = [], []
                return Joined.SHARED, []
            if (
                sum(customer in listed for listed in self.customers.values())
                >= self.config.visitors_per_customer
            ):
                if own:
                    own.clear()
                    self._see(visitor, time_ms, 0)
                return Joined.FULL, []
        self._see(visitor, time_ms, 0)
        self.customers[visitor] = [*(name for name in own if name != customer), customer]
        oldest_ms = time_ms - int(self.config.hold_days * DAY_MS)
        given = [c for c in self.clicks[visitor] if c[0] >= oldest_ms]
        self.clicks[visitor] = []
        clicks = [Click(customer, key.hex(), time_ms, funnel) for time_ms, key, funnel in given]
        return Joined.IDENTIFIED, clicks


class Record(NamedTuple):
    visitor: str
    time_ms: int
    message: str = ""
    customer: str = ""
    funnel: Funnel = Funnel.PAGE


visitors = st.sampled_from(["a", "b", "c", "d", "e", "f"])
times = st.integers(1, 3 * DAY_MS)
records = st.lists(
    st.builds(
        Record, visitors, times, message=st.integers(0, 30).map(str), funnel=st.sampled_from(list(Funnel))
    )
    | st.builds(Record, visitors, times, customer=st.sampled_from(["u", "v", "w", "x"])),
    max_size=40,
)


def take(stage: IdentityStage, record: Record, offset: int) -> Given:
    if record.customer:
        return stage.identify(record.visitor, record.customer, record.time_ms, 0, offset)
    return stage.visit(record.visitor, record.message, record.time_ms, record.funnel, 0, offset)


def recovered(stage: IdentityStage) -> IdentityStage:
    """The stage after a restart: from what was written, read back in another order."""
    written = {name: encode_visitor(visitor) for name, visitor in stage.states.items()}
    states = {name: decode_visitor(written[name]) for name in sorted(written, reverse=True)}
    return IdentityStage(stage._config, 2, states)


@settings(derandomize=True, deadline=None, max_examples=300)
@given(records)
def test_it_does_what_the_naive_one_does(all_records: list[Record]) -> None:
    stage, naive = IdentityStage(SMALL, 2), Naive(SMALL)
    for offset, record in enumerate(all_records):
        if record.customer:
            expected = naive.identify(record.visitor, record.customer, record.time_ms)
        else:
            expected = naive.visit(record.visitor, record.message, record.time_ms, record.funnel)
        found = take(stage, record, offset)
        assert (found.outcome, list(found.clicks)) == expected
        assert {name: visitor.seen_ms for name, visitor in stage.states.items()} == naive.seen


@settings(derandomize=True, deadline=None, max_examples=200)
@given(records)
def test_what_is_given_is_in_order_and_what_is_held_within_bounds(all_records: list[Record]) -> None:
    stage = IdentityStage(SMALL, 2)
    for offset, record in enumerate(all_records):
        clicks = take(stage, record, offset).clicks
        assert [click.time_ms for click in clicks] == sorted(click.time_ms for click in clicks)
        assert len(clicks) <= SMALL.clicks_per_visitor
        assert len(stage.states) <= SMALL.visitors_per_partition
        for visitor in stage.states.values():
            assert count_of(visitor.clicks) <= SMALL.clicks_per_visitor
            assert len(visitor.customers) <= SMALL.customers_per_visitor
        owned = [name for visitor in stage.states.values() for name in visitor.customers]
        assert all(owned.count(name) <= SMALL.visitors_per_customer for name in owned)


@settings(derandomize=True, deadline=None, max_examples=200)
@given(records)
def test_a_click_is_given_to_one_customer_at_most(all_records: list[Record]) -> None:
    stage = IdentityStage(SMALL, 2)
    owners: dict[str, set[str]] = {}
    for offset, record in enumerate(all_records):
        numbered = record._replace(message=f"m{offset}")
        for click in take(stage, numbered, offset).clicks:
            owners.setdefault(click.message_id, set()).add(click.customer_id)
    assert all(len(customers) == 1 for customers in owners.values())


@settings(derandomize=True, deadline=None, max_examples=200)
@given(records, st.data())
def test_a_restart_anywhere_changes_nothing(all_records: list[Record], data: st.DataObject) -> None:
    whole, resumed = IdentityStage(SMALL, 2), IdentityStage(SMALL, 2)
    cut = data.draw(st.integers(0, len(all_records)))
    for offset, record in enumerate(all_records):
        if offset == cut:
            resumed = recovered(resumed)
        assert take(whole, record, offset) == take(resumed, record, offset)
    assert {n: encode_visitor(v) for n, v in whole.states.items()} == {
        n: encode_visitor(v) for n, v in resumed.states.items()
    }


@settings(derandomize=True, deadline=None, max_examples=200)
@given(records)
def test_records_that_come_again_change_nothing(all_records: list[Record]) -> None:
    """Whatever came after them: a restart repeats an epoch, and the visitor may have been written in it."""
    stage = IdentityStage(IdentityConfig(), 2)
    given = []
    for offset, record in enumerate(all_records):
        given.append(take(stage, record, offset))
        before = {name: encode_visitor(visitor) for name, visitor in stage.states.items()}
        again = recovered(stage)
        for earlier, repeated in enumerate(all_records[: offset + 1]):
            clicks = take(again, repeated, earlier).clicks
            # What is given at once leaves no mark, and is given again: the customer knows what is applied.
            assert not clicks or clicks == given[earlier].clicks
            assert len(clicks) <= 1
        assert {name: encode_visitor(visitor) for name, visitor in again.states.items()} == before


@settings(derandomize=True, deadline=None, max_examples=200)
@given(records)
def test_a_message_that_says_nothing_new_is_known_as_such(all_records: list[Record]) -> None:
    """The short way leaves the same as the long one."""
    long, short = IdentityStage(SMALL, 2), IdentityStage(SMALL, 2)
    for offset, record in enumerate(all_records):
        outcome = take(long, record, offset).outcome
        if record.customer and short.known(record.visitor, record.customer, record.time_ms, 0, offset):
            assert outcome is Joined.JOINED
        else:
            assert take(short, record, offset).outcome is outcome
            assert not (record.customer and outcome is Joined.JOINED)
        assert long.states == short.states
        assert long.take_dirty() == short.take_dirty()


@settings(derandomize=True, deadline=None, max_examples=200)
@given(records)
def test_every_click_waits_is_given_or_dropped(all_records: list[Record]) -> None:
    stage = IdentityStage(SMALL, 2)
    came = given = 0
    for offset, record in enumerate(all_records):
        found = take(stage, record._replace(message=f"m{offset}"), offset)
        came += not record.customer and found.outcome is not Joined.SHARED
        given += len(found.clicks)
    assert came == given + stage.held + stage.dropped


@settings(derandomize=True, deadline=None)
@given(records)
def test_what_has_changed_is_told(all_records: list[Record]) -> None:
    """The changelog, written after each record, holds what the stage holds."""
    stage = IdentityStage(SMALL, 2)
    log: dict[str, Any] = {}
    for offset, record in enumerate(all_records):
        take(stage, record, offset)
        for name, visitor in stage.take_dirty():
            log[name] = None if visitor is None else encode_visitor(visitor)
        held = {name: encode_visitor(visitor) for name, visitor in stage.states.items()}
        assert {name: value for name, value in log.items() if value is not None} == held
    assert stage.take_dirty() == []


@pytest.mark.parametrize(
    "anonymous_id", ["anonymous", "null", "undefined", "0", "00000000-0000", " a", "a\n", "x" * 200]
)
def test_an_id_that_everybody_sends_holds_nothing(anonymous_id: str) -> None:
    stage = IdentityStage(IdentityConfig(), 2)
    assert stage.visit(anonymous_id, "m", 1_000, Funnel.PAGE, 0, 0) == Given(Joined.BLOCKED)
    assert stage.identify(anonymous_id, "c-17", 1_000, 0, 1) == Given(Joined.BLOCKED)
    assert stage.states == {}
    assert stage.take_dirty() == []


def test_what_waited_too_long_is_not_joined() -> None:
    stage = IdentityStage(IdentityConfig(hold_days=1.0), 2)
    stage.visit("a", "m1", 1_000, Funnel.PAGE, 0, 0)
    stage.visit("a", "m2", DAY_MS, Funnel.PAGE, 0, 1)
    given = stage.identify("a", "c-17", DAY_MS + 2_000, 0, 2)
    assert [click.time_ms for click in given.clicks] == [DAY_MS]


def test_visitors_who_were_not_seen_for_long_are_forgotten() -> None:
    stage = IdentityStage(IdentityConfig(hold_days=1.0), 2)
    stage.visit("a", "m1", 1_000, Funnel.PAGE, 0, 0)
    stage.visit("b", "m2", 1_000, Funnel.PAGE, 0, 1)
    stage.visit("b", "m3", 5_000, Funnel.PAGE, 0, 2)
    assert stage.held == 3
    assert stage.expire(DAY_MS + DAY_MS // 8 + 1_000) == 0
    assert stage.expire(DAY_MS + DAY_MS // 8 + 1_001) == 1
    assert stage.dropped == 1
    assert set(stage.states) == {"b"}
    assert dict(stage.take_dirty())["a"] is None


def test_a_device_that_many_use_belongs_to_nobody_after_a_few() -> None:
    stage = IdentityStage(IdentityConfig(customers_per_visitor=2), 2)
    outcomes = []
    for offset, customer in enumerate(["c-1", "c-2", "c-1", "c-3", "c-1"]):
        outcomes.append(stage.identify("kiosk", customer, 1_000 + offset, 0, offset).outcome)
    assert outcomes == [*[Joined.IDENTIFIED] * 3, Joined.SHARED, Joined.SHARED]
    assert stage.visit("kiosk", "m", 2_000, Funnel.PAGE, 0, 9).outcome is Joined.SHARED


def test_clicks_after_the_login_go_to_who_logged_in_last() -> None:
    stage = IdentityStage(IdentityConfig(), 2)
    stage.identify("a", "c-1", 1_000, 0, 0)
    assert [c.customer_id for c in stage.visit("a", "m1", 2_000, Funnel.PAGE, 0, 1).clicks] == ["c-1"]
    stage.identify("a", "c-2", 3_000, 0, 2)
    assert [c.customer_id for c in stage.visit("a", "m2", 4_000, Funnel.PAGE, 0, 3).clicks] == ["c-2"]


def test_an_account_on_too_many_devices_is_joined_no_more() -> None:
    stage = IdentityStage(IdentityConfig(visitors_per_customer=2), 2)
    for offset, visitor in enumerate(["a", "b", "c"]):
        stage.visit(visitor, f"m{offset}", 1_000, Funnel.PAGE, 0, offset)
    outcomes = [
        stage.identify(v, "test-user", 2_000, 0, 10 + n).outcome for n, v in enumerate(["a", "b", "c"])
    ]
    assert outcomes == [Joined.IDENTIFIED, Joined.IDENTIFIED, Joined.FULL]
    assert stage.held == 1  # what waits may still be somebody else's
    assert len(stage.identify("c", "c-17", 3_000, 0, 20).clicks) == 1


def test_a_customer_of_too_many_devices_who_signs_in_on_anothers_ends_that_ones_time_there() -> None:
    stage = IdentityStage(IdentityConfig(visitors_per_customer=1), 2)
    stage.identify("b-own", "b", 1_000, 0, 0)
    stage.identify("shared", "a", 1_000, 0, 1)
    assert stage.identify("shared", "b", 1_001, 0, 2).outcome is Joined.FULL
    later = stage.visit("shared", "m", 1_002, Funnel.PAGE, 0, 3)
    assert (later.outcome, later.clicks) == (Joined.HELD, ())
    assert stage.identify("other", "a", 1_003, 0, 4).outcome is Joined.IDENTIFIED, "a has room again"


def test_a_customer_who_is_erased_leaves_no_visitor() -> None:
    stage = IdentityStage(IdentityConfig(), 2)
    stage.identify("a", "c-1", 1_000, 0, 0)
    stage.visit("b", "m", 1_000, Funnel.PAGE, 0, 1)
    stage.take_dirty()
    stage.forget("c-1")
    assert set(stage.states) == {"b"}
    assert stage.take_dirty() == [("a", None)]


def test_a_visitor_stays_small() -> None:
    stage = IdentityStage(IdentityConfig(), 2)
    for offset in range(1_000):
        stage.visit("a" * 36, f"m{offset}", 1_764_324_901_307 + offset, Funnel.PRODUCT, 0, offset)
    assert len(encode_visitor(stage.states["a" * 36])) < 1_200


@pytest.mark.parametrize("value", [b"", b"?", b"\x90", encode_visitor.__name__.encode()])
def test_bytes_that_are_no_visitor_are_refused(value: bytes) -> None:
    with pytest.raises(ValueError, match="not a visitor"):
        decode_visitor(value)
