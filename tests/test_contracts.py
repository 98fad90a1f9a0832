"""The contract files are current, and the official parser takes the AsyncAPI document."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft7Validator

from agents.cluster import topic_configs
from agents.dead_letters import HEADERS, dead_letter
from agents.documents import ASYNCAPI, JSON_SCHEMAS, contracts
from schemas.codec import WireError
from schemas.contracts import SCHEMA_TOPICS
from schemas.topics import TOPICS, TopicSpec

CHECK = ASYNCAPI.parents[1] / "deploy" / "asyncapi"
DOCUMENT: dict[str, Any] = yaml.safe_load(ASYNCAPI.read_text(encoding="utf-8"))


@pytest.mark.parametrize("path", contracts(), ids=lambda path: path.name)
def test_a_contract_file_is_current(path: Path) -> None:
    assert path.read_text(encoding="utf-8") == contracts()[path], "run: python -m agents.documents"


def test_there_are_no_other_schemas() -> None:
    assert {path.stem for path in JSON_SCHEMAS.iterdir()} == set(SCHEMA_TOPICS)


@pytest.mark.parametrize("spec", TOPICS, ids=lambda spec: spec.name)
def test_the_document_says_of_each_topic_what_it_is_created_with(spec: TopicSpec) -> None:
    (channel,) = (c for c in DOCUMENT["channels"].values() if c["address"] == spec.name)
    kafka = channel["bindings"]["kafka"]
    assert (kafka["partitions"] > 1) == spec.per_customer
    said = {
        name: value[0] if isinstance(value, list) else str(value)
        for name, value in kafka["topicConfiguration"].items()
    }
    assert said == topic_configs(spec)
    (message,) = channel["messages"]
    described = DOCUMENT["components"]["messages"][message]
    assert described["bindings"]["kafka"]["key"]["description"] == spec.key
    if spec.role in ("input", "output"):
        assert described["examples"]


@pytest.mark.parametrize(
    "name", [n for n, m in DOCUMENT["components"]["messages"].items() if "examples" in m]
)
def test_the_examples_in_the_document_pass_its_own_schemas(name: str) -> None:
    """The parser follows the references and does not hold the examples against them."""
    message = DOCUMENT["components"]["messages"][name]
    schema = Draft7Validator({"components": DOCUMENT["components"], "allOf": [message["payload"]]})
    for example in message["examples"]:
        assert list(schema.iter_errors(example["payload"])) == []
        assert not schema.is_valid({**example["payload"], "version": "x", "type": "x"})


def test_the_headers_of_dead_letters_are_those_described() -> None:
    class Refused:
        offset, key, headers = 7, b"c", ()
        value = b"x" * 1_000_000

    _, _, headers = dead_letter(Refused, WireError("too_large", "1000000 bytes"), "orders", 0)
    assert {name for name, _ in headers} == set(HEADERS)


def _check(path: Path) -> subprocess.CompletedProcess[str]:
    node = shutil.which("node")
    if node is None or not (CHECK / "node_modules" / "@asyncapi" / "parser").exists():
        pytest.fail(
            "the AsyncAPI parser is not there: run `make test-tools`, it needs Node.js", pytrace=False
        )
    return subprocess.run(
        [node, CHECK / "check.mjs", path], capture_output=True, text=True, timeout=120, check=False
    )


@pytest.mark.tools
def test_the_official_parser_takes_the_document() -> None:
    done = _check(ASYNCAPI)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"3.0.0: {len(TOPICS)} channels" in done.stdout
    assert "warning" not in done.stdout


@pytest.mark.tools
@pytest.mark.parametrize(
    "spoil",
    [
        lambda document: document.pop("info"),
        lambda document: document["channels"]["orders"]["bindings"]["kafka"].update(partitions="four"),
        lambda document: document["operations"]["receiveOrders"]["channel"].update({"$ref": "#/channels/x"}),
    ],
    ids=["no_title", "partitions_in_words", "channel_that_is_not_there"],
)
def test_the_parser_finds_what_is_wrong(tmp_path: Path, spoil: Any) -> None:
    document = yaml.safe_load(ASYNCAPI.read_text(encoding="utf-8"))
    spoil(document)
    (tmp_path / "asyncapi.yaml").write_text(yaml.safe_dump(document), encoding="utf-8")
    done = _check(tmp_path / "asyncapi.yaml")
    assert done.returncode == 1
    assert "error: " in done.stdout
