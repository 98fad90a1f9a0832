"""Customer lifetime value: what was earned, and what to expect.

Historic value is revenue net of refunds. Predicted value is the margin expected over the value horizon
from the customer's own order rate, drawn towards a prior because few orders say little about a rate:
with a gamma prior of shape r and rate a on a Poisson rate, x repeat orders in time T leave the mean
(r + x) / (a + T). It is conditional on the customer not leaving, so value at risk is risk times it.

References
----------
Ehrenberg, The pattern of consumer purchases, Applied Statistics 8 (1959); the gamma-Poisson posterior
mean as in Fader & Hardie, Probability models for customer-base analysis, 2009.
"""

from __future__ import annotations

from streams.config import DAY_MS, ValueConfig


def historic_value(revenue: float, refunded: float) -> float:
    """Return revenue net of refunds, at least 0.

    Examples
    --------
    >>> historic_value(100.0, 30.0)
    70.0
    """
    return max(0.0, revenue - refunded)


def predicted_value(
    orders: int, revenue: float, refunded: float, tenure_ms: int, config: ValueConfig
) -> float:
    """Expect the margin over the value horizon of a customer who does not leave.

    Parameters
    ----------
    orders
        Orders so far, at least one.
    tenure_ms
        Time since the first order.

    Returns
    -------
    float
        In the shop's currency.

    Examples
    --------
    One order of 50 a while ago, then four more in a year:

    >>> round(predicted_value(5, 250.0, 0.0, 365 * DAY_MS, ValueConfig()), 2)
    180.49
    """
    rate_a_day = (config.prior_orders + orders - 1) / (config.prior_days + tenure_ms / DAY_MS)
    order_value = historic_value(revenue, refunded) / orders
    return config.margin * order_value * rate_a_day * config.horizon_days
