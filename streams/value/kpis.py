"""Retention KPIs: what the scores, alerts and answers of a day come to, for the whole shop.

The machine takes what Holdfast says and tells each day of event time once it is over. Of each customer the
newest score counts, and what it holds is added to the levels of the day (`streams.value.days`) until the
next one takes it off again. Nothing is looked up when a day ends, however many customers there are, and
messages of different customers may come in any order.

A day ends when time has gone on for `GRACE_MS` beyond it. Time goes on with a message that is newer
than the newest before it, and then to that newest: after a gap in event time, the first event comes
together with timers that were due in the gap, and they are heard of before any day in it is told.

To lapse is to become `defecting`: to be silent for `segments.active_days`. What will be lost so is told by
the score as well. Its risk, carried over to the time that is left until then (`streams.value.lapse`), is
the chance to lapse, and the loss belongs to the days from which that moment is less than 30 or 90 days
away.

In memory a customer takes about 500 bytes, with an alert that waits for its answer 400 more; a day that is
open, and each of the `segments.active_days` ahead, a few dozen numbers.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from math import log
from typing import Final

from schemas.codec import utc
from schemas.decisions import ChurnAlert, CustomerScore, SegmentChange
from schemas.kpis import RetentionKpis
from schemas.learning import Example
from schemas.topics import CUSTOMER_SCORES
from streams.config import DAY_MS, HOUR_MS, StreamConfig, days_ms
from streams.customer.decision import Decision
from streams.customer.lifecycle import LIFECYCLE_NAMES, PROSPECT
from streams.customer.rfm import RFM_NAMES
from streams.value.alert_outcomes import MICRO, AlertLedger
from streams.value.day_kpis import ACTIVE_STAGES, LOSS_DAYS, DayKpis, day_number
from streams.value.days import Days, Key
from streams.value.lapse import prob_silent
from streams.value.trait_kpis import TRAIT, trait_text

GRACE_MS = 6 * HOUR_MS
"""A day is told so long after its end."""

_NEVER = 2**31
_EPOCH: Final = utc(0)

_PROSPECT = LIFECYCLE_NAMES[PROSPECT]

_SURE = 1e-9
"""How near to 0 and 1 a risk is taken to come."""


# Named once, and as keys: the compiler would make a new tuple of one each time.
_RFM_LEVELS: dict[str, Key] = {name: ("rfm", name) for name in RFM_NAMES}
_STAGE_LEVELS: dict[str, Key] = {name: ("lifecycle", name) for name in LIFECYCLE_NAMES}


def _rfm_level(name: str) -> Key:
    level = _RFM_LEVELS.get(name)  # a topic may hold a name that this program does not know
    return ("rfm", name) if level is None else level


def _stage_level(name: str) -> Key:
    level = _STAGE_LEVELS.get(name)
    return ("lifecycle", name) if level is None else level


_LOSSES: list[tuple[int, Key, Key]] = [(span, ("loss", span), ("loss_variance", span)) for span in LOSS_DAYS]


class _Known:
    """What the newest score of a customer says; money in millionths."""

    __slots__ = (
        "at_ms", "at_risk", "historic", "lapse_ms", "lifecycle", "loss", "order_ms", "predicted", "rfm",
        "traits", "variance",
    )  # fmt: skip

    def __init__(
        self,
        at_ms: int,
        order_ms: int,
        rfm: str,
        lifecycle: str,
        historic: int,
        predicted: int,
        at_risk: int,
        traits: tuple[Key, ...],
    ) -> None:
        self.at_ms = at_ms
        self.order_ms = order_ms
        self.rfm = rfm
        self.lifecycle = lifecycle
        self.historic = historic
        self.predicted = predicted
        self.at_risk = at_risk
        self.traits = traits
        self.lapse_ms = 0  # when silence will make the customer lapse; 0 where it has
        self.loss = 0  # to be expected of that, and its variance
        self.variance = 0

    def may_lapse(self, lapse_ms: int, chance: float) -> None:
        """Say when silence will make the customer lapse, and how likely it will last until then."""
        self.lapse_ms = lapse_ms
        self.loss = round(chance * self.predicted)
        self.variance = round(chance * (1.0 - chance) * self.predicted**2)

    def levels(self) -> list[Key]:
        """List the groups that the customer counts in."""
        return [_rfm_level(self.rfm), _stage_level(self.lifecycle), *self.traits]


class Going:
    """How far event time has gone on in a sequence of messages that is nearly in order.

    Examples
    --------
    >>> going = Going()
    >>> [going.observe(at_ms) for at_ms in (5, 90, 40, 60, 91)]
    [0, 5, 5, 5, 90]
    """

    __slots__ = ("_newest_ms", "until_ms")

    def __init__(self) -> None:
        self._newest_ms = 0
        self.until_ms = 0

    def observe(self, at_ms: int) -> int:
        """Take the time of a message; give the time before which no more is expected."""
        if at_ms > self._newest_ms:
            self.until_ms, self._newest_ms = self._newest_ms, at_ms
        return self.until_ms


def event_time_ms(decision: Decision) -> int | None:
    """Say what moment a decision is about; None for one that removes an entry, and for a model.

    Examples
    --------
    >>> event_time_ms(Decision(CUSTOMER_SCORES, "c1", None)) is None
    True
    """
    payload = decision.payload
    if isinstance(payload, CustomerScore):  # one by one: most are scores
        return _ms(payload.event_time)
    if isinstance(payload, SegmentChange):
        return _ms(payload.event_time)
    if isinstance(payload, Example):
        return _ms(payload.matured_at)
    return _ms(payload.event_time) if isinstance(payload, ChurnAlert) else None


def _ms(moment: datetime) -> int:
    """Do what `schemas.codec.epoch_ms` does, compiled and without its slow division."""
    since = moment - _EPOCH
    return since.days * DAY_MS + since.seconds * 1_000 + since.microseconds // 1_000


def _whole_ms(days: float) -> int:
    """Do what `days_ms` does, which keeps the answers: silences are all different."""
    whole_ms = int(days * DAY_MS)
    return whole_ms if whole_ms / DAY_MS >= days else whole_ms + 1


class KpiMachine:
    """Takes decisions and tells days.

    Parameters
    ----------
    config
        `segments.active_days` and `value.prior_orders`.
    told
        Days that were told before, oldest first: it goes on with the day after the last of them. What is
        given to it then may begin earlier, and should, for it has to know each customer's newest score.

    Examples
    --------
    >>> KpiMachine(StreamConfig()).follow(Decision(CUSTOMER_SCORES, "c1", None))
    []
    """

    def __init__(self, config: StreamConfig, told: Sequence[RetentionKpis] = ()) -> None:
        self._lapse_ms = days_ms(config.segments.active_days)
        self._prior_orders = config.value.prior_orders
        # Without days before: later than any day, until the first message says which it is.
        first = day_number(told[-1].day) + 1 if told else _NEVER
        self._days = Days(first, resumed=bool(told))
        self._telling = DayKpis(config.segments.active_days, told)
        self._alerts = AlertLedger(self._days)
        self._known: dict[str, _Known] = {}
        self._going = Going()
        self._newest_ms = 0

    @property
    def due_ms(self) -> int:
        """The first open day is over when event time has come here."""
        return (self._days.open_day + 1) * DAY_MS + GRACE_MS

    def follow(self, decision: Decision) -> list[RetentionKpis]:
        """Take the next decision of a single sequence, and tell the days that are over with it."""
        at_ms = event_time_ms(decision)
        told = [] if at_ms is None else self.tell(self._going.observe(at_ms))
        self._take(decision, at_ms)
        return told

    def tell(self, until_ms: int) -> list[RetentionKpis]:
        """Tell the days that are over when event time has come to `until_ms`."""
        told = []
        while self.due_ms <= until_ms:
            self._alerts.close(self._days.open_day)
            told.append(self._telling.close(self._days))
        return told

    def take(self, decision: Decision) -> None:
        """Take one decision of any topic."""
        self._take(decision, event_time_ms(decision))

    def _take(self, decision: Decision, at_ms: int | None) -> None:
        payload = decision.payload
        if at_ms is None:
            if payload is None and decision.topic == CUSTOMER_SCORES:
                self._remove(decision.customer_id, self._newest_ms // DAY_MS)
            return
        day = at_ms // DAY_MS
        if at_ms > self._newest_ms:
            self._newest_ms = at_ms
        self._days.reach(day)
        if day < self._days.open_day:
            self._days.flow(day, "late", 1)
        if isinstance(payload, CustomerScore):
            self._score(payload, at_ms)
        elif isinstance(payload, ChurnAlert):
            known = self._known.get(payload.customer_id)
            self._alerts.hear(payload, day, None if known is None else known.order_ms)
        elif isinstance(payload, Example):
            self._answer(payload, day)
        elif isinstance(payload, SegmentChange) and payload.current == _PROSPECT:
            self._remove(payload.customer_id, day)  # every order was called off

    def _score(self, score: CustomerScore, event_ms: int) -> None:
        customer_id = score.customer_id
        before = self._known.get(customer_id)
        at_ms = event_ms if before is None else max(event_ms, before.at_ms)
        day = at_ms // DAY_MS
        now = self._read(score, event_ms, at_ms)
        if before is None:
            self._hold(now, day, 1)
        else:
            self._replace(before, now, day)
            if now.order_ms > before.order_ms:
                self._alerts.order(customer_id, now.order_ms)
        self._move(before, now, day)
        self._known[customer_id] = now

    def _read(self, score: CustomerScore, event_ms: int, at_ms: int) -> _Known:
        known = _Known(
            at_ms,
            event_ms - _whole_ms(score.time_since_last_order_days),
            score.rfm,
            score.lifecycle,
            round(score.historic_value * MICRO),
            round(score.predicted_value * MICRO),
            round(score.value_at_risk * MICRO),
            _traits_of(score) if score.traits else (),
        )
        lapse_ms = known.order_ms + self._lapse_ms
        if lapse_ms > at_ms and known.lifecycle in ACTIVE_STAGES:
            chance = prob_silent(
                min(max(score.risk, _SURE), 1.0 - _SURE),
                score.horizon_days,
                (lapse_ms - at_ms) / DAY_MS,
                self._prior_orders + score.orders - 1,
            )
            known.may_lapse(lapse_ms, chance)
        return known

    def _hold(self, known: _Known, day: int, sign: int) -> None:
        """Add what a score holds to the levels from a day on, or take it off again."""
        historic, predicted, at_risk = sign * known.historic, sign * known.predicted, sign * known.at_risk
        for level in known.levels():
            self._days.hold(day, None, level, sign, historic, predicted, at_risk)
        self._hold_loss(known.lapse_ms, day, sign * known.loss, sign * known.variance)

    def _replace(self, before: _Known, now: _Known, day: int) -> None:
        """Take one score off and add the next; of what stays the same only the difference."""
        if before.rfm != now.rfm or before.lifecycle != now.lifecycle or before.traits != now.traits:
            self._hold(before, day, -1)
            self._hold(now, day, 1)
            return
        historic, predicted = now.historic - before.historic, now.predicted - before.predicted
        at_risk = now.at_risk - before.at_risk
        days = self._days
        days.hold(day, None, _rfm_level(now.rfm), 0, historic, predicted, at_risk)
        days.hold(day, None, _stage_level(now.lifecycle), 0, historic, predicted, at_risk)
        for trait in now.traits:
            days.hold(day, None, trait, 0, historic, predicted, at_risk)
        if before.lapse_ms == now.lapse_ms:
            self._hold_loss(now.lapse_ms, day, now.loss - before.loss, now.variance - before.variance)
        else:
            self._hold_loss(before.lapse_ms, day, -before.loss, -before.variance)
            self._hold_loss(now.lapse_ms, day, now.loss, now.variance)

    def _hold_loss(self, lapse_ms: int, day: int, loss: int, variance: int) -> None:
        if not lapse_ms:
            return
        end = -(-lapse_ms // DAY_MS) - 1  # the day at whose end the customer has lapsed, if at all
        days = self._days
        for span, loss_level, variance_level in _LOSSES:
            first = max(day, end - span)
            days.hold(first, end, loss_level, loss)
            days.hold(first, end, variance_level, variance)

    def _move(self, before: _Known | None, now: _Known | None, day: int) -> None:
        """Count who comes and goes."""
        if before is None or now is None:
            self._enter("rfm", None if before is None else before.rfm, None if now is None else now.rfm, day)
            stage_before = None if before is None else before.lifecycle
            self._enter("lifecycle", stage_before, None if now is None else now.lifecycle, day)
            return
        if now.rfm != before.rfm:
            self._enter("rfm", before.rfm, now.rfm, day)
        if now.lifecycle != before.lifecycle:
            self._enter("lifecycle", before.lifecycle, now.lifecycle, day)
            was, is_ = before.lifecycle in ACTIVE_STAGES, now.lifecycle in ACTIVE_STAGES
            if was and not is_:
                self._days.flow(day, "churned", 1)
                self._days.flow(day, "lost", before.predicted)
            elif is_ and not was:
                self._days.flow(day, "won_back", 1)

    def _enter(self, dimension: str, before: str | None, now: str | None, day: int) -> None:
        """Count who leaves one segment and enters another."""
        if before is not None:
            self._days.flow(day, (dimension, before, "left"), 1)
        if now is not None:
            self._days.flow(day, (dimension, now, "entered"), 1)

    def _answer(self, example: Example, day: int) -> None:
        flow = self._days.flow
        right = example.risk if example.label else 1.0 - example.risk
        flow(day, ("answers", "questions"), 1)
        flow(day, ("answers", "churned"), example.label)
        flow(day, ("answers", "risk"), round(example.risk * MICRO))
        flow(day, ("answers", "log_loss"), round(-log(max(right, _SURE)) * MICRO))

    def _remove(self, customer_id: str, day: int) -> None:
        known = self._known.pop(customer_id, None)
        if known is not None:
            day = max(day, known.at_ms // DAY_MS)
            self._hold(known, day, -1)
            self._move(known, None, day)
            self._alerts.forget(customer_id, day)


def _traits_of(score: CustomerScore) -> tuple[Key, ...]:
    """Name the groups of what is known of a customer."""
    return tuple(
        (f"{TRAIT}{name}", trait_text(value)) for name, value in score.traits.items() if value is not None
    )
