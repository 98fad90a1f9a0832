"""The compose file, by a compose client: what it makes of the file, and whether it accepts it at all."""

from __future__ import annotations

import shutil
import subprocess
from typing import Any

import pytest
import yaml

from tests.live.harness import ROOT

pytestmark = pytest.mark.watch


def client() -> list[str]:
    """Find a client; it needs no engine to read a file."""
    plugin = ["docker", "compose"]
    if shutil.which("docker") and subprocess.run([*plugin, "version"], capture_output=True).returncode == 0:
        return plugin
    if shutil.which("docker-compose"):
        return ["docker-compose"]
    pytest.fail("no compose client; on Debian: apt-get install --no-install-recommends docker-compose")


@pytest.fixture(scope="module")
def resolved() -> dict[str, Any]:
    done = subprocess.run(
        [*client(), "--profile", "sample", "-f", str(ROOT / "docker-compose.yml"), "config"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = yaml.safe_load(done.stdout)
    return found


def test_the_client_accepts_the_file_and_loses_nothing_of_it(resolved: dict[str, Any]) -> None:
    written = yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))
    assert resolved["services"].keys() == written["services"].keys()
    assert resolved["volumes"].keys() == written["volumes"].keys()
    for name, service in written["services"].items():
        assert resolved["services"][name].get("environment") == service.get("environment"), name


def test_what_is_mounted_from_here_is_here(resolved: dict[str, Any]) -> None:
    mounted = [
        volume if isinstance(volume, str) else f"{volume['source']}:{volume['target']}"
        for service in resolved["services"].values()
        for volume in service.get("volumes", [])
    ]
    ours = [volume.split(":")[0] for volume in mounted if volume.startswith("/")]
    assert len(ours) >= 5
    assert [path for path in ours if not (ROOT / path).exists()] == []
