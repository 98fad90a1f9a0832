"""How likely a customer is to lapse: to stay silent until silence makes them `defecting`.

The served risk answers for one span, the horizon. For another span it is carried over along the law of
silence that BTYD models share: with a gamma distributed rate of shape k, the probability of no order in a
time d is (1 + d / theta)^-k. k is the shape of the customer's own rate, prior and repeat orders; theta is
the one with which the law says at the horizon what was served. It equals the risk there, falls from 1 at no
time at all, and like any mixture of rates has a heavier tail than a constant rate would.
"""

from __future__ import annotations

from math import exp, expm1, log, log1p


def prob_silent(risk: float, horizon_days: float, days: float, shape: float) -> float:
    """Probability of no order within `days`, of a customer with this risk of none within the horizon.

    Parameters
    ----------
    risk
        Between 0 and 1, both excluded.
    shape
        Of the gamma distribution of the customer's rate.

    Examples
    --------
    >>> round(prob_silent(0.5, 30.0, 30.0, 2.5), 6), prob_silent(0.5, 30.0, 0.0, 2.5)
    (0.5, 1.0)
    >>> round(prob_silent(0.5, 30.0, 90.0, 2.5), 3), 0.5**3
    (0.186, 0.125)
    """
    stretch = -log(risk) / shape
    if stretch > 700.0:  # expm1 of it is infinite, and nothing beside it counts
        return 1.0 if days <= 0.0 else exp(-shape * (log(days / horizon_days) + stretch))
    return exp(-shape * log1p(days / horizon_days * expm1(stretch)))
