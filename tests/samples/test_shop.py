"""The simulated shop: valid, repeatable messages in order, which agree with the truth told beside them."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from dataclasses import replace
from datetime import datetime
from itertools import pairwise
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from samples import shop
from samples.after_sale import after_sale
from samples.baskets import Catalogue, amounts
from samples.lives import OPENING_MS
from samples.seasons import DAY_MS, HOUR_MS, Seasons
from samples.shop import ShopConfig, messages, truth
from samples.visits import Draft, Visitor, visit
from samples.write import lines
from schemas.codec import decode_event, epoch_ms
from schemas.events import Order

SHOP = ShopConfig(customers=200, days=150, seed=11, start_ms=1_693_526_400_000)
SEASONS = Seasons(SHOP.start_ms, SHOP.days, SHOP.december_peak)
CATALOGUE = Catalogue(SHOP.seed, SHOP.products)
AFTER_SALE = {"Order Refunded", "Order Cancelled", "Order Updated"}
# Four standard deviations: a right simulator fails once in 16,000 seeds, and the seed is fixed.
SIGMAS = 4.0

Message = dict[str, Any]


@pytest.fixture(scope="module")
def said() -> list[Message]:
    return list(messages(SHOP))


@pytest.fixture(scope="module")
def known() -> dict[str, Message]:
    return {customer["customer_id"]: customer for customer in truth(SHOP)}


@pytest.fixture(scope="module")
def many() -> list[Message]:
    """The truth about a larger shop; it costs no messages."""
    return list(truth(replace(SHOP, customers=5_000)))


def _at_ms(message: Message) -> int:
    return epoch_ms(datetime.fromisoformat(message["timestamp"]))


def _event(message: Message) -> str:
    return str(message.get("event", "page"))


def _cents(amount: float) -> int:
    cents = round(amount * 100)
    assert cents / 100 == amount, "an amount of money has whole cents"
    return cents


def _end_ms(config: ShopConfig) -> int:
    return config.start_ms + config.days * DAY_MS


def _orders(said: list[Message]) -> dict[str, Message]:
    return {m["properties"]["order_id"]: m for m in said if _event(m) == "Order Completed"}


# Messages


def test_the_same_seed_gives_the_same_bytes() -> None:
    small = replace(SHOP, customers=20, duplicate_rate=0.1, disorder_ms=60_000, anonymous_share=0.2)
    assert list(lines(messages(small))) == list(lines(messages(small)))
    assert list(truth(small)) == list(truth(small))


def test_another_seed_gives_another_shop() -> None:
    small = replace(SHOP, customers=20)
    other = replace(small, seed=12)
    assert list(messages(small)) != list(messages(other))
    assert list(truth(small)) != list(truth(other))


def test_messages_come_in_order_of_time_within_the_window(said: list[Message]) -> None:
    times = [_at_ms(message) for message in said]
    assert times == sorted(times)
    assert SHOP.start_ms <= times[0]
    assert times[-1] < _end_ms(SHOP)


def test_no_message_id_is_used_twice(said: list[Message]) -> None:
    assert len({message["messageId"] for message in said}) == len(said)


def test_no_two_messages_of_a_customer_meet_at_a_millisecond(said: list[Message]) -> None:
    assert len({(message["userId"], message["timestamp"]) for message in said}) == len(said)


def test_visits_and_what_follows_orders_keep_to_different_milliseconds(said: list[Message]) -> None:
    later = AFTER_SALE | {"Product Reviewed"}
    assert all(_at_ms(message) % 2 == (_event(message) in later) for message in said)


def test_what_follows_two_orders_at_one_moment_is_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    def at_the_next_midnight(*given: Any) -> list[Draft]:
        return [d._replace(at_ms=(d.at_ms // DAY_MS + 1) * DAY_MS + 1) for d in after_sale(*given)]

    monkeypatch.setattr(shop, "after_sale", at_the_next_midnight)
    busy = ShopConfig(customers=5, days=30, order_mean=20.0, refunded_share=0.9, reviewed_share=1.0)
    busy_said = list(messages(busy))
    assert any(message["timestamp"].endswith("T00:00:00.001Z") for message in busy_said)
    assert any(message["timestamp"].endswith("T00:00:00.009Z") for message in busy_said)
    assert len({(message["userId"], message["timestamp"]) for message in busy_said}) == len(busy_said)
    assert [_at_ms(message) for message in busy_said] == sorted(_at_ms(message) for message in busy_said)


def test_every_message_is_a_valid_event_to_the_codec(said: list[Message]) -> None:
    for message, line in zip(said, lines(said), strict=True):
        event = decode_event(line)
        assert (event.customer_id, event.time_ms) == (message["userId"], _at_ms(message))
        assert message["context"]["library"]["name"]
        if _event(message) == "Order Completed":
            assert isinstance(event, Order)
            assert event.amount == message["properties"]["revenue"]


def test_every_kind_of_message_occurs_and_most_visits_end_without_an_order(said: list[Message]) -> None:
    seen = Counter(_event(message) for message in said)
    assert set(seen) == {
        "page",
        "Products Searched",
        "Product List Viewed",
        "Product Viewed",
        "Product Added",
        "Product Removed",
        "Cart Viewed",
        "Coupon Applied",
        "Checkout Started",
        "Checkout Step Completed",
        "Payment Info Entered",
        "Order Completed",
        "Order Updated",
        "Order Cancelled",
        "Order Refunded",
        "Product Reviewed",
    }
    landings = sum(_event(m) == "page" and m["context"]["page"]["path"] == "/" for m in said)
    assert landings > 3 * seen["Order Completed"]
    assert seen["Checkout Started"] > seen["Order Completed"]


@given(seed=st.integers(0, 10**6), orders=st.booleans(), engagement=st.floats(0.0, 1.0))
def test_every_visit_is_over_within_the_hour_that_opens_a_spell(
    seed: int, orders: bool, engagement: float
) -> None:
    drafts, placed = visit(Random(seed), CATALOGUE, Visitor(0.5, engagement, orders, 0.5), 1, 0)
    times = [draft.at_ms for draft in drafts]
    assert times == sorted(set(times))
    assert len(times) <= 57
    assert times[-1] < OPENING_MS
    assert (placed is not None) == orders == (drafts[-1].event == "Order Completed")


# Money


@given(items=st.integers(1, 10**7), per_cent_off=st.integers(0, 100))
def test_an_order_adds_up_whatever_is_in_it(items: int, per_cent_off: int) -> None:
    cost = amounts(items, per_cent_off)
    assert cost.items - cost.discount == cost.revenue >= 0
    assert cost.revenue + cost.shipping + cost.tax == cost.total
    assert abs(100 * cost.discount - items * per_cent_off) <= 50


def test_orders_add_up_to_the_cent_on_the_wire(said: list[Message]) -> None:
    priced = [m["properties"] for m in said if "total" in m["properties"] and "revenue" in m["properties"]]
    assert len(priced) > 500
    for order in priced:
        in_lines = sum(_cents(line["price"]) * line["quantity"] for line in order["products"])
        revenue = _cents(order["revenue"])
        assert in_lines - _cents(order["discount"]) == revenue == _cents(order["subtotal"])
        assert revenue + _cents(order["shipping"]) + _cents(order["tax"]) == _cents(order["total"])
        assert ("coupon" in order) == (order["discount"] > 0)


def test_what_follows_an_order_names_it_and_comes_in_its_time(said: list[Message]) -> None:
    orders = _orders(said)
    followed = Counter[str]()
    for message in said:
        if _event(message) not in AFTER_SALE:
            continue
        order = orders[message["properties"]["order_id"]]
        followed[message["properties"]["order_id"]] += 1
        later_ms = _at_ms(message) - _at_ms(order)
        assert message["userId"] == order["userId"]
        if _event(message) == "Order Refunded":
            assert 2 * DAY_MS <= later_ms <= 21 * DAY_MS
        else:
            assert 0 < later_ms <= 7 * HOUR_MS
    assert set(followed.values()) == {1}


def test_a_full_refund_says_only_which_order_and_a_partial_one_is_smaller(said: list[Message]) -> None:
    orders = _orders(said)
    refunds = [m["properties"] for m in said if _event(m) == "Order Refunded"]
    full = [refund for refund in refunds if set(refund) == {"order_id"}]
    partial = [refund for refund in refunds if "total" in refund]
    assert full
    assert partial
    assert len(full) + len(partial) == len(refunds)
    for refund in partial:
        order = orders[refund["order_id"]]["properties"]
        assert 0 < _cents(refund["total"]) < _cents(order["revenue"])
        assert refund["products"][0]["product_id"] in {line["product_id"] for line in order["products"]}


# Truth


def test_every_spell_opens_with_an_order(said: list[Message], known: dict[str, Message]) -> None:
    ordered = defaultdict(list)
    for order in _orders(said).values():
        ordered[order["userId"]].append(_at_ms(order))
    for customer_id, customer in known.items():
        for spell in customer["spells"]:
            until_ms = spell["start_ms"] + OPENING_MS
            if until_ms < _end_ms(SHOP):
                assert any(spell["start_ms"] <= at_ms < until_ms for at_ms in ordered[customer_id])


def _check_silence(said: list[Message], known: dict[str, Message]) -> None:
    for message in said:
        if _event(message) in AFTER_SALE:
            continue
        at_ms = _at_ms(message)
        spells = known[message["userId"]]["spells"]
        assert any(
            spell["start_ms"] <= at_ms and (spell["end_ms"] is None or at_ms < spell["end_ms"])
            for spell in spells
        )


def test_a_customer_does_nothing_in_a_silent_spell(said: list[Message], known: dict[str, Message]) -> None:
    _check_silence(said, known)


def test_who_leaves_in_the_middle_of_a_visit_does_not_finish_it() -> None:
    """With a visit every few minutes and nine in ten leaving within a day, many leave in mid-visit."""
    hasty = ShopConfig(customers=150, days=30, order_mean=60.0, hazard_alpha=90.0, hazard_beta=10.0)
    hasty = replace(hasty, visits_per_order=1.0, fade_days=0.0)
    hasty = replace(hasty, refunded_share=1.0, cancelled_share=0.0, updated_share=0.0)
    hasty_said = list(messages(hasty))
    _check_silence(hasty_said, {customer["customer_id"]: customer for customer in truth(hasty)})
    followed = {m["properties"]["order_id"] for m in hasty_said if _event(m) in AFTER_SALE}
    assert followed <= _orders(hasty_said).keys()


def test_some_customers_leave_and_some_of_them_come_back(known: dict[str, Message]) -> None:
    spells = [customer["spells"] for customer in known.values()]
    assert len(spells) == SHOP.customers
    left = sum(spells_of_one[0]["end_ms"] is not None for spells_of_one in spells)
    back = sum(len(spells_of_one) > 1 for spells_of_one in spells)
    assert 0 < back < left < SHOP.customers


def test_spells_alternate_with_silence_within_the_window(many: list[Message]) -> None:
    for customer in many:
        borders = [border for spell in customer["spells"] for border in (spell["start_ms"], spell["end_ms"])]
        closed = borders if borders[-1] is not None else borders[:-1]
        assert all(earlier < later for earlier, later in pairwise(closed))
        assert SHOP.start_ms <= closed[0]
        assert closed[-1] < _end_ms(SHOP)


def _leaving(customers: list[Message], end_ms: int) -> tuple[int, float]:
    """How many left, and how many the hazard says should have, given how long they were there."""
    left, expected = 0, 0.0
    for customer in customers:
        rate = -math.log1p(-customer["hazard"]) / DAY_MS
        for spell in customer["spells"]:
            left += spell["end_ms"] is not None
            until_ms = end_ms if spell["end_ms"] is None else spell["end_ms"]
            expected += rate * max(0, until_ms - spell["start_ms"] - OPENING_MS)
    return left, expected


@pytest.mark.parametrize("quarter", range(4))
def test_customers_leave_as_often_as_their_hazard_says(many: list[Message], quarter: int) -> None:
    """Left minus expected is a martingale; its variance is the expected number. Quarters are of hazards."""
    ranked = sorted(many, key=lambda customer: float(customer["hazard"]))
    size = len(ranked) // 4
    left, expected = _leaving(ranked[quarter * size : (quarter + 1) * size], _end_ms(SHOP))
    assert expected > 100
    assert abs(left - expected) < SIGMAS * math.sqrt(expected)


def test_hazards_have_the_configured_distribution(many: list[Message]) -> None:
    """A beta's mean and variance, within their standard errors (this beta's kurtosis is 5.8)."""
    alpha, beta = SHOP.hazard_alpha, SHOP.hazard_beta
    mean = alpha / (alpha + beta)
    variance = mean * (1 - mean) / (alpha + beta + 1)
    hazards = [customer["hazard"] for customer in many]
    sampled = sum(hazards) / len(hazards)
    spread = sum((hazard - mean) ** 2 for hazard in hazards) / len(hazards)
    assert abs(sampled - mean) < SIGMAS * math.sqrt(variance / len(hazards))
    assert abs(spread - variance) < SIGMAS * variance * math.sqrt(5 / len(hazards))


def test_survival_of_thirty_days_is_that_of_the_shifted_beta_geometric(many: list[Message]) -> None:
    """P(still there after 30 days) = B(alpha, beta + 30) / B(alpha, beta), over all customers."""
    alpha, beta, days = SHOP.hazard_alpha, SHOP.hazard_beta, 30
    stays = math.exp(
        math.lgamma(beta + days)
        - math.lgamma(alpha + beta + days)
        - math.lgamma(beta)
        + math.lgamma(alpha + beta)
    )
    waited_ms = OPENING_MS + days * DAY_MS
    firsts = [customer["spells"][0] for customer in many]
    watched = [first for first in firsts if first["start_ms"] + waited_ms <= _end_ms(SHOP)]
    survived = sum(s["end_ms"] is None or s["end_ms"] >= s["start_ms"] + waited_ms for s in watched)
    assert len(watched) > 3_000
    assert abs(survived - len(watched) * stays) < SIGMAS * math.sqrt(len(watched) * stays * (1 - stays))


def test_customers_come_back_at_the_configured_rate(many: list[Message]) -> None:
    returned, expected = 0, 0.0
    for customer in many:
        spells = customer["spells"]
        returned += len(spells) - 1
        for spell, following in zip(spells, [*spells[1:], None], strict=True):
            if spell["end_ms"] is not None:
                until_ms = _end_ms(SHOP) if following is None else following["start_ms"]
                away = SEASONS.shop_days(until_ms) - SEASONS.shop_days(spell["end_ms"])
                expected += SHOP.return_rate * away
    assert expected > 100
    assert abs(returned - expected) < SIGMAS * math.sqrt(expected)


def test_nobody_comes_back_to_a_shop_without_returns() -> None:
    assert all(len(customer["spells"]) == 1 for customer in truth(replace(SHOP, return_rate=0.0)))


def test_active_customers_order_as_often_as_their_rate_says() -> None:
    """Beside the order that opens each spell, orders are Poisson in shop time when nobody fades."""
    steady = replace(SHOP, fade_days=0.0)
    expected, opening = 0.0, 0
    for customer in truth(steady):
        for spell in customer["spells"]:
            until_ms = _end_ms(steady) if spell["end_ms"] is None else spell["end_ms"]
            active = SEASONS.shop_days(until_ms) - SEASONS.shop_days(spell["start_ms"])
            expected += customer["order_rate"] * active
            opening += 1
    ordered = len(_orders(list(messages(steady)))) - opening
    assert expected > 300
    assert abs(ordered - expected) < SIGMAS * math.sqrt(expected)


def test_a_leaving_customer_comes_less_and_looks_at_less_before() -> None:
    fading = replace(SHOP, customers=400, fade_days=20.0, fade_floor=0.2)
    leaves_ms = {
        customer["customer_id"]: customer["spells"][0]["end_ms"]
        for customer in truth(fading)
        if customer["spells"][0]["end_ms"] is not None
        and customer["spells"][0]["end_ms"] - customer["spells"][0]["start_ms"] > 45 * DAY_MS
    }
    landed, viewed = Counter[str](), Counter[str]()
    for message in messages(fading):
        if message["userId"] not in leaves_ms or _event(message) not in ("page", "Product Viewed"):
            continue
        before = (leaves_ms[message["userId"]] - _at_ms(message)) / DAY_MS
        when = "fading" if 0 < before <= 10 else "as ever" if 25 < before <= 35 else ""
        viewed[when] += _event(message) == "Product Viewed"
        landed[when] += message["context"]["page"]["path"] == "/"
    assert landed["as ever"] > 100
    assert landed["fading"] < 0.65 * landed["as ever"]
    assert viewed["fading"] / landed["fading"] < 0.8 * viewed["as ever"] / landed["as ever"]


# Seasons


@given(st.integers(0, SHOP.days * DAY_MS - 1))
def test_shop_time_is_inverted_to_the_millisecond(since_start_ms: int) -> None:
    at_ms = SHOP.start_ms + since_start_ms
    assert abs(SEASONS.clock_ms(SEASONS.shop_days(at_ms)) - at_ms) <= 1


def test_an_ordinary_week_is_seven_days_and_one_before_christmas_is_more() -> None:
    assert SHOP.december_peak == 0.8

    def week_from(day: int) -> float:
        start_ms = SHOP.start_ms + day * DAY_MS
        return SEASONS.shop_days(start_ms + 7 * DAY_MS) - SEASONS.shop_days(start_ms)

    assert week_from(30) == pytest.approx(7.0)  # from 1 October
    assert week_from(107) == pytest.approx(7.0 * 1.8)  # from 17 December
    assert week_from(120) == pytest.approx(7.0)  # from 30 December


def test_people_shop_in_the_evening_and_sleep_at_night(said: list[Message]) -> None:
    hours = Counter(message["timestamp"][11:13] for message in said)
    assert hours["20"] > 5 * hours["03"]


# Settings that try a reader's robustness


def test_the_asked_share_is_delivered_twice_and_nothing_else_changes(said: list[Message]) -> None:
    twice = list(messages(replace(SHOP, duplicate_rate=0.05)))
    copies = len(twice) - len(said)
    assert abs(copies - 0.05 * len(said)) < SIGMAS * math.sqrt(0.05 * 0.95 * len(said))
    unique = {message["messageId"]: message for message in twice}
    assert list(unique.values()) == said
    assert all(unique[message["messageId"]] == message for message in twice)
    times = [_at_ms(message) for message in twice]
    assert times == sorted(times)


def test_messages_come_late_by_no_more_than_asked(said: list[Message]) -> None:
    disorder_ms = 30 * 60_000
    shuffled = list(messages(replace(SHOP, disorder_ms=disorder_ms, duplicate_rate=0.02)))
    latest_ms, most_ms = 0, 0
    for message in shuffled:
        latest_ms = max(latest_ms, _at_ms(message))
        most_ms = max(most_ms, latest_ms - _at_ms(message))
    assert disorder_ms / 2 < most_ms <= disorder_ms
    unique = {message["messageId"]: message for message in shuffled}
    assert unique == {message["messageId"]: message for message in said}


def test_the_asked_share_of_visits_is_anonymous_but_never_an_order(said: list[Message]) -> None:
    masked = list(messages(replace(SHOP, anonymous_share=0.3)))
    landings = [m for m in masked if _event(m) == "page" and m["context"]["page"]["path"] == "/"]
    hidden = sum("userId" not in landing for landing in landings)
    assert abs(hidden - 0.3 * len(landings)) < SIGMAS * math.sqrt(0.21 * len(landings))
    for open_, message in zip(said, masked, strict=True):
        assert {**message, "userId": open_["userId"]} == open_
        if "userId" not in message:
            assert _event(message) not in AFTER_SALE | {"Order Completed", "Product Reviewed"}


@pytest.mark.parametrize(
    "wrong",
    [
        {"customers": 0},
        {"seed": -1},
        {"duplicate_rate": 1.1},
        {"disorder_ms": -1},
        {"start_ms": 1},
        {"visits_per_order": 0.5},
        {"cancelled_share": 0.5, "refunded_share": 0.5, "updated_share": 0.5},
        {"hazard_alpha": math.nan},
    ],
)
def test_a_shop_that_cannot_be_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="must"):
        ShopConfig(**wrong)
