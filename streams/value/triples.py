"""What the BTYD models need to know of a shop: how many customers had which history.

A customer enters as three numbers: x repeat orders, the time t_x from the first order to the last
(recency in the CLV sense), and the time T from the first order to now. Nothing else about a customer moves
any of these likelihoods, so equal customers are counted instead of kept. Sorted and counted, the same
customers are the same arrays in whatever order they came, and so is everything that follows from them.

References
----------
Fader, P. S., Hardie, B. G. S. and Lee, K. L. (2005), "Counting your customers" the easy way: an alternative
to the Pareto/NBD model, Marketing Science 24(2), 275-284.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


class Triples(NamedTuple):
    """Distinct (x, t_x, T), and how many customers have each.

    Attributes
    ----------
    x
        Repeat orders: those after the first.
    t_x
        From the first order to the last; 0 where x is 0.
    T
        From the first order to the moment of observation; not less than `t_x`.
    weight
        Customers.
    """

    x: Floats
    t_x: Floats
    T: Floats
    weight: Floats

    @property
    def n(self) -> float:
        """Customers in all."""
        return float(self.weight.sum())


def triples_of(customers: Iterable[tuple[float, float, float]]) -> Triples:
    """Count customers, each given as (x, t_x, T).

    Raises
    ------
    ValueError
        When there is no customer, or one has a history that cannot be.

    Examples
    --------
    >>> triples = triples_of([(2, 30.0, 90.0), (0, 0.0, 90.0), (0, 0.0, 90.0)])
    >>> triples.x.tolist(), triples.weight.tolist(), triples.n
    ([0.0, 2.0], [2.0, 1.0], 3.0)
    """
    rows = np.asarray(list(customers), dtype=np.float64)
    if not rows.size:
        raise ValueError("no customers")
    x, t_x, T = rows.T
    if not (np.isfinite(rows).all() and (x >= 0).all() and (t_x >= 0).all() and (t_x <= T).all()):
        raise ValueError("0 <= x and 0 <= t_x <= T must hold for every customer")
    if ((x == 0) & (t_x > 0)).any():
        raise ValueError("without a repeat order t_x is 0")
    distinct, weight = np.unique(rows, axis=0, return_counts=True)
    x, t_x, T = np.ascontiguousarray(distinct.T)
    return Triples(x, t_x, T, weight.astype(np.float64))
