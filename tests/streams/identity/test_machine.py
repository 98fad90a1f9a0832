"""Clicks before a login count as the customer's, whatever is cut, repeated, batched or split."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any, NamedTuple

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.codec import utc
from schemas.events import Anonymous, Click, Event, Funnel, Identified, Link, Visit
from schemas.identity import decode_with_visitor, link_message
from streams.config import DAY_MS, HOUR_MS, MINUTE_MS, IdentityConfig, ReviewConfig, StreamConfig
from streams.customer.decision import Decision, Outcome
from streams.customer.machine import CustomerMachine
from streams.customer.state import VIEWS_HALF_LIFE_MS, CustomerState, facts
from streams.customer.state_codec import decode_state, encode_state
from streams.identity.machine import JoiningMachine
from streams.identity.stage import UNKNOWN, IdentityStage
from streams.identity.visitor import Visitor, decode_visitor, encode_visitor
from streams.intake import Intake
from streams.replay import Replay
from tests.streams.build import T0, rich_model

CONFIG = StreamConfig(
    reviews=ReviewConfig(horizon_days=7.0, silent_days=40.0, forget_days=60.0),
    identity=IdentityConfig(
        enabled=True,
        hold_days=5.0,
        clicks_per_visitor=4,
        visitors_per_partition=4,
        customers_per_visitor=2,
        visitors_per_customer=2,
    ),
)
ROOMY = StreamConfig(identity=IdentityConfig(enabled=True))
"""Bounds that nothing here reaches."""


class Sent(NamedTuple):
    """A message, before it is one."""

    wait_minutes: int
    late: bool
    name: str
    visitor: str | None
    customer: str | None


sent = st.builds(
    Sent,
    wait_minutes=st.sampled_from([0, 1, 20, 45, 300, 3000, 15_000]),
    late=st.sampled_from([False, False, False, True]),
    name=st.sampled_from(["page", "Product Added", "Checkout Started", "identify", "Shop's Own"]),
    visitor=st.sampled_from(["a", "b", "c", "d", "e", "f", "null", None]),
    customer=st.sampled_from([None, None, "u", "v", "w", "x"]),
) | st.builds(
    Sent,
    wait_minutes=st.sampled_from([0, 1, 20, 3000]),
    late=st.just(False),
    name=st.just("Order Completed"),
    visitor=st.sampled_from(["a", "b", "c", None]),
    customer=st.sampled_from(["u", "v", "w", "x"]),
)
streams = st.lists(sent.filter(lambda one: one.visitor or one.customer), max_size=60)


def written(stream: Sequence[Sent]) -> list[tuple[int, int, bytes]]:
    """Give each message its input, its offset there and its bytes."""
    now_ms, offsets, records = T0, [0, 0], []
    for number, one in enumerate(stream):
        now_ms += one.wait_minutes * MINUTE_MS
        message: dict[str, Any] = {
            "type": one.name if one.name in ("page", "identify") else "track",
            "event": one.name,
            "messageId": f"m{number}",
            "timestamp": utc(now_ms - (2 * DAY_MS if one.late else 0)),
            "properties": {"order_id": f"o{number}", "revenue": 20.0} if "Order" in one.name else {},
        }
        message |= {"anonymousId": one.visitor} if one.visitor else {}
        message |= {"userId": one.customer} if one.customer else {}
        source = int(one.name == "Order Completed")
        records.append((source, offsets[source], msgspec.json.encode(message)))
        offsets[source] += 1
    return records


class Run:
    """A machine that is told messages, one after the other."""

    def __init__(self, config: StreamConfig = CONFIG, **options: Any) -> None:
        self.machine = JoiningMachine(config, rich_model(), **options)
        self.said: list[Decision] = []

    def tell(self, records: Sequence[tuple[int, int, bytes]]) -> Run:
        for source, offset, message in records:
            self.machine.apply(decode_with_visitor(message), source, offset)
            self.said += self.machine.take()
        return self

    def customers(self) -> dict[str, bytes]:
        return {name: encode_state(state) for name, state in self.machine.states.items()}

    def visitors(self) -> dict[str, bytes]:
        return {name: encode_visitor(visitor) for name, visitor in self.machine.stage.states.items()}

    def known(self) -> dict[str, Visitor]:
        """Visitors without their offsets: a machine that was restarted has not read what lies before."""
        kept = {name: decode_visitor(value) for name, value in self.visitors().items()}
        for visitor in kept.values():
            visitor.applied = []
        return kept

    def facts(self) -> dict[str, list[object]]:
        return {name: facts(state) for name, state in self.machine.states.items()}


def resumed(
    customers: dict[str, bytes], visitors: dict[str, bytes], watermark_ms: int, config: StreamConfig = CONFIG
) -> Run:
    run = Run(
        config,
        watermark_ms=watermark_ms,
        states={name: decode_state(customers[name]) for name in sorted(customers, reverse=True)},
        visitors={name: decode_visitor(visitors[name]) for name in sorted(visitors, reverse=True)},
    )
    states = run.machine.states
    run.machine.expect((name, state.verdict.due_ms) for name, state in states.items())
    return run


@settings(derandomize=True, deadline=None, max_examples=60)
@given(streams)
def test_it_is_a_plain_machine_that_is_told_the_clicks_before_the_login(stream: list[Sent]) -> None:
    records = written(stream)
    joining = Run().tell(records)
    plain = CustomerMachine(CONFIG, rich_model())
    stage = IdentityStage(CONFIG.identity, 2)
    said: list[Decision] = []
    for place, (source, offset, message) in enumerate(records):
        event = decode_with_visitor(message)
        stage.expire(plain.watermark.at_ms)
        told: list[Event] = [event]
        if isinstance(event, Identified):
            told = [event.event]
            if stage.known(event.anonymous_id, event.customer_id, event.time_ms, source, offset) == UNKNOWN:
                clicks = stage.identify(event.anonymous_id, event.customer_id, event.time_ms, source, offset)
                told = [*clicks.clicks, event.event]
        elif isinstance(event, Visit):
            clicks = stage.visit(
                event.anonymous_id, event.message_id, event.time_ms, event.funnel, source, offset
            )
            told = list(clicks.clicks) or [Anonymous("", "", event.time_ms)]
        for number, one in enumerate(told):
            # Offsets of its own: so many records, one after the other.
            plain.apply(one, source, 100 * place + number)
        said += plain.take()
    assert joining.facts() == {name: facts(state) for name, state in plain.states.items()}
    assert [d._replace(payload=None) for d in joining.said] == [d._replace(payload=None) for d in said]


@settings(derandomize=True, deadline=None, max_examples=60)
@given(streams, st.data())
def test_a_restart_anywhere_goes_on_as_the_uninterrupted_run(stream: list[Sent], data: st.DataObject) -> None:
    records = written(stream)
    cut = data.draw(st.integers(0, len(records)))
    whole, before = Run().tell(records), Run().tell(records[:cut])
    after = resumed(before.customers(), before.visitors(), before.machine.watermark.at_ms).tell(records[cut:])
    assert before.said + after.said == whole.said
    assert (after.customers(), after.known()) == (whole.customers(), whole.known())


@settings(derandomize=True, deadline=None, max_examples=60)
@given(streams, st.data())
def test_an_epoch_that_ended_half_way_is_done_again_once(stream: list[Sent], data: st.DataObject) -> None:
    """Without transactions customers may be newer than the marker; visitors too, but never before them."""
    records = written(stream)
    marked = data.draw(st.integers(0, len(records)))
    written_until = data.draw(st.integers(marked, len(records)))
    with_visitors = data.draw(st.booleans())
    whole, at_marker = Run(ROOMY).tell(records), Run(ROOMY).tell(records[:marked])
    newer = Run(ROOMY).tell(records[:written_until])
    visitors = newer if with_visitors else at_marker
    again = resumed(newer.customers(), visitors.visitors(), at_marker.machine.watermark.at_ms, ROOMY)
    again.tell(records[marked:])
    for run in (whole, again):  # what is due after the last record happens in both
        run.machine.tick(T0 + 1_000 * DAY_MS)
    assert again.facts() == whole.facts()
    assert again.known() == whole.known()


@settings(derandomize=True, deadline=None, max_examples=50)
@given(streams, st.data())
def test_how_records_are_batched_changes_nothing(stream: list[Sent], data: st.DataObject) -> None:
    records = [(offset, message) for source, offset, message in written(stream) if source == 0]

    def run(chunks: list[int], most: int) -> tuple[list[Decision], dict[str, bytes], list[tuple[str, bytes]]]:
        machine = JoiningMachine(CONFIG, rich_model(), home=lambda key: ord(key[0]) % 2)
        intake = Intake(machine, [0, 0], 10_000, 0, None, True)
        intake.merge.caught_up(1)
        place, said, out = 0, [], []
        for size in chunks:
            some = records[place : place + size]
            place += size
            arriving: list[Any] = [
                SimpleNamespace(offset=offset, timestamp=-1, value=value, headers=())
                for offset, value in some
            ]
            intake.arrive(0, arriving, now_ms=T0 + 1_000 * DAY_MS)
            while intake.run(most, most_timers=3):
                pass
            said += machine.take()
            out += machine.take_outgoing()
        assert intake.done[0] == len(records)
        visitors = {name: encode_visitor(visitor) for name, visitor in machine.stage.states.items()}
        return said, visitors, out

    chunks = data.draw(st.lists(st.integers(1, 7), max_size=20))
    rest = [max(0, len(records) - sum(chunks))]
    assert run([*chunks, *rest], data.draw(st.integers(1, 5))) == run([len(records)], 1_000)


@settings(derandomize=True, deadline=None, max_examples=50)
@given(streams)
def test_partitions_tell_each_other_until_every_click_has_its_customer(stream: list[Sent]) -> None:
    """As one machine that sees everything, but for what a late click cannot undo: sessions and reviews."""
    stream = [one._replace(late=False, wait_minutes=min(one.wait_minutes, 20)) for one in stream]
    records = written(stream)
    alone = Run(ROOMY).tell(records)

    def home(key: str) -> int:
        return ord(key[0]) % 3

    parts = [JoiningMachine(ROOMY, rich_model(), number, home=home) for number in range(3)]
    offsets = [[0, 0] for _ in parts]
    on_the_way: deque[tuple[int, str, bytes]] = deque()
    for source, _, message in records:
        head = msgspec.json.decode(message)
        on_the_way.append((source, head.get("userId") or head["anonymousId"], message))
        while on_the_way:  # what is told arrives before the next of the shop's own messages
            to, key, value = on_the_way.popleft()
            number = home(key)
            parts[number].apply(decode_with_visitor(value), to, offsets[number][to])
            offsets[number][to] += 1
            on_the_way += [(0, *told) for told in parts[number].take_outgoing()]
    together = {name: (state, part.partition) for part in parts for name, state in part.states.items()}
    assert together.keys() == alone.machine.states.keys()
    for name, (state, number) in together.items():
        assert number == home(name), "nobody is a customer of two partitions"
        one = alone.machine.states[name]
        assert (state.first_ms, state.click_ms, state.orders) == (one.first_ms, one.click_ms, one.orders)
        assert views_of(state) == pytest.approx(views_of(one))


def views_of(state: CustomerState) -> float:
    """The fading sum as of one moment: it refers to a landmark, which moves with reviews."""
    return state.views * 2.0 ** ((state.landmark_ms - T0) / VIEWS_HALF_LIFE_MS)


def page(days: float, visitor: str | None = None, customer: str = "") -> Event:
    time_ms = int(T0 + days * DAY_MS)
    if visitor is None:
        return Click(customer, f"{customer}{days}", time_ms)
    if not customer:
        return Visit("", f"{visitor}{days}", time_ms, visitor, Funnel.CART_ADD)
    return Identified(customer, f"{visitor}{customer}{days}", time_ms, visitor, page(days, None, customer))


def test_clicks_before_a_login_count_and_those_after_it_at_once() -> None:
    machine = JoiningMachine(ROOMY, rich_model())
    assert [machine.apply(page(day / 100, "a"), 0, day) for day in range(3)] == [Outcome.ANONYMOUS] * 3
    assert machine.states == {}
    assert machine.apply(page(0.03, "a", "u"), 0, 3) is Outcome.APPLIED
    state = machine.states["u"]
    assert (state.first_ms, round(state.carts), round(state.views)) == (T0, 3, 4)
    assert machine.apply(page(0.04, "a"), 0, 4) is Outcome.APPLIED
    assert (round(state.carts), list(state.applied)) == (4, [4, -1])
    assert machine.outcomes == {"held": 3, "identified": 1, "joined": 1, "given": 4}
    assert machine.apply(page(0.03, "a", "u"), 0, 3) is Outcome.REPEATED
    assert machine.apply(page(0.04, "a"), 0, 4) is Outcome.REPEATED
    assert round(state.carts) == 4


def test_who_is_erased_leaves_no_visitor_and_none_is_joined_to_them_again() -> None:
    machine = JoiningMachine(ROOMY, rich_model())
    machine.apply(page(0, "a"), 0, 0)
    machine.apply(page(0.1, "a", "u"), 0, 1)
    machine.apply(page(0.2, "b"), 0, 2)
    machine.stage.take_dirty()
    machine.erase("u")
    assert "u" not in machine.states
    assert set(machine.stage.states) == {"b"}
    assert machine.stage.take_dirty() == [("a", None)]
    assert machine.apply(page(0.3, "a"), 0, 3) is Outcome.ANONYMOUS


def test_a_customer_of_another_partition_is_told_of_and_given_nothing_here() -> None:
    machine = JoiningMachine(ROOMY, rich_model(), partition=0, home=lambda key: int(key == "u"))
    machine.apply(page(0, "a"), 0, 0)
    link = decode_with_visitor(link_message(page(0.1, "a", "u")))  # type: ignore[arg-type]
    assert isinstance(link, Link)
    assert machine.apply(link, 0, 1) is Outcome.ANONYMOUS
    assert machine.apply(page(0.2, "a"), 0, 2) is Outcome.ANONYMOUS
    assert machine.states == {}
    told = [(key, decode_with_visitor(value)) for key, value in machine.take_outgoing()]
    assert [(key, type(e), e.customer_id, e.time_ms - T0) for key, e in told] == [
        ("u", Click, "u", 0),
        ("u", Click, "u", int(0.2 * DAY_MS)),
    ]
    assert machine.apply(link, 0, 1) is Outcome.ANONYMOUS
    assert machine.take_outgoing() == []


def test_who_stays_signed_in_is_told_of_again_before_the_visitor_is_forgotten_elsewhere() -> None:
    """The visitor's partition reads no message with both ids: it would drop the visitor after `hold_days`."""
    here = JoiningMachine(ROOMY, rich_model(), partition=1, home=lambda key: int(key == "u"))
    there = JoiningMachine(ROOMY, rich_model(), partition=0, home=lambda key: int(key == "u"))
    offsets = 0
    for half_day in range(60):
        here.apply(page(half_day / 2, "a", "u"), 0, half_day)
        for _, value in here.take_outgoing():
            there.apply(decode_with_visitor(value), 0, offsets)
            offsets += 1
        there.tick(int(T0 + half_day / 2 * DAY_MS))
    assert 1 < offsets < 60, "again, and not each time"
    there.apply(page(30, "a"), 0, offsets)
    assert [key for key, _ in there.take_outgoing()] == ["u"], "what follows a month later is the customer's"


def test_where_a_customer_lies_elsewhere_than_the_partitioner_says_nothing_is_joined() -> None:
    machine = JoiningMachine(ROOMY, rich_model(), partition=0, home=lambda key: int(key == "u"))
    machine.apply(page(0, "a"), 0, 0)
    assert machine.apply(page(0.1, "a", "u"), 0, 1) is Outcome.APPLIED
    assert machine.outcomes == {"held": 1, "misplaced": 1}
    assert machine.take_outgoing() == []


def test_a_replay_joins_as_a_worker_does_and_only_where_it_is_switched_on() -> None:
    def line(minute: int, **ids: str) -> tuple[int, bytes]:
        head = {"type": "page", "messageId": f"m{minute}", "timestamp": utc(T0 + minute * MINUTE_MS)}
        return 0, msgspec.json.encode(head | ids)

    lines = [line(0, anonymousId="a"), line(1, anonymousId="a"), line(2, anonymousId="a", userId="u")]
    views = []
    for config in (StreamConfig(), ROOMY):
        replay = Replay(config, sink=lambda _: None)
        replay.run(lines)
        views.append(replay.machine.states["u"].views)
    assert views[1] == pytest.approx(3 * views[0], rel=HOUR_MS / DAY_MS)
