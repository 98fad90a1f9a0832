"""A process that stood still knows that it did."""

from __future__ import annotations

import pytest

from agents.session import Session, StoodStill


class Clock:
    """Seconds, moved by hand."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def test_before_the_loop_turns_nothing_is_known(clock: Clock) -> None:
    session = Session(3.0, clock)
    clock.now += 1_000.0
    session.check()


def test_a_loop_that_turns_is_never_still_however_long_it_runs(clock: Clock) -> None:
    session = Session(3.0, clock)
    for _ in range(100):
        session.turn()
        clock.now += 2.9
        session.check()


@pytest.mark.parametrize("look", ["turn", "check"])
def test_whoever_looks_first_after_a_stop_ends_the_process_with_try_again(clock: Clock, look: str) -> None:
    session = Session(3.0, clock)
    session.turn()
    clock.now += 26.0
    with pytest.raises(StoodStill, match="stood still for 26 s") as caught:
        getattr(session, look)()
    assert caught.value.exit_code == 75


def test_a_look_that_sends_nothing_on_does_not_count_as_a_turn(clock: Clock) -> None:
    session = Session(3.0, clock)
    session.turn()
    for _ in range(3):
        clock.now += 1.0
        session.check()
    clock.now += 0.5
    with pytest.raises(StoodStill):
        session.check()
