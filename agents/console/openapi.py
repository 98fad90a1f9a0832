"""The OpenAPI document of the console's API, made from the types that the server answers with.

`python -m agents.console.openapi` writes it to docs/openapi.json; a test checks that it is current. The event
stream that the page follows is described in words only: OpenAPI has no type for one.
"""

from __future__ import annotations

import json
from http import HTTPStatus
from pathlib import Path
from typing import Any

import msgspec

from agents.console import answers
from agents.console.operations import OPERATIONS, Operation
from schemas.codec import MAX_ID_LENGTH

FILE = Path(__file__).parents[2] / "docs" / "openapi.json"

VERSION = "1.0.0"
"""Of the API, not of the program: the first number changes when a client might break."""

_PROBLEM = "application/problem+json"
_EVERYWHERE = (400, 405, 406)
_GUARDED = (401, 403, 429)
_SCHEMAS = "#/components/schemas/{name}"


def document() -> dict[str, Any]:
    """Make the document.

    Examples
    --------
    >>> sorted(document()["paths"])[:3]
    ['/alerts', '/customers', '/customers/{customer_id}']
    """
    kinds = [operation.answer for operation in OPERATIONS] + [answers.Problem]
    _, components = msgspec.json.schema_components(kinds, ref_template=_SCHEMAS)
    errors = sorted({*_EVERYWHERE, *_GUARDED, *(status for op in OPERATIONS for status in op.errors)})
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Holdfast customer API",
            "version": VERSION,
            "description": "Who is about to leave, why, and what they are worth: everything that Holdfast "
            "has said on its output topics. Times are event times in UTC. `GET /events` is a stream of "
            "server-sent events for open pages and no part of this contract.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "paths": {operation.path: {"get": _operation(operation)} for operation in OPERATIONS},
        "components": {
            "schemas": dict(sorted(components.items())),
            "responses": {_response_name(status): _problem(status) for status in errors},
            "securitySchemes": {
                "token": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "Needed where the console listens on more than a loopback address.",
                }
            },
        },
    }


def _operation(operation: Operation) -> dict[str, Any]:
    statuses = sorted({*_EVERYWHERE, *operation.errors, *(_GUARDED if operation.guarded else ())})
    described: dict[str, Any] = {
        "operationId": operation.name,
        "summary": operation.summary,
        "responses": {
            "200": {
                "description": (operation.answer.__doc__ or "").splitlines()[0],
                "content": {
                    "application/json": {"schema": {"$ref": _SCHEMAS.format(name=operation.answer.__name__)}}
                },
            }
        }
        | {str(status): {"$ref": f"#/components/responses/{_response_name(status)}"} for status in statuses},
        "security": [{"token": []}, {}] if operation.guarded else [],
    }
    parameters = [*_path_parameters(operation), *_query_parameters(operation)]
    if parameters:
        described["parameters"] = parameters
    return described


def _path_parameters(operation: Operation) -> list[dict[str, Any]]:
    if "{customer_id}" not in operation.path:
        return []
    return [
        {
            "name": "customer_id",
            "in": "path",
            "required": True,
            "description": "The shop's own id of the customer.",
            "schema": {"type": "string", "minLength": 1, "maxLength": MAX_ID_LENGTH},
        }
    ]


def _query_parameters(operation: Operation) -> list[dict[str, Any]]:
    _, components = msgspec.json.schema_components([operation.query], ref_template=_SCHEMAS)
    properties = components[operation.query.__name__]["properties"]
    return [
        {
            "name": name,
            "in": "query",
            "required": False,
            "description": _description(schema),
            "schema": _without_null(schema),
        }
        for name, schema in properties.items()
    ]


def _description(schema: dict[str, Any]) -> str:
    parts = [schema, *schema.get("anyOf", [])]
    return str(next(part["description"] for part in parts if "description" in part))


def _without_null(schema: dict[str, Any]) -> dict[str, Any]:
    """A parameter that is not given is left out: in a query there is no null."""
    some = next(part for part in schema.get("anyOf", [schema]) if part.get("type") != "null")
    kept = {name: value for name, value in some.items() if name != "description"}
    if "enum" in kept:
        kept["enum"] = [value for value in kept["enum"] if value is not None]
    default = schema.get("default")
    return kept if default is None else kept | {"default": default}


def _response_name(status: int) -> str:
    return HTTPStatus(status).phrase.replace(" ", "")


def _problem(status: int) -> dict[str, Any]:
    described: dict[str, Any] = {
        "description": HTTPStatus(status).phrase,
        "content": {_PROBLEM: {"schema": {"$ref": _SCHEMAS.format(name="Problem")}}},
    }
    headers = {
        401: ("WWW-Authenticate", "What is needed.", {"type": "string"}),
        405: ("Allow", "The methods that there are.", {"type": "string"}),
        429: ("Retry-After", "Seconds to wait.", {"type": "integer", "minimum": 1}),
    }
    if status in headers:
        name, words, schema = headers[status]
        described["headers"] = {name: {"description": words, "schema": schema}}
    return described


def text() -> str:
    """Write the document the way it is kept."""
    return json.dumps(document(), indent=2, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    FILE.write_text(text(), encoding="utf-8")
