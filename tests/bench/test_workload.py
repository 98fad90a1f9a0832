"""The workload of the benches: the same in each run, and of the density that is promised."""

from __future__ import annotations

import json
from collections import Counter
from hashlib import sha256
from itertools import pairwise
from pathlib import Path

import pytest

from bench import workload
from schemas.codec import decode_event
from schemas.events import Click, Order
from schemas.topics import INPUTS

EVENTS, CUSTOMERS = 5_000, 400


def test_two_runs_give_the_same_bytes() -> None:
    once, again = (b"\n".join(workload.messages(EVENTS, CUSTOMERS)) for _ in range(2))
    assert once == again
    assert sha256(once).hexdigest() != sha256(b"\n".join(workload.messages(EVENTS, CUSTOMERS, 8))).hexdigest()


def test_every_message_keeps_the_contract_and_says_what_was_drawn() -> None:
    drawn = list(workload.happenings(EVENTS, CUSTOMERS))
    for happening, (source, line) in zip(
        drawn, workload.with_inputs(workload.messages(EVENTS, CUSTOMERS)), strict=True
    ):
        event = decode_event(line)
        assert isinstance(event, Order if happening.products else Click)
        assert (event.customer_id, event.time_ms) == (happening.customer_id, happening.time_ms)
        assert INPUTS[source] == ("orders" if happening.products else "clickstream")


def test_ninety_six_of_a_hundred_are_clicks_spread_evenly_over_ninety_days() -> None:
    drawn = list(workload.happenings(EVENTS, CUSTOMERS))
    orders = sum(bool(happening.products) for happening in drawn)
    assert 0.03 < orders / EVENTS < 0.05
    gaps = {b.time_ms - a.time_ms for a, b in pairwise(drawn)}
    assert max(gaps) - min(gaps) <= 1
    assert drawn[-1].time_ms - drawn[0].time_ms < 90 * 86_400_000


def test_customers_differ_as_a_pareto_distribution_does() -> None:
    counts = Counter(happening.customer_id for happening in workload.happenings(EVENTS, CUSTOMERS))
    busiest = sum(count for _, count in counts.most_common(CUSTOMERS // 10))
    assert busiest > 0.3 * EVENTS


def theirs(happening: workload.Happening) -> dict[str, object]:
    """Write an event as the peers' generator does."""
    value: dict[str, object] = {"timestamp": happening.time_ms / 1000}
    if happening.products:
        value["products"] = [
            {"product_id": product, "quantity": quantity, "price": price}
            for product, quantity, price in happening.products
        ]
        return {"topic": "orders", "key": happening.customer_id, "value": value}
    kinds = {
        "page": "page_view",
        "Product Viewed": "product_view",
        "Product Added": "add_to_cart",
        "Products Searched": "search",
        "Product Removed": "remove_from_cart",
    }
    value |= {"type": kinds[happening.kind], "product_id": happening.product}
    return {"topic": "clickstream", "key": happening.customer_id, "value": value}


def test_a_file_of_the_peers_that_differs_in_one_event_is_noticed(tmp_path: Path) -> None:
    records = [theirs(happening) for happening in workload.happenings(200, 20)]
    same, other, short = tmp_path / "same", tmp_path / "other", tmp_path / "short"
    same.write_text("".join(json.dumps(record) + "\n" for record in records))
    workload.check_against(same, 200, 20)
    short.write_text("".join(json.dumps(record) + "\n" for record in records[:-1]))
    with pytest.raises(workload.DifferentWorkload):
        workload.check_against(short, 200, 20)
    records[117]["key"] = "somebody else"
    other.write_text("".join(json.dumps(record) + "\n" for record in records))
    with pytest.raises(workload.DifferentWorkload, match="somebody else"):
        workload.check_against(other, 200, 20)
