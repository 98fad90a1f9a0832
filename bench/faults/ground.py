"""What the rows stand on: a broker, a way to it that can be disturbed, settings, a frozen model."""

from __future__ import annotations

import sys
import tempfile
from contextlib import ExitStack
from itertools import chain
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import orjson

from agents.cluster import create_missing
from agents.settings import Settings
from bench.faults.proxy import Proxy
from bench.faults.workload import cdnow_tenth
from deploy.kafka.local import LocalKafka
from schemas.codec import encode
from schemas.learning import ModelSnapshot
from streams.config import StreamConfig
from streams.replay import Replay
from tests.live.harness import own_settings

PARTITIONS = 4
HORIZON_DAYS = 28.0
RAISE_AT = 0.75
_TRAINED_ON = 150


def frozen_model(config: StreamConfig) -> ModelSnapshot:
    """A model that has seen some customers to their end; frozen, so that every run says the same."""
    by_customer: dict[str, list[bytes]] = {}
    for line in cdnow_tenth():
        by_customer.setdefault(orjson.loads(line)["userId"], []).append(line)
    chosen = set(chain.from_iterable(by_customer[customer] for customer in sorted(by_customer)[:_TRAINED_ON]))
    replay = Replay(config, sink=lambda _: None)
    replay.run((1, line) for line in cdnow_tenth() if line in chosen)
    assert replay.learner is not None
    return replay.learner.snapshot()


class Ground:
    """One Apache Kafka for all rows; a context manager that starts and stops it.

    Attributes
    ----------
    kafka
        The broker; rows may stop and start it, and leave it running.
    proxy
        The way to the broker for those who come by it.
    model_file, model
        What workers and oracle serve.
    """

    def __init__(self) -> None:
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        self.proxy = self._stack.enter_context(Proxy())
        self.kafka = self._stack.enter_context(
            LocalKafka(listener={"protocol": "PLAINTEXT"}, advertised_ports=[self.proxy.port])
        )
        self.proxy.leads_to(self.kafka.client_ports[0])
        self.folder = Path(self._stack.enter_context(tempfile.TemporaryDirectory(prefix="holdfast-faults-")))
        self.model = frozen_model(self.settings().streams)
        self.model_file = self.folder / "models.jsonl"
        self.model_file.write_bytes(encode(self.model))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def restore(self) -> None:
        """Put right what a row may have left behind when it broke."""
        self.proxy.delay_seconds, self.proxy.swallow = 0.0, False
        self.kafka.start()

    def settings(self, **given: Any) -> Settings:
        """Settings with topics and a group of their own; `a__b=1` stands for a.b."""
        usual = {
            "topics__partitions": PARTITIONS,
            "worker__agents": "customers",
            "reviews__horizon_days": HORIZON_DAYS,
            "alerts__raise_at": RAISE_AT,
        }
        return own_settings(self.kafka.settings_overrides(), **{**usual, **given})

    def topics(self, **given: Any) -> Settings:
        """Settings like `settings`, and the topics they name."""
        settings = self.settings(**given)
        create_missing(settings)
        return settings


def say(text: str) -> None:
    """Tell the person who waits what goes on."""
    print(f"  {text}", file=sys.stdout, flush=True)
