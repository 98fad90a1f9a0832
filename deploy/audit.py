"""Known vulnerabilities in what is locked: pip-audit is asked, and its silence is not taken for a no.

Where the advisory service cannot be reached, pip-audit says that it found nothing, with exit code 0, after
having skipped every package. So its report is read here: a vulnerability fails; what was skipped is said,
loudly and in one line, and fails only where `--strict` asks for that, as a machine with the service should.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

LOCK = Path(__file__).resolve().parents[1] / "requirements.lock"

_OUT_OF_REACH = re.compile(r"requests\.exceptions|ConnectionError|[Cc]ould not connect|timed out")


class Verdict(NamedTuple):
    """What to say, and the exit code."""

    lines: list[str]
    code: int


def judge(report: dict[str, Any], strict: bool = False) -> Verdict:
    """Judge a report of pip-audit (`--format json`).

    Examples
    --------
    >>> judge({"dependencies": [{"name": "a", "version": "1", "vulns": []}]})
    Verdict(lines=['audit: 1 package, no known vulnerability'], code=0)
    >>> judge({"dependencies": [{"name": "a", "skip_reason": "not found"}]}).lines
    ['audit: NOTHING WAS AUDITED: the advisory service knows none of the 1 packages (AUDIT=strict fails)']
    """
    found = report["dependencies"]
    skipped = sorted({each["name"] for each in found if "skip_reason" in each})
    asked = [each for each in found if "skip_reason" not in each]
    lines = [
        f"audit: VULNERABLE: {each['name']} {each['version']}: {vulnerability['id']}"
        f" (fixed in {', '.join(vulnerability.get('fix_versions', [])) or 'no version yet'})"
        for each in asked
        for vulnerability in each["vulns"]
    ]
    if lines:
        return Verdict(lines, 1)
    if not found:
        return Verdict(["audit: the lock names no package"], 1)
    if not asked:
        return _nothing(f"the advisory service knows none of the {len(skipped)} packages", strict)
    count = f"{len(asked)} package{'s' if len(asked) > 1 else ''}"
    lines = [f"audit: {count}, no known vulnerability"]
    if skipped:
        lines.append(f"audit: NOT AUDITED: {', '.join(skipped)}")
    return Verdict(lines, int(bool(skipped) and strict))


def judge_failure(said: str, strict: bool = False) -> Verdict:
    """Judge what pip-audit said when it gave no report.

    Examples
    --------
    >>> judge_failure("requests.exceptions.ConnectTimeout: no route").code
    0
    >>> judge_failure("ERROR:pip_audit._cli:invalid requirements input")
    Verdict(lines=['audit: pip-audit failed: ERROR:pip_audit._cli:invalid requirements input'], code=1)
    """
    if _OUT_OF_REACH.search(said):
        return _nothing("the advisory service cannot be reached", strict)
    last = said.strip().splitlines()[-1:] or ["it said nothing"]
    return Verdict([f"audit: pip-audit failed: {last[0]}"], 1)


def _nothing(reason: str, strict: bool) -> Verdict:
    note = "" if strict else " (AUDIT=strict fails)"
    return Verdict([f"audit: NOTHING WAS AUDITED: {reason}{note}"], int(strict))


def main(arguments: Sequence[str] | None = None, program: Sequence[str] = ()) -> int:
    """Audit requirements.lock."""
    parser = argparse.ArgumentParser(prog="python -m deploy.audit", description=main.__doc__)
    parser.add_argument("--strict", action="store_true", help="fail where anything was not audited")
    strict = parser.parse_args(arguments).strict
    command = [*(program or (sys.executable, "-m", "pip_audit")), "--requirement", str(LOCK)]
    # The lock has all packages with their hashes: pip has nothing to resolve.
    options = ["--disable-pip", "--require-hashes", "--progress-spinner", "off", "--format", "json"]
    done = subprocess.run([*command, *options], capture_output=True, text=True, check=False)
    try:
        verdict = judge(json.loads(done.stdout), strict)
    except json.JSONDecodeError:
        verdict = judge_failure(done.stderr, strict)
    for line in verdict.lines:
        print(line, file=sys.stderr)
    return verdict.code


if __name__ == "__main__":
    sys.exit(main())
