"""BG/NBD of one customer, in plain floats: what is asked at every review.

The model and its formulas are those of `streams.value.bgnbd`, which fits it; that module needs SciPy, and a
worker that only serves should not.
"""

from __future__ import annotations

from math import exp, expm1, log, log1p
from typing import Final

from schemas.btyd import BtydParams

_LARGE: Final = 700.0
"""exp of more overflows; the other term is nothing beside it."""

_SMALL: Final = 1e-3
"""From here on `log(1 + x)` and `1 - exp(-x)` have twelve digits; compiled, `log1p` and `expm1` cost ten
times as much, as they make objects."""


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


class NoOrder:
    """Log-odds of no order within a horizon, of customers of one shop.

    Parameters
    ----------
    params
        Of BG/NBD.
    horizon
        In the same unit as `params.alpha`; positive.

    Examples
    --------
    >>> params = BtydParams(model="bgnbd", r=0.25, alpha=30.0, a=0.8, b=2.4)
    >>> round(NoOrder(params, 84.0).log_odds(2.0, 60.0, 80.0), 3)
    -0.106
    """

    __slots__ = ("_a", "_alpha", "_b_less_1", "_horizon", "_r")

    def __init__(self, params: BtydParams, horizon: float) -> None:
        self._r = params.r
        self._alpha = params.alpha
        self._a = params.a
        self._b_less_1 = params.b - 1.0
        self._horizon = horizon

    def log_odds(self, x: float, t_x: float, T: float) -> float:
        """Compute them for `x` repeat orders, the last at `t_x`, in a time `T`."""
        left = self._alpha + T
        shape = self._r + x
        share = self._horizon / left
        silence = shape * (log(1.0 + share) if share > _SMALL else log1p(share))
        silent = exp(-silence)
        ordered = 1.0 - silent if silence > _SMALL else -expm1(-silence)
        if x == 0.0:
            return -silence - log(ordered)
        gone = log(self._a / (self._b_less_1 + x)) + shape * log(left / (self._alpha + t_x))
        if gone > _LARGE:
            return gone - log(ordered)
        return log((exp(gone) + silent) / ordered)


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
    return NoOrder(params, horizon).log_odds(x, t_x, T)


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
