"""The bench commands that documents show exist, and know the options that are shown."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SHOWN = sorted(
    {
        line.partition("-m ")[2]
        for page in (ROOT / "docs").glob("*.md")
        for line in re.findall(r"^\S*python -m bench .*$", page.read_text(), re.M)
    }
)


def test_there_is_something_to_check() -> None:
    assert len(SHOWN) >= 6


@pytest.mark.parametrize("command", SHOWN)
def test_a_bench_that_a_document_shows_knows_its_options(command: str) -> None:
    words = command.split()
    asked = [sys.executable, "-m", "bench", *([] if words[1].startswith("-") else words[1:2]), "--help"]
    told = subprocess.run(asked, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for option in (word for word in words[1:] if word.startswith("--")):
        assert option in told, option
