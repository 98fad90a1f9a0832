"""One visit to the simulated shop: from the landing page to where it ends, mostly without an order.

A visitor searches, opens lists and products, puts some into the cart and takes some out again. Whether
the visit ends in an order is decided beforehand (that keeps the order rate what the truth says); the
path leads there. Other carts are left behind, some of them in the checkout. Between two messages pass
2 to 62 seconds and a visit has at most 57 messages, so it is shorter than an hour.
"""

from __future__ import annotations

from random import Random
from typing import Any, NamedTuple

from samples.baskets import (
    COUPONS,
    CURRENCY,
    Basket,
    Catalogue,
    Product,
    basket_amounts,
    basket_lines,
    line,
    order_properties,
)

_MOST_PRODUCTS = 12
_MEAN_PRODUCTS = 3.5
_SHORTEST_GAP_MS = 2_000
_GAP_SPREAD_MS = 60_000  # with the gaps even, visits have even milliseconds throughout
_WORDS = ("gift", "blue", "lamp", "new", "small", "wood", "birthday", "set")
_SHIPPING = ("Standard", "Express")
_PAYMENT = ("Visa", "Mastercard", "PayPal")


class Draft(NamedTuple):
    """A message before it has an id: when, what (no `event`: a page), on which page, with what."""

    at_ms: int
    event: str
    path: str
    properties: dict[str, Any]


class Placed(NamedTuple):
    """An order that was placed in a visit."""

    at_ms: int
    order_id: str
    basket: Basket


class Visitor(NamedTuple):
    """What decides how a visit goes.

    Parameters
    ----------
    taste
        Where in the price range, 0 to 1.
    engagement
        1 as ever; less for a customer who is about to leave, who looks at fewer products.
    orders
        Whether the visit ends in an order.
    coupon_share
        Probability of a coupon on an order.
    """

    taste: float
    engagement: float
    orders: bool
    coupon_share: float


def visit(
    rng: Random, catalogue: Catalogue, visitor: Visitor, number: int, start_ms: int
) -> tuple[list[Draft], Placed | None]:
    """Let a visitor walk through the shop.

    Parameters
    ----------
    rng
        Where chance comes from.
    catalogue
        What there is to see.
    visitor
        Who comes and whether they order.
    number
        Of the visit; names its cart and its order.
    start_ms
        Of the first message, epoch milliseconds.

    Returns
    -------
    tuple
        The messages in order of time, and the order if there is one.

    Examples
    --------
    >>> drafts, placed = visit(Random(1), Catalogue(1, 50), Visitor(0.5, 1.0, True, 0.0), 17, 0)
    >>> drafts[0].event, drafts[-1].event, placed.order_id
    ('', 'Order Completed', 'order-17')
    """
    walk = _Walk(rng, catalogue, number, start_ms)
    walk.say("", "/", {"path": "/", "title": "Home"})
    for position in range(1, 1 + _products_to_view(rng, visitor.engagement)):
        walk.look(visitor, position)
    if visitor.orders:
        return walk.drafts, walk.order(visitor)
    walk.leave_cart()
    return walk.drafts, None


def _products_to_view(rng: Random, engagement: float) -> int:
    return min(_MOST_PRODUCTS, 1 + int(rng.expovariate(1.0) * _MEAN_PRODUCTS * engagement))


class _Walk:
    """The state of one visit: the messages so far, the time, the cart."""

    __slots__ = (
        "_cart",
        "_cart_id",
        "_catalogue",
        "_chance",
        "_last_seen",
        "_now_ms",
        "_number",
        "_rng",
        "drafts",
    )

    def __init__(self, rng: Random, catalogue: Catalogue, number: int, start_ms: int) -> None:
        self.drafts: list[Draft] = []
        self._rng = rng
        self._chance = rng.random
        self._catalogue = catalogue
        self._number = number
        self._cart_id = f"cart-{number}"
        self._now_ms = start_ms
        self._cart: dict[Product, int] = {}
        self._last_seen = catalogue.products[0]

    def say(self, event: str, path: str, properties: dict[str, Any]) -> None:
        self.drafts.append(Draft(self._now_ms, event, path, properties))
        # Squared, so that most gaps are short.
        self._now_ms += (_SHORTEST_GAP_MS + int(self._chance() ** 2 * _GAP_SPREAD_MS)) & ~1

    def look(self, visitor: Visitor, position: int) -> None:
        """Find a product, look at it, perhaps put it into the cart and out again."""
        product = self._last_seen = self._catalogue.pick(self._rng, visitor.taste)
        self._find(product)
        path = "/p/" + product.properties["product_id"]
        self.say("Product Viewed", path, {**product.properties, "currency": CURRENCY, "position": position})
        if self._chance() < (0.45 if visitor.orders else 0.12):
            self._add(product)
            if self._chance() < 0.1:
                self._remove(product)

    def _find(self, product: Product) -> None:
        way = self._chance()
        category = product.category
        if way < 0.25:
            word = _WORDS[int(self._chance() * len(_WORDS))]
            self.say("Products Searched", "/search", {"query": f"{word} {category.lower()}"})
        elif way < 0.55:
            self.say("Product List Viewed", f"/c/{category.lower()}", self._catalogue.listing(category))
        elif way < 0.7:
            self.say("", "/guides", {"path": "/guides", "title": "Guides"})

    def _add(self, product: Product) -> None:
        quantity = 1 if self._chance() < 0.8 else 2
        self._cart[product] = self._cart.get(product, 0) + quantity
        self.say("Product Added", "/cart", {"cart_id": self._cart_id, **line(product, quantity)})

    def _remove(self, product: Product) -> None:
        quantity = self._cart.pop(product)
        self.say("Product Removed", "/cart", {"cart_id": self._cart_id, **line(product, quantity)})

    def _view_cart(self) -> None:
        self.say(
            "Cart Viewed", "/cart", {"cart_id": self._cart_id, "products": basket_lines(Basket(self._cart))}
        )

    def leave_cart(self) -> None:
        """End a visit without an order: some look at the cart, a few begin to pay."""
        if not self._cart or self._chance() > 0.5:
            return
        self._view_cart()
        if self._chance() < 0.4:
            self._start_checkout(Basket(self._cart))
            if self._chance() < 0.5:
                self._complete_step(1)

    def order(self, visitor: Visitor) -> Placed:
        """End a visit with an order."""
        if not self._cart:
            self._add(self._last_seen)
        self._view_cart()
        basket = Basket(self._cart)
        if self._chance() < visitor.coupon_share:
            coupon = COUPONS[int(self._chance() * len(COUPONS))]
            basket = Basket(self._cart, coupon)
            self._apply_coupon(coupon[0], basket_amounts(basket).discount)
        self._start_checkout(basket)
        self._complete_step(1)
        self._complete_step(2)
        self.say("Payment Info Entered", "/checkout", {**self._checkout(), "step": 3})
        placed = Placed(self._now_ms, f"order-{self._number}", basket)
        self.say("Order Completed", "/checkout/thanks", order_properties(placed.order_id, basket))
        return placed

    def _apply_coupon(self, code: str, discount_cents: int) -> None:
        properties = {"coupon_id": code, "coupon_name": code, "discount": discount_cents / 100}
        self.say("Coupon Applied", "/cart", {"cart_id": self._cart_id, **properties})

    def _checkout(self) -> dict[str, Any]:
        return {"checkout_id": f"checkout-{self._number}", "order_id": f"order-{self._number}"}

    def _start_checkout(self, basket: Basket) -> None:
        properties = order_properties(f"order-{self._number}", basket)
        properties["value"] = properties["total"]
        self.say("Checkout Started", "/checkout", properties)

    def _complete_step(self, step: int) -> None:
        properties = {"checkout_id": f"checkout-{self._number}", "step": step}
        if step == 1:
            properties["shipping_method"] = _SHIPPING[int(self._chance() * len(_SHIPPING))]
        else:
            properties["payment_method"] = _PAYMENT[int(self._chance() * len(_PAYMENT))]
        self.say("Checkout Step Completed", "/checkout", properties)
