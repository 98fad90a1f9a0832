"""What a partition counts: sums that are handed to the metrics once a slice, never once a record.

A metric takes a lock for each change, which is much beside the microseconds that a record may cost. So a
meter adds up in plain dictionaries what a slice has said, and measures how long things took on the last
record of each fetched batch: everything before it in its input was done no later.

Three latencies tell three stories. Processing is ours alone: from arrival to decided. Broker latency begins
at the record's timestamp, so time spent waiting in Kafka is in it. Event latency begins at the event time:
what the shop's own senders, phones without a network and backfills add comes on top.
"""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from agents import metrics
from schemas.decisions import ChurnAlert, SegmentChange
from streams.customer.decision import Decision

_Batch = tuple[int, float, int]
"""Offset of the last record, when it arrived by the monotonic clock, its timestamp in milliseconds."""


class Meter:
    """Measures one partition.

    Parameters
    ----------
    partition
        Its number.
    allowed_lateness_seconds
        How far the watermark stays behind the newest event time.

    Examples
    --------
    >>> from types import SimpleNamespace
    >>> meter = Meter(0, 60.0)
    >>> meter.arrived("orders", [SimpleNamespace(offset=4, timestamp=-1)])
    >>> meter.done({"orders": 4}, 0), meter.done({"orders": 5}, 0)
    (0, 1)
    """

    def __init__(self, partition: int, allowed_lateness_seconds: float) -> None:
        self._label = str(partition)
        self._lateness_seconds = allowed_lateness_seconds
        self._batches: dict[str, deque[_Batch]] = {}
        self._sealed_at = time.monotonic()
        # What was said since it was handed over.
        self._topics: Counter[str] = Counter()
        self._alerts: Counter[tuple[str, str, str]] = Counter()
        self._values: dict[tuple[str, str], float] = {}
        self._moves: Counter[tuple[str, str, str]] = Counter()

    def arrived(self, topic: str, records: Sequence[Any]) -> None:
        """Take notice of a fetched batch of an input."""
        if records:
            last = records[-1]
            batch = (int(last.offset), time.monotonic(), int(last.timestamp))
            self._batches.setdefault(topic, deque()).append(batch)

    def done(self, offsets: Mapping[str, int], watermark_ms: int) -> int:
        """Measure the batches that are done; return how many they are.

        Parameters
        ----------
        offsets
            By input, the next offset that nothing has been done with.
        watermark_ms
            Where event time stands.
        """
        count = 0
        for topic, batches in self._batches.items():
            while batches and batches[0][0] < offsets[topic]:
                _, arrived, timestamp_ms = batches.popleft()
                metrics.PROCESSING.observe(time.monotonic() - arrived)
                if timestamp_ms > 0:  # -1 is a record without one
                    metrics.BROKER_LATENCY.observe(max(0.0, time.time() - timestamp_ms / 1000.0))
                count += 1
        if count and watermark_ms > 0:
            newest = watermark_ms / 1000.0 + self._lateness_seconds
            metrics.EVENT_LATENCY.observe(max(0.0, time.time() - newest))
        return count

    def said(self, decisions: Iterable[Decision]) -> None:
        """Add up what was said; `hand_over` is to follow."""
        topics, alerts = self._topics, self._alerts
        for topic, _, payload in decisions:
            topics[topic] += 1
            if isinstance(payload, ChurnAlert):
                alerts[payload.state, payload.cause, payload.band] += 1
                what = payload.state, payload.cause
                self._values[what] = self._values.get(what, 0.0) + max(0.0, payload.value_at_risk)
            elif isinstance(payload, SegmentChange):
                self._moves[payload.dimension, payload.previous or "none", payload.current] += 1

    def hand_over(self) -> None:
        """Let the metrics have what was said since the last time."""
        for topic, number in self._topics.items():
            metrics.DECISIONS.labels(topic).inc(number)
        for alert, number in self._alerts.items():
            metrics.ALERTS.labels(*alert).inc(number)
        for step, value in self._values.items():
            metrics.ALERT_VALUE.labels(*step).inc(value)
        for move, number in self._moves.items():
            metrics.SEGMENT_MOVES.labels(*move).inc(number)
        for sums in (self._topics, self._alerts, self._values, self._moves):
            sums.clear()

    def sealed(self, states: int, reviews: dict[str, int]) -> None:
        """Count what an epoch has done.

        Parameters
        ----------
        states
            States written.
        reviews
            Looks by cause since the last time; emptied here.
        """
        now = time.monotonic()
        metrics.EPOCH_LENGTH.observe(now - self._sealed_at)
        self._sealed_at = now
        metrics.CHANGELOG_STATES.inc(states)
        for cause, number in reviews.items():
            metrics.REVIEWS.labels(cause).inc(number)
        reviews.clear()
