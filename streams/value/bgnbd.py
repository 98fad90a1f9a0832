"""BG/NBD: a customer orders at random at a rate of their own, and after each repeat order may leave for good.

Order rates are gamma distributed between customers, the probability to leave after a repeat order is beta
distributed. Somebody may leave at an order only, so silence after the last one is either chance or departure,
and the likelihood of x orders, the last at t_x, in a time T is

    L = G(r+x) alpha^r / G(r) * B(a, b+x) / B(a, b) * ((alpha+T)^-(r+x) + d),
    d = a / (b+x-1) * (alpha+t_x)^-(r+x) for x > 0, else 0

Whoever is still there orders at a Gamma(r+x, alpha+T) rate, so a further silence H multiplies the first
term by ((alpha+T) / (alpha+T+H))^(r+x); the probability of that silence is L at T + H over L at T. A
customer without a repeat order cannot have left in this model: serve the risk of no order, never P(alive).

References
----------
Fader, P. S., Hardie, B. G. S. and Lee, K. L. (2005), "Counting your customers" the easy way: an alternative
to the Pareto/NBD model, Marketing Science 24(2), 275-284.
"""

from __future__ import annotations

from math import log

import numpy as np
from scipy.special import betaln, gammaln

from schemas.btyd import BtydParams
from streams.value.bgnbd_of_one import no_order_log_odds, prob_alive, prob_no_order
from streams.value.geometric import orders_while_there
from streams.value.triples import Floats, Triples

__all__ = ["expected_orders", "log_likelihoods", "no_order_log_odds", "prob_alive", "prob_no_order"]


def expected_orders(params: BtydParams, x: float, t_x: float, T: float, horizon: float) -> float:
    """Expect the orders within the horizon.

    Examples
    --------
    >>> params = BtydParams(model="bgnbd", r=0.25, alpha=30.0, a=0.8, b=2.4)
    >>> round(expected_orders(params, 2, 60.0, 80.0, 84.0), 3)
    1.07
    """
    alive = prob_alive(params, x, t_x, T)
    return alive * orders_while_there(params.r + x, params.alpha + T, params.a, params.b + x, horizon)


def log_likelihoods(params: BtydParams, triples: Triples) -> Floats:
    """Log-likelihood of one customer of each history.

    Examples
    --------
    >>> from streams.value.triples import triples_of
    >>> params = BtydParams(model="bgnbd", r=0.25, alpha=30.0, a=0.8, b=2.4)
    >>> log_likelihoods(params, triples_of([(2, 60.0, 80.0)])).round(3).tolist()
    [-11.073]
    """
    x, t_x, T, _ = triples
    r, alpha, a, b = params.r, params.alpha, params.a, params.b
    shape = r + x
    stayed = -shape * np.log(alpha + T)
    repeat = x > 0
    # b + x - 1 may be negative where x is 0: there it is not used.
    left = np.where(
        repeat, np.log(a / np.where(repeat, b + x - 1.0, 1.0)) - shape * np.log(alpha + t_x), -np.inf
    )
    several: Floats = (
        gammaln(shape)
        - gammaln(r)
        + r * log(alpha)
        + betaln(a, b + x)
        - betaln(a, b)
        + np.logaddexp(stayed, left)
    )
    return several
