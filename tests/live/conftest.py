"""A broker for workers to run against."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from agents.broker import EmbeddedBroker


@pytest.fixture(scope="session")
def live_broker() -> Iterator[dict[str, object]]:
    """Settings overrides that lead to a running broker."""
    with EmbeddedBroker() as broker:
        yield broker.settings_overrides()
