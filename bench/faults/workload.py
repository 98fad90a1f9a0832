"""What is sent: seeded messages, and a feeder that puts them on a topic at a pace.

The feeder's producer is idempotent and retries, so the input log is the list of lines whatever happens
to the broker meanwhile. It remembers when how many messages were on the broker: that is what lag is
measured against.
"""

from __future__ import annotations

import asyncio
import threading
import time
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Sequence
from functools import cache, lru_cache
from itertools import islice

import orjson
from aiokafka import AIOKafkaProducer

from agents.client import partition_of
from agents.routing import route
from agents.settings import Settings
from samples import cdnow, shop, write
from schemas.topics import ORDERS

_TICK_SECONDS = 0.02
_MOST_A_TICK = 20_000
Phase = tuple[float, float]
"""So many seconds at so many messages a second."""


@cache
def cdnow_tenth() -> list[bytes]:
    """The orders of the classical tenth of CDNOW's customers: few events, many reviews and alerts."""
    return list(write.lines(cdnow.messages("tenth")))


@lru_cache(maxsize=1)  # millions of lines: the latest are enough
def shop_lines(
    customers: int,
    days: int,
    seed: int,
    duplicate_rate: float = 0.0,
    disorder_ms: int = 0,
    most: int | None = None,
) -> list[bytes]:
    """Clicks and orders of a simulated shop, in the order in which they arrive; the first so many of them."""
    config = shop.ShopConfig(
        customers=customers, days=days, seed=seed, duplicate_rate=duplicate_rate, disorder_ms=disorder_ms
    )
    return list(islice(write.lines(shop.messages(config)), most))


def order_lines(customers: int, start: str = "2026-01-01T00:00:00Z") -> list[bytes]:
    """One order of each of so many customers."""
    message = {"type": "track", "event": "Order Completed", "timestamp": start}
    return [
        orjson.dumps(
            message
            | {
                "messageId": f"m{number}",
                "userId": f"u{number:07d}",
                "properties": {"order_id": f"o{number}", "revenue": 5.0 + number % 90},
            }
        )
        for number in range(customers)
    ]


def click_lines(customers: int, messages: int, seconds_apart: float = 0.2) -> list[bytes]:
    """Clicks of a few customers in turn, each of whom ordered once before."""
    lines = order_lines(customers)
    start_ms = 1_767_225_600_000  # 2026-01-01
    for number in range(messages):
        stamp = time.strftime(
            "%Y-%m-%dT%H:%M:%SZ", time.gmtime(start_ms / 1000 + 3600 + number * seconds_apart)
        )
        lines.append(
            orjson.dumps(
                {
                    "type": "track",
                    "event": "Product Viewed",
                    "timestamp": stamp,
                    "messageId": f"c{number}",
                    "userId": f"u{number % customers:07d}",
                    "properties": {"product_id": f"p{number % 97}"},
                }
            )
        )
    return lines


class Feeder:
    """Sends lines to one input topic from a thread of its own, at a pace.

    Parameters
    ----------
    lines
        One message each.
    phases
        What pace for how long, one after the other; the last one goes on until the lines end.
    """

    def __init__(self, settings: Settings, lines: Sequence[bytes], phases: Sequence[Phase]) -> None:
        self._settings = settings
        self._topic = settings.topic(ORDERS)
        self._lines = lines
        self._phases = phases
        self._thread = threading.Thread(target=self._run, name="feeder", daemon=True)
        self._error: BaseException | None = None
        self._stopped = self._hurry = False
        self.times: list[float] = [time.monotonic()]
        self.counts: list[int] = [0]

    def start(self) -> Feeder:
        """Begin to send."""
        self._thread.start()
        return self

    @property
    def sent(self) -> int:
        """Messages that the broker has acknowledged."""
        return self.counts[-1]

    @property
    def done(self) -> bool:
        """Whether all has been sent; raises what went wrong."""
        if self._error is not None:
            raise RuntimeError(f"the feeder failed: {self._error}") from self._error
        return not self._thread.is_alive()

    def hurry(self) -> None:
        """Send the rest as fast as it goes."""
        self._hurry = True

    def stop(self) -> int:
        """Send no more; return how many were sent."""
        self._stopped = True
        return self.finish(60.0)

    def finish(self, seconds: float) -> int:
        """Wait until all has been sent."""
        self._thread.join(seconds)
        assert self.done, f"the feeder has sent {self.sent} of {len(self._lines)} after {seconds:g} s more"
        return self.sent

    def rate(self, begin: float, end: float) -> float:
        """Tell how many messages a second were sent between two moments, in seconds since the start."""
        began = self.times[0]
        first, last = (self.counts[bisect_left(self.times, began + at) - 1] for at in (begin, end))
        return (last - first) / (end - begin)

    def lag_seconds(self, processed: int, now: float) -> float:
        """Tell how long ago the broker had as many messages as are processed now."""
        if processed >= self.sent:
            return 0.0
        return now - self.times[bisect_left(self.counts, processed + 1)]

    def _run(self) -> None:
        try:
            asyncio.run(self._send_all())
        except Exception as error:  # noqa: BLE001 - it is raised again where the row waits
            self._error = error

    async def _send_all(self) -> None:
        producer = AIOKafkaProducer(
            bootstrap_servers=self._settings.kafka.bootstrap,
            acks="all",
            enable_idempotence=self._settings.kafka.idempotent_producer,
            request_timeout_ms=60_000,
            retry_backoff_ms=500,
            max_batch_size=512 * 1024,
        )
        await producer.start()
        try:
            partitions = len(await producer.partitions_for(self._topic))
            began = time.monotonic()
            at = 0
            while at < len(self._lines) and not self._stopped:
                until = min(self._due(time.monotonic() - began), at + _MOST_A_TICK, len(self._lines))
                if until > at:
                    await self._send(producer, self._lines[at:until], partitions)
                    at = until
                    self.times.append(time.monotonic())
                    self.counts.append(at)
                await asyncio.sleep(_TICK_SECONDS)
        finally:
            await producer.stop()

    def _due(self, elapsed: float) -> int:
        if self._hurry:
            return len(self._lines)
        due = 0.0
        for place, (seconds, rate) in enumerate(self._phases):
            last = place == len(self._phases) - 1
            spent = elapsed if last else min(elapsed, seconds)
            due += spent * rate
            elapsed -= spent
        return int(due)

    async def _send(self, producer: AIOKafkaProducer, lines: Sequence[bytes], partitions: int) -> None:
        groups: dict[int, list[tuple[bytes, bytes]]] = defaultdict(list)
        for line in lines:
            _, key = route(line)
            assert key is not None
            groups[partition_of(key, partitions)].append((key, line.rstrip(b"\n")))
        waits = []
        for partition, pairs in groups.items():
            batch = producer.create_batch()
            for key, value in pairs:
                if batch.append(timestamp=None, key=key, value=value) is None:
                    waits.append(await producer.send_batch(batch, self._topic, partition=partition))
                    batch = producer.create_batch()
                    batch.append(timestamp=None, key=key, value=value)
            waits.append(await producer.send_batch(batch, self._topic, partition=partition))
        await asyncio.gather(*waits)


def preload(settings: Settings, lines: Sequence[bytes]) -> None:
    """Put everything on one input topic at once."""
    Feeder(settings, lines, [(1.0, 1e9)]).start().finish(120.0)
