"""What is remembered of one customer: plain numbers, versioned, small.

The state has two parts that must not mix. The facts follow from the customer's own records and from
time alone, so they are the same whatever model is served, however records were batched, and in any
replay. The `Verdict` holds what a model made of them: the risk last served, the alert episode, the
moment at which the risk will cross. Keeping them apart is what makes segments and labels
reproducible while the model keeps learning.

How a state travels is the business of `streams.customer.state_codec`; which messages were seen that of
`streams.customer.dedupe`.

With `segments.borders = "learned"` a model draws the borders of the RFM cells, so `rfm` is a part of the
verdict then, though it stands among the facts, and the moment at which silence leads over such a border is
the verdict's `border_ms` (decision 19).
"""

from __future__ import annotations

from typing import Final

from librt.vecs import vec
from mypy_extensions import i64

from streams.clock.timers import Timer
from streams.customer.decay import faded, landmark_is_stale
from streams.customer.packing import pack_vector
from streams.customer.state_wire import Question, RecentOrder, Traits

STATE_VERSION: Final = 3

NO_TIME: Final = 0
"""No such moment; event times start in 1990."""

# Of 7, 28, 28 and 84 days; written out, so that a compiler sees a number.
VIEWS_HALF_LIFE_MS: Final = 604_800_000.0
SESSIONS_HALF_LIFE_MS: Final = 2_419_200_000.0
ORDERS_SHORT_HALF_LIFE_MS: Final = 2_419_200_000.0
ORDERS_LONG_HALF_LIFE_MS: Final = 7_257_600_000.0

RECENT_ORDERS: Final = 4
"""Orders that are kept by name, so that an update, a refund, a cancellation or a repeat finds them."""

CATEGORY_CELLS: Final = 32
"""Cells that categories are hashed to, a bit each; how many are taken tells how many categories there are."""

MOST_QUESTIONS: Final = 128
"""Open questions of one customer; a house account that orders all day must not outgrow a record."""


class Verdict:
    """What a model made of the customer: never an input to the facts.

    Attributes
    ----------
    risk
        At the latest review, and `published` the one last sent out; negative before the first.
    values
        The features at the latest review, packed; not at the review but when they are asked for, as most
        reviews are followed by another before the state is written.
    crossing_ms
        When the risk will reach the alert threshold in silence, `NO_TIME` when it will not.
    episode
        Number of the `streams.customer.alerts.Episode` state.
    episode_ms
        Event time at which the episode was raised.
    due_ms
        No later than the earliest moment at which anything about the customer is due.
    border_ms
        When silence next leads over a border that a model drew; `NO_TIME` where settings draw them.
    """

    __slots__ = (
        "_latest", "_packed", "border_ms", "crossing_ms", "due_ms", "episode", "episode_ms", "published",
        "risk",
    )  # fmt: skip

    def __init__(
        self,
        risk: float = -1.0,
        published: float = -1.0,
        values: bytes = b"",
        crossing_ms: int = NO_TIME,
        episode: int = 0,
        episode_ms: int = NO_TIME,
        due_ms: int = NO_TIME,
        border_ms: int = NO_TIME,
    ) -> None:
        self.border_ms = border_ms
        self.risk = risk
        self.published = published
        self._packed = values
        self._latest: vec[float] = vec[float]()  # empty once they are packed
        self.crossing_ms = crossing_ms
        self.episode = episode
        self.episode_ms = episode_ms
        self.due_ms = due_ms

    @property
    def values(self) -> bytes:
        """The features at the latest review, packed."""
        if len(self._latest):
            self._packed = pack_vector(self._latest)
            self._latest = vec[float]()
        return self._packed

    def keep(self, packed: bytes) -> None:
        """Take the features of a review as they were packed."""
        self._packed = packed
        self._latest = vec[float]()

    def look_at(self, values: vec[float]) -> None:
        """Keep the features of a review; they must not change any more."""
        self._latest = values

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Verdict) and _values(self, VERDICT_FIELDS) == _values(other, VERDICT_FIELDS)

    def __hash__(self) -> int:
        raise TypeError("a verdict changes")

    def __repr__(self) -> str:
        return f"Verdict{_values(self, VERDICT_FIELDS)!r}"


class CustomerState:
    """One customer.

    Attributes
    ----------
    clock_ms
        The newest event time or timer that the customer has seen: reviews never look back past it.
    landmark_ms
        What the fading sums `views`, `sessions`, `sessions_short`, `carts`, `orders_short` and `orders_long`
        refer to.
    session_ms
        Latest click of the session that is open, `NO_TIME` when none is.
    revenue, refunded, discounted
        Sums over all orders, in the shop's currency; `revenue` is before refunds.
    items
        Pieces in all orders.
    recent_orders
        Key, event time, amount, discount, pieces and category cells of the newest orders, oldest first.
    category_cells
        Cells of the orders that are not among the newest any more, as bits.
    categories
        How many cells are taken by all orders.
    gap_ms
        The longest gap among the newest orders.
    cart_ms
        When something was last put into the cart.
    refunds
        Key and refunded amount of those of them that had a refund.
    cancelled
        Keys of the orders called off last: what comes in for them later counts for nothing.
    ids_now, ids_before
        Recent message ids, hashed (`streams.customer.dedupe`); `ids_ms` is when `ids_now` began.
    applied
        Offset of the newest record applied, for each input.
    review_ms, border_ms
        When the next scheduled review is, and when silence next changes a segment.
    rfm, lifecycle
        Numbers of the current segment names; -1 before the first review.
    traits
        What identify messages said, by name, of the names that are kept; None where nothing was said.
    customer_id
        Who, once a record has been applied; it does not travel, being the key. The customer is looked up in
        several places with this one string: a dictionary that holds it need not compare letters.
    timer
        What the machine asks for the next look, once it has asked; it does not travel either.
    """

    __slots__ = (
        "applied", "border_ms", "cancelled", "cart_ms", "carts", "categories", "category_cells", "click_ms",
        "clock_ms", "customer_id", "discounted", "first_ms", "first_order_ms", "gap_ms", "ids_before",
        "ids_ms", "ids_now", "items", "landmark_ms", "lifecycle", "order_amount", "order_ms", "orders",
        "orders_long", "orders_short", "questions", "recent_orders", "refunded", "refunds", "revenue",
        "review_ms", "rfm", "session_ms", "sessions", "sessions_short", "timer", "traits",
        "verdict", "version", "views", "won_back",
    )  # fmt: skip

    def __init__(
        self,
        *,
        first_ms: int,
        clock_ms: int,
        landmark_ms: int,
        recent_orders: list[RecentOrder],
        refunds: list[tuple[int, float]],
        cancelled: list[int],
        applied: list[int],
        questions: list[Question],
        verdict: Verdict,
        version: int = STATE_VERSION,
        click_ms: int = NO_TIME,
        session_ms: int = NO_TIME,
        views: float = 0.0,
        sessions: float = 0.0,
        carts: float = 0.0,
        orders: int = 0,
        revenue: float = 0.0,
        refunded: float = 0.0,
        discounted: float = 0.0,
        first_order_ms: int = NO_TIME,
        order_ms: int = NO_TIME,
        order_amount: float = 0.0,
        orders_short: float = 0.0,
        orders_long: float = 0.0,
        won_back: bool = False,
        ids_ms: int = NO_TIME,
        review_ms: int = NO_TIME,
        border_ms: int = NO_TIME,
        rfm: int = -1,
        lifecycle: int = -1,
        sessions_short: float = 0.0,
        cart_ms: int = NO_TIME,
        items: int = 0,
        category_cells: int = 0,
        categories: int = 0,
        gap_ms: int = 0,
        traits: Traits | None = None,
    ) -> None:
        self.customer_id = ""
        self.timer: Timer | None = None
        self.version = version
        self.first_ms = first_ms
        self.clock_ms = clock_ms
        self.landmark_ms = landmark_ms
        self.click_ms = click_ms
        self.session_ms = session_ms
        self.views = views
        self.sessions = sessions
        self.carts = carts
        self.orders = orders
        self.revenue = revenue
        self.refunded = refunded
        self.discounted = discounted
        self.first_order_ms = first_order_ms
        self.order_ms = order_ms
        self.order_amount = order_amount
        self.orders_short = orders_short
        self.orders_long = orders_long
        self.won_back = won_back
        self.recent_orders = recent_orders
        self.refunds = refunds
        self.cancelled = cancelled
        self.ids_now = vec[i64]()
        self.ids_before = vec[i64]()
        self.ids_ms = ids_ms
        self.applied = vec[i64](applied)
        self.review_ms = review_ms
        self.border_ms = border_ms
        self.questions = questions
        self.rfm = rfm
        self.lifecycle = lifecycle
        self.verdict = verdict
        self.sessions_short = sessions_short
        self.cart_ms = cart_ms
        self.items = items
        self.category_cells = category_cells
        self.categories = categories
        self.gap_ms = gap_ms
        self.traits = traits

    def __eq__(self, other: object) -> bool:
        return isinstance(other, CustomerState) and _values(self, FIELDS) == _values(other, FIELDS)

    def __hash__(self) -> int:
        raise TypeError("a customer's state changes")

    def __repr__(self) -> str:
        return f"CustomerState{_values(self, FIELDS)!r}"


def new_state(time_ms: int, inputs: int) -> CustomerState:
    """Begin a customer at their first event.

    Examples
    --------
    >>> list(new_state(1_000, inputs=2).applied)
    [-1, -1]
    """
    return CustomerState(
        first_ms=time_ms,
        clock_ms=time_ms,
        landmark_ms=time_ms,
        recent_orders=[],
        refunds=[],
        cancelled=[],
        applied=[-1] * inputs,
        questions=[],
        verdict=Verdict(),
    )


def _values(remembered: object, names: tuple[str, ...]) -> tuple[object, ...]:
    return tuple([getattr(remembered, name) for name in names])


FIELDS: tuple[str, ...] = (
    "version", "first_ms", "clock_ms", "landmark_ms", "click_ms", "session_ms", "views", "sessions",
    "sessions_short", "carts", "cart_ms", "orders", "revenue", "refunded", "discounted", "first_order_ms",
    "order_ms", "order_amount", "orders_short", "orders_long", "won_back", "items", "category_cells",
    "categories", "gap_ms", "recent_orders", "refunds", "cancelled", "ids_now", "ids_before", "ids_ms",
    "applied", "review_ms", "border_ms", "questions", "rfm", "lifecycle", "verdict", "traits",
)  # fmt: skip
"""Names of what is remembered of a customer: all of these travel."""

VERDICT_FIELDS: tuple[str, ...] = (
    "risk", "published", "values", "crossing_ms", "episode", "episode_ms", "due_ms", "border_ms",
)  # fmt: skip
"""The same of a verdict."""


def facts(state: CustomerState) -> list[object]:
    """List what follows from the customer's records and time alone, for comparing runs.

    Left out are the verdict, what a question was answered by the model, and the offsets, which
    depend on how a topic is partitioned.
    """
    hidden = {"verdict", "applied", "questions"}
    plain: list[object] = [getattr(state, name) for name in FIELDS if name not in hidden]
    plain.append([(q.asked_ms, q.by_order, q.ordered, q.features) for q in state.questions])
    return plain


def move_landmark(state: CustomerState, time_ms: int) -> None:
    """Move the landmark up to `time_ms` when the forward weights have grown too large."""
    if not landmark_is_stale(time_ms, state.landmark_ms, VIEWS_HALF_LIFE_MS):
        return
    old_ms = state.landmark_ms
    state.views = faded(state.views, time_ms, old_ms, VIEWS_HALF_LIFE_MS)
    state.carts = faded(state.carts, time_ms, old_ms, VIEWS_HALF_LIFE_MS)
    state.sessions_short = faded(state.sessions_short, time_ms, old_ms, VIEWS_HALF_LIFE_MS)
    state.sessions = faded(state.sessions, time_ms, old_ms, SESSIONS_HALF_LIFE_MS)
    state.orders_short = faded(state.orders_short, time_ms, old_ms, ORDERS_SHORT_HALF_LIFE_MS)
    state.orders_long = faded(state.orders_long, time_ms, old_ms, ORDERS_LONG_HALF_LIFE_MS)
    state.landmark_ms = time_ms
