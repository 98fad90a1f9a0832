"""A worker with a fault in it: `python -m bench.faults.worker --kill-at after_commit worker ...`.

It patches named seams of the product, says which fault is armed, and then runs the ordinary program.
Every fault counts calls, so that where it strikes does not depend on time.
"""

from __future__ import annotations

import argparse
import asyncio
import atexit
import os
import signal
import sys
import time
from collections.abc import Callable
from hashlib import sha256
from typing import Any

from bench.faults.seams import POINTS, before, ledgers

PATIENCE_SECONDS = 1e6


def state_hash(states: Any) -> tuple[int, str]:
    """Hash the states of a partition, in the order of customers."""
    from streams.customer.state_codec import encode_state

    whole = sha256()
    count = 0
    for customer, state in sorted(states.items()):
        whole.update(customer.encode() + b"\0" + encode_state(state))
        count += 1
    return count, whole.hexdigest()


def kill_at(point: str, nth: int) -> None:
    """Kill this process, kill -9, when a point is passed for the nth time."""

    def die() -> None:
        print(f"fault: kill -9 {point}", flush=True)
        os.kill(os.getpid(), signal.SIGKILL)

    POINTS[point](_nth(nth, die))


def fail_changelog(seconds: float, nth: int) -> None:
    """Let the nth append to the changelog and all later ones fail, at once or as a timeout does."""
    from aiokafka.errors import KafkaTimeoutError

    calls = 0

    for ledger in ledgers():
        original = ledger.append

        async def append(self: Any, *arguments: Any, _original: Any = original, **named: Any) -> Any:
            nonlocal calls
            calls += 1
            if calls < nth:
                return await _original(self, *arguments, **named)
            print("fault: changelog", flush=True)
            await asyncio.sleep(seconds)
            raise KafkaTimeoutError("injected: the changelog does not take this")

        ledger.append = append


def raise_in_model(nth: int) -> None:
    """Let the model code raise when it is asked for the nth time."""
    from streams.customer.verdicts import Judge

    def fail() -> None:
        print("fault: exception in model code", flush=True)
        raise RuntimeError("injected: the model does not like this customer")

    before(Judge, "look", _nth(nth, fail))


def hang(kind: str, nth: int) -> None:
    """Let an agent hang at the nth batch: blocked, or waiting for what never comes."""
    from agents.customers import Customers

    original = Customers.feed
    calls = 0

    async def feed(self: Any, message: Any) -> None:
        nonlocal calls
        calls += 1
        if calls >= nth:
            print(f"fault: hang {kind}", flush=True)
            if kind == "blocked":
                time.sleep(PATIENCE_SECONDS)  # noqa: ASYNC251 - blocking the loop is the fault
            await asyncio.Event().wait()
        await original(self, message)

    Customers.feed = feed  # type: ignore[method-assign]


def print_hashes() -> None:
    """Say the hash of every partition's state when it has been recovered and when it has been sealed."""
    from agents.customers import Customers
    from agents.epochs import Room

    def tell(when: str, room: Any) -> None:
        count, whole = state_hash(room.machine.states)
        print(f"hash {when} {room.partition} {count} {whole}", flush=True)

    told: set[tuple[int, int]] = set()
    assigned = Customers.assigned

    async def told_when_assigned(self: Any, *arguments: Any, **named: Any) -> None:
        await assigned(self, *arguments, **named)
        for room in self.rooms.values():
            if (room.partition, room.generation) not in told:
                told.add((room.partition, room.generation))
                tell("recovered", room)

    Customers.assigned = told_when_assigned  # type: ignore[method-assign]
    seal = Room.seal

    async def told_when_sealed(self: Any) -> None:
        await seal(self)
        tell("sealed", self)

    Room.seal = told_when_sealed  # type: ignore[method-assign]


def print_tally() -> None:
    """Say at the end how many records had an outcome here, and how many of them had had one before."""

    def tell() -> None:
        from agents import metrics

        samples = [sample for metric in metrics.RECORDS.collect() for sample in metric.samples]
        counts = [s for s in samples if s.name.endswith("_total")]
        whole = sum(int(s.value) for s in counts)
        repeated = sum(int(s.value) for s in counts if s.labels["outcome"] == "repeated")
        print(f"tally {whole} {repeated}", flush=True)

    atexit.register(tell)


def _nth(nth: int, act: Callable[[], None]) -> Callable[[], None]:
    calls = 0

    def count() -> None:
        nonlocal calls
        calls += 1
        if calls == nth:
            act()

    return count


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.faults.worker", description=__doc__)
    parser.add_argument("--kill-at", choices=POINTS)
    parser.add_argument("--changelog", type=float, metavar="SECONDS", help="appends fail after so long")
    parser.add_argument("--raise-in-model", action="store_true")
    parser.add_argument("--hang", choices=("blocked", "waiting"))
    parser.add_argument("--nth", type=int, default=1)
    parser.add_argument("--hash", action="store_true")
    parser.add_argument("--tally", action="store_true")
    parser.add_argument("rest", nargs=argparse.REMAINDER)
    options = parser.parse_args()
    if options.kill_at:
        kill_at(options.kill_at, options.nth)
    if options.changelog is not None:
        fail_changelog(options.changelog, options.nth)
    if options.raise_in_model:
        raise_in_model(options.nth)
    if options.hang:
        hang(options.hang, options.nth)
    if options.hash:
        print_hashes()
    if options.tally:
        print_tally()
    from agents.cli import main as holdfast

    sys.argv = ["holdfast", *options.rest]
    holdfast(options.rest)


if __name__ == "__main__":
    main()
