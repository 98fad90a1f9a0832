"""Parts of a customer's state that are records of their own.

They are apart from `streams.customer.state` because that module may be compiled, and a Struct must be made by
the interpreter.
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
