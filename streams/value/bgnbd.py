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

from math import exp, expm1, log, log1p

import numpy as np
from scipy.special import betaln, gammaln

from schemas.btyd import BtydParams
from streams.value.geometric import orders_while_there
from streams.value.triples import Floats, Triples

_LARGE = 700.0
"""exp of more overflows; the other term is nothing beside it."""


def prob_alive(params: BtydParams, x: float, t_x: float, T: float) -> float:
    """Probability that a customer has not left.

    Examples
    --------
    >>> params = BtydParams(model="bgnbd", r=0.25, alpha=30.0, a=0.8, b=2.4)
    >>> round(prob_alive(params, 2, 60.0, 80.0), 3), prob_alive(params, 0, 0.0, 900.0)
    (0.73, 1.0)
    """
    if x == 0:
        return 1.0
    log_odds = log(params.a / (params.b + x - 1.0)) + (params.r + x) * log(
        (params.alpha + T) / (params.alpha + t_x)
    )
    return 1.0 / (1.0 + exp(log_odds)) if log_odds < _LARGE else 0.0


def no_order_log_odds(params: BtydParams, x: float, t_x: float, T: float, horizon: float) -> float:
    """Log-odds of no order within the horizon, whether the customer has left or not.

    Parameters
    ----------
    x
        Repeat orders, those after the first.
    t_x, T
        From the first order to the last and to now.
    horizon
        In the same unit as they and `params.alpha`; positive.

    Examples
    --------
    >>> params = BtydParams(model="bgnbd", r=0.25, alpha=30.0, a=0.8, b=2.4)
    >>> round(no_order_log_odds(params, 2, 60.0, 80.0, 84.0), 3)
    -0.106
    """
    left = params.alpha + T
    shape = params.r + x
    silence = shape * log1p(horizon / left)
    if x == 0:
        return -silence - log(-expm1(-silence))
    log_odds_left = log(params.a / (params.b + x - 1.0)) + shape * log(left / (params.alpha + t_x))
    if log_odds_left > _LARGE:
        return log_odds_left - log(-expm1(-silence))
    return log((exp(log_odds_left) + exp(-silence)) / -expm1(-silence))


def prob_no_order(params: BtydParams, x: float, t_x: float, T: float, horizon: float) -> float:
    """Probability of no order within the horizon.

    Examples
    --------
    >>> params = BtydParams(model="bgnbd", r=0.25, alpha=30.0, a=0.8, b=2.4)
    >>> round(prob_no_order(params, 2, 60.0, 80.0, 84.0), 3)
    0.474
    """
    log_odds = no_order_log_odds(params, x, t_x, T, horizon)
    return 1.0 / (1.0 + exp(-log_odds)) if log_odds > -_LARGE else 0.0


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
