"""The customers of one partition: records and time in, decisions out.

The machine holds a state for each customer, a watermark and timers. A record first moves the
watermark and lets everything that has become due happen; then, for its own customer, everything due
before it; then it is folded in and the customer is looked at where the record calls for it. So for
each customer things happen in the order of event time, whoever else is in the partition and however
records were batched.

A look (review) has two halves. The facts half names the segments and keeps the question; the verdict
half asks the model, runs the alert episode and looks for the moment of crossing. Nothing of the
second half flows back into the first. RFM cells belong to the second half where a model draws their borders
(`segments.borders = "learned"`): then their timer moves nothing that the facts rest on, like a crossing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, MutableMapping
from typing import Final

from schemas.codec import utc
from schemas.decisions import ReviewCause, SegmentChange
from schemas.events import (
    Anonymous,
    Cancellation,
    Click,
    Described,
    Event,
    Order,
    OrderUpdate,
    Passive,
    Refund,
)
from schemas.learning import Example
from schemas.topics import CUSTOMER_SCORES, EXAMPLES, INPUTS, SEGMENT_CHANGES
from streams.clock.timers import NOT_SET, Timer, Timers
from streams.clock.watermark import NEVER_MS, Watermark
from streams.config import HOUR_MS, MINUTE_MS, SECOND_MS, StreamConfig, days_ms
from streams.customer.at_hand import at_hand_of, warm_up
from streams.customer.decision import OUTCOMES, Decision, Outcome
from streams.customer.dedupe import forget_messages, seen_message
from streams.customer.features import FEATURE_NAMES
from streams.customer.history import (
    answer_questions,
    fold_cancellation,
    fold_click,
    fold_order,
    fold_refund,
    fold_update,
    retract_answers,
)
from streams.customer.lifecycle import LIFECYCLE_NAMES, PROSPECT, Stages
from streams.customer.packing import digest, unpack
from streams.customer.reviews import becomes_question, next_review_ms
from streams.customer.rfm import RFM_NAMES
from streams.customer.state import MOST_QUESTIONS, NO_TIME, CustomerState, move_landmark, new_state
from streams.customer.state_wire import Question
from streams.customer.verdicts import Judge, Look
from streams.learning.served import Served
from streams.segments.serving import cells_of
from streams.segments.traits import fold_traits, kept_names

NO_SEGMENT = "none"
"""The RFM segment of a customer whose only order was cancelled."""

# Numbers of `OUTCOMES`.
_APPLIED: Final = 0
_LATE: Final = 1
_DUPLICATE: Final = 2
_REPEATED: Final = 3
_ANONYMOUS: Final = 4

_FORGOTTEN: Final = -1
"""No moment: event times start in 1990."""


class CustomerMachine:
    """All customers of one partition.

    Parameters
    ----------
    config
        What events mean.
    model
        What to serve until another model is adopted or announced.
    partition
        Its number, for evidence.
    inputs
        Names of the input topics, for evidence; a record's `source` is a place in it.
    watermark_ms
        Where the watermark stands at the start.
    states
        Where the customers are kept; a dictionary of its own by default. What it hands out is changed
        in place and named in `dirty` in the same step, so it must hand out the same object until then.

    Attributes
    ----------
    later_from_ms
        The moment from which on an announced model serves; `NOT_SET` without one.
    has_used_news
        Whether anything was decided since the last announcement that would have been decided by another
        model without it.

    Examples
    --------
    >>> from streams.learning.served import untrained
    >>> config = StreamConfig()
    >>> machine = CustomerMachine(config, Served(untrained(config)))
    >>> order = Order("c1", "m1", 1_767_225_600_000, "o1", 25.0)
    >>> machine.apply(order, source=1, offset=0)
    <Outcome.APPLIED: 'applied'>
    >>> [decision.topic for decision in machine.take()]
    ['segment-changes', 'segment-changes', 'customer-scores']
    """

    def __init__(
        self,
        config: StreamConfig,
        model: Served,
        partition: int = 0,
        inputs: tuple[str, ...] = INPUTS,
        watermark_ms: int = NEVER_MS,
        states: MutableMapping[str, CustomerState] | None = None,
    ) -> None:
        self.config = config
        self.partition = partition
        self.inputs = inputs
        self.states: MutableMapping[str, CustomerState] = {} if states is None else states
        self._at_hand = at_hand_of(self.states)
        self.dirty: dict[str, None] = {}  # an ordered set: customers whose state has to be written
        self.watermark = Watermark(int(config.time.allowed_lateness_seconds * SECOND_MS), watermark_ms)
        self.timers = Timers()
        self.judge = Judge(config, model, partition, inputs)
        self._decisions: list[Decision] = []
        self.looks: dict[str, int] = {}  # by cause, for whoever counts them; never an input to anything
        self._gap_ms = int(config.reviews.session_gap_minutes * MINUTE_MS)
        self._horizon_ms = days_ms(config.reviews.horizon_days)
        self._learned = config.segments.borders == "learned"
        self._cells = cells_of(config.segments, model.snapshot.segments)
        self._later: Judge | None = None
        self._later_cells = self._cells
        self.later_from_ms = NOT_SET
        self._since_ms = NEVER_MS
        self.has_used_news = False
        self._stages = Stages(config.segments)
        self._traits = kept_names(config)
        self._forget_ms = days_ms(config.reviews.forget_days)
        self._folds: dict[type[Event], Callable[[str, CustomerState, Event], None]] = {
            Order: self._order,
            OrderUpdate: self._update,
            Refund: self._refund,
            Cancellation: self._cancellation,
            Described: self._described,
            Passive: self._passive,
        }

    @property
    def model(self) -> Served:
        """The newest model that was adopted or announced."""
        return self.judge.model if self._later is None else self._later.model

    @property
    def later_model(self) -> Served | None:
        """What decides about moments from `later_from_ms` on; about those before it `judge.model` does."""
        return None if self._later is None else self._later.model

    def adopt(self, model: Served) -> None:
        """Serve another model from the next record on, whatever was announced."""
        self.judge.serve(model)
        self._cells = cells_of(self.config.segments, model.snapshot.segments)
        self._later, self.later_from_ms = None, NOT_SET

    def announce(self, model: Served, from_ms: int) -> None:
        """Serve another model for all moments from one on; what was announced before serves the others.

        Which model decides follows from the moment that the decision is about, so it does not depend on
        how the records of several inputs or partitions lay between one another.

        Parameters
        ----------
        from_ms
            An event time after the newest that has moved the watermark.
        """
        self._since_ms = NEVER_MS
        if self._later is not None:
            self.judge, self._cells, self._since_ms = self._later, self._later_cells, self.later_from_ms
        self._later = Judge(self.config, model, self.partition, self.inputs)
        self._later_cells = cells_of(self.config.segments, model.snapshot.segments)
        self.later_from_ms = from_ms
        self.has_used_news = False

    def _judge_of(self, as_of_ms: int) -> Judge:
        if as_of_ms < self.later_from_ms:
            if as_of_ms < self._since_ms:
                self.has_used_news = True  # until now the model before that one served here
            return self.judge
        self.has_used_news = True
        assert self._later is not None, "a moment is set with a model"
        return self._later

    @property
    def has_decided(self) -> bool:
        """Whether there is anything to take."""
        return bool(self._decisions)

    def take(self) -> list[Decision]:
        """Take the decisions made since the last time, in the order in which they were made."""
        decisions, self._decisions = self._decisions, []
        return decisions

    def expect(self, dues: Iterable[tuple[str, int]]) -> None:
        """Set the timers of recovered customers, each with its `due_ms`; no state is looked at."""
        self.timers.begin(dues)

    def erase(self, customer_id: str) -> None:
        """Forget a customer: the state goes, and the latest score is withdrawn.

        That is said of a customer without a state as well: a request to erase must have an answer.
        """
        self.states.pop(customer_id, None)
        self.timers.forget(customer_id)
        self.dirty[customer_id] = None
        self._decisions.append(Decision(CUSTOMER_SCORES, customer_id, None))

    def apply(self, event: Event, source: int, offset: int) -> Outcome:
        """Take in one record.

        Parameters
        ----------
        event
            What the record says.
        source
            Which input it came from.
        offset
            Its offset there; records of an input come with rising offsets.
        """
        return OUTCOMES[self.take_in(event, source, offset)]

    def take_in(self, event: Event, source: int, offset: int) -> int:
        """Take in one record like `apply`; the answer is the outcome's place in `OUTCOMES`."""
        time_ms = event.time_ms
        late = time_ms <= self.watermark.at_ms
        if not late:
            self._advance(time_ms)
        if type(event) is Anonymous:
            return _ANONYMOUS
        customer_id = event.customer_id
        state = self._find(customer_id)
        if state is not None:
            if state.customer_id:
                customer_id = state.customer_id
            else:
                state.customer_id = customer_id
            if offset <= state.applied[source]:
                return _REPEATED
            if seen_message(state, event.message_id, time_ms):
                state.applied[source] = offset  # read again, it must not depend on ids that fade
                self.dirty[customer_id] = None
                return _DUPLICATE
            due_ms = self._timer(customer_id, state).due_ms
            if due_ms < time_ms or due_ms == NOT_SET:
                caught_up = self._catch_up(customer_id, state, time_ms - 1, answers=False)
                if caught_up == _FORGOTTEN:
                    state = None
        if state is None:
            state = self.states[customer_id] = new_state(time_ms, len(self.inputs))
            state.customer_id = customer_id
            seen_message(state, event.message_id, time_ms)
        state.applied[source] = offset
        if time_ms > state.clock_ms:
            state.clock_ms = time_ms
            move_landmark(state, time_ms)
        elif time_ms < state.first_ms:
            state.first_ms = time_ms
        self.dirty[customer_id] = None
        if not state.orders and state.session_ms and state.session_ms + self._gap_ms < time_ms:
            state.session_ms = NO_TIME  # nobody is told when a session of a prospect ends: no timer for it
        if type(event) is Click:
            fold_click(state, time_ms, event.funnel)
            # A click brings nothing forward but the end of its session; what stands may be early, not late.
            ends_ms = state.session_ms + self._gap_ms
            due_ms = self._timer(customer_id, state).due_ms
            # Nor may what the state says be late, which may differ: it is what a restart goes by.
            if (
                due_ms == NOT_SET
                or (state.orders and (ends_ms < due_ms or ends_ms < state.verdict.due_ms))
                or time_ms == state.first_ms
            ):
                self._reschedule(customer_id, state)
        else:
            self._folds[type(event)](customer_id, state, event)
            self._reschedule(customer_id, state)
        return _LATE if late else _APPLIED

    def warm_up(self, customer_ids: list[str]) -> None:
        """Fetch states that the next records need; nothing is changed, and none need follow."""
        warm_up(customer_ids, self._at_hand)

    def tick(self, now_ms: int) -> None:
        """Let the wall clock move the watermark; only for live inputs that are idle."""
        self._advance(now_ms)

    # Time

    def may_take_long(self, time_ms: int) -> bool:
        """Tell whether much may be due before an event: after a gap, or where `lead` did not end.

        Not before a late one: it does not move time, and what is due waits for one that does.
        """
        at_ms = self.watermark.at_ms
        if time_ms <= at_ms:
            return False
        return time_ms - at_ms >= HOUR_MS or self.timers.is_due(at_ms)

    def lead(self, time_ms: int, most: int) -> bool:
        """Let time come up to an event before it is applied, a part at a time.

        A gap in event time can make everybody due at once, which takes longer than a worker may be silent.
        What is decided does not depend on whether, or in how many parts, this was called.

        Parameters
        ----------
        most
            Timers to fire at most.

        Returns
        -------
        bool
            Whether nothing is due any more.
        """
        until_ms = self.watermark.observe(time_ms)
        return any(not self._fire(until_ms) for _ in range(most))

    def _advance(self, time_ms: int) -> None:
        until_ms = self.watermark.observe(time_ms)
        while self._fire(until_ms):
            pass

    def _fire(self, until_ms: int) -> bool:
        """Let the earliest timer that is due fire; False when none is."""
        entry = self.timers.pop(until_ms)
        if entry is None:
            return False
        due_ms, timer = entry
        customer_id = timer.customer_id
        state = self._find(customer_id)
        if state is not None:
            # Up to this entry only: what the customer has due later takes its turn among the others.
            next_ms = self._catch_up(customer_id, state, due_ms)
            if next_ms != _FORGOTTEN:
                # What stood may have been early. The state keeps it all the same: nothing else has changed
                # there, and a state that differs from what was written of it would have to be written again.
                self.timers.set(timer, next_ms)
        return True

    def _catch_up(self, customer_id: str, state: CustomerState, until_ms: int, answers: bool = True) -> int:
        """Let everything of one customer happen that is due by `until_ms`; tell what is due next.

        `_FORGOTTEN` when it was time to forget the customer.

        A record of the customer's own may run ahead of the watermark. Reviews must not wait then, or they
        would see that record; answers must, or an order that is on time could come too late to count.
        """
        due_ms = self._due_ms(state, answers)
        while due_ms <= until_ms:
            if due_ms >= self._forget_at_ms(state):
                self._mature(customer_id, state, due_ms)
                self.erase(customer_id)
                return _FORGOTTEN
            self._on_due(customer_id, state, due_ms)
            due_ms = self._reschedule(customer_id, state)
            if not answers:
                due_ms = self._due_ms(state, answers)
        return due_ms

    def _on_due(self, customer_id: str, state: CustomerState, due_ms: int) -> None:
        self._mature(customer_id, state, min(due_ms, self.watermark.at_ms))
        cause: ReviewCause | None = None
        if state.session_ms and state.session_ms + self._gap_ms <= due_ms:
            state.session_ms = NO_TIME
            cause = "session"
        if state.border_ms and state.border_ms <= due_ms:
            cause = "boundary"
        if state.review_ms and state.review_ms <= due_ms:
            cause = "timer"
        if cause is not None:
            state.clock_ms = max(due_ms, state.clock_ms)
            move_landmark(state, state.clock_ms)
            forget_messages(state, state.clock_ms)
            self._review(customer_id, state, cause)
        elif 0 < state.verdict.border_ms <= due_ms or 0 < state.verdict.crossing_ms <= due_ms:
            # A model chose this moment, so nothing that the facts rest on may move here.
            as_of_ms = max(due_ms, state.clock_ms)
            cause = "crossing" if 0 < state.verdict.crossing_ms <= due_ms else "boundary"
            moved = False
            if 0 < state.verdict.border_ms <= due_ms:
                moved = self._name_cell(customer_id, state, as_of_ms, "boundary")
            look = self._judge_of(as_of_ms).look(state, as_of_ms)
            self._judge(customer_id, state, look, cause, moved)

    def _forget_at_ms(self, state: CustomerState) -> int:
        # Written out here and below: compiled, `max` and `min` of several, and loops over them, make objects.
        latest_ms = state.first_ms
        if state.click_ms > latest_ms:
            latest_ms = state.click_ms
        if state.order_ms > latest_ms:
            latest_ms = state.order_ms
        return latest_ms + self._forget_ms

    def _due_ms(self, state: CustomerState, answers: bool = True) -> int:
        due_ms = self._forget_at_ms(state)
        if state.session_ms and state.orders and state.session_ms + self._gap_ms < due_ms:
            due_ms = state.session_ms + self._gap_ms
        if answers and state.questions:
            matures_ms = state.questions[0].asked_ms + self._horizon_ms
            if matures_ms < due_ms:
                due_ms = matures_ms
        if state.review_ms and state.review_ms < due_ms:
            due_ms = state.review_ms
        if state.border_ms and state.border_ms < due_ms:
            due_ms = state.border_ms
        crossing_ms = state.verdict.crossing_ms
        if crossing_ms and crossing_ms < due_ms:
            due_ms = crossing_ms
        border_ms = state.verdict.border_ms
        if border_ms and border_ms < due_ms:
            due_ms = border_ms
        return due_ms

    def _find(self, customer_id: str) -> CustomerState | None:
        state = self._at_hand.get(customer_id)
        return self.states.get(customer_id) if state is None else state

    def _timer(self, customer_id: str, state: CustomerState) -> Timer:
        timer = state.timer
        if timer is None:
            state.timer = timer = self.timers.of(customer_id)
        return timer

    def _reschedule(self, customer_id: str, state: CustomerState) -> int:
        state.verdict.due_ms = due_ms = self._due_ms(state)
        self.timers.set(self._timer(customer_id, state), due_ms)
        self.dirty[customer_id] = None
        return due_ms

    def _mature(self, customer_id: str, state: CustomerState, until_ms: int) -> None:
        """Answer the questions whose horizon has passed."""
        while state.questions and state.questions[0].asked_ms + self._horizon_ms <= until_ms:
            question = state.questions.pop(0)
            example = Example(
                id=digest(f"example/{customer_id}/{question.asked_ms}").hex(),
                customer_id=customer_id,
                asked_at=utc(question.asked_ms),
                matured_at=utc(question.asked_ms + self._horizon_ms),
                horizon_days=self.config.reviews.horizon_days,
                cause="order" if question.by_order else "timer",
                features=dict(zip(FEATURE_NAMES, unpack(question.features), strict=True)),
                risk=question.risk,
                label=0 if question.ordered else 1,
                model_version=question.model_version,
            )
            self._decisions.append(Decision(EXAMPLES, customer_id, example))

    # Records

    def _passive(self, _customer_id: str, _state: CustomerState, _event: Event) -> None:
        """Nothing the customer did."""

    def _described(self, customer_id: str, state: CustomerState, event: Event) -> None:
        assert isinstance(event, Described)
        if fold_traits(state, event, self._traits) and state.orders:
            self._review(customer_id, state, "correction")

    def _order(self, customer_id: str, state: CustomerState, event: Event) -> None:
        assert isinstance(event, Order)
        new = fold_order(state, event, self.config.segments)
        if new:
            answer_questions(state, event.time_ms, self._horizon_ms)
        self._review(customer_id, state, "order" if new else "correction")

    def _update(self, customer_id: str, state: CustomerState, event: Event) -> None:
        assert isinstance(event, OrderUpdate)
        if fold_update(state, event):
            self._review(customer_id, state, "correction")

    def _refund(self, customer_id: str, state: CustomerState, event: Event) -> None:
        assert isinstance(event, Refund)
        if fold_refund(state, event):
            self._review(customer_id, state, "correction")

    def _cancellation(self, customer_id: str, state: CustomerState, event: Event) -> None:
        assert isinstance(event, Cancellation)
        if fold_cancellation(state, event, self.config.segments):
            retract_answers(state)
            self._review(customer_id, state, "correction")

    # Reviews

    def _review(self, customer_id: str, state: CustomerState, cause: ReviewCause) -> None:
        """Look at the customer as of their own clock."""
        if state.orders == 0:
            self._unreview(customer_id, state, cause)
            return
        as_of_ms = state.clock_ms
        moved = False
        # Silence moves nobody before the border, and a click never: at the end of a session nothing is new.
        over = 0 < state.border_ms <= as_of_ms or 0 < state.verdict.border_ms <= as_of_ms
        if cause != "session" or state.review_ms <= as_of_ms or over:
            moved = self._segment(customer_id, state, as_of_ms, cause)
            state.review_ms = next_review_ms(state.order_ms, as_of_ms, self.config.reviews)
        look = self._judge_of(as_of_ms).look(state, as_of_ms)
        if cause in ("order", "timer"):
            self._ask(customer_id, state, look, by_order=cause == "order")
        self._judge(customer_id, state, look, cause, moved)

    def _segment(self, customer_id: str, state: CustomerState, as_of_ms: int, cause: ReviewCause) -> bool:
        """Name the segments and when silence will change them; tell whether one has changed."""
        moved = self._name_cell(customer_id, state, as_of_ms, cause)
        stage = self._stages.of(state.orders, as_of_ms - state.order_ms, state.won_back)
        at_ms = self._stages.next_border_ms(state.order_ms, as_of_ms)
        if self._learned or state.border_ms == NO_TIME or NO_TIME < at_ms < state.border_ms:
            state.border_ms = at_ms
        if stage != state.lifecycle:
            before = LIFECYCLE_NAMES[state.lifecycle] if state.lifecycle >= 0 else None
            self._moved(customer_id, state, as_of_ms, "lifecycle", before, LIFECYCLE_NAMES[stage], cause)
            state.lifecycle, moved = stage, True
        return moved

    def _name_cell(self, customer_id: str, state: CustomerState, as_of_ms: int, cause: ReviewCause) -> bool:
        """Name the RFM segment and when silence will change it; tell whether it has changed.

        Where a model draws the borders, `border_ms` of the facts is left to the lifecycle.
        """
        cells = self._cells if as_of_ms < self.later_from_ms else self._later_cells
        rfm = cells.segment(state.orders, as_of_ms - state.order_ms)
        at_ms = cells.next_border_ms(state.order_ms, as_of_ms)
        if self._learned:
            state.verdict.border_ms = at_ms
        else:
            state.border_ms, state.verdict.border_ms = at_ms, NO_TIME
        if rfm == state.rfm:
            return False
        before = RFM_NAMES[state.rfm] if state.rfm >= 0 else None
        if state.lifecycle == PROSPECT:  # everything was cancelled before
            before = NO_SEGMENT
        self._moved(customer_id, state, as_of_ms, "rfm", before, RFM_NAMES[rfm], cause)
        state.rfm = rfm
        return True

    def _unreview(self, customer_id: str, state: CustomerState, cause: ReviewCause) -> None:
        """Take back what was said of a customer who turned out to have ordered nothing."""
        state.review_ms = state.border_ms = NO_TIME
        if state.lifecycle in (-1, PROSPECT):
            return
        at_ms = state.clock_ms
        self._moved(customer_id, state, at_ms, "rfm", RFM_NAMES[state.rfm], NO_SEGMENT, cause)
        stage = LIFECYCLE_NAMES[state.lifecycle]
        self._moved(customer_id, state, at_ms, "lifecycle", stage, LIFECYCLE_NAMES[PROSPECT], cause)
        state.rfm, state.lifecycle = -1, PROSPECT
        self._judge_of(at_ms).withdraw(customer_id, state, self._decisions)

    def _moved(
        self,
        customer_id: str,
        state: CustomerState,
        at_ms: int,
        dimension: str,
        previous: str | None,
        current: str,
        cause: ReviewCause,
    ) -> None:
        change = SegmentChange(
            id=digest(f"{dimension}/{customer_id}/{at_ms}/{previous}/{current}").hex(),
            customer_id=customer_id,
            event_time=utc(at_ms),
            dimension="rfm" if dimension == "rfm" else "lifecycle",
            previous=previous,
            current=current,
            cause=cause,
            evidence=self.judge.evidence(state),
        )
        self._decisions.append(Decision(SEGMENT_CHANGES, customer_id, change))

    def _ask(self, customer_id: str, state: CustomerState, look: Look, by_order: bool) -> None:
        if not becomes_question(customer_id, look.as_of_ms, self.config.reviews):
            return
        version = self._judge_of(look.as_of_ms).model.model_version
        question = Question(look.as_of_ms, by_order, False, look.packed(), look.risk, version)
        if state.questions and state.questions[-1].asked_ms == look.as_of_ms:
            state.questions[-1] = question  # a second order in the same moment: the later look counts
        elif len(state.questions) < MOST_QUESTIONS:
            state.questions.append(question)

    def _judge(
        self,
        customer_id: str,
        state: CustomerState,
        look: Look,
        cause: ReviewCause,
        moved: bool = False,
    ) -> None:
        self.looks[cause] = self.looks.get(cause, 0) + 1
        judge = self._judge_of(look.as_of_ms)
        judge.decide(customer_id, state, look, cause, moved, self._decisions)
