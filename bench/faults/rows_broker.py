"""Rows 8 to 10: a broker that restarts, that is not there yet, and a network that misbehaves."""

from __future__ import annotations

import time
from random import Random

import msgspec
from kafka.errors import KafkaError

from agents.settings import Settings
from bench.faults.fleet import Fleet
from bench.faults.ground import Ground, say
from bench.faults.oracle import compare
from bench.faults.proxy import HOST
from bench.faults.registry import Finding, row
from bench.faults.rows_crash import feed, oracle, settle
from bench.faults.workload import cdnow_tenth, preload
from tests.live.harness import Worker, committed, until

RESUME_SECONDS = 30.0
ABSENT_SECONDS = 15.0


def committed_sum(settings: Settings) -> int | None:
    """Add up what the group has committed; None while the broker cannot tell."""
    try:
        return sum(committed(settings).values())
    except (KafkaError, OSError):
        return None


def until_moving(fleet: Fleet, seconds: float) -> float:
    """Wait until the group commits more than it had; return how long that took."""
    began = time.monotonic()
    first: int | None = None
    while (took := time.monotonic() - began) < seconds:
        now = committed_sum(fleet.outside)
        if first is None:
            first = now
        elif now is not None and now > first:
            return took
        fleet.keep()
        time.sleep(0.2)
    raise AssertionError(f"no commit within {seconds:g} s after the broker was back")


@row(8, "broker restarted, clean and hard", "2 + 2, resumes < 30 s", 300.0)
def broker_restarts(ground: Ground, seed: int) -> Finding:
    random = Random(seed)
    settings = ground.topics()
    kinds = ["clean", "hard"] * 2
    random.shuffle(kinds)
    took = []
    with Fleet(settings, ground.model_file) as fleet:
        fleet.until_ready()
        feeder = feed(settings, 90.0)
        for kind in kinds:
            time.sleep(random.uniform(1.0, 4.0))
            ground.kafka.stop(hard=kind == "hard")
            time.sleep(random.uniform(0.5, 3.0))
            ground.kafka.start()
            took.append(until_moving(fleet, 2 * RESUME_SECONDS))
            say(f"{kind}: resumed after {took[-1]:.1f} s")
        settle(fleet, feeder, 90.0)
    found = compare(settings, oracle(ground))
    again = len([code for code in fleet.exit_codes if code])
    told = ", ".join(f"{kind} {seconds:.1f} s" for kind, seconds in zip(kinds, took, strict=True))
    return Finding(
        max(took) < RESUME_SECONDS and found.none,
        f"resumed after {told}; {again} workers started again: {found}",
    )


@row(9, "broker absent 15 s at start", "starts, no hand needed")
def broker_absent(ground: Ground, _seed: int) -> Finding:
    settings = ground.topics()
    lines = cdnow_tenth()[:2_000]
    preload(settings, lines)
    ground.kafka.stop()
    workers = [Worker(settings, ground.model_file, options=("--supervise",)) for _ in range(2)]
    try:
        time.sleep(ABSENT_SECONDS)
        there = sum(worker.process.poll() is None for worker in workers)
        ground.kafka.start()
        began = time.monotonic()
        until(lambda: committed_sum(settings) == len(lines), "everything processed")
        took = time.monotonic() - began
        codes = [worker.stop() for worker in workers]
    finally:
        ground.kafka.start()
        for worker in workers:
            worker.__exit__(None, None, None)
    return Finding(
        there == 2 and codes == [0, 0],
        f"{there} of 2 waited; {len(lines):,} orders processed {took:.1f} s after the broker came; "
        f"exits {codes}",
    )


@row(10, "TCP proxy: 200 ms latency, resets, half-open", "3 faults, L/D/O 0/0/0", 240.0)
def bad_network(ground: Ground, seed: int) -> Finding:
    random = Random(seed)
    proxy = ground.proxy
    direct = ground.topics()
    by_proxy = msgspec.structs.replace(direct.kafka, bootstrap=f"{HOST}:{proxy.port}")
    settings = msgspec.structs.replace(direct, kafka=by_proxy)
    took: dict[str, float] = {}
    with Fleet(settings, ground.model_file) as fleet:
        fleet.outside = direct
        fleet.until_ready()
        passed_before = proxy.passed
        feeder = feed(direct, 120.0)
        time.sleep(2.0)
        proxy.delay_seconds = 0.2
        time.sleep(12.0)
        took["latency"] = until_moving(fleet, 60.0)
        proxy.delay_seconds = 0.0
        for _ in range(6):
            proxy.reset()
            time.sleep(random.uniform(0.5, 2.0))
        took["resets"] = until_moving(fleet, 60.0)
        proxy.swallow = True
        time.sleep(12.0)
        proxy.swallow = False
        proxy.reset()  # what was swallowed is missing in the middle of a stream: it cannot go on
        took["half-open"] = until_moving(fleet, 60.0)
        passed = proxy.passed - passed_before
        settle(fleet, feeder, 90.0)
    found = compare(direct, oracle(ground))
    again = len([code for code in fleet.exit_codes if code])
    told = ", ".join(f"{what} {seconds:.1f} s" for what, seconds in took.items())
    return Finding(
        found.none and passed > 0 and proxy.resets > 0,
        f"moving again after {told}; {proxy.resets} connections reset, {passed / 1e6:.0f} MB by the proxy, "
        f"{again} workers started again: {found}",
    )
