"""What is said about a customer agrees with what the machine said."""

from __future__ import annotations

import msgspec
import pytest

from agents.console import telling
from agents.console.queries import AlertQuery, CustomerQuery
from schemas.btyd import BtydParams, SpendParams
from schemas.codec import encode, epoch_ms
from schemas.decisions import ChurnAlert, CustomerScore
from schemas.topics import CHURN_ALERTS, CUSTOMER_SCORES, MODELS
from streams.config import DAY_MS, AlertConfig
from streams.customer.outlook import in_silence
from streams.learning.served import Served, btyd_log_odds, risk_of
from tests.console.feeding import Message, decoded, said, view_of
from tests.streams.build import rich_model

SHOP = telling.Shop(raise_at=AlertConfig().raise_at, currency="$")


def test_risk_and_reasons_are_recomputed_to_the_machines_own() -> None:
    """After every message: what the page says of a customer is what the machine said of them."""
    compared = 0
    view = view_of([])
    for message in said():
        view.take(*message)
        alert = view.open.get(message.key.decode())
        if message.topic != CUSTOMER_SCORES or alert is None:
            continue
        told = telling.customer(view, alert.customer_id, SHOP)
        assert told is not None
        if told.event_time != alert.event_time:
            continue
        compared += 1
        assert told.outlook[0].risk == pytest.approx(told.risk)
        assert [(why.feature, why.contribution) for why in told.reasons] == [
            (reason.feature, reason.contribution) for reason in alert.reasons
        ]
    assert compared > 3


def test_the_outlook_reaches_the_threshold_when_the_score_says() -> None:
    crossing = [s for s in decoded(said(), CUSTOMER_SCORES, CustomerScore) if s.crosses_at is not None]
    served = view_of(said()).models.served("rich")
    assert served is not None
    assert len(crossing) > 20
    for score in crossing:
        ahead_days = (epoch_ms(score.crosses_at) - epoch_ms(score.event_time)) / DAY_MS
        assert served.risk(in_silence(score.features, ahead_days)) == pytest.approx(SHOP.raise_at, abs=2e-3)


def test_an_order_lowers_the_risk_and_silence_raises_it() -> None:
    view = view_of(said())
    told = telling.customer(view, "c1", SHOP)
    assert told is not None
    risks = {one.what: one.risk for one in told.what_if}
    assert risks["order"] < told.risk <= risks["silence"]
    assert told.explained_by == "rich"


def test_a_score_without_its_model_is_told_without_reasons() -> None:
    told = telling.customer(view_of([m for m in said() if m.topic == CUSTOMER_SCORES]), "c1", SHOP)
    assert told is not None
    assert (told.reasons, told.words, told.what_if, told.outlook, told.explained_by) == ([], [], [], [], None)


@pytest.mark.parametrize(
    "query",
    [
        AlertQuery(),
        AlertQuery(state="resolved"),
        AlertQuery(band="high", min_value=20.0),
        AlertQuery(q="C1", sort="money"),
        AlertQuery(since=decoded(said(), CHURN_ALERTS, ChurnAlert)[20].event_time, limit=3),
    ],
    ids=lambda query: str(query.sort) + str(query.q),
)
def test_filters_agree_with_a_slow_one(query: AlertQuery) -> None:
    every = decoded(said(), CHURN_ALERTS, ChurnAlert)
    expected = []
    for alert in every:
        if query.state and alert.state != query.state:
            continue
        if query.band and alert.band != query.band:
            continue
        if query.since and alert.event_time < query.since:
            continue
        if alert.value_at_risk >= query.min_value and query.q.lower() in alert.customer_id.lower():
            expected.append(alert)
    by_money = query.sort == "money"
    expected.sort(key=lambda a: (a.value_at_risk if by_money else epoch_ms(a.event_time), a.id), reverse=True)
    found = telling.alerts(view_of(said()), query, SHOP)
    assert [alert.id for alert in found.alerts] == [alert.id for alert in expected][: query.limit]
    assert found.matching == len(expected) > 0


def test_open_alerts_and_their_money_add_up() -> None:
    found = telling.alerts(view_of(said()), AlertQuery(open=True, limit=500), SHOP)
    assert all(alert.open for alert in found.alerts)
    assert found.money_at_risk == pytest.approx(sum(alert.value_at_risk for alert in found.alerts))
    assert found.open_alerts == len(found.alerts) > 0


def test_a_customer_is_found_by_a_part_of_the_id_the_whole_id_first() -> None:
    found = telling.customers(view_of(said()), CustomerQuery(q="C1"))
    names = [one.customer_id for one in found.customers]
    assert names[0] == "c1"
    assert set(names) == {"c1", "c10", "c11"}
    assert found.kept == 12
    limited = telling.customers(view_of(said()), CustomerQuery(q="c1", limit=2))
    assert (len(limited.customers), limited.matching) == (2, 3)


def test_the_timeline_tells_each_order_with_what_it_was_worth() -> None:
    view = view_of(said())
    told = telling.customer(view, "c2", SHOP)
    assert told is not None
    orders = [entry.words for entry in told.timeline if entry.kind == "order"]
    assert len(orders) >= 2
    assert all(f", for ${0}"[:7] in words or "spent so far" in words for words in orders)
    times = [entry.event_time for entry in told.timeline]
    assert times == sorted(times)
    assert {entry.kind for entry in told.timeline} >= {"order", "segment", "look"}


def test_whoever_adds_the_models_terms_up_gets_the_risk_that_is_served() -> None:
    """With the term of BG/NBD, which is none of the features."""
    when = BtydParams(model="bgnbd", r=0.25, alpha=30.0, a=0.8, b=2.4)
    spend = SpendParams(p=6.25, q=3.75, gamma=15.4)
    rich = rich_model().snapshot
    fitted = msgspec.structs.replace(
        rich,
        model_version="fitted",
        n_learned=rich.n_learned + 1,
        btyd=when,
        btyd_centre=0.4,
        btyd_coefficient=0.7,
        spend=spend,
    )
    view = view_of([Message(MODELS, b"fitted", encode(fitted))])
    told = telling.model(view)
    assert told.btyd is not None
    assert (told.btyd.when, told.btyd.spend) == (when, spend)
    assert told.btyd.orders_a_year == pytest.approx(3.0417, abs=1e-4)
    assert told.btyd.leaving_share == 0.25
    score = decoded(said(), CUSTOMER_SCORES, CustomerScore)[-1]
    terms = [w.coefficient * (v - w.centre) for w, v in zip(told.weights, score.features, strict=True)]
    odds = btyd_log_odds(told.btyd.when, score.features, told.horizon_days or 0.0)
    terms.append(told.btyd.coefficient * (odds - told.btyd.centre))
    assert told.intercept is not None
    assert risk_of(told.intercept + sum(terms)) == pytest.approx(Served(fitted).risk(score.features))


def test_a_model_without_a_fit_has_no_such_term() -> None:
    assert telling.model(view_of(said())).btyd is None
