"""The workshop's promises: a complete lock, pinned images, no secrets and no index hosts in the tree."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from agents.cli import main
from agents.console.access import token_of
from agents.sections import ConsoleSettings
from agents.settings import Settings

ROOT = Path(__file__).resolve().parent.parent

LOCKED = re.compile(r"^(?P<name>[A-Za-z0-9._-]+)==(?P<version>[^\s;\\]+)")
SHA256 = re.compile(r"--hash=sha256:[0-9a-f]{64}\b")
# A tag that starts with a number, as versions do: not absent, not `latest`, not `stable`.
PINNED_IMAGE = re.compile(r"^[a-z0-9./-]+:v?\d+(\.\d+)+[a-z0-9.-]*(@sha256:[0-9a-f]{64})?$")
SECRET_NAME = re.compile(r"passw|secret|token|credential|api_?key|private_?key|sasl", re.IGNORECASE)
URL_WITH_LOGIN = re.compile(r"://[^/\s:@]+:[^/\s@]+@")
# What would tie the project to one package index. The escapes keep this file from matching itself.
INDEX_HOST = re.compile(
    r"https?://[^\s\"'<>]+/simple\b"
    r"|\bpypi\.(?:org|python)\b"
    r"|pythonhosted\."
    r"|(?:index-url|find-links|trusted-host)[\"']?[ =:]+[\"']?(?:https?:|\w[\w-]*\.\w)"
    r"|(?:PIP|UV)_[A-Z_]*(?:INDEX|FIND_LINKS|TRUSTED_HOST)[A-Z_]*\s*[=:]"
)
NOT_OURS = {".git", ".venv", "build", "dist", "__pycache__", "node_modules", "screenshots"}


def pyproject() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def direct_requirements() -> list[Requirement]:
    project = pyproject()["project"]
    lines = list(project["dependencies"])
    for extra in project["optional-dependencies"].values():
        lines += extra
    return [Requirement(line) for line in lines]


def lock() -> dict[str, list[tuple[str, int]]]:
    """Locked name -> its (version, number of hashes): more than one where Pythons or systems differ."""
    locked: dict[str, list[tuple[str, int]]] = {}
    text = (ROOT / "requirements.lock").read_text(encoding="utf-8")
    for block in re.split(r"\n(?=\S)", text):
        if entry := LOCKED.match(block):
            name = canonicalize_name(entry["name"])
            locked.setdefault(name, []).append((entry["version"], len(SHA256.findall(block))))
    return locked


def compose() -> dict[str, Any]:
    return yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))


def text_files() -> Iterator[tuple[str, str]]:
    for folder, subfolders, names in os.walk(ROOT):
        subfolders[:] = [
            name
            for name in subfolders
            if name not in NOT_OURS and not name.endswith((".egg-info", "_cache")) and name != ".hypothesis"
        ]
        for name in names:
            path = Path(folder, name)
            content = path.read_bytes()
            if b"\0" not in content[:8192] and path.is_file():
                yield path.relative_to(ROOT).as_posix(), content.decode("utf-8", errors="replace")


@pytest.mark.parametrize("requirement", direct_requirements(), ids=lambda requirement: requirement.name)
def test_every_dependency_is_locked_at_a_version_it_allows(requirement: Requirement) -> None:
    entries = lock().get(canonicalize_name(requirement.name), [])
    assert entries
    for version, _ in entries:
        assert requirement.specifier.contains(version, prereleases=False)


def test_every_locked_package_has_a_hash() -> None:
    entries = lock()
    assert len(entries) > len(direct_requirements())
    assert [name for name, pins in entries.items() if any(hashes == 0 for _, hashes in pins)] == []


def test_the_lock_says_how_it_is_made_and_names_no_place() -> None:
    text = (ROOT / "requirements.lock").read_text(encoding="utf-8")
    assert "make lock" in text.split("\n\n")[0][:200]
    assert "://" not in text
    assert [line for line in text.splitlines() if line.startswith("-")] == []


def test_faust_and_its_driver_are_pinned_exactly() -> None:
    """The transport overrides private methods of both."""
    exact = {"faust-streaming", "aiokafka", "river"}
    pins = {r.name: {s.operator for s in r.specifier} for r in direct_requirements() if r.name in exact}
    assert pins == {name: {"=="} for name in exact}


@pytest.mark.parametrize("service", sorted(compose()["services"]))
def test_every_service_runs_a_pinned_image(service: str) -> None:
    assert PINNED_IMAGE.match(compose()["services"][service]["image"])


def test_our_image_has_the_version_of_the_project() -> None:
    built = {s["image"] for s in compose()["services"].values() if "build" in s}
    assert built == {f"holdfast:{pyproject()['project']['version']}"}


def test_every_base_image_is_pinned() -> None:
    lines = (ROOT / "Dockerfile").read_text(encoding="utf-8").splitlines()
    bases = [line.split()[1] for line in lines if line.startswith("FROM ")]
    assert len(bases) == 2
    assert [base for base in bases if not PINNED_IMAGE.match(base)] == []


def test_the_image_does_not_run_as_root() -> None:
    lines = (ROOT / "Dockerfile").read_text(encoding="utf-8").splitlines()
    users = [line.split()[1] for line in lines if line.startswith("USER ")]
    assert users
    assert users[-1] not in {"root", "0"}


@pytest.mark.parametrize("service", sorted(compose()["services"]))
def test_no_service_carries_a_secret(service: str) -> None:
    for name, value in compose()["services"][service].get("environment", {}).items():
        assert not SECRET_NAME.search(name)
        assert not URL_WITH_LOGIN.search(str(value))


@pytest.mark.parametrize("service", sorted(compose()["services"]))
def test_ports_are_published_on_this_machine_only(service: str) -> None:
    for port in compose()["services"][service].get("ports", []):
        assert port.startswith("127.0.0.1:")


def test_no_two_services_publish_the_same_port() -> None:
    taken: list[int] = []
    for service in compose()["services"].values():
        for port in service.get("ports", []):
            first, _, last = port.split(":")[1].partition("-")
            taken += range(int(first), int(last or first) + 1)
    assert sorted(set(taken)) == sorted(taken)


def test_the_image_exposes_the_ports_that_its_services_listen_on() -> None:
    (line,) = re.findall(r"^EXPOSE (.+)$", (ROOT / "Dockerfile").read_text(encoding="utf-8"), re.M)
    ours = [s for s in compose()["services"].values() if s["image"].startswith("holdfast:")]
    inside = {port.rsplit(":", 1)[1] for service in ours for port in service.get("ports", [])}
    defaults = Settings()
    assert {*line.split()} == inside == {str(defaults.web.port), str(defaults.console.port)}


def test_compose_runs_the_kafka_that_the_tests_run() -> None:
    pom = (ROOT / "deploy/kafka/pom.xml").read_text(encoding="utf-8")
    (tested,) = re.findall(r"<kafka\.version>(.+)</kafka\.version>", pom)
    assert compose()["services"]["kafka"]["image"] == f"apache/kafka:{tested}"


def test_the_commands_of_services_are_commands_of_ours() -> None:
    """Each is taken apart by the command line itself, as far as the help of what it names."""
    for name, service in compose()["services"].items():
        if not service["image"].startswith("holdfast:"):
            continue
        words = service["command"]
        if "entrypoint" in service:  # a shell script: what it calls
            assert service["entrypoint"][0] == "bash", name
            calls = re.findall(r"holdfast ([^|\n]+)", words[0])
            assert calls, name
        else:
            calls = [" ".join(words)]
        for call in calls:
            done = CliRunner().invoke(main, [*call.split(), "--help"])
            assert done.exit_code == 0, (name, call, done.output)


def test_the_console_makes_its_token_once_and_for_nobody_else_to_read(tmp_path: Path) -> None:
    console = compose()["services"]["console"]
    called = tmp_path / "holdfast"
    called.write_text('#!/bin/sh\necho "$@"\n')
    called.chmod(0o755)
    (tmp_path / "data").mkdir()
    env = os.environ | {"PATH": f"{tmp_path}:{Path(sys.executable).parent}:{os.environ['PATH']}"}
    tokens = []
    for _ in range(2):
        done = subprocess.run(
            [*console["entrypoint"], *console["command"]],
            cwd=tmp_path,
            env=env,
            capture_output=True,
            text=True,
            check=True,
        )
        assert done.stdout.split()[-1] == "console"
        tokens.append((tmp_path / "data/console.token").read_text().strip())
        assert tokens[-1] not in done.stdout + done.stderr
    assert tokens[0] == tokens[1]
    assert (
        token_of(ConsoleSettings(host="0.0.0.0", token_file=str(tmp_path / "data/console.token")))
        == tokens[0]
    )
    assert (tmp_path / "data/console.token").stat().st_mode & 0o077 == 0


def test_services_wait_for_services_that_exist() -> None:
    services = compose()["services"]
    waited_for = {name for service in services.values() for name in service.get("depends_on", {})}
    assert waited_for <= set(services)
    for name, service in services.items():
        for other, how in service.get("depends_on", {}).items():
            if how["condition"] == "service_healthy":
                assert "healthcheck" in services[other], (name, other)


def test_prometheus_asks_the_worker_at_the_port_that_it_publishes() -> None:
    config = yaml.safe_load((ROOT / "deploy/prometheus/prometheus.yml").read_text(encoding="utf-8"))
    (job,) = config["scrape_configs"]
    (discovery,) = job["dns_sd_configs"]
    workers = {name: s for name, s in compose()["services"].items() if s.get("command") == ["worker"]}
    assert sorted(discovery["names"]) == sorted(workers) == ["learner", "worker"]
    for worker in workers.values():
        assert [port.rsplit(":", 1)[1] for port in worker["ports"]] == [str(discovery["port"])]
    assert job["metrics_path"] == "/metrics"


def test_two_workers_and_a_learner_run_and_are_watched() -> None:
    services = compose()["services"]
    ours = {name: service["environment"] for name, service in services.items() if "build" in service}
    agents = {name: what["HOLDFAST_WORKER__AGENTS"] for name, what in ours.items() if len(what) > 1}
    assert agents == {"worker": "customers", "learner": "learner"}
    assert services["worker"]["deploy"]["replicas"] == 2
    assert {"prometheus", "grafana", "kafka"} <= services.keys()
    assert services["loader"]["profiles"] == ["sample"]


@pytest.mark.parametrize("service", sorted(compose()["services"]))
def test_what_stays_up_has_a_health_check_and_what_it_keeps_a_named_volume(service: str) -> None:
    described = compose()["services"][service]
    if described.get("restart") != "unless-stopped":
        assert service in {"topics", "loader"}
        return
    assert described["healthcheck"]["test"][0] == "CMD"
    kept = [volume for volume in described.get("volumes", []) if not volume.endswith(":ro")]
    if service == "kpis":  # what it has told is on its topic
        assert kept == []
        return
    assert [volume.split(":")[0] in compose()["volumes"] for volume in kept] == [True]


def test_grafana_finds_its_dashboards_and_prometheus() -> None:
    services = compose()["services"]
    mounts = dict(volume.split(":")[:2] for volume in services["grafana"]["volumes"])
    provider = yaml.safe_load(
        (ROOT / "deploy/grafana/provisioning/dashboards/holdfast.yml").read_text(encoding="utf-8")
    )
    folder = provider["providers"][0]["options"]["path"]
    assert mounts["./deploy/grafana/dashboards"] == folder
    home = services["grafana"]["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"]
    assert (ROOT / home.replace(folder, "deploy/grafana/dashboards")).exists()
    source = yaml.safe_load(
        (ROOT / "deploy/grafana/provisioning/datasources/prometheus.yml").read_text(encoding="utf-8")
    )["datasources"][0]
    assert source["url"] == "http://prometheus:9090"
    assert services["grafana"]["environment"]["GF_AUTH_BASIC_ENABLED"] == "false"


def test_ci_runs_the_checks_and_then_all_tests() -> None:
    script = ROOT / ".ci/run"
    lines = script.read_text(encoding="utf-8").splitlines()
    assert os.access(script, os.X_OK)
    assert lines[0] == "#!/usr/bin/env bash"
    assert "set -euo pipefail" in lines
    assert [line for line in lines if line.startswith("make ")] == [
        "make check",
        "make test",
        "make test-compiled",
        "make test-tools",
        "make test-browser",
        "make test-watch",
        "make test-kafka",
    ]


@pytest.mark.parametrize(
    "package",
    ["openjdk-17-jre-headless", "maven", "gcc", "npm", "kcat", "chromium", "prometheus", "docker-compose"],
)
def test_ci_brings_what_its_tests_need(package: str) -> None:
    script = (ROOT / ".ci/run").read_text(encoding="utf-8")
    wanted = re.findall(r'"([^"]+)"', script.partition("for need in ")[2].partition("; do")[0])
    assert package in {name for need in wanted for name in need.split()[1:]}
    assert 'apt-get install -y -qq --no-install-recommends "${packages[@]}"' in script


def test_make_help_lists_every_target() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    phony = re.search(r"^\.PHONY: (.+)$", makefile, re.MULTILINE)
    assert phony is not None
    described = re.findall(r"^([a-z-]+):.*## ", makefile, re.MULTILINE)
    assert sorted(described) == sorted(phony[1].split())


def test_no_file_names_a_package_index() -> None:
    found = [(path, hit.group()) for path, text in text_files() for hit in INDEX_HOST.finditer(text)]
    assert found == []


@pytest.mark.parametrize(
    "line",
    [
        "--index" + "-url https://packages.example/",
        "extra-index" + "-url = 'packages.example'",
        "ENV PIP" + "_INDEX_URL=https://packages.example/",
        "see https://packages.example/root/" + "simple/",
        "https://py" + "pi.org/project/x",
        "https://files.python" + "hosted.org/x",
    ],
)
def test_a_package_index_would_be_found(line: str) -> None:
    assert INDEX_HOST.search(line)


def test_the_compiler_may_not_fuse_what_the_interpreter_does_in_two_steps() -> None:
    assert '"-ffp-contract=off"' in (ROOT / "setup.py").read_text(encoding="utf-8")
