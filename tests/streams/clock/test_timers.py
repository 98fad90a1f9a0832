"""Timers do what a sorted list would do, and stays small."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.clock.timers import NOT_SET, Timers

CUSTOMERS = st.sampled_from(["a", "b", "c", "d"])
# Close together, and across the borders of slots and days; and some that come again, after being overtaken.
DUE = st.one_of(
    st.integers(0, 12),
    st.sampled_from([5, 700_000, 90_000_000, 180_000_000]),
    st.integers(0, 2_000_000),
    st.integers(-200_000_000, 400_000_000),
    st.integers(0, 6).map(lambda days: days * 86_400_000),
)
ASK = st.tuples(st.just("ask"), CUSTOMERS, DUE)
POP = st.tuples(st.just("pop"), st.just(""), DUE)
BEGIN = st.tuples(st.just("begin"), st.just(""), st.just(0))
FORGET = st.tuples(st.just("forget"), CUSTOMERS, st.just(0))


def popped(timers: Timers, until_ms: int) -> tuple[int, str] | None:
    entry = timers.pop(until_ms)
    return None if entry is None else (entry[0], entry[1].customer_id)


def live(timers: Timers) -> int:
    return sum(timer.due_ms != NOT_SET for timer in timers._timers.values())


class Naive:
    """One due time a customer, looked through each time."""

    def __init__(self) -> None:
        self.due: dict[str, int] = {}

    def ask(self, customer_id: str, due_ms: int) -> None:
        self.due[customer_id] = min(due_ms, self.due.get(customer_id, due_ms))

    def pop(self, until_ms: int) -> tuple[int, str] | None:
        entries = sorted((due_ms, customer_id) for customer_id, due_ms in self.due.items())
        if not entries or entries[0][0] > until_ms:
            return None
        del self.due[entries[0][1]]
        return entries[0]

    def forget(self, customer_id: str) -> None:
        self.due.pop(customer_id, None)


@settings(max_examples=300)
@given(st.lists(st.one_of(ASK, ASK, POP, FORGET, BEGIN), max_size=60))
def test_they_fire_as_a_sorted_list_would(steps: list[tuple[str, str, int]]) -> None:
    timers, naive = Timers(), Naive()
    for step, customer_id, due_ms in steps:
        if step == "pop":
            assert popped(timers, due_ms) == naive.pop(due_ms)
        elif step == "ask":
            timers.ask(customer_id, due_ms)
            naive.ask(customer_id, due_ms)
        elif step == "begin":
            timers.begin(naive.due.items())
        else:
            timers.forget(customer_id)
            naive.forget(customer_id)
        assert live(timers) == len(naive.due)
        if naive.due:
            assert timers.is_due(min(naive.due.values()))


@pytest.mark.parametrize("seed", range(5))
def test_they_fire_as_a_sorted_list_would_when_overtaken_entries_pile_up(seed: int) -> None:
    rng = Random(seed)
    timers, naive = Timers(), Naive()
    for due_ms in range(6000, 0, -1):  # each asks for an earlier moment: the last entry is overtaken
        customer_id = f"c{rng.randrange(10)}"
        timers.ask(customer_id, due_ms)
        naive.ask(customer_id, due_ms)
        if rng.random() < 0.01:
            assert popped(timers, due_ms + 500) == naive.pop(due_ms + 500)
    while (entry := naive.pop(10_000)) is not None:
        assert popped(timers, 10_000) == entry
    assert popped(timers, 10_000) is None


def test_overtaken_entries_do_not_pile_up_without_bound() -> None:
    timers = Timers()
    for due_ms in range(50_000, 0, -1):
        timers.ask(f"c{due_ms % 10}", due_ms)
    assert live(timers) == 10
    assert timers._entries <= 2 * 10 + 1024


def test_a_moment_that_was_overtaken_and_is_asked_for_again_takes_no_entry_of_its_own() -> None:
    timers = Timers()
    review_ms = 7 * 86_400_000
    timers.ask("a", review_ms)
    for visit in range(100):
        timers.ask("a", visit * 3_600_000)  # the end of a session
        assert popped(timers, visit * 3_600_000) == (visit * 3_600_000, "a")
        timers.ask("a", review_ms)
        assert timers._entries == 1
    assert [popped(timers, review_ms), popped(timers, review_ms)] == [(review_ms, "a"), None]


def test_a_customer_has_one_live_entry_the_earliest() -> None:
    timers = Timers()
    timers.ask("a", 30)
    timers.ask("a", 10)
    timers.ask("a", 20)
    assert [popped(timers, 100) for _ in range(3)] == [(10, "a"), None, None]


def test_ties_go_by_customer_in_whatever_order_they_were_asked() -> None:
    for names in ("abc", "cab", "bca"):
        timers = Timers()
        for name in names:
            timers.ask(name, 5)
        assert [popped(timers, 5) for _ in names] == [(5, "a"), (5, "b"), (5, "c")]


def test_an_entry_fires_at_its_moment_and_not_a_millisecond_before() -> None:
    timers = Timers()
    timers.ask("a", 10)
    assert popped(timers, 9) is None
    assert popped(timers, 10) == (10, "a")


def test_the_next_entry_is_due_from_its_moment_on_and_not_before() -> None:
    timers = Timers()
    timers.ask("a", 86_400_000 + 90_001)
    assert [timers.is_due(86_400_000 + at_ms) for at_ms in (-1, 0, 90_000, 90_001)] == [False] * 3 + [True]


def test_a_forgotten_customer_asks_anew() -> None:
    timers = Timers()
    timers.ask("a", 10)
    timers.forget("a")
    timers.ask("a", 50)
    assert [popped(timers, 100), popped(timers, 100)] == [(50, "a"), None]


def test_a_timer_that_is_kept_is_the_customers_until_the_customer_is_forgotten() -> None:
    timers = Timers()
    kept = timers.of("a")
    assert kept.due_ms == NOT_SET
    timers.set(kept, 20)
    timers.ask("a", 10)
    assert (timers.of("a"), kept.due_ms) == (kept, 10)
    timers.forget("a")
    assert timers.of("a") is not kept
    assert popped(timers, 100) is None
