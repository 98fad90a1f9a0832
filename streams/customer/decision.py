"""One thing that is said about a customer, and where."""

from __future__ import annotations

from typing import NamedTuple

import msgspec


class Decision(NamedTuple):
    """One output message; no payload means that the customer's entry is to be removed."""

    topic: str
    customer_id: str
    payload: msgspec.Struct | None
