"""Rows 18, 19, 20 and 22: input that is late, disordered, bad, or there twice."""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from pathlib import Path
from random import Random

from agents.client import partition_of
from agents.routing import route
from bench.faults.fleet import Fleet, outcomes, start, until_dead
from bench.faults.ground import Ground
from bench.faults.oracle import compare, expected, published
from bench.faults.registry import Finding, row
from bench.faults.rows_crash import oracle
from bench.faults.rows_failure import commits_past
from bench.faults.rows_state import alter
from bench.faults.workload import cdnow_tenth, order_lines, preload, shop_lines
from schemas.codec import decode_event
from schemas.topics import CHURN_ALERTS, INPUTS, ORDERS, dead_letters_of
from tests.live.harness import committed, deliver, produce_raw, read_topic, until

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = ROOT / "schemas" / "examples"
ORIGIN = "__connect.errors."


def with_latecomers(lines: list[bytes], share: float, most_places: int, random: Random) -> list[bytes]:
    """Move some messages back by so many places at most, which is hours or days of event time."""
    places = [
        place + (random.uniform(1, most_places) if random.random() < share else 0.0)
        for place in range(len(lines))
    ]
    return [line for _, line in sorted(zip(places, lines, strict=True), key=lambda pair: pair[0])]


def late_by_hand(lines: list[bytes], partitions: int, lateness_ms: int) -> int:
    """Count late messages the slow way: merge the two inputs of a partition by hand, remember the newest."""
    inputs: dict[tuple[int, str], list[int]] = {}
    for line in lines:
        topic, key = route(line)
        assert key is not None
        inputs.setdefault((partition_of(key, partitions), topic), []).append(decode_event(line).time_ms)
    late = 0
    for partition in range(partitions):
        clicks, orders = (list(reversed(inputs.get((partition, name), []))) for name in INPUTS)
        newest = None
        while clicks or orders:
            first = clicks if not orders or (clicks and clicks[-1] <= orders[-1]) else orders
            time_ms = first.pop()
            late += newest is not None and time_ms <= newest - lateness_ms
            newest = time_ms if newest is None else max(newest, time_ms)
    return late


@row(18, "out of order within the bound, and late", "exact counts, late = oracle")
def out_of_order(ground: Ground, seed: int) -> Finding:
    settings = ground.topics()
    in_bound = shop_lines(400, 100, seed, disorder_ms=50_000)
    lines = with_latecomers(in_bound, 0.02, 2_000, Random(seed))
    deliver(settings, lines)
    with Fleet(settings, ground.model_file) as fleet:
        fleet.until_ready()
        fleet.until_committed(len(lines), 60.0, keep=False)
        counted: Counter[str] = sum((outcomes(worker) for worker in fleet.workers), Counter())
        fleet.stop_all()
    should = expected(settings, ground.model, lines, one_topic=False)
    wanted = Counter({name: count for name, count in should.outcomes.items() if name != "read" and count})
    by_hand = late_by_hand(
        lines, settings.topics.partitions, int(settings.time.allowed_lateness_seconds * 1e3)
    )
    found = compare(settings, should)
    counts = ", ".join(f"{name} {count:,}" for name, count in sorted(counted.items()))
    return Finding(
        counted == wanted and counted["late"] == by_hand > 0 and found.none,
        f"{counts}; late by hand {by_hand:,}: {found}",
    )


def bad_classes(count: int) -> list[tuple[str, str, str, bytes]]:
    """Choose kinds of bad input, evenly from both inputs: (input, reason, name, message)."""
    found = []
    for topic in INPUTS:
        files = sorted((EXAMPLES / topic / "invalid").iterdir())
        step = len(files) / (count / len(INPUTS))
        for number in range(count // len(INPUTS)):
            file = files[int(number * step)]
            found.append((topic, file.name.partition("--")[0], file.stem, file.read_bytes()))
    return found


@row(
    19, "bad input: 40 classes × 25", "1,000 of 1,000 in the dead letters with offset and reason, 0 restarts"
)
def bad_input(ground: Ground, seed: int, classes: int = 40, each: int = 25) -> Finding:
    random = Random(seed)
    settings = ground.topics()
    bad = [
        (topic, reason, value + b" " * copy)
        for topic, reason, _, value in bad_classes(classes)
        for copy in range(each)
    ]
    random.shuffle(bad)
    good = iter(order_lines(24 * len(bad)))
    logs: dict[str, list[bytes]] = {name: [] for name in INPUTS}
    reasons: dict[tuple[str, int], str] = {}
    for topic, reason, value in bad:
        logs[topic] += [next(good) for _ in range(24)]  # so few are bad that no breaker should mind
        reasons[topic, len(logs[topic])] = reason
        logs[topic].append(value)
    for name, values in logs.items():
        produce_raw(settings, name, values)
    total = sum(map(len, logs.values()))
    with Fleet(settings, ground.model_file) as fleet:
        fleet.until_ready()
        fleet.until_committed(total, 60.0, keep=False)
        fleet.stop_all()
    right = 0
    for name in INPUTS:
        for letter in read_topic(settings, dead_letters_of(name)):
            headers = dict(letter.headers)
            offset = int(headers[ORIGIN + "offset"])
            same = letter.value == logs[name][offset]
            right += same and headers["holdfast.reason"].decode() == reasons.pop((name, offset), "")
    restarts = len(fleet.exit_codes) - 2
    return Finding(
        right == len(bad) and not reasons and restarts == 0 and set(fleet.exit_codes) == {0},
        f"{right:,} of {len(bad):,} with their bytes, offset and reason, among {total:,} messages; "
        f"{restarts} restarts",
    )


@row(20, "dead-letter flood 50 % / dead-letter topic unavailable", "breaker trips / 0 commits past")
def dead_letters(ground: Ground, _seed: int) -> Finding:
    flood, said, past_flood = flooded(ground)
    code, past, letters, recovered = unavailable(ground)
    return Finding(
        flood == 1 and past_flood == 0 and code != 0 and past == 0 and letters == 1 and recovered,
        f"flood: exit {flood} ({said}), {past_flood} commits past; topic unavailable: exit {code}, "
        f"{past} commits past, and once it is back {letters} letter and {'all' if recovered else 'NOT ALL'} "
        "done",
    )


def flooded(ground: Ground) -> tuple[int, str, int]:
    """Send every second message broken; give the exit code, what was said, commits past sealed work."""
    settings = ground.topics()
    values = [v for line in order_lines(10_000) for v in (line, b"{broken")]
    produce_raw(settings, ORDERS, values)
    with start(settings, ground.model_file) as worker:
        code = until_dead(worker, 60.0, "flood of dead letters")
        told = [line for line in worker.said().splitlines() if line.startswith("holdfast: ")]
    return code, told[-1][:150] if told else "nothing said", commits_past(settings)


def unavailable(ground: Ground) -> tuple[int, int, int, bool]:
    """Let the broker refuse every dead letter; give the exit code, commits past the bad one, and the end."""
    settings = ground.topics()
    good = order_lines(400)
    bad_at = 200
    alter(settings, dead_letters_of(ORDERS), {"max.message.bytes": "1"})
    produce_raw(settings, ORDERS, [*good[:bad_at], b"{broken", *good[bad_at:]])
    with start(settings, ground.model_file) as worker:
        code = until_dead(worker, 60.0, "dead-letter topic unavailable")
    past = max(0, committed(settings)[ORDERS, 0] - bad_at)
    alter(settings, dead_letters_of(ORDERS), {"max.message.bytes": "1048588"})
    with start(settings, ground.model_file) as worker:
        until(lambda: committed(settings)[ORDERS, 0] == len(good) + 1, "everything processed")
        worker.stop()
    letters = len(read_topic(settings, dead_letters_of(ORDERS)))
    return code, past, letters, committed(settings)[ORDERS, 0] == len(good) + 1


@row(22, "10 % duplicate ids", "one alert per id")
def duplicates(ground: Ground, seed: int) -> Finding:
    random = Random(seed)
    settings = ground.topics()
    lines = cdnow_tenth()
    chosen = [place for place in range(len(lines)) if random.random() < 0.1]
    # Each comes again on the same day, as a producer's retry does; ids are kept for a day at least.
    times = [decode_event(line).time_ms for line in lines]
    again = [(random.uniform(place, bisect_right(times, times[place])), place) for place in chosen]
    merged = sorted([*((place, place) for place in range(len(lines))), *again])
    preload(settings, [lines[place] for _, place in merged])
    with Fleet(settings, ground.model_file) as fleet:
        fleet.until_ready()
        fleet.until_committed(len(merged), 90.0, keep=False)
        counted: Counter[str] = sum((outcomes(worker) for worker in fleet.workers), Counter())
        fleet.stop_all()
    ids = Counter(
        what[1] for said in published(settings).values() for what in said if what[0] == CHURN_ALERTS
    )
    twice = sum(count > 1 for count in ids.values())
    found = compare(settings, oracle(ground))
    return Finding(
        twice == 0 and counted["duplicate"] == len(again) and len(ids) > 100 and found.none,
        f"{counted['duplicate']:,} of {len(merged):,} found to be duplicates ({len(again):,} sent), "
        f"{len(ids):,} alerts, {twice} ids twice: {found}",
    )
