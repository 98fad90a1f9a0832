"""Whether the alerts of a replay came true: for all of them together, and by customer.

Right, wrong and lead time are those of `streams.value.alert_outcomes`; an alert is open while neither is
known, and what was resolved because the risk fell is judged like the rest. Tallies are kept by customer,
because the intervals of a comparison draw customers.

Orders are taken from the scores that each new order publishes; one that is cancelled later still counts.
"""

from __future__ import annotations

from array import array
from collections import Counter
from typing import Any, NamedTuple

import numpy as np

from schemas.codec import epoch_ms
from schemas.decisions import ChurnAlert
from streams.config import DAY_MS
from streams.value.alert_outcomes import RaisedAlert


class _Waiting(NamedTuple):
    alert: RaisedAlert
    predicted_value: float


class Tally:
    """What became of one customer's alerts, to be added up over customers.

    Attributes
    ----------
    raised, right, wrong
        Alerts, and those of them that are known to be right or wrong.
    money_right, money_judged
        Predicted value, when the alert was raised, behind the right ones and behind all that are judged.
    lead_days
        Lead times of the right ones, added up.
    """

    __slots__ = ("lead_days", "money_judged", "money_right", "raised", "right", "wrong")

    def __init__(self) -> None:
        self.raised = self.right = self.wrong = 0
        self.money_right = self.money_judged = self.lead_days = 0.0


class AlertTallies:
    """Follows alerts to their outcome.

    Memory grows with the customers who have ordered (the time of their last order) and with the alerts.

    Parameters
    ----------
    horizon_ms
        Within which an order makes an alert wrong.

    Examples
    --------
    >>> outcomes = AlertTallies(horizon_ms=30 * DAY_MS)
    >>> outcomes.ordered("c1", 0)
    >>> outcomes.raised("c1", 10 * DAY_MS, predicted_value=50.0, value_at_risk=40.0)
    >>> outcomes.settle(40 * DAY_MS)
    >>> outcomes.figures(40.0)["precision"], list(outcomes.lead_days)
    (1.0, [20.0])
    """

    def __init__(self, horizon_ms: int) -> None:
        self._horizon_ms = horizon_ms
        self._orders: dict[str, int] = {}
        self._waiting: dict[str, list[_Waiting]] = {}
        self.customers: dict[str, Tally] = {}
        self.by_day: Counter[int] = Counter()
        self.lead_days = array("d")
        self.return_days = array("d")
        self.value_at_risk = 0.0

    def take(self, alert: ChurnAlert) -> None:
        """Take an alert; only one that is raised begins anything."""
        if alert.state == "raised":
            time_ms = epoch_ms(alert.event_time)
            self.raised(alert.customer_id, time_ms, alert.predicted_value, alert.value_at_risk)

    def raised(self, customer_id: str, time_ms: int, predicted_value: float, value_at_risk: float) -> None:
        """Begin to follow an alert."""
        self.by_day[time_ms // DAY_MS] += 1
        self.value_at_risk += value_at_risk
        self.customers.setdefault(customer_id, Tally()).raised += 1
        alert = RaisedAlert(time_ms, time_ms + self._horizon_ms, self._orders.get(customer_id, time_ms))
        waiting = _Waiting(alert, predicted_value)
        self._waiting.setdefault(customer_id, []).append(waiting)

    def ordered(self, customer_id: str, time_ms: int) -> None:
        """Settle a customer's alerts by an order."""
        waiting = self._waiting.pop(customer_id, ())
        kept = [alert for alert in waiting if not self._settled(customer_id, alert, time_ms)]
        if kept:
            self._waiting[customer_id] = kept
        self._orders[customer_id] = max(time_ms, self._orders.get(customer_id, time_ms))

    def _settled(self, customer_id: str, waiting: _Waiting, order_ms: int) -> bool:
        alert = waiting.alert
        if order_ms <= alert.at_ms:  # one that was under way: it lies before the question
            return False
        tally = self.customers[customer_id]
        tally.money_judged += waiting.predicted_value
        if alert.is_wrong_by(order_ms):
            tally.wrong += 1
            self.return_days.append((order_ms - alert.at_ms) / DAY_MS)
        else:
            self._right(tally, waiting)
        return True

    def _right(self, tally: Tally, waiting: _Waiting) -> None:
        tally.right += 1
        tally.money_right += waiting.predicted_value
        lead_days = waiting.alert.lead_ms / DAY_MS
        tally.lead_days += lead_days
        self.lead_days.append(lead_days)

    def settle(self, until_ms: int) -> None:
        """Settle what can be settled when everything up to a time is known; the rest stays open."""
        for customer_id, waiting in self._waiting.items():
            tally = self.customers[customer_id]
            for one in waiting:
                if one.alert.due_ms <= until_ms:
                    tally.money_judged += one.predicted_value
                    self._right(tally, one)
        self._waiting = {
            customer_id: kept
            for customer_id, waiting in self._waiting.items()
            if (kept := [one for one in waiting if one.alert.due_ms > until_ms])
        }

    def figures(self, days: float) -> dict[str, Any]:
        """Add up: counts, shares, days and money over so many days of event time; None where undefined."""
        tallies = self.customers.values()
        raised, right = sum(t.raised for t in tallies), sum(t.right for t in tallies)
        wrong = sum(t.wrong for t in tallies)
        return {
            "raised": raised,
            "customers": len(self.customers),
            "right": right,
            "wrong": wrong,
            "open": raised - right - wrong,
            "precision": right / (right + wrong) if right + wrong else None,
            "per_day": raised / days if days > 0.0 else None,
            "most_in_a_day": max(self.by_day.values(), default=0),
            "lead_days": spread(self.lead_days),
            "too_late": sum(lead < 0.0 for lead in self.lead_days),
            "return_days": spread(self.return_days),
            "value_at_risk": self.value_at_risk,
            "money_found": sum(t.money_right for t in tallies),
            "money_judged": sum(t.money_judged for t in tallies),
        }


def spread(values: array[float]) -> dict[str, float | None]:
    """Describe a distribution by its tenth, middle and ninetieth percentile, and its mean.

    Examples
    --------
    >>> spread(array("d", [1.0, 2.0, 3.0]))["median"], spread(array("d"))["mean"]
    (2.0, None)
    """
    if not values:
        return dict.fromkeys(("p10", "median", "p90", "mean"))
    low, middle, high = np.quantile(np.array(values), (0.1, 0.5, 0.9))
    return {"p10": float(low), "median": float(middle), "p90": float(high), "mean": float(np.mean(values))}


def histogram(values: array[float], most: int) -> list[dict[str, float]]:
    """Count values in at most so many bins of equal, round width.

    Examples
    --------
    >>> [(bar["low"], bar["n"]) for bar in histogram(array("d", [1.0, 2.0, 12.0]), most=3)]
    [(0.0, 2), (5.0, 0), (10.0, 1)]
    """
    if not values:
        return []
    sizes = (size * scale for scale in (1.0, 10.0, 100.0, 1_000.0) for size in (1.0, 2.0, 5.0, 7.0))
    fitting = (size for size in sizes if max(values) // size - min(values) // size < most)
    width = next(fitting, 10_000.0)
    counted = Counter(int(value // width) for value in values)
    return [
        {"low": number * width, "high": (number + 1) * width, "n": counted[number]}
        for number in range(min(counted), max(counted) + 1)
    ]
