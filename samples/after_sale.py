"""What follows an order in the simulated shop: called off, changed, paid back, reviewed.

At most one of the first three happens to an order. They are the shop's own messages, so they may come
after the customer has left; a review is the customer's and comes only while they are active. A full
refund says only which order, as the Segment spec has it; a partial one is for one unit of a product and
its `total` is that unit's share of the revenue, rounded down, without shipping and tax.
"""

from __future__ import annotations

from random import Random

from samples.baskets import CURRENCY, Basket, Product, basket_amounts, line, order_properties
from samples.seasons import DAY_MS, HOUR_MS
from samples.shop_config import ShopConfig
from samples.visits import Draft, Placed

_SOONEST_MS = 10 * 60_000


def after_sale(rng: Random, config: ShopConfig, placed: Placed, active_until_ms: int) -> list[Draft]:
    """Draw what follows an order.

    Parameters
    ----------
    rng
        Where chance comes from.
    config
        How often things happen.
    placed
        The order.
    active_until_ms
        When the customer leaves, epoch milliseconds.

    Returns
    -------
    list of Draft
        Later than the order, each at an odd millisecond (visits have even ones, so no two messages
        of a customer meet).

    Examples
    --------
    >>> from samples.baskets import Catalogue
    >>> placed = Placed(0, "order-1", Basket({Catalogue(1, 5).products[0]: 1}))
    >>> always = ShopConfig(cancelled_share=1.0, refunded_share=0.0, updated_share=0.0, reviewed_share=0.0)
    >>> [draft.event for draft in after_sale(Random(1), always, placed, 0)]
    ['Order Cancelled']
    """
    fate = rng.random()
    drafts = []
    if (fate := fate - config.cancelled_share) < 0:
        properties = order_properties(placed.order_id, placed.basket)
        drafts.append(Draft(_within_hours(rng, placed), "Order Cancelled", "", properties))
    elif (fate := fate - config.updated_share) < 0:
        properties = order_properties(placed.order_id, _one_more(rng, placed.basket))
        drafts.append(Draft(_within_hours(rng, placed), "Order Updated", "", properties))
    elif fate - config.refunded_share < 0:
        drafts.append(_refund(rng, placed))
    if rng.random() < config.reviewed_share:
        review = _review(rng, placed)
        if review.at_ms < active_until_ms:
            drafts.append(review)
    return drafts


def _within_hours(rng: Random, placed: Placed) -> int:
    return _odd(placed.at_ms + _SOONEST_MS + int(rng.random() * 6 * HOUR_MS))


def _days_later(rng: Random, placed: Placed) -> int:
    return _odd(placed.at_ms + int((2.0 + rng.random() * 19.0) * DAY_MS))


def _odd(at_ms: int) -> int:
    return at_ms | 1


def _one_of(rng: Random, basket: Basket) -> Product:
    products = list(basket.lines)
    return products[int(rng.random() * len(products))]


def _one_more(rng: Random, basket: Basket) -> Basket:
    product = _one_of(rng, basket)
    return Basket({**basket.lines, product: basket.lines[product] + 1}, basket.coupon)


def _refund(rng: Random, placed: Placed) -> Draft:
    at_ms = _days_later(rng, placed)
    full = rng.random() < 0.5 or sum(placed.basket.lines.values()) == 1
    if full:
        return Draft(at_ms, "Order Refunded", "", {"order_id": placed.order_id})
    product = _one_of(rng, placed.basket)
    cost = basket_amounts(placed.basket)
    properties = {
        "order_id": placed.order_id,
        "total": product.cents * cost.revenue // cost.items / 100,
        "currency": CURRENCY,
        "products": [line(product, 1)],
    }
    return Draft(at_ms, "Order Refunded", "", properties)


def _review(rng: Random, placed: Placed) -> Draft:
    product = _one_of(rng, placed.basket)
    properties = {
        "product_id": product.properties["product_id"],
        "review_id": f"review-{placed.order_id}",
        "rating": 1 + int(5 * rng.random() ** 0.5),
    }
    return Draft(_days_later(rng, placed), "Product Reviewed", "/account/reviews", properties)
