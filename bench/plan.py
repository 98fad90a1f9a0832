"""From what was measured on one core to what a large shop needs: arithmetic, and nothing else.

Each figure of the plan is a product or a quotient of measured ones, so that it can be redone by hand, and
redone when the measurements change. Work grows with events, memory with customers, a restart with the
customers of one worker; the largest of the three numbers of workers counts. Nothing is shared between
workers but the broker and the one learner, which is why the sums may be taken: docs/scaling.md has what was
measured of that.
"""

from __future__ import annotations

import math
from typing import NamedTuple


class Measured(NamedTuple):
    """What one machine showed.

    Attributes
    ----------
    cpu_micros
        Of a worker core, an event, everything on but the learner.
    base_mb
        Of a worker without customers.
    memory_bytes, changelog_bytes
        A customer, in a worker's memory and in a compacted changelog.
    wire_bytes
        Written to the changelog, an event.
    recovered_per_second
        Customers that one worker reads back.
    learner_micros
        Of the learner's core, an example.
    examples
        An event, with every review kept as a question.
    """

    cpu_micros: float
    base_mb: float
    memory_bytes: float
    changelog_bytes: float
    wire_bytes: float
    recovered_per_second: float
    learner_micros: float
    examples: float


class Shop(NamedTuple):
    """What is asked for.

    Attributes
    ----------
    busy
        Share of a core that a worker may use in the busiest hour; the rest is for catching up.
    memory_gb
        Of a worker, for customers.
    restart_seconds
        How long a worker may take to go on without its store.
    partitions_each
        Partitions a worker: so many times the number of workers can grow.
    """

    customers: float = 100e6
    events_per_second: float = 1e6
    question_share: float = 0.05
    replication: int = 3
    busy: float = 0.5
    memory_gb: float = 8.0
    restart_seconds: float = 120.0
    partitions_each: int = 4


class Plan(NamedTuple):
    """What it takes."""

    workers_for_events: int
    workers_for_memory: int
    workers_for_restart: int
    workers: int
    partitions: int
    customers_each: float
    memory_each_gb: float
    restart_seconds: float
    changelog_mb_per_second: float
    replicated_mb_per_second: float
    changelog_gb: float
    examples_per_second: float
    learner_cores: float
    most_question_share: float


def plan(measured: Measured, shop: Shop) -> Plan:
    """Compute what a shop takes.

    Examples
    --------
    >>> measured = Measured(10.0, 200.0, 1000.0, 500.0, 100.0, 50_000.0, 50.0, 0.1)
    >>> needed = plan(measured, Shop())
    >>> needed.workers_for_events, needed.workers_for_memory, needed.workers_for_restart, needed.partitions
    (20, 13, 17, 80)
    """
    for_events = math.ceil(shop.events_per_second * measured.cpu_micros / 1e6 / shop.busy)
    for_memory = math.ceil(shop.customers * measured.memory_bytes / (shop.memory_gb * 1e9))
    for_restart = math.ceil(shop.customers / (measured.recovered_per_second * shop.restart_seconds))
    workers = max(1, for_events, for_memory, for_restart)
    each = shop.customers / workers
    wire = shop.events_per_second * measured.wire_bytes / 1e6
    asked = shop.events_per_second * measured.examples  # were every review kept
    examples = asked * shop.question_share
    learner_cores = examples * measured.learner_micros / 1e6
    return Plan(
        workers_for_events=for_events,
        workers_for_memory=for_memory,
        workers_for_restart=for_restart,
        workers=workers,
        partitions=workers * shop.partitions_each,
        customers_each=each,
        memory_each_gb=(measured.base_mb * 1e6 + each * measured.memory_bytes) / 1e9,
        restart_seconds=each / measured.recovered_per_second,
        changelog_mb_per_second=wire,
        replicated_mb_per_second=wire * shop.replication,
        changelog_gb=shop.customers * measured.changelog_bytes * shop.replication / 1e9,
        examples_per_second=examples,
        learner_cores=learner_cores,
        most_question_share=min(1.0, shop.busy * 1e6 / (asked * measured.learner_micros)),
    )


def described(measured: Measured, shop: Shop) -> list[tuple[str, str, str]]:
    """Give the plan as rows: what, how much, how it comes about."""
    found = plan(measured, shop)
    events, customers = f"{shop.events_per_second:,.0f}/s", f"{shop.customers:,.0f}"
    return [
        (
            "workers for the events",
            f"{found.workers_for_events:,}",
            f"{events} x {measured.cpu_micros:g} us / {shop.busy:.0%} of a core",
        ),
        (
            "workers for memory",
            f"{found.workers_for_memory:,}",
            f"{customers} x {measured.memory_bytes:,.0f} B / {shop.memory_gb:g} GB",
        ),
        (
            "workers for a restart",
            f"{found.workers_for_restart:,}",
            f"{customers} / ({measured.recovered_per_second:,.0f}/s x {shop.restart_seconds:g} s)",
        ),
        ("workers (one core each)", f"{found.workers:,}", "the largest of the three"),
        ("partitions", f"{found.partitions:,}", f"workers x {shop.partitions_each}"),
        ("customers a worker", f"{found.customers_each:,.0f}", f"{customers} / workers"),
        (
            "memory a worker",
            f"{found.memory_each_gb:.1f} GB",
            f"{measured.base_mb:,.0f} MB + customers a worker x {measured.memory_bytes:,.0f} B",
        ),
        (
            "restart without a store",
            f"{found.restart_seconds:,.0f} s",
            f"customers a worker / {measured.recovered_per_second:,.0f}/s",
        ),
        (
            "changelog, written",
            f"{found.changelog_mb_per_second:,.0f} MB/s",
            f"{events} x {measured.wire_bytes:,.0f} B",
        ),
        (
            "the same, all replicas",
            f"{found.replicated_mb_per_second:,.0f} MB/s",
            f"x {shop.replication}",
        ),
        (
            "changelog, kept",
            f"{found.changelog_gb:,.0f} GB",
            f"{customers} x {measured.changelog_bytes:,.0f} B x {shop.replication}; "
            "up to twice as much before compaction",
        ),
        (
            "examples",
            f"{found.examples_per_second:,.0f}/s",
            f"{events} x {measured.examples:g} x question_share {shop.question_share:g}",
        ),
        (
            "learner",
            f"{found.learner_cores:.2f} cores",
            f"examples x {measured.learner_micros:g} us; it has one: question_share at most "
            f"{found.most_question_share:.2g} at {shop.busy:.0%}",
        ),
    ]


def plan_text(measured: Measured, shop: Shop) -> str:
    """Lay out what was measured and what follows; docs/scaling.md has it for `bench.scale.MEASURED`."""
    given = [f"{name:24}{figure:>14,g}" for name, figure in measured._asdict().items()]
    rows = [f"{what:24}{much:>14}   {why}" for what, much, why in described(measured, shop)]
    return "\n".join(["measured", "", *given, "", "plan", "", *rows])
