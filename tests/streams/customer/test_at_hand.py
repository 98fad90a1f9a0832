"""States of many customers at once."""

from __future__ import annotations

from streams.customer.at_hand import state_records, warm_up
from streams.customer.state import new_state
from streams.customer.state_codec import decode_state, encode_state
from tests.streams.build import Shop, simulated_records


def test_warming_up_changes_no_state_and_passes_over_who_is_not_there() -> None:
    shop = Shop()
    shop.apply(simulated_records(20, 60))
    states = dict(shop.machine.states)
    before = {name: encode_state(state) for name, state in states.items()}
    names = list(states)
    states["without inputs"] = new_state(1, inputs=0)
    warm_up(["nobody", *reversed(states), ""], states)
    assert list(states) == [*names, "without inputs"]
    assert {name: encode_state(states[name]) for name in names} == before
    assert len(before) == 20


def test_a_state_that_is_there_is_written_and_one_that_is_not_erased_in_the_order_asked_for() -> None:
    shop = Shop()
    shop.apply(simulated_records(3, 60))
    states = shop.machine.states
    changed, erased = state_records(["é", *states, "gone"], states)
    assert [(key.decode(), decode_state(value or b"")) for key, value, _ in changed] == list(states.items())
    assert erased == [("é".encode(), None, []), (b"gone", None, [])]
