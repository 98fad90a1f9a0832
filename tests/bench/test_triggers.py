"""Which record made an alert due: against a slow search, and against a machine that is fed one by one."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from bench import workload
from bench.triggers import Triggers
from schemas.codec import decode_event, epoch_ms
from schemas.decisions import ChurnAlert
from streams.config import AlertConfig, StreamConfig
from streams.customer.features import FEATURE_NAMES
from streams.customer.machine import CustomerMachine
from streams.learning.served import Served, untrained

RECORDS = st.lists(st.tuples(st.integers(0, 300), st.sampled_from("abc")), max_size=40).map(sorted)


def slow(records: list[Any], customer_id: str, as_of_ms: int, lateness_ms: int) -> int | None:
    for place, (time_ms, own) in enumerate(records):
        if time_ms > as_of_ms + lateness_ms or (own == customer_id and time_ms >= as_of_ms):
            return place
    return None


@given(RECORDS, st.sampled_from("abc"), st.integers(0, 300), st.integers(0, 50))
def test_the_first_record_that_lets_time_come_so_far(
    records: list[Any], customer_id: str, as_of_ms: int, lateness_ms: int
) -> None:
    triggers = Triggers(lateness_ms)
    for record in records:
        triggers.add(*record)
    assert triggers.of(customer_id, as_of_ms) == slow(records, customer_id, as_of_ms, lateness_ms)


def test_a_machine_says_each_alert_at_the_record_that_made_it_due() -> None:
    config = StreamConfig(alerts=AlertConfig(raise_at=0.6, escalate_at=0.75, resolve_below=0.5))
    silence = [0.4 if name == "log_silence" else 0.0 for name in FEATURE_NAMES]
    plain = untrained(config)
    model = type(plain)(
        **{name: getattr(plain, name) for name in plain.__struct_fields__ if name != "coefficient"},
        coefficient=silence,
    )
    machine = CustomerMachine(config, Served(model))
    lateness_ms = int(config.time.allowed_lateness_seconds * 1000)
    triggers, said = Triggers(lateness_ms), []
    lines = workload.with_inputs(workload.messages(6_000, 150))
    for number, (source, line) in enumerate(lines):
        event = decode_event(line)
        triggers.add(event.time_ms, event.customer_id)
        machine.apply(event, source, number)
        said += [(number, d.payload) for d in machine.take() if isinstance(d.payload, ChurnAlert)]
    assert len({alert.state for _, alert in said}) >= 2
    assert len(said) > 50
    for number, alert in said:
        assert triggers.of(alert.customer_id, epoch_ms(alert.event_time)) == number
