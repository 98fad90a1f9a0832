"""The compiled hot path decides what its sources decide, and it is what runs where it is asked for."""

from __future__ import annotations

import os
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
COMPILED = ROOT / "build" / "compiled"

pytestmark = pytest.mark.compiled


def decided(*paths: Path) -> list[str]:
    given = os.environ | {"PYTHONPATH": os.pathsep.join(map(str, paths))}
    command = [sys.executable, str(ROOT / "tests" / "compiled" / "decide.py")]
    done = subprocess.run(command, env=given, capture_output=True, text=True, check=True, cwd="/")
    return done.stdout.splitlines()


def test_every_module_of_the_hot_path_is_compiled_and_belongs_to_its_source() -> None:
    for module in runpy.run_path(str(ROOT / "setup.py"))["HOT_PATH"]:
        assert list((COMPILED / module).parent.glob(f"{Path(module).stem}.*.so")), module
        assert (COMPILED / module).read_bytes() == (ROOT / module).read_bytes(), f"{module} has changed since"


def test_decisions_and_states_are_the_same_to_the_last_byte() -> None:
    compiled, interpreted = decided(COMPILED), decided(ROOT)
    assert compiled[0].endswith(".so")
    assert interpreted[0].endswith("machine.py")
    assert compiled[1:] == interpreted[1:]
