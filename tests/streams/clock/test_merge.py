"""Records of several inputs come in order of event time, whatever arrived first."""

from __future__ import annotations

from random import Random

from hypothesis import given
from hypothesis import strategies as st

from streams.clock.merge import Merge

INPUTS = st.lists(st.lists(st.integers(0, 8), max_size=12), min_size=1, max_size=4)
"""Event times of each input: not sorted, with ties."""


def merged(inputs: list[list[int]]) -> list[tuple[int, tuple[int, int]]]:
    """The oracle: everything is known at once, so take the earliest head, ties by input."""
    heads = [0] * len(inputs)
    taken = []
    while any(head < len(times) for head, times in zip(heads, inputs, strict=True)):
        _, source = min(
            (times[head], source)
            for source, (head, times) in enumerate(zip(heads, inputs, strict=True))
            if head < len(times)
        )
        taken.append((source, (source, heads[source])))
        heads[source] += 1
    return taken


def push(merge: Merge[tuple[int, int]], inputs: list[list[int]], source: int, place: int) -> None:
    merge.push(source, inputs[source][place], (source, place))


@given(INPUTS, st.randoms(use_true_random=False))
def test_any_interleaving_of_pushes_gives_the_one_order(inputs: list[list[int]], rng: Random) -> None:
    merge: Merge[tuple[int, int]] = Merge(len(inputs))
    turns = [source for source, times in enumerate(inputs) for _ in times]
    rng.shuffle(turns)
    pushed, taken = [0] * len(inputs), []
    for source in turns:
        push(merge, inputs, source, pushed[source])
        pushed[source] += 1
        if rng.random() < 0.5:
            taken += list(merge.ready())
    for source in range(len(inputs)):
        merge.caught_up(source)
    assert [*taken, *merge.ready()] == merged(inputs)
    assert len(merge) == 0


@given(INPUTS, st.randoms(use_true_random=False))
def test_nothing_is_taken_while_an_input_is_unknown(inputs: list[list[int]], rng: Random) -> None:
    """Inputs fall silent and speak again; a record goes only if each other input has a head or is done."""
    merge: Merge[tuple[int, int]] = Merge(len(inputs))
    turns = [source for source, times in enumerate(inputs) for _ in times]
    rng.shuffle(turns)
    pushed, done = [0] * len(inputs), [False] * len(inputs)
    waiting: list[list[int]] = [[] for _ in inputs]
    for turn in turns:
        push(merge, inputs, turn, pushed[turn])
        waiting[turn].append(inputs[turn][pushed[turn]])
        pushed[turn] += 1
        done[turn] = False
        silent = rng.randrange(len(inputs))
        if not waiting[silent] and rng.random() < 0.5:
            merge.caught_up(silent)
            done[silent] = True
        for source, (_, place) in merge.ready():
            assert all(times or end for times, end in zip(waiting, done, strict=True))
            time_ms = waiting[source].pop(0)
            assert time_ms == inputs[source][place]
            heads = [(times[0], other) for other, times in enumerate(waiting) if times]
            assert all((time_ms, source) <= head for head in heads if head[1] != source)
        unknown = [s for s, times in enumerate(waiting) if not times and not done[s]]
        assert merge.waiting_for() == unknown
        assert unknown or not any(waiting), "it held back what could go"


@given(INPUTS)
def test_an_input_keeps_its_own_order_even_when_its_times_do_not(inputs: list[list[int]]) -> None:
    merge: Merge[tuple[int, int]] = Merge(len(inputs))
    for source, times in enumerate(inputs):
        for place in range(len(times)):
            push(merge, inputs, source, place)
        merge.caught_up(source)
    taken = [record for _, record in merge.ready()]
    for source, times in enumerate(inputs):
        assert [place for own, place in taken if own == source] == list(range(len(times)))


def test_a_record_pushed_while_records_are_taken_is_not_overtaken() -> None:
    merge: Merge[str] = Merge(2)
    merge.push(0, 10, "a")
    merge.push(0, 30, "c")
    merge.caught_up(1)
    ready = merge.ready()
    assert next(ready) == (0, "a")
    merge.push(1, 20, "b")
    assert list(ready) == [(1, "b")]
    merge.caught_up(1)
    assert list(merge.ready()) == [(0, "c")]


@given(
    st.lists(st.integers(0, 100), unique=True),
    st.lists(st.booleans(), min_size=101, max_size=101),
    st.integers(1, 20),
)
def test_what_is_ahead_is_what_will_be_taken_next(times: list[int], of_second: list[bool], most: int) -> None:
    merge: Merge[int] = Merge(2)
    for time_ms in sorted(times):
        merge.push(int(of_second[time_ms]), time_ms, time_ms)
    merge.caught_up(0)
    merge.caught_up(1)
    if times:
        merge.take(merge.next_source())
    before = len(merge)
    ahead = merge.ahead(most)
    assert len(merge) == before, "nothing is taken"
    merge.caught_up(0)
    merge.caught_up(1)
    taken = [record for _, record in merge.ready()]
    assert sorted(ahead) == taken[: len(ahead)]
    assert len(ahead) >= min(most, len(taken)) or len(ahead) == len(taken)


def test_an_input_that_was_caught_up_holds_the_others_up_again_after_its_next_record() -> None:
    merge: Merge[str] = Merge(2)
    merge.caught_up(1)
    merge.push(1, 5, "b")
    merge.push(0, 1, "a")
    merge.push(0, 9, "c")
    assert list(merge.ready()) == [(0, "a"), (1, "b")]
    assert merge.waiting_for() == [1]
    assert len(merge) == 1
