"""Rows 15 to 17: what needs no broker. Replays, batch splits, simulated rebalances."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from hashlib import sha256
from pathlib import Path

from bench.faults.ground import HORIZON_DAYS, Ground
from bench.faults.registry import Finding, row
from bench.faults.simulated import simulate
from bench.faults.workload import cdnow_tenth, shop_lines

ROOT = Path(__file__).resolve().parents[2]
SPLITS = 200
REBALANCES = 100


def replayed(file: Path, out: Path) -> str:
    """Replay a file by the command and hash everything that it writes."""
    command = [sys.executable, "-m", "agents", "replay", str(file), "--out", str(out)]
    command += ["--horizon-days", str(HORIZON_DAYS)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True, timeout=120)
    whole = sha256()
    for written in sorted(out.iterdir()):
        whole.update(written.name.encode() + b"\0" + written.read_bytes())
    return whole.hexdigest()


@row(15, "replay × 3", "output SHA-256 identical")
def replays(_ground: Ground, seed: int) -> Finding:
    told, same = [], True
    with tempfile.TemporaryDirectory() as folder:
        for name, lines in (("CDNOW", cdnow_tenth()), ("shop", shop_lines(200, 90, seed))):
            file = Path(folder) / f"{name}.jsonl"
            file.write_bytes(b"".join(line.rstrip(b"\n") + b"\n" for line in lines))
            hashes = {replayed(file, Path(folder) / f"{name}-{number}") for number in range(3)}
            same = same and len(hashes) == 1
            told.append(f"{name} ({len(lines):,} messages) {', '.join(sorted(h[:16] for h in hashes))}")
    return Finding(same, "; ".join(told))


@row(16, "random batch splits, offline", f"{SPLITS} seeds, identical")
def splits(_ground: Ground, _seed: int) -> Finding:
    from tests.streams.customer.test_invariance import at_once, fed

    different = [seed for seed in range(SPLITS) if fed(seed) != at_once()]
    return Finding(
        not different,
        f"{SPLITS} seeds, {len(different)} differ{told(different)}, {len(at_once()):,} decisions",
    )


@row(17, "simulated rebalances, offline", f"{REBALANCES} seeds, 0 commits past undone work")
def rebalances(_ground: Ground, seed: int) -> Finding:
    outcomes = {number: simulate(number) for number in range(seed, seed + REBALANCES)}
    past = sum(outcome.past for outcome in outcomes.values())
    wrong = [number for number, o in outcomes.items() if o.past or o.lost or o.wrong]
    handed = sum(outcome.handed_over for outcome in outcomes.values())
    killed = sum(outcome.killed for outcome in outcomes.values())
    commits = sum(outcome.commits for outcome in outcomes.values())
    return Finding(
        not wrong and min(handed, killed) > REBALANCES,
        f"{REBALANCES} seeds from {seed}, {handed} hand-overs, {killed} kills, {commits:,} commits, "
        f"{past} past undone work; {len(wrong)} seeds end wrong{told(wrong)}",
    )


def told(seeds: list[int]) -> str:
    """Name the first seeds of those that went wrong."""
    return f" ({', '.join(map(str, seeds[:5]))})" if seeds else ""
