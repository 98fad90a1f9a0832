"""The AsyncAPI document: every topic with its key, partitions, cleanup policy, payload and examples.

It is put together from what the program itself goes by, the table of topics, the types, the settings'
defaults and the stored examples, so it cannot say anything else. Whoever generates a consumer from it
gets the types that Holdfast writes; internal topics are listed so that an operator who meets one on the
cluster can look up what it is.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import orjson

from agents.cluster import topic_configs
from agents.dead_letters import HEADERS
from agents.settings import Settings
from schemas.contracts import SCHEMA_TOPICS, Schema, json_schema
from schemas.topics import TOPICS, TopicSpec

EXAMPLES = Path(__file__).parents[1] / "schemas" / "examples"

_BINDING = "0.5.0"
_ABOUT = """Holdfast reads a shop's clickstream and orders and says who is about to leave, what they are
worth, why, and when they came back. Topics may have a prefix (`topics.prefix`), and the inputs other names.
A topic about customers has as many partitions as the inputs; the number here is the default. Readers
must ignore properties that they do not know."""


def _identifier(name: str) -> str:
    """Turn a topic's name into one for AsyncAPI.

    Examples
    --------
    >>> _identifier("churn-alerts"), _identifier("orders.dlq")
    ('churnAlerts', 'ordersDlq')
    """
    head, *rest = re.split(r"[.-]", name)
    return head + "".join(part.capitalize() for part in rest)


def _plain(text: str) -> str:
    return re.sub(r"\s+", " ", text).strip()


def document() -> Schema:
    """Give the AsyncAPI 3.0 document.

    Examples
    --------
    >>> document()["channels"]["customerScores"]["bindings"]["kafka"]["topicConfiguration"]
    {'cleanup.policy': ['compact'], 'max.compaction.lag.ms': 604800000}
    """
    schemas: dict[str, Schema] = {}
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Holdfast",
            "version": "1",
            "description": _plain(_ABOUT),
            "license": {"name": "Apache-2.0"},
        },
        "defaultContentType": "application/json",
        "servers": {
            "local": {
                "host": Settings().kafka.bootstrap,
                "protocol": "kafka",
                "description": "What kafka.bootstrap says where nobody sets it.",
            }
        },
        "channels": {_identifier(spec.name): _channel(spec) for spec in TOPICS},
        "operations": dict(_operation(spec) for spec in TOPICS),
        "components": {
            "messages": {_identifier(spec.name): _message(spec, schemas) for spec in TOPICS},
            "schemas": schemas,
        },
    }


def _channel(spec: TopicSpec) -> Schema:
    configs: dict[str, Any] = dict(topic_configs(spec))
    configs["cleanup.policy"] = [configs["cleanup.policy"]]
    for name in configs:
        if name.endswith(".ms"):
            configs[name] = int(configs[name])
    return {
        "address": spec.name,
        "title": spec.name,
        "description": f"{spec.about[0].upper()}{spec.about[1:]}.",
        "tags": [{"name": spec.role}],
        "messages": {
            _identifier(spec.name): {"$ref": f"#/components/messages/{_identifier(spec.name)}"},
        },
        "bindings": {
            "kafka": {
                "topic": spec.name,
                "partitions": Settings().topics.partitions if spec.per_customer else 1,
                "topicConfiguration": configs,
                "bindingVersion": _BINDING,
            }
        },
    }


def _operation(spec: TopicSpec) -> tuple[str, Schema]:
    """Say what Holdfast does with a topic: those of its own it writes, and reads again itself."""
    name = _identifier(spec.name)
    action = "receive" if spec.role == "input" else "send"
    return f"{action}{name[0].upper()}{name[1:]}", {
        "action": action,
        "channel": {"$ref": f"#/channels/{name}"},
        "summary": f"{'Read' if spec.role == 'input' else 'Written'} by Holdfast.",
        "messages": [{"$ref": f"#/channels/{name}/messages/{name}"}],
    }


def _message(spec: TopicSpec, schemas: dict[str, Schema]) -> Schema:
    message: Schema = {"name": spec.name, "title": spec.payload, "summary": spec.about}
    if spec.name in SCHEMA_TOPICS:
        message["contentType"] = "application/json"
        message["payload"] = {"$ref": f"#/components/schemas/{_component(spec, schemas)}"}
        if shown := _examples(spec):
            message["examples"] = shown
    elif spec.role == "dead":
        message["contentType"] = "application/octet-stream"
        message["headers"] = {
            "type": "object",
            "properties": {name: {"type": "string", "description": about} for name, about in HEADERS.items()},
        }
    else:
        message["contentType"] = f"application/{'msgpack' if spec.payload == 'msgpack' else 'octet-stream'}"
    message["bindings"] = {
        "kafka": {"key": {"type": "string", "description": spec.key}, "bindingVersion": _BINDING}
    }
    return message


def _component(spec: TopicSpec, schemas: dict[str, Schema]) -> str:
    """Put a topic's schema and its parts among the components; the inputs share one."""
    schema = json_schema(spec.name)
    name = "ShopMessage" if spec.role == "input" else str(schema["title"])
    parts = {name: schema, **schema.pop("$defs", {})}
    if spec.role == "input":
        schema["title"] = "Message of a shop"
        schema["description"] = "The Segment e-commerce spec, as far as it is read."
    for key in ("$schema", "$id"):
        del schema[key]
    for own, part in parts.items():
        moved = _moved(part)
        if schemas.setdefault(own, moved) != moved:
            raise ValueError(f"two schemas are named {own}")
    return name


def _moved(schema: Any) -> Any:
    if isinstance(schema, dict):
        return {
            key: value.replace("#/$defs/", "#/components/schemas/") if key == "$ref" else _moved(value)
            for key, value in schema.items()
        }
    return [_moved(part) for part in schema] if isinstance(schema, list) else schema


def _examples(spec: TopicSpec) -> list[Schema]:
    """Give the shortest stored example of each kind: what stands before the hyphens, or the whole name."""
    folder = EXAMPLES / spec.name / "valid"
    kinds: dict[str, Path] = {}
    for path in sorted(folder.glob("*.json"), key=lambda path: (path.stat().st_size, path.name)):
        kinds.setdefault(path.stem.split("--")[0], path)
    return [
        {"name": kind.replace("_", " "), "payload": orjson.loads(path.read_bytes())}
        for kind, path in sorted(kinds.items())
    ]
