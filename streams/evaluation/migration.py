"""Who moved from which segment to which: a matrix that is folded from segment changes.

It has a row for each segment left, one for those who were in none before, and a column for each segment
entered; its size is that of the table of names, whatever the number of customers.
"""

from __future__ import annotations

from collections import Counter

from schemas.decisions import SegmentChange
from streams.customer.lifecycle import LIFECYCLE_NAMES
from streams.customer.machine import NO_SEGMENT
from streams.customer.rfm import RFM_NAMES

ENTERED = "new"
"""The row of those who were in no segment before."""

NAMES: dict[str, tuple[str, ...]] = {"rfm": (*RFM_NAMES, NO_SEGMENT), "lifecycle": LIFECYCLE_NAMES}


class Migration:
    """Moves between segments, by dimension.

    Examples
    --------
    >>> from schemas.codec import utc
    >>> migration = Migration()
    >>> migration.take(
    ...     SegmentChange(
    ...         id="s",
    ...         customer_id="c",
    ...         event_time=utc(0),
    ...         dimension="lifecycle",
    ...         previous=None,
    ...         current="first_time",
    ...         cause="order",
    ...         evidence=[],
    ...     )
    ... )
    >>> migration.matrix("lifecycle")
    {'new': {'first_time': 1}}
    """

    def __init__(self) -> None:
        self._moves: Counter[tuple[str, str, str]] = Counter()

    def take(self, change: SegmentChange) -> None:
        """Count one move."""
        self._moves[change.dimension, change.previous or ENTERED, change.current] += 1

    def matrix(self, dimension: str) -> dict[str, dict[str, int]]:
        """Give the moves by where from and where to, those that occurred, in the order of the names."""
        names = NAMES[dimension]
        rows = {
            left: {entered: self._moves[dimension, left, entered] for entered in names}
            for left in (ENTERED, *names)
        }
        found = {left: {name: n for name, n in row.items() if n} for left, row in rows.items()}
        return {left: row for left, row in found.items() if row}
