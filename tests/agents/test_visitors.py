"""What a room reads, writes and counts of visitors."""

from __future__ import annotations

import pytest

from agents import metrics
from agents.acls import rights
from agents.client import partition_of
from agents.settings import Settings
from agents.stores import MemoryStore, VisitorChange
from agents.visitors import open_machine, sends_to_clickstream, visitor_records
from schemas.events import Click, Identified, Visit
from schemas.identity import decode_with_visitor
from schemas.sources.config import SourceConfig
from streams.config import IdentityConfig
from streams.customer.machine import CustomerMachine
from streams.identity.machine import JoiningMachine
from streams.identity.visitor import decode_visitor, encode_visitor, new_visitor
from streams.learning.served import Served, untrained

T0 = 1_767_225_600_000
ON = Settings(identity=IdentityConfig(enabled=True))
VISITOR = "a-7"
THERE = partition_of(VISITOR.encode(), 4)
CUSTOMER = next(name for n in range(99) if partition_of((name := f"c-{n}").encode(), 4) != THERE)
HERE = partition_of(CUSTOMER.encode(), 4)


def model() -> Served:
    return Served(untrained(ON.streams))


def store(**visitors: bytes) -> MemoryStore:
    made = MemoryStore()
    made.restore_visitors(VisitorChange(name, value) for name, value in visitors.items())
    return made


def login() -> Identified:
    return Identified(CUSTOMER, "m9", T0 + 9, VISITOR, Click(CUSTOMER, "m9", T0 + 9))


def test_switched_off_there_is_a_plain_machine_and_what_was_left_is_removed_once() -> None:
    machine, visitors = open_machine(Settings(), model(), 0, store(a=b"whatever it is"), lambda _: 4)
    assert type(machine) is CustomerMachine
    assert visitors.are_left
    assert visitors.changed() == [VisitorChange("a", None)]
    assert (visitors.are_left, visitors.changed(), visitors.outgoing()) == (False, [], [])
    visitors.measure()


def test_visitors_go_on_from_what_was_recovered_and_what_changed_is_written() -> None:
    known = new_visitor(T0, 2)
    known.customers = [CUSTOMER]
    machine, visitors = open_machine(ON, model(), 0, store(**{VISITOR: encode_visitor(known)}), lambda _: 1)
    assert isinstance(machine, JoiningMachine)
    assert machine.take_in(Visit("", "m1", T0 + 1, VISITOR), 0, 0) == 0, "applied, as the customer's"
    assert visitors.changed() == []
    machine.take_in(Visit("", "m2", T0 + 2, "b-8"), 0, 1)
    ((name, value),) = visitors.changed()
    assert name == "b-8"
    assert value is not None
    assert decode_visitor(value) == machine.stage.states["b-8"]
    machine.erase(CUSTOMER)
    kept, gone = visitor_records(visitors.changed())
    assert (kept, gone) == ([], [(b"\0visitor\0a-7", None, [])])


def test_what_is_told_goes_to_the_partition_of_whom_it_is_for() -> None:
    machine, visitors = open_machine(ON, model(), HERE, store(), lambda _: 4)
    machine.take_in(login(), 0, 0)
    ((place, (key, link, _)),) = visitors.outgoing()
    assert (place, key) == (("clickstream", THERE), VISITOR.encode())
    machine, visitors = open_machine(ON, model(), THERE, store(), lambda _: 4)
    machine.take_in(Visit("", "m1", T0, VISITOR), 0, 0)
    machine.take_in(decode_with_visitor(link), 0, 1)
    ((place, (key, click, _)),) = visitors.outgoing()
    assert (place, key) == (("clickstream", HERE), CUSTOMER.encode())
    assert decode_with_visitor(click).time_ms == T0


@pytest.mark.parametrize(
    ("settings", "sends"),
    [
        (Settings(), False),
        (ON, True),
        (Settings(identity=IdentityConfig(enabled=True, across_partitions=False)), False),
        (Settings(identity=ON.identity, sources=SourceConfig(clickstream="snowplow")), False),
    ],
)
def test_a_worker_asks_for_the_right_to_write_exactly_where_it_writes(
    settings: Settings, sends: bool
) -> None:
    assert sends_to_clickstream(settings) is sends
    (right,) = [r for r in rights(settings) if r.party == "worker" and r.name == "clickstream"]
    assert ("WRITE" in right.operations) is sends
    machine, visitors = open_machine(settings, model(), HERE, store(), lambda _: 4)
    if settings.identity.enabled:
        machine.take_in(login(), 0, 0)
    assert bool(visitors.outgoing()) is sends


def test_what_became_of_visitors_is_counted_once() -> None:
    machine, visitors = open_machine(ON, model(), 0, store(), lambda _: 1)
    for offset in range(3):
        machine.take_in(Visit("", f"m{offset}", T0 + offset, VISITOR), 0, offset)
    machine.take_in(login(), 0, 3)

    def counted() -> tuple[float, float]:
        held = metrics.VISITOR_RECORDS.labels("held")._value.get()
        return held, metrics.VISITOR_CLICKS.labels("given")._value.get()

    before = counted()
    visitors.measure()
    visitors.measure()
    held, given = counted()
    assert (held - before[0], given - before[1]) == (3, 3)
    assert metrics.VISITORS.labels("0")._value.get() == 1
    metrics.drop_partition(0)
