"""The documents are true: tables current, settings accepted, commands run, links whole."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
from click.testing import CliRunner

from agents.cli import main
from agents.documents import DOCUMENTS, README, TABLES, with_tables
from agents.settings import load

ROOT = README.parent
PAGES = sorted((ROOT / "docs").rglob("*.md"))
FENCED = re.compile(r"^```(\w*)\n(.*?)^```$", re.S | re.M)
CHECKED = {"toml", "sh", "text", "json", "python", "mermaid"}


def blocks(language: str) -> list[object]:
    return [
        pytest.param(body, id=f"{page.stem}-{number}")
        for page in PAGES
        for number, (kind, body) in enumerate(FENCED.findall(page.read_text()), start=1)
        if kind == language and "kcat " not in body  # those are for tests/test_consuming.py
    ]


def test_there_is_something_to_check() -> None:
    assert len(blocks("toml")) >= 4
    assert len(blocks("sh")) >= 1


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_the_generated_tables_are_current(path: Path) -> None:
    assert with_tables(path.read_text(), DOCUMENTS[path]) == path.read_text()


def test_every_table_has_its_place_and_a_missing_mark_is_told() -> None:
    assert sorted(name for names in DOCUMENTS.values() for name in names) == sorted(TABLES)
    with pytest.raises(ValueError, match="rights"):
        with_tables("no mark here", ("rights",))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_block_says_what_it_is(page: Path) -> None:
    assert {kind for kind, _ in FENCED.findall(page.read_text())} <= CHECKED


@pytest.mark.parametrize("block", blocks("toml"))
def test_settings_shown_are_accepted(tmp_path: Path, block: str) -> None:
    path = tmp_path / "holdfast.toml"
    path.write_text(block)
    load(path, {}, {})


@pytest.mark.broker
@pytest.mark.parametrize("block", blocks("sh"))
def test_commands_shown_run(tmp_path: Path, live_broker: dict[str, object], block: str) -> None:
    """As a user's shell would run them, with this environment's commands first in the path."""
    broker = {
        "HOLDFAST_" + key.upper().replace(".", "__"): str(value).lower()
        if isinstance(value, bool)
        else str(value)
        for key, value in live_broker.items()
    }
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", block.replace(". .venv/bin/activate\n", "")],
        cwd=tmp_path,
        env=os.environ
        | broker
        | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=150,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr


def commands_in_text() -> list[object]:
    """What stands in backticks among the words, of README and pages, and is a command of ours."""
    found = {}
    for page in (README, *PAGES):
        text = FENCED.sub("", page.read_text())
        for command in re.findall(r"`(?:[A-Z_]+=\S+ )?(holdfast (?!worker:)[^`]+)`", text):
            found[re.split(r"[|>]", " ".join(command.split()))[0].strip()] = page.stem
    return [pytest.param(command, id=f"{page}-{command}") for command, page in sorted(found.items())]


@pytest.mark.parametrize("command", commands_in_text())
def test_commands_named_in_the_text_are_understood(command: str) -> None:
    """As far as their help: options and commands that do not exist are refused before it."""
    done = CliRunner().invoke(main, [*shlex.split(command)[1:], "--help"])
    assert done.exit_code == 0, done.output


@pytest.mark.parametrize("page", [README, *PAGES], ids=lambda page: page.stem)
def test_modules_and_make_targets_named_in_the_text_exist(page: Path) -> None:
    text = page.read_text()
    targets = re.findall(r"^([a-z-]+):.*## ", (ROOT / "Makefile").read_text(), re.M)
    assert set(re.findall(r"`make ([a-z-]+)", text)) <= set(targets)
    for module in re.findall(r"python -m ([a-z_.]*[a-z_])", text):
        assert find_spec(module) is not None, module


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_links_lead_to_files_that_are_there(page: Path) -> None:
    for link in re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text()):
        assert link.startswith("http") or (page.parent / link).exists(), link


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_settings_named_exist(page: Path) -> None:
    """A name in backticks that begins like a section is a setting."""
    known = {row.split("`")[1] for row in TABLES["settings"]().splitlines()[2:]}
    sections = {name.partition(".")[0] for name in known}
    named = set(re.findall(r"`(\w+\.\w+)(?: = [^`]*)?`", page.read_text()))
    files = {"py", "toml", "md", "lock"}
    wanted = {n for n in named if n.partition(".")[0] in sections and n.partition(".")[2] not in files}
    assert wanted <= known


def test_every_refusal_is_explained() -> None:
    """What the code says when a broker does not let us in stands in the operations document."""
    page = (ROOT / "docs" / "operations.md").read_text()
    said = re.findall(r"f?\"((?:it|its) [^\"{(;,]+)", (ROOT / "agents" / "refusal.py").read_text())
    explained = [text.strip() for text in said]
    assert len(explained) >= 8
    assert [text for text in explained if text not in page] == []
