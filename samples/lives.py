"""The truth behind the simulated shop: who its customers are, when they leave and come back.

A customer's life is a chain of spells. A spell opens with an order (the first one acquires the
customer, a later one wins them back) and ends when the customer leaves, which no message says. While
a spell lasts, the probability to leave within a day is the customer's own constant, the hazard p, so
the length of a spell is exponential with rate -ln(1 - p) a day; only the first hour is safe, because
the visit that opens the spell always ends in its order. After leaving, the wait for the return is
exponential in shop time. Over the customers, hazards are beta and order rates gamma distributed,
independent of each other: the mixture behind BG/NBD and the shifted beta-geometric model, with
returns on top. Customers arrive as a Poisson process in shop time, given how many there are.

References
----------
Fader, P. S. and Hardie, B. G. S. (2007), How to project customer retention, Journal of Interactive
Marketing 21(1), 76-90.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from random import Random
from typing import NamedTuple
from uuid import UUID

from samples.seasons import DAY_MS, HOUR_MS, Seasons
from samples.shop_config import ShopConfig

OPENING_MS = HOUR_MS
"""The first stretch of a spell, in which nobody leaves; every visit is shorter than this."""


class Spell(NamedTuple):
    """A time during which the customer is active; `end_ms` may lie beyond the simulated window."""

    start_ms: int
    end_ms: int


@dataclass(frozen=True, slots=True)
class Life:
    """One customer as the simulator knows them.

    Attributes
    ----------
    customer_id, anonymous_id
        The names under which messages speak of the customer.
    hazard
        Probability to leave within a day, while active.
    visits_per_order
        Mean number of visits until one ends in an order.
    visit_rate
        Visits per ordinary day while active and not yet fading.
    taste
        Where in the price range the customer shops, 0 (cheap) to 1 (dear).
    spells
        In order of time; at least one.
    """

    customer_id: str
    anonymous_id: str
    hazard: float
    visits_per_order: float
    visit_rate: float
    taste: float
    spells: tuple[Spell, ...]

    @property
    def order_rate(self) -> float:
        """Orders per ordinary day while active and not yet fading, beside those that open spells."""
        return self.visit_rate / self.visits_per_order


def lives(config: ShopConfig, seasons: Seasons) -> Iterator[Life]:
    """Draw the customers one after another, in the order in which they arrive.

    Parameters
    ----------
    config
        The shop.
    seasons
        Shop time over the same window.

    Yields
    ------
    Life
        The same for the same configuration, whatever is asked of the messages.

    Examples
    --------
    >>> config = ShopConfig(customers=3, days=30)
    >>> [life.customer_id for life in lives(config, Seasons(config.start_ms, 30, 0.0))]
    ['c0000001', 'c0000002', 'c0000003']
    """
    arrivals = Random(f"{config.seed}/arrivals")
    own = Random()
    arrived = 0.0
    for number in range(1, config.customers + 1):
        # The next of n remaining uniform times is the minimum of n uniforms on what is left.
        remaining = config.customers - number + 1
        arrived += (seasons.shop_days_total - arrived) * (1.0 - arrivals.random() ** (1.0 / remaining))
        start_ms = min(seasons.clock_ms(arrived), seasons.end_ms - 1)
        own.seed(f"{config.seed}/life/{number}")
        yield _life(own, config, seasons, number, start_ms)


def _life(rng: Random, config: ShopConfig, seasons: Seasons, number: int, start_ms: int) -> Life:
    order_rate = max(1e-6, rng.gammavariate(config.order_shape, config.order_mean / config.order_shape))
    visits_per_order = max(1.0, config.visits_per_order * (0.5 + rng.random()))
    hazard = min(0.999, max(1e-9, rng.betavariate(config.hazard_alpha, config.hazard_beta)))
    return Life(
        customer_id=f"c{number:07d}",
        anonymous_id=str(UUID(int=rng.getrandbits(128), version=4)),
        hazard=hazard,
        visits_per_order=visits_per_order,
        visit_rate=order_rate * visits_per_order,
        taste=rng.random(),
        spells=tuple(_spells(rng, hazard, config.return_rate, seasons, start_ms)),
    )


def _spells(
    rng: Random, hazard: float, return_rate: float, seasons: Seasons, start_ms: int
) -> Iterator[Spell]:
    leaving_per_ms = -math.log1p(-hazard) / DAY_MS
    while start_ms < seasons.end_ms:
        end_ms = start_ms + OPENING_MS + int(rng.expovariate(leaving_per_ms))
        yield Spell(start_ms, end_ms)
        if end_ms >= seasons.end_ms or return_rate == 0.0:
            return
        start_ms = 1 + seasons.clock_ms(seasons.shop_days(end_ms) + rng.expovariate(return_rate))
