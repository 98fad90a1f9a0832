"""Alerts of a machine: raised when it becomes true, resolved when it is over, held back with reason."""

from __future__ import annotations

import msgspec
import pytest

from schemas.btyd import BtydParams
from schemas.codec import utc
from streams.config import (
    DAY_MS,
    AlertConfig,
    StreamConfig,
)
from streams.customer.decision import Outcome
from streams.learning.served import Served, log_odds_of
from tests.streams.build import (
    MINUTE,
    Shop,
    at,
    cancel,
    click,
    order,
    snapshot_of,
)


def test_an_alert_is_raised_at_the_moment_of_crossing_which_the_score_had_named() -> None:
    """Risk .8 is log-odds ln 4: reached at log1p(days) = (3 + ln 4) / 2."""
    shop = Shop()
    shop.tell(order("c", 0), order("c", 1))
    crosses_at = shop.scores()[-1].crosses_at
    assert crosses_at is not None
    days = (crosses_at - utc(at(1))).total_seconds() * 1000 / DAY_MS
    assert days == pytest.approx(7.96358, abs=2 * MINUTE)
    shop.until_ms(at(1) + int(days * DAY_MS) - 60_000)
    assert shop.alerts() == []
    named = shop.scores()[-1].crosses_at
    shop.until(9)
    (alert,) = shop.alerts()
    assert (alert.state, alert.cause, alert.event_time) == ("raised", "risk", named)
    assert alert.risk == pytest.approx(0.8, abs=1e-4)
    assert alert.risk >= 0.8
    assert alert.episode_started_at == alert.event_time
    assert alert.value_at_risk == alert.risk * alert.predicted_value
    assert shop.scores()[-1].cause == "crossing"
    assert shop.scores()[-1].crosses_at is None
    assert [reason.feature for reason in alert.reasons] == ["log_silence"]
    assert [(e.topic, e.offset) for e in alert.evidence] == [("orders", 1)]
    assert shop.machine.states["c"].clock_ms == at(8), "of the weekly review: a model moves no fact"


def test_an_order_resolves_the_episode_and_a_later_silence_begins_another() -> None:
    shop = Shop()
    shop.tell(order("c", 0), order("c", 1))
    shop.until(20)
    shop.tell(order("c", 20.5))
    shop.until(60)
    said = [(alert.state, alert.cause) for alert in shop.alerts()]
    assert said == [
        ("raised", "risk"),
        ("escalated", "risk"),
        ("resolved", "ordered"),
        ("raised", "risk"),
        ("escalated", "risk"),
    ]
    episodes = [alert.episode for alert in shop.alerts()]
    assert len(set(episodes[:3])) == len(set(episodes[3:])) == 1
    assert episodes[0] != episodes[3]
    assert len({alert.id for alert in shop.alerts()}) == 5
    assert shop.alerts()[2].event_time == utc(at(20.5))


def test_an_episode_lapses_when_reviews_end() -> None:
    shop = Shop()
    shop.tell(order("c", 0), order("c", 1))
    shop.until(1000)
    last = shop.alerts()[-1]
    assert (last.state, last.cause, last.event_time) == ("resolved", "lapsed", utc(at(366)))
    assert shop.scores()[-1].event_time == utc(at(366))


def test_an_episode_ends_when_the_risk_falls() -> None:
    """Clicks bring this model's risk down; the review at the end of the session sees it."""
    model = Served(snapshot_of(-3.0, {"log_silence": 2.0, "log_views": -3.0}))
    shop = Shop(model=model)
    shop.tell(order("c", 0), order("c", 1))
    shop.until(10)
    shop.tell(*(click("c", 10.5 + number * MINUTE) for number in range(5)))
    shop.until(11)
    assert [(a.state, a.cause) for a in shop.alerts()] == [("raised", "risk"), ("resolved", "risk_fell")]
    assert {change.family for change in shop.alerts()[-1].changed} >= {"browsing"}


def test_nobody_is_alerted_about_without_a_habit_a_silence_or_a_value() -> None:
    one_order, poor, fresh = Shop(), Shop(StreamConfig(alerts=AlertConfig(min_value=1e6))), Shop()
    one_order.tell(order("c", 0))
    poor.tell(order("c", 0), order("c", 1))
    fresh.machine.adopt(Served(snapshot_of(5.0)))
    fresh.tell(order("c", 0), order("c", 1))
    fresh.until_ms(at(8) - 1)
    for shop in (one_order, poor):
        shop.until(1000)
        assert shop.alerts() == []
    assert fresh.alerts() == []
    fresh.until(8)
    assert [alert.event_time for alert in fresh.alerts()] == [utc(at(8))], "a week after the order"


def test_what_is_held_back_for_its_value_does_not_keep_the_machine_busy() -> None:
    """The risk is over the threshold for a year: the crossing may not be sought again each minute."""
    shop = Shop(StreamConfig(alerts=AlertConfig(min_value=1e6)))
    shop.tell(order("c", 0), order("c", 1))
    shop.until(366)
    crossings = [score for score in shop.scores() if score.cause == "crossing"]
    assert len(crossings) == 1


def test_a_threshold_at_the_highest_risk_served_is_reached() -> None:
    alerts = AlertConfig(raise_at=0.999, escalate_at=0.999)
    shop = Shop(StreamConfig(alerts=alerts), Served(snapshot_of(-3.0, {"log_silence": 3.0})))
    shop.tell(order("c", 0), order("c", 1))
    shop.until(100)
    assert [alert.state for alert in shop.alerts()] == ["raised", "escalated"]
    assert len([score for score in shop.scores() if score.cause == "crossing"]) == 1


def test_an_order_that_comes_weeks_late_ends_no_episode() -> None:
    """The customer has still been silent since: it is the risk that decides."""
    shop = Shop()
    shop.tell(order("c", 0), order("c", 1))
    shop.until(40)
    assert shop.tell(order("c", 0.5)) == [Outcome.LATE]
    assert [alert.state for alert in shop.alerts()] == ["raised", "escalated"]


def test_an_order_from_just_before_the_alert_that_comes_late_resolves_it_and_time_does_not_go_back() -> None:
    shop = Shop()
    shop.tell(order("c", 0), order("c", 1))
    shop.until(9)
    (raised,) = shop.alerts()
    assert shop.tell(order("c", 8.9)) == [Outcome.LATE]
    resolved = shop.alerts()[-1]
    assert (resolved.state, resolved.cause, resolved.episode) == ("resolved", "ordered", raised.episode)
    assert resolved.event_time >= resolved.episode_started_at


def test_what_ends_an_episode_of_a_customer_without_orders_adds_up_to_its_risk() -> None:
    """BG/NBD's term is part of the sum there too."""
    base = snapshot_of(-3.0, {"log_silence": 2.0})
    btyd = BtydParams(model="bgnbd", r=0.25, alpha=30.0, a=0.8, b=2.4)
    model = Served(msgspec.structs.replace(base, btyd=btyd, btyd_centre=0.2, btyd_coefficient=0.4))
    shop = Shop(StreamConfig(alerts=AlertConfig(min_orders=1)), model)
    shop.tell(order("c", 0, name="a"))
    shop.until(30)
    shop.tell(cancel("c", 31, "a"))
    alert = shop.alerts()[-1]
    assert alert.state == "resolved"
    assert alert.reasons, "the term is not nothing"
    log_odds = alert.intercept + sum(reason.contribution for reason in alert.reasons)
    assert log_odds_of(alert.risk) == pytest.approx(log_odds)
