"""Gamma-Gamma: what an order of a customer is worth, drawn towards what orders of the shop are worth.

An order's value varies around the customer's own mean as a gamma distribution of shape p; the means vary
between customers as an inverse gamma one, of shape q. From a mean of m over x orders follows the expected
value

    p (gamma + x m) / (p x + q - 1)

which is a weighted mean of m and of the shop's own p gamma / (q - 1): few orders say little, many say all.
The model takes value and rate of a customer to be independent.

References
----------
Fader, P. S. and Hardie, B. G. S. (2013), The Gamma-Gamma model of monetary value. Colombo, R. and Jiang, W.
(1999), A stochastic RFM model, Journal of Interactive Marketing 13(3), 2-12.
"""

from __future__ import annotations

from collections.abc import Iterable
from math import log
from typing import NamedTuple

import numpy as np
from scipy.optimize import minimize
from scipy.special import gammaln

from schemas.btyd import SpendParams
from streams.value.triples import Floats

_BOUNDS = [(log(1e-3), log(1e4)), (log(1e-3), log(1e4)), (log(1e-4), log(1e6))]
_START = np.log([3.0, 3.0, 2.0])
_DIGITS = 6


class Spending(NamedTuple):
    """Distinct (orders, mean value of an order), and how many customers have each."""

    orders: Floats
    mean: Floats
    weight: Floats


class SpendFit(NamedTuple):
    """What a search found; see `streams.value.fitting.Fit`."""

    params: SpendParams
    log_likelihood: float
    n: float
    iterations: int


def spending_of(customers: Iterable[tuple[float, float]]) -> Spending:
    """Count customers, each given as (orders, mean value of an order); both must be positive.

    Raises
    ------
    ValueError
        When there is no customer, or one without an order of value.

    Examples
    --------
    >>> spending_of([(2, 20.0), (1, 35.0), (2, 20.0)]).weight.tolist()
    [1.0, 2.0]
    """
    rows = np.asarray(list(customers), dtype=np.float64)
    if not rows.size:
        raise ValueError("no customers")
    if not (np.isfinite(rows).all() and (rows > 0).all()):
        raise ValueError("every customer must have an order and a mean value above 0")
    distinct, weight = np.unique(rows, axis=0, return_counts=True)
    orders, mean = np.ascontiguousarray(distinct.T)
    return Spending(orders, mean, weight.astype(np.float64))


def expected_order_value(params: SpendParams, orders: float, mean: float) -> float:
    """Expect the mean value of a customer's orders to come.

    With q of 1 or less the shop's own mean is infinite: then `mean` is all there is to go by.

    Examples
    --------
    >>> params = SpendParams(p=6.25, q=3.74, gamma=15.44)
    >>> round(expected_order_value(params, 1, 20.0), 2), round(expected_order_value(params, 0, 0.0), 2)
    (24.64, 35.22)
    """
    if params.q <= 1.0:
        return mean
    return params.p * (params.gamma + orders * mean) / (params.p * orders + params.q - 1.0)


def log_likelihood(params: SpendParams, spending: Spending) -> float:
    """Log-likelihood of all customers.

    Examples
    --------
    >>> params = SpendParams(p=6.25, q=3.74, gamma=15.44)
    >>> round(log_likelihood(params, spending_of([(2, 20.0), (1, 35.0)])), 2)
    -7.69
    """
    orders, mean, weight = spending
    p, q, gamma = params.p, params.q, params.gamma
    shape = p * orders
    each = (
        gammaln(shape + q)
        - gammaln(shape)
        - gammaln(q)
        + q * log(gamma)
        + (shape - 1.0) * np.log(mean)
        + shape * np.log(orders)
        - (shape + q) * np.log(gamma + orders * mean)
    )
    return float((each * weight).sum())


def fit_spend(spending: Spending, start: SpendParams | None = None) -> SpendFit:
    """Find the parameters under which this spending is most likely.

    Values are measured in the shop's mean during the search, so it is the same in every currency.

    Examples
    --------
    >>> customers = [(x, 20.0 + y) for x in range(1, 5) for y in (-12.0, -3.0, 0.0, 5.0, 30.0)]
    >>> round(fit_spend(spending_of(customers)).log_likelihood, 1)
    -78.4
    """
    n = float(spending.weight.sum())
    scale = float((spending.mean * spending.weight).sum()) / n
    units = np.array([1.0, 1.0, scale])
    scaled = Spending(spending.orders, spending.mean / scale, spending.weight)
    begin = _START if start is None else np.log(np.array([start.p, start.q, start.gamma]) / units)
    found = minimize(
        lambda logs: -log_likelihood(_params(np.exp(logs)), scaled) / n,
        np.clip(begin, *np.transpose(_BOUNDS)),
        method="L-BFGS-B",
        jac="3-point",
        bounds=_BOUNDS,
        options={"maxiter": 200, "ftol": 1e-13, "gtol": 1e-7},
    )
    params = _params(np.exp(found.x) * units, _DIGITS)
    return SpendFit(params, log_likelihood(params, spending), n, int(found.nit))


def _params(values: Floats, digits: int | None = None) -> SpendParams:
    p, q, gamma = (float(value) if digits is None else float(f"{value:.{digits}g}") for value in values)
    return SpendParams(p=p, q=q, gamma=gamma)
