"""What a customer machine makes of records and of time: timers, segments, forgetting, odd records."""

from __future__ import annotations

import pytest

from schemas.codec import utc
from schemas.events import Funnel
from schemas.topics import CUSTOMER_SCORES
from streams.config import (
    DAY_MS,
    ReviewConfig,
    SegmentConfig,
    StreamConfig,
    TimeConfig,
)
from streams.customer.decision import Decision, Outcome
from streams.customer.features import FEATURE_NAMES
from streams.customer.state import MOST_QUESTIONS, facts
from streams.customer.state_codec import decode_state, encode_state
from streams.learning.served import Served
from tests.streams.build import (
    MINUTE,
    Shop,
    at,
    cancel,
    click,
    nobody,
    order,
    passive,
    refund,
    snapshot_of,
    update,
)


def calm() -> Served:
    """Serve a risk that never raises anything."""
    return Served(snapshot_of(-2.0))


# Timers


def test_timers_of_silent_customers_fire_in_the_order_of_event_time() -> None:
    """Whatever stood in the heap before: clicks leave early entries behind that mean nothing."""
    shop = Shop(model=calm())
    shop.tell(order("z", 0), order("a", 1), order("m", 0.5), click("m", 1.5), click("a", 2), click("z", 3))
    before = len(shop.said)
    shop.until(100)
    moments = []
    for decision in shop.said[before:]:
        payload = decision.payload
        moment = getattr(payload, "matured_at", None) or getattr(payload, "event_time", None)
        moments.append((moment, decision.customer_id))
    assert moments == sorted(moments)
    assert {customer for _, customer in moments} == {"a", "m", "z"}


def test_what_is_due_for_a_customer_happens_before_their_own_record() -> None:
    """The partition's time may be behind: the customer's own record is enough."""
    shop = Shop(StreamConfig(time=TimeConfig(allowed_lateness_seconds=86_400.0)))
    shop.tell(order("c", 0), order("other", 0))
    shop.tell(order("c", 30.5))
    assert shop.machine.watermark.at_ms < at(30)
    assert shop.examples("c") == []  # answers wait: an order before day 30 would still be on time
    assert [c.event_time for c in shop.changes("c")[2:]] == [utc(at(30)), utc(at(30.5)), utc(at(30.5))]
    assert shop.examples("other") == []
    assert {change.event_time for change in shop.changes("other")} == {utc(at(0))}


def test_an_order_on_time_is_an_answer_although_a_later_click_came_before_it() -> None:
    shop = Shop(StreamConfig(time=TimeConfig(allowed_lateness_seconds=60.0)))
    second = 1 / 86_400
    outcomes = shop.tell(order("c", 0), click("c", 30 + 5 * second), order("c", 30 - second))
    assert outcomes == [Outcome.APPLIED] * 3
    shop.until(70)
    assert next((e.asked_at, e.label) for e in shop.examples("c")) == (utc(at(0)), 0)


def test_the_open_questions_of_one_customer_are_bounded() -> None:
    shop = Shop(model=calm())
    shop.tell(*(order("house", n / 10) for n in range(2 * MOST_QUESTIONS)))
    assert len(shop.machine.states["house"].questions) == MOST_QUESTIONS
    shop.until(60)
    assert len(shop.examples("house")) >= MOST_QUESTIONS


def test_a_record_at_the_moment_at_which_something_is_due_comes_first() -> None:
    """A click at the very end of the gap keeps the session open, as the gap is part of it."""
    shop = Shop(model=calm())
    shop.tell(order("c", 0), click("c", 1), click("c", 1 + 30 * MINUTE))
    assert shop.machine.states["c"].sessions == pytest.approx(2 ** (1 / 28))
    shop.until(1 + 61 * MINUTE)
    assert shop.machine.states["c"].session_ms == 0


def test_a_session_is_reviewed_when_it_closes() -> None:
    shop = Shop(StreamConfig(reviews=ReviewConfig(publish_risk_change=0.0)))
    shop.tell(order("c", 0), click("c", 3), click("c", 3 + 10 * MINUTE))
    shop.until(4)
    assert [(s.cause, s.event_time) for s in shop.scores()[1:]] == [("session", utc(at(3 + 40 * MINUTE)))]


def test_a_tick_moves_time_as_a_record_does() -> None:
    told, ticked = Shop(), Shop()
    for shop in (told, ticked):
        shop.tell(order("c", 0))
    told.tell(nobody(50))
    ticked.machine.tick(at(50))
    ticked.said += ticked.machine.take()
    assert told.said == ticked.said
    assert told.machine.watermark.at_ms == ticked.machine.watermark.at_ms


# Segments


def test_a_segment_changes_at_its_border_exactly() -> None:
    shop = Shop(model=calm())
    shop.tell(order("c", 0))
    shop.until(1000)
    changes = [(c.dimension, c.previous, c.current, c.cause, c.event_time) for c in shop.changes()]
    assert changes == [
        ("rfm", None, "new", "order", utc(at(0))),
        ("lifecycle", None, "first_time", "order", utc(at(0))),
        ("rfm", "new", "promising", "boundary", utc(at(30))),
        ("rfm", "promising", "about_to_sleep", "boundary", utc(at(60))),
        ("lifecycle", "first_time", "defecting", "boundary", utc(at(90))),
        ("rfm", "about_to_sleep", "hibernating", "boundary", utc(at(120))),
        ("lifecycle", "defecting", "inactive", "timer", utc(at(365))),
    ]


def test_a_border_within_a_day_is_met_to_the_millisecond() -> None:
    borders = (1 / 7, 0.7, 1 / 3 + 1, 2.1)
    shop = Shop(StreamConfig(segments=SegmentConfig(recency_days=borders)), calm())
    shop.tell(order("c", 0))
    shop.until(6)
    names = ["new", "promising", "about_to_sleep", "hibernating"]
    assert [change.current for change in shop.changes() if change.dimension == "rfm"] == names
    for change, days in zip((c for c in shop.changes() if c.cause == "boundary"), borders, strict=False):
        past_ms = (change.event_time - utc(at(0))).total_seconds() * 1000
        assert 0 <= past_ms - days * DAY_MS < 1.001


def test_each_change_begins_where_the_last_one_ended_also_when_everything_was_cancelled() -> None:
    shop = Shop(model=calm())
    shop.tell(order("c", 0, name="a"), cancel("c", 1, "a"), order("c", 2, name="b"), order("c", 150))
    shop.until(700)
    for dimension in ("rfm", "lifecycle"):
        own = [change for change in shop.changes() if change.dimension == dimension]
        assert own[0].previous is None
        assert [change.previous for change in own[1:]] == [change.current for change in own[:-1]]
        assert all(change.previous != change.current for change in own)
    assert "won_back" in {change.current for change in shop.changes()}


def test_cancelling_the_only_order_takes_everything_back() -> None:
    shop = Shop()
    shop.tell(order("c", 0, name="a"), order("c", 0.5, name="b"))
    shop.until(20)
    assert [alert.state for alert in shop.alerts()] == ["raised", "escalated"]
    shop.tell(cancel("c", 20.5, "b"))
    before = len(shop.said)
    shop.tell(cancel("c", 21, "a"))
    said = shop.said[before:]
    assert [(c.dimension, c.current) for c in shop.changes()[-2:]] == [
        ("rfm", "none"),
        ("lifecycle", "prospect"),
    ]
    assert (shop.alerts()[-1].state, shop.alerts()[-1].cause) == ("resolved", "risk_fell")
    assert said[-1] == Decision(CUSTOMER_SCORES, "c", None)
    count = len(shop.changes()) + len(shop.scores()) + len(shop.alerts())
    shop.until(400)
    assert len(shop.changes()) + len(shop.scores()) + len(shop.alerts()) == count, "nothing more to say"
    shop.tell(order("c", 401))
    assert [change.current for change in shop.changes()[-2:]] == ["new", "first_time"]
    assert shop.scores()[-1].orders == 1


def test_a_visitor_who_never_ordered_is_not_spoken_of() -> None:
    shop = Shop()
    shop.tell(click("c", 0), click("c", 1, Funnel.CART_ADD), passive("c", 2), cancel("c", 3, "unknown"))
    shop.until(300)
    assert shop.said == []


# Forgetting


def test_a_customer_without_any_event_for_three_years_is_forgotten() -> None:
    shop = Shop()
    shop.tell(order("c", 0), click("c", 100))
    shop.until_ms(at(100 + 1095) - 1)
    assert "c" in shop.machine.states
    shop.machine.dirty.clear()
    shop.until_ms(at(100 + 1095))
    assert "c" not in shop.machine.states
    assert list(shop.machine.dirty) == ["c"], "its removal has to be written"
    assert shop.said[-1] == Decision(CUSTOMER_SCORES, "c", None)
    assert len(shop.machine.timers) == 0


def test_who_comes_back_after_being_forgotten_is_new() -> None:
    config = StreamConfig(reviews=ReviewConfig(silent_days=100.0, forget_days=200.0))
    shop = Shop(config)
    shop.tell(order("c", 0), order("c", 5))
    shop.tell(order("c", 206, name="again"))
    fresh = Shop(config)
    fresh.tell(order("c", 206, name="again"))
    assert facts(shop.machine.states["c"]) == facts(fresh.machine.states["c"])
    assert [change.previous for change in shop.changes()[-2:]] == [None, None]


def test_every_question_is_answered_before_a_customer_is_forgotten() -> None:
    config = StreamConfig(reviews=ReviewConfig(silent_days=100.0, forget_days=130.0))
    assert config.problems() == []
    shop = Shop(config)
    shop.tell(order("c", 0))
    shop.until(131)
    assert [example.asked_at for example in shop.examples()][-1] == utc(at(100))
    assert "c" not in shop.machine.states


def test_an_erased_customer_leaves_nothing() -> None:
    shop = Shop()
    shop.tell(order("c", 0), order("d", 0))
    shop.machine.erase("c")
    assert shop.machine.take() == [Decision(CUSTOMER_SCORES, "c", None)]
    assert set(shop.machine.states) == {"d"}
    shop.until(300)
    assert {decision.customer_id for decision in shop.said[-10:]} == {"d"}


def test_erasing_a_customer_who_is_not_there_is_said_too() -> None:
    shop = Shop()
    shop.machine.erase("unknown")
    assert shop.machine.take() == [Decision(CUSTOMER_SCORES, "unknown", None)]
    assert list(shop.machine.dirty) == ["unknown"]
    assert not shop.machine.states


def test_after_an_erasure_a_customer_starts_anew() -> None:
    shop = Shop()
    shop.tell(order("c", 0), order("c", 10))
    shop.machine.erase("c")
    shop.tell(order("c", 20))
    assert shop.machine.states["c"].orders == 1
    assert shop.machine.states["c"].first_ms == at(20)


# Odd records


def test_a_message_twice_changes_nothing() -> None:
    shop = Shop()
    shop.tell(order("c", 0), click("c", 0.5), order("c", 1, name="o"))
    state, said = decode_state(encode_state(shop.machine.states["c"])), list(shop.said)
    assert shop.tell(order("c", 1, name="o"), click("c", 0.5)) == [Outcome.DUPLICATE] * 2
    after = shop.machine.states["c"]
    assert facts(after) == facts(state)
    assert after.verdict == state.verdict
    assert shop.said == said


def test_a_duplicate_read_again_after_its_message_id_faded_changes_nothing() -> None:
    shop = Shop()
    shop.tell(order("c", 0, name="o"), order("c", 0, name="o"), nobody(20))
    assert len(shop.machine.states["c"].ids_now) == 0
    assert shop.apply([(1, 0, order("c", 0, name="o")), (1, 1, order("c", 0, name="o"))]) == [
        Outcome.REPEATED,
        Outcome.REPEATED,
    ]


def test_the_same_record_again_changes_nothing() -> None:
    shop = Shop()
    events = [order("c", 0), click("c", 0.5), order("c", 1), click("c", 2), update("c", 3, "unknown", 1.0)]
    shop.tell(*events)
    state, said = encode_state(shop.machine.states["c"]), list(shop.said)
    shop.machine.dirty.clear()
    shop._offsets = [0, 0]
    assert shop.tell(*events) == [Outcome.REPEATED] * 5
    assert encode_state(shop.machine.states["c"]) == state
    assert shop.said == said
    assert not shop.machine.dirty


def test_an_order_with_a_new_message_id_is_still_the_same_order() -> None:
    shop = Shop()
    shop.tell(order("c", 0, name="o"))
    assert shop.tell(order("c", 0, name="o", message="sent again")) == [Outcome.APPLIED]
    assert shop.machine.states["c"].orders == 1
    assert shop.scores()[-1].cause == "correction"


def test_a_late_event_is_applied_and_says_so() -> None:
    shop = Shop()
    shop.tell(order("c", 0), order("other", 10))
    edge_ms = at(10) - 60_000
    on_time = click("c", (edge_ms - at(0)) / DAY_MS)
    late = click("c", (edge_ms - 1 - at(0)) / DAY_MS)
    assert shop.tell(on_time, late) == [Outcome.APPLIED, Outcome.LATE]
    assert shop.tell(order("c", 5)) == [Outcome.LATE]
    state = shop.machine.states["c"]
    assert (state.orders, state.order_ms) == (2, at(5))
    assert shop.scores("c")[-1].orders == 2
    assert shop.machine.watermark.at_ms == at(10) - 60_001


def test_a_late_first_event_makes_a_customer_whose_timers_fire_next() -> None:
    shop = Shop(model=calm())
    shop.tell(order("other", 100))
    assert shop.tell(order("c", 0)) == [Outcome.LATE]
    shop.tell(nobody(100.1))
    assert [change.event_time for change in shop.changes("c")][-1] == utc(at(90))
    assert len(shop.examples("c")) == 11, "asked by the order and weekly up to day 70"


def test_an_anonymous_message_moves_time_and_nothing_else() -> None:
    shop = Shop()
    shop.tell(order("c", 0))
    assert shop.tell(nobody(20)) == [Outcome.ANONYMOUS]
    assert shop.machine.watermark.at_ms == at(20) - 60_001
    assert set(shop.machine.states) == {"c"}
    assert [score.cause for score in shop.scores()] == ["order", "timer", "timer"]
    assert shop.tell(nobody(0)) == [Outcome.ANONYMOUS]


def test_a_message_about_a_customer_is_no_act_of_theirs() -> None:
    shop, quiet = Shop(), Shop()
    shop.tell(order("c", 0), passive("c", 3))
    quiet.tell(order("c", 0))
    for each in (shop, quiet):
        each.until(200)
    assert [(s.event_time, s.features) for s in shop.scores()] == [
        (s.event_time, s.features) for s in quiet.scores()
    ]
    assert [c.event_time for c in shop.changes()] == [c.event_time for c in quiet.changes()]


def test_corrections_are_scored_at_once() -> None:
    shop = Shop()
    shop.tell(order("c", 0, 50.0, name="o"), update("c", 1, "o", 80.0), refund("c", 2, "o", 30.0))
    assert [score.historic_value for score in shop.scores()] == [50.0, 80.0, 50.0]
    assert [score.cause for score in shop.scores()] == ["order", "correction", "correction"]
    assert shop.examples() == []
    shop.until(40)
    assert [e.cause for e in shop.examples()] == ["order", "timer"], "a correction asks nothing"


def test_weights_stay_finite_over_decades_of_silence_and_clicks() -> None:
    """The landmark follows the customer's clock, timers included, also for what comes late."""
    reviews = ReviewConfig(silent_days=9000.0, forget_days=9100.0)
    shop = Shop(StreamConfig(reviews=reviews), calm())
    shop.tell(order("c", 0), click("c", 1))
    shop.until(8990)
    assert shop.tell(click("c", 8900), order("c", 8950)) == [Outcome.LATE] * 2
    state = shop.machine.states["c"]
    assert state.orders == 2
    score = shop.scores()[-1]
    named = dict(zip(FEATURE_NAMES, score.features, strict=True))
    assert named.pop("season_sine") ** 2 + named.pop("season_cosine") ** 2 == pytest.approx(1.0)
    assert all(0.0 <= value < 20.0 for value in named.values())


def test_decisions_are_taken_once() -> None:
    shop = Shop()
    shop.machine.apply(order("c", 0), 1, 0)
    assert len(shop.machine.take()) == 3
    assert shop.machine.take() == []


def test_a_score_is_not_repeated_while_nothing_changes() -> None:
    shop = Shop(model=calm())
    shop.tell(order("c", 0))
    shop.until(29)
    assert [score.cause for score in shop.scores()] == ["order"]
    shop.until(30)
    assert [score.cause for score in shop.scores()] == ["order", "boundary"]
