"""What a partition says, on its way: in order, one batch at a time, nothing across a border."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from agents.outbox import PATIENCE_SECONDS, Outbox

Place = tuple[str, int]
PLACES = st.tuples(st.sampled_from("abc"), st.integers(0, 1))


class Link:
    """A producer whose batches arrive when the test says so."""

    def __init__(self) -> None:
        self.sent: list[tuple[Place, list[Any]]] = []
        self.acks: list[asyncio.Future[None]] = []

    async def send_records(self, topic: str, partition: int, records: list[Any]) -> list[Awaitable[Any]]:
        place = (topic, partition)
        under_way = [ack for (other, _), ack in zip(self.sent, self.acks, strict=True) if other == place]
        assert all(ack.done() for ack in under_way), "two batches of one place at a time"
        self.sent.append((place, records))
        self.acks.append(asyncio.get_running_loop().create_future())
        return [self.acks[-1]]

    def acknowledge(self) -> None:
        for ack in self.acks:
            if not ack.done():
                ack.set_result(None)


def record(number: int) -> Any:
    return (b"key", str(number).encode(), [])


def numbers(records: list[Any]) -> list[int]:
    return [int(value) for _, value, _ in records]


async def refused(outbox: Outbox, link: Link) -> None:
    outbox.put("alerts", 0, record(0))
    outbox.send()
    await turn()
    link.acks[0].set_exception(OSError("refused"))
    await turn()


async def turn() -> None:
    for _ in range(8):
        await asyncio.sleep(0)


def with_outbox(
    test: Callable[[Outbox, Link], Awaitable[None]],
    may_send: Callable[[], bool] = lambda: True,
    patient: tuple[str, ...] = (),
) -> None:
    async def main() -> None:
        link = Link()
        await test(Outbox(link, may_send, patient), link)  # type: ignore[arg-type]

    asyncio.run(main())


def test_what_is_put_while_a_batch_is_under_way_goes_together_as_the_next() -> None:
    async def test(outbox: Outbox, link: Link) -> None:
        for number in range(3):
            outbox.put("alerts", 0, record(number))
            outbox.send()
            await turn()
        assert [numbers(records) for _, records in link.sent] == [[0]]
        link.acknowledge()
        await turn()  # nobody has to ask
        assert [numbers(records) for _, records in link.sent] == [[0], [1, 2]]

    with_outbox(test)


def test_a_border_is_reached_when_all_before_it_is_acknowledged_and_mixes_nothing() -> None:
    async def test(outbox: Outbox, link: Link) -> None:
        assert not outbox
        outbox.put("alerts", 0, record(0))
        outbox.send()
        await turn()
        outbox.put("alerts", 0, record(1))  # behind a batch that is under way
        outbox.put("scores", 0, record(2))
        reached = asyncio.gather(*outbox.border())
        assert not outbox
        outbox.put("alerts", 0, record(3))
        assert outbox
        outbox.send()
        await turn()
        assert sorted(numbers(records) for _, records in link.sent) == [[0], [2]]
        link.acknowledge()
        await turn()
        assert [numbers(records) for place, records in link.sent if place[0] == "alerts"] == [[0], [1]]
        assert not reached.done()
        link.acknowledge()
        await reached
        await turn()
        assert numbers(link.sent[-1][1]) == [3]

    with_outbox(test)


def test_a_patient_topic_waits_for_company_and_a_border_does_not(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr("agents.outbox.time.monotonic", lambda: now[0])

    async def test(outbox: Outbox, link: Link) -> None:
        outbox.put("scores", 0, record(0))
        outbox.send()  # it has sent nothing lately
        await turn()
        link.acknowledge()
        await turn()
        outbox.put("scores", 0, record(1))
        outbox.put("alerts", 0, record(2))
        outbox.send()
        await turn()
        assert [place[0] for place, _ in link.sent] == ["scores", "alerts"]
        now[0] += 2 * PATIENCE_SECONDS
        outbox.send()
        await turn()
        assert numbers(link.sent[-1][1]) == [1]
        outbox.put("scores", 0, record(3))
        link.acknowledge()
        reached = asyncio.gather(*outbox.border())
        await turn()
        assert numbers(link.sent[-1][1]) == [3]
        link.acknowledge()
        await reached

    with_outbox(test, patient=("scores",))


def test_a_batch_that_is_refused_is_raised_by_the_next_send_and_at_the_border() -> None:
    async def test(outbox: Outbox, link: Link) -> None:
        await refused(outbox, link)
        outbox.put("alerts", 0, record(1))
        with pytest.raises(OSError, match="refused"):
            outbox.send()
        with pytest.raises(OSError, match="refused"):
            await asyncio.gather(*outbox.border())
        await turn()
        assert len(link.sent) == 1  # nothing follows one that did not arrive

    with_outbox(test)


def test_nothing_is_sent_once_it_may_not_be() -> None:
    allowed = [True]

    async def test(outbox: Outbox, link: Link) -> None:
        outbox.put("alerts", 0, record(0))
        outbox.send()
        await turn()
        outbox.put("alerts", 0, record(1))
        tasks = outbox.border()  # it waits for the one before
        allowed[0] = False
        link.acknowledge()
        await asyncio.gather(*tasks)
        outbox.put("alerts", 0, record(2))
        outbox.send()
        await turn()
        assert [numbers(records) for _, records in link.sent] == [[0]]

    with_outbox(test, lambda: allowed[0])


@example([("a", 0), "b"] * 10)
@given(st.lists(st.one_of(PLACES, st.sampled_from("sdb"))))
def test_each_place_gets_everything_in_order_and_each_border_what_came_since_the_last(
    steps: list[Any],
) -> None:
    async def test(outbox: Outbox, link: Link) -> None:
        put: dict[Place, list[int]] = {}
        borders: list[tuple[int, asyncio.Future[Any]]] = []
        for number, step in enumerate([*steps, "b"]):
            if isinstance(step, tuple):
                put.setdefault(step, []).append(number)
                outbox.put(step[0], step[1], record(number))
            elif step == "s":
                outbox.send()
            elif step == "d":
                link.acknowledge()
            else:
                borders.append((number, asyncio.gather(*outbox.border())))
            await turn()
            arrived = {n for (_, records), ack in zip(link.sent, link.acks, strict=True) if ack.done()
                       for n in numbers(records)}  # fmt: skip
            last = -1
            for at, reached in borders:
                before = {n for sent in put.values() for n in sent if last < n < at}
                last = at
                assert reached.done() <= (before <= arrived)
        for _ in range(len(steps) + 1):  # each border may have put a batch of a lane behind the one before
            link.acknowledge()
            await turn()
        assert all(reached.done() for _, reached in borders)
        got: dict[Place, list[int]] = {}
        for place, records in link.sent:
            got.setdefault(place, []).extend(numbers(records))
            cuts = {sum(at < n for at, _ in borders) for n in numbers(records)}
            assert len(cuts) == 1  # no batch lies across a border
        assert got == put

    with_outbox(test, patient=("c",))


def test_who_puts_more_waits_while_too_much_is_on_its_way(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agents.outbox.MOST_WAITING", 2)

    async def test(outbox: Outbox, link: Link) -> None:
        for number in range(3):
            outbox.put("alerts", number, record(number))
        outbox.send()
        waits = asyncio.create_task(outbox.drain())
        await turn()
        assert not waits.done()
        link.acknowledge()
        await asyncio.wait_for(waits, 1.0)
        await outbox.drain()

    with_outbox(test)


def test_a_lost_partition_does_not_hear_of_a_batch_that_failed() -> None:
    allowed = [True]

    async def test(outbox: Outbox, link: Link) -> None:
        await refused(outbox, link)
        allowed[0] = False
        outbox.put("alerts", 0, record(1))
        outbox.send()
        await turn()
        assert len(link.sent) == 1

    with_outbox(test, lambda: allowed[0])
