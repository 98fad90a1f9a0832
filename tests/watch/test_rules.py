"""The rules, by Prometheus' own tool: well-formed, and each alert fires when it should and only then."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.live.harness import ROOT
from tests.watch.prometheus import CONFIG, RULES, needed

pytestmark = pytest.mark.watch

TESTS = ROOT / "deploy/prometheus/tests/rules.test.yml"


def promtool(*arguments: str) -> None:
    done = subprocess.run(
        [needed("promtool"), *arguments], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def alerts() -> list[dict[str, Any]]:
    groups = [group for path in RULES for group in yaml.safe_load(path.read_text(encoding="utf-8"))["groups"]]
    return [rule for group in groups for rule in group["rules"] if "alert" in rule]


def test_the_configuration_and_the_rules_are_well_formed() -> None:
    promtool("check", "config", str(CONFIG))
    promtool("check", "rules", *map(str, RULES))


def test_each_alert_fires_when_it_should_and_only_then() -> None:
    promtool("test", "rules", str(TESTS))


def test_a_threshold_out_of_reach_would_be_noticed(tmp_path: Path) -> None:
    """The tests above can fail."""
    folder = ROOT / "deploy/prometheus"
    for part in ("rules", "tests"):
        (tmp_path / part).mkdir()
        for path in (folder / part).glob("*.yml"):
            text = path.read_text(encoding="utf-8").replace("> 300", "> 3000000000")
            (tmp_path / part / path.name).write_text(text, encoding="utf-8")
    with pytest.raises(AssertionError, match="HoldfastFallingBehind"):
        promtool("test", "rules", str(tmp_path / "tests" / TESTS.name))


def test_every_alert_is_tested_both_ways() -> None:
    names = {test["name"] for test in yaml.safe_load(TESTS.read_text(encoding="utf-8"))["tests"]}
    for rule in alerts():
        assert {f"{rule['alert']} fires", f"{rule['alert']} is quiet"} <= names


@pytest.mark.parametrize("rule", alerts(), ids=lambda rule: str(rule["alert"]))
def test_every_alert_says_how_bad_what_and_where_to_look(rule: dict[str, Any]) -> None:
    assert rule["labels"]["severity"] in {"critical", "warning", "info"}
    annotations = rule["annotations"]
    assert annotations["summary"]
    assert annotations["description"]
    page, _, anchor = annotations["runbook_url"].partition("#")
    headings = re.findall(r"^#+ (.+)$", (ROOT / page).read_text(encoding="utf-8"), re.MULTILINE)
    assert anchor in {heading.lower().replace(" ", "-") for heading in headings}
