"""Whether one expert is better than every other, said only when the evidence would hold at any time.

The mixture is what is served, so a champion changes nothing; it is told because people ask. Experts are
compared pair by pair, by their mean log losses over blocks. Questions a week apart see nearly the same
future, so single answers repeat one another: a block is all that was answered in a horizon of event time, at
least `LEAST_ANSWERS`. Its mean is over many customers and so nearly normal, whatever single losses are; how
much means differ from block to block is unknown. That is the setting of Student's t, asked again after each
block.

Looking again and again until a test says yes finds a difference where there is none. The sequential t-test
does not: it weighs the normal distribution without a difference against those with a standardised difference
that is itself drawn from N(0, 1), for an unknown spread. Their ratio, a function of t alone, is a
test martingale (Ville: it ever reaches 1 / alpha with probability alpha at most), and the means that it does
not refute are a confidence sequence. With n blocks of mean m and standard deviation s it is
m ± h s / sqrt(n),

    h^2 = (n - 1) (A - 1) / (1 - A / (n + 1)),    A = (sqrt(n + 1) / alpha)^(2 / n),

and everything while A >= n + 1. Futures of one block reach into the next. If questions come evenly and the
likeness of two falls in a straight line until their futures no longer overlap, blocks next to one another are
correlated by 1/4, which makes the variance of a mean up to 3/2 as large; s^2 is taken so much larger.

A champion is named when it is better than each other expert by such a sequence at level
alpha / (experts - 1): a wrong name is then ever told with probability alpha at most, if nothing but
overlapping futures ties blocks together. Differences that persist for other reasons, the same customers
asked again or a season that favours quick experts, make it more: simulated with blocks that keep .3, .5 and
.7 of the difference before, a wrong name is told in 6, 22 and 52 of a hundred histories of 150 blocks.

References
----------
Lai, On confidence sequences, Annals of Statistics 4 (1976); Wang & Ramdas, Anytime-valid t-tests and
confidence sequences for Gaussian means with unknown variance, Sequential Analysis 44 (2025).
Gonen et al., The Bayesian two-sample t test, The American Statistician 59 (2005), for the ratio.
Choe & Ramdas, Comparing sequential forecasters, Operations Research 72 (2024).
"""

from __future__ import annotations

from math import inf, sqrt

import msgspec

ALPHA = 0.05
LEAST_ANSWERS = 500
OVERLAP = 1.5
"""By how much overlapping futures enlarge the variance of a mean of blocks, at most."""


class ChampionState(msgspec.Struct, array_like=True):
    """Means and co-moments of the blocks that have ended, and where the open one began."""

    blocks: int
    means: list[float]
    moments: list[list[float]]
    interval: int
    begun: bool
    count: int
    totals: list[float]


class Champion:
    """Compares `n` experts.

    Parameters
    ----------
    n
        Experts.
    horizon_ms
        Event time that a block covers at least.

    Examples
    --------
    >>> champion = Champion(2, horizon_ms=1000)
    >>> for block in range(40):
    ...     luck = 0.001 * (block % 3)
    ...     champion.see(1000 * block, 500 * block, [200.0 * block, (210.0 + luck) * block])
    >>> champion.best()
    0
    """

    def __init__(self, n: int, horizon_ms: int) -> None:
        self._horizon_ms = horizon_ms
        self._blocks = 0
        self._means = [0.0] * n
        self._moments = [[0.0] * n for _ in range(n)]
        self._interval = -1
        self._begun = False
        self._count = 0
        self._totals = [0.0] * n

    def due(self, matured_ms: int) -> bool:
        """Tell whether an answer at this event time begins another interval: then `see` is to be called."""
        return matured_ms // self._horizon_ms > self._interval

    def see(self, matured_ms: int, count: int, totals: list[float]) -> None:
        """Take what there is before the first answer of a new interval of event time.

        Parameters
        ----------
        matured_ms
            Event time of that answer.
        count
            Answers so far, without it.
        totals
            Log loss of each expert summed over them.
        """
        interval = self._interval
        self._interval = max(interval, matured_ms // self._horizon_ms)
        if interval < 0:
            return  # answers begin anywhere in an interval: blocks begin at the next border
        answers = count - self._count
        if self._begun and answers < LEAST_ANSWERS:
            return  # the block goes on
        if self._begun:
            self._end([(now - then) / answers for now, then in zip(totals, self._totals, strict=True)])
        self._begun = True
        self._count, self._totals = count, list(totals)

    def _end(self, block: list[float]) -> None:
        """Welford's update, for all pairs."""
        self._blocks += 1
        before = [loss - mean for loss, mean in zip(block, self._means, strict=True)]
        self._means = [mean + off / self._blocks for mean, off in zip(self._means, before, strict=True)]
        after = [loss - mean for loss, mean in zip(block, self._means, strict=True)]
        for moments, off in zip(self._moments, before, strict=True):
            for place, rest in enumerate(after):
                moments[place] += off * rest

    def interval(self, one: int, other: int, alpha: float = ALPHA) -> tuple[float, float]:
        """Give the confidence sequence of the loss of `one` less that of `other`, as it stands."""
        n, moments = self._blocks, self._moments
        reach = reach_of(n, alpha)
        middle = self._means[one] - self._means[other]
        if reach == inf:
            return -inf, inf
        squares = moments[one][one] + moments[other][other] - moments[one][other] - moments[other][one]
        spread = sqrt(OVERLAP * max(0.0, squares) / (n - 1))
        return middle - reach * spread / sqrt(n), middle + reach * spread / sqrt(n)

    def best(self) -> int | None:
        """Give the place of the champion; None while there is none."""
        n = len(self._means)
        if n < 2 or not self._blocks:
            return None
        leader = min(range(n), key=self._means.__getitem__)
        alpha = ALPHA / (n - 1)
        others = (other for other in range(n) if other != leader)
        return leader if all(self.interval(leader, other, alpha)[1] < 0.0 for other in others) else None

    def state(self) -> ChampionState:
        """Take everything out."""
        moments = [list(row) for row in self._moments]
        return ChampionState(
            self._blocks,
            list(self._means),
            moments,
            self._interval,
            self._begun,
            self._count,
            list(self._totals),
        )

    @classmethod
    def restore(cls, horizon_ms: int, state: ChampionState) -> Champion:
        """Go on from a state."""
        champion = cls(len(state.means), horizon_ms)
        champion._blocks = state.blocks
        champion._means = list(state.means)
        champion._moments = [list(row) for row in state.moments]
        champion._interval = state.interval
        champion._begun = state.begun
        champion._count = state.count
        champion._totals = list(state.totals)
        return champion


def reach_of(n: int, alpha: float) -> float:
    """Give the half-width of the sequence after `n` blocks, in standard errors of a mean; infinite at first.

    Examples
    --------
    >>> reach_of(3, 0.05), round(reach_of(12, 0.05), 2), round(reach_of(1000, 0.05), 2)
    (inf, 3.68, 3.6)
    """
    if n < 2:
        return inf
    larger = (sqrt(n + 1.0) / alpha) ** (2.0 / n)
    if larger >= n + 1.0:
        return inf
    return sqrt((n - 1.0) * (larger - 1.0) / (1.0 - larger / (n + 1.0)))
