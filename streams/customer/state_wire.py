"""What a customer's state looks like on the wire: msgpack arrays, in the order of the fields.

A state is written as a tuple, which is quicker than making a Struct first, and read as a Struct, which
checks every type. These shapes are apart from `streams.customer.state_codec` because that module may be
compiled, and a Struct must be made by the interpreter.
"""

from __future__ import annotations

import msgspec

from schemas.events import Trait

RecentOrder = tuple[int, int, float, float, int, int]
"""Key, event time, amount, discount, pieces, category cells."""

Traits = dict[str, tuple[int, Trait]]
"""By name: when it was said last, and what."""


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


class VerdictOnWire(msgspec.Struct, array_like=True, gc=False):
    """The model's part: see `Verdict`."""

    risk: float
    published: float
    values: bytes
    crossing_ms: int
    episode: int
    episode_ms: int
    due_ms: int
    border_ms: int = 0


class StateOnWire(msgspec.Struct, array_like=True, gc=False):
    """The whole: see `CustomerState`.

    `landmark_ms` and `first_order_ms` count from `first_ms`. `order_ms` and `order_amount` are 0 where they
    are those of the last of the `recent_orders`. `published` and `due_ms` of the verdict are small integers
    where they are those of another field (see the `AS_` constants of `streams.customer.state_codec`).
    What has a default is left out where it has it, so it comes last.
    """

    version: int
    first_ms: int
    clock_ms: int
    landmark_ms: int
    click_ms: int
    session_ms: int
    views: float
    sessions: float
    carts: float
    orders: int
    revenue: float
    refunded: float
    discounted: float
    first_order_ms: int
    order_ms: int
    order_amount: float
    orders_short: float
    orders_long: float
    won_back: bool
    recent_orders: list[RecentOrder]
    refunds: list[tuple[int, float]]
    cancelled: list[int]
    ids_now: bytes
    ids_before: bytes
    ids_ms: int
    applied: list[int]
    review_ms: int
    border_ms: int
    questions: list[Question]
    rfm: int
    lifecycle: int
    verdict: VerdictOnWire
    sessions_short: float = 0.0
    cart_ms: int = 0
    items: int = 0
    category_cells: int = 0
    categories: int = 0
    gap_ms: int = 0
    traits: Traits | None = None
