"""What a reader of the output topics knows so far: alerts and how they ended, segments, model quality.

Everything here follows from messages, as any consumer of the topics could work it out. A message that was
delivered twice carries the same id and counts once.

Whether an alert was right is a question about the 84 days (or whatever the horizon is) after it was
raised, and alerts alone answer it for most of them: an episode that an order resolved in time was wrong,
one that stayed open for the whole horizon, or was resolved after it, was right. Alerts younger than the
horizon have no answer yet, and of an episode that ended early without an order nobody hears whether an
order came later: neither is judged.
"""

from __future__ import annotations

from collections import Counter, deque
from typing import NamedTuple

import msgspec

from schemas.codec import epoch_ms
from schemas.decisions import AlertCause, AlertState, ChurnAlert, SegmentChange
from schemas.learning import ModelSnapshot
from schemas.topics import CHURN_ALERTS, MODELS, SEGMENT_CHANGES

READ = (CHURN_ALERTS, SEGMENT_CHANGES, MODELS)
"""The topics that a tally understands."""

LATEST = 12
"""How many of the newest alerts are kept."""

_alerts = msgspec.json.Decoder(ChurnAlert)
_changes = msgspec.json.Decoder(SegmentChange)
_models = msgspec.json.Decoder(ModelSnapshot)


class Judged(NamedTuple):
    """Alerts whose horizon has passed, by what came of them.

    Attributes
    ----------
    right, wrong
        Whether no order came within the horizon.
    unknown
        Ended before that, but not by an order.
    """

    right: int
    wrong: int
    unknown: int


class _Episode(msgspec.Struct):
    raised_ms: int
    ended_ms: int | None = None
    cause: AlertCause | None = None


class Tally:
    """What the messages taken so far come to.

    Attributes
    ----------
    read
        Messages taken, by topic, repeats too.
    steps
        Alerts by state; `causes` counts those resolved by their cause.
    latest
        The newest alerts, the newest last.
    sizes
        Customers by RFM segment; `flows` counts moves from one segment to another.
    changes
        Segment changes of both dimensions, the first entry of each customer too.
    model
        The newest model.

    Examples
    --------
    >>> tally = Tally()
    >>> tally.take(
    ...     SEGMENT_CHANGES,
    ...     msgspec.json.encode(
    ...         {
    ...             "id": "s1",
    ...             "customer_id": "c1",
    ...             "event_time": "1997-01-01T00:00:00Z",
    ...             "dimension": "rfm",
    ...             "previous": None,
    ...             "current": "new",
    ...             "cause": "order",
    ...             "evidence": [],
    ...         }
    ...     ),
    ... )
    >>> tally.customers, tally.sizes
    (1, Counter({'new': 1}))
    """

    def __init__(self) -> None:
        self.read: Counter[str] = Counter()
        self.steps: Counter[AlertState] = Counter()
        self.causes: Counter[AlertCause] = Counter()
        self.latest: deque[ChurnAlert] = deque(maxlen=LATEST)
        self.sizes: Counter[str] = Counter()
        self.flows: Counter[tuple[str, str]] = Counter()
        self.changes = 0
        self.model: ModelSnapshot | None = None
        self._seen: set[str] = set()
        self._episodes: dict[str, _Episode] = {}
        self._segments: dict[str, str] = {}

    @property
    def customers(self) -> int:
        """Customers who have entered a segment."""
        return len(self._segments)

    @property
    def open_alerts(self) -> int:
        """Episodes that nothing has resolved yet."""
        return sum(episode.ended_ms is None for episode in self._episodes.values())

    def newest_open(self) -> ChurnAlert | None:
        """Give the newest alert of those kept whose episode nothing has resolved yet."""
        for alert in reversed(self.latest):
            if self._episodes[alert.episode].ended_ms is None:
                return alert
        return None

    def take(self, topic: str, value: bytes | None) -> None:
        """Take in one message.

        Parameters
        ----------
        topic
            One of `READ`.
        value
            As it stands on the topic.

        Raises
        ------
        msgspec.ValidationError
            When it is not what the topic carries: it was made by the same program, so this is a bug.
        """
        self.read[topic] += 1
        if topic == MODELS:
            self.model = _models.decode(value or b"")
            return
        message = (_alerts if topic == CHURN_ALERTS else _changes).decode(value or b"")
        if message.id in self._seen:
            return
        self._seen.add(message.id)
        if isinstance(message, ChurnAlert):
            self._alert(message)
        else:
            self._change(message)

    def _alert(self, alert: ChurnAlert) -> None:
        self.steps[alert.state] += 1
        self.latest.append(alert)
        if alert.state == "raised":
            self._episodes[alert.episode] = _Episode(epoch_ms(alert.event_time))
        elif alert.state == "resolved":
            self.causes[alert.cause] += 1
            episode = self._episodes[alert.episode]
            episode.ended_ms, episode.cause = epoch_ms(alert.event_time), alert.cause

    def _change(self, change: SegmentChange) -> None:
        self.changes += 1
        if change.dimension != "rfm":
            return
        if change.previous is not None:
            self.sizes[change.previous] -= 1
            self.flows[change.previous, change.current] += 1
        self.sizes[change.current] += 1
        self._segments[change.customer_id] = change.current

    def judged(self, until_ms: int, horizon_ms: int) -> Judged:
        """Judge the alerts whose horizon has passed.

        Parameters
        ----------
        until_ms
            Event time up to which everything is known.
        horizon_ms
            Length of the horizon.
        """
        right = wrong = unknown = 0
        for episode in self._episodes.values():
            due_ms = episode.raised_ms + horizon_ms
            if due_ms > until_ms:
                continue
            if episode.ended_ms is None or episode.ended_ms > due_ms:
                right += 1
            elif episode.cause == "ordered":
                wrong += 1
            else:
                unknown += 1
        return Judged(right, wrong, unknown)
