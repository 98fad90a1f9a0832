"""The demo's last words: what happened, in sentences that can be checked against the topics.

Numbers that need care get their sentence: how many alerts were right is said of those that can be judged
only, and model quality is that of the risks as they were served, judged when their answers came.
"""

from __future__ import annotations

import shlex
import shutil
import sys
from pathlib import Path
from urllib.parse import quote

import msgspec
from rich.text import Text

from agents.live_view import Scene, day
from agents.settings import Settings
from agents.wording import counted, name_in_words
from streams.config import DAY_MS, days_ms

_MOST_FLOWS = 5


def summary(scene: Scene) -> Text:
    """Tell what happened, and what to try next.

    Parameters
    ----------
    scene
        The last one.
    """
    text = Text()
    _section(text, "What happened", [_orders(scene), *_alerts(scene)])
    flows = scene.tally.flows.most_common(_MOST_FLOWS)
    moved = [f"{count:>7,}  {name_in_words(a)} -> {name_in_words(b)}" for (a, b), count in flows]
    _section(text, f"Segments: {counted(scene.tally.changes, 'change')}, most often", moved or ["  none"])
    _section(text, "Model", [_model(scene)])
    own = program()
    _section(
        text,
        "What next",
        [
            f"{own} demo --serve   everything stays up to try things",
            f"{own} replay --help  the same machines over a file, no Kafka",
            "docs/guide.md: how to run it on your own topics",
        ],
    )
    return text


def _section(text: Text, title: str, lines: list[str]) -> None:
    text.append(f"\n{title}\n", "bold")
    for line in lines:
        text.append(f"{line}\n")


def _orders(scene: Scene) -> str:
    per_second = scene.processed / max(scene.seconds, 1e-9)
    return (
        f"{counted(scene.tally.customers, 'customer')} placed {counted(scene.processed, 'order')} from "
        f"{day(scene.first_ms)} to {day(scene.last_ms)}. They went through the broker and the worker in "
        f"{scene.seconds:.0f} s, start included ({per_second:,.0f} orders/s, paced so that the model learns "
        "as the months pass)."
    )


def _alerts(scene: Scene) -> list[str]:
    tally, horizon = scene.tally, f"{scene.horizon_days:g} days"
    steps, causes = tally.steps, tally.causes
    said = [
        f"{counted(steps['raised'], 'alert')} raised, {steps['escalated']:,} of them escalated. "
        f"{causes['ordered']:,} resolved because the customer came back, {causes['risk_fell']:,} because the "
        f"risk fell, {causes['lapsed']:,} lapsed after {scene.silent_days:g} days of silence; "
        f"{tally.open_alerts:,} still open."
    ]
    right, wrong, unknown = tally.judged(scene.last_ms, days_ms(scene.horizon_days))
    if right + wrong:
        said.append(
            f"Were they right? {counted(right + wrong + unknown, 'alert')} had {horizon} or more to show it: "
            f"{right:,} customers ({right / (right + wrong):.0%} of those known) did not order in that time, "
            f"{wrong:,} did, {unknown:,} cannot be told because the alert ended otherwise."
        )
    else:
        said.append(f"Whether they were right cannot be told: none is {horizon} old.")
    return said


def _model(scene: Scene) -> str:
    model = scene.tally.model
    if model is None:
        return "Nothing was learned: no answer has come."
    learned = f"{model.model_version} has learned from {counted(model.n_learned, 'answer')}."
    metrics = model.metrics
    if "auc" not in metrics or "log_loss" not in metrics:
        return f"{learned} None can be judged: that needs {2 * scene.horizon_days:g} days."
    return (
        f"{learned} Prequential quality over n = {metrics['n']:,.0f}: AUC {metrics['auc']:.3f}, log loss "
        f"{metrics['log_loss']:.3f}, ECE {metrics['ece']:.3f} at a churn rate of {metrics['churn_rate']:.1%}."
        f" Each risk is judged as it was served, {scene.horizon_days:g} days later."
    )


def serving(scene: Scene, settings: Settings, metrics_url: str) -> Text:
    """Say where everything is while it is kept running, and what to type.

    Parameters
    ----------
    scene
        The last one; the customer of an open alert can be made to come back.
    settings
        Of the worker.
    metrics_url
        Where it serves its metrics.
    """
    reach = f"{program()} --set kafka.bootstrap={settings.kafka.bootstrap}"
    if settings.topics.prefix:
        reach += f" --set topics.prefix={settings.topics.prefix}"
    text = Text("\nStill running, until Ctrl-C\n", "bold")
    if scene.console_url:
        text.append(f"console  {scene.console_url}\n")
    text.append(f"broker   {settings.kafka.bootstrap}\nmetrics  {metrics_url}\n")
    text.append("\nIn another terminal\n", "bold")
    text.append(f"{reach} watch churn-alerts --from-beginning --count 5\n{reach} topics\n{reach} watch\n")
    waiting = scene.tally.newest_open()
    if waiting is not None:
        text.append(f"\nWhile that watches, let customer {waiting.customer_id} come back\n", "bold")
        if scene.console_url:
            page = f"{scene.console_url}#/customers/{quote(waiting.customer_id, safe='')}"
            text.append(f"# and look at {page}\n")
        order = shlex.quote(_order_of(waiting.customer_id, scene.last_ms + DAY_MS))
        text.append(f"echo {order} | {reach} send -\n")
    return text


def _order_of(customer_id: str, time_ms: int) -> str:
    message = {
        "messageId": "demo-1",
        "type": "track",
        "event": "Order Completed",
        "userId": customer_id,
        "timestamp": f"{day(time_ms)}T00:00:00Z",
        "properties": {"order_id": "demo-1", "revenue": 20.0},
    }
    return msgspec.json.encode(message).decode()


def program() -> str:
    """Give what a person types to call this program again from where they are.

    Examples
    --------
    >>> program().endswith(("holdfast", "agents"))
    True
    """
    if shutil.which("holdfast"):
        return "holdfast"
    beside = Path(sys.executable).with_name("holdfast")
    if not beside.exists():
        return "python -m agents"
    return str(beside.relative_to(Path.cwd())) if beside.is_relative_to(Path.cwd()) else str(beside)
