"""What a replay came to, as one JSON object that can be compared with that of another run.

Everything in it follows from the messages and the settings: no clock, no path, no version of anything
around it. Two replays of the same messages therefore give the same bytes, and a difference between two
reports is a difference in what was decided. Counts name every case, also those that did not occur.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any, get_args

import msgspec
import orjson

from schemas.codec import WIRE_REASONS, utc
from schemas.decisions import AlertState
from schemas.learning import ModelSnapshot
from schemas.topics import CHURN_ALERTS, CUSTOMER_SCORES, EXAMPLES, MODELS, SEGMENT_CHANGES
from streams.customer.decision import Outcome
from streams.customer.lifecycle import LIFECYCLE_NAMES, PROSPECT
from streams.customer.machine import NO_SEGMENT
from streams.customer.rfm import RFM_NAMES
from streams.customer.state import CustomerState
from streams.evaluation.bootstrap import Compared, Interval
from streams.replay import Replay

REPORT_VERSION = 3

DECISIONS = {
    CHURN_ALERTS: "alerts",
    SEGMENT_CHANGES: "segment_changes",
    CUSTOMER_SCORES: "scores",
    EXAMPLES: "examples",
    MODELS: "models",
}
"""What the decisions of each topic are called in a report, and their file beside it."""

_LAID_OUT = orjson.OPT_SORT_KEYS | orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE
_OUTCOMES = (Outcome.APPLIED, Outcome.DUPLICATE, Outcome.LATE, Outcome.ANONYMOUS)


def report(replay: Replay, alert_states: Counter[str], dead_reasons: Counter[str]) -> dict[str, Any]:
    """Tell what a replay came to.

    Parameters
    ----------
    replay
        A replay that has run.
    alert_states
        Alerts by state.
    dead_reasons
        Refused messages by reason.

    Returns
    -------
    dict
        Plain values. `prequential` has nulls for what is not defined; `prequential.over` says which
        answers it is about. Sizes are as of the last event.

    Examples
    --------
    >>> from streams.config import StreamConfig
    >>> empty = report(Replay(StreamConfig(), sink=print), Counter(), Counter())
    >>> empty["events"]["read"], empty["prequential"]["auc"], empty["model"]["model_version"]
    (0, None, 'lr-0')
    """
    states = replay.machine.states.values()
    outcomes = {outcome.value: replay.events[outcome.value] for outcome in _OUTCOMES}
    return {
        "version": REPORT_VERSION,
        "events": {"read": replay.events["read"], "dead": replay.events["dead"], **outcomes},
        "dead_by_reason": _counts(WIRE_REASONS, dead_reasons),
        "first_event": _time(replay.first_ms),
        "last_event": _time(replay.last_ms),
        "decisions": {name: replay.said[topic] for topic, name in DECISIONS.items()},
        "alerts_by_state": _counts(get_args(AlertState), alert_states),
        "customers": len(states),
        "open_questions": sum(len(state.questions) for state in states),
        "segments": _counts((*RFM_NAMES, NO_SEGMENT), Counter(map(_segment, states))),
        "lifecycle": _counts(LIFECYCLE_NAMES, Counter(map(_stage, states))),
        "prequential": _prequential(replay),
        "model": _model(replay.machine.model.snapshot, frozen=replay.learner is None),
        "settings": msgspec.to_builtins(replay.config),
    }


def compared(
    base: dict[str, Any],
    others: Sequence[tuple[str, dict[str, Any]]],
    measured: Sequence[Compared],
    resamples: int,
) -> dict[str, Any]:
    """Put variants beside the settings in force.

    Parameters
    ----------
    base
        Report of the settings in force.
    others
        Name and report of each variant.
    measured
        Of the base and the variants, in this order.
    resamples
        How many the intervals rest on.
    """
    horizon = base["settings"]["reviews"]["horizon_days"]
    rows = [("base", base), *others]
    return {
        "resamples": resamples,
        "variants": [
            {
                "name": name,
                "changed": _changed(base["settings"], content["settings"]),
                "same_questions": content["settings"]["reviews"]["horizon_days"] == horizon,
                "figures": _plain(run.figures),
                "differences": _plain(run.differences),
            }
            for (name, content), run in zip(rows, measured, strict=True)
        ],
    }


def _plain(intervals: dict[str, Interval]) -> dict[str, Any]:
    return {name: interval._asdict() for name, interval in intervals.items()}


def _changed(base: dict[str, Any], other: dict[str, Any]) -> dict[str, Any]:
    return {
        f"{section}.{key}": value
        for section, values in other.items()
        for key, value in values.items()
        if base[section][key] != value
    }


def encode_report(content: dict[str, Any]) -> bytes:
    r"""Write a report: sorted, indented, a newline at its end.

    Examples
    --------
    >>> encode_report({"b": 1, "a": None})
    b'{\n  "a": null,\n  "b": 1\n}\n'
    """
    return orjson.dumps(content, option=_LAID_OUT)


def _counts(names: Iterable[str], counted: Counter[str]) -> dict[str, int]:
    return {name: counted[name] for name in names}


def _segment(state: CustomerState) -> str:
    return RFM_NAMES[state.rfm] if state.rfm >= 0 else NO_SEGMENT


def _stage(state: CustomerState) -> str:
    return LIFECYCLE_NAMES[state.lifecycle if state.lifecycle >= 0 else PROSPECT]


def _time(time_ms: int | None) -> str | None:
    return None if time_ms is None else utc(time_ms).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _prequential(replay: Replay) -> dict[str, Any]:
    quality = replay.quality
    days = 2 * replay.config.reviews.horizon_days
    return {
        "over": (
            f"answers to questions asked at least two horizons ({days:g} days) after the first event, "
            "each against the risk served when it was asked"
        ),
        "n": quality.n,
        "churn_rate": quality.churned / quality.n if quality.n else None,
        "auc": quality.auc(),
        "log_loss": quality.log_loss(),
        "ece": quality.ece(),
    }


def _model(served: ModelSnapshot, frozen: bool) -> dict[str, Any]:
    return {
        "model_version": served.model_version,
        "frozen": frozen,
        "n_learned": served.n_learned,
        "intercept": served.intercept,
        "centres": dict(zip(served.features, served.centre, strict=True)),
        "coefficients": dict(zip(served.features, served.coefficient, strict=True)),
        "btyd": {
            "centre": served.btyd_centre,
            "coefficient": served.btyd_coefficient,
            "parameters": msgspec.to_builtins(served.btyd),
        },
        "spend": msgspec.to_builtins(served.spend),
    }
