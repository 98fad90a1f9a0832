"""Rows 3 to 7: workers that are killed, stopped, paused, and that come and go, while orders flow in.

All of them process the same CDNOW orders, so they share an oracle.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from random import Random

from agents.changelog import MARKER_KEY, read_marker
from agents.settings import Settings
from bench.faults.fleet import Fleet, said_of, until_dead
from bench.faults.ground import Ground
from bench.faults.oracle import OUTPUTS, Expected, compare, expected
from bench.faults.registry import Finding, row
from bench.faults.seams import POINTS
from bench.faults.workload import Feeder, cdnow_tenth
from schemas.topics import CHANGELOG
from tests.live.harness import Message, committed, read_topic

_expected: list[Expected] = []


def oracle(ground: Ground) -> Expected:
    """What the orders of CDNOW's tenth come to; computed once."""
    if not _expected:
        made = expected(ground.settings(), ground.model, cdnow_tenth())
        topics = {what[0] for said in made.said.values() for what in said}
        assert topics == set(OUTPUTS), "an output on which nothing is said proves nothing"
        _expected.append(made)
    return _expected[0]


def feed(settings: Settings, seconds: float) -> Feeder:
    """Send the tenth of CDNOW over so many seconds, more than the faults take; `settle` sends the rest."""
    lines = cdnow_tenth()
    return Feeder(settings, lines, [(seconds, len(lines) / seconds)]).start()


def settle(fleet: Fleet, feeder: Feeder, seconds: float = 60.0) -> None:
    """Let everything be sent and committed, then stop the workers in order."""
    feeder.hurry()
    fleet.until_committed(feeder.finish(seconds), seconds)
    fleet.stop_all()


@row(3, "kill -9 at random times", "20 kills, L/D/O 0/0/0", 240.0)
def kill_at_random(ground: Ground, seed: int, kills: int = 20) -> Finding:
    random = Random(seed)
    settings = ground.topics()
    with Fleet(settings, ground.model_file) as fleet:
        fleet.until_ready()
        feeder = feed(settings, 8.0 * kills)
        for _ in range(kills):
            time.sleep(random.uniform(0.5, 6.5))
            place = random.randrange(2)
            fleet.keep()
            fleet.kill(place)
            fleet.restart(place)
        settle(fleet, feeder)
    found = compare(settings, oracle(ground))
    return Finding(found.none, f"{fleet.exit_codes.count(-9)} kills: {found}")


@row(4, "kill -9 at 6 named points", "6 × 3, L/D/O 0/0/0", 300.0)
def kill_at_points(ground: Ground, seed: int) -> Finding:
    random = Random(seed)
    settings = ground.topics()
    struck = dict.fromkeys(POINTS, 0)
    with Fleet(settings, ground.model_file) as fleet:
        fleet.until_ready()
        fleet.stop(0)
        feeder = feed(settings, 200.0)
        for point in sorted(POINTS, key=lambda _: random.random()):
            for _ in range(3):
                nth = 1 if point == "during_recovery" else random.randint(1, 4)
                fleet.restart(0, "--kill-at", point, "--nth", str(nth))
                armed = fleet.workers[0]
                until_dead(armed, 90.0, f"kill at {point}")
                struck[point] += f"fault: kill -9 {point}" in armed.said()
                fleet.forget(0)
        fleet.restart(0)
        settle(fleet, feeder, 90.0)
    found = compare(settings, oracle(ground))
    points = ", ".join(f"{point} {count}" for point, count in struck.items())
    return Finding(found.none and set(struck.values()) == {3}, f"{points}: {found}")


@row(5, "SIGTERM", "10 ×, exit < 10 s, 0 events read again")
def terminate(ground: Ground, seed: int, stops: int = 10) -> Finding:
    random = Random(seed)
    settings = ground.topics()
    longest = 0.0
    with Fleet(settings, ground.model_file, faults=("--tally",)) as fleet:
        fleet.until_ready()
        feeder = feed(settings, 10.0 * stops)
        for number in range(stops):
            fleet.workers[number % 2].until_ready()
            time.sleep(random.uniform(0.2, 1.5))
            longest = max(longest, fleet.stop(number % 2))
            fleet.restart(number % 2)
        feeder.hurry()
        total = feeder.finish(60.0)
        fleet.until_committed(total, 60.0)
        longest = max(longest, *fleet.stop_all())
    tallies = [(int(whole), int(again)) for whole, again in said_of(fleet.ended, r"tally (\d+) (\d+)")]
    read_again = sum(whole for whole, _ in tallies) - total
    found = compare(settings, oracle(ground))
    passed = (
        found.none
        and longest < 10.0
        and read_again == 0
        and len(tallies) == stops + 2
        and set(fleet.exit_codes) == {0}
    )
    codes = sorted(set(fleet.exit_codes))
    return Finding(
        passed,
        f"{stops + 2} stops, exit codes {codes}, longest {longest:.1f} s, "
        f"{read_again} of {total:,} read again: {found}",
    )


@row(6, "workers joining and leaving", "10 rebalances, L/D/O 0/0/0")
def join_and_leave(ground: Ground, seed: int, rebalances: int = 10) -> Finding:
    random = Random(seed)
    settings = ground.topics()
    joins = 0
    with Fleet(settings, ground.model_file) as fleet:
        fleet.until_ready()
        feeder = feed(settings, 8.0 * rebalances)
        for _ in range(rebalances):
            count = len(fleet.workers)
            if count == 1 or (count < 4 and random.random() < 0.5):
                fleet.workers.append(fleet.new())
                joins += 1
            else:
                leaving = random.randrange(count)
                fleet.stop(leaving)
                del fleet.workers[leaving]
            time.sleep(random.uniform(1.0, 5.0))
        settle(fleet, feeder)
    found = compare(settings, oracle(ground))
    codes = sorted(set(fleet.exit_codes))
    return Finding(
        found.none and codes == [0],
        f"{joins} joined and {rebalances - joins} left, 1 to 4 at a time, exit codes {codes}: {found}",
    )


@row(7, "SIGSTOP 20 s past the session timeout, resumed as a zombie", "L/D/O 0/0/0, 0 zombie commits")
def zombie(ground: Ground, seed: int, session_seconds: float = 6.0) -> Finding:
    settings = ground.topics(kafka__session_timeout_seconds=session_seconds)
    with Fleet(settings, ground.model_file) as fleet:
        fleet.until_ready()
        feeder = feed(settings, 80.0)
        time.sleep(Random(seed).uniform(3.0, 6.0))
        paused = fleet.workers[0].process
        os.kill(paused.pid, signal.SIGSTOP)
        time.sleep(session_seconds + 20.0)
        before = committed(settings)
        went_back = _watch_commits(settings, before, 8.0, lambda: os.kill(paused.pid, signal.SIGCONT))
        settle(fleet, feeder)
    found = compare(settings, oracle(ground))
    overwritten = markers_out_of_order(read_topic(settings, CHANGELOG))
    return Finding(
        found.none and went_back == 0 and overwritten == 0,
        f"{went_back} commits went back, {overwritten} epochs sealed twice: {found}",
    )


def _watch_commits(
    settings: Settings, before: dict[tuple[str, int], int], seconds: float, begin: Callable[[], None]
) -> int:
    """Count committed offsets that are seen to go back."""
    went_back = 0
    begin()
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        now = committed(settings)
        went_back += sum(now[place] < before[place] for place in before)
        before = now
    return went_back


def markers_out_of_order(changelog: list[Message]) -> int:
    """Count epochs that were sealed though their partition had gone on: what a zombie would leave."""
    newest: dict[int, int] = {}
    wrong = 0
    for message in changelog:
        if message.key == MARKER_KEY and message.value is not None:
            sequence = read_marker(message.value).sequence
            wrong += sequence <= newest.get(message.partition, 0)
            newest[message.partition] = max(newest.get(message.partition, 0), sequence)
    return wrong
