"""What became of alerts: what right, wrong and lead time mean, and a count of them for each day.

An alert says that no order will come within the horizon after it was raised. It is wrong when one does, and
right when the horizon has ended without. Lead time is how long before the fact it came: by the definition of
churn a customer is gone when they have been silent for one horizon, so that moment is the last order plus the
horizon, and whoever waits for it learns of the loss then. An alert after it has a negative lead: it came too
late. `RaisedAlert` says so once, for the KPIs of a day and for a replay (`streams.evaluation.alert_tallies`).

For a day, an alert counts on the day on which its horizon ends, as right from the beginning, and that is
taken back with the first order in time. Nothing has to be looked up when the day comes, and for right and
wrong it does not matter whether the alert or the order is heard of first. Lead times are averaged over right
alerts whose last order before them is known; where a later order was heard of first, it is not.
"""

from __future__ import annotations

from typing import NamedTuple

from schemas.codec import epoch_ms
from schemas.decisions import ChurnAlert
from streams.config import DAY_MS, days_ms
from streams.value.days import Days

MICRO = 1_000_000
"""Money is counted in millionths, so that sums are exact."""


class RaisedAlert(NamedTuple):
    """An alert that waits for its outcome.

    Attributes
    ----------
    at_ms
        When it was raised.
    due_ms
        When its horizon ends.
    order_ms
        The customer's last order before it, as far as known.

    Examples
    --------
    >>> alert = RaisedAlert(at_ms=10 * DAY_MS, due_ms=40 * DAY_MS, order_ms=0)
    >>> alert.is_wrong_by(40 * DAY_MS), alert.is_wrong_by(41 * DAY_MS), alert.lead_ms // DAY_MS
    (True, False, 20)
    """

    at_ms: int
    due_ms: int
    order_ms: int | None

    def is_wrong_by(self, order_ms: int) -> bool:
        """Tell whether an order at this moment is one of which the alert said that it would not come."""
        return self.at_ms < order_ms <= self.due_ms

    @property
    def lead_ms(self) -> int:
        """How long before the customer was gone it came; 0 where no order is known."""
        return 0 if self.order_ms is None else self.order_ms + (self.due_ms - self.at_ms) - self.at_ms


class AlertLedger:
    """Follows the alerts of all customers.

    A customer costs memory while an episode is open or a horizon has not ended.

    Parameters
    ----------
    days
        Where to count.
    """

    def __init__(self, days: Days) -> None:
        self._days = days
        self._open: dict[str, tuple[str, bool]] = {}  # episode, escalated
        self._raised: dict[str, list[RaisedAlert]] = {}
        self._due: dict[int, list[str]] = {}

    def hear(self, alert: ChurnAlert, day: int, order_ms: int | None) -> None:
        """Count an alert; a step that is heard again, or ends an episode never heard of, is not counted.

        Parameters
        ----------
        order_ms
            The customer's last order that is known of.
        """
        customer_id = alert.customer_id
        episode, escalated = self._open.get(customer_id, ("", False))
        if alert.state == "raised" and episode != alert.episode:
            self._open[customer_id] = (alert.episode, False)
            self._days.flow(day, ("alerts", "raised"), 1)
            self._days.flow(day, ("alerts", "value_at_risk"), round(alert.value_at_risk * MICRO))
            if not episode:
                self._days.hold(day, None, ("alerts", "open"), 1)
            self._await(alert, order_ms)
        elif alert.state == "escalated" and not escalated:
            self._open[customer_id] = (alert.episode, True)
            self._days.flow(day, ("alerts", "escalated"), 1)
            if not episode:  # raised before all that is known here
                self._days.hold(day, None, ("alerts", "open"), 1)
        elif alert.state == "resolved" and episode:
            self._days.flow(day, ("alerts", alert.cause), 1)
            self._end(customer_id, day)

    def _await(self, alert: ChurnAlert, order_ms: int | None) -> None:
        at_ms = epoch_ms(alert.event_time)
        due_ms = at_ms + days_ms(alert.horizon_days)
        # An order that is known of already may be one after the alert: what was before it is not known then.
        before_ms = order_ms if order_ms is not None and order_ms <= at_ms else None
        raised = RaisedAlert(at_ms, due_ms, before_ms)
        if due_ms // DAY_MS < self._days.open_day:
            return  # told long ago
        self._count(raised, 1, alerts=1)
        if order_ms is not None and raised.is_wrong_by(order_ms):
            self._count(raised, -1)
        else:
            self._raised.setdefault(alert.customer_id, []).append(raised)
            self._due.setdefault(due_ms // DAY_MS, []).append(alert.customer_id)

    def order(self, customer_id: str, order_ms: int) -> None:
        """Take an order to the alerts that said there would be none."""
        raised = self._raised.get(customer_id)
        if raised is None:
            return
        waiting = []
        for one in raised:
            if one.is_wrong_by(order_ms):
                if one.due_ms // DAY_MS >= self._days.open_day:  # else it has been told already
                    self._count(one, -1)
            else:
                waiting.append(one)
        self._keep(customer_id, waiting)

    def close(self, day: int) -> None:
        """Let go of the alerts whose horizon ended on this day."""
        for customer_id in self._due.pop(day, ()):
            raised = self._raised.get(customer_id, [])
            self._keep(customer_id, [one for one in raised if one.due_ms // DAY_MS > day])

    def forget(self, customer_id: str, day: int) -> None:
        """Erase a customer: an open episode is no longer open, and what waits is not followed up."""
        for one in self._raised.pop(customer_id, []):
            if one.due_ms // DAY_MS >= self._days.open_day:
                self._count(one, -1, alerts=-1)
        self._end(customer_id, day)

    def _keep(self, customer_id: str, raised: list[RaisedAlert]) -> None:
        if raised:
            self._raised[customer_id] = raised
        else:
            self._raised.pop(customer_id, None)

    def _end(self, customer_id: str, day: int) -> None:
        if self._open.pop(customer_id, None) is not None:
            self._days.hold(day, None, ("alerts", "open"), -1)

    def _count(self, raised: RaisedAlert, churned: int, alerts: int = 0) -> None:
        day = raised.due_ms // DAY_MS
        self._days.flow(day, ("outcomes", "alerts"), alerts)
        self._days.flow(day, ("outcomes", "churned"), churned)
        if raised.order_ms is not None:
            self._days.flow(day, ("outcomes", "led"), churned)
            self._days.flow(day, ("outcomes", "lead_ms"), churned * raised.lead_ms)
