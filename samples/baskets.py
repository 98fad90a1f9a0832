"""What the simulated shop sells and what an order costs.

All arithmetic is in whole cents and only the wire has decimals, so every message adds up exactly:
the lines, less the discount, are `revenue` (and `subtotal`, which the Segment spec defines the same
way); with shipping and tax they are `total`. A discount is a share of the lines and is rounded, half
up, once. Tax is a share of the revenue; orders of 60 dollars and more ship free.
"""

from __future__ import annotations

from dataclasses import dataclass
from random import Random
from typing import Any, NamedTuple

CURRENCY = "USD"
COUPONS = (("WELCOME10", 10), ("SAVE15", 15), ("VIP20", 20))
"""Code and per cent off."""

_CATEGORIES = ("Kitchen", "Garden", "Toys", "Books", "Music", "Lamps", "Textiles", "Stationery")
_BRANDS = ("Alder", "Birch", "Cedar", "Elm", "Hazel", "Linden")
_VARIANTS = ("small", "medium", "large")
_FREE_SHIPPING_CENTS = 6_000
_SHIPPING_CENTS = 495
_TAX_PER_CENT = 8
_LISTED = 3


@dataclass(frozen=True, eq=False, slots=True)
class Product:
    """One product: its price in cents and its properties as messages name them."""

    cents: int
    category: str
    properties: dict[str, Any]


class Amounts(NamedTuple):
    """What an order costs, in cents."""

    items: int
    discount: int
    revenue: int
    shipping: int
    tax: int
    total: int


class Basket(NamedTuple):
    """Products with their quantities, and the coupon (code, per cent off) if there is one."""

    lines: dict[Product, int]
    coupon: tuple[str, int] | None = None


class Catalogue:
    """The products of a shop, cheapest first.

    Parameters
    ----------
    seed
        The same seed gives the same products.
    size
        How many products.

    Examples
    --------
    >>> shelf = Catalogue(seed=7, size=3)
    >>> [product.properties["product_id"] for product in shelf.products]
    ['p00001', 'p00002', 'p00003']
    """

    def __init__(self, seed: int, size: int) -> None:
        rng = Random(f"{seed}/catalogue")
        prices = sorted(199 + int(rng.lognormvariate(7.6, 0.7)) for _ in range(size))
        self.products = [_product(rng, number, cents) for number, cents in enumerate(prices, start=1)]
        self._listings: dict[str, list[dict[str, Any]]] = {category: [] for category in _CATEGORIES}
        for product in self.products:
            self._listings[product.category].append(product.properties)

    def pick(self, rng: Random, taste: float) -> Product:
        """Choose a product near a place in the price range.

        Parameters
        ----------
        rng
            Where chance comes from.
        taste
            0 (cheap) to 1 (dear).
        """
        place = taste + 0.3 * (rng.random() - rng.random())
        last = len(self.products) - 1
        return self.products[min(last, max(0, int(place * len(self.products))))]

    def listing(self, category: str) -> dict[str, Any]:
        """Return the properties of `Product List Viewed`: the first products of a category.

        Parameters
        ----------
        category
            Of a product of this catalogue.
        """
        shown = self._listings[category][:_LISTED]
        return {"list_id": category.lower(), "category": category, "products": shown}


def _product(rng: Random, number: int, cents: int) -> Product:
    category = _CATEGORIES[int(rng.random() * len(_CATEGORIES))]
    brand = _BRANDS[int(rng.random() * len(_BRANDS))]
    properties = {
        "product_id": f"p{number:05d}",
        "sku": f"{category[:2].upper()}-{number:05d}",
        "category": category,
        "name": f"{brand} {category} {number}",
        "brand": brand,
        "variant": _VARIANTS[int(rng.random() * len(_VARIANTS))],
        "price": cents / 100,
    }
    return Product(cents, category, properties)


def amounts(items: int, per_cent_off: int = 0) -> Amounts:
    """Price an order.

    Parameters
    ----------
    items
        Sum of price times quantity, in cents.
    per_cent_off
        Of the coupon.

    Examples
    --------
    >>> amounts(2_000, per_cent_off=10)
    Amounts(items=2000, discount=200, revenue=1800, shipping=495, tax=144, total=2439)
    """
    discount = _share(items, per_cent_off)
    revenue = items - discount
    shipping = 0 if revenue >= _FREE_SHIPPING_CENTS else _SHIPPING_CENTS
    tax = _share(revenue, _TAX_PER_CENT)
    return Amounts(items, discount, revenue, shipping, tax, revenue + shipping + tax)


def _share(cents: int, per_cent: int) -> int:
    return (cents * per_cent + 50) // 100


def basket_amounts(basket: Basket) -> Amounts:
    """Price a basket with its coupon, in cents."""
    items = sum(product.cents * quantity for product, quantity in basket.lines.items())
    return amounts(items, basket.coupon[1] if basket.coupon else 0)


def line(product: Product, quantity: int) -> dict[str, Any]:
    """Return a product with its quantity, as it stands in `products`."""
    return {**product.properties, "quantity": quantity}


def basket_lines(basket: Basket) -> list[dict[str, Any]]:
    """Return the `products` of a cart or an order."""
    return [line(product, quantity) for product, quantity in basket.lines.items()]


def order_properties(order_id: str, basket: Basket) -> dict[str, Any]:
    """Return the properties that `Order Completed`, `Order Updated` and `Order Cancelled` carry.

    Parameters
    ----------
    order_id
        The shop's id of the order.
    basket
        What is ordered; not empty.

    Examples
    --------
    >>> product = Catalogue(seed=7, size=3).products[0]
    >>> order = order_properties("order-1", Basket({product: 2}))
    >>> order["revenue"] == product.cents * 2 / 100
    True
    """
    cost = basket_amounts(basket)
    properties: dict[str, Any] = {
        "order_id": order_id,
        "subtotal": cost.revenue / 100,
        "total": cost.total / 100,
        "revenue": cost.revenue / 100,
        "shipping": cost.shipping / 100,
        "tax": cost.tax / 100,
        "discount": cost.discount / 100,
        "currency": CURRENCY,
        "products": basket_lines(basket),
    }
    if basket.coupon:
        properties["coupon"] = basket.coupon[0]
    return properties
