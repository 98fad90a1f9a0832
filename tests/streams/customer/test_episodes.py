"""Alerts of a machine: raised when it becomes true, resolved when it is over, held back with reason."""

from __future__ import annotations

import msgspec
import pytest

from schemas.btyd import BtydParams
from schemas.codec import utc
from schemas.decisions import ChurnAlert, CustomerScore
from schemas.topics import CUSTOMER_SCORES
from streams.config import (
    DAY_MS,
    AlertConfig,
    ReviewConfig,
    StreamConfig,
)
from streams.customer.alerts import SMALLEST_CHANGE, changes_of
from streams.customer.decision import Outcome
from streams.customer.features import FAMILIES, families_of
from streams.learning.served import Served, log_odds_of
from tests.streams.build import (
    MINUTE,
    Shop,
    at,
    cancel,
    click,
    order,
    random_events,
    rich_model,
    snapshot_of,
    with_btyd,
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


@pytest.mark.parametrize("model", [rich_model(), with_btyd(rich_model())])
@pytest.mark.parametrize("seed", range(4))
def test_what_has_changed_is_told_against_the_review_before(model: Served, seed: int) -> None:
    """Every review publishes a score here, so the features of this review and the one before are known."""
    config = StreamConfig(
        reviews=ReviewConfig(publish_risk_change=0.0),
        alerts=AlertConfig(min_orders=1, raise_at=0.5, escalate_at=0.7, resolve_below=0.4),
    )
    shop = Shop(config, model)
    shop.tell(*random_events(seed, customers=4))
    shop.until(400)
    compared = 0
    seen: dict[str, list[float]] = {}  # by family, at the review before
    waiting: dict[str, ChurnAlert] = {}
    for decision in shop.said:
        payload = decision.payload
        if isinstance(payload, ChurnAlert):
            waiting[decision.customer_id] = payload
        elif isinstance(payload, CustomerScore):
            now = families_of(model.contributions(payload.features))
            alert = waiting.pop(decision.customer_id, None)
            before = seen.get(decision.customer_id)
            if alert is not None and before is not None:
                expected = changes_of(before, now)
                told = {change.family: change for change in alert.changed}
                for change in expected:
                    if abs(change.contribution_now - change.contribution_before) > SMALLEST_CHANGE + 0.001:
                        assert told[change.family].contribution_now == change.contribution_now
                        assert told[change.family].contribution_before == pytest.approx(
                            change.contribution_before, abs=1e-3
                        )
                compared += len(expected)
            seen[decision.customer_id] = now
        elif decision.topic == CUSTOMER_SCORES:
            seen.pop(decision.customer_id, None)  # withdrawn
            waiting.pop(decision.customer_id, None)
    assert compared > 10


@pytest.mark.parametrize("model", [rich_model(), with_btyd(rich_model())])
def test_reasons_are_shares_of_the_log_odds_that_was_served(model: Served) -> None:
    """Four families are named; with the intercept and the families that are not, they give the risk."""
    shop = Shop(StreamConfig(alerts=AlertConfig(min_orders=1, raise_at=0.5, resolve_below=0.4)), model)
    shop.tell(*random_events(3, customers=4))
    shop.until(400)
    scores = {(score.customer_id, score.event_time): score for score in shop.scores()}
    alerts = [alert for alert in shop.alerts() if (alert.customer_id, alert.event_time) in scores]
    assert len(alerts) > 5
    for alert in alerts:
        score = scores[alert.customer_id, alert.event_time]
        if score.risk != alert.risk:
            continue  # a second review at the same moment
        shares = dict(zip(FAMILIES, families_of(model.contributions(score.features)), strict=True))
        named = {reason.family: reason.contribution for reason in alert.reasons}
        assert len(named) == len(alert.reasons) == 4
        assert {family: shares[family] for family in named} == named
        rest = sum(share for family, share in shares.items() if family not in named)
        log_odds = alert.intercept + sum(named.values()) + rest
        assert log_odds == pytest.approx(log_odds_of(alert.risk), abs=1e-9)
