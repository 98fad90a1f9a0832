"""Row 17 of the scorecard: simulated rebalances, crashes and zombies; what is wrong is noticed."""

from __future__ import annotations

import pytest
from faust.types import TP

from agents import epochs
from agents.epochs import Room
from bench.faults.simulated import simulate
from streams.customer.machine import CustomerMachine
from streams.customer.verdicts import Judge


@pytest.mark.parametrize("seeds", [range(first, first + 25) for first in range(0, 100, 25)])
def test_nothing_is_committed_past_undone_work_whatever_the_group_does(seeds: range) -> None:
    for seed in seeds:
        outcome = simulate(seed)
        assert (outcome.past, outcome.lost, outcome.wrong) == (0, 0, 0), f"seed {seed}: {outcome}"
        assert outcome.handed_over + outcome.killed > 0


@pytest.mark.parametrize("seeds", [range(first, first + 25) for first in range(0, 100, 25)])
def test_what_is_said_again_is_said_with_the_same_model(
    seeds: range, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(epochs, "ANNOUNCE_SECONDS", 0.0)
    for seed in seeds:
        outcome = simulate(seed, newer_models=True)
        assert (outcome.past, outcome.wrong) == (0, 0), f"seed {seed}: {outcome}"


@pytest.mark.parametrize("seeds", [range(25), range(25, 50)])
def test_the_same_model_decides_again_where_inputs_come_in_another_order(
    seeds: range, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(epochs, "ANNOUNCE_SECONDS", 0.0)
    outcomes = [simulate(seed, newer_models=True, lag=100) for seed in seeds]
    assert [outcome.wrong for outcome in outcomes] == [0] * len(outcomes)


def test_a_model_chosen_by_the_watermark_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    def judge_of(machine: CustomerMachine, _as_of_ms: int) -> Judge:
        if machine._later is None or machine.watermark.at_ms < machine.later_from_ms:
            return machine.judge
        machine.has_used_news = True
        return machine._later

    monkeypatch.setattr(epochs, "ANNOUNCE_SECONDS", 0.0)
    monkeypatch.setattr(CustomerMachine, "_judge_of", judge_of)
    assert any(simulate(seed, newer_models=True, lag=100).wrong for seed in range(50))


def test_a_model_that_decides_aloud_before_its_marker_is_durable_is_noticed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(epochs, "ANNOUNCE_SECONDS", 0.0)
    monkeypatch.setattr(Room, "_is_early", False)
    assert any(simulate(seed, newer_models=True).wrong for seed in range(100))


def test_a_partition_that_does_not_begin_with_a_marker_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    close = Room._close

    async def close_but_the_first(room: Room, begins: bool = False) -> None:
        if not begins:
            await close(room)

    monkeypatch.setattr(Room, "_close", close_but_the_first)
    assert any(simulate(seed, newer_models=True).wrong for seed in range(50))


@pytest.mark.parametrize("most", [1, 3, 30])
def test_an_input_that_runs_ahead_is_paused_and_never_for_good(
    most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both may be paused when one of them runs dry: then it must come again, however much the other holds."""
    monkeypatch.setattr(epochs, "MOST_BUFFERED", most)
    for seed in range(10):
        outcome = simulate(seed)
        assert (outcome.past, outcome.lost, outcome.wrong) == (0, 0, 0), f"seed {seed}: {outcome}"


def test_the_same_seed_gives_the_same_run() -> None:
    assert simulate(3) == simulate(3)


def test_a_seal_that_does_not_wait_for_its_outputs_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    make_durable = Room._make_durable

    async def wait_for_nothing(room: Room, epoch: epochs._Epoch) -> None:
        await make_durable(room, epoch._replace(outputs=[]))

    monkeypatch.setattr(Room, "_make_durable", wait_for_nothing)
    outcomes = [simulate(seed) for seed in range(1, 13)]
    assert any(outcome.past for outcome in outcomes)
    assert any(outcome.lost for outcome in outcomes)


def test_offsets_handed_over_before_the_changelog_are_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    close = Room._close

    async def hand_over_too_early(room: Room, begins: bool = False) -> None:
        for topic, offset in room.offsets().items():
            room._consumer.sealed[TP(topic, room.partition)] = offset
        await close(room, begins)

    monkeypatch.setattr(Room, "_close", hand_over_too_early)
    assert all(simulate(seed).past for seed in range(4))
