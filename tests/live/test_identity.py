"""Clicks before a login change the customer's state after it, through a broker, a crash and an erasure."""

from __future__ import annotations

import msgspec
import pytest

from agents.client import partition_of
from agents.cluster import create_missing
from agents.forget import forget
from agents.settings import Settings
from schemas.codec import utc
from schemas.identity import IDENTIFIED
from schemas.topics import CLICKSTREAM
from streams.config import MINUTE_MS
from streams.customer.state import CustomerState, facts
from streams.identity.visitor import Visitor, count_of
from tests.live.harness import (
    PATIENCE_SECONDS,
    Worker,
    deliver,
    own_settings,
    read_topic,
    recovered,
    replay_partitions,
    until,
)

pytestmark = pytest.mark.broker

T0 = 1_767_225_600_000
CUSTOMER = "c-17"


def message(minute: int, name: str = "page", **ids: str) -> bytes:
    head = {
        "type": name if name == "page" else "track",
        "event": name,
        "messageId": f"m{minute}",
        "timestamp": utc(T0 + minute * MINUTE_MS),
        "properties": {"order_id": "o1", "revenue": 30} if name == "Order Completed" else {},
    }
    return msgspec.json.encode(head | ids)


def visitor_at(partition: int, partitions: int) -> str:
    return next(v for n in range(99) if partition_of((v := f"visitor-{n}").encode(), partitions) == partition)


def state_of(settings: Settings) -> CustomerState | None:
    (found,) = [p.states[CUSTOMER] for p in recovered(settings).values() if CUSTOMER in p.states] or [None]
    return found


def visitors(settings: Settings) -> dict[str, Visitor]:
    """Visitors that are known, whichever partition knows them; one that has clicks first."""
    found: dict[str, Visitor] = {}
    for part in recovered(settings).values():
        for name, visitor in part.visitors.items():
            if name not in found or count_of(visitor.clicks):
                found[name] = visitor
    return found


@pytest.mark.parametrize(
    ("store", "apart"),
    [("memory", False), ("memory", True), ("rocksdb", True)],
    ids=["on one partition", "on two partitions", "on two partitions, on disk"],
)
def test_clicks_before_a_login_are_the_customers_through_a_crash_until_they_are_erased(
    live_broker: dict[str, object], store: str, apart: bool
) -> None:
    settings = own_settings(
        live_broker,
        topics__partitions=2,
        worker__agents="customers",
        worker__store=store,
        identity__enabled=True,
    )
    create_missing(settings)
    visitor = visitor_at((partition_of(CUSTOMER.encode(), 2) + apart) % 2, 2)
    other = visitor_at(0, 2) + "-who-stays"
    before = [message(minute, "Product Added", anonymousId=visitor) for minute in range(3)]
    with Worker(settings) as worker:
        deliver(settings, [*before, message(3, anonymousId=other)])
        worker.until_processed(4)
        until(lambda: {visitor, other} <= visitors(settings).keys(), "visitors are in the changelog")
        assert count_of(visitors(settings)[visitor].clicks) == 3
        assert state_of(settings) is None
        worker.process.kill()
        worker.process.wait()
        assert visitor not in worker.said()
    with Worker(settings) as worker:
        deliver(settings, [message(4, anonymousId=visitor, userId=CUSTOMER)])
        until(
            lambda: (s := state_of(settings)) is not None and s.carts > 2.9, "the clicks are the customer's"
        )
        deliver(settings, [message(5, "Product Added", anonymousId=visitor)])
        until(lambda: (s := state_of(settings)) is not None and s.carts > 3.9, "and later ones at once")
        state = state_of(settings)
        assert state is not None
        assert (state.first_ms, state.click_ms) == (T0, T0 + 5 * MINUTE_MS)
        assert state.views == pytest.approx(5.0, abs=0.01)
        # Each partition counts when its own epoch is durable, and they close at different moments.
        until(lambda: worker.metrics()["holdfast_visitor_clicks_total"] == 4, "four clicks are given")
        until(lambda: worker.metrics()["holdfast_customers"] == 1, "one customer")
        assert all(
            p.marker is None or p.marker.customers == len(p.states) for p in recovered(settings).values()
        )
        deliver(settings, [message(6, "Order Completed", userId=CUSTOMER)])
        until(lambda: (s := state_of(settings)) is not None and s.orders == 1, "the order")
        forget(settings, [CUSTOMER], timeout=PATIENCE_SECONDS)
        assert state_of(settings) is None
        assert visitors(settings).keys() == {other}
        assert worker.stop() == 0, worker.said()
    told = [m for m in read_topic(settings, CLICKSTREAM) if m.value and b'"name":"holdfast"' in m.value]
    assert len([m for m in told if m.value and IDENTIFIED.encode() in m.value]) == int(apart)
    assert len(told) == 5 * apart  # the link and four clicks


def test_switched_off_nothing_of_visitors_is_kept(live_broker: dict[str, object]) -> None:
    settings = own_settings(
        live_broker, topics__partitions=1, worker__agents="customers", identity__enabled=True
    )
    create_missing(settings)
    deliver(settings, [message(1, anonymousId="a-7")])
    with Worker(settings) as worker:
        until(lambda: visitors(settings).keys() == {"a-7"}, "the visitor is known")
        assert worker.stop() == 0, worker.said()
    off = msgspec.structs.replace(settings.identity, enabled=False)
    with Worker(msgspec.structs.replace(settings, identity=off)) as worker:
        until(lambda: visitors(settings) == {}, "nobody calls for it, and it is gone")
        assert worker.stop() == 0, worker.said()


def test_a_worker_joins_as_the_replay_does(live_broker: dict[str, object]) -> None:
    settings = own_settings(
        live_broker, topics__partitions=1, worker__agents="customers", identity__enabled=True
    )
    create_missing(settings)
    lines = []
    for minute in range(0, 4_000, 10):
        visitor, customer = f"v{minute % 70}", f"c{minute % 7}"
        ids = {"anonymousId": visitor} if minute % 3 else {"anonymousId": visitor, "userId": customer}
        lines.append(message(minute, "Product Added" if minute % 4 else "page", **ids))
    deliver(settings, lines)
    with Worker(settings) as worker:
        worker.until_processed(len(lines))
        assert worker.stop() == 0, worker.said()
    (replay,), _ = replay_partitions(settings, lines, 1)
    (kept,) = recovered(settings).values()
    assert len(kept.states) > 2
    assert {name: facts(state) for name, state in kept.states.items()} == {
        name: facts(state) for name, state in replay.machine.states.items()
    }
