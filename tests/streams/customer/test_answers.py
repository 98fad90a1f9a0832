"""Which questions are asked, and the answers that time gives them."""

from __future__ import annotations

import pytest

from schemas.codec import utc
from streams.config import (
    DAY_MS,
    ReviewConfig,
    SegmentConfig,
    StreamConfig,
    TimeConfig,
)
from streams.learning.served import Served
from tests.streams.build import (
    Shop,
    at,
    cancel,
    click,
    order,
    snapshot_of,
)

WEEKLY = [7, 14, 21, 28]


def test_a_customer_who_stays_away_answers_at_the_horizon_and_not_a_millisecond_before() -> None:
    shop = Shop()
    shop.tell(order("c", 0))
    shop.until_ms(at(30) - 1)
    assert shop.examples() == []
    shop.until_ms(at(30))
    (example,) = shop.examples()
    assert (example.label, example.asked_at, example.matured_at) == (1, utc(at(0)), utc(at(30)))


def test_a_customer_who_orders_answers_at_the_horizon_too_and_not_when_they_order() -> None:
    """Learning the good news early and the bad news late would teach that all news is good."""
    shop = Shop()
    shop.tell(order("c", 0), order("c", 3))
    shop.until_ms(at(30) - 1)
    assert shop.examples() == []
    shop.until_ms(at(30))
    (example,) = shop.examples()
    assert (example.label, example.asked_at) == (0, utc(at(0)))


@pytest.mark.parametrize("lateness_seconds", [0.0, 60.0, 86_400.0])
@pytest.mark.parametrize(("after_ms", "label"), [(-1, 0), (0, 0), (1, 1)])
def test_an_order_at_the_horizon_exactly_still_counts(
    after_ms: int, label: int, lateness_seconds: float
) -> None:
    """Also when the record itself makes things due that lie just before it."""
    segments = SegmentConfig(recency_days=(29.5, 60.0, 120.0, 240.0))
    time = TimeConfig(allowed_lateness_seconds=lateness_seconds)
    shop = Shop(StreamConfig(time=time, segments=segments))
    shop.tell(order("c", 0), order("c", 30 + after_ms / DAY_MS))
    shop.until(31)
    assert [example.label for example in shop.examples() if example.asked_at == utc(at(0))] == [label]


def test_an_order_at_the_moment_of_the_question_does_not_answer_it() -> None:
    shop = Shop()
    shop.tell(order("c", 0, name="a"), order("c", 0, name="b"))
    shop.until(30)
    (example,) = shop.examples()
    assert example.label == 1
    assert example.features["one_timer"] == 0.0, "of two looks at one moment the later one counts"


def test_each_order_and_each_timer_asks_once() -> None:
    shop = Shop()
    shop.tell(order("c", 0), click("c", 2), order("c", 10.5))
    shop.until(10.5 + 58)
    asked = [(example.cause, example.asked_at) for example in shop.examples()]
    assert asked == [
        ("order", utc(at(0))),
        ("timer", utc(at(7))),
        ("order", utc(at(10.5))),
        *(("timer", utc(at(10.5 + day))) for day in WEEKLY),
    ]
    assert [example.label for example in shop.examples()] == [0, 0, 1, 1, 1, 1, 1]


def test_an_example_keeps_what_was_served_and_the_features_of_its_moment() -> None:
    shop = Shop()
    shop.tell(order("c", 0, 20.0))
    shop.machine.adopt(Served(snapshot_of(1.0, version="another")))
    shop.tell(order("c", 4, 99.0))
    shop.until(30)
    (example,) = shop.examples()
    (served, _) = shop.scores()[:2]
    assert example.model_version == served.model_version == "by-hand"
    assert example.risk == served.risk
    assert list(example.features.values()) == served.features
    assert example.features["one_timer"] == 1.0


def test_an_order_that_is_called_off_answers_nothing() -> None:
    shop = Shop()
    shop.tell(order("c", 0), order("c", 3, name="x"), cancel("c", 4, "x"))
    shop.until(33)
    assert [(example.asked_at, example.label) for example in shop.examples()] == [
        (utc(at(0)), 1),
        (utc(at(3)), 1),
    ]


def test_a_question_share_of_nothing_asks_nothing() -> None:
    shop = Shop(StreamConfig(reviews=ReviewConfig(question_share=0.0)))
    shop.tell(order("c", 0))
    shop.until(400)
    assert shop.examples() == []
