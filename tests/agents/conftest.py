"""Settings that lead to the broker of the tests, with topics of their own for each test, or to none."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from agents.broker import EmbeddedBroker
from agents.settings import Settings, load

_numbers = itertools.count()


@pytest.fixture(scope="module")
def embedded_broker() -> Iterator[EmbeddedBroker]:
    """An embedded broker, whatever else the tests run against."""
    with EmbeddedBroker() as broker:
        yield broker


@pytest.fixture
def broker(live_broker: dict[str, object]) -> str:
    """Where the broker answers, as host:port."""
    return str(live_broker["kafka.bootstrap"])


@pytest.fixture
def broker_settings(live_broker: dict[str, object]) -> Settings:
    """Settings for the broker with a topic prefix that no other test has."""
    overrides = live_broker | {"topics.prefix": f"t{os.getpid()}-{next(_numbers)}."}
    return load(Path(os.devnull), {}, overrides)


@pytest.fixture
def no_broker() -> Settings:
    """Settings that lead to a port on which nothing listens."""
    return load(Path(os.devnull), {}, {"kafka.bootstrap": "127.0.0.1:1"})
