"""Fits BTYD models to counted histories by maximum likelihood.

All four parameters are positive, so their logs are searched, within bounds wide enough for any shop and
narrow enough that no formula leaves what a float can hold: a shop whose customers never leave has its best
`b` at infinity, and gets the bound. Times are measured in mean ages of the customers during the search,
which makes it the same search whatever the unit. Results have six significant digits: more would only say
on which machine the search ran.

The search starts from `start`, the fit before, where one is given: it is then a few steps long.
"""

from __future__ import annotations

from collections.abc import Callable
from math import log
from typing import NamedTuple

import numpy as np
from scipy.optimize import minimize

from schemas.btyd import BtydModel, BtydParams
from streams.value import bgnbd, mbgnbd, paretonbd
from streams.value.triples import Floats, Triples

LogLikelihoods = Callable[[BtydParams, Triples], Floats]

LOG_LIKELIHOODS: dict[BtydModel, LogLikelihoods] = {
    "bgnbd": bgnbd.log_likelihoods,
    "mbgnbd": mbgnbd.log_likelihoods,
    "paretonbd": paretonbd.log_likelihoods,
}

_START: dict[BtydModel, tuple[float, float, float, float]] = {
    "bgnbd": (0.5, 0.3, 1.0, 2.0),
    "mbgnbd": (0.5, 0.3, 1.0, 2.0),
    "paretonbd": (0.5, 0.3, 0.5, 0.3),
}
"""Times in mean ages."""

_BOUNDS: dict[BtydModel, list[tuple[float, float]]] = {
    "bgnbd": [(1e-3, 1e3), (1e-3, 1e3), (1e-3, 50.0), (1e-3, 1e5)],
    "mbgnbd": [(1e-3, 1e3), (1e-3, 1e3), (1e-3, 50.0), (1e-3, 1e5)],
    # Where alpha and beta are far apart the hypergeometric function takes many steps.
    "paretonbd": [(1e-3, 1e3), (1e-2, 1e2), (1e-3, 50.0), (1e-2, 1e2)],
}
_DIGITS = 6
_MOST_ITERATIONS = 200


class Fit(NamedTuple):
    """What a search found.

    Attributes
    ----------
    log_likelihood
        Of all customers, at `params` as they are given.
    n
        Customers.
    iterations
        Of the search.
    """

    params: BtydParams
    log_likelihood: float
    n: float
    iterations: int


def log_likelihood(params: BtydParams, triples: Triples) -> float:
    """Log-likelihood of all customers.

    Examples
    --------
    >>> from streams.value.triples import triples_of
    >>> params = BtydParams(model="bgnbd", r=0.25, alpha=30.0, a=0.8, b=2.4)
    >>> round(log_likelihood(params, triples_of([(2, 60.0, 80.0), (2, 60.0, 80.0)])), 2)
    -22.15
    """
    return float((LOG_LIKELIHOODS[params.model](params, triples) * triples.weight).sum())


def fit(model: BtydModel, triples: Triples, start: BtydParams | None = None) -> Fit:
    """Find the parameters under which these customers are most likely.

    Parameters
    ----------
    triples
        In the unit of time that the parameters shall have: days, for what is served.
    start
        Where to begin, of the same model; by default the same place for all.

    Raises
    ------
    ValueError
        When nobody has been observed for any time at all, or `start` is of another model.

    Examples
    --------
    >>> from streams.value.triples import triples_of
    >>> customers = [(x, 7.0 * x, 7.0 * x + gap) for x in range(6) for gap in (3.0, 9.0, 70.0)]
    >>> found = fit("bgnbd", triples_of(customers))
    >>> found.n, round(found.log_likelihood, 1)
    (18.0, -162.1)
    """
    n = triples.n
    scale = float((triples.T * triples.weight).sum()) / n
    if not scale > 0.0:
        raise ValueError("no customer has been observed for any time")
    units = np.array([1.0, scale, 1.0, scale if model == "paretonbd" else 1.0])
    scaled = Triples(triples.x, triples.t_x / scale, triples.T / scale, triples.weight)
    if start is None:
        begin = np.array(_START[model])
    elif start.model != model:
        raise ValueError(f"the start of a {model} search must be {model}, not {start.model}")
    else:
        begin = np.array([start.r, start.alpha, start.a, start.b]) / units
    bounds = [(log(least), log(most)) for least, most in _BOUNDS[model]]
    found = minimize(
        lambda logs: -log_likelihood(_params(model, np.exp(logs)), scaled) / n,
        np.clip(np.log(begin), *np.transpose(bounds)),
        method="L-BFGS-B",
        jac="3-point",
        bounds=bounds,
        options={"maxiter": _MOST_ITERATIONS, "ftol": 1e-13, "gtol": 1e-7},
    )
    params = _params(model, np.exp(found.x) * units, _DIGITS)
    return Fit(params, log_likelihood(params, triples), n, int(found.nit))


def _params(model: BtydModel, values: Floats, digits: int | None = None) -> BtydParams:
    r, alpha, a, b = (float(value) if digits is None else float(f"{value:.{digits}g}") for value in values)
    return BtydParams(model=model, r=r, alpha=alpha, a=a, b=b)
