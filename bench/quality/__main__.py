"""`python -m bench.quality`: what is served, beside batch models that are retrained monthly, on CDNOW.

The replay machines ask, serve and learn in one pass. Batch models see the same examples with the same delay:
each 28 days they are trained on all that had matured by then, and answer what is asked until the next time.
All are judged by the same questions, those asked two horizons after the first order or later. Intervals come
from drawing customers again, not rows: rows of one customer repeat one another.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from time import perf_counter, thread_time
from typing import Any, Literal

import numpy as np
import orjson
from lightgbm import LGBMClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss, roc_auc_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from samples import cdnow
from schemas.codec import epoch_ms
from schemas.learning import Example
from schemas.topics import EXAMPLES
from streams.config import DAY_MS, AlertConfig, ReviewConfig, StreamConfig
from streams.customer.decision import Decision
from streams.replay import Replay

HORIZON_DAYS = 84.0
RETRAIN_MS = 28 * DAY_MS
DRAWS = 100
BATCH: dict[str, Any] = {
    "logistic regression, retrained monthly": lambda: make_pipeline(
        StandardScaler(), LogisticRegression(max_iter=300)
    ),
    "LightGBM, retrained monthly": lambda: LGBMClassifier(
        n_estimators=150, num_leaves=31, learning_rate=0.05, n_jobs=1, seed=1, verbose=-1
    ),
}


class Asked:
    """All examples of a replay as arrays, in the order of their log."""

    def __init__(self, sample: Literal["all", "tenth"]) -> None:
        self.examples: list[Example] = []
        # Without alerts no crossing is sought, which saves time and moves no risk.
        config = StreamConfig(
            reviews=ReviewConfig(horizon_days=HORIZON_DAYS), alerts=AlertConfig(min_orders=10**6)
        )
        replay = Replay(config, self._keep)
        learner, self.seconds = replay.learner, 0.0
        assert learner is not None
        learn = learner.learn

        def timed(example: Example) -> Any:
            start = thread_time()
            published = learn(example)
            self.seconds += thread_time() - start
            return published

        learner.learn = timed  # type: ignore[method-assign]
        replay.run((1, orjson.dumps(message)) for message in cdnow.messages(sample))
        self.features = np.array([list(e.features.values()) for e in self.examples])
        self.asked = np.array([epoch_ms(e.asked_at) for e in self.examples])
        self.matured = np.array([epoch_ms(e.matured_at) for e in self.examples])
        self.label = np.array([e.label for e in self.examples])
        self.risk = np.array([e.risk for e in self.examples])
        self.customer = np.unique([e.customer_id for e in self.examples], return_inverse=True)[1]
        assert replay.first_ms is not None
        self.judged = self.asked >= replay.first_ms + 2 * HORIZON_DAYS * DAY_MS

    def _keep(self, decision: Decision) -> None:
        if decision.topic == EXAMPLES and isinstance(decision.payload, Example):
            self.examples.append(decision.payload)


def retrained(asked: Asked, make: Any) -> tuple[Any, float]:
    """Give the risks of a batch model, and its microseconds an example."""
    risk, start = np.full(len(asked.label), 0.5), perf_counter()
    for month in range(
        int(asked.asked[asked.judged].min() // RETRAIN_MS), int(asked.asked.max() // RETRAIN_MS) + 1
    ):
        known = asked.matured < month * RETRAIN_MS
        ask = (asked.asked >= month * RETRAIN_MS) & (asked.asked < (month + 1) * RETRAIN_MS)
        if ask.any():
            model = make().fit(asked.features[known], asked.label[known])
            risk[ask] = model.predict_proba(asked.features[ask])[:, 1]
    return np.clip(risk, 0.001, 0.999), (perf_counter() - start) / len(risk) * 1e6


def ece(risk: Any, label: Any) -> float:
    place = np.minimum(19, (risk * 20).astype(int))
    return float(np.abs(np.bincount(place, risk - label, 20)).sum() / len(risk))


def interval(asked: Asked, risk: Any) -> tuple[float, float]:
    """Give the 95 % interval of the served log loss less this one's, by drawing customers."""
    judged, rng = asked.judged, np.random.default_rng(1)
    label = asked.label[judged]
    loss = [-np.log(np.where(label == 1, p[judged], 1 - p[judged])) for p in (asked.risk, risk)]
    customer = asked.customer[judged]
    n = int(customer.max()) + 1
    sums, counts = np.bincount(customer, loss[0] - loss[1], n), np.bincount(customer, minlength=n)
    draws = [rng.integers(0, n, n) for _ in range(DRAWS)]
    low, high = np.quantile([sums[d].sum() / counts[d].sum() for d in draws], [0.025, 0.975])
    return float(low), float(high)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.quality", description=__doc__)
    parser.add_argument("--sample", choices=("all", "tenth"), default="tenth")
    parser.add_argument("--out", type=Path, help="a file to write the table to")
    arguments = parser.parse_args()
    asked = Asked(arguments.sample)
    rows = {"Holdfast, as served": (asked.risk, asked.seconds / len(asked.label) * 1e6)}
    rows |= {name: retrained(asked, make) for name, make in BATCH.items()}
    lines = [
        f"CDNOW, {arguments.sample}: {asked.judged.sum():,} judged of {len(asked.label):,} examples, "
        "horizon 84 days.",
        "",
        "| | AUC | log loss | calibration error | µs an example | served log loss less this one, 95 % |",
        "|---|---|---|---|---|---|",
    ]
    label = asked.label[asked.judged]
    for name, (risk, cost) in rows.items():
        judged = risk[asked.judged]
        low, high = interval(asked, risk)
        beside = "" if risk is asked.risk else f"{low:+.4f} to {high:+.4f}"
        quality = (
            f"{roc_auc_score(label, judged):.4f} | {log_loss(label, judged):.4f} | {ece(judged, label):.4f}"
        )
        lines.append(f"| {name} | {quality} | {cost:.0f} | {beside} |")
    print("\n".join(lines))
    if arguments.out:
        arguments.out.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
