"""The README is true: its tables are current and its commands do what they say."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import msgspec
import orjson
import pytest

from agents.documents import README
from schemas.codec import decode_event
from schemas.decisions import ChurnAlert
from schemas.events import Order
from schemas.topics import TOPICS

TEXT = README.read_text()
BLOCKS = re.findall(r"```(\w+)\n(.*?)```", TEXT, re.S)


def blocks(language: str) -> list[str]:
    return [body for kind, body in BLOCKS if kind == language]


def run_script(script: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run a block as a user's shell would, with this environment's commands first in the path."""
    bin_folder = str(Path(sys.executable).parent)
    return subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script],
        cwd=folder,
        env=os.environ | {"PATH": f"{bin_folder}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        timeout=150,
        check=False,
    )


def test_it_is_short_and_says_where_every_page_is() -> None:
    assert len(TEXT.splitlines()) <= 160
    pages = {page.name for page in (README.parent / "docs").glob("*.md")}
    assert {page for page in pages if f"docs/{page}" not in TEXT} == set()


def test_every_make_target_that_is_named_exists() -> None:
    makefile = (README.parent / "Makefile").read_text()
    targets = set(re.findall(r"\bmake (\w+)", TEXT))
    assert targets >= {"demo", "test"}
    assert all(re.search(rf"^{target}:", makefile, re.M) for target in targets)


def test_every_output_topic_is_listed() -> None:
    assert all(f"`{spec.name}`" in TEXT for spec in TOPICS if spec.role == "output")


def test_the_order_shown_is_one_and_the_alert_shown_has_an_alerts_fields() -> None:
    alert, order = blocks("json")
    event = decode_event(order.encode())
    assert isinstance(event, Order)
    assert event.amount == 42.5
    assert orjson.loads(alert).keys() <= set(ChurnAlert.__struct_fields__)


def test_links_lead_to_files_that_are_there() -> None:
    links = [link for link in re.findall(r"\]\(([^)]+)\)", TEXT) if not link.startswith("http")]
    assert links
    assert [link for link in links if not (README.parent / link.partition("#")[0]).exists()] == []


def test_the_quality_table_is_about_what_replay_reports() -> None:
    """The figures come from a full replay, which is a bench; the test sees that they meet what we promise."""
    figures = re.search(r"\| Holdfast, all customers \| ([\d,]+) \| (\.\d+) \| (\.\d+) \| (\.\d+) \|", TEXT)
    assert figures
    assert float(figures[2]) >= 0.79
    assert float(figures[3]) <= 0.49


def shell_blocks(word: str) -> str:
    (block,) = (body for body in blocks("sh") if word in body)
    return block.replace(". .venv/bin/activate\n", "")


@pytest.mark.broker
def test_the_commands_to_try_by_hand_do_what_they_say(tmp_path: Path) -> None:
    script = shell_blocks("holdfast broker").replace("holdfast broker", "holdfast broker --port 0")
    leave = "trap 'kill $(jobs -p) || true' EXIT\nexport HOLDFAST_WEB__PORT=0\n"
    done = run_script(leave + script, tmp_path)
    assert done.returncode == 0, done.stderr
    moves = [line for line in done.stdout.splitlines() if "->" in line and ":" in line]
    assert len(moves) >= 5, done.stdout + done.stderr
    assert "churn-alerts" in done.stdout
    assert re.search(r"^c0000003: erased .*\n  tombstones on customers-changelog,", done.stdout, re.M)
    assert "Traceback" not in done.stderr


def test_the_replay_commands_write_the_files_they_name(tmp_path: Path) -> None:
    block = shell_blocks("holdfast replay")
    made, replayed = block.strip().splitlines()
    few = made + " && zcat cdnow.jsonl.gz | head -300 | gzip > few && mv few cdnow.jsonl.gz"
    done = run_script(f"set +o pipefail; {few}; {replayed}", tmp_path)
    assert done.returncode == 0, done.stderr
    report = msgspec.json.decode((tmp_path / "replay-out" / "report.json").read_bytes())
    assert report["events"]["read"] == 300
    names = ("alerts", "segment_changes", "scores", "examples", "models", "retention_kpis", "dead_letters")
    assert all((tmp_path / "replay-out" / f"{name}.jsonl").exists() for name in names)
