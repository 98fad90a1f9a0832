"""The days of a replay: of a simulated shop's events, through the machines that run live."""

from __future__ import annotations

from datetime import timedelta
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
from streams.config import DAY_MS, StreamConfig, days_ms
from streams.customer.decision import Decision
from streams.customer.packing import digest
from streams.evaluation.alert_tallies import AlertTallies
from streams.replay import Replay
from streams.value.day_kpis import day_number
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
    return [day for decision in said for day in machine.follow(decision)]


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


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_whoever_goes_on_from_the_days_told_tells_the_rest_as_they_would_have_been(share: float) -> None:
    """It is given all messages again, from the beginning."""
    whole = told(decisions())
    cut = int(len(whole) * share)
    machine = KpiMachine(StreamConfig(), whole[:cut])
    assert [day for decision in decisions() for day in machine.follow(decision)] == whole[cut:]


def test_scores_that_were_compacted_away_change_no_level_of_the_days_to_come() -> None:
    """Only each customer's newest score of the days told is left, as in a topic that keeps no others."""
    whole = told(decisions())
    cut = len(whole) // 2
    until_ms = day_number(whole[cut].day) * DAY_MS
    newest = {
        d.customer_id: number
        for number, d in enumerate(decisions())
        if isinstance(d.payload, CustomerScore) and epoch_ms(d.payload.event_time) < until_ms
    }
    kept = [
        d
        for number, d in enumerate(decisions())
        if not isinstance(d.payload, CustomerScore)
        or epoch_ms(d.payload.event_time) >= until_ms
        or newest[d.customer_id] == number
    ]
    assert len(kept) < len(decisions())
    machine = KpiMachine(StreamConfig(), whole[:cut])
    for day, full in zip((day for d in kept for day in machine.follow(d)), whole[cut:], strict=True):
        assert (day.segments, day.losses, day.churn, day.active) == (
            full.segments,
            full.losses,
            full.churn,
            full.active,
        )
        assert day.outcomes.alerts == full.outcomes.alerts


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


def test_the_days_count_alerts_and_lead_times_as_the_figures_of_a_replay_do() -> None:
    """Right, wrong and lead time have one meaning: the days of a replay add up to its figures."""
    said, days = decisions(), told(decisions())
    tallies = AlertTallies(days_ms(StreamConfig().reviews.horizon_days))
    for decision in said:
        payload = decision.payload
        if isinstance(payload, ChurnAlert):
            tallies.take(payload)
        elif isinstance(payload, CustomerScore) and payload.cause == "order":
            tallies.ordered(payload.customer_id, epoch_ms(payload.event_time))
    tallies.settle((day_number(days[-1].day) + 1) * DAY_MS - 1)
    figures = tallies.figures(1.0)
    right = sum(day.outcomes.churned for day in days)
    assert (right, sum(day.outcomes.alerts for day in days)) == (
        figures["right"],
        figures["right"] + sum(1 for alert in _raised(said) if _is_wrong(alert, said, days)),
    )
    leads = sum((day.outcomes.lead_days or 0.0) * day.outcomes.churned for day in days)
    assert right > 20
    assert leads / right == pytest.approx(figures["lead_days"]["mean"], abs=1e-3)


def _raised(said: list[Decision]) -> list[ChurnAlert]:
    return [d.payload for d in said if isinstance(d.payload, ChurnAlert) and d.payload.state == "raised"]


def _is_wrong(alert: ChurnAlert, said: list[Decision], days: list[RetentionKpis]) -> bool:
    """Whether an alert whose horizon has ended was followed by an order in it."""
    due = alert.event_time + timedelta(days=alert.horizon_days)
    return due.date() <= days[-1].day and any(
        isinstance(score := d.payload, CustomerScore)
        and (score.customer_id, score.cause) == (alert.customer_id, "order")
        and alert.event_time < score.event_time <= due
        for d in said
    )
