"""Pareto/NBD: a customer orders at random at a rate of their own, and may leave at any moment, unseen.

Order rates are Gamma(r, alpha), rates of leaving Gamma(s, beta) between customers (`a` and `b` of the
parameters are s and beta). The likelihood is

    L = G(r+x) alpha^r / G(r) * beta^s * ((alpha+T)^-(r+x) (beta+T)^-s + A),
    A = integral from t_x to T of s (alpha+u)^-(r+x) (beta+u)^-(s+1) du

where the first term is that the customer is still there and A that they left at u. A is a difference of two
Gauss hypergeometric functions. Euler's transformation makes each a power times 2F1(1, .; r+s+x+1; z), a sum
of positive terms; the form with z = (alpha-beta)/(alpha+u) is taken where alpha is the larger, else the one
with (beta-alpha)/(beta+u), so that z stays within [0, 1). All is added up in logs.

The probability of no order within H is L at T + H over L at T: silence until then is what both have in
common.

References
----------
Schmittlein, D. C., Morrison, D. G. and Colombo, R. (1987), Counting your customers: who are they and what
will they do next?, Management Science 33(1), 1-24. Fader, P. S. and Hardie, B. G. S. (2005), A note on
deriving the Pareto/NBD model and related expressions. Abramowitz & Stegun, 15.3.3.
"""

from __future__ import annotations

from math import log

import numpy as np
from scipy.special import gammaln

from schemas.btyd import BtydParams
from streams.value.hypergeometric import gauss_1
from streams.value.triples import Floats, Triples


def _log_tail(params: BtydParams, x: Floats, u: Floats) -> Floats:
    """Log of the integral of A from u to infinity."""
    r, alpha, s, beta = params.r, params.alpha, params.a, params.b
    p = r + s + x
    if alpha >= beta:
        near = np.log(gauss_1(r + x, p + 1.0, (alpha - beta) / (alpha + u)))
        tail = near - (r + x) * np.log(alpha + u) - s * np.log(beta + u)
    else:
        near = np.log(gauss_1(s + 1.0, p + 1.0, (beta - alpha) / (beta + u)))
        tail = near - (r + x - 1.0) * np.log(alpha + u) - (s + 1.0) * np.log(beta + u)
    both: Floats = np.log(s / p) + tail
    return both


def _log_stayed_and_left(params: BtydParams, x: Floats, t_x: Floats, T: Floats) -> tuple[Floats, Floats]:
    """Logs of the two terms in the brackets of L."""
    stayed = -(params.r + x) * np.log(params.alpha + T) - params.a * np.log(params.b + T)
    from_last = _log_tail(params, x, t_x)
    with np.errstate(divide="ignore"):  # T = t_x: nobody can have left in no time, and the log is -inf
        left = from_last + np.log(-np.expm1(np.minimum(_log_tail(params, x, T) - from_last, 0.0)))
    return stayed, left


def prob_alive(params: BtydParams, x: Floats, t_x: Floats, T: Floats) -> Floats:
    """Probability that a customer has not left.

    Examples
    --------
    >>> params = BtydParams(model="paretonbd", r=0.55, alpha=74.0, a=0.61, b=82.0)
    >>> prob_alive(params, np.array([0.0, 2.0]), np.array([0.0, 60.0]), np.array([80.0, 80.0])).round(
    ...     3
    ... ).tolist()
    [0.609, 0.909]
    """
    stayed, left = _log_stayed_and_left(params, x, t_x, T)
    alive: Floats = np.exp(stayed - np.logaddexp(stayed, left))
    return alive


def prob_no_order(params: BtydParams, x: Floats, t_x: Floats, T: Floats, horizon: float) -> Floats:
    """Probability of no order within the horizon, whether the customer has left or not.

    Examples
    --------
    >>> params = BtydParams(model="paretonbd", r=0.55, alpha=74.0, a=0.61, b=82.0)
    >>> prob_no_order(params, np.array([2.0]), np.array([60.0]), np.array([80.0]), 84.0).round(3).tolist()
    [0.45]
    """
    later = np.logaddexp(*_log_stayed_and_left(params, x, t_x, T + horizon))
    now = np.logaddexp(*_log_stayed_and_left(params, x, t_x, T))
    silent: Floats = np.exp(np.minimum(later - now, 0.0))
    return silent


def expected_orders(params: BtydParams, x: Floats, t_x: Floats, T: Floats, horizon: float) -> Floats:
    """Expect the orders within the horizon.

    Examples
    --------
    >>> params = BtydParams(model="paretonbd", r=0.55, alpha=74.0, a=0.61, b=82.0)
    >>> expected_orders(params, np.array([2.0]), np.array([60.0]), np.array([80.0]), 84.0).round(3).tolist()
    [1.106]
    """
    less = params.a - 1.0
    log_rest = np.log1p(horizon / (params.b + T))
    while_there = -np.expm1(-less * log_rest) / less if less else log_rest
    rate = (params.r + x) / (params.alpha + T)
    orders: Floats = prob_alive(params, x, t_x, T) * rate * (params.b + T) * while_there
    return orders


def expected_orders_from_first(params: BtydParams, T: Floats) -> Floats:
    """Expect the repeat orders of a new customer by time T after the first order.

    Examples
    --------
    >>> params = BtydParams(model="paretonbd", r=0.55, alpha=74.0, a=0.61, b=82.0)
    >>> expected_orders_from_first(params, np.array([365.0])).round(3).tolist()
    [1.465]
    """
    less = params.a - 1.0
    log_rest = np.log1p(T / params.b)
    while_there = -np.expm1(-less * log_rest) / less if less else log_rest
    orders: Floats = params.r * params.b / params.alpha * while_there
    return orders


def log_likelihoods(params: BtydParams, triples: Triples) -> Floats:
    """Log-likelihood of one customer of each history.

    Examples
    --------
    >>> from streams.value.triples import triples_of
    >>> params = BtydParams(model="paretonbd", r=0.55, alpha=74.0, a=0.61, b=82.0)
    >>> log_likelihoods(params, triples_of([(2, 60.0, 80.0)])).round(3).tolist()
    [-10.956]
    """
    x, t_x, T, _ = triples
    bracket = np.logaddexp(*_log_stayed_and_left(params, x, t_x, T))
    several: Floats = (
        gammaln(params.r + x)
        - gammaln(params.r)
        + params.r * log(params.alpha)
        + params.a * log(params.b)
        + bracket
    )
    return several
