"""From the view to answers: what is said about an alert, a customer, the segments, the model.

An answer says why in plain words and shows the numbers behind them. Reasons of an alert are its own. Those of
a customer, the outlook in silence and what an order or a visit would change are computed from the features
that the score carries and the model that it names, so they are exact and need no state (see
`streams.customer.outlook`).
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

from agents.console import answers
from agents.console.queries import AlertQuery, CustomerQuery
from agents.console.timeline import told
from agents.console.view import Customer, Point, View
from agents.explanations import Rhythm, rhythm_at, rhythm_of, why, why_alert
from agents.wording import name_in_words, phrase
from schemas.codec import epoch_ms, utc
from schemas.decisions import ChurnAlert, CustomerScore, Reason
from schemas.learning import ModelSnapshot
from streams.config import DAY_MS
from streams.customer.alerts import reasons_of
from streams.customer.features import FEATURE_NAMES, FEATURES
from streams.customer.lifecycle import LIFECYCLE_NAMES
from streams.customer.outlook import after_order, after_visit, in_silence
from streams.customer.rfm import RFM_NAMES
from streams.learning.served import Served

_ABOUT = {feature.name: feature.about for feature in FEATURES}
_OUTLOOK_STEPS = 30
_QUIET_DAYS = 30.0
_QUALITY_POINTS = 120
_MOST_FLOWS = 20


class Shop(NamedTuple):
    """What the settings say that an answer needs.

    Attributes
    ----------
    raise_at
        The risk at which an alert is raised.
    lookahead_days
        How far the outlook goes.
    value_days
        How far the predicted value reaches.
    currency
        Written before amounts.
    """

    raise_at: float = 0.8
    lookahead_days: float = 90.0
    value_days: float = 365.0
    currency: str = ""


# Alerts


def alerts(view: View, query: AlertQuery, shop: Shop) -> answers.Alerts:
    """Give the alerts that match."""
    every: Iterable[ChurnAlert] = view.open.values() if query.open else view.alerts.values()
    found = [alert for alert in every if _matches(view, alert, query)]
    best = heapq.nlargest(query.limit, found, key=_by_money if query.sort == "money" else _by_time)
    return answers.Alerts(
        alerts=[alert_of(view, alert) for alert in best],
        matching=len(found),
        open_alerts=len(view.open),
        money_at_risk=sum(alert.value_at_risk for alert in view.open.values()),
        currency=shop.currency,
    )


def _by_time(alert: ChurnAlert) -> tuple[int, str]:
    return epoch_ms(alert.event_time), alert.id


def _by_money(alert: ChurnAlert) -> tuple[float, str]:
    return alert.value_at_risk, alert.id


def _matches(view: View, alert: ChurnAlert, query: AlertQuery) -> bool:
    return (
        (query.state is None or alert.state == query.state)
        and (query.band is None or alert.band == query.band)
        and alert.value_at_risk >= query.min_value
        and (query.since is None or alert.event_time >= query.since)
        and (not query.rfm or _rfm(view, alert) == query.rfm)
        and query.q.casefold() in alert.customer_id.casefold()
    )


def _rfm(view: View, alert: ChurnAlert) -> str | None:
    customer = view.customers.get(alert.customer_id)
    return (customer.rfm or None) if customer else None


def _rhythm(view: View, alert: ChurnAlert) -> Rhythm | None:
    customer = view.customers.get(alert.customer_id)
    return rhythm_at(alert, customer.latest()) if customer and alert.state != "resolved" else None


def alert_of(view: View, alert: ChurnAlert) -> answers.Alert:
    """Tell an alert."""
    now = view.open.get(alert.customer_id)
    return answers.Alert(
        id=alert.id,
        episode=alert.episode,
        state=alert.state,
        cause=alert.cause,
        open=now is not None and now.id == alert.id,
        customer_id=alert.customer_id,
        event_time=alert.event_time,
        episode_started_at=alert.episode_started_at,
        risk=alert.risk,
        band=alert.band,
        horizon_days=alert.horizon_days,
        predicted_value=alert.predicted_value,
        value_at_risk=alert.value_at_risk,
        model_version=alert.model_version,
        rfm=_rfm(view, alert),
        words=why_alert(alert, _rhythm(view, alert)),
        reasons=list(_reasons(alert.reasons)),
    )


def _reasons(reasons: Iterable[Reason]) -> Iterator[answers.Why]:
    for reason in reasons:
        yield answers.Why(
            feature=reason.feature,
            family=reason.family,
            value=reason.value,
            contribution=reason.contribution,
            words=phrase(reason.feature, reason.value),
        )


# Customers


def customers(view: View, query: CustomerQuery) -> answers.Customers:
    """Find customers by a part of their id: the whole id first, then beginnings; the riskiest first."""
    wanted = query.q.casefold()
    found = [
        (customer_id, kept)
        for customer_id, kept in view.customers.items()
        if kept.score is not None and wanted in customer_id.casefold()
    ]

    def rank(entry: tuple[str, Customer]) -> tuple[int, float, str]:
        own = entry[0].casefold()
        return (0 if own == wanted else 1 if own.startswith(wanted) else 2), -entry[1].risk, entry[0]

    best = heapq.nsmallest(query.limit, found, key=rank)
    return answers.Customers(
        customers=[_found(score) for _, kept in best if (score := kept.latest()) is not None],
        matching=len(found),
        kept=len(view.customers),
    )


def _found(score: CustomerScore) -> answers.Found:
    return answers.Found(
        customer_id=score.customer_id,
        event_time=score.event_time,
        risk=score.risk,
        band=score.band,
        rfm=score.rfm,
        lifecycle=score.lifecycle,
        predicted_value=score.predicted_value,
        value_at_risk=score.value_at_risk,
    )


def customer(view: View, customer_id: str, shop: Shop) -> answers.Customer | None:
    """Tell all there is to say about a customer; None when there is no score."""
    kept = view.customers.get(customer_id)
    score = kept.latest() if kept else None
    if kept is None or score is None:
        return None
    served = view.models.served(score.model_version)
    if len(score.features) != len(FEATURE_NAMES):
        served = None
    reasons = reasons_of(score.features, served.contributions(score.features)) if served else []
    alert = view.open.get(customer_id)
    return answers.Customer(
        customer_id=customer_id,
        event_time=score.event_time,
        cause=score.cause,
        risk=score.risk,
        band=score.band,
        horizon_days=score.horizon_days,
        alert_threshold=shop.raise_at,
        crosses_at=score.crosses_at,
        rfm=score.rfm,
        lifecycle=score.lifecycle,
        orders=score.orders,
        time_since_last_order_days=score.time_since_last_order_days,
        historic_value=score.historic_value,
        predicted_value=score.predicted_value,
        value_horizon_days=shop.value_days,
        value_at_risk=score.value_at_risk,
        currency=shop.currency,
        model_version=score.model_version,
        explained_by=served.model_version if served else None,
        words=why(reasons, served.intercept, score.horizon_days, rhythm_of(score.features)) if served else [],
        reasons=list(_reasons(reasons)),
        what_if=list(_what_if(score, served)) if served else [],
        alert=alert_of(view, alert) if alert else None,
        history=[
            answers.RiskAt(event_time=utc(moment.time_ms), risk=moment.risk, cause=moment.cause)  # type: ignore[arg-type]
            for moment in kept.history
            if isinstance(moment, Point)
        ],
        outlook=_outlook(score, served, shop) if served else [],
        timeline=told(kept.history, shop.currency),
    )


_POSSIBLE: tuple[tuple[str, str, Callable[[list[float]], list[float]]], ...] = (
    ("order", "one more order of the usual size", after_order),
    ("visit", "a visit that puts something into the cart", after_visit),
    (
        "silence",
        f"{_QUIET_DAYS:g} more days without a word",
        lambda values: in_silence(values, _QUIET_DAYS),
    ),
)


def _what_if(score: CustomerScore, served: Served) -> Iterator[answers.WhatIf]:
    for what, words, then in _POSSIBLE:
        yield answers.WhatIf(
            what=what,  # type: ignore[arg-type]
            words=words,
            risk=served.risk(then(score.features)),
        )


def _outlook(score: CustomerScore, served: Served, shop: Shop) -> list[answers.RiskThen]:
    from_ms = epoch_ms(score.event_time)
    return [
        answers.RiskThen(
            event_time=utc(from_ms + round(ahead * DAY_MS)),
            risk=served.risk(in_silence(score.features, ahead)),
        )
        for ahead in (shop.lookahead_days * step / _OUTLOOK_STEPS for step in range(_OUTLOOK_STEPS + 1))
    ]


# Segments and model


def segments(view: View) -> answers.Segments:
    """Tell how many customers are where, and how they move; the best segment first."""
    return answers.Segments(
        customers=sum(view.sizes["rfm", name] for name in RFM_NAMES),
        dropped_customers=view.dropped_customers,
        rfm=[_size(view, "rfm", name) for name in reversed(RFM_NAMES)],
        lifecycle=[_size(view, "lifecycle", name) for name in LIFECYCLE_NAMES],
        flows=[
            answers.Flow(
                dimension=dimension,  # type: ignore[arg-type]
                previous=previous,
                current=current,
                words=f"{name_in_words(previous)} → {name_in_words(current)}",
                moves=moves,
            )
            for (dimension, previous, current), moves in heapq.nsmallest(
                _MOST_FLOWS,
                ((flow, moves) for flow, moves in view.flows.items() if flow[1] is not None),
                key=lambda entry: (-entry[1], entry[0][0], str(entry[0][1]), entry[0][2]),
            )
        ],
    )


def _size(view: View, dimension: str, name: str) -> answers.Size:
    return answers.Size(name=name, words=name_in_words(name), customers=view.sizes[dimension, name])


def model(view: View) -> answers.Model:
    """Tell what the newest model is and how good what was served has been."""
    latest = view.models.latest
    if latest is None:
        return answers.Model(
            model_version=None,
            event_time=None,
            horizon_days=None,
            quality=None,
            champion=None,
            history=[],
            intercept=None,
            weights=[],
            btyd=None,
        )
    history = view.models.quality(_QUALITY_POINTS)
    return answers.Model(
        model_version=latest.model_version,
        event_time=latest.event_time,
        horizon_days=latest.horizon_days,
        quality=history[-1],
        champion=latest.champion,
        history=history,
        intercept=latest.intercept,
        weights=[
            answers.Weight(
                feature=feature, about=_ABOUT.get(feature, feature), coefficient=coefficient, centre=centre
            )
            for feature, coefficient, centre in zip(
                latest.features, latest.coefficient, latest.centre, strict=True
            )
        ],
        btyd=_btyd(latest),
    )


def _btyd(model: ModelSnapshot) -> answers.BtydTerm | None:
    when = model.btyd
    if when is None:
        return None
    return answers.BtydTerm(
        about=f"BG/NBD: log-odds of no order within {model.horizon_days:g} days",
        coefficient=model.btyd_coefficient,
        centre=model.btyd_centre,
        when=when,
        spend=model.spend,
        orders_a_year=365.0 * when.r / when.alpha,
        leaving_share=when.a / (when.a + when.b),
    )
