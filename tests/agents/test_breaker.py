"""When a flood of dead letters stops a worker: against an oracle that keeps everything."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from agents.breaker import Breaker, Tripped, flood


class Naive:
    """Keeps every record and counts anew each time."""

    def __init__(self, window: int, max_share: float, max_consecutive: int) -> None:
        self.window, self.max_share, self.max_consecutive = window, max_share, max_consecutive
        self.all: list[str | None] = []

    def good(self) -> None:
        self.all.append(None)

    def bad(self, reason: str) -> Tripped | None:
        self.all.append(reason)
        run = 0
        for one in reversed(self.all):
            if one is None:
                break
            run += 1
        last = [one for one in self.all[-self.window :] if one is not None]
        commonest = Counter(last).most_common(1)[0][0]
        if run > self.max_consecutive:
            return Tripped("max_consecutive", run, run, commonest)
        if len(self.all) >= self.window and len(last) / self.window > self.max_share:
            return Tripped("max_share", len(last), self.window, commonest)
        return None


@given(
    st.lists(st.sampled_from([None, None, "missing", "not_json"]), max_size=200),
    st.integers(1, 30),
    st.floats(0.01, 1.0),
    st.integers(1, 12),
)
def test_it_trips_when_and_as_the_oracle_does(
    records: list[str | None], window: int, share: float, run: int
) -> None:
    breaker, naive = Breaker(window, share, run), Naive(window, share, run)
    for reason in records:
        if reason is None:
            breaker.good()
            naive.good()
        else:
            assert breaker.bad(reason) == naive.bad(reason)


def test_a_share_is_not_judged_before_the_window_is_full() -> None:
    breaker = Breaker(1000, 0.2, 500)
    assert [breaker.bad("missing") for _ in range(230)] == [None] * 230
    for _ in range(50):
        breaker.good()
    assert breaker.bad("missing") is None


def test_half_of_the_records_trip_it_as_soon_as_the_window_is_full() -> None:
    breaker = Breaker(1000, 0.2, 500)
    said = []
    for _ in range(500):
        breaker.good()
        said.append(breaker.bad("not_json"))
    assert said == [None] * 499 + [Tripped("max_share", 500, 1000, "not_json")]


def test_good_records_between_start_the_row_again() -> None:
    breaker = Breaker(1_000_000, 0.2, 3)
    for _ in range(10):
        assert [breaker.bad("x") for _ in range(3)] == [None] * 3
        breaker.good()
    assert [breaker.bad("x") for _ in range(4)][-1] == Tripped("max_consecutive", 4, 4, "x")


def test_a_share_of_one_never_trips() -> None:
    breaker = Breaker(10, 1.0, 1000)
    assert [breaker.bad("x") for _ in range(100)] == [None] * 100


def test_what_is_remembered_stays_within_the_window() -> None:
    breaker = Breaker(50, 1.0, 10_000)
    for _ in range(5000):
        breaker.bad("x")
    assert len(breaker._refused) == 50


def test_the_message_is_one_line_with_all_that_an_operator_needs() -> None:
    said = flood(Tripped("max_consecutive", 501, 501, "missing"), "eu.orders", 2, "eu.orders.dlq")
    assert "\n" not in said
    for part in (
        "eu.orders, partition 2",
        "100%",
        "missing",
        "eu.orders.dlq",
        "dead_letters.max_consecutive",
    ):
        assert part in said
