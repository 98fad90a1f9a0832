"""Dead letters: messages that break the contract, kept as they came.

Key and value are untouched; where the message came from and why it was refused stand in headers, under
the names that Kafka Connect uses, so that tools which know those find them.
"""

from __future__ import annotations

from typing import Any

from agents.transport import OutputRecord
from schemas.codec import WireError

_PREFIX = "__connect.errors."

HEADERS = {
    _PREFIX + "topic": "Where the message was read.",
    _PREFIX + "partition": "Its partition there, as digits.",
    _PREFIX + "offset": "Its offset there, as digits.",
    _PREFIX + "stage": "What refused it.",
    _PREFIX + "exception.class.name": "The error's type.",
    _PREFIX + "exception.message": "Why, in words; never a customer's value.",
    "holdfast.reason": "Why, from a closed list.",
    "holdfast.original.bytes": "Only where the value was cut: how long it had been, as digits.",
}
"""The headers that a dead letter has beside the message's own."""

MOST_BYTES = 900_000
"""More of a message is not kept: a broker takes records of about a megabyte."""


def dead_letter(
    record: Any, error: WireError, topic: str, partition: int, stage: str = "VALUE_CONVERTER"
) -> OutputRecord:
    """Make the dead letter of a record.

    Parameters
    ----------
    record
        The consumed record: offset, key, value, headers.
    error
        Why it was refused; it names no customer's value.
    topic, partition
        Where it came from.
    """
    headers = [
        (_PREFIX + "topic", topic.encode()),
        (_PREFIX + "partition", str(partition).encode()),
        (_PREFIX + "offset", str(record.offset).encode()),
        (_PREFIX + "stage", stage.encode()),
        (_PREFIX + "exception.class.name", type(error).__name__.encode()),
        (_PREFIX + "exception.message", str(error).encode()),
        ("holdfast.reason", error.reason.encode()),
    ]
    value = record.value
    if value is not None and len(value) > MOST_BYTES:
        # It came in compressed and would not go out again: a letter that is refused would stop us for good.
        headers.append(("holdfast.original.bytes", str(len(value)).encode()))
        value = value[:MOST_BYTES]
    return record.key, value, [*record.headers, *headers]
