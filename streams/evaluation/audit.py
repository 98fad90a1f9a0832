"""Whether published alerts follow from the log and the models that they name.

The facts about a customer follow from the customer's records and time alone, whatever model is served. So the
log is read by the machine that runs live, with a judge that decides nothing: it wakes at each moment at which
an alert was published, as the search for a crossing would have, asks the model that the alert names, and
compares. What needs the models that were served in between is not compared: `changed`, and whether an alert
is missing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from librt.vecs import vec

from schemas.codec import epoch_ms
from schemas.decisions import ChurnAlert, ReviewCause
from schemas.learning import ModelSnapshot
from streams.config import StreamConfig
from streams.customer.alerts import TABLE, Episode, Finding, band_of, reasons_of
from streams.customer.decision import Decision
from streams.customer.state import NO_TIME, CustomerState, Verdict
from streams.customer.verdicts import Judge, Look
from streams.learning.served import Served, untrained

_AFTER: dict[str, Episode] = {
    "raised": Episode.RAISED,
    "escalated": Episode.ESCALATED,
    "resolved": Episode.NONE,
}


class Difference(NamedTuple):
    """A published alert that does not follow, and in what."""

    alert: ChurnAlert
    what: str


class Auditor(Judge):
    """A judge that recomputes what was published; set it as `judge` of a machine, then read the log.

    Memory grows with the alerts and the models.

    Parameters
    ----------
    config
        Of the worker or replay that published.
    models
        Snapshots by version; the untrained one is known.
    published
        Alerts, in any order.
    """

    __slots__ = ("_models", "_seen", "_waiting", "confirmed", "differences")

    def __init__(
        self, config: StreamConfig, models: Mapping[str, ModelSnapshot], published: Iterable[ChurnAlert]
    ) -> None:
        first = untrained(config)
        super().__init__(config, Served(first))
        self._models = {
            name: Served(model) for name, model in ({first.model_version: first} | dict(models)).items()
        }
        self._waiting: dict[str, list[ChurnAlert]] = {}
        for alert in {alert.id: alert for alert in published}.values():  # a repeat has the same id
            self._waiting.setdefault(alert.customer_id, []).append(alert)
        for alerts in self._waiting.values():
            alerts.sort(key=lambda alert: alert.event_time, reverse=True)
        self._seen: dict[str, str] = {}
        self.confirmed = 0
        self.differences: list[Difference] = []

    def decide(
        self,
        customer_id: str,
        state: CustomerState,
        look: Look,
        cause: ReviewCause,
        moved: bool,  # noqa: ARG002 - a judge's signature
        decisions: list[Decision],  # noqa: ARG002 - as above
    ) -> None:
        """Compare what was published at this moment, and wake at the next; nothing is said."""
        self._compare(customer_id, state, look, cause)
        state.verdict.crossing_ms = self._next_ms(customer_id, look.as_of_ms)

    def withdraw(
        self,
        customer_id: str,
        state: CustomerState,
        decisions: list[Decision],  # noqa: ARG002 - as above
    ) -> None:
        """Compare the end of an episode of a customer who has no order any more."""
        self._compare(customer_id, state, Look(state.clock_ms, vec[float](), 0.0, 0.0), None)
        state.verdict = Verdict()

    def finish(self) -> None:
        """Say of what is left that nothing in the log leads to it."""
        for alerts in self._waiting.values():
            self.differences += [self._difference(alert) for alert in reversed(alerts)]
        self._waiting = {}
        self.differences.sort(key=lambda found: (found.alert.event_time, found.alert.id))

    def _difference(self, alert: ChurnAlert) -> Difference:
        return Difference(alert, self._seen.pop(alert.id, "nothing in the log leads to it"))

    def _next_ms(self, customer_id: str, as_of_ms: int) -> int:
        times = (epoch_ms(alert.event_time) for alert in reversed(self._waiting.get(customer_id, ())))
        return next((time_ms for time_ms in times if time_ms > as_of_ms), NO_TIME)

    def _compare(self, customer_id: str, state: CustomerState, look: Look, cause: ReviewCause | None) -> None:
        waiting = self._waiting.get(customer_id)
        while waiting:
            alert = waiting[-1]
            started_ms = 0 if alert.state == "raised" else epoch_ms(alert.episode_started_at)
            time_ms, now_ms = epoch_ms(alert.event_time), max(look.as_of_ms, started_ms)
            if time_ms > now_ms:
                return
            found = self._wrong(state, look, cause, alert) if time_ms == now_ms else "past"
            if not found:
                self.confirmed += 1
                self._seen.pop(alert.id, None)
            elif time_ms == now_ms:  # another review of the same moment may be the one
                self._seen.setdefault(alert.id, found)
                return
            else:
                self.differences.append(self._difference(alert))
            waiting.pop()
            state.verdict.episode = int(_AFTER[alert.state])

    def _wrong(self, state: CustomerState, look: Look, cause: ReviewCause | None, alert: ChurnAlert) -> str:
        """Say in what an alert differs from what its model makes of the customer; empty when in nothing."""
        served = self._models.get(alert.model_version)
        if served is None:
            return f"there is no model {alert.model_version}"
        self.serve(served)
        if cause is None:
            values, risk, worth = served.centre, served.risk(served.centre), 0.0
            finding = Finding.LOW
        else:
            again = self.look(state, look.as_of_ms)
            values, risk, worth = again.values, again.risk, again.predicted_value
            finding = self._finding(state, again, cause)
        step = TABLE[Episode(state.verdict.episode), finding]
        expected: dict[str, object] = {
            "step": (step.says, step.cause),
            "risk": risk,
            "band": band_of(risk),
            "intercept": served.intercept,
            "predicted_value": worth,
            "value_at_risk": risk * worth,
            "reasons": reasons_of(list(values), served.contributions(values)),
            "horizon_days": self.horizon_days,
        }
        said = {"step": (alert.state, alert.cause)} | {
            name: getattr(alert, name) for name in expected if name != "step"
        }
        wrong = [
            f"{name} {_shown(said[name])} should be {_shown(value)}"
            for name, value in expected.items()
            if said[name] != value
        ]
        return "; ".join(wrong)


def _shown(value: object) -> str:
    if isinstance(value, tuple):
        return " by ".join(str(part) for part in value)
    if isinstance(value, list):
        return "[" + ", ".join(f"{reason.feature} {reason.contribution!r}" for reason in value) + "]"
    return str(value)
