"""The demo: a real shop's orders through a real broker and a real worker, on one machine, in about a minute.

It is the whole of Holdfast and nothing else: a broker in memory, a worker and a console as they would run in
production, orders sent in event-time order (`demo_ends`), and a reader of the output topics who knows no
more than any consumer could. It is over when all that was sent has been decided about and all that was said
has been read, which the worker's own counters tell. Where nobody looks on it ends then by itself.
"""

from __future__ import annotations

import shutil
import socket
import tempfile
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from rich.console import Console

from agents.broker import EmbeddedBroker
from agents.cluster import create_missing
from agents.demo_ends import Feed, Reader, Sender
from agents.demo_summary import serving, summary
from agents.errors import OperatorError
from agents.live_view import Scene, Show, live, plain_lines
from agents.settings import Settings
from agents.tally import Tally
from agents.worker_process import ConsoleProcess, Counters, WorkerEndedError, WorkerProcess
from schemas.topics import CHURN_ALERTS, EXAMPLES, SEGMENT_CHANGES
from streams.config import SECOND_MS

_POLL_SECONDS = 0.1
_RATE_SECONDS = 5.0

INSISTED: dict[str, object] = {
    "web.host": "127.0.0.1",
    "console.host": "127.0.0.1",
    "console.token": "",
    "console.token_file": "",
    "worker.agents": ("customers", "learner"),
}
"""Settings that the demo cannot do without, besides those for its broker."""

Configure = Callable[[Mapping[str, object]], Settings]


class Options(NamedTuple):
    """How the demo is shown, and how many seconds it may take."""

    plain: bool = False
    serve: bool = False
    timeout: float = 600.0


def run(
    configure: Configure,
    messages: Callable[[], Iterable[Mapping[str, Any]]],
    console: Console,
    options: Options,
) -> Tally:
    """Run the demo to its end.

    Parameters
    ----------
    configure
        Makes settings of the overrides that the demo insists on.
    messages
        Gives the messages to send, in event-time order.
    console
        Where to show it.
    options
        How to show it.

    Returns
    -------
    Tally
        What came out.

    Raises
    ------
    OperatorError
        When the broker cannot be had, the worker ends, or time is up.
    """
    deadline = time.monotonic() + options.timeout
    began = time.monotonic()
    with ExitStack() as stack:
        folder = stack.enter_context(_folder())
        broker = stack.enter_context(EmbeddedBroker())
        ports = {"web.port": _free_port(), "console.port": _free_port()}
        settings = configure(broker.settings_overrides() | INSISTED | ports)
        create_missing(settings)
        worker = stack.enter_context(WorkerProcess(settings, folder))
        page = stack.enter_context(ConsoleProcess(settings, folder))
        feed = Feed.of(messages())
        reader = Reader(settings)
        stack.callback(reader.stop)
        sender = Sender(settings, feed)
        stack.callback(sender.stop)
        reader.start()
        with (plain_lines if options.plain else live)(console) as show:
            stage = _Stage(settings, feed, broker, worker, page, sender, reader, show, began)
            stage.play(deadline)
        scene = stage.scene()
        console.print(summary(scene))
        if options.serve:
            sender.stop()
            reader.stop()
            console.print(serving(scene, settings, worker.metrics_url), soft_wrap=True)
            _wait(worker, page, broker)
        console.print("Stopping console, worker and broker.")
    return scene.tally


class _Stage:
    """The parts while they play together."""

    def __init__(
        self,
        settings: Settings,
        feed: Feed,
        broker: EmbeddedBroker,
        worker: WorkerProcess,
        page: ConsoleProcess,
        sender: Sender,
        reader: Reader,
        show: Show,
        began: float,
    ) -> None:
        self._settings = settings
        self._feed = feed
        self._broker = broker
        self._worker = worker
        self._page = page
        self._sender = sender
        self._reader = reader
        self._show = show
        self._began = began
        self._tally = Tally()
        self._counters = Counters(0, {}, 0, 0, 0, None)
        self._over = False
        self._history: deque[tuple[float, int, int]] = deque()  # when, processed, learned

    def play(self, deadline: float) -> None:
        """Wait for the worker, send everything, and show it until all has been decided and read."""
        while not self._poll(deadline) or self._counters.recovered < self._settings.topics.partitions:
            pass
        self._sender.start()
        quiet = 0
        while quiet < 2:  # a counter may be a moment ahead of the next: what is done stays done
            before = self._counters
            answered = self._poll(deadline)
            quiet = quiet + 1 if answered and self._complete() and self._counters == before else 0
        self._over = True
        self._show(self.scene())

    def _poll(self, deadline: float) -> bool:
        """Look at everything once; True when the worker answered."""
        time.sleep(_POLL_SECONDS)
        if not self._broker.running:
            raise _broker_ended(self._broker)
        self._worker.check()
        self._page.check()
        counters = self._worker.counters()
        if counters is not None:
            self._counters = counters
            self._sender.follow(counters)
        for topic, value in self._reader.take():
            self._tally.take(topic, value)
        self._remember()
        self._show(self.scene())
        if time.monotonic() > deadline:
            scene = self.scene()
            raise OperatorError(
                f"not done in time: {scene.processed:,} of {scene.total:,} orders processed, "
                f"{scene.learned:,} examples learned; --timeout gives it longer"
            )
        return counters is not None

    def _complete(self) -> bool:
        counters, read, said = self._counters, self._tally.read, self._counters.said
        learned = self._tally.model.n_learned if self._tally.model else 0
        return (
            self._sender.sent == len(self._feed.lines)
            and counters.processed >= self._sender.sent
            and counters.settled >= said.get(EXAMPLES, 0)
            and learned >= counters.learned
            and all(read[topic] >= said.get(topic, 0) for topic in (CHURN_ALERTS, SEGMENT_CHANGES))
        )

    def _remember(self) -> None:
        now = time.monotonic()
        self._history.append((now, self._counters.processed, self._counters.learned))
        while self._history[0][0] < now - _RATE_SECONDS:
            self._history.popleft()

    def scene(self) -> Scene:
        """What there is to see now."""
        counters, times_ms = self._counters, self._feed.times_ms
        first, last = self._history[0], self._history[-1]
        span = max(last[0] - first[0], _POLL_SECONDS)
        return Scene(
            tally=self._tally,
            horizon_days=self._settings.reviews.horizon_days,
            silent_days=self._settings.reviews.silent_days,
            first_ms=times_ms[0],
            last_ms=times_ms[-1],
            reached_ms=times_ms[-1] if self._over else self._reached_ms(),
            processed=counters.processed,
            sent=self._sender.sent,
            total=len(times_ms),
            learned=counters.learned,
            processed_per_second=(last[1] - first[1]) / span,
            learned_per_second=(last[2] - first[2]) / span,
            seconds=time.monotonic() - self._began,
            ready=counters.recovered >= self._settings.topics.partitions,
            over=self._over,
            console_url=self._page.url,
        )

    def _reached_ms(self) -> int:
        """The newest event time of the slowest partition: its watermark, and the lateness it allows."""
        times_ms, watermark_ms = self._feed.times_ms, self._counters.watermark_ms
        if watermark_ms is None:
            return times_ms[0]
        lateness_ms = int(self._settings.time.allowed_lateness_seconds * SECOND_MS) + 1
        return min(max(watermark_ms + lateness_ms, times_ms[0]), times_ms[-1])


def _wait(worker: WorkerProcess, page: ConsoleProcess, broker: EmbeddedBroker) -> None:
    """Keep everything running until somebody stops it."""
    try:
        while not broker.wait(0.5):
            worker.check()
            page.check()
    except KeyboardInterrupt:
        return
    raise _broker_ended(broker)


def _broker_ended(broker: EmbeddedBroker) -> OperatorError:
    return OperatorError(f"the broker at {broker.bootstrap} ended by itself")


@contextmanager
def _folder() -> Iterator[Path]:
    """Make a folder for the worker; it stays when the worker failed, because its log is in it."""
    folder = Path(tempfile.mkdtemp(prefix="holdfast-demo-"))
    try:
        yield folder
    except WorkerEndedError:
        raise
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    shutil.rmtree(folder, ignore_errors=True)


def _free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])
