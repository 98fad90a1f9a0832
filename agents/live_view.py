"""What the demo looks like while it runs: one screen that a person can take in, or a line now and then.

The screen fits a terminal of 80 by 24 and uses what a larger one has: more alerts, longer reasons, the
moves between segments. A reason is shown whole or not at all. Colours are those that any terminal's own
theme has chosen to be readable on its background; nothing is said by colour alone.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

from rich.console import Console, Group, RenderableType
from rich.constrain import Constrain
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from agents.explanations import NONE_STANDS_OUT, why_alert
from agents.tally import LATEST, Tally
from agents.wording import CAUSE_WORDS, name_in_words
from schemas.codec import utc
from streams.customer.rfm import RFM_NAMES

FRAME_SECONDS = 0.2
LINE_SECONDS = 3.0

_WIDEST = 120
_WIDE = 104
_MOST_FLOWS = 5
_FEWEST_ALERTS = 2
_ROWS_BESIDE_ALERTS = 17  # everything but the alerts where moves have no room: headings, counts, segments
_STATE_STYLE = {"raised": "magenta", "escalated": "bold red", "resolved": "green"}
_BEST_FIRST = tuple(reversed(RFM_NAMES))


class Scene(NamedTuple):
    """What there is to show at one moment.

    Attributes
    ----------
    first_ms, last_ms, reached_ms
        Event times: where the orders begin and end, and how far the slowest partition is.
    processed, sent, total
        Orders.
    learned
        Examples.
    seconds
        Wall time since the beginning.
    ready
        Whether the worker has joined its group.
    over
        Whether everything has been decided and read.
    console_url
        Where the console is served; empty when it is not.
    """

    tally: Tally
    horizon_days: float
    silent_days: float
    first_ms: int
    last_ms: int
    reached_ms: int
    processed: int
    sent: int
    total: int
    learned: int
    processed_per_second: float
    learned_per_second: float
    seconds: float
    ready: bool
    over: bool
    console_url: str = ""


Show = Callable[[Scene], None]


@contextmanager
def live(console: Console) -> Iterator[Show]:
    """Show scenes in place, at most five a second; the last one stays.

    Parameters
    ----------
    console
        A terminal.

    Yields
    ------
    callable
        Takes a scene; may be called as often as there is something to show.
    """
    with Live(console=console, auto_refresh=False, vertical_overflow="crop") as display:
        shown_at = 0.0

        def show(scene: Scene) -> None:
            nonlocal shown_at
            if scene.over or time.monotonic() - shown_at >= FRAME_SECONDS:
                shown_at = time.monotonic()
                display.update(view(scene, console.width, console.height), refresh=True)

        yield show


@contextmanager
def plain_lines(console: Console) -> Iterator[Show]:
    """Show scenes as a line every few seconds, for logs.

    Parameters
    ----------
    console
        Where to; need not be a terminal.

    Yields
    ------
    callable
        Takes a scene; may be called as often as there is something to show.
    """
    said_at = time.monotonic()
    told = False
    console.print("Starting a broker and a worker; the worker joins its consumer group first.")

    def show(scene: Scene) -> None:
        nonlocal said_at, told
        if scene.console_url and not told:
            told = True
            console.print(f"Console: {scene.console_url}", soft_wrap=True)
        if scene.ready and (scene.over or time.monotonic() - said_at >= LINE_SECONDS):
            said_at = time.monotonic()
            console.print(plain_line(scene), soft_wrap=True)

    yield show


def plain_line(scene: Scene) -> str:
    """Tell a scene in one line."""
    steps, causes = scene.tally.steps, scene.tally.causes
    return (
        f"{day(scene.reached_ms)}  {scene.processed:,} of {scene.total:,} orders, "
        f"{scene.learned:,} examples learned, {steps['raised']:,} alerts raised, "
        f"{causes['ordered']:,} came back; {quality(scene)}"
    )


def view(scene: Scene, width: int, height: int) -> RenderableType:
    """Lay a scene out for a terminal.

    Parameters
    ----------
    scene
        What to show.
    width, height
        Columns and rows of the terminal.

    Returns
    -------
    rich.console.RenderableType
        No higher than the terminal where that has 20 rows, and no wider where it has 80 columns.
    """
    width = min(width, _WIDEST)
    moves = _moves(scene.tally)
    beside = width >= _WIDE
    room = height - 1 - _ROWS_BESIDE_ALERTS
    below = not beside and room - (_MOST_FLOWS + 1) >= 6
    if below:
        room -= _MOST_FLOWS + 1
    alerts = max(_FEWEST_ALERTS, min(room, LATEST if height > 40 else 6))
    parts: list[RenderableType] = [
        _title(scene),
        _progress(scene, width),
        _counts(scene),
        _heading("Latest alerts"),
        _alerts(scene.tally, width, alerts),
        _heading(f"Segments of {scene.tally.customers:,} customers after {scene.tally.changes:,} changes"),
    ]
    if beside:
        pair = Table.grid(padding=(0, 6, 0, 0))
        pair.add_row(_sizes(scene.tally), moves)
        parts.append(pair)
    else:
        parts.append(_sizes(scene.tally))
    if below:
        parts += [_heading("Most frequent moves"), moves]
    return Constrain(Group(*parts), width)


def day(time_ms: int) -> str:
    """Give the date of an event time."""
    return utc(time_ms).strftime("%Y-%m-%d")


def quality(scene: Scene) -> str:
    """Give the prequential quality of the newest model, or say why there is none yet."""
    metrics = scene.tally.model.metrics if scene.tally.model else {}
    names = {"AUC": "auc", "log loss": "log_loss", "ECE": "ece"}
    if not all(name in metrics for name in names.values()):
        return f"model quality needs {2 * scene.horizon_days:g} days: two horizons"
    parts = [f"{title} {metrics[name]:.3f}" for title, name in names.items()]
    return ", ".join([*parts, f"churn rate {metrics['churn_rate']:.0%}", f"n {metrics['n']:,.0f}"])


def _title(scene: Scene) -> Text:
    title = Text("Holdfast", "bold").append(
        " on the real orders of CDNOW, an online shop for CDs\n", "not bold"
    )
    span = f"{day(scene.first_ms)} to {day(scene.last_ms)}"
    return title.append(
        f"{span} (Fader & Hardie); leaving is no order within {scene.horizon_days:g} days", "dim"
    )


def _progress(scene: Scene, width: int) -> RenderableType:
    if not scene.ready:
        return Text(f"starting a worker: it joins its consumer group ... {scene.seconds:.0f} s", "bold")
    span_ms = max(scene.last_ms - scene.first_ms, 1)
    done = 1.0 if scene.over else min((scene.reached_ms - scene.first_ms) / span_ms, 0.99)
    line = Table.grid(padding=(0, 2, 0, 0))
    bar = ProgressBar(
        total=1.0,
        completed=done,
        width=width - 28,
        style="dim",
        complete_style="green",
        finished_style="green",
    )
    line.add_row(Text(day(scene.reached_ms), "bold"), bar, f"{done:4.0%}", f"{scene.seconds:3.0f} s")
    return line


def _counts(scene: Scene) -> Table:
    tally, model = scene.tally, scene.tally.model
    steps, causes = tally.steps, tally.causes
    resolved = ", ".join(
        f"{causes[cause]:,} {CAUSE_WORDS[cause]}" for cause in ("ordered", "risk_fell", "lapsed")
    )
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(style="dim")
    if scene.console_url:
        table.add_row("console", Text(scene.console_url, "bold underline"))
    table.add_row(
        "orders",
        f"{scene.processed:,} processed of {scene.sent:,} sent, {scene.processed_per_second:,.0f}/s",
    )
    version = f", model {model.model_version}" if model else ""
    table.add_row(
        "answers", f"{scene.learned:,} examples learned, {scene.learned_per_second:,.0f}/s{version}"
    )
    table.add_row("quality", quality(scene))
    table.add_row("alerts", f"{steps['raised']:,} raised, {steps['escalated']:,} escalated")
    table.add_row("resolved", f"{steps['resolved']:,}: {resolved}")
    return table


def _heading(words: str) -> Rule:
    return Rule(Text(words, "bold"), align="left", style="dim")


def _alerts(tally: Tally, width: int, rows: int) -> Table:
    latest = sorted(list(tally.latest)[-rows:], key=lambda alert: alert.event_time)[::-1]
    customers = max([8, *(min(len(alert.customer_id), 12) for alert in latest)])
    room = width - (10 + customers + 9 + 4 + 7 + 5 * 2)
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="dim")
    table.add_column("date", width=10)
    table.add_column("customer", width=customers, no_wrap=True)
    table.add_column("alert", width=9)
    table.add_column("risk", width=4, justify="right")
    table.add_column("at risk", width=7, justify="right")
    table.add_column("why", width=room, no_wrap=True)
    for alert in latest:
        table.add_row(
            alert.event_time.strftime("%Y-%m-%d"),
            Text(alert.customer_id, "bold"),
            Text(alert.state, _STATE_STYLE[alert.state]),
            f"{alert.risk:.0%}",
            f"${alert.value_at_risk:,.0f}",
            _fitted(why_alert(alert), room),
        )
    for _ in range(rows - len(latest)):
        table.add_row("")
    return table


def _fitted(phrases: list[str], width: int) -> str:
    """Join as many phrases as fit, each of them whole."""
    line = ""
    for phrase in phrases:
        longer = f"{line}, {phrase}" if line else phrase
        if len(longer) <= width:
            line = longer
    return line or NONE_STANDS_OUT


def _sizes(tally: Tally) -> Table:
    """The ten segments in two columns, the best first."""
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(width=19)
    table.add_column(width=7, justify="right")
    table.add_column(width=2)
    table.add_column(width=19)
    table.add_column(width=7, justify="right")
    half = len(_BEST_FIRST) // 2
    for left, right in zip(_BEST_FIRST[:half], _BEST_FIRST[half:], strict=True):
        cells = [(name_in_words(name), f"{tally.sizes[name]:,}") for name in (left, right)]
        table.add_row(*cells[0], "", *cells[1])
    return table


def _moves(tally: Tally) -> Table:
    """The most frequent moves from one segment to another."""
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(justify="right", width=7)
    table.add_column(no_wrap=True)
    for (previous, current), count in tally.flows.most_common(_MOST_FLOWS):
        table.add_row(f"{count:,}", f"{name_in_words(previous)} -> {name_in_words(current)}")
    for _ in range(_MOST_FLOWS - len(tally.flows)):
        table.add_row("")
    return table
