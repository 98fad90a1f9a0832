"""Rows 11, 21 and 25: a changelog that fails, model code that raises, an agent that hangs."""

from __future__ import annotations

import asyncio
import time
from random import Random

from agents.changelog import Marker
from agents.connection import aiokafka_arguments
from agents.ledger import TransactionalLedger
from agents.settings import Settings
from bench.faults.fleet import Fleet, start, until_dead
from bench.faults.ground import Ground
from bench.faults.oracle import compare
from bench.faults.registry import Finding, row
from bench.faults.rows_crash import feed, oracle, settle
from schemas.topics import CHANGELOG
from tests.live.harness import committed, recovered

EXIT_BUG = 70
WATCHDOG_SECONDS = 90.0


def commits_past(settings: Settings) -> int:
    """Count offsets that the group has committed beyond what the changelog accounts for."""
    asyncio.run(_roll_back(settings))
    markers: dict[int, Marker] = {
        partition: held.marker for partition, held in recovered(settings).items() if held.marker is not None
    }
    past = 0
    for (name, partition), offset in committed(settings).items():
        marker = markers.get(partition)
        past += max(0, offset - (marker.offsets[settings.topic(name)] if marker else 0))
    return past


async def _roll_back(settings: Settings) -> None:
    """End the transactions that dead workers left open, as their successor would: readers wait for it."""
    if settings.kafka.transactions:
        reach = aiokafka_arguments(settings)
        for partition in range(settings.topics.partitions):
            topic = settings.topic(CHANGELOG)
            ledger = TransactionalLedger(reach, settings.kafka.group, topic, partition)
            await ledger.open()
            await ledger.close()


@row(11, "changelog send fails or times out", "0 commits past it, then 0/0/0", 240.0)
def changelog_fails(ground: Ground, seed: int) -> Finding:
    random = Random(seed)
    told, past, struck = [], 0, 0
    settings = ground.topics()
    with Fleet(settings, ground.model_file, count=0) as fleet:
        feeder = feed(settings, 120.0)
        for what, seconds in (("fails", 0.0), ("times out", 5.0)) * 2:
            faults = ("--changelog", str(seconds), "--nth", str(random.randint(3, 10)))
            fleet.workers = [fleet.new(*faults)]
            code = until_dead(fleet.workers[0], 60.0, f"changelog {what}")
            struck += "fault: changelog" in fleet.workers[0].said()
            fleet.forget(0)
            past += commits_past(settings)
            told.append(f"{what}: exit {code}")
        fleet.workers = [fleet.new(), fleet.new()]
        settle(fleet, feeder)
    found = compare(settings, oracle(ground))
    return Finding(
        past == 0 and struck == 4 and fleet.exit_codes[:4] == [EXIT_BUG] * 4 and found.none,
        f"{', '.join(told)}; {past} commits past it; afterwards {found}",
    )


@row(21, "exception in model code", "10 injected, 0 lost", 240.0)
def model_raises(ground: Ground, seed: int, injected: int = 10) -> Finding:
    random = Random(seed)
    settings = ground.topics()
    struck = 0
    with Fleet(settings, ground.model_file) as fleet:
        fleet.until_ready()
        feeder = feed(settings, 12.0 * injected)
        for number in range(injected):
            place = number % 2
            fleet.stop(place)
            fleet.restart(place, "--raise-in-model", "--nth", str(random.randint(50, 400)))
            until_dead(fleet.workers[place], 60.0, "exception in model code")
            struck += "fault: exception in model code" in fleet.workers[place].said()
            fleet.forget(place)
            fleet.restart(place)
        settle(fleet, feeder)
    codes = fleet.exit_codes
    found = compare(settings, oracle(ground))
    return Finding(
        struck == injected and codes.count(EXIT_BUG) == injected and found.none,
        f"{struck} injected, {codes.count(EXIT_BUG)} exits with {EXIT_BUG}: {found}",
    )


@row(25, "hung agent", "watchdog exits < 90 s with stacks", 200.0)
def hung(ground: Ground, _seed: int) -> Finding:
    kinds = ("blocked", "waiting")
    workers = {}
    for kind in kinds:
        settings = ground.topics()
        feed(settings, 10.0)
        workers[kind] = start(settings, ground.model_file, "--hang", kind, "--nth", "3")
    began: dict[str, float] = {}
    ended: dict[str, tuple[int, float, bool]] = {}
    deadline = time.monotonic() + 2 * WATCHDOG_SECONDS
    try:
        while len(ended) < len(kinds) and time.monotonic() < deadline:
            for kind, worker in workers.items():
                if f"fault: hang {kind}" in worker.said():
                    began.setdefault(kind, time.monotonic())
                if kind not in ended and worker.process.poll() is not None:
                    stacks = "most recent call first" in worker.said()
                    seconds = time.monotonic() - began.get(kind, time.monotonic())
                    ended[kind] = (worker.process.returncode, seconds, stacks)
            time.sleep(0.2)
    finally:
        for worker in workers.values():
            worker.__exit__(None, None, None)
    told = ", ".join(
        f"{kind}: exit {ended[kind][0]} after {ended[kind][1]:.0f} s, "
        f"stacks {'told' if ended[kind][2] else 'MISSING'}"
        if kind in ended
        else f"{kind}: STILL THERE"
        for kind in kinds
    )
    passed = len(began) == len(ended) == len(kinds) and all(
        code == EXIT_BUG and 0.0 < seconds < WATCHDOG_SECONDS and stacks
        for code, seconds, stacks in ended.values()
    )
    return Finding(passed, told)
