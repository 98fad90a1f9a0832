"""The settings of the simulated shop, checked when they are made.

The defaults make a small shop whose figures are of a usual size: a visit in six ends in an order, a
customer orders about once a month, one in about eighty leaves on a day, and a customer who left comes
back after 250 ordinary days on average. They are plausible, not fitted to any shop.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

from samples.seasons import HOUR_MS

_SHARES = (
    "fade_floor",
    "coupon_share",
    "cancelled_share",
    "refunded_share",
    "updated_share",
    "reviewed_share",
    "duplicate_rate",
    "anonymous_share",
)
_POSITIVE = ("customers", "days", "order_mean", "order_shape", "hazard_alpha", "hazard_beta", "products")


@dataclass(frozen=True)
class ShopConfig:
    """What shop to simulate.

    Parameters
    ----------
    customers
        How many customers are acquired over the window.
    days
        Length of the window.
    seed
        Not negative. The same seed gives the same shop.
    start_ms
        Where the window begins, epoch milliseconds, at a full hour. Default 2023-01-01 UTC.
    order_mean, order_shape
        Gamma distribution of the customers' order rates, in orders per ordinary day.
    visits_per_order
        Mean number of visits for one order, at least 1; customers vary by half of it either way.
    hazard_alpha, hazard_beta
        Beta distribution of the customers' probability to leave within a day.
    return_rate
        At which a customer who left comes back, per ordinary day; 0 for never.
    fade_days
        For how many days before leaving a customer shows it; 0 for not at all.
    fade_floor
        Share of visits, and of products viewed in them, that is left at the end of the fading.
    december_peak
        By how much the days before Christmas are busier.
    products
        Size of the catalogue.
    coupon_share
        Share of orders with a coupon.
    cancelled_share, refunded_share, updated_share
        Share of orders that are called off within hours, paid back (in full or in part) within
        weeks, or changed within hours; no order is two of these.
    reviewed_share
        Share of orders after which the customer reviews a product, if still there.
    duplicate_rate
        Share of messages that are delivered twice.
    disorder_ms
        By how much at most a message may come late, in milliseconds.
    anonymous_share
        Share of visits whose clicks carry no `userId`.

    Raises
    ------
    ValueError
        When a setting is out of its range.

    Examples
    --------
    >>> ShopConfig(customers=10, days=30).seed
    7
    >>> ShopConfig(duplicate_rate=1.5)
    Traceback (most recent call last):
    ValueError: duplicate_rate must lie between 0 and 1, not 1.5
    """

    customers: int = 2000
    days: int = 365
    seed: int = 7
    start_ms: int = 1_672_531_200_000
    order_mean: float = 0.035
    order_shape: float = 1.5
    visits_per_order: float = 6.0
    hazard_alpha: float = 2.0
    hazard_beta: float = 158.0
    return_rate: float = 0.004
    fade_days: float = 21.0
    fade_floor: float = 0.25
    december_peak: float = 0.8
    products: int = 400
    coupon_share: float = 0.15
    cancelled_share: float = 0.02
    refunded_share: float = 0.06
    updated_share: float = 0.02
    reviewed_share: float = 0.06
    duplicate_rate: float = 0.0
    disorder_ms: int = 0
    anonymous_share: float = 0.0

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if field.name in _SHARES and not 0 <= value <= 1:
                raise ValueError(f"{field.name} must lie between 0 and 1, not {value}")
            if field.name in _POSITIVE and not value > 0:
                raise ValueError(f"{field.name} must be above 0, not {value}")
            if not value >= 0:
                raise ValueError(f"{field.name} must not be negative, not {value}")
        if self.visits_per_order < 1:
            raise ValueError(f"visits_per_order must be at least 1, not {self.visits_per_order}")
        if self.start_ms % HOUR_MS:
            raise ValueError(f"start_ms must be at a full hour, not {self.start_ms}")
        if self.cancelled_share + self.refunded_share + self.updated_share > 1:
            raise ValueError("cancelled_share, refunded_share and updated_share must not add up to above 1")
