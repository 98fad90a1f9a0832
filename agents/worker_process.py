"""A worker, or a console, as a child process, watched from outside: its end, its log, its metrics.

The child gets its settings as a file in a folder of its own and none from the environment, so it runs
with exactly the settings that its parent has. It leads a session of its own, so that Ctrl-C reaches the
parent, which then ends it in the right order; on Linux the kernel ends it when the parent dies.
"""

from __future__ import annotations

import http.client
import os
import re
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self

from prometheus_client.parser import text_string_to_metric_families

from agents.broker import die_with_parent
from agents.errors import OperatorError
from agents.settings import Settings, settings_toml
from schemas.topics import EXAMPLES

STOP_SECONDS = 10.0
"""How long a worker may take to seal its work and leave."""

_ANSWER_SECONDS = 5.0
_SHOWN = 300
_TERMINAL_CODE = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
_TELLING = re.compile(r"^(holdfast: |([A-Za-z_]\w*\.)*[A-Z]\w*(Error|Exception|Absent)\b)")
_ROOT = Path(__file__).parent.parent


class WorkerEndedError(OperatorError):
    """The process is gone, or did not go when it should."""


class Counters(NamedTuple):
    """What a worker has done so far.

    Attributes
    ----------
    processed
        Input records, whatever became of them.
    said
        Messages said, by topic.
    learned
        Examples learned; `settled` counts those repeated or refused as well.
    recovered
        Partitions that have been taken over.
    watermark_ms
        Event time that the slowest partition with any records has reached; None before the first.
    """

    processed: int
    said: dict[str, int]
    learned: int
    settled: int
    recovered: int
    watermark_ms: int | None


def counters_of(exposition: str, examples: str = EXAMPLES) -> Counters:
    r"""Read a worker's counters from what it serves at `/metrics`.

    Parameters
    ----------
    exposition
        Prometheus' text format.
    examples
        Name of the examples topic on the cluster.

    Examples
    --------
    >>> counters_of(
    ...     "# TYPE holdfast_records counter\n"
    ...     'holdfast_records_total{topic="orders",outcome="applied"} 7.0\n'
    ...     'holdfast_records_total{topic="orders",outcome="dead"} 1.0\n'
    ... ).processed
    8
    """
    processed = learned = repeated = refused = recovered = 0
    said: dict[str, int] = {}
    watermarks: list[float] = []
    for family in text_string_to_metric_families(exposition):
        for sample in family.samples:
            match sample.name:
                case "holdfast_records_total":
                    processed += int(sample.value)
                case "holdfast_decisions_total":
                    said[sample.labels["topic"]] = int(sample.value)
                case "holdfast_learned_examples_total":
                    learned = int(sample.value)
                case "holdfast_repeated_examples_total":
                    repeated = int(sample.value)
                case "holdfast_dead_letters_total" if sample.labels["topic"] == examples:
                    refused += int(sample.value)
                case "holdfast_recovery_seconds":
                    recovered += 1
                case "holdfast_watermark_seconds" if sample.value > 0.0:
                    watermarks.append(sample.value)
    watermark_ms = round(1000.0 * min(watermarks)) if watermarks else None
    return Counters(processed, said, learned, learned + repeated + refused, recovered, watermark_ms)


class ChildProcess:
    """One command of this program that runs until it is stopped; a context manager that starts and ends it.

    Start it from the main thread: its end is tied to the thread that started it.

    Parameters
    ----------
    command
        Such as `worker`.
    settings
        All of them.
    folder
        Where it works and logs; it must be there.
    """

    def __init__(self, command: str, settings: Settings, folder: Path) -> None:
        self.log = folder / f"{command}.log"
        self._command = command
        self._settings = settings
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self.stop()
        else:
            self.kill()

    def start(self) -> None:
        """Start the process; it takes some seconds until it has joined its group."""
        file = self._folder / f"{self._command}.toml"
        _write_for_us_alone(file, settings_toml(self._settings, secrets=True))
        surroundings = {name: value for name, value in os.environ.items() if not name.startswith("HOLDFAST_")}
        paths = [surroundings.get("PYTHONPATH", ""), str(_ROOT)]  # a caller may want the compiled hot path
        surroundings |= {
            "PYTHONPATH": os.pathsep.join(path for path in paths if path),
            "PYTHONUNBUFFERED": "1",
            "TMPDIR": str(self._folder),  # what it leaves behind goes with the folder
        }
        with self.log.open("wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "agents", "--config", str(file), self._command],
                cwd=self._folder,
                env=surroundings,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=die_with_parent(),
            )

    @property
    def pid(self) -> int:
        """The number of the process."""
        if self._process is None:
            raise RuntimeError(f"this {self._command} has not been started")
        return self._process.pid

    def check(self) -> None:
        """Do nothing while the process runs.

        Raises
        ------
        WorkerEndedError
            When it has ended, with the end of its log.
        """
        if self._process is not None and self._process.poll() is not None:
            raise WorkerEndedError(
                f"the {self._command} ended by itself, {_way_out(self._process.returncode)}: "
                f"{self.last_words()} (whole log: {self.log})"
            )

    def stop(self) -> None:
        """Let the process finish its work and leave; a second call does nothing.

        Raises
        ------
        WorkerEndedError
            When it leaves with an error, or not within ten seconds.
        """
        process, self._process = self._process, None
        if process is None:
            return
        process.terminate()
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise WorkerEndedError(
                f"the {self._command} did not leave within {STOP_SECONDS:g} s (whole log: {self.log})"
            ) from None
        if process.returncode:
            raise WorkerEndedError(
                f"the {self._command} did not leave in order, {_way_out(process.returncode)}: "
                f"{self.last_words()} (whole log: {self.log})"
            )

    def kill(self) -> None:
        """End the process at once: something else went wrong, and nobody needs what it has."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait()

    def last_words(self) -> str:
        """Give the line of the log that says most: the last error in it, else its last line."""
        return last_words(self.log.read_text(encoding="utf-8", errors="replace"))


class WorkerProcess(ChildProcess):
    """A worker, which can be asked for its counters.

    Parameters
    ----------
    settings
        All of them; `web.host` and `web.port` say where it will serve its metrics.
    folder
        Where it works and logs; it must be there.
    """

    def __init__(self, settings: Settings, folder: Path) -> None:
        super().__init__("worker", settings, folder)
        self.metrics_url = f"http://{settings.web.host}:{settings.web.port}/metrics"
        self._examples = settings.topic(EXAMPLES)

    def counters(self) -> Counters | None:
        """Ask the worker for its counters; None when it does not answer, as before it is up."""
        try:
            with urllib.request.urlopen(self.metrics_url, timeout=_ANSWER_SECONDS) as answer:
                exposition = answer.read().decode()
        except (urllib.error.URLError, OSError, http.client.HTTPException):
            return None
        return counters_of(exposition, self._examples)


class ConsoleProcess(ChildProcess):
    """A console.

    Parameters
    ----------
    settings
        All of them; `console.host` and `console.port` say where it will serve its page.
    folder
        Where it works and logs; it must be there.
    """

    def __init__(self, settings: Settings, folder: Path) -> None:
        super().__init__("console", settings, folder)
        self.url = f"http://{settings.console.host}:{settings.console.port}/"


def last_words(log: str) -> str:
    r"""Find the line of a log that says why a program ended.

    Examples
    --------
    >>> last_words("started\nTraceback ...\nKeyError: 'x'\n  File a.py in run\n")
    "KeyError: 'x'"
    >>> last_words("started\n\n")
    'started'
    >>> last_words("")
    'its log is empty'
    """
    lines = [line.strip() for line in _TERMINAL_CODE.sub("", log).splitlines() if line.strip()]
    telling = [line for line in lines if _TELLING.match(line)] or lines or ["its log is empty"]
    return telling[-1].removeprefix("holdfast: ")[:_SHOWN]


def _write_for_us_alone(file: Path, text: str) -> None:
    """Write a file that may hold a password: nobody else may read it, not even for a moment."""
    file.unlink(missing_ok=True)
    with open(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as out:
        out.write(text)


def _way_out(code: int) -> str:
    return f"by signal {-code}" if code < 0 else f"with exit code {code}"
