"""The broker that tests run against: the embedded one, or the one that HOLDFAST_TEST_BROKER names."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from agents.broker import EmbeddedBroker


@pytest.fixture(scope="session")
def live_broker() -> Iterator[dict[str, object]]:
    """Settings overrides that lead to a running broker.

    The same tests run on both: `make test` has the embedded broker, `make test-kafka` Apache Kafka.
    """
    bootstrap = os.environ.get("HOLDFAST_TEST_BROKER")
    if bootstrap:
        yield {"kafka.bootstrap": bootstrap}
        return
    with EmbeddedBroker() as broker:
        yield broker.settings_overrides()
