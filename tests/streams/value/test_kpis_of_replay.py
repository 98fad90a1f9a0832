"""The days of a replay: of a simulated shop's events, through the machines that run live."""

from __future__ import annotations

from functools import cache
from itertools import groupby, pairwise

import orjson
import pytest

from samples import shop
from samples.shop_config import ShopConfig
from schemas.codec import encode, epoch_ms
from schemas.decisions import ChurnAlert, CustomerScore, SegmentChange
from schemas.kpis import RetentionKpis
from schemas.learning import Example
from streams.config import DAY_MS, StreamConfig
from streams.customer.decision import Decision
from streams.customer.state import digest
from streams.replay import Replay
from streams.value.kpis import KpiMachine


@cache
def decisions() -> list[Decision]:
    said: list[Decision] = []
    replay = Replay(StreamConfig(), said.append)
    messages = shop.messages(ShopConfig(customers=250, days=260, seed=3))
    replay.run((int("order" in str(m.get("event", "")).lower()), orjson.dumps(m)) for m in messages)
    return said


def told(said: list[Decision]) -> list[RetentionKpis]:
    machine = KpiMachine(StreamConfig())
    return [day for decision in said for day in machine.apply(decision)]


def time_of(decision: Decision) -> int | None:
    payload = decision.payload
    if isinstance(payload, CustomerScore | ChurnAlert | SegmentChange):
        return epoch_ms(payload.event_time)
    return epoch_ms(payload.matured_at) if isinstance(payload, Example) else None


def test_a_replay_tells_every_day_but_the_last_and_the_same_each_time() -> None:
    days = told(decisions())
    assert [encode(day) for day in days] == [encode(day) for day in told(decisions())]
    assert [(b.day - a.day).days for a, b in pairwise(days)] == [1] * (len(days) - 1)
    assert sum(day.late for day in days) == 0
    newest_ms = max(time_ms for d in decisions() if (time_ms := time_of(d)) is not None)
    assert newest_ms // DAY_MS - 2 <= days[-1].day.toordinal() - 719_163 <= newest_ms // DAY_MS


def test_partitions_that_are_hours_apart_tell_the_same_days() -> None:
    """Four of them, each in its own order, a part of a day at a time."""
    whole = told(decisions())

    def turn(decision: Decision) -> int:
        return digest(decision.customer_id)[0] % 4

    timed = [(time_ms, d) for d in decisions() if (time_ms := time_of(d)) is not None]
    mixed: list[Decision] = []
    for _, chunk in groupby(timed, key=lambda pair: pair[0] // (DAY_MS // 5)):
        mixed += [decision for _, decision in sorted(chunk, key=lambda pair: turn(pair[1]))]
    apart = told(mixed)
    assert apart[: len(whole) - 1] == whole[: len(apart)][: len(whole) - 1]


def test_what_is_lost_lies_where_it_was_said_to_nearly_as_often_as_was_said() -> None:
    """Nine in ten by chance alone; the risks are those of a model that is learning."""
    days = told(decisions())
    by_day = {day.day.toordinal(): day for day in days}
    inside, ratio, n = 0, 0.0, 0
    for day in days[120::10]:  # the first four months have hardly a served risk
        for now in day.losses:
            before = by_day.get(day.day.toordinal() - now.days)
            if now.days == 30 and before is not None and now.realised is not None:
                then = next(loss for loss in before.losses if loss.days == now.days)
                assert now.expected_before == pytest.approx(then.expected)
                inside += then.low <= now.realised <= then.high
                ratio += now.realised / then.expected
                n += 1
    assert n >= 10
    assert inside / n >= 0.5
    assert ratio / n == pytest.approx(1.0, abs=0.25)
