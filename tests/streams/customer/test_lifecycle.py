"""Each lifecycle stage ends at its border, and winning back takes a long silence before."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.config import DAY_MS, SegmentConfig
from streams.customer.lifecycle import LIFECYCLE_NAMES, Stages, comes_back
from streams.customer.state import NO_TIME
from tests.streams.build import T0

CONFIG = SegmentConfig()


@pytest.mark.parametrize(
    ("orders", "days", "won_back", "stage"),
    [
        (0, 0, False, "prospect"),
        (0, 900, False, "prospect"),
        (1, 0, False, "first_time"),
        (1, 89.999, False, "first_time"),
        (2, 0, False, "active"),
        (2, 0, True, "won_back"),
        (2, 89.999, True, "won_back"),
        (1, 90, False, "defecting"),
        (2, 90, True, "defecting"),
        (9, 364.999, False, "defecting"),
        (1, 365, False, "inactive"),
        (2, 365, True, "inactive"),
        (2, 5000, False, "inactive"),
    ],
)
def test_a_stage_follows_from_orders_and_silence(
    orders: int, days: float, won_back: bool, stage: str
) -> None:
    number = Stages(CONFIG).of(orders, round(days * DAY_MS), won_back)
    assert LIFECYCLE_NAMES[number] == stage


def test_an_order_wins_back_who_was_silent_as_long_as_a_defector() -> None:
    assert comes_back(T0, T0 + 90 * DAY_MS, CONFIG)
    assert not comes_back(T0, T0 + 90 * DAY_MS - 1, CONFIG)


@given(st.floats(0.01, 300.0), st.floats(0.01, 300.0), st.integers(1, 3))
def test_silence_changes_the_stage_at_each_border_and_nowhere_else(
    active: float, more: float, orders: int
) -> None:
    all_stages = Stages(SegmentConfig(active_days=active, inactive_days=active + more))
    now_ms, stages = T0, [all_stages.of(orders, 0, won_back=False)]
    while (border_ms := all_stages.next_border_ms(T0, now_ms)) != NO_TIME:
        assert all_stages.of(orders, border_ms - T0 - 1, won_back=False) == stages[-1]
        stages.append(all_stages.of(orders, border_ms - T0, won_back=False))
        now_ms = border_ms
    names = [LIFECYCLE_NAMES[stage] for stage in stages]
    assert names == ["first_time" if orders == 1 else "active", "defecting", "inactive"]
