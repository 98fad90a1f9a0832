"""The two ends of the demo: what sends the shop's orders in, and what reads the decisions that come out.

Both run in threads of their own and share nothing with the worker but the broker. The sender is the part
with a rule: eighteen months pass in a minute, so it must not run ahead. Live, a model has learned from
yesterday's answers when today's customers are looked at; were all orders there at once, they would all be
judged by a model that knows nothing. So orders are sent two weeks of event time beyond what the
worker has processed and no further, and only while the learner keeps up. Nothing in the worker knows of it.
"""

from __future__ import annotations

import queue
import threading
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import Any, NamedTuple

from kafka import KafkaConsumer, TopicPartition
from kafka.errors import KafkaError

from agents import client
from agents.cluster import CONNECT_MS, partition_counts
from agents.connection import kafka_python_arguments
from agents.errors import OperatorError
from agents.settings import Settings
from agents.tally import READ
from agents.worker_process import Counters
from samples.write import lines
from schemas.codec import decode_event
from schemas.topics import EXAMPLES
from streams.config import DAY_MS

AHEAD_MS = 14 * DAY_MS
"""Event time that may be sent beyond what the worker has processed."""

MOST_UNLEARNED = 3_000
"""Examples that the learner may be behind before the sender waits for it."""

_FETCH_MS = 100
_STOP_SECONDS = 5.0


class Feed(NamedTuple):
    """Messages to send, with their event times; rising times."""

    lines: list[bytes]
    times_ms: list[int]

    @classmethod
    def of(cls, messages: Iterable[Mapping[str, Any]]) -> Feed:
        """Encode messages, and read from each line when it happened, as the worker will."""
        encoded = list(lines(messages))
        return cls(encoded, [decode_event(line).time_ms for line in encoded])


class _Work:
    """Something done in a thread of its own, whose failure is not lost there."""

    def __init__(self, work: Callable[[], None]) -> None:
        self._work = work
        self._thread = ThreadPoolExecutor(1)
        self._outcome: Future[None] | None = None

    def start(self) -> None:
        self._outcome = self._thread.submit(self._work)

    def wait(self) -> None:
        """Wait for the end, but not for ever: without its broker a client takes its time to give up."""
        if self._outcome is not None:
            wait([self._outcome], _STOP_SECONDS)
        self._thread.shutdown(wait=False)

    def check(self) -> None:
        """Raise what it has failed with."""
        if self._outcome is not None and self._outcome.done():
            self._outcome.result()


class Sender:
    """Sends a feed from a thread, no further ahead than it may.

    Parameters
    ----------
    settings
        Where to.
    feed
        What; not empty.

    Attributes
    ----------
    sent
        Messages that the broker has.
    """

    def __init__(self, settings: Settings, feed: Feed) -> None:
        self.sent = 0
        self._settings = settings
        self._feed = feed
        self._may_send = bisect_right(feed.times_ms, feed.times_ms[0] + AHEAD_MS)
        self._turn = threading.Condition()
        self._stopping = False
        self._work = _Work(self._run)

    def start(self) -> None:
        """Begin to send."""
        self._work.start()

    def stop(self) -> None:
        """Send no more."""
        with self._turn:
            self._stopping = True
            self._turn.notify()
        self._work.wait()

    def follow(self, counters: Counters) -> None:
        """Let more be sent, as far as the worker has come.

        Raises
        ------
        OperatorError
            When sending has failed.
        """
        self._work.check()
        if counters.said.get(EXAMPLES, 0) - counters.settled > MOST_UNLEARNED:
            return
        times_ms = self._feed.times_ms
        next_ms = times_ms[min(counters.processed, len(times_ms) - 1)]  # it may be long after the one before
        with self._turn:
            self._may_send = bisect_right(times_ms, next_ms + AHEAD_MS)
            self._turn.notify()

    def _run(self) -> None:
        client.send(self._settings, self._paced(), source="the demo's orders")
        if not self._stopping:
            self.sent = len(self._feed.lines)

    def _paced(self) -> Iterator[bytes | None]:
        for number, line in enumerate(self._feed.lines):
            if number >= self._may_send:
                yield None  # sends what is there, and comes back when the broker has it
                self.sent = number
                with self._turn:  # holds up the sender's event loop: nothing else runs on it
                    while number >= self._may_send and not self._stopping:
                        self._turn.wait()
            if self._stopping:
                return
            yield line


class Reader:
    """Reads the output topics from a thread, in no consumer group.

    Parameters
    ----------
    settings
        Where, and how the topics are named; they must be there.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._records: queue.SimpleQueue[tuple[str, bytes | None]] = queue.SimpleQueue()
        self._stopping = threading.Event()
        self._work = _Work(self._run)

    def start(self) -> None:
        """Begin to read."""
        self._work.start()

    def stop(self) -> None:
        """Read no more."""
        self._stopping.set()
        self._work.wait()

    def take(self) -> Iterator[tuple[str, bytes | None]]:
        """Give what has been read since the last time: the topic's name and the value of each record.

        Raises
        ------
        OperatorError
            When reading has failed.
        """
        self._work.check()
        while not self._records.empty():
            yield self._records.get()

    def _run(self) -> None:
        names = {self._settings.topic(name): name for name in READ}
        try:
            counts = partition_counts(self._settings, list(names))
            consumer = KafkaConsumer(
                **kafka_python_arguments(self._settings),
                bootstrap_timeout_ms=CONNECT_MS,
                enable_auto_commit=False,
                fetch_max_wait_ms=_FETCH_MS,
                check_crcs=False,
                metrics_enabled=False,
            )
            try:
                places = [TopicPartition(name, number) for name in counts for number in range(counts[name])]
                consumer.assign(places)
                consumer.seek_to_beginning()
                while not self._stopping.is_set():
                    for place, records in consumer.poll(timeout_ms=_FETCH_MS).items():
                        for record in records:
                            self._records.put((names[place.topic], record.value))
            finally:
                consumer.close()
        except KafkaError as error:
            raise OperatorError(f"the output topics cannot be read: {error}"[:300]) from None
