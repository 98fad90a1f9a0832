"""A real Prometheus, from Debian's package, on a port of its own, that watches our workers."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import pytest
import yaml

from tests.live.harness import ROOT, until

RULES = sorted((ROOT / "deploy/prometheus/rules").glob("*.rules.yml"))
CONFIG = ROOT / "deploy/prometheus/prometheus.yml"


def needed(program: str) -> str:
    """Find a program; not to have it is a failure, because a test that is left out proves nothing."""
    path = shutil.which(program)
    if path is None:
        pytest.fail(
            f"{program} is not installed; on Debian: apt-get install --no-install-recommends prometheus"
        )
    return path


def free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


class Prometheus:
    """Runs our configuration as it is, but for where the worker is and how often it is asked.

    Parameters
    ----------
    folder
        Where it keeps what it reads and writes.
    targets
        Where workers serve their metrics, as host:port.
    """

    def __init__(self, folder: Path, targets: list[str]) -> None:
        config = yaml.safe_load(CONFIG.read_text(encoding="utf-8"))
        config["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
        config["rule_files"] = [str(path) for path in RULES]
        (job,) = config["scrape_configs"]
        del job["dns_sd_configs"]
        job["static_configs"] = [{"targets": targets}]
        (folder / "prometheus.yml").write_text(yaml.safe_dump(config), encoding="utf-8")
        self._folder = folder
        self._address = f"127.0.0.1:{free_port()}"
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        log = self._folder / "log"
        with log.open("wb") as out:
            self._process = subprocess.Popen(
                [
                    needed("prometheus"),
                    f"--config.file={self._folder / 'prometheus.yml'}",
                    f"--storage.tsdb.path={self._folder / 'series'}",
                    f"--web.listen-address={self._address}",
                ],
                stdout=out,
                stderr=subprocess.STDOUT,
            )
        until(self._answers, "Prometheus ready")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait(20)
        if error is not None:
            error.add_note((self._folder / "log").read_text(errors="replace")[-3000:])

    def _answers(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, (self._folder / "log").read_text(errors="replace")[-3000:]
        try:
            with urllib.request.urlopen(f"http://{self._address}/-/ready", timeout=5) as answer:
                return int(answer.status) == 200
        except (urllib.error.URLError, OSError):
            return False

    def ask(self, path: str, **given: str) -> Any:
        """Ask its API; give what is in `data`."""
        url = f"http://{self._address}/api/v1/{path}?{urllib.parse.urlencode(given)}"
        with urllib.request.urlopen(url, timeout=10) as answer:
            return json.load(answer)["data"]

    def values(self, query: str) -> list[float]:
        """Give the numbers that a query has now, without those that are none."""
        data = self.ask("query", query=query)
        assert data["resultType"] == "vector", query
        found = [float(sample["value"][1]) for sample in data["result"]]
        return [value for value in found if value == value]
