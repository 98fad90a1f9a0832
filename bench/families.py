"""What each feature is worth to the pool: `python -m bench.families SHOP [--shared FOLDER]`.

A replay asks its questions with every feature. The learner then goes over the same examples again, once for
each set of features, with each answer known only when its horizon has passed; a feature that is left out is
0 throughout, which leaves it without a coefficient. Judged are questions asked two horizons after the first
event or later, by the log loss of the risk that would have been served. `before` is the list of sixteen
features that there was first. Intervals (95 %) come from drawing customers again.

`cdnow` and `shop` (simulated) need nothing; `retail` (UCI Online Retail II, first year) and `journey`
(Complete Journey, a grocer) read the CSV files of a folder that the project does not bring.
"""

from __future__ import annotations

import argparse
import csv
import gzip
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import orjson

from samples import cdnow, shop
from samples.shop_config import ShopConfig
from schemas.codec import epoch_ms
from schemas.learning import Example
from schemas.topics import CLICKSTREAM, EXAMPLES, INPUTS, ORDERS
from streams.config import DAY_MS, AlertConfig, ReviewConfig, StreamConfig
from streams.customer.decision import Decision
from streams.customer.features import FEATURES
from streams.learning.machine import LearnerMachine
from streams.learning.served import Served
from streams.replay import Replay

BEFORE = 16
SEASON = ("season_sine", "season_cosine")
DRAWS = 200
HOUSEHOLDS = 4
"""One in so many of the Complete Journey is taken."""
PUBLISH_EVERY = 500
HORIZON_DAYS = {"cdnow": 84.0, "shop": 30.0, "retail": 30.0, "journey": 28.0}

Messages = Iterator[tuple[int, bytes]]


def _message(customer: str, order: str, time: str, properties: dict[str, Any]) -> tuple[int, bytes]:
    message = {
        "type": "track",
        "event": "Order Completed",
        "messageId": order,
        "userId": customer,
        "timestamp": time if time.endswith("Z") else f"{time}Z",
        "properties": {"order_id": order, **properties},
    }
    return INPUTS.index(ORDERS), orjson.dumps(message)


def _rows(file: Path) -> Iterator[dict[str, str]]:
    with gzip.open(file, "rt", encoding="utf-8", newline="") as text:
        yield from csv.DictReader(text)


def retail(folder: Path) -> Messages:
    """Give the orders of known customers; cancellations name no order there, and are left out."""
    orders: dict[str, tuple[str, str, list[dict[str, Any]]]] = {}
    for row in _rows(folder / "online_retail_y1_2009-12_2010-11.csv.gz"):
        quantity, price = float(row["quantity"]), float(row["unit_price"])
        if row["customer_id"] and row["order_id"].isdigit() and quantity > 0 and price >= 0:
            order = orders.setdefault(row["order_id"], (row["timestamp"], row["customer_id"], []))
            order[2].append({"product_id": row["product_id"], "quantity": quantity, "price": price})
    for name, (time, customer, products) in sorted(orders.items(), key=lambda item: (item[1][0], item[0])):
        yield _message(customer, name, time, {"products": products})


def journey(folder: Path) -> Messages:
    """Give the baskets of one household in four, with the department of each product as its category."""
    category = {r["product_id"]: r["department"] for r in _rows(folder / "completejourney_products.csv.gz")}
    baskets: dict[str, tuple[str, str, list[float], list[dict[str, Any]]]] = {}
    for row in _rows(folder / "completejourney_lines.csv.gz"):
        if int(row["customer_id"]) % HOUSEHOLDS == 0:
            basket = baskets.setdefault(
                row["order_id"], (row["timestamp"], row["customer_id"], [0.0, 0.0], [])
            )
            basket[2][0] += float(row["sales_value"])
            basket[2][1] += abs(float(row["retail_disc"])) + abs(float(row["coupon_disc"]))
            department = category.get(row["product_id"])
            basket[3].append({"category": department, "quantity": float(row["quantity"])})
    for name, basket in sorted(baskets.items(), key=lambda item: (item[1][0], item[0])):
        time, customer, (revenue, discount), products = basket
        properties = {
            "revenue": max(0.0, round(revenue, 2)),
            "discount": round(discount, 2),
            "products": products,
        }
        yield _message(customer, name, time, properties)


def messages(name: str, folder: Path | None, sample: str) -> Messages:
    """Give the messages of a shop, each with the number of its input."""
    if name == "cdnow":
        orders = cdnow.messages("all" if sample == "all" else "tenth")
        return ((INPUTS.index(ORDERS), orjson.dumps(message)) for message in orders)
    if name == "shop":
        told = (orjson.dumps(m) for m in shop.messages(ShopConfig(customers=2_000, days=500, seed=7)))
        clicks, bought = INPUTS.index(CLICKSTREAM), INPUTS.index(ORDERS)
        return ((bought if b'"event":"Order ' in line else clicks, line) for line in told)
    if folder is None:
        raise SystemExit(f"bench: {name} needs --shared FOLDER")
    return retail(folder) if name == "retail" else journey(folder)


def ask(config: StreamConfig, told: Messages) -> list[Example]:
    """Replay the messages; give all examples in the order of their log."""
    examples: list[Example] = []

    def keep(decision: Decision) -> None:
        if decision.topic == EXAMPLES and isinstance(decision.payload, Example):
            examples.append(decision.payload)

    Replay(config, keep).run(told)
    return examples


def served(config: StreamConfig, examples: list[Example], without: set[str]) -> Any:
    """Give the risk that would have been served for each example, had some features been 0."""
    blank = dict.fromkeys(without, 0.0)
    rows = [msgspec.structs.replace(e, features={**e.features, **blank}) for e in examples]
    learner = LearnerMachine(config)
    model = Served(learner.snapshot())
    by_time = sorted(range(len(rows)), key=lambda place: rows[place].asked_at)
    risk, learned = np.zeros(len(rows)), 0
    for place in by_time:
        row = rows[place]
        while rows[learned].matured_at < row.asked_at:
            learner.learn(rows[learned])
            learned += 1
            if learned % PUBLISH_EVERY == 0:
                model = Served(learner.snapshot())
        risk[place] = model.risk(list(row.features.values()))
    return risk


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.families", description=__doc__)
    parser.add_argument("shop", choices=tuple(HORIZON_DAYS))
    parser.add_argument("--shared", type=Path, help="the folder with the files of retail and journey")
    parser.add_argument("--sample", choices=("all", "tenth"), default="tenth", help="of cdnow")
    parser.add_argument("--share", type=float, default=1.0, help="of the reviews that become questions")
    parser.add_argument("--features", nargs="*", help="added one by one; all of them by default")
    arguments = parser.parse_args()
    horizon = HORIZON_DAYS[arguments.shop]
    config = StreamConfig(
        reviews=ReviewConfig(horizon_days=horizon, question_share=arguments.share),
        alerts=AlertConfig(min_orders=10**6),
    )
    examples = ask(config, messages(arguments.shop, arguments.shared, arguments.sample))
    label = np.array([e.label for e in examples])
    asked = np.array([epoch_ms(e.asked_at) for e in examples])
    judged = asked >= asked.min() + 2 * horizon * DAY_MS
    customer = np.unique([e.customer_id for e in examples], return_inverse=True)[1][judged]
    count, rng = int(customer.max()) + 1, np.random.default_rng(1)
    rows_of = np.bincount(customer, minlength=count)
    draws = [rng.integers(0, count, count) for _ in range(DRAWS)]

    def loss(without: set[str]) -> Any:
        risk = served(config, examples, without)
        return -np.log(np.where(label == 1, risk, 1.0 - risk))[judged]

    added = [feature.name for feature in FEATURES[BEFORE:]]
    before = loss(set(added))
    print(f"{arguments.shop}, horizon {horizon:.0f} days: {judged.sum():,} judged of {len(label):,} examples")
    print("\n| features | log loss | less that of before, 95 % |\n|---|---|---|")
    print(f"| before | {before.mean():.4f} | |", flush=True)
    sets: dict[str, set[str]] = {f"before and {name}": set(added) - {name} for name in added}
    if arguments.features is not None:
        sets = {f"before and {name}": set(added) - {name} for name in arguments.features}
    for name in SEASON:  # the learner leaves it out by itself until it has seen two years
        sets.pop(f"before and {name}", None)
    sets["all"] = set()
    for name, without in sets.items():
        losses = loss(without)
        sums = np.bincount(customer, losses - before, count)
        low, high = np.quantile([sums[d].sum() / rows_of[d].sum() for d in draws], [0.025, 0.975])
        print(f"| {name} | {losses.mean():.4f} | {low:+.4f} to {high:+.4f} |", flush=True)


if __name__ == "__main__":
    main()
