"""Parameters of the "buy till you die" models, as plain numbers that travel in a model.

These models say that a customer buys at a rate of their own and, unseen, leaves for good at some point.
Rates and inclinations to leave differ between customers by two distributions of two parameters each;
with a third pair, for what an order is worth, that is everything there is to know about a shop.
"""

from __future__ import annotations

from typing import Literal

import msgspec

BtydModel = Literal["bgnbd", "mbgnbd", "paretonbd"]


class BtydParams(msgspec.Struct, frozen=True, kw_only=True):
    """When customers buy and leave. Times are in days.

    Attributes
    ----------
    model
        `bgnbd` and `mbgnbd`: a customer may leave after an order. `paretonbd`: at any moment.
    r, alpha
        Shape, and rate in days, of the gamma distribution of order rates: a mean of r / alpha orders a day.
    a, b
        Of the inclination to leave: for `bgnbd` and `mbgnbd` the beta distribution of the probability to
        leave after an order; for `paretonbd` shape, and rate in days, of the gamma distribution of the rate
        of leaving (s and beta in the literature).

    Examples
    --------
    >>> BtydParams(model="bgnbd", r=0.25, alpha=30.0, a=0.8, b=2.4).alpha
    30.0
    """

    model: BtydModel
    r: float
    alpha: float
    a: float
    b: float


class SpendParams(msgspec.Struct, frozen=True, kw_only=True):
    """What orders are worth: the Gamma-Gamma model.

    Attributes
    ----------
    p
        Shape of the gamma distribution of an order's value around the customer's own mean.
    q, gamma
        Shape, and rate in the shop's currency, of the distribution of those means between customers.

    Examples
    --------
    >>> SpendParams(p=6.25, q=3.75, gamma=15.4).q
    3.75
    """

    p: float
    q: float
    gamma: float
