"""What a machine answers with: what became of a record, and what is said about a customer."""

from __future__ import annotations

from enum import Enum
from typing import NamedTuple

import msgspec


class Outcome(Enum):
    """What became of a record: each has exactly one."""

    APPLIED = "applied"
    LATE = "late"
    """Applied as well, but behind the watermark: what was decided in between did not know of it."""
    DUPLICATE = "duplicate"
    """The same message again: nothing changed."""
    REPEATED = "repeated"
    """The same record again, after a restart: nothing changed."""
    ANONYMOUS = "anonymous"
    """It names no customer: it moved time only."""


OUTCOMES: tuple[Outcome, ...] = tuple(Outcome)
"""By number, as `CustomerMachine.take_in` answers: members of an enum are slow to look up and to hash."""


class Decision(NamedTuple):
    """One output message; no payload means that the customer's entry is to be removed."""

    topic: str
    customer_id: str
    payload: msgspec.Struct | None
