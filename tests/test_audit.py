"""The audit of the lock: what fails it, and that one which did not happen is not taken for a clean one."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

import pytest

from deploy.audit import LOCK, judge, judge_failure, main

CLEAN = {"name": "click", "version": "8.1.7", "vulns": []}
SKIPPED = {"name": "rich", "skip_reason": "Dependency not found and could not be audited: rich (14.2)"}
HOLE = {"id": "GHSA-1", "fix_versions": ["3.14.6"], "aliases": [], "description": "..."}
HOLED = {"name": "aiohttp", "version": "3.14.5", "vulns": [HOLE, {"id": "GHSA-2", "fix_versions": []}]}


def report(*dependencies: dict[str, Any]) -> dict[str, Any]:
    return {"dependencies": list(dependencies), "fixes": []}


def test_a_vulnerability_fails_and_is_named_with_the_version_that_mends_it() -> None:
    verdict = judge(report(CLEAN, HOLED, SKIPPED))
    assert verdict.code == 1
    assert verdict.lines == [
        "audit: VULNERABLE: aiohttp 3.14.5: GHSA-1 (fixed in 3.14.6)",
        "audit: VULNERABLE: aiohttp 3.14.5: GHSA-2 (fixed in no version yet)",
    ]


@pytest.mark.parametrize("strict", [False, True])
def test_a_clean_lock_passes(strict: bool) -> None:
    assert judge(report(CLEAN, CLEAN), strict).code == 0


@pytest.mark.parametrize("strict", [False, True])
def test_an_audit_of_nothing_says_so_in_one_line_and_fails_only_where_it_must(strict: bool) -> None:
    for verdict in (
        judge(report(SKIPPED, SKIPPED), strict),
        judge_failure("Traceback ...\nrequests.exceptions.ProxyError: ... Connection refused", strict),
        judge_failure("ERROR:pip_audit._cli:Could not connect to the vulnerability feed", strict),
    ):
        (line,) = verdict.lines
        assert "NOTHING WAS AUDITED" in line
        assert verdict.code == int(strict)


@pytest.mark.parametrize("strict", [False, True])
def test_packages_left_out_are_named(strict: bool) -> None:
    verdict = judge(report(CLEAN, SKIPPED), strict)
    assert verdict.lines[-1] == "audit: NOT AUDITED: rich"
    assert verdict.code == int(strict)


def test_a_lock_without_packages_and_a_pip_audit_that_breaks_fail() -> None:
    assert judge(report()).code == 1
    assert judge_failure("ERROR:pip_audit._cli:invalid requirements input").code == 1
    assert judge_failure("").code == 1


@pytest.mark.parametrize(
    ("said", "code"),
    [(report(CLEAN), 0), (report(HOLED), 1), (report(SKIPPED), 0), (None, 1)],
)
def test_pip_audit_is_run_on_the_lock_and_its_report_decides(
    tmp_path: Path, said: dict[str, Any] | None, code: int
) -> None:
    """A stand-in that keeps its arguments and says what it is told to."""
    stand_in = tmp_path / "stand_in.py"
    output = "" if said is None else json.dumps(said)
    stand_in.write_text(
        f"import sys, pathlib\npathlib.Path({str(tmp_path / 'asked')!r}).write_text(' '.join(sys.argv[1:]))\n"
        f"print({output!r})\n"
    )
    assert main([], program=(sys.executable, str(stand_in))) == code
    asked = (tmp_path / "asked").read_text()
    assert asked.startswith(f"--requirement {LOCK} ")
    assert "--require-hashes" in asked
    assert LOCK.exists()


def test_make_check_audits_and_strict_is_passed_on() -> None:
    makefile = (LOCK.parent / "Makefile").read_text()
    assert re.search(r"^check: setup .*\n(\t.*\n)*\t@\$\(MAKE\) audit", makefile, re.MULTILINE)
    assert "$(if $(filter strict,$(AUDIT)),--strict)" in makefile
