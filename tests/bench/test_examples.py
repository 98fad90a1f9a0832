"""The examples in the benches' own documentation run."""

from __future__ import annotations

import doctest
import importlib

import pytest

MODULES = ("__main__", "figures", "peers", "plan", "scale", "triggers", "workload")


@pytest.mark.parametrize("name", MODULES)
def test_examples_of_a_bench_say_the_truth(name: str) -> None:
    failed, attempted = doctest.testmod(importlib.import_module(f"bench.{name}"))
    assert attempted > 0
    assert failed == 0
