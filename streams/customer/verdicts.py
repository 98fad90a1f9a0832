"""What a model makes of a customer: risk, value at risk, alert, and the moment of crossing.

A look asks the model once, as of one moment. From it follow the step of the alert episode, the score
and what is said out loud: a score goes out when something in it changed, not at every look, because a
message that repeats the last one teaches its readers to ignore the topic. Contributions are computed
only where an alert needs them or the next one will.
"""

from __future__ import annotations

from typing import NamedTuple

from schemas.codec import utc
from schemas.decisions import ChurnAlert, CustomerScore, Evidence, ReviewCause
from schemas.topics import CHURN_ALERTS, CUSTOMER_SCORES
from streams.config import DAY_MS, MINUTE_MS, StreamConfig, days_ms
from streams.customer.alerts import (
    MIN_SILENCE_MS,
    TABLE,
    Episode,
    Finding,
    band_of,
    changes_of,
    episode_id,
    finding_of,
    may_raise,
    reasons_of,
)
from streams.customer.crossing import crossing_ms
from streams.customer.decision import Decision
from streams.customer.features import families_of, features
from streams.customer.lifecycle import LIFECYCLE_NAMES
from streams.customer.rfm import RFM_NAMES
from streams.customer.state import NO_TIME, CustomerState, Verdict, digest, pack, unpack
from streams.learning.served import Served, log_odds_of, risk_of
from streams.value.clv import historic_value, predicted_value


class Look(NamedTuple):
    """A customer as the model sees them at one moment."""

    as_of_ms: int
    values: list[float]
    risk: float
    predicted_value: float

    @property
    def value_at_risk(self) -> float:
        """Risk times predicted value."""
        return self.risk * self.predicted_value

    def packed(self) -> bytes:
        """Freeze the features."""
        return pack(self.values)


class Judge:
    """Runs one model over customers.

    Parameters
    ----------
    config
        Thresholds, horizon and value.
    model
        What is served.
    """

    __slots__ = ("_lookahead_ms", "_raise_at_log_odds", "_silent_ms", "config", "model")

    def __init__(self, config: StreamConfig, model: Served) -> None:
        self.config = config
        self.model = model
        self._raise_at_log_odds = log_odds_of(config.alerts.raise_at)
        self._lookahead_ms = days_ms(config.alerts.lookahead_days)
        self._silent_ms = days_ms(config.reviews.silent_days)

    def look(self, state: CustomerState, as_of_ms: int) -> Look:
        """Ask the model about a customer with at least one order."""
        values = features(state, as_of_ms)
        worth = predicted_value(
            state.orders, state.revenue, state.refunded, as_of_ms - state.first_order_ms, self.config.value
        )
        return Look(as_of_ms, values, self.model.risk(values), worth)

    def decide(
        self,
        customer_id: str,
        state: CustomerState,
        look: Look,
        cause: ReviewCause,
        moved: bool,
        evidence: list[Evidence],
    ) -> list[Decision]:
        """Turn a look into what is said, and remember it in the verdict.

        Parameters
        ----------
        cause
            What led to the look.
        moved
            Whether the customer has just changed segment.
        evidence
            The records that the look rests on.

        Returns
        -------
        list of Decision
            An alert when the episode takes a step, a score when anything in it changed.
        """
        verdict = state.verdict
        decisions = self._alert(customer_id, state, look, self._finding(state, look, cause), evidence)
        verdict.risk = look.risk
        verdict.values = look.packed()
        verdict.crossing_ms = self._crossing_ms(state, look)
        news = moved or bool(decisions) or cause in ("order", "correction", "crossing")
        if news or abs(look.risk - verdict.published) >= self.config.reviews.publish_risk_change:
            verdict.published = look.risk
            score = self._score(customer_id, state, look, cause)
            decisions.append(Decision(CUSTOMER_SCORES, customer_id, score))
        return decisions

    def withdraw(self, customer_id: str, state: CustomerState, evidence: list[Evidence]) -> list[Decision]:
        """End the episode and take back the score of a customer who has no order any more."""
        nothing = Look(state.clock_ms, list(self.model.snapshot.centre), risk_of(self.model.intercept), 0.0)
        decisions = self._alert(customer_id, state, nothing, Finding.LOW, evidence)
        state.verdict = Verdict()
        return [*decisions, Decision(CUSTOMER_SCORES, customer_id, None)]

    def _finding(self, state: CustomerState, look: Look, cause: ReviewCause) -> Finding:
        silence_ms = look.as_of_ms - state.order_ms
        if cause == "order" and silence_ms < MIN_SILENCE_MS:  # one that comes a week late is no news
            return Finding.ORDERED
        if silence_ms >= self._silent_ms:
            return Finding.LAPSED
        alerts = self.config.alerts
        eligible = may_raise(state.orders, silence_ms, look.value_at_risk, alerts)
        return finding_of(look.risk, eligible, alerts)

    def _alert(
        self,
        customer_id: str,
        state: CustomerState,
        look: Look,
        finding: Finding,
        evidence: list[Evidence],
    ) -> list[Decision]:
        verdict = state.verdict
        step = TABLE[Episode(verdict.episode), finding]
        if step.says is None:
            return []
        if verdict.episode == Episode.NONE:
            verdict.episode_ms = look.as_of_ms
        verdict.episode = int(step.to)
        contributions = self.model.contributions(look.values)
        before = unpack(verdict.values)
        episode = episode_id(customer_id, verdict.episode_ms)
        alert = ChurnAlert(
            id=digest(f"{episode}/{step.says}").hex(),
            episode=episode,
            state=step.says,
            cause=step.cause,
            customer_id=customer_id,
            # A late record may look back past the crossing at which the episode was raised.
            event_time=utc(max(look.as_of_ms, verdict.episode_ms)),
            episode_started_at=utc(verdict.episode_ms),
            risk=look.risk,
            band=band_of(look.risk),
            horizon_days=self.config.reviews.horizon_days,
            predicted_value=look.predicted_value,
            value_at_risk=look.value_at_risk,
            model_version=self.model.model_version,
            intercept=self.model.intercept,
            reasons=reasons_of(look.values, contributions),
            changed=changes_of(
                families_of(self.model.contributions(before)) if before else [], families_of(contributions)
            ),
            evidence=evidence,
        )
        return [Decision(CHURN_ALERTS, customer_id, alert)]

    def _crossing_ms(self, state: CustomerState, look: Look) -> int:
        """Find when an alert would be raised if the customer stayed silent."""
        alerts = self.config.alerts
        if state.verdict.episode != Episode.NONE or state.orders < alerts.min_orders:
            return NO_TIME
        if look.risk >= alerts.raise_at and look.as_of_ms - state.order_ms >= MIN_SILENCE_MS:
            return NO_TIME  # over it already: what held the alert back was not the risk
        from_ms = max(look.as_of_ms + MINUTE_MS, state.order_ms + MIN_SILENCE_MS)
        until_ms = min(look.as_of_ms + self._lookahead_ms, state.order_ms + self._silent_ms)
        if from_ms > until_ms:
            return NO_TIME

        def excess_at(time_ms: int) -> float:
            return self.model.log_odds(features(state, time_ms)) - self._raise_at_log_odds

        return crossing_ms(excess_at, from_ms, until_ms, since_ms=state.order_ms)

    def _score(self, customer_id: str, state: CustomerState, look: Look, cause: ReviewCause) -> CustomerScore:
        crossing = state.verdict.crossing_ms
        return CustomerScore(
            customer_id=customer_id,
            event_time=utc(look.as_of_ms),
            cause=cause,
            risk=look.risk,
            band=band_of(look.risk),
            horizon_days=self.config.reviews.horizon_days,
            crosses_at=utc(crossing) if crossing else None,
            rfm=RFM_NAMES[state.rfm],
            lifecycle=LIFECYCLE_NAMES[state.lifecycle],
            orders=state.orders,
            time_since_last_order_days=(look.as_of_ms - state.order_ms) / DAY_MS,
            historic_value=historic_value(state.revenue, state.refunded),
            predicted_value=look.predicted_value,
            value_at_risk=look.value_at_risk,
            model_version=self.model.model_version,
            features=look.values,
        )
