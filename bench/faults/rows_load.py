"""Rows 1, 2, 23 and 24: load, bursts, many customers, and memory over time."""

from __future__ import annotations

import time
from statistics import linear_regression

from agents.settings import Settings
from bench.faults.fleet import Fleet, memory_mb
from bench.faults.ground import Ground, say
from bench.faults.oracle import compare, expected
from bench.faults.registry import Finding, row
from bench.faults.workload import Feeder, click_lines, order_lines, preload, shop_lines

SHOP = (30_000, 150, 7)
"""Customers, days and seed of the shop whose messages make the load: 96 clicks to 4 orders."""

MOST_SECONDS_BEHIND = 2.0
_MEASURED = 600_000
_TOO_MUCH = 60_000.0
_rates: list[float] = []


def settings_for_load(ground: Ground, **given: object) -> Settings:
    """Epochs of a second, as in production."""
    return ground.topics(worker__epoch_seconds=1.0, **given)


def half_of_the_maximum(ground: Ground) -> float:
    """Measure once how much two workers process while more is being sent; give half, in messages a second.

    Broker and sender share the machine with the workers: what they drain when nobody sends is more, and
    more than could ever come.
    """
    if not _rates:
        settings = settings_for_load(ground)
        with Fleet(settings, ground.model_file) as fleet:
            fleet.until_ready()
            feeder = Feeder(settings, shop_lines(*SHOP, most=_MEASURED), [(1.0, _TOO_MUCH)]).start()
            time.sleep(2.0)
            began, first = time.monotonic(), fleet.processed()
            while not feeder.done:
                time.sleep(0.1)
            rate = (fleet.processed() - first) / (time.monotonic() - began)
            fleet.until_committed(_MEASURED, 60.0)
            fleet.stop_all()
        say(f"two workers process {rate:,.0f} messages a second at most while {_TOO_MUCH:,.0f} are sent")
        _rates.append(rate / 2.0)
    return _rates[0]


def lags(fleet: Fleet, feeder: Feeder, seconds: float) -> list[tuple[float, float]]:
    """Sample for so long how far behind the workers are: (seconds since the start, seconds behind)."""
    began = time.monotonic()
    samples = []
    while (elapsed := time.monotonic() - began) < seconds:
        now = time.monotonic()
        samples.append((elapsed, feeder.lag_seconds(fleet.processed(), now)))
        time.sleep(0.25)
    return samples


@row(1, "steady load at half of the measured maximum", "60 s, lag < 2 s, L/D/O 0/0/0", 240.0)
def steady(ground: Ground, _seed: int) -> Finding:
    rate = half_of_the_maximum(ground)
    lines = shop_lines(*SHOP, most=int(rate * 60.0))
    settings = settings_for_load(ground)
    with Fleet(settings, ground.model_file) as fleet:
        fleet.until_ready()
        feeder = Feeder(settings, lines, [(1.0, rate)]).start()
        samples = lags(fleet, feeder, 60.0)
        fleet.until_committed(feeder.finish(30.0), 30.0)
        fleet.stop_all()
    most = max(lag for _, lag in samples)
    sent = feeder.sent / (feeder.times[-1] - feeder.times[0])
    found = compare(settings, expected(settings, ground.model, lines))
    return Finding(
        found.none and most < MOST_SECONDS_BEHIND and len(lines) >= rate * 59.0,
        f"{sent:,.0f} messages/s (maximum {2 * rate:,.0f}), lag at most {most:.2f} s: {found}",
    )


@row(2, "burst 5 × for 10 s", "lag back under 2 s within 60 s", 240.0)
def burst(ground: Ground, _seed: int) -> Finding:
    rate = half_of_the_maximum(ground)
    settings = settings_for_load(ground)
    lines = shop_lines(*SHOP, most=int(rate * 115.0))  # 60 s at the usual pace behind the burst
    phases = [(5.0, rate), (10.0, 5.0 * rate), (1.0, rate)]
    with Fleet(settings, ground.model_file) as fleet:
        fleet.until_ready()
        feeder = Feeder(settings, lines, phases).start()
        samples = lags(fleet, feeder, 15.0)
        behind = samples[-1][1]
        burst_rate = feeder.rate(5.0, 15.0)
        began = time.monotonic()
        while feeder.lag_seconds(fleet.processed(), time.monotonic()) >= MOST_SECONDS_BEHIND:
            assert time.monotonic() - began < 60.0, f"still behind after 60 s; {behind:.1f} s at the end"
            time.sleep(0.1)
        back = time.monotonic() - began
        whole = feeder.done
        sent = feeder.stop()
        fleet.until_committed(sent, 60.0)
        fleet.stop_all()
    return Finding(
        back < 60.0 and not whole and burst_rate > 4.5 * rate,
        f"{burst_rate:,.0f} messages/s for 10 s, {rate:,.0f} else: {behind:.1f} s behind, "
        f"under 2 s again after {back:.1f} s, {sent:,} messages",
    )


CUSTOMERS = 500_000
BUDGET_MB = 2 * 200 + CUSTOMERS * 2_000 / 1e6
"""200 MB a worker, and 2,000 bytes a customer: the state itself, its key, its timer, its index entry."""


@row(23, "500,000 distinct customers", f"memory of both workers ≤ {BUDGET_MB:,.0f} MB", 360.0)
def many_customers(ground: Ground, _seed: int) -> Finding:
    settings = settings_for_load(ground)
    preload(settings, order_lines(CUSTOMERS))
    most = 0.0
    with Fleet(settings, ground.model_file) as fleet:
        began = time.monotonic()
        fleet.until_ready()
        start = sum(map(memory_mb, fleet.workers))
        while fleet.processed() < CUSTOMERS:
            most = max(most, sum(map(memory_mb, fleet.workers)))
            time.sleep(0.5)
        seconds = time.monotonic() - began
        fleet.until_committed(CUSTOMERS, 60.0)
        most = max(most, sum(map(memory_mb, fleet.workers)))
        held = sum(int(worker.metrics()["holdfast_customers"]) for worker in fleet.workers)
        fleet.stop_all()
    each = (most - start) * 2**20 / CUSTOMERS
    return Finding(
        most <= BUDGET_MB and held == CUSTOMERS,
        f"{held:,} customers held, {most:,.0f} MB at most, {each:,.0f} bytes a customer, in {seconds:.0f} s",
    )


@row(24, "memory slope after warm-up", "< 1 MB/min a worker", 240.0)
def memory_slope(ground: Ground, _seed: int, rate: float = 1_500.0) -> Finding:
    settings = settings_for_load(ground)
    warm_seconds, seconds = 40.0, 75.0
    lines = click_lines(400, int(rate * (warm_seconds + seconds + 20.0)))
    with Fleet(settings, ground.model_file) as fleet:
        fleet.until_ready()
        feeder = Feeder(settings, lines, [(1.0, rate)]).start()
        time.sleep(warm_seconds)
        began, samples = time.monotonic(), []
        while (elapsed := time.monotonic() - began) < seconds:
            samples.append((elapsed / 60.0, [memory_mb(worker) for worker in fleet.workers]))
            time.sleep(1.0)
        going_on = not feeder.done
        sent = feeder.stop()
        fleet.until_committed(sent, 30.0)
        fleet.stop_all()
    minutes = [minute for minute, _ in samples]
    slopes = [linear_regression(minutes, [mb[n] for _, mb in samples]).slope for n in range(2)]
    held = ", ".join(f"{mb:.0f} MB" for mb in samples[-1][1])
    return Finding(
        max(slopes) < 1.0 and going_on,
        f"{slopes[0]:+.2f} and {slopes[1]:+.2f} MB/min over {seconds:.0f} s at {rate:,.0f} messages/s, "
        f"at {held}",
    )
