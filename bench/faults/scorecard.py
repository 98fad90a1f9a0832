"""The table of results: printed, and kept as `docs/scorecard.md`."""

from __future__ import annotations

import os
import platform
import re
import subprocess
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from bench.faults.registry import Result

ROOT = Path(__file__).resolve().parents[2]
FILE = ROOT / "docs" / "scorecard.md"

_HEAD = """# Scorecard

Written by `python -m bench.faults`, which runs every row against real workers on Apache Kafka. What each row
does is in `bench/faults/`; `python -m bench.faults 3 7` runs rows 3 and 7 alone, `--seed` repeats a run.

L/D/O counts messages lost, visible duplicates after dropping repeats by id, and customers whose messages are
out of order, against a single-threaded fold over the same input. The controls run a stock Faust program
(`bench/faults/stock.py`) through the same faults, and must fail: a harness that cannot fail proves nothing.
"""


def verdict(result: Result) -> str:
    """Say in a word how a row went; a control has done its work when the stock program failed."""
    if result.row.label.startswith("control"):
        return "fails, as it must" if result.passed else "**DID NOT FAIL**"
    return "pass" if result.passed else "**FAIL**"


def table(results: Sequence[Result]) -> str:
    """Make the Markdown table."""
    lines = ["| # | test | must | result | measured | seed | s |", "|---|---|---|---|---|---|---|"]
    return "\n".join([*lines, *map(line, results)]) + "\n"


def line(result: Result) -> str:
    """Make one line of the table."""
    row, measured = result.row, result.measured.replace("|", "\\|")
    return (
        f"| {row.label} | {row.name} | {row.criterion} | {verdict(result)} | {measured} | "
        f"{result.seed} | {result.seconds:.0f} |"
    )


def replace(results: Sequence[Result]) -> None:
    """Put rows that were run again in the place of what the document says of them, and say so."""
    text = FILE.read_text(encoding="utf-8")
    for result in results:
        begin = re.escape(f"| {result.row.label} | ")
        text, found = re.subn(f"(?m)^{begin}.*$", lambda _, r=result: line(r), text)
        if not found:
            raise ValueError(f"docs/scorecard.md has no row {result.row.label}")
    of = re.findall(r"(?m)^\| \d+ \|.*?\| (pass|\*\*FAIL\*\*) \|", text)
    text = re.sub(r"\*\*\d+ of \d+ rows pass", f"**{of.count('pass')} of {len(of)} rows pass", text)
    labels = ", ".join(result.row.label for result in results)
    again = f"Run again alone, {datetime.now(UTC):%Y-%m-%d}, commit {commit()}: {labels}.\n"
    FILE.write_text(text.replace("\n\n| # |", f"\n{again}\n| # |", 1), encoding="utf-8")


def write(results: Sequence[Result], kafka: str, seconds: float) -> None:
    """Write the document."""
    rows = [result for result in results if not result.row.label.startswith("control")]
    controls = [result for result in results if result.row.label.startswith("control")]
    passed = sum(result.passed for result in rows)
    failed_well = sum(result.passed for result in controls)
    about = (
        f"**{passed} of {len(rows)} rows pass, "
        f"{failed_well} of {len(controls)} controls fail as they must.** "
        f"{datetime.now(UTC):%Y-%m-%d}, commit {commit()}, {seconds / 60:.0f} minutes. "
        f"Apache Kafka {kafka}, one broker, 4 partitions, 2 workers, Python {platform.python_version()}, "
        f"{machine()}.\n"
    )
    FILE.write_text(
        f"{_HEAD}\n{about}\n{table(rows)}\n## Negative controls\n\n{table(controls)}", encoding="utf-8"
    )


def commit() -> str:
    """Name the commit that was run."""
    asked = ["git", "describe", "--always", "--dirty", "--exclude", "*"]
    done = subprocess.run(asked, cwd=ROOT, capture_output=True, text=True, check=False)
    return done.stdout.strip() or "unknown"


def machine() -> str:
    """Say on what it ran."""
    names = {
        line.partition(":")[2].strip()
        for line in Path("/proc/cpuinfo").read_text().splitlines()
        if line.startswith("model name")
    }
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return f"{os.cpu_count()} cores ({', '.join(sorted(names)) or platform.machine()}), {memory:.0f} GB"
