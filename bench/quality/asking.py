"""Questions of a shop, asked, served and learned from by our own machines, and kept as arrays.

`natural` is a replay: every review of a customer asks. `decisions` is the protocol of four-weekly decisions:
the customer machine keeps the histories, and at each decision every customer known is asked at once. In both
an answer is learned from only when its horizon has passed, and each question keeps what was served when it
was asked, by the mixture and by each of its experts.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from time import thread_time
from typing import Any, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from schemas.codec import MAX_MESSAGE_BYTES, epoch_ms, utc
from schemas.events import Order
from schemas.learning import Example, ModelSnapshot
from schemas.sources.registry import decoder_for
from schemas.topics import INPUTS
from streams.config import DAY_MS, AlertConfig, ReviewConfig, StreamConfig
from streams.customer.features import FEATURE_NAMES, features
from streams.customer.machine import CustomerMachine
from streams.customer.packing import digest
from streams.learning.machine import LearnerMachine
from streams.learning.served import Served, no_order_log_odds, untrained
from streams.replay import Replay
from streams.value.bgnbd_of_one import NoOrder

DECISIONS = 14
DECISION_DAYS = 28
FIRST_DECISION_MS = epoch_ms(datetime(1997, 4, 1, tzinfo=UTC))
"""The day after all customers of CDNOW have ordered once."""

Floats = NDArray[np.float64]

_PLACES = [FEATURE_NAMES.index(name) for name in ("log_orders", "log_recency", "log_tenure")]


class Asked(NamedTuple):
    """All questions, in the order in which they were learned from.

    Attributes
    ----------
    features
        One row each.
    asked_ms, matured_ms, label, risk, customer
        Of each; `customer` is a number.
    version
        Examples that the serving model had learned from.
    judged
        Which ones count: asked two horizons after the first order or later; of decisions, those that were
        asked when the first had been answered.
    btyd
        Log-odds of BG/NBD as fitted when the question was asked; 0 before the first fit.
    experts
        By name, the log-odds that each expert would have served.
    learning_us, fitting_us
        Thread time of the learner, microseconds an example, and what the fits of BG/NBD take of it.
    """

    features: NDArray[np.float64]
    asked_ms: NDArray[np.int64]
    matured_ms: NDArray[np.int64]
    label: NDArray[np.int64]
    risk: NDArray[np.float64]
    customer: NDArray[np.int64]
    version: NDArray[np.int64]
    judged: NDArray[np.bool_]
    btyd: NDArray[np.float64]
    experts: dict[str, NDArray[np.float64]]
    learning_us: float
    fitting_us: float
    learner: LearnerMachine


class _Log:
    """Takes examples and models as they come."""

    def __init__(self, learner: LearnerMachine, progress: Callable[[str], None]) -> None:
        self.seconds = self.fitting_seconds = 0.0
        self.learner = learner
        self._refit = learner._refits.learn
        learner._refits.learn = self._timed_refit  # type: ignore[method-assign]
        self._learn = learner.learn
        self._progress = progress
        self._columns = {name: array("q") for name in ("asked", "matured", "label", "customer", "version")}
        self._risk, self._features = array("d"), array("d")
        self._customers: dict[str, int] = {}
        self._served: dict[int, dict[str, ModelSnapshot]] = {0: learner.pool.alone(None)}

    def learn(self, example: Example) -> ModelSnapshot | None:
        row, columns = example.features, self._columns
        start = thread_time()
        published = self._learn(example)
        self.seconds += thread_time() - start
        columns["asked"].append(epoch_ms(example.asked_at))
        columns["matured"].append(epoch_ms(example.matured_at))
        columns["label"].append(example.label)
        columns["customer"].append(self._customers.setdefault(example.customer_id, len(self._customers)))
        columns["version"].append(int(example.model_version.rpartition("-")[2]))
        self._risk.append(example.risk)
        self._features.extend(row[name] for name in FEATURE_NAMES)
        if len(self._risk) % 100_000 == 0:
            self._progress(f"{len(self._risk):,} questions answered")
        if published is not None:
            self.keep(published)
        return published

    def _timed_refit(self, example: Example) -> bool:
        start = thread_time()
        fresh = self._refit(example)
        self.fitting_seconds += thread_time() - start
        return fresh

    def keep(self, published: ModelSnapshot) -> None:
        """Keep what each expert would serve from here on."""
        self._served[published.n_learned] = self.learner.pool.alone(published.btyd)

    def asked(self, judged_from_ms: int) -> Asked:
        columns = {name: np.array(values, np.int64) for name, values in self._columns.items()}
        rows = np.array(self._features).reshape(-1, len(FEATURE_NAMES))
        experts, btyd = self._experts(rows, columns["version"])
        return Asked(
            features=rows,
            asked_ms=columns["asked"],
            matured_ms=columns["matured"],
            label=columns["label"],
            risk=np.array(self._risk),
            customer=columns["customer"],
            version=columns["version"],
            judged=columns["asked"] >= judged_from_ms,
            btyd=btyd,
            experts=experts,
            learning_us=self.seconds / max(1, len(rows)) * 1e6,
            fitting_us=self.fitting_seconds / max(1, len(rows)) * 1e6,
            learner=self.learner,
        )

    def _experts(
        self, rows: NDArray[np.float64], version: NDArray[np.int64]
    ) -> tuple[dict[str, NDArray[np.float64]], NDArray[np.float64]]:
        said = {name: np.zeros(len(rows)) for name in self._served[0]}
        btyd = np.zeros(len(rows))
        order = np.argsort(version, kind="stable")
        starts = np.flatnonzero(np.diff(version[order], prepend=-1))
        for part in np.split(order, starts[1:]):
            models = self._served[int(version[part[0]])]
            first = next(iter(models.values()))
            if first.btyd is not None:
                no_order = NoOrder(first.btyd, first.horizon_days)
                known = rows[part][:, _PLACES]
                btyd[part] = np.array([no_order_log_odds(no_order, *map(float, three)) for three in known])
            for name, model in models.items():
                linear = (rows[part] - model.centre) @ np.array(model.coefficient) + model.intercept
                said[name][part] = linear + model.btyd_coefficient * (btyd[part] - model.btyd_centre)
        return said, btyd


def _config(horizon_days: float, **reviews: Any) -> StreamConfig:
    # Without alerts no crossing is sought, which saves time and moves no risk.
    return StreamConfig(
        reviews=ReviewConfig(horizon_days=horizon_days, **reviews), alerts=AlertConfig(min_orders=10**6)
    )


def natural(
    messages: Iterable[tuple[int, bytes]], horizon_days: float, progress: Callable[[str], None]
) -> Asked:
    """Replay the messages; every review of a customer asks."""
    replay = Replay(_config(horizon_days), lambda _: None)
    learner = replay.learner
    assert learner is not None
    log = _Log(learner, progress)
    learner.learn = log.learn  # type: ignore[method-assign]
    replay.run(messages)
    assert replay.first_ms is not None
    return log.asked(replay.first_ms + round(2 * horizon_days * DAY_MS))


def decisions(
    messages: Iterable[tuple[int, bytes]], horizon_days: float, progress: Callable[[str], None]
) -> Asked:
    """Ask all customers known on 14 days, four weeks apart, in an order that a hash decides."""
    config = _config(horizon_days, question_share=0.0, weekly_reviews=0)
    machine = CustomerMachine(config, Served(untrained(config)))
    learner = LearnerMachine(config)
    log = _Log(learner, progress)
    served = Served(untrained(config))
    decoders = [decoder_for(name, config.sources) for name in INPUTS]
    horizon_ms = round(horizon_days * DAY_MS)
    ordered: dict[str, list[int]] = {}
    waiting: list[tuple[int, list[Example]]] = []

    def mature(until_ms: int) -> None:
        nonlocal served
        while waiting and waiting[0][0] + horizon_ms <= until_ms:
            asked_ms, examples = waiting.pop(0)
            for example in examples:
                times = ordered[example.customer_id]
                place = bisect_left(times, asked_ms)
                left = place == len(times) or times[place] >= asked_ms + horizon_ms
                log.learn(msgspec.structs.replace(example, label=int(left)))
            snapshot = learner.snapshot()
            log.keep(snapshot)
            served = Served(snapshot)

    def ask(asked_ms: int) -> None:
        examples = []
        for customer in sorted(machine.states, key=digest):
            values = features(machine.states[customer], asked_ms)
            examples.append(
                Example(
                    id=f"{asked_ms}-{customer}",
                    customer_id=customer,
                    asked_at=utc(asked_ms),
                    matured_at=utc(asked_ms + horizon_ms),
                    horizon_days=horizon_days,
                    cause="timer",
                    features=dict(zip(FEATURE_NAMES, values, strict=True)),
                    risk=served.risk(values),
                    label=0,
                    model_version=served.model_version,
                )
            )
        waiting.append((asked_ms, examples))

    dues = [FIRST_DECISION_MS + number * DECISION_DAYS * DAY_MS for number in range(DECISIONS)]
    later = list(dues)
    for offset, (source, value) in enumerate(messages):
        event = decoders[source](value, MAX_MESSAGE_BYTES)
        while later and event.time_ms >= later[0]:
            due = later.pop(0)
            mature(due)
            ask(due)
        if isinstance(event, Order):
            ordered.setdefault(event.customer_id, []).append(event.time_ms)
        machine.apply(event, source, offset)
        machine.take()
    mature(dues[-1] + horizon_ms)
    return log.asked(FIRST_DECISION_MS + horizon_ms)
