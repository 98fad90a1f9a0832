"""What the console knows: a fold of the output messages into a view that does not outgrow its bounds.

Everything follows from messages as any consumer of the topics has them; there is no clock and no I/O here.
The fold forgives what Kafka may do: a message that comes again changes nothing (alerts and changes by their
id, scores because the same score says the same), topics may be read in any order beside each other, and a
tombstone on the scores takes every trace of the customer with it, also of what is read later but was
written earlier.

Two bounds keep it small. Latest scores are kept for `Bounds.customers` customers, and histories hold
`Bounds.moments` moments among them all. Whom nobody has spoken of for longest goes first: the history before
the score. What was dropped is counted, because a number of customers that leaves some out must say so.
"""

from __future__ import annotations

from collections import Counter, OrderedDict, deque
from typing import Any, NamedTuple

import msgspec

from agents.console.quality import ModelLog
from schemas.codec import epoch_ms
from schemas.decisions import ChurnAlert, CustomerScore, SegmentChange
from schemas.topics import CHURN_ALERTS, CUSTOMER_SCORES, MODELS, SEGMENT_CHANGES
from streams.customer.lifecycle import LIFECYCLE_NAMES
from streams.customer.rfm import RFM_NAMES

READ = (CHURN_ALERTS, SEGMENT_CHANGES, CUSTOMER_SCORES, MODELS)
"""The topics that the view understands."""

NAMES = {"rfm": frozenset(RFM_NAMES), "lifecycle": frozenset(LIFECYCLE_NAMES)}
"""The segments there are, by dimension: a name that is none of them is refused, so counters stay few."""

_STEPS = {"raised": 0, "escalated": 1, "resolved": 2}

_alerts = msgspec.json.Decoder(ChurnAlert)
_changes = msgspec.json.Decoder(SegmentChange)
_scores = msgspec.json.Decoder(CustomerScore)

Flow = tuple[str, str | None, str]
"""Dimension, the segment left (None at the first entry), the segment entered."""


class Bounds(NamedTuple):
    """How much is kept.

    Attributes
    ----------
    customers
        Latest scores.
    moments
        Moments in the histories of all customers together.
    own_moments
        Moments in the history of one.
    alerts
        The newest alerts, whoever they are about.
    erased
        Customers who were erased, so that older messages do not bring them back.
    """

    customers: int = 100_000
    moments: int = 400_000
    own_moments: int = 120
    alerts: int = 5_000
    erased: int = 10_000


class Point(msgspec.Struct, gc=False, frozen=True):
    """A score in a customer's history: what was thought at one moment."""

    time_ms: int
    risk: float
    cause: str
    orders: int
    revenue: float


class Step(msgspec.Struct, gc=False, frozen=True):
    """A step of an alert episode in a customer's history; `id` tells a repeat."""

    time_ms: int
    id: str
    state: str
    cause: str
    risk: float
    value_at_risk: float


class Move(msgspec.Struct, gc=False, frozen=True):
    """A change of segment in a customer's history; `id` tells a repeat."""

    time_ms: int
    id: str
    dimension: str
    previous: str | None
    current: str
    cause: str


Moment = Point | Step | Move


class Customer:
    """What is kept of one customer.

    Attributes
    ----------
    score
        The latest, as it stands on the topic; None while only an alert or a change has been read.
    score_ms, rfm, lifecycle, risk
        From it.
    history
        Moments in the order in which they were read, the oldest first.
    step
        The newest step of the newest episode, as (start, step number).
    """

    __slots__ = ("history", "lifecycle", "rfm", "risk", "score", "score_ms", "step")

    def __init__(self) -> None:
        self.score: bytes | None = None
        self.score_ms = 0
        self.rfm = ""
        self.lifecycle = ""
        self.risk = 0.0
        self.history: deque[Moment] = deque()
        self.step = (0, -1)

    def latest(self) -> CustomerScore | None:
        """Decode the latest score."""
        return None if self.score is None else _scores.decode(self.score)


class View:
    """The fold.

    Parameters
    ----------
    bounds
        How much to keep.

    Attributes
    ----------
    customers
        By id, the one spoken of longest ago first.
    alerts
        The newest alerts by id, the oldest first.
    open
        By customer kept, the newest step of an episode that nothing has resolved.
    sizes
        Customers by (dimension, segment), over those kept.
    flows
        Moves seen since the console began to read.
    models
        The published models.
    moments
        Moments kept, in all histories together.
    dropped_customers, dropped_histories
        How often a bound struck.
    event_ms
        The newest event time heard of.
    unreadable
        Messages that were not what the topic carries.

    Examples
    --------
    >>> view = View()
    >>> view.take(
    ...     SEGMENT_CHANGES,
    ...     b"c1",
    ...     b'{"id":"s1","customer_id":"c1","event_time":"1997-01-01T00:00:00Z","dimension":"rfm",'
    ...     b'"previous":null,"current":"new","cause":"order","evidence":[]}',
    ... )
    >>> view.flows
    Counter({('rfm', None, 'new'): 1})
    """

    def __init__(self, bounds: Bounds = Bounds()) -> None:  # noqa: B008 - a tuple of numbers
        self.bounds = bounds
        self.customers: OrderedDict[str, Customer] = OrderedDict()
        self.alerts: OrderedDict[str, ChurnAlert] = OrderedDict()
        self.open: dict[str, ChurnAlert] = {}
        self.sizes: Counter[tuple[str, str]] = Counter()
        self.flows: Counter[Flow] = Counter()
        self.models = ModelLog()
        self.moments = 0
        self.dropped_customers = 0
        self.dropped_histories = 0
        self.event_ms = 0
        self.unreadable = 0
        self._with_history: OrderedDict[str, None] = OrderedDict()
        self._erased: OrderedDict[str, int] = OrderedDict()
        self._alerts_of: Counter[str] = Counter()

    def take(self, topic: str, key: bytes | None, value: bytes | None, time_ms: int = 0) -> ChurnAlert | None:
        """Take in one message.

        Parameters
        ----------
        topic
            One of `READ`.
        key, value
            As they stand on the topic; no value is a tombstone.
        time_ms
            When the message was written, by its sender.

        Returns
        -------
        ChurnAlert or None
            The alert, when the message is one that is news.
        """
        if value is None:
            if topic == CUSTOMER_SCORES and key is not None:
                self._erase(key.decode(errors="replace"), time_ms)
            return None
        try:
            if topic == CUSTOMER_SCORES:
                self._score(_scores.decode(value), value, time_ms)
            elif topic == CHURN_ALERTS:
                return self._alert(_alerts.decode(value), time_ms)
            elif topic == SEGMENT_CHANGES:
                self._change(_changes.decode(value), time_ms)
            else:
                self.models.take(value)
        except (msgspec.DecodeError, UnicodeDecodeError):
            self.unreadable += 1
        return None

    # Messages

    def _score(self, score: CustomerScore, raw: bytes, time_ms: int) -> None:
        _check(score.rfm in NAMES["rfm"] and score.lifecycle in NAMES["lifecycle"])
        customer = self._heard_of(score.customer_id, time_ms)
        if customer is None:
            return
        event_ms = self._at(score.event_time)
        if customer.score is not None:
            if event_ms < customer.score_ms:
                return  # said again after a crash: what came since is newer
            self._count(customer, -1)
        customer.score, customer.score_ms = raw, event_ms
        # One copy of each name serves all customers.
        customer.rfm = RFM_NAMES[RFM_NAMES.index(score.rfm)]
        customer.lifecycle = LIFECYCLE_NAMES[LIFECYCLE_NAMES.index(score.lifecycle)]
        customer.risk = score.risk
        self._count(customer, 1)
        self._remember(
            score.customer_id,
            customer,
            Point(event_ms, score.risk, score.cause, score.orders, score.historic_value),
        )

    def _alert(self, alert: ChurnAlert, time_ms: int) -> ChurnAlert | None:
        customer = self._heard_of(alert.customer_id, time_ms)
        if customer is None or alert.id in self.alerts:
            return None
        step = (epoch_ms(alert.episode_started_at), _STEPS[alert.state])
        event_ms = self._at(alert.event_time)
        known = self._remember(
            alert.customer_id,
            customer,
            Step(event_ms, alert.id, alert.state, alert.cause, alert.risk, alert.value_at_risk),
        )
        if known:
            return None
        if step > customer.step:
            customer.step = step
            if alert.state == "resolved":
                self.open.pop(alert.customer_id, None)
            else:
                self.open[alert.customer_id] = alert
        self.alerts[alert.id] = alert
        self._alerts_of[alert.customer_id] += 1
        if len(self.alerts) > self.bounds.alerts:
            self._drop_alert(next(iter(self.alerts)))
        return alert

    def _change(self, change: SegmentChange, time_ms: int) -> None:
        _check(change.current in NAMES[change.dimension])
        _check(change.previous is None or change.previous in NAMES[change.dimension])
        customer = self._heard_of(change.customer_id, time_ms)
        if customer is None:
            return
        move = Move(
            self._at(change.event_time),
            change.id,
            change.dimension,
            change.previous,
            change.current,
            change.cause,
        )
        if not self._remember(change.customer_id, customer, move):
            self.flows[change.dimension, change.previous, change.current] += 1

    def _erase(self, customer_id: str, time_ms: int) -> None:
        self._erased[customer_id] = max(time_ms, self._erased.pop(customer_id, 0))
        if len(self._erased) > self.bounds.erased:
            self._erased.popitem(last=False)
        if customer_id in self.customers:
            self._forget(customer_id)
        if customer_id in self._alerts_of:
            for alert in [alert for alert in self.alerts.values() if alert.customer_id == customer_id]:
                self._drop_alert(alert.id)

    # What is kept

    def _heard_of(self, customer_id: str, time_ms: int) -> Customer | None:
        """Find a customer, or begin one; None for an erased one of whom this is an older message."""
        erased_ms = self._erased.get(customer_id)
        if erased_ms is not None and time_ms <= erased_ms:
            return None
        customer = self.customers.get(customer_id)
        if customer is not None:
            self.customers.move_to_end(customer_id)
            return customer
        customer = self.customers[customer_id] = Customer()
        if len(self.customers) > self.bounds.customers:
            self._forget(next(iter(self.customers)))
            self.dropped_customers += 1
        return customer

    def _drop_alert(self, alert_id: str) -> None:
        customer_id = self.alerts.pop(alert_id).customer_id
        self._alerts_of[customer_id] -= 1
        if not self._alerts_of[customer_id]:
            del self._alerts_of[customer_id]

    def _count(self, customer: Customer, by: int) -> None:
        if customer.score is not None:
            self.sizes["rfm", customer.rfm] += by
            self.sizes["lifecycle", customer.lifecycle] += by

    def _remember(self, customer_id: str, customer: Customer, moment: Moment) -> bool:
        """Add a moment to a history; True when it is there already."""
        if _is_known(customer.history, moment):
            return True
        customer.history.append(moment)
        self.moments += 1
        if len(customer.history) > self.bounds.own_moments:
            customer.history.popleft()
            self.moments -= 1
        self._with_history[customer_id] = None
        self._with_history.move_to_end(customer_id)
        while self.moments > self.bounds.moments:
            oldest = next(iter(self._with_history))
            self._forget_history(oldest, self.customers[oldest])
            self.dropped_histories += 1
        return False

    def _forget(self, customer_id: str) -> None:
        customer = self.customers.pop(customer_id)
        self._forget_history(customer_id, customer)
        self._count(customer, -1)
        self.open.pop(customer_id, None)

    def _forget_history(self, customer_id: str, customer: Customer) -> None:
        self.moments -= len(customer.history)
        customer.history = deque()
        self._with_history.pop(customer_id, None)

    def _at(self, moment: Any) -> int:
        event_ms = epoch_ms(moment)
        self.event_ms = max(self.event_ms, event_ms)
        return event_ms


def _is_known(history: deque[Moment], moment: Moment) -> bool:
    """Tell whether a moment is in a history; what is repeated after a crash is near the end."""
    return any(moment == other for other in reversed(history))


def _check(sound: bool) -> None:
    if not sound:
        raise msgspec.ValidationError("a segment that this program does not know")
