"""Orders to come, each counted for less the later it comes, of a customer who has not left.

With a continuous discount d, an order at s from now counts exp(-d s). Integrated by parts, what is expected
within H is exp(-d H) E(H) + d * integral over s of exp(-d s) E(s), with E(s) the orders expected within s.
E is smooth, so a Gauss-Legendre rule of a few nodes gives the integral to ten digits.

All of it is arithmetic of Python: what is said of a customer must be the same on every processor.

That costs a good deal more than a review may. For one number of repeat orders it is a smooth function of
log(alpha + T) alone. `DiscountedOrders` interpolates it by a polynomial at Chebyshev nodes, made when a
number of orders is first met, to five digits at least. What it returns is the same whatever it was asked
before.

References
----------
Fader, P. S., Hardie, B. G. S. and Lee, K. L. (2005), RFM and CLV: using iso-value curves for customer base
analysis, Journal of Marketing Research 42(4), 415-430. Trefethen, Approximation Theory and Approximation
Practice (2013).
"""

from __future__ import annotations

from math import cos, exp, fsum, log, pi

from schemas.btyd import BtydParams
from streams.value.geometric import orders_while_there

_NODES = 20


def _powers() -> list[list[float]]:
    """Give, for each power of u, highest first, what the value at each node adds to its coefficient.

    The polynomial through the values f at the nodes is the sum over k of c_k T_k, with c_k the mean over the
    nodes of 2 f T_k, half of that for k = 0. Not by numpy: how it adds up depends on the processor, and what
    is said of a customer must not.
    """
    chebyshev = [[1.0], [0.0, 1.0]]  # T_k by powers of u: T_(k+1) is 2 u T_k - T_(k-1)
    for order in range(2, _NODES):
        before = [*chebyshev[order - 2], 0.0, 0.0]
        chebyshev.append([2.0 * up - less for up, less in zip([0.0, *chebyshev[-1]], before, strict=True)])
    rows = []
    for power in reversed(range(_NODES)):
        row = []
        for angle in _ANGLES:
            terms = [
                chebyshev[order][power] * cos(order * angle) * (2.0 if order else 1.0) / _NODES
                for order in range(power, _NODES)
            ]
            row.append(fsum(terms))
        rows.append(row)
    return rows


_ANGLES = [(node + 0.5) * pi / _NODES for node in range(_NODES)]
_PLACES = [cos(angle) for angle in _ANGLES]
_POWERS = _powers()
_HALF_RULE = (
    (0.932469514203152028, 0.171324492379170345),
    (0.661209386466264514, 0.360761573048138608),
    (0.238619186083196909, 0.467913934572691047),
)
_RULE = [(-node, weight) for node, weight in _HALF_RULE] + [*reversed(_HALF_RULE)]
"""Nodes and weights of Gauss-Legendre, six points; Abramowitz & Stegun, table 25.4."""
_MOST_KEPT = 256
"""Numbers of orders whose polynomial is kept; customers with more are few, and computed."""

_MOST_HORIZONS = 20.0
"""Tenures up to so many horizons are interpolated."""


def discounted_orders(
    shape: float, rate: float, a: float, b: float, horizon: float, discount: float
) -> float:
    """Expect the orders within the horizon of a customer who has not left, discounted.

    Parameters
    ----------
    shape, rate, a, b, horizon
        As for `streams.value.geometric.orders_while_there`.
    discount
        Continuous, per unit of time.

    Examples
    --------
    >>> round(discounted_orders(2.25, 110.0, 0.8, 4.4, 365.0, 0.0), 4)
    4.6067
    >>> round(discounted_orders(2.25, 110.0, 0.8, 4.4, 365.0, 0.1 / 365), 4)
    4.4146
    """
    whole = orders_while_there(shape, rate, a, b, horizon)
    if discount == 0.0:
        return whole
    half = horizon / 2.0
    later = 0.0
    for node, weight in _RULE:
        s = half * (1.0 + node)
        later += weight * exp(-discount * s) * orders_while_there(shape, rate, a, b, s)
    return exp(-discount * horizon) * whole + discount * half * later


class DiscountedOrders:
    """`discounted_orders` of the customers of one shop, quickly.

    Parameters
    ----------
    params
        Of `bgnbd` or `mbgnbd`, in days.
    horizon
        In days.
    discount
        Continuous, a day.

    Examples
    --------
    >>> params = BtydParams(model="bgnbd", r=0.25, alpha=30.0, a=0.8, b=2.4)
    >>> orders = DiscountedOrders(params, 365.0, 0.1 / 365)
    >>> round(orders(2, 80.0), 4)
    4.4146
    """

    def __init__(self, params: BtydParams, horizon: float, discount: float) -> None:
        if params.model == "paretonbd":
            raise ValueError("the orders of customers who leave at any moment are not discounted here")
        self._params = params
        self._horizon = horizon
        self._discount = discount
        self._rate = params.alpha
        self._last = params.alpha + _MOST_HORIZONS * horizon
        self._half = log(self._last / params.alpha) / 2.0  # of the interval of log(alpha + T)
        self._middle = log(params.alpha) + self._half
        self._polynomials: dict[int, tuple[float, ...]] = {}

    def __call__(self, repeats: int, tenure: float) -> float:
        """Expect the discounted orders of a customer with so many repeat orders, so long after the first."""
        rate = self._rate + tenure
        polynomial = self._polynomials.get(repeats)
        if polynomial is None or rate > self._last:
            if repeats >= _MOST_KEPT or rate > self._last:
                return self.exactly(repeats, tenure)
            polynomial = self._polynomials[repeats] = self._interpolate(repeats)
        u = (log(rate) - self._middle) / self._half
        value = 0.0
        for coefficient in polynomial:
            value = value * u + coefficient
        return value / (rate + self._horizon)

    def exactly(self, repeats: int, tenure: float) -> float:
        """The same without interpolation."""
        params = self._params
        stayed_after = repeats if params.model == "bgnbd" else repeats + 1
        return discounted_orders(
            params.r + repeats,
            params.alpha + tenure,
            params.a,
            params.b + stayed_after,
            self._horizon,
            self._discount,
        )

    def _interpolate(self, repeats: int) -> tuple[float, ...]:
        """Coefficients, highest first, of value x (alpha + T + H) as a polynomial in u from -1 to 1."""

        def of(u: float) -> float:
            rate = exp(self._middle + u * self._half)
            return self.exactly(repeats, rate - self._rate) * (rate + self._horizon)

        values = [of(u) for u in _PLACES]
        return tuple(
            [fsum([part * value for part, value in zip(row, values, strict=True)]) for row in _POWERS]
        )
