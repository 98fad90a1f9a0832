"""Retention KPIs by trait: levels as scores say them, bounded by name, the same in any order of customers."""

from __future__ import annotations

from random import Random
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from schemas.codec import epoch_ms, utc
from schemas.decisions import CustomerScore
from schemas.events import Trait
from schemas.kpis import RetentionKpis, TraitKpis
from schemas.topics import CUSTOMER_SCORES
from streams.config import DAY_MS, StreamConfig
from streams.customer.decision import Decision
from streams.value.kpis import KpiMachine
from streams.value.trait_kpis import MOST_VALUES

START_MS = 20_000 * DAY_MS


def score(customer: str, at_ms: int, traits: dict[str, Trait], worth: float = 40.0) -> Decision:
    values: dict[str, Any] = {
        "risk": 0.5,
        "band": "low",
        "horizon_days": 5.0,
        "crosses_at": None,
        "orders": 1,
    }
    said = CustomerScore(
        customer_id=customer,
        event_time=utc(at_ms),
        cause="timer",
        rfm="new",
        lifecycle="first_time",
        time_since_last_order_days=0.0,
        historic_value=10.0,
        predicted_value=worth,
        value_at_risk=worth / 2,
        model_version="m",
        features=[],
        traits=traits,
        **values,
    )
    return Decision(CUSTOMER_SCORES, customer, said)


def told(decisions: list[Decision], days: int = 3) -> list[RetentionKpis]:
    machine = KpiMachine(StreamConfig())
    for decision in decisions:
        machine.take(decision)
    return machine.tell(START_MS + days * DAY_MS)


SCORES = st.lists(
    st.tuples(
        st.sampled_from("abcd"),
        st.integers(0, 2 * DAY_MS - 1),
        st.dictionaries(
            st.sampled_from(["plan", "vip"]), st.sampled_from(["gold", "silver", True, 1, None]), max_size=2
        ),
        st.sampled_from([8.0, 40.0]),
    ),
    unique_by=lambda one: one[1],
    min_size=1,
    max_size=12,
)


@given(SCORES, st.integers(0, 99))
def test_a_day_counts_each_customer_under_what_their_newest_score_says(
    drawn: list[tuple[str, int, dict[str, Trait], float]], seed: int
) -> None:
    said = [
        score(who, START_MS + at, traits, worth)
        for who, at, traits, worth in sorted(drawn, key=lambda d: d[1])
    ]
    mixed: list[Decision] = []  # customers as several partitions would bring them, each in order
    rest = {who: [one for one in said if one.customer_id == who] for who in "abcd"}
    rng = Random(seed)
    while any(rest.values()):
        mixed.append(rest[rng.choice([who for who in rest if rest[who]])].pop(0))
    days = told(said)
    assert [day.traits for day in told(mixed)] == [day.traits for day in days]
    for day in days:
        end = utc((START_MS // DAY_MS) * DAY_MS).date().toordinal()
        until_ms = START_MS + (day.day.toordinal() - end + 1) * DAY_MS
        newest: dict[str, CustomerScore] = {}
        for one in said:
            assert isinstance(one.payload, CustomerScore)
            if epoch_ms(one.payload.event_time) < until_ms:
                newest[one.customer_id] = one.payload
        expected: dict[tuple[str, str], tuple[int, float]] = {}
        for payload in newest.values():
            for name, value in payload.traits.items():
                if value is not None:
                    key = name, str(value).lower() if isinstance(value, bool) else str(value)
                    count, worth = expected.get(key, (0, 0.0))
                    expected[key] = count + 1, worth + payload.predicted_value
        assert {(t.trait, t.value): (t.customers, t.predicted_value) for t in day.traits} == expected


def test_of_many_values_the_largest_are_named_and_the_others_counted_together() -> None:
    said = []
    for value in range(MOST_VALUES + 5):
        said += [score(f"{value}/{one}", START_MS, {"city": f"v{value}"}) for one in range(value + 1)]
    traits = told(said)[0].traits
    assert [(one.value, one.customers) for one in traits[:2]] == [("v24", 25), ("v23", 24)]
    assert len(traits) == MOST_VALUES + 1
    assert traits[-1] == TraitKpis(
        trait="city",
        value=None,
        customers=1 + 2 + 3 + 4 + 5,
        historic_value=150.0,
        predicted_value=600.0,
        value_at_risk=300.0,
    )


def test_an_erased_customer_is_counted_no_more() -> None:
    said = [score("a", START_MS, {"plan": "gold"}), Decision(CUSTOMER_SCORES, "a", None)]
    assert told(said)[0].traits == []
