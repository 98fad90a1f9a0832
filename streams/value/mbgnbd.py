"""MBG/NBD: BG/NBD in which a customer may leave after the first order too.

In BG/NBD whoever never came back is alive for certain, which no shop believes: most first orders are the only
one. Here the probability to leave applies after every order, the first included:

    L = G(r+x) alpha^r / G(r) * B(a, b+x+1) / B(a, b) * ((alpha+T)^-(r+x) + a / (b+x) * (alpha+t_x)^-(r+x))

The rest follows as in `streams.value.bgnbd`.

References
----------
Batislam, E. P., Denizel, M. and Filiztekin, A. (2007), Empirical validation and comparison of models for
customer base analysis, International Journal of Research in Marketing 24(3), 201-209.
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
    >>> params = BtydParams(model="mbgnbd", r=0.5, alpha=43.0, a=0.9, b=1.6)
    >>> round(prob_alive(params, 0, 0.0, 0.0), 3), round(prob_alive(params, 2, 60.0, 80.0), 3)
    (0.64, 0.72)
    """
    log_odds = log(params.a / (params.b + x)) + (params.r + x) * log(
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
    >>> params = BtydParams(model="mbgnbd", r=0.5, alpha=43.0, a=0.9, b=1.6)
    >>> round(no_order_log_odds(params, 2, 60.0, 80.0, 84.0), 3)
    -0.095
    """
    left = params.alpha + T
    shape = params.r + x
    silence = shape * log1p(horizon / left)
    log_odds_left = log(params.a / (params.b + x)) + shape * log(left / (params.alpha + t_x))
    if log_odds_left > _LARGE:
        return log_odds_left - log(-expm1(-silence))
    return log((exp(log_odds_left) + exp(-silence)) / -expm1(-silence))


def prob_no_order(params: BtydParams, x: float, t_x: float, T: float, horizon: float) -> float:
    """Probability of no order within the horizon.

    Examples
    --------
    >>> params = BtydParams(model="mbgnbd", r=0.5, alpha=43.0, a=0.9, b=1.6)
    >>> round(prob_no_order(params, 2, 60.0, 80.0, 84.0), 3)
    0.476
    """
    log_odds = no_order_log_odds(params, x, t_x, T, horizon)
    return 1.0 / (1.0 + exp(-log_odds)) if log_odds > -_LARGE else 0.0


def expected_orders(params: BtydParams, x: float, t_x: float, T: float, horizon: float) -> float:
    """Expect the orders within the horizon.

    Examples
    --------
    >>> params = BtydParams(model="mbgnbd", r=0.5, alpha=43.0, a=0.9, b=1.6)
    >>> round(expected_orders(params, 2, 60.0, 80.0, 84.0), 3)
    1.042
    """
    alive = prob_alive(params, x, t_x, T)
    return alive * orders_while_there(params.r + x, params.alpha + T, params.a, params.b + x + 1.0, horizon)


def log_likelihoods(params: BtydParams, triples: Triples) -> Floats:
    """Log-likelihood of one customer of each history.

    Examples
    --------
    >>> from streams.value.triples import triples_of
    >>> params = BtydParams(model="mbgnbd", r=0.5, alpha=43.0, a=0.9, b=1.6)
    >>> log_likelihoods(params, triples_of([(2, 60.0, 80.0)])).round(3).tolist()
    [-11.075]
    """
    x, t_x, T, _ = triples
    r, alpha, a, b = params.r, params.alpha, params.a, params.b
    shape = r + x
    stayed = -shape * np.log(alpha + T)
    left = np.log(a / (b + x)) - shape * np.log(alpha + t_x)
    several: Floats = (
        gammaln(shape)
        - gammaln(r)
        + r * log(alpha)
        + betaln(a, b + x + 1.0)
        - betaln(a, b)
        + np.logaddexp(stayed, left)
    )
    return several
