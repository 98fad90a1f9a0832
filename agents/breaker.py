"""A breaker for dead letters: a few bad messages are the world's, a flood of them is a mistake.

A producer that changes its format overnight sends nothing but messages that break the contract. Each
would go to the dead letters, offsets would move on, and the shop would hear about it from its empty
charts. So a worker that refuses too many stops, and says so. There are two limits, for each input and
partition: a share of the last `window` records, judged only once so many have been seen, and a number
in a row, which speaks sooner. Both are judged when a message is refused: a good one stops nobody.

Counting begins afresh with each start and each time a partition comes: a flood that goes on stops the
next worker too, after as many messages.
"""

from __future__ import annotations

from collections import Counter, deque
from typing import NamedTuple


class Tripped(NamedTuple):
    """Why a breaker has tripped.

    Attributes
    ----------
    setting
        The limit that was passed, by its name in the section `dead_letters`.
    refused, of
        How many messages of how many.
    reason
        The most frequent reason among them.
    """

    setting: str
    refused: int
    of: int
    reason: str


class Breaker:
    """Counts the records of one input and partition.

    Parameters
    ----------
    window
        The share is taken over so many records.
    max_share
        A larger share trips it.
    max_consecutive
        More in a row trip it.

    Examples
    --------
    >>> breaker = Breaker(window=4, max_share=0.5, max_consecutive=10)
    >>> [breaker.bad("missing"), breaker.bad("missing"), breaker.good(), breaker.bad("not_json")]
    [None, None, None, Tripped(setting='max_share', refused=3, of=4, reason='missing')]
    """

    __slots__ = ("_in_a_row", "_max_consecutive", "_max_share", "_refused", "_seen", "_window")

    def __init__(self, window: int, max_share: float, max_consecutive: int) -> None:
        self._window = window
        self._max_share = max_share
        self._max_consecutive = max_consecutive
        self._seen = 0
        self._refused: deque[tuple[int, str]] = deque()  # number and reason; no older than the window
        self._in_a_row = 0

    def good(self, count: int = 1) -> None:
        """Count records that were taken."""
        self._seen += count

    def bad(self, reason: str) -> Tripped | None:
        """Count a record that was refused; say whether that was one too many."""
        refused, number = self._refused, self._seen
        self._seen += 1
        follows = bool(refused) and refused[-1][0] == number - 1
        self._in_a_row = self._in_a_row + 1 if follows else 1
        refused.append((number, reason))
        while refused[0][0] <= number - self._window:
            refused.popleft()
        if self._in_a_row > self._max_consecutive:
            return self._tripped("max_consecutive", self._in_a_row, self._in_a_row)
        if self._seen >= self._window and len(refused) / self._window > self._max_share:
            return self._tripped("max_share", len(refused), self._window)
        return None

    def _tripped(self, setting: str, refused: int, of: int) -> Tripped:
        ((reason, _),) = Counter(reason for _, reason in self._refused).most_common(1)
        return Tripped(setting, refused, of, reason)


def flood(tripped: Tripped, topic: str, partition: int, dead_letters: str) -> str:
    """Say in one line what an operator should know.

    Examples
    --------
    >>> print(flood(Tripped("max_share", 500, 1000, "not_json"), "orders", 3, "orders.dlq"))
    orders, partition 3: 500 of the last 1000 messages break the contract (50%), mostly not_json; \
look at orders.dlq, and raise dead_letters.max_share if this is to be expected
    """
    return (
        f"{topic}, partition {partition}: {tripped.refused} of the last {tripped.of} messages break the "
        f"contract ({tripped.refused / tripped.of:.0%}), mostly {tripped.reason}; look at {dead_letters}, "
        f"and raise dead_letters.{tripped.setting} if this is to be expected"
    )
