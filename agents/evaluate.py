"""What `holdfast verify` and `holdfast suggest` do with the messages: the edge of `streams.evaluation`."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import msgspec

from agents.errors import OperatorError
from agents.lines import Lines
from agents.reading import Reading, Source
from agents.settings import Settings
from schemas.codec import WireError
from schemas.decisions import ChurnAlert
from schemas.events import Order
from schemas.learning import Example, ModelSnapshot
from schemas.sources.registry import decoder_for
from schemas.topics import CHURN_ALERTS, INPUTS, MODELS
from streams.config import DAY_MS, StreamConfig, days_ms
from streams.customer.decision import Decision
from streams.evaluation.audit import Auditor
from streams.evaluation.budget import Expected, Peaks
from streams.evaluation.collector import Collector
from streams.evaluation.waiting import Gaps, within
from streams.learning.served import untrained
from streams.playback import Headed
from streams.replay import Replay

SHARES = (0.5, 0.8, 0.9, 0.95)
LEAST_GAPS = 30
THRESHOLDS = (0.5, 0.6, 0.7, 0.8, 0.9)
_GAP = 0.1  # between raising and resolving

Message = TypeVar("Message", bound=msgspec.Struct)


def from_folder(folder: Path) -> tuple[list[ChurnAlert], list[ModelSnapshot]]:
    """Read what a replay published.

    Raises
    ------
    OperatorError
        When the folder does not hold it.
    """
    return _messages(folder / "alerts.jsonl", ChurnAlert), _messages(folder / "models.jsonl", ModelSnapshot)


def _messages(path: Path, kind: type[Message]) -> list[Message]:
    decode = msgspec.json.Decoder(kind).decode
    found = []
    for number, line in enumerate(Lines(str(path)), start=1):
        try:
            found.append(decode(line or b""))
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise OperatorError(f"{path}:{number}: no {kind.__name__}: {error}") from None
    return found


def from_topics(settings: Settings) -> tuple[list[ChurnAlert], list[ModelSnapshot]]:
    """Read what workers published, as far as the topics still have it.

    Raises
    ------
    OperatorError
        When the topics cannot be read.
    """
    from agents.from_topic import values

    return (
        _decoded(values(settings, CHURN_ALERTS), ChurnAlert, settings.topic(CHURN_ALERTS)),
        _decoded(values(settings, MODELS), ModelSnapshot, settings.topic(MODELS)),
    )


def _decoded(found: Iterator[bytes], kind: type[Message], topic: str) -> list[Message]:
    try:
        return [msgspec.json.decode(value, type=kind) for value in found]
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise OperatorError(f"{topic} holds a message that is no {kind.__name__}: {error}") from None


def audit(
    settings: Settings,
    files: Sequence[Source],
    alerts: Collection[ChurnAlert],
    models: Collection[ModelSnapshot],
) -> Auditor:
    """Recompute alerts from the messages and the models.

    Returns
    -------
    Auditor
        With what it confirmed and what differs.
    """
    config = settings.streams
    try:
        auditor = Auditor(config, {model.model_version: model for model in models}, alerts)
    except ValueError as error:
        raise OperatorError(str(error)) from None
    replay = Replay(
        config,
        sink=lambda _: None,
        model=untrained(config),
        max_bytes=settings.dead_letters.max_message_bytes,
    )
    replay.machine.judge = auditor
    replay.run(Reading(files, settings.sources).messages())
    auditor.finish()
    return auditor


class Silence(NamedTuple):
    """What the gaps between orders say.

    Attributes
    ----------
    days
        By share of those who come back: within how many days they have.
    ended, open
        Gaps that an order has ended, and those that are not over.
    returning
        Share of gaps that will end, as far as the data can tell.
    """

    days: dict[float, int]
    ended: int
    open: int
    returning: float


def silence(settings: Settings, files: Sequence[Source], share: float) -> Silence:
    """Measure the gaps between the orders of those whom alerts are about.

    Raises
    ------
    OperatorError
        When there are too few.
    """
    gaps = Gaps(settings.alerts.min_orders)
    last_ms = 0
    decoders = [decoder_for(name, settings.sources) for name in INPUTS]
    max_bytes = settings.dead_letters.max_message_bytes
    for source, message in Reading(files, settings.sources).messages():
        try:
            if isinstance(message, Headed):
                event = decoders[source](message.value, max_bytes, message.headers)
            else:
                event = decoders[source](message, max_bytes)
        except WireError:
            continue
        last_ms = max(last_ms, event.time_ms)
        if isinstance(event, Order):
            gaps.order(event.customer_id, event.time_ms)
    if gaps.ended < LEAST_GAPS:
        raise OperatorError(
            f"{gaps.ended} gaps between orders of customers with {settings.alerts.min_orders} or more: "
            f"at least {LEAST_GAPS} are needed; read more messages"
        )
    curve = gaps.reordered(last_ms)
    days = {part: within(curve, part) or 1 for part in sorted({*SHARES, share})}
    return Silence(days, gaps.ended, gaps.open(last_ms).total(), curve[-1][1])


class Threshold(NamedTuple):
    """What a budget of alerts allows.

    Attributes
    ----------
    suggested
        The alert settings.
    expected
        For some thresholds, the suggested one last, what they would raise.
    days
        Days of event time that the estimate rests on.
    replayed
        Figures of the alerts in a replay with the suggested settings.
    """

    suggested: dict[str, float]
    expected: list[Expected]
    days: float
    replayed: dict[str, Any]


def threshold(settings: Settings, files: Sequence[Source], horizon_days: float, per_day: float) -> Threshold:
    """Find the threshold that raises so many alerts a day, and replay it.

    Raises
    ------
    OperatorError
        When the messages are of too short a time.
    """
    streams = settings.streams
    config: StreamConfig = msgspec.structs.replace(
        streams, reviews=msgspec.structs.replace(streams.reviews, horizon_days=horizon_days)
    )
    peaks: list[Peaks] = []

    def sink(decision: Decision) -> None:
        if isinstance(decision.payload, Example):
            if not peaks:
                from_ms = (replay.first_ms or 0) + days_ms(2.0 * horizon_days)
                peaks.append(Peaks(config.alerts.min_orders, from_ms))
            peaks[0].take(decision.payload)

    max_bytes = settings.dead_letters.max_message_bytes
    replay = Replay(config, sink=sink, max_bytes=max_bytes)
    replay.run(Reading(files, settings.sources).messages())
    found = peaks[0].threshold(per_day) if peaks else None
    if found is None:
        raise OperatorError(
            f"the messages must be of more than three horizons ({3 * horizon_days:g} days) to tell a "
            "threshold for so few alerts"
        )
    own = {
        "raise_at": found,
        "escalate_at": max(found, round(min(0.999, found + (1.0 - found) / 2.0), 3)),
        "resolve_below": round(max(found / 2.0, found - _GAP), 4),
    }
    chosen = msgspec.structs.replace(config, alerts=msgspec.structs.replace(config.alerts, **own))
    collector = Collector(chosen)
    again = Replay(
        chosen, sink=lambda decision: collector.take(decision, again.first_ms or 0), max_bytes=max_bytes
    )
    again.run(Reading(files, settings.sources).messages())
    figures = collector.figures(again.first_ms, again.last_ms)["alerts"]
    from_ms, last_ms = (again.first_ms or 0) + days_ms(2.0 * horizon_days), again.last_ms or 0
    if last_ms > from_ms:  # until then there is hardly a model
        figures["per_day"] = collector.raised_from(from_ms) * DAY_MS / (last_ms - from_ms)
    expected = [peaks[0].expected(level) for level in (*THRESHOLDS, found)]
    return Threshold(own, expected, peaks[0].days, figures)
