"""What is said depends on the events alone: not on the model where it may not, on partitions, or batches."""

from __future__ import annotations

from collections import defaultdict
from functools import cache
from random import Random

import pytest

from schemas.codec import epoch_ms
from schemas.events import Event
from schemas.topics import CHURN_ALERTS
from streams.clock.merge import Merge
from streams.config import DAY_MS, HOUR_MS, StreamConfig, TimeConfig
from streams.customer.decision import Decision
from streams.customer.state import facts
from streams.customer.state_codec import encode_state
from streams.learning.served import Served
from tests.streams.build import (
    T0,
    Record,
    Shop,
    at,
    order,
    random_events,
    rich_model,
    said_on,
    silence_model,
    simulated_records,
    snapshot_of,
    spoken,
    without_evidence,
)
from tests.streams.oracle import naive_segments

SEEDS = range(3)


@cache
def told(seed: int) -> tuple[tuple[Event, ...], Shop]:
    """One machine, told everything in order."""
    events = tuple(random_events(seed, customers=6, days=300))
    shop = Shop(model=rich_model())
    shop.tell(*events)
    return events, shop.until(320)


def facts_of(shop: Shop) -> dict[str, list[object]]:
    return {customer_id: facts(state) for customer_id, state in shop.machine.states.items()}


# Models


@pytest.mark.parametrize("seed", SEEDS)
def test_facts_and_segments_do_not_depend_on_the_model(seed: int) -> None:
    events, one = told(seed)
    falling = Served(snapshot_of(2.0, {"log_silence": -2.0}))
    others = [Shop(model=model) for model in (silence_model(), Served(snapshot_of(5.0)), falling)]
    for place, event in enumerate(events):
        for other in others:
            other.tell(event)
        if place % 50 == 0:  # on the way too: a crossing that moved a fact would be made good later
            assert facts_of(others[0]) == facts_of(others[1]) == facts_of(others[2])
    for other in others:
        other.until(320)
        assert facts_of(one) == facts_of(other)
        assert one.changes() == other.changes()
        assert [(e.id, e.features, e.label) for e in one.examples()] == [
            (e.id, e.features, e.label) for e in other.examples()
        ]
        assert one.alerts() != other.alerts(), "the models do differ"


def test_facts_do_not_depend_on_when_a_model_is_adopted() -> None:
    events, one = told(0)
    other, rng = Shop(model=silence_model()), Random(0)
    for event in events:
        other.tell(event)
        if rng.random() < 0.1:
            other.machine.adopt(Served(snapshot_of(rng.uniform(-4, 4), {"log_silence": rng.uniform(-1, 2)})))
    other.until(320)
    assert facts_of(one) == facts_of(other)
    assert one.changes() == other.changes()


@pytest.mark.parametrize("seed", SEEDS)
def test_which_model_decides_follows_from_the_moment_that_is_decided_about(seed: int) -> None:
    events, _ = told(seed)
    moments = [at(day) for day in range(50, 300, 50)]
    shop = Shop(model=Served(snapshot_of(-1.0, {"log_silence": 0.5}, version="0")))
    announced = 0
    for event in events:
        if announced < len(moments) and event.time_ms > moments[announced] - 3 * DAY_MS:
            weights = {"log_silence": 0.5 + 0.1 * announced}
            model = Served(snapshot_of(-1.0, weights, version=str(announced + 1)))
            shop.machine.announce(model, moments[announced])
            announced += 1
        shop.tell(event)
    shop.until(320)
    decided = [(score.event_time, score.model_version) for score in shop.scores()]
    decided += [(alert.event_time, alert.model_version) for alert in shop.alerts()]
    decided += [(example.asked_at, example.model_version) for example in shop.examples()]
    for moment, version in decided:
        assert version == str(sum(epoch_ms(moment) >= begins for begins in moments)), moment
    assert {version for _, version in decided} == {"0", "1", "2", "3", "4", "5"}


def test_only_what_another_model_would_have_decided_is_news() -> None:
    def decided(days: float) -> bool:
        shop.tell(order("a", days))
        return shop.machine.has_used_news

    shop = Shop(model=silence_model())
    shop.tell(order("a", 1))
    shop.machine.announce(rich_model(), at(10))
    assert not decided(9.0)
    assert decided(10.0)
    shop.machine.announce(silence_model(), at(20))
    assert not shop.machine.has_used_news
    assert not decided(19.0), "since its moment the model before is the old one"
    shop.tell(order("b", 9.5))  # late: the first model would have decided
    assert shop.machine.has_used_news


def test_an_adopted_model_takes_the_place_of_an_announced_one() -> None:
    shop = Shop(model=silence_model())
    shop.machine.announce(rich_model(), at(10))
    shop.machine.adopt(silence_model())
    shop.tell(order("a", 11))
    assert shop.machine.later_model is None
    assert shop.scores()[-1].model_version == silence_model().model_version


# Partitions


def by_customer(said: list[Decision]) -> dict[str, list[Decision]]:
    grouped = defaultdict(list)
    for decision in said:
        grouped[decision.customer_id].append(without_evidence(decision))
    return grouped


@pytest.mark.parametrize("seed", SEEDS)
def test_one_machine_says_what_four_say_with_the_customers_dealt_out(seed: int) -> None:
    events, one = told(seed)
    states, said = {}, []
    for partition in range(4):
        part = Shop(model=rich_model())
        part.tell(*(e for e in events if sum(e.customer_id.encode()) % 4 == partition))
        part.until(320)
        states.update(part.machine.states)
        said += part.said
    assert {c: facts(s) for c, s in states.items()} == facts_of(one)
    assert {c: s.verdict for c, s in states.items()} == {c: s.verdict for c, s in one.machine.states.items()}
    assert by_customer(said) == by_customer(one.said)


@pytest.mark.parametrize("seed", SEEDS)
def test_allowed_lateness_changes_nothing_for_a_stream_in_order(seed: int) -> None:
    events, one = told(seed)
    other = Shop(StreamConfig(time=TimeConfig(allowed_lateness_seconds=0.0)), rich_model())
    other.tell(*events)
    other.until(320)
    assert by_customer(other.said) == by_customer(one.said)


# Segments


@pytest.mark.parametrize("seed", SEEDS)
def test_a_segment_is_never_stale(seed: int) -> None:
    """At any moment the last change names what all events up to then make of the customer."""
    events, shop = told(seed)
    rng = Random(seed)
    for customer_id in {event.customer_id for event in events} - {""}:
        own = [event for event in events if event.customer_id == customer_id]
        changes = shop.changes(customer_id)
        moments = [T0 + rng.randrange(310 * DAY_MS) for _ in range(150)]
        moments += [epoch_ms(change.event_time) - early for change in changes for early in (0, 1)]
        for moment_ms in moments:
            named = {"rfm": "none", "lifecycle": "prospect"}
            for change in changes:
                if epoch_ms(change.event_time) <= moment_ms:
                    named[change.dimension] = change.current
            expected = naive_segments(own, moment_ms, shop.config)
            assert (named["rfm"], named["lifecycle"]) == expected


@pytest.mark.parametrize("seed", SEEDS)
def test_changes_of_a_customer_form_a_chain(seed: int) -> None:
    _, shop = told(seed)
    for customer_id in shop.machine.states:
        for dimension in ("rfm", "lifecycle"):
            own = [change for change in shop.changes(customer_id) if change.dimension == dimension]
            assert [c.previous for c in own] == [None, *(c.current for c in own)][: len(own)]
            assert all(c.previous != c.current for c in own)
            assert [c.event_time for c in own] == sorted(c.event_time for c in own)
    ids = [change.id for change in shop.changes()]
    assert len(set(ids)) == len(ids)


@pytest.mark.parametrize("seed", SEEDS)
def test_alerts_of_a_customer_form_episodes(seed: int) -> None:
    _, shop = told(seed)
    assert len(shop.alerts()) > 5
    for customer_id in shop.machine.states:
        episode = None
        state = "resolved"
        for alert in shop.alerts(customer_id):
            if alert.state == "raised":
                assert state == "resolved"
                assert alert.episode != episode
            else:
                assert state == "raised" or (state, alert.state) == ("escalated", "resolved")
                assert alert.episode == episode
            assert alert.event_time >= alert.episode_started_at
            episode, state = alert.episode, alert.state
    ids = [alert.id for alert in shop.alerts()]
    assert len(set(ids)) == len(ids)


# Batches

BATCHED = (8, 40)
"""Customers and days of the shop that is fed in batches."""


def fed(seed: int | None) -> list[Decision]:
    """Feed both topics through a merge: at once, or split at random into batches that come at random."""
    topics: list[list[Record]] = [[], []]
    for record in simulated_records(*BATCHED):
        topics[record[0]].append(record)
    shop, merge = Shop(model=silence_model()), Merge[Record](2)
    rng = Random(seed)
    waiting = [list(topic) for topic in topics]
    while any(waiting):
        source = rng.randrange(2) if all(waiting) else int(bool(waiting[1]))
        size = len(waiting[source]) if seed is None else 1 + int(rng.expovariate(1 / 60))
        batch, waiting[source] = waiting[source][:size], waiting[source][size:]
        for record in batch:
            merge.push(source, record[2].time_ms, record)
        shop.apply(record for _, record in merge.ready())
    for source in range(2):
        merge.caught_up(source)
    shop.apply(record for _, record in merge.ready())
    assert len(merge) == 0
    return shop.said


@cache
def at_once() -> list[Decision]:
    return fed(None)


def test_both_topics_have_something_to_say() -> None:
    sources = [source for source, _, _ in simulated_records(*BATCHED)]
    assert sources.count(0) > 300
    assert sources.count(1) > 10
    assert len(at_once()) > 60
    assert said_on(CHURN_ALERTS, at_once())
    assert spoken(at_once()) == spoken(fed(1))


@pytest.mark.parametrize("seeds", [range(first, first + 20) for first in range(0, 200, 20)])
def test_200_random_splits_into_batches_say_the_same(seeds: range) -> None:
    for seed in seeds:
        assert fed(seed) == at_once(), f"seed {seed}"


# Time in parts


@pytest.mark.parametrize("late", [False, True])
def test_time_that_comes_in_parts_decides_what_one_step_decides(late: bool) -> None:
    """A gap of weeks makes many timers due at once; a worker lets them fire a few at a time."""
    all_of_them = list(simulated_records(30, 60))
    end = len(all_of_them)
    records = all_of_them[: end // 3] + all_of_them[end // 2 : end // 2 + 5] + all_of_them[-end // 8 :]
    if late:  # every second comes some places behind its time
        records.sort(key=lambda record: record[2].time_ms + (record[1] % 2) * 2 * HOUR_MS)
    whole, parts = Shop(model=silence_model()), Shop(model=silence_model())
    steps = []
    for record in records:
        whole.apply([record])
        if parts.machine.may_take_long(record[2].time_ms):
            steps.append(0)
            while not parts.machine.lead(record[2].time_ms, most=1):
                steps[-1] += 1
        parts.apply([record])
    assert len([fired for fired in steps if fired > 20]) >= 2, "no gap that makes many due"
    assert parts.said == whole.said
    assert facts_of(parts) == facts_of(whole)


def test_a_state_that_is_not_dirty_is_what_was_written_of_it() -> None:
    """A timer that fires early and finds nothing due leaves no trace that only memory would have."""
    shop, written = Shop(model=silence_model()), {}
    for number, record in enumerate(simulated_records(30, 60)):
        shop.apply([record])
        for customer_id in shop.machine.dirty:
            if customer_id in shop.machine.states:
                written[customer_id] = encode_state(shop.machine.states[customer_id])
            else:
                written.pop(customer_id, None)
        shop.machine.dirty.clear()
        if number % 10 == 0:
            assert written == {c: encode_state(state) for c, state in shop.machine.states.items()}
