"""What a model makes of a customer: risk, value at risk, alert, and the moment of crossing.

A look asks the model once, as of one moment. From it follow the step of the alert episode, the score
and what is said out loud: a score goes out when something in it changed, not at every look, because a
message that repeats the last one teaches its readers to ignore the topic. Contributions are computed
only where an alert needs them or the next one will.
"""

from __future__ import annotations

from librt.vecs import vec

from schemas.codec import utc
from schemas.decisions import ChurnAlert, CustomerScore, Evidence, ReviewCause
from schemas.topics import CHURN_ALERTS, CUSTOMER_SCORES, INPUTS
from streams.config import DAY_MS, MINUTE_MS, StreamConfig, days_ms
from streams.customer.alerts import (
    MIN_SILENCE_MS,
    NO_EPISODE,
    STEPS,
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
from streams.customer.packing import digest, pack_vector, unpack
from streams.customer.rfm import RFM_NAMES
from streams.customer.silence import Silence
from streams.customer.state import NO_TIME, CustomerState, Verdict
from streams.learning.served import Served, log_odds_of, risk_of
from streams.segments.traits import amount_of, shown
from streams.value.clv import historic_value, lifetime_value, valuer_of


class Look:
    """A customer as the model sees them at one moment.

    Attributes
    ----------
    as_of_ms
        The moment.
    values
        Features, in the order of `FEATURES`.
    risk
        P(no order within the horizon).
    predicted_value
        What to expect of the customer over the value horizon, in the shop's currency.
    """

    __slots__ = ("_packed", "as_of_ms", "predicted_value", "risk", "values")

    def __init__(self, as_of_ms: int, values: vec[float], risk: float, predicted_value: float) -> None:
        self.as_of_ms = as_of_ms
        self.values = values
        self.risk = risk
        self.predicted_value = predicted_value
        self._packed = b""

    @property
    def value_at_risk(self) -> float:
        """Risk times predicted value."""
        return self.risk * self.predicted_value

    def packed(self) -> bytes:
        """Freeze the features."""
        if not self._packed:
            self._packed = pack_vector(self.values)
        return self._packed


class Judge:
    """Runs one model over customers.

    Parameters
    ----------
    config
        Thresholds, horizon and value.
    model
        What is served.
    partition, inputs
        Where the customers' records come from, for evidence.
    """

    __slots__ = (
        "_alerts", "_inputs", "_lookahead_ms", "_min_orders", "_partition", "_publish_change", "_raise_at",
        "_raise_at_log_odds", "_silent_ms", "_traits", "_value", "_valuer", "horizon_days", "model",
    )  # fmt: skip

    def __init__(
        self, config: StreamConfig, model: Served, partition: int = 0, inputs: tuple[str, ...] = INPUTS
    ) -> None:
        self._value = config.value
        self._traits = config.segments.traits
        self._alerts = config.alerts
        self.horizon_days = config.reviews.horizon_days
        self._publish_change = config.reviews.publish_risk_change
        self._min_orders = config.alerts.min_orders
        self._raise_at = config.alerts.raise_at
        self._raise_at_log_odds = log_odds_of(config.alerts.raise_at)
        self._lookahead_ms = days_ms(config.alerts.lookahead_days)
        self._silent_ms = days_ms(config.reviews.silent_days)
        self._partition = partition
        self._inputs = inputs
        self.serve(model)

    def serve(self, model: Served) -> None:
        """Serve a model from here on."""
        self.model = model
        self._valuer = valuer_of(self._value, model.snapshot.btyd, model.snapshot.spend)

    def look(self, state: CustomerState, as_of_ms: int) -> Look:
        """Ask the model about a customer with at least one order."""
        values = features(state, as_of_ms)
        return Look(as_of_ms, values, risk_of(self.model.log_odds(values)), self.worth(state, as_of_ms))

    def worth(self, state: CustomerState, as_of_ms: int) -> float:
        """Expect the margin to come from a customer with at least one order who has not left."""
        tenure_ms = as_of_ms - state.first_order_ms
        return self._valuer.predicted(state.orders, state.revenue, state.refunded, tenure_ms)

    def evidence(self, state: CustomerState) -> list[Evidence]:
        """Name the newest record of each input that the state rests on."""
        return [
            Evidence(topic, self._partition, offset)
            for topic, offset in zip(self._inputs, state.applied, strict=True)
            if offset >= 0
        ]

    def decide(
        self,
        customer_id: str,
        state: CustomerState,
        look: Look,
        cause: ReviewCause,
        moved: bool,
        decisions: list[Decision],
    ) -> None:
        """Turn a look into what is said, and remember it in the verdict.

        Parameters
        ----------
        cause
            What led to the look.
        moved
            Whether the customer has just changed segment.
        decisions
            Gets an alert when the episode takes a step, a score when anything in it changed.
        """
        verdict = state.verdict
        alerted = self._alert(customer_id, state, look, self._finding(state, look, cause), decisions)
        verdict.risk = look.risk
        verdict.look_at(look.values)
        verdict.crossing_ms = self._crossing_ms(state, look)
        news = moved or alerted or cause in ("order", "correction", "crossing")
        if news or abs(look.risk - verdict.published) >= self._publish_change:
            verdict.published = look.risk
            score = self._score(customer_id, state, look, cause)
            decisions.append(Decision(CUSTOMER_SCORES, customer_id, score))

    def withdraw(self, customer_id: str, state: CustomerState, decisions: list[Decision]) -> None:
        """End the episode and take back the score of a customer who has no order any more."""
        centre = self.model.centre
        nothing = Look(state.clock_ms, centre, risk_of(self.model.log_odds(centre)), 0.0)
        self._alert(customer_id, state, nothing, Finding.LOW, decisions)
        state.verdict = Verdict()
        decisions.append(Decision(CUSTOMER_SCORES, customer_id, None))

    def _finding(self, state: CustomerState, look: Look, cause: ReviewCause) -> Finding:
        silence_ms = look.as_of_ms - state.order_ms
        if cause == "order" and silence_ms < MIN_SILENCE_MS:  # one that comes a week late is no news
            return Finding.ORDERED
        if silence_ms >= self._silent_ms:
            return Finding.LAPSED
        eligible = may_raise(state.orders, silence_ms, look.value_at_risk, self._alerts)
        return finding_of(look.risk, eligible, self._alerts)

    def _alert(
        self,
        customer_id: str,
        state: CustomerState,
        look: Look,
        finding: Finding,
        decisions: list[Decision],
    ) -> bool:
        """Let the episode take its step; tell whether anything was said."""
        verdict = state.verdict
        step = STEPS[verdict.episode][int(finding)]
        if step.says is None:
            return False
        if verdict.episode == NO_EPISODE:
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
            horizon_days=self.horizon_days,
            predicted_value=look.predicted_value,
            value_at_risk=look.value_at_risk,
            model_version=self.model.model_version,
            intercept=self.model.intercept,
            reasons=reasons_of(list(look.values), contributions),
            changed=changes_of(
                families_of(self.model.contributions(before)) if before else [], families_of(contributions)
            ),
            evidence=self.evidence(state),
        )
        decisions.append(Decision(CHURN_ALERTS, customer_id, alert))
        return True

    def _crossing_ms(self, state: CustomerState, look: Look) -> int:
        """Find when an alert would be raised if the customer stayed silent."""
        if state.verdict.episode != NO_EPISODE or state.orders < self._min_orders:
            return NO_TIME
        if look.risk >= self._raise_at and look.as_of_ms - state.order_ms >= MIN_SILENCE_MS:
            return NO_TIME  # over it already: what held the alert back was not the risk
        from_ms = max(look.as_of_ms + MINUTE_MS, state.order_ms + MIN_SILENCE_MS)
        until_ms = min(look.as_of_ms + self._lookahead_ms, state.order_ms + self._silent_ms)
        if from_ms > until_ms:
            return NO_TIME
        silence = Silence(state, self.model, look.values, self._raise_at_log_odds)
        return crossing_ms(silence, from_ms, until_ms, state.order_ms)

    def _score(self, customer_id: str, state: CustomerState, look: Look, cause: ReviewCause) -> CustomerScore:
        crossing = state.verdict.crossing_ms
        values = list(look.values)
        traits = state.traits
        historic = historic_value(state.revenue, state.refunded)
        recency_ms, tenure_ms = state.order_ms - state.first_order_ms, look.as_of_ms - state.first_order_ms
        lifetime = lifetime_value(
            historic,
            look.predicted_value,
            self._valuer.prob_alive(state.orders, recency_ms, tenure_ms),
            self._value,
            None if traits is None else amount_of(traits, self._value.acquisition_cost_trait),
        )
        return CustomerScore(
            customer_id=customer_id,
            event_time=utc(look.as_of_ms),
            cause=cause,
            risk=look.risk,
            band=band_of(look.risk),
            horizon_days=self.horizon_days,
            crosses_at=utc(crossing) if crossing else None,
            rfm=RFM_NAMES[state.rfm],
            lifecycle=LIFECYCLE_NAMES[state.lifecycle],
            orders=state.orders,
            time_since_last_order_days=(look.as_of_ms - state.order_ms) / DAY_MS,
            historic_value=historic,
            predicted_value=look.predicted_value,
            value_at_risk=look.value_at_risk,
            model_version=self.model.model_version,
            features=values,
            lifetime_value=lifetime,
            cluster=self.model.clusters.nearest(values),
            traits={} if traits is None else shown(traits, self._traits),
        )
