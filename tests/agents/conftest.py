"""A broker for the tests that need one: in memory, one for each module, topics of their own for each test."""

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
    with EmbeddedBroker() as broker:
        yield broker


@pytest.fixture(scope="module")
def broker(embedded_broker: EmbeddedBroker) -> str:
    """Where the broker answers, as host:port."""
    return embedded_broker.bootstrap


@pytest.fixture
def broker_settings(embedded_broker: EmbeddedBroker) -> Settings:
    """Settings for the broker with a topic prefix that no other test has."""
    overrides = embedded_broker.settings_overrides() | {"topics.prefix": f"t{next(_numbers)}."}
    return load(Path(os.devnull), {}, overrides)


@pytest.fixture
def no_broker() -> Settings:
    """Settings that lead to a port on which nothing listens."""
    return load(Path(os.devnull), {}, {"kafka.bootstrap": "127.0.0.1:1"})
