"""When a partition closes its epoch: about so often, and each partition at a moment of its own.

Partitions that are taken over together would close their epochs together for ever after. Then the one thread
writes the states of all of them in a row while the records of all of them wait, and their transactions hold
each other up. So each closes its epochs on a grid of its own, shifted by its number times the golden ratio:
the shifts of any number of partitions lie nearly evenly, whichever a worker holds.

References
----------
Knuth (1998), The Art of Computer Programming 3, 6.4 (Fibonacci hashing; the three-distance theorem).
"""

from __future__ import annotations

_GOLDEN = 0.6180339887498949


def next_turn(now: float, partition: int, every: float) -> float:
    """Give the next moment at which a partition closes its epoch.

    It is more than half an epoch from now, for one may just have been closed out of turn, and at most one and
    a half.

    Parameters
    ----------
    now
        By the monotonic clock, in seconds.
    partition
        Its number.
    every
        Seconds from one turn to the next.

    Examples
    --------
    >>> [round(next_turn(100.0, partition, 1.0), 2) for partition in range(4)]
    [101.0, 100.62, 101.24, 100.85]
    """
    soonest = now + every / 2.0
    shift = partition * _GOLDEN % 1.0 * every
    return soonest + every - (soonest - shift) % every
