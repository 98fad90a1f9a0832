"""Killed anywhere and resumed, a machine goes on as if nothing had happened."""

from __future__ import annotations

from functools import cache
from random import Random

import pytest

from schemas.events import Click, Order
from streams.config import DAY_MS, ReviewConfig, StreamConfig
from streams.customer.decision import Decision, Outcome
from streams.customer.machine import CustomerMachine
from streams.customer.state_codec import decode_state, encode_state
from streams.learning.served import Served, untrained
from tests.streams.build import T0, Record, Shop, random_events, recorded, rich_model, spoken

CONFIG = StreamConfig()
FORGETFUL = StreamConfig(reviews=ReviewConfig(silent_days=20.0, forget_days=20.0))
"""Customers are forgotten within the stream, and come back."""

SEEDS = range(3)


@cache
def records_of(seed: int) -> tuple[Record, ...]:
    """A stream somewhat out of order, late by days now and then, with messages sent twice."""
    rng = Random(seed)
    events = random_events(seed, customers=4, days=400, per_customer=36)
    arrives = {event: event.time_ms + rng.choice([0, 0, 30_000, 90_000, 5 * DAY_MS]) for event in events}
    events.sort(key=lambda event: arrives[event])
    for place in sorted(rng.sample(range(len(events) - 5), 20), reverse=True):
        events.insert(place + 3, events[place])
    return tuple(recorded(events))


@cache
def uninterrupted(
    seed: int, config: StreamConfig
) -> tuple[list[Decision], tuple[int, ...], list[Outcome], bytes]:
    """Decisions, how many there were after each record, outcomes, and the states in the end."""
    shop = Shop(config, rich_model())
    counts, outcomes = [], []
    for record in records_of(seed):
        outcomes += shop.apply([record])
        counts.append(len(shop.said))
    return shop.said, tuple(counts), outcomes, sealed(shop)


def sealed(shop: Shop) -> bytes:
    return b"".join(name.encode() + state for name, state in sorted(states_of(shop).items()))


def states_of(shop: Shop) -> dict[str, bytes]:
    return {name: encode_state(state) for name, state in shop.machine.states.items()}


def resumed(states: dict[str, bytes], watermark_ms: int, config: StreamConfig = CONFIG) -> Shop:
    shop = Shop(config, rich_model())
    # In whatever order the changelog gives them.
    held = {name: decode_state(states[name]) for name in sorted(states, reverse=True)}
    shop.machine = CustomerMachine(config, rich_model(), watermark_ms=watermark_ms, states=held)
    shop.machine.expect((name, state.verdict.due_ms) for name, state in held.items())
    return shop


def test_the_streams_have_everything_in_them() -> None:
    for seed in SEEDS:
        said, _, outcomes, _ = uninterrupted(seed, CONFIG)
        assert {Outcome.APPLIED, Outcome.LATE, Outcome.DUPLICATE, Outcome.ANONYMOUS} == set(outcomes)
        assert {decision.topic for decision in said} >= {"churn-alerts", "examples", "segment-changes"}
        withdrawn = [decision for decision in uninterrupted(seed, FORGETFUL)[0] if decision.payload is None]
        assert len(withdrawn) > 3


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("config", [CONFIG, FORGETFUL], ids=["remembering", "forgetting"])
def test_a_machine_cut_at_a_record_goes_on_as_the_uninterrupted_one(seed: int, config: StreamConfig) -> None:
    records = records_of(seed)
    said, counts, outcomes, states = uninterrupted(seed, config)
    for cut in Random(seed).sample(range(1, len(records)), 2):
        before = Shop(config, rich_model())
        before.apply(records[:cut])
        after = resumed(states_of(before), before.machine.watermark.at_ms, config)
        assert after.apply(records[cut:]) == outcomes[cut:]
        assert spoken(after.said) == spoken(said[counts[cut - 1] :])
        assert sealed(after) == states


@pytest.mark.parametrize("seed", SEEDS)
def test_records_read_again_after_a_restart_change_nothing(seed: int) -> None:
    records = records_of(seed)
    said, counts, _, states = uninterrupted(seed, CONFIG)
    cut = len(records) // 2
    before = Shop(CONFIG, rich_model())
    before.apply(records[:cut])
    after = resumed(states_of(before), before.machine.watermark.at_ms)
    again = set(after.apply(records[cut - 60 : cut]))
    assert Outcome.REPEATED in again
    assert again <= {Outcome.REPEATED, Outcome.DUPLICATE, Outcome.ANONYMOUS}
    assert after.said == []
    after.apply(records[cut:])
    assert spoken(after.said) == spoken(said[counts[cut - 1] :])
    assert sealed(after) == states


@pytest.mark.parametrize("seed", SEEDS)
def test_a_crash_in_the_middle_of_a_flush_loses_nothing_and_says_nothing_new(seed: int) -> None:
    """Some states are newer than the marker: their records are known by offset and not applied again.

    All decisions up to the crash are out, the states of some customers are written, and the marker is
    the one before. What is said again must be word for word what was said.
    """
    records, rng = records_of(seed), Random(seed)
    said, counts, _, states = uninterrupted(seed, CONFIG)
    lines = spoken(said).split(b"\n")
    for _ in range(3):
        marker = rng.randrange(1, len(records) - 60)
        crash = marker + rng.randrange(1, 60)
        shop = Shop(CONFIG, rich_model())
        shop.apply(records[:marker])
        mixed, watermark_ms = states_of(shop), shop.machine.watermark.at_ms
        shop.machine.dirty.clear()
        shop.apply(records[marker:crash])
        for name in shop.machine.dirty:
            if rng.random() < 0.5:
                mixed[name] = encode_state(shop.machine.states[name])
        after = resumed(mixed, watermark_ms)
        after.apply(records[marker:])
        again = spoken(after.said).split(b"\n")
        assert set(again) <= set(lines)
        assert set(lines[: counts[crash - 1]]) | set(again) == set(lines)
        assert sealed(after) == states


def test_loaded_states_fire_their_timers_in_the_order_of_event_time() -> None:
    """Clicks push dues back and leave early entries in a heap; a heap made from states has none of them."""
    shop = Shop(CONFIG, rich_model())
    shop.apply(records_of(0)[:150])
    after = resumed(states_of(shop), shop.machine.watermark.at_ms)
    end_ms = shop.machine.watermark.at_ms + 60 * DAY_MS
    shop.said.clear()
    assert spoken(after.until_ms(end_ms).said) == spoken(shop.until_ms(end_ms).said)
    assert sealed(after) == sealed(shop)
    assert len(after.said) > 30


def test_a_click_between_a_sessions_end_and_the_watermark_is_due_again_after_a_restart() -> None:
    """The heap still held the earlier end, so the state was not told of the later one."""
    config = StreamConfig()
    minute_ms = 60_000

    def begun() -> CustomerMachine:
        machine = CustomerMachine(config, Served(untrained(config)))
        machine.apply(Order("c", "m0", T0, "o", 25.0), 1, 0)
        machine.apply(Click("c", "m1", T0 + 60 * minute_ms), 0, 0)  # the session ends at 90
        machine.apply(Click("c", "m2", T0 + 90 * minute_ms + 20_000), 0, 1)
        return machine

    def finished(machine: CustomerMachine) -> bytes:
        machine.apply(Click("z", "z1", T0 + 125 * minute_ms), 0, 2)
        machine.apply(Click("c", "m3", T0 + 150 * minute_ms), 0, 3)
        machine.apply(Click("z", "z2", T0 + 400 * minute_ms), 0, 4)
        return encode_state(machine.states["c"])

    before, after = begun(), CustomerMachine(config, Served(untrained(config)))
    after.states.update({c: decode_state(encode_state(state)) for c, state in before.states.items()})
    after.watermark.at_ms = before.watermark.at_ms
    after.expect((c, state.verdict.due_ms) for c, state in after.states.items())
    assert finished(after) == finished(before)
