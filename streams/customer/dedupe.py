"""Which messages of a customer have been seen: what is delivered twice counts once.

Two generations of hashed message ids are kept, of a day each, so a repeat within a day is always found unless
too many others came in between, and a silent customer needs none. An id is hashed to 64 bits, the same in
every process; as that happens with each event, by a function made for speed.

References
----------
XXH3, https://xxhash.com; it is no cryptographic hash, and need not be: a collision that a customer contrives
drops a message of his own.
"""

from __future__ import annotations

from typing import Final

from librt.strings import read_i64_le
from librt.vecs import append, vec
from mypy_extensions import i64
from xxhash import xxh3_64_digest

from streams.customer.state import NO_TIME, CustomerState

RECENT_MESSAGES: Final = 64
"""Message ids kept in each of the two generations."""

DEDUPE_MS: Final = 86_400_000
"""A generation of message ids lasts a day, so an id is known for a day at least and three at most."""


def hashed(message_id: str) -> i64:
    """Reduce a message id to 64 bits.

    Examples
    --------
    >>> hashed("m-1")
    7353556582627526429
    """
    return read_i64_le(xxh3_64_digest(message_id.encode()), 0)


def seen_message(state: CustomerState, message_id: str, time_ms: int) -> bool:
    """Tell whether the message was seen before, and remember it.

    Two generations of a day each are kept, so a repeat within a day is always found unless more
    than `RECENT_MESSAGES` others came in between in each.
    """
    key = hashed(message_id)
    ids = state.ids_now
    if _holds(ids, key) or _holds(state.ids_before, key):
        return True
    if time_ms - state.ids_ms >= DEDUPE_MS:
        recent = time_ms - state.ids_ms < 2 * DEDUPE_MS
        state.ids_before = ids if recent else vec[i64]()
        state.ids_now = vec[i64]([key])
        state.ids_ms = time_ms
    else:
        state.ids_now = append(ids if len(ids) < RECENT_MESSAGES else ids[1:], key)
    return False


def _holds(ids: vec[i64], key: i64) -> bool:
    for known in ids:  # noqa: SIM110 - compiled, `any` and `in` make objects of the numbers
        if known == key:
            return True
    return False


def forget_messages(state: CustomerState, as_of_ms: int) -> None:
    """Drop message ids that are older than the window: a silent customer needs none."""
    if state.ids_ms and as_of_ms - state.ids_ms >= 2 * DEDUPE_MS:
        state.ids_now = vec[i64]()
        state.ids_before = vec[i64]()
        state.ids_ms = NO_TIME
