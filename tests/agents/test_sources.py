"""The same shop, told by other collectors, comes to the same decisions, in a replay and in a worker."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
import pytest
from kafka import KafkaProducer

from agents.client import partition_of
from agents.cluster import create_missing
from agents.lines import Lines
from agents.replay import RESULTS, replay_files
from agents.settings import SettingsError, load
from samples.shop import ShopConfig, messages
from samples.write import lines
from schemas.decisions import CustomerScore
from schemas.sources.config import SourceConfig
from schemas.sources.registry import input_of
from schemas.topics import CLICKSTREAM, CUSTOMER_SCORES, INPUTS, ORDERS
from tests.live.harness import Worker, own_settings, payloads, read_topic
from tests.schemas import retold

SHOP = ShopConfig(
    customers=12, days=120, seed=3, cancelled_share=0.2, duplicate_rate=0.02, anonymous_share=0.1
)
GA4_SHOP = ShopConfig(customers=12, days=120, seed=3, cancelled_share=0.0, duplicate_rate=0.02)
COLUMNS = {"sources.debezium_discount": "discount", "sources.debezium_refund": "refund"}
INPUT_OF = input_of(SourceConfig())
HORIZON: dict[str, object] = {"reviews.horizon_days": 14.0}


def replayed(values: list[bytes], folder: Path, **sources: object) -> dict[str, bytes]:
    folder.mkdir()
    (folder / "in.jsonl").write_bytes(b"\n".join(values) + b"\n")
    settings = load(
        Path("/dev/null"), {}, HORIZON | {f"sources.{k}": v for k, v in sources.items()} | COLUMNS
    )
    replay_files(settings, [Lines(str(folder / "in.jsonl"))], folder / "out")
    return {name: (folder / "out" / name).read_bytes() for name in RESULTS}


def without_products(value: bytes) -> bytes:
    message = orjson.loads(value)
    message["properties"].pop("products", None)
    return orjson.dumps(message)


@pytest.mark.parametrize(
    ("clickstream", "orders", "tell_click", "tell_order", "shop"),
    [
        ("cloudevents", "cloudevents", retold.cloudevent, retold.cloudevent, SHOP),
        ("snowplow", "debezium", retold.enriched, retold.changed, SHOP),
        ("ga4", "debezium", retold.exported, retold.changed, SHOP),
        ("segment", "debezium", None, retold.changed, SHOP),
    ],
)
def test_a_replay_decides_the_same_whoever_collected(
    tmp_path: Path,
    clickstream: str,
    orders: str,
    tell_click: Callable[..., Any] | None,
    tell_order: Callable[..., Any],
    shop: ShopConfig,
) -> None:
    ours = list(lines(messages(shop)))
    if orders == "debezium":  # rows of a table of orders do not say what was in them
        ours = [without_products(value) if INPUTS[INPUT_OF(value)] == ORDERS else value for value in ours]
    theirs = [
        value if tell is None else retold.told(value, tell)
        for value, tell in ((v, tell_order if INPUTS[INPUT_OF(v)] == ORDERS else tell_click) for v in ours)
    ]
    assert theirs != ours
    expected = replayed(ours, tmp_path / "ours")
    found = replayed(theirs, tmp_path / "theirs", clickstream=clickstream, orders=orders)
    assert found.pop("dead_letters.jsonl") == expected.pop("dead_letters.jsonl") == b""
    assert len(expected["segment_changes.jsonl"]) > 1000
    reports = [orjson.loads(files.pop("report.json")) for files in (expected, found)]
    for report in reports:
        del report["settings"]["sources"]
    assert reports[0] == reports[1]
    assert found == expected


@pytest.mark.parametrize("orders", ["segment", "ga4"])
def test_orders_among_the_clicks_of_one_stream_are_found(tmp_path: Path, orders: str) -> None:
    """GA4 has one stream for everything, which may be told apart into two topics; it cannot say all."""
    ours = [v for v in lines(messages(GA4_SHOP)) if b'"Order Updated"' not in v]
    theirs = [retold.told(value, retold.exported) for value in ours]
    for name in ("ours", "theirs"):
        (tmp_path / name).mkdir()
    found = replayed(theirs, tmp_path / "theirs" / "x", clickstream="ga4", orders=orders)
    report = orjson.loads(found["report.json"])
    expected = orjson.loads(replayed(ours, tmp_path / "ours" / "x")["report.json"])
    assert report["events"] == expected["events"]
    assert report["events"]["dead"] == 0
    assert expected["events"]["applied"] > 300
    of_topics = {
        kept["topic"] for line in found["segment_changes.jsonl"].splitlines() for kept in _evidence(line)
    }
    assert of_topics == ({CLICKSTREAM, ORDERS} if orders == "ga4" else {CLICKSTREAM})


def _evidence(line: bytes) -> list[dict[str, Any]]:
    evidence: list[dict[str, Any]] = orjson.loads(line)["evidence"]
    return evidence


def test_what_contradicts_itself_is_told() -> None:
    with pytest.raises(
        SettingsError, match=r"sources.clickstream must be cloudevents or ga4 or segment or snowplow"
    ):
        load(Path("/dev/null"), {}, {"sources.clickstream": "debezium"})
    with pytest.raises(SettingsError, match="two of the debezium columns are both id"):
        load(Path("/dev/null"), {}, {"sources.debezium_amount": "id"})


@pytest.mark.broker
def test_a_worker_reads_cloudevents_by_their_headers_and_rows_with_their_tombstones(
    live_broker: dict[str, object],
) -> None:
    given = {"sources__clickstream": "cloudevents", "sources__orders": "debezium"}
    settings = own_settings(live_broker, topics__partitions=1, worker__agents="customers", **given)
    create_missing(settings)
    producer = KafkaProducer(bootstrap_servers=settings.kafka.bootstrap, enable_idempotence=False)
    headers = [
        ("ce_specversion", b"1.0"),
        ("ce_source", b"/shop"),
        ("ce_type", b"com.shop.product.added.v1"),
        ("ce_time", b"2025-11-28T10:15:00Z"),
        ("ce_subject", b"17"),
        ("content-type", b"application/json"),
    ]
    row = {
        "id": 1,
        "customer_id": 17,
        "total": "42.50",
        "created_at": "2025-11-28T10:16:00Z",
        "status": "paid",
    }
    source = {"db": "shop", "table": "orders", "lsn": 5, "ts_ms": 1_764_324_960_000}
    changes = [
        {"op": "c", "after": row, "source": source},
        {"op": "c", "after": {**row, "id": 2}, "source": {**source, "lsn": 6}},
        {"op": "d", "before": {**row, "id": 2}, "source": {**source, "lsn": 7, "ts_ms": 1_764_325_960_000}},
    ]
    assert partition_of(b"17", 1) == 0
    for number in (b"a", b"b", b"b"):
        producer.send(
            settings.topic(CLICKSTREAM),
            key=b"17",
            value=b"{}",
            headers=[*headers, ("ce_id", number)],
            partition=0,
        )
    producer.send(settings.topic(CLICKSTREAM), key=b"17", value=b"{}", headers=headers, partition=0)
    for change in changes:
        producer.send(settings.topic(ORDERS), key=b'{"id":1}', value=orjson.dumps(change), partition=0)
    producer.send(settings.topic(ORDERS), key=b'{"id":2}', value=None, partition=0)
    producer.flush()
    producer.close()
    with Worker(settings) as worker:
        worker.until_processed(8)
        assert worker.stop() == 0, worker.said()
    (letter,) = read_topic(settings, "clickstream.dlq")
    assert dict(letter.headers)["holdfast.reason"] == b"missing"
    assert read_topic(settings, "orders.dlq") == []
    score = payloads(settings, CUSTOMER_SCORES, CustomerScore)[-1]
    assert (score.customer_id, score.orders, score.historic_value) == ("17", 1, 42.5)
