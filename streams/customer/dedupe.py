"""Which messages of a customer have been seen: what is delivered twice counts once.

Two generations of digests are kept, of a day each, so a repeat within a day is always found unless too many
others came in between, and a silent customer needs none.
"""

from __future__ import annotations

from typing import Final

from streams.customer.packing import DIGEST, digest
from streams.customer.state import NO_TIME, CustomerState

RECENT_MESSAGES: Final = 64
"""Message ids kept in each of the two generations."""

DEDUPE_MS: Final = 86_400_000
"""A generation of message ids lasts a day, so an id is known for a day at least and three at most."""


def seen_message(state: CustomerState, message_id: str, time_ms: int) -> bool:
    """Tell whether the message was seen before, and remember it.

    Two generations of a day each are kept, so a repeat within a day is always found unless more
    than `RECENT_MESSAGES` others came in between in each.
    """
    key = digest(message_id)
    if (state.ids_now and _holds(state.ids_now, key)) or (state.ids_before and _holds(state.ids_before, key)):
        return True
    if time_ms - state.ids_ms >= DEDUPE_MS:
        recent = time_ms - state.ids_ms < 2 * DEDUPE_MS
        state.ids_before = state.ids_now if recent else b""
        state.ids_now = key
        state.ids_ms = time_ms
    else:
        state.ids_now = state.ids_now[-DIGEST * (RECENT_MESSAGES - 1) :] + key
    return False


def _holds(ids: bytes, key: bytes) -> bool:
    at = ids.find(key)  # `in` would first try the key as a number, and throw that error away
    while at % DIGEST and at >= 0:  # found across two neighbours: look on
        at = ids.find(key, at + 1)
    return at >= 0


def forget_messages(state: CustomerState, as_of_ms: int) -> None:
    """Drop message ids that are older than the window: a silent customer needs none."""
    if state.ids_ms and as_of_ms - state.ids_ms >= 2 * DEDUPE_MS:
        state.ids_now = state.ids_before = b""
        state.ids_ms = NO_TIME
