"""Customer lifetime value: what was earned, and what to expect.

Historic value is revenue net of refunds. Predicted value is the margin expected over the value horizon from
a customer who has not left: the orders still to come, each discounted by when it comes, times what an order
of theirs is worth. It is conditional on their being there, so value at risk is risk times it, and what the
shop may count on is the probability to be alive times it.

Where the shop's BG/NBD or MBG/NBD is fitted, orders to come follow from it: a rate drawn towards the rates
of other customers, and a chance to leave after each order. What an order is worth follows from Gamma-Gamma
in the same way. Before there is a fit, the rate is drawn towards a prior of the settings: with a gamma
prior of shape r and rate a on a Poisson rate, x repeat orders in time T leave the mean (r + x) / (a + T);
orders are worth their mean so far.

References
----------
Ehrenberg, The pattern of consumer purchases, Applied Statistics 8 (1959); Fader, Hardie & Lee, RFM and CLV:
using iso-value curves for customer base analysis, Journal of Marketing Research 42(4), 2005, 415-430.
"""

from __future__ import annotations

from functools import lru_cache
from math import expm1, log1p

from schemas.btyd import BtydParams, SpendParams
from streams.config import DAY_MS, ValueConfig
from streams.value.bgnbd_of_one import prob_alive
from streams.value.discounted import DiscountedOrders

_YEAR_DAYS = 365.0


def historic_value(revenue: float, refunded: float) -> float:
    """Return revenue net of refunds, at least 0.

    Examples
    --------
    >>> historic_value(100.0, 30.0)
    70.0
    """
    return max(0.0, revenue - refunded)


def discount_a_day(config: ValueConfig) -> float:
    """Turn the yearly discount rate into a continuous one a day.

    Examples
    --------
    >>> round(discount_a_day(ValueConfig(discount_rate=0.1)) * 365.0, 4)
    0.0953
    """
    return log1p(config.discount_rate) / _YEAR_DAYS


def discounted_days(config: ValueConfig) -> float:
    """Give the days of the value horizon, each counted for less the later it is.

    Examples
    --------
    >>> discounted_days(ValueConfig(discount_rate=0.0)), round(discounted_days(ValueConfig()), 1)
    (365.0, 348.1)
    """
    discount = discount_a_day(config)
    return -expm1(-discount * config.horizon_days) / discount if discount else config.horizon_days


class Valuer:
    """What customers of one shop are worth, in a few operations each.

    Parameters
    ----------
    config
        Margin, value horizon, discount rate and the prior.
    timing
        The fitted BG/NBD or MBG/NBD, in days; None before there is a fit.
    spend
        The fitted Gamma-Gamma.

    Examples
    --------
    >>> timing = BtydParams(model="bgnbd", r=0.25, alpha=30.0, a=0.8, b=2.4)
    >>> round(Valuer(ValueConfig()).predicted(5, 250.0, 0.0, 365 * DAY_MS), 2)
    172.16
    >>> valuer = Valuer(ValueConfig(), timing, SpendParams(p=6.25, q=3.74, gamma=15.44))
    >>> round(valuer.predicted(5, 250.0, 0.0, 365 * DAY_MS), 2)
    148.01
    """

    __slots__ = ("_days", "_margin", "_orders", "_prior_days", "_prior_orders", "_spend", "_timing")

    def __init__(
        self, config: ValueConfig, timing: BtydParams | None = None, spend: SpendParams | None = None
    ) -> None:
        self._margin = config.margin
        self._timing = timing
        self._prior_orders = config.prior_orders - 1.0
        self._prior_days = config.prior_days
        self._days = discounted_days(config)
        self._orders = (
            None if timing is None else DiscountedOrders(timing, config.horizon_days, discount_a_day(config))
        )
        # With q of 1 or less the shop's own mean is infinite, and says nothing about a customer.
        self._spend = None if spend is None or spend.q <= 1.0 else (spend.p, spend.q - 1.0, spend.gamma)

    def predicted(self, orders: int, revenue: float, refunded: float, tenure_ms: int) -> float:
        """Expect the margin over the value horizon of a customer who has not left.

        Parameters
        ----------
        orders
            Orders so far, at least one.
        revenue, refunded
            Sums over them.
        tenure_ms
            Time since the first order.
        """
        tenure_days = tenure_ms / DAY_MS
        if self._orders is None:
            to_come = (self._prior_orders + orders) / (self._prior_days + tenure_days) * self._days
        else:
            to_come = self._orders(orders - 1, tenure_days)
        earned = revenue - refunded
        if earned < 0.0:
            earned = 0.0
        if self._spend is None:
            order_value = earned / orders
        else:
            p, q_less_1, gamma = self._spend
            order_value = p * (gamma + earned) / (p * orders + q_less_1)
        return self._margin * order_value * to_come

    def prob_alive(self, orders: int, recency_ms: int, tenure_ms: int) -> float:
        """Give the probability that a customer has not left.

        It is that of BG/NBD. Before there is a fit it is 1: a run rate knows nothing of leaving.

        Parameters
        ----------
        orders
            Orders so far, at least one.
        recency_ms
            Time from the first order to the last.
        tenure_ms
            Time since the first order.

        Examples
        --------
        >>> timing = BtydParams(model="bgnbd", r=0.25, alpha=30.0, a=0.8, b=2.4)
        >>> round(Valuer(ValueConfig(), timing).prob_alive(3, 60 * DAY_MS, 80 * DAY_MS), 3)
        0.73
        >>> Valuer(ValueConfig()).prob_alive(3, 60 * DAY_MS, 80 * DAY_MS)
        1.0
        """
        timing = self._timing
        if timing is None or timing.model != "bgnbd":  # the only one that is served
            return 1.0
        return prob_alive(timing, float(orders - 1), recency_ms / DAY_MS, tenure_ms / DAY_MS)


@lru_cache(maxsize=16)  # models follow each other by the second, fits by the month
def valuer_of(config: ValueConfig, timing: BtydParams | None, spend: SpendParams | None) -> Valuer:
    """Give the valuer of a fit; what it has worked out once is kept."""
    return Valuer(config, timing, spend)


def lifetime_value(
    historic: float,
    predicted: float,
    prob_alive: float,
    config: ValueConfig,
    acquisition_cost: float | None = None,
) -> float:
    """What a customer is worth in all: margin earned and to be expected, less what it cost to win them.

    Parameters
    ----------
    historic
        Revenue so far, net of refunds.
    predicted
        Margin expected if the customer has not left.
    prob_alive
        The probability that they have not.
    acquisition_cost
        Where it is known of this customer; else `config.acquisition_cost` is taken.

    Examples
    --------
    >>> lifetime_value(200.0, 100.0, 0.5, ValueConfig(margin=0.4, acquisition_cost=25.0))
    105.0
    """
    cost = config.acquisition_cost if acquisition_cost is None else acquisition_cost
    return config.margin * historic + prob_alive * predicted - cost
