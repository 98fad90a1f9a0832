"""How far event time has come in one partition.

A watermark of w says: every event with a time up to and including w has, by what was promised, been
seen. It follows the newest event time at a fixed distance (the allowed lateness), so a record may
come out of order by less than that distance and still be on time. It never goes back. Records move
it; on a live topic a tick of the wall clock may move it too, which the caller decides.

References
----------
Akidau et al., The Dataflow Model, VLDB 2015, doi 10.14778/2824032.2824076.
"""

from __future__ import annotations

from typing import Final

NEVER_MS: Final = -(2**62)
"""A watermark before every event."""


class Watermark:
    """A watermark that moves by records and ticks.

    Parameters
    ----------
    allowed_lateness_ms
        Distance between the newest event time and the watermark.
    at_ms
        Where it stands at the start: `NEVER_MS`, or what a marker recorded.

    Examples
    --------
    >>> watermark = Watermark(allowed_lateness_ms=10)
    >>> watermark.observe(100)
    89
    >>> watermark.observe(50)
    89
    """

    __slots__ = ("_distance_ms", "at_ms")

    def __init__(self, allowed_lateness_ms: int, at_ms: int = NEVER_MS) -> None:
        if allowed_lateness_ms < 0:
            raise ValueError("allowed_lateness_ms must not be negative")
        self._distance_ms = allowed_lateness_ms + 1  # events at the very edge are still on time
        self.at_ms = at_ms

    @property
    def newest_ms(self) -> int:
        """The newest event time that has moved it."""
        return self.at_ms + self._distance_ms

    def observe(self, time_ms: int) -> int:
        """Take notice of an event time, or of the wall clock; return the watermark after it."""
        at_ms = time_ms - self._distance_ms
        if at_ms > self.at_ms:
            self.at_ms = at_ms
        return self.at_ms
