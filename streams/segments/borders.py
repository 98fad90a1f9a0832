"""Borders of the RFM cells that follow the crowd: quintiles of a sketch of the shop's customers.

Of each customer in the sample that BTYD models are fitted to, the time of the last order and the number of
orders go into two KLL sketches: small summaries that can be merged and that tell the value at any rank.
Beyond k values a KLL sketch throws coins that cannot be seeded, and two replays would differ. The sample is
smaller than k, so no coin is thrown: a rank is exact for the sample, and what is uncertain is the sample
itself. By Dvoretzky, Kiefer, Wolfowitz and Massart its ranks are off by no more than sqrt(ln(2 / .01) / 2n)
with 99 chances in 100.

Recency ages without anybody doing anything, the time of an order does not: times are what is sketched. A
quintile of them, taken from the time up to which everything is known, is a number of days of silence, and
so every customer crosses a border at a moment that is known beforehand.

Numbers of orders are tied: sixty in a hundred may have bought once, and then quintiles do not exist. The
customers of one number always get one score; what is left over is divided evenly into the scores that are
left. So the first score may hold sixty in a hundred, and the other four share the rest.

A border moves only when the crowd has: as long as the old one lies within the rank error of where it
belongs, it stays. What a sample can do by chance moves nobody.

References
----------
Karnin, Z., Lang, K. and Liberty, E. (2016), Optimal quantile approximation in streams, FOCS. Massart, P.
(1990), The tight constant in the Dvoretzky-Kiefer-Wolfowitz inequality, Annals of Probability 18(3).
"""

from __future__ import annotations

from collections.abc import Iterable
from math import log, sqrt

from datasketches import kll_doubles_sketch, kll_ints_sketch

from schemas.segments import Borders

SKETCH_K = 4096
"""Up to so many customers a sketch is exact, and the same whatever order they came in."""

ENOUGH_CUSTOMERS = 200

_DAY_SECONDS = 86_400.0
_LEAST_DAYS = 1.0
"""Two borders of recency are at least so far apart, and the first so far from the order."""


def rank_error(customers: int) -> float:
    """Give how far off the ranks of a sample are, with 99 chances in 100 no further.

    Examples
    --------
    >>> round(rank_error(2_000), 4)
    0.0364
    """
    return sqrt(log(2.0 / 0.01) / (2.0 * customers))


class Crowd:
    """When customers ordered last, and how often they have.

    Parameters
    ----------
    customers
        Time of the last order in seconds, and number of orders, of each.

    Examples
    --------
    >>> one, other = Crowd([(0, 1), (86_400, 2)]), Crowd([(172_800, 3)])
    >>> one.merge(other)
    >>> one.customers
    3
    """

    def __init__(self, customers: Iterable[tuple[int, int]] = ()) -> None:
        self._times = kll_doubles_sketch(SKETCH_K)
        self._orders = kll_ints_sketch(SKETCH_K)
        for last_s, orders in customers:
            self._times.update(float(last_s))
            self._orders.update(orders)

    @property
    def customers(self) -> int:
        """How many there are."""
        return int(self._times.n)

    def merge(self, other: Crowd) -> None:
        """Take in the customers of another crowd."""
        self._times.merge(other._times)
        self._orders.merge(other._orders)

    def borders(self, as_of_s: int, before: Borders | None = None) -> Borders | None:
        """Draw the borders; None where there are too few customers to say.

        Parameters
        ----------
        as_of_s
            Up to when everything is known.
        before
            The borders that hold: they stay where the crowd does not contradict them.

        Raises
        ------
        ValueError
            When there are more customers than a sketch is exact for.
        """
        if self._times.is_estimation_mode():
            raise ValueError(f"a crowd of {self.customers} is too large to be the same in every run")
        if self.customers < ENOUGH_CUSTOMERS:
            return None
        error = rank_error(self.customers)
        return Borders(
            recency_days=self._recency_days(as_of_s, error, before),
            frequency_orders=self._frequency_orders(error, before),
            customers=self.customers,
        )

    def _recency_days(self, as_of_s: int, error: float, before: Borders | None) -> list[float]:
        days: list[float] = []
        for place, rank in enumerate((0.8, 0.6, 0.4, 0.2)):
            least = days[-1] + _LEAST_DAYS if days else _LEAST_DAYS
            border = self._silence(as_of_s, rank, least)
            if before is not None:
                old = before.recency_days[place]
                shortest = self._silence(as_of_s, rank + error, least)
                longest = self._silence(as_of_s, rank - error, least)
                border = old if shortest <= old <= longest else border
            days.append(border)
        return days

    def _silence(self, as_of_s: int, rank: float, least: float) -> float:
        """Give the days since the order at a rank of the times of last orders."""
        return max(least, (as_of_s - float(self._times.get_quantile(_rank(rank), True))) / _DAY_SECONDS)

    def _frequency_orders(self, error: float, before: Borders | None) -> list[int]:
        cuts: list[int] = []
        begin = 1
        for place, scores_left in enumerate((5, 4, 3, 2)):
            below = float(self._orders.get_rank(begin, False))
            rank = below + (1.0 - below) / scores_left
            cut = self._behind(rank, begin)
            if before is not None:
                old = before.frequency_orders[place]
                # Both ends of the score are uncertain: the rank at which it begins, and this one.
                fewest, most = self._behind(rank - 2 * error, begin), self._behind(rank + 2 * error, begin)
                cut = old if fewest <= old <= most else cut
            cuts.append(cut)
            begin = cut
        return cuts

    def _behind(self, rank: float, begin: int) -> int:
        """Give the first number of orders behind a rank, and behind `begin`."""
        return max(begin, int(self._orders.get_quantile(_rank(rank), True))) + 1


def _rank(rank: float) -> float:
    return min(1.0, max(0.0, rank))
