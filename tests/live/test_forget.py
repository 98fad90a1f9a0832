"""Erasing a customer while workers run, crash and come back."""

from __future__ import annotations

import random
import threading
import time

import msgspec
import pytest

from agents.client import partition_of
from agents.cluster import create_missing
from agents.errors import OperatorError
from agents.forget import Receipt, forget
from agents.settings import Settings
from schemas.topics import CHANGELOG, CUSTOMER_SCORES, ERASURES, ORDERS
from streams.customer.state import CustomerState
from tests.live.harness import (
    PATIENCE_SECONDS,
    Worker,
    committed,
    deliver,
    own_settings,
    produce_raw,
    read_topic,
    recovered,
    until,
)
from tests.live.test_live_equals_replay import small_cdnow

pytestmark = pytest.mark.broker

PARTITIONS = 2
CUSTOMER = "who-goes"


def orders(customer: str, *days: int) -> list[bytes]:
    return [
        msgspec.json.encode(
            {
                "type": "track",
                "event": "Order Completed",
                "messageId": f"{customer}-{day}",
                "userId": customer,
                "timestamp": f"1997-03-{day:02}T00:00:00Z",
                "properties": {"order_id": f"{customer}-{day}", "revenue": 20},
            }
        )
        for day in days
    ]


def state_of(settings: Settings, customer: str) -> CustomerState | None:
    """What the changelog holds of a customer, on whatever partition."""
    (found,) = [
        part.states[customer] for part in recovered(settings).values() if customer in part.states
    ] or [None]
    return found


def latest_is_a_tombstone(settings: Settings, name: str, customer: str) -> bool:
    latest: dict[int, bytes | None] = {}
    for message in read_topic(settings, name):
        if message.key == customer.encode():
            latest[message.partition] = message.value
    return len(latest) == PARTITIONS and not any(latest.values())


def check(settings: Settings, receipt: Receipt, customer: str) -> None:
    (entry,) = [entry for entry in receipt.customers if entry.customer_id == customer]
    places = {(tombstone.topic, tombstone.partition) for tombstone in entry.tombstones}
    topics = [settings.topic(name) for name in (CHANGELOG, CUSTOMER_SCORES)]
    assert places == {(topic, number) for topic in topics for number in range(PARTITIONS)}
    assert latest_is_a_tombstone(settings, CHANGELOG, customer)
    assert latest_is_a_tombstone(settings, CUSTOMER_SCORES, customer)
    assert state_of(settings, customer) is None


@pytest.fixture
def settings(live_broker: dict[str, object]) -> Settings:
    settings = own_settings(live_broker, topics__partitions=PARTITIONS, worker__agents="customers")
    create_missing(settings)
    return settings


def test_an_erased_customer_is_gone_stays_gone_and_may_come_anew(settings: Settings) -> None:
    crowd = small_cdnow()[:200]
    deliver(settings, crowd + orders(CUSTOMER, 1, 9))
    with Worker(settings) as worker:
        worker.until_processed(len(crowd) + 2)
        until(lambda: state_of(settings, CUSTOMER) is not None, "the state is written")
        receipt = forget(settings, [CUSTOMER, "nobody"], timeout=PATIENCE_SECONDS)
        check(settings, receipt, CUSTOMER)
        check(settings, receipt, "nobody")
        assert worker.metrics()["holdfast_erasures_total"] == 2 * PARTITIONS
        others = {c for part in recovered(settings).values() for c in part.states}
        assert len(others) > 50
        worker.process.kill()
        worker.process.wait()
        assert CUSTOMER not in worker.said()
    with Worker(settings) as worker:
        worker.until_ready()
        deliver(settings, orders("somebody-else", 20))
        worker.until_processed(1)
        assert worker.metrics()["holdfast_erasures_total"] == 0, "done once, not again"
        assert worker.stop() == 0, worker.said()
    check(settings, receipt, CUSTOMER)
    assert {c for part in recovered(settings).values() for c in part.states} == others | {"somebody-else"}
    with Worker(settings) as worker:
        deliver(settings, orders(CUSTOMER, 28))
        worker.until_processed(1)
        assert worker.stop() == 0, worker.said()
    anew = state_of(settings, CUSTOMER)
    assert anew is not None
    assert anew.orders == 1


def test_a_customer_whom_the_shops_own_partitioner_put_elsewhere_is_found(settings: Settings) -> None:
    stray = next(name for n in range(99) if partition_of((name := f"stray-{n}").encode(), PARTITIONS) == 1)
    produce_raw(settings, ORDERS, orders(stray, 1, 2))  # on partition 0
    with Worker(settings) as worker:
        worker.until_processed(2)
        until(lambda: state_of(settings, stray) is not None, "the state is written")
        check(settings, forget(settings, [stray], timeout=PATIENCE_SECONDS), stray)
        assert worker.stop() == 0, worker.said()


def test_without_a_worker_the_request_stands_and_takes_what_came_before_it_and_nothing_after(
    settings: Settings,
) -> None:
    """Everything is there before the first worker is: the request is read long before its turn comes."""
    crowd = small_cdnow()[:300]
    deliver(settings, crowd[:100] + orders(CUSTOMER, 1, 2) + crowd[100:200] + orders(CUSTOMER, 3))
    with pytest.raises(
        OperatorError, match=r"no worker has come to it in partitions 0, 1; the request stands"
    ):
        forget(settings, [CUSTOMER], timeout=0.5)
    deliver(settings, crowd[200:] + orders(CUSTOMER, 28, 29))
    with Worker(settings) as worker:
        worker.until_processed(len(crowd) + 5)
        assert worker.stop() == 0, worker.said()
    anew = state_of(settings, CUSTOMER)
    assert anew is not None
    assert anew.orders == 2
    assert sum(message.key == CUSTOMER.encode() for message in read_topic(settings, ERASURES)) == PARTITIONS


# Where a worker dies, by code that it runs first. On Kafka tombstones and marker are one transaction, so
# there the second may have no place where it strikes: then the worker lives on, and all else is the same.
DIE = {
    "before anything is written": """
from streams.customer.machine import CustomerMachine
CustomerMachine.erase = lambda *_: __import__("os")._exit(9)
""",
    "behind the marker, before the tombstones": """
from agents.transport import Producer
send = Producer.send_records
async def send_records(self, topic, partition, records):
    records = list(records)
    if topic.endswith("customers-changelog") and all(value is None for _, value, _ in records):
        __import__("os")._exit(9)
    return await send(self, topic, partition, records)
Producer.send_records = send_records
""",
    "behind the tombstones, before a marker says so": """
from agents.erasures import Requests
Requests.settle = lambda _: __import__("os")._exit(9)
""",
}


@pytest.mark.parametrize("moment", [*DIE, "at random"])
def test_a_worker_that_dies_while_it_erases_does_it_again(settings: Settings, moment: str) -> None:
    """Orders of the customer come before and after the request: of those before none may be left."""
    deliver(settings, small_cdnow()[:200] + orders(CUSTOMER, 1, 2, 3))
    receipts: list[Receipt] = []

    def ask() -> None:
        receipts.append(forget(settings, [CUSTOMER], timeout=PATIENCE_SECONDS))

    asking = threading.Thread(target=ask)
    with Worker(settings, before=DIE.get(moment, "")) as worker:
        worker.until_processed(203)
        until(lambda: sum(committed(settings).values()) >= 203, "the state is written")
        asking.start()
        until(lambda: len(read_topic(settings, ERASURES)) == PARTITIONS, "the request is there")
        deliver(settings, orders(CUSTOMER, 28))
        if moment in DIE:
            until(lambda: bool(worker.process.poll() or receipts), "the end")
            assert worker.process.poll() == 9 or moment.startswith("behind the marker")
        else:
            time.sleep(random.Random(moment).uniform(0.0, 0.3))  # the moment is what the seed chooses
        worker.process.kill()
        worker.process.wait()
    with Worker(settings) as worker:
        asking.join(PATIENCE_SECONDS)
        assert receipts, "no receipt"
        worker.until_ready()  # what is asked for below may have been done by the first worker
        until(lambda: sum(committed(settings).values()) >= 204, "all committed")
        assert worker.stop() == 0, worker.said()
    anew = state_of(settings, CUSTOMER)
    assert anew is not None
    assert anew.orders == 1
    assert len(receipts[0].customers[0].tombstones) == 2 * PARTITIONS
