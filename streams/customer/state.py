"""What is remembered of one customer: plain numbers, versioned, small.

The state has two parts that must not mix. The facts follow from the customer's own records and from
time alone, so they are the same whatever model is served, however records were batched, and in any
replay. The `Verdict` holds what a model made of them: the risk last served, the alert episode, the
moment at which the risk will cross. Keeping them apart is what makes segments and labels
reproducible while the model keeps learning.

A state travels as a msgpack array in field order. A field is only ever appended, with a default;
anything else raises `STATE_VERSION`.
"""

from __future__ import annotations

from array import array
from hashlib import blake2b

import msgspec

from streams.customer.decay import faded, landmark_is_stale

STATE_VERSION = 1

NO_TIME = 0
"""No such moment; event times start in 1990."""

VIEWS_HALF_LIFE_MS = 7 * 86_400_000.0
SESSIONS_HALF_LIFE_MS = 28 * 86_400_000.0
ORDERS_SHORT_HALF_LIFE_MS = 28 * 86_400_000.0
ORDERS_LONG_HALF_LIFE_MS = 84 * 86_400_000.0

RECENT_ORDERS = 4
"""Orders that are kept by name, so that an update, a refund, a cancellation or a repeat finds them."""

RecentOrder = tuple[int, int, float, float]
"""Key, event time, amount, discount."""

RECENT_MESSAGES = 64
"""Message ids kept in each of the two generations."""

MOST_QUESTIONS = 128
"""Open questions of one customer; a house account that orders all day must not outgrow a record."""

DEDUPE_MS = 86_400_000
"""A generation of message ids lasts a day, so an id is known for a day at least and three at most."""

_DIGEST = 8


class Question(msgspec.Struct, array_like=True, gc=False):
    """A review that waits for its answer.

    Attributes
    ----------
    asked_ms
        When it was asked.
    by_order
        Whether an order asked, or else a timer.
    ordered
        Whether the customer has ordered since, within the horizon.
    features
        As they were then, packed as 32-bit floats (`pack`).
    risk, model_version
        What was served then, and by which model.
    """

    asked_ms: int
    by_order: bool
    ordered: bool
    features: bytes
    risk: float
    model_version: str


class Verdict(msgspec.Struct, array_like=True, gc=False):
    """What a model made of the customer: never an input to the facts.

    Attributes
    ----------
    risk
        At the latest review, and `published` the one last sent out; negative before the first.
    values
        The features at the latest review, packed as 32-bit floats.
    crossing_ms
        When the risk will reach the alert threshold in silence, `NO_TIME` when it will not.
    episode
        Number of the `streams.customer.alerts.Episode` state.
    episode_ms
        Event time at which the episode was raised.
    due_ms
        No later than the earliest moment at which anything about the customer is due.
    """

    risk: float = -1.0
    published: float = -1.0
    values: bytes = b""
    crossing_ms: int = NO_TIME
    episode: int = 0
    episode_ms: int = NO_TIME
    due_ms: int = NO_TIME


class CustomerState(msgspec.Struct, array_like=True, gc=False, kw_only=True):
    """One customer.

    Attributes
    ----------
    clock_ms
        The newest event time or timer that the customer has seen: reviews never look back past it.
    landmark_ms
        What the fading sums `views`, `sessions`, `carts`, `orders_short`, `orders_long` refer to.
    session_ms
        Latest click of the session that is open, `NO_TIME` when none is.
    revenue, refunded, discounted
        Sums over all orders, in the shop's currency; `revenue` is before refunds.
    recent_orders
        Key, event time, amount and discount of the newest orders, oldest first.
    refunds
        Key and refunded amount of those of them that had a refund.
    cancelled
        Keys of the orders called off last: what comes in for them later counts for nothing.
    ids_now, ids_before
        Digests of recent message ids, 8 bytes each; `ids_ms` is when `ids_now` began.
    applied
        Offset of the newest record applied, for each input.
    review_ms, border_ms
        When the next scheduled review is, and when silence next changes a segment.
    rfm, lifecycle
        Numbers of the current segment names; -1 before the first review.
    """

    version: int = STATE_VERSION
    first_ms: int
    clock_ms: int
    landmark_ms: int
    click_ms: int = NO_TIME
    session_ms: int = NO_TIME
    views: float = 0.0
    sessions: float = 0.0
    carts: float = 0.0
    orders: int = 0
    revenue: float = 0.0
    refunded: float = 0.0
    discounted: float = 0.0
    first_order_ms: int = NO_TIME
    order_ms: int = NO_TIME
    order_amount: float = 0.0
    orders_short: float = 0.0
    orders_long: float = 0.0
    won_back: bool = False
    recent_orders: list[RecentOrder]
    refunds: list[tuple[int, float]]
    cancelled: list[int]
    ids_now: bytes = b""
    ids_before: bytes = b""
    ids_ms: int = NO_TIME
    applied: list[int]
    review_ms: int = NO_TIME
    border_ms: int = NO_TIME
    questions: list[Question]
    rfm: int = -1
    lifecycle: int = -1
    verdict: Verdict


def new_state(time_ms: int, inputs: int) -> CustomerState:
    """Begin a customer at their first event.

    Examples
    --------
    >>> new_state(1_000, inputs=2).applied
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


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(CustomerState)


def encode_state(state: CustomerState) -> bytes:
    """Write a state for the changelog."""
    return _encoder.encode(state)


def decode_state(value: bytes) -> CustomerState:
    """Read a state back.

    Raises
    ------
    ValueError
        When the bytes are no state, or one of a version that this program does not know.

    Examples
    --------
    >>> state = new_state(1_000, inputs=2)
    >>> decode_state(encode_state(state)) == state
    True
    """
    try:
        state = _decoder.decode(value)
    except msgspec.DecodeError as error:
        raise ValueError(f"not a customer state: {error}") from error
    if state.version != STATE_VERSION:
        raise ValueError(f"customer state of version {state.version}, this program knows {STATE_VERSION}")
    return state


def facts(state: CustomerState) -> list[object]:
    """List what follows from the customer's records and time alone, for comparing runs.

    Left out are the verdict, what a question was answered by the model, and the offsets, which
    depend on how a topic is partitioned.
    """
    hidden = {"verdict", "applied", "questions"}
    plain: list[object] = [getattr(state, name) for name in state.__struct_fields__ if name not in hidden]
    plain.append([(q.asked_ms, q.by_order, q.ordered, q.features) for q in state.questions])
    return plain


def pack(values: list[float]) -> bytes:
    """Pack numbers as 32-bit floats.

    Examples
    --------
    >>> unpack(pack([0.5, 2.0]))
    [0.5, 2.0]
    """
    return array("f", values).tobytes()


def unpack(packed: bytes) -> list[float]:
    """Unpack what `pack` packed; the values are those that a model was asked with."""
    values = array("f")
    values.frombytes(packed)
    return values.tolist()


def digest(text: str) -> bytes:
    """Reduce an id to 8 bytes that are the same in every process.

    Examples
    --------
    >>> digest("m-1").hex()
    'd27ad701a6859b35'
    """
    return blake2b(text.encode(), digest_size=_DIGEST).digest()


def seen_message(state: CustomerState, message_id: str, time_ms: int) -> bool:
    """Tell whether the message was seen before, and remember it.

    Two generations of a day each are kept, so a repeat within a day is always found unless more
    than `RECENT_MESSAGES` others came in between in each.
    """
    key = digest(message_id)
    perhaps = key in state.ids_now or key in state.ids_before  # quick, and nearly always no
    if perhaps and (_holds(state.ids_now, key) or _holds(state.ids_before, key)):
        return True
    if time_ms - state.ids_ms >= DEDUPE_MS:
        recent = time_ms - state.ids_ms < 2 * DEDUPE_MS
        state.ids_before = state.ids_now if recent else b""
        state.ids_now = key
        state.ids_ms = time_ms
    else:
        state.ids_now = state.ids_now[-_DIGEST * (RECENT_MESSAGES - 1) :] + key
    return False


def _holds(ids: bytes, key: bytes) -> bool:
    at = ids.find(key)
    while at % _DIGEST and at >= 0:  # found across two neighbours: look on
        at = ids.find(key, at + 1)
    return at >= 0


def forget_messages(state: CustomerState, as_of_ms: int) -> None:
    """Drop message ids that are older than the window: a silent customer needs none."""
    if state.ids_ms and as_of_ms - state.ids_ms >= 2 * DEDUPE_MS:
        state.ids_now = state.ids_before = b""
        state.ids_ms = NO_TIME


def move_landmark(state: CustomerState, time_ms: int) -> None:
    """Move the landmark up to `time_ms` when the forward weights have grown too large."""
    if not landmark_is_stale(time_ms, state.landmark_ms, VIEWS_HALF_LIFE_MS):
        return
    old_ms = state.landmark_ms
    state.views = faded(state.views, time_ms, old_ms, VIEWS_HALF_LIFE_MS)
    state.carts = faded(state.carts, time_ms, old_ms, VIEWS_HALF_LIFE_MS)
    state.sessions = faded(state.sessions, time_ms, old_ms, SESSIONS_HALF_LIFE_MS)
    state.orders_short = faded(state.orders_short, time_ms, old_ms, ORDERS_SHORT_HALF_LIFE_MS)
    state.orders_long = faded(state.orders_long, time_ms, old_ms, ORDERS_LONG_HALF_LIFE_MS)
    state.landmark_ms = time_ms
