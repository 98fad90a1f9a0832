"""What is not lost: bad input, crashes, hand-overs, stops."""

from __future__ import annotations

import asyncio
import signal
import time
from pathlib import Path

import pytest

from agents.cluster import create_missing
from agents.errors import EXIT_TRY_AGAIN
from agents.settings import Settings
from agents.stores import open_store
from schemas.codec import WIRE_REASONS, WireError, decode_event, encode
from schemas.decisions import ChurnAlert, CustomerScore, SegmentChange
from schemas.learning import Example
from schemas.topics import (
    CHANGELOG,
    CHURN_ALERTS,
    CUSTOMER_SCORES,
    EXAMPLES,
    INPUTS,
    SEGMENT_CHANGES,
    dead_letters_of,
)
from streams.customer.state import CustomerState, facts
from tests.live.harness import (
    ROOT,
    Worker,
    committed,
    deliver,
    own_settings,
    payloads,
    plain,
    produce_raw,
    read_topic,
    recovered,
    replay_partitions,
    until,
)
from tests.live.test_live_equals_replay import small_cdnow, trained

pytestmark = pytest.mark.broker

ORIGIN = "__connect.errors."
LATER = [
    b'{"type":"track","event":"Order Completed","messageId":"later","userId":"00004",'
    b'"timestamp":"1998-07-01T00:00:00Z","properties":{"order_id":"later","revenue":10}}'
]


STORES = pytest.mark.parametrize("store", ["memory", "rocksdb"])


def on_disk(store: str, folder: Path) -> dict[str, object]:
    """Settings of a store; its workers share the folder, and few customers fit in its cache."""
    return {
        "worker__store": store,
        "worker__data_folder": str(folder / "disk"),
        "worker__store_cached_customers": 20,
    }


def on_the_disk(settings: Settings, partition: int) -> tuple[int, dict[str, CustomerState]]:
    """Epoch and states of a store that nobody holds."""
    kept = asyncio.run(open_store(settings, settings.topic(CHANGELOG), partition))
    try:
        assert kept.position is not None
        return kept.position.sequence, dict(kept.items())
    finally:
        kept.close()


def invalid_examples(topic: str) -> list[bytes]:
    folder = ROOT / "schemas" / "examples" / topic / "invalid"
    return [path.read_bytes() for path in sorted(folder.iterdir())]


def test_every_invalid_example_reaches_its_dead_letters_and_the_worker_goes_on(
    live_broker: dict[str, object],
) -> None:
    settings = own_settings(live_broker, topics__partitions=1, worker__agents="customers")
    create_missing(settings)
    bad = {name: invalid_examples(name) for name in INPUTS}
    assert sum(map(len, bad.values())) >= 40
    for name, values in bad.items():
        produce_raw(settings, name, values)
    good = small_cdnow()[:50]
    deliver(settings, good)
    records = len(good) + sum(map(len, bad.values()))
    with Worker(settings) as worker:
        worker.until_processed(records)
        assert worker.stop() == 0, worker.said()
    for name, values in bad.items():
        letters = read_topic(settings, dead_letters_of(name))
        assert sorted(letter.value for letter in letters) == sorted(values)
        for letter in letters:
            headers = dict(letter.headers)
            assert headers[ORIGIN + "topic"].decode() == settings.topic(name)
            assert values[int(headers[ORIGIN + "offset"])] == letter.value
            reason = headers["holdfast.reason"].decode()
            assert reason in WIRE_REASONS
            with pytest.raises(WireError, match=reason):
                decode_event(letter.value)
    (part,) = recovered(settings).values()
    assert sum(state.orders for state in part.states.values()) == len(good)


@STORES
def test_a_worker_killed_at_any_moment_loses_nothing_and_says_nothing_new(
    live_broker: dict[str, object], tmp_path: Path, store: str
) -> None:
    messages = small_cdnow()
    settings = own_settings(
        live_broker,
        topics__partitions=2,
        worker__agents="customers",
        reviews__horizon_days=28,
        alerts__raise_at=0.75,
        **on_disk(store, tmp_path),
    )
    model = trained(messages, settings.streams)
    frozen = tmp_path / "models.jsonl"
    frozen.write_bytes(encode(model))
    create_missing(settings)
    deliver(settings, messages)
    for share in (0.2, 0.5):
        with Worker(settings, model=frozen) as worker:
            before = sum(committed(settings).values())
            goal = before + share * (len(messages) - before)
            until(
                lambda w=worker, b=before, g=goal: b + w.metrics().get("holdfast_records_total", 0) >= g,
                "work",
            )
            worker.process.kill()
            worker.process.wait()
    with Worker(settings, model=frozen) as worker:
        until(lambda: sum(committed(settings).values()) >= len(messages), "all committed")
        asked = time.monotonic()
        assert worker.stop() == 0, worker.said()
        assert time.monotonic() - asked < 10.0
    replays, decisions = replay_partitions(settings, messages, 2, model=model)
    states = {c: s for replay in replays for c, s in replay.machine.states.items()}
    kept = {c: s for part in recovered(settings).values() for c, s in part.states.items()}
    assert {c: facts(s) for c, s in kept.items()} == {c: facts(s) for c, s in states.items()}
    for topic, kind in (
        (CHURN_ALERTS, ChurnAlert),
        (SEGMENT_CHANGES, SegmentChange),
        (EXAMPLES, Example),
        (CUSTOMER_SCORES, CustomerScore),
    ):
        # What was said twice is the same to the letter, so that a set of messages shows no trace of it.
        published = {str(plain(p)) for p in payloads(settings, topic, kind)}
        expected = {str(plain(d.payload)) for d in decisions if isinstance(d.payload, kind)}
        assert expected, f"nothing on {topic}: a test without it proves little"
        assert published == expected, topic
    for partition, part in recovered(settings).items():
        assert part.marker is not None
        assert part.marker.customers == len(part.states)
        if store == "rocksdb":
            assert on_the_disk(settings, partition) == (part.marker.sequence, part.states)
    # The last one was asked to stop, so it sealed: nothing of all that is read again.
    with Worker(settings, model=frozen) as worker:
        deliver(settings, LATER)
        worker.until_processed(1)
        assert worker.metrics()["holdfast_records_total"] == 1
        assert worker.stop() == 0, worker.said()
    assert sum(committed(settings).values()) == len(messages) + 1


@STORES
def test_two_workers_share_the_partitions_and_hand_them_over(
    live_broker: dict[str, object], tmp_path: Path, store: str
) -> None:
    messages = small_cdnow()
    half = len(messages) // 2
    settings = own_settings(
        live_broker,
        topics__partitions=4,
        worker__agents="customers",
        reviews__horizon_days=28,
        **on_disk(store, tmp_path),
    )
    create_missing(settings)
    deliver(settings, messages[:half])
    with Worker(settings) as first:
        first.until_processed(half)
        with Worker(settings) as second:
            until(lambda: second.metrics().get("holdfast_recovery_seconds") is not None, "a hand-over")
            deliver(settings, messages[half:])
            until(lambda: sum(committed(settings).values()) >= len(messages), "all committed")
            assert second.metrics()["holdfast_records_total"] > 0
            assert second.stop() == 0, second.said()
        until(lambda: first.process.poll() is None and first.metrics() != {}, "the first goes on")
        assert first.stop() == 0, first.said()
    replays, _ = replay_partitions(settings, messages, 4)
    states = {c: s for replay in replays for c, s in replay.machine.states.items()}
    kept = {c: s for part in recovered(settings).values() for c, s in part.states.items()}
    assert {c: facts(s) for c, s in kept.items()} == {c: facts(s) for c, s in states.items()}


def test_a_worker_that_wakes_after_its_session_writes_nothing_and_ends(
    live_broker: dict[str, object], tmp_path: Path
) -> None:
    messages = small_cdnow()
    half = len(messages) // 2
    settings = own_settings(
        live_broker, topics__partitions=2, worker__agents="customers", reviews__horizon_days=28
    )
    frozen = tmp_path / "models.jsonl"
    model = trained(messages, settings.streams)
    frozen.write_bytes(encode(model))
    create_missing(settings)
    deliver(settings, messages[:half])
    with Worker(settings, model=frozen) as zombie:
        until(lambda: zombie.metrics().get("holdfast_records_total", 0) > half / 4, "work")
        zombie.process.send_signal(signal.SIGSTOP)  # in the middle of it
        deliver(settings, messages[half:])
        with Worker(settings, model=frozen) as owner:
            until(lambda: sum(committed(settings).values()) >= len(messages), "all committed by the other")
            zombie.process.send_signal(signal.SIGCONT)
            assert zombie.process.wait(timeout=20) == EXIT_TRY_AGAIN, zombie.said()
            assert "stood still" in zombie.said()
            assert owner.stop() == 0, owner.said()
    replays, decisions = replay_partitions(settings, messages, 2, model=model)
    states = {c: s for replay in replays for c, s in replay.machine.states.items()}
    kept = {c: s for part in recovered(settings).values() for c, s in part.states.items()}
    assert {c: facts(s) for c, s in kept.items()} == {c: facts(s) for c, s in states.items()}
    published = {str(plain(p)) for p in payloads(settings, CHURN_ALERTS, ChurnAlert)}
    assert published == {str(plain(d.payload)) for d in decisions if isinstance(d.payload, ChurnAlert)}
    assert sum(committed(settings).values()) == len(messages)
