"""Orders of a customer who may leave after each of them (BG/NBD and MBG/NBD), given that they have not yet.

Such a customer orders at a rate lambda and leaves after an order with a probability p. Given a history and
that the customer is still there, lambda is Gamma(r + x, alpha + T) and p is Beta(a, b), with a `b` that has
counted the orders after which they stayed. At time s from now they are still there with probability
exp(-lambda p s), so the orders to come within H are the mean of (1 - exp(-lambda p H)) / p:

    c / (a - 1) * (1 - (1 - z)^(a - 1) 2F1(c - r - x, a - 1; c; z)),  c = a + b - 1,  z = H / (alpha + T + H)

This is the published formula after Euler's transformation of its Gauss hypergeometric function, which
leaves a series that converges at the rate of z. The denominators a - 1 and c cancel term by term, so
nothing is lost where `a` or a + b is near 1.

References
----------
Fader, Hardie & Lee (2005), equation 10. Abramowitz & Stegun, 15.3.3 (Euler's transformation).
"""

from __future__ import annotations

from math import exp, expm1, log1p

_ENOUGH = 1e-10
_MOST_TERMS = 20_000


def orders_while_there(shape: float, rate: float, a: float, b: float, horizon: float) -> float:
    """Expect the orders within the horizon of a customer who has not left.

    Parameters
    ----------
    shape, rate
        Of the gamma distribution of the order rate: r + x and alpha + T.
    a, b
        Of the beta distribution of the probability to leave after an order.
    horizon
        In the unit of `rate`.

    Examples
    --------
    A rate known to be 0.1 a day for somebody who hardly ever leaves:

    >>> round(orders_while_there(1e6, 1e7, 1e-3, 1e6, 30.0), 4)
    3.0
    """
    z = horizon / (rate + horizon)
    log_rest = -log1p(horizon / rate)  # log(1 - z)
    less = a - 1.0
    c = a + b - 1.0
    # -expm1(less * log_rest) / less, whose limit at less = 0 is -log_rest.
    plain = -expm1(less * log_rest) / less if less else -log_rest
    # The terms k >= 1 of 2F1(c - shape, a - 1; c; z), each times c / (a - 1).
    first = c - shape
    term = first * z
    total = term
    k = 1.0
    while abs(term) > _ENOUGH * abs(total) and k < _MOST_TERMS:
        term *= (first + k) * (less + k) / ((c + k) * (k + 1.0)) * z
        total += term
        k += 1.0
    return max(0.0, c * plain - exp(less * log_rest) * total)
