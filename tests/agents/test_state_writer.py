"""States that are written before their epoch ends are those of its end."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from agents.state_writer import StateWriter
from agents.stores import MemoryStore, Position
from schemas.events import Order
from streams.config import StreamConfig
from streams.customer.machine import CustomerMachine
from streams.customer.state_codec import decode_state, encode_state
from streams.learning.served import Served, untrained
from tests.streams.build import T0

CUSTOMERS = st.sampled_from("abcdef")
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("order"), CUSTOMERS),
        st.tuples(st.just("erase"), CUSTOMERS),
        st.tuples(st.just("ahead"), st.integers(1, 3)),
        st.tuples(st.just("close"), st.integers(1, 3)),
    ),
    max_size=40,
)


def a_machine() -> CustomerMachine:
    config = StreamConfig()
    return CustomerMachine(config, Served(untrained(config)))


def closed(writer: StateWriter, most: int) -> dict[bytes, bytes | None]:
    while writer:
        writer.write(most)
    changed, erased = writer.finish()
    assert all(value is not None for _, value, _ in changed)
    assert all(value is None for _, value, _ in erased)
    keys = [key for key, _, _ in changed + erased]
    assert len(keys) == len(set(keys)), "a customer's record would come twice in one epoch"
    return {key or b"": value for key, value, _ in changed + erased}


@given(STEPS)
def test_an_epoch_has_everybody_who_changed_in_it_as_they_are_at_its_end(steps: list[Any]) -> None:
    machine = a_machine()
    writer = StateWriter(machine)
    touched: set[str] = set()
    for number, (step, what) in enumerate([*steps, ("close", 2)]):
        if step == "order":
            order = Order(what, f"m{number}", T0 + number * 1000, f"o{number}", 20.0)
            machine.apply(order, source=1, offset=number)
            touched.add(what)
        elif step == "erase":
            machine.erase(what)
            touched.add(what)
        elif step == "ahead":
            writer.write_ahead(what)
        else:
            assert writer.has_any == bool(touched)
            states = machine.states
            expected = {
                name.encode(): encode_state(states[name]) if name in states else None for name in touched
            }
            assert closed(writer, what) == expected
            assert not writer.has_any
            touched = set()


def test_a_state_is_written_ahead_once_however_often_that_is_asked_for() -> None:
    machine = a_machine()
    writer = StateWriter(machine)
    for number, name in enumerate("ab"):
        machine.apply(Order(name, f"m{name}", T0, f"o{name}", 20.0), source=1, offset=number)
    writer.write_ahead(10)
    machine.apply(Order("a", "later", T0 + 1000, "later", 30.0), source=1, offset=2)
    for _ in range(5):
        writer.write_ahead(10)
        assert list(machine.dirty) == ["a"], "what changes after that is left for the end"
    written = closed(writer, 10)
    assert decode_state(written[b"a"] or b"").orders == 2
    assert sorted(written) == [b"a", b"b"]


def test_a_quiet_epoch_does_not_keep_the_next_one_from_writing_ahead() -> None:
    machine = a_machine()
    writer = StateWriter(machine)
    writer.write_ahead(10)
    machine.apply(Order("a", "m", T0, "o", 20.0), source=1, offset=0)
    writer.write_ahead(10)
    assert not writer


def test_who_was_written_ahead_may_become_bytes_before_the_border() -> None:
    store = MemoryStore(1)
    config = StreamConfig()
    machine = CustomerMachine(config, Served(untrained(config)), states=store)
    writer = StateWriter(machine)
    for number, name in enumerate("abc"):
        machine.apply(Order(name, f"m{name}", T0 + number, f"o{name}", 20.0), source=1, offset=number)
    writer.write_ahead(10)
    store.flush(Position(1, 1))  # the epoch before has become durable
    assert len(store.at_hand) == 1
    changed, erased = writer.finish()
    store.border(changed, erased)
    assert {key: value for key, value, _ in changed} == {
        name.encode(): encode_state(store[name]) for name in "abc"
    }
