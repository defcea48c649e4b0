"""The API's OpenAPI document, written from the commands' own options."""

from __future__ import annotations

from typing import Any

from sizer.cli import COMMANDS
from sizer.version import package_version
from sizer.web.parameters import LONGEST_VALUE, MOST_PRECISIONS, MOST_VALUES, Parameter, available, parameters

SCHEMAS: dict[str, dict[str, Any]] = {
    "integer": {"type": "integer"},
    "number": {"type": "number"},
    "flag": {"type": "boolean"},
}
ROWS = frozenset({"fit", "hardware", "models", "devices", "precisions"})
"""Commands whose JSON is a list of rows."""
SEVERAL = frozenset({"estimate", "recommend", "check", "capacity"})
"""Commands whose JSON is an object, a list of them where several devices (or models) are asked for."""
EXTRA = {
    "explain": ("estimate", "The arithmetic of one estimate, in words."),
    "curves": ("estimate", "Speed by context and throughput by users of one precision."),
}
REFUSALS = {
    "400": "A parameter that cannot be understood.",
    "403": "Another site asks.",
    "404": "The model cannot be resolved.",
    "414": "The query is too long.",
    "421": "The Host header names another server.",
    "422": "Nothing fits as asked.",
    "503": "Too many requests at once, or one that takes too long.",
}


def document() -> dict[str, Any]:
    """The OpenAPI 3.1 document of every address that this version answers."""
    paths = {f"/api/{name}": _path(name, name, COMMANDS[name]) for name in available()}
    paths |= {f"/api/{name}": _path(name, command, about) for name, (command, about) in EXTRA.items()}
    return {
        "openapi": "3.1.0",
        "info": {"title": "sizer", "version": package_version(), "description": "Will it fit, and how fast?"},
        "paths": paths,
        "components": {"schemas": {"Error": _error_schema()}},
    }


def _path(name: str, command: str, about: str) -> dict[str, Any]:
    refused = {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}}
    kind: dict[str, Any] = {"type": "array", "items": {"type": "object"}} if name in ROWS else {"type": "object"}
    if name in SEVERAL:
        kind = {"type": ["object", "array"]}
    return {
        "get": {
            "operationId": name,
            "summary": about,
            "parameters": [_parameter(item) for item in parameters(command)],
            "responses": {
                "200": {"description": "The command's JSON.", "content": {"application/json": {"schema": kind}}},
                **{code: {"description": text, "content": refused} for code, text in REFUSALS.items()},
            },
        }
    }


def schema_of(item: Parameter) -> dict[str, Any]:
    """The JSON schema of one parameter's value."""
    schema = dict(SCHEMAS.get(item.kind, {"type": "string", "maxLength": LONGEST_VALUE}))
    if item.choices:
        schema["enum"] = list(item.choices)
    if item.default is not None and item.default != "":
        schema["default"] = item.default
    if item.repeats:
        most = MOST_PRECISIONS if item.name == "precision" else MOST_VALUES
        schema = {"type": "array", "items": schema, "maxItems": most}
    return schema


def _parameter(item: Parameter) -> dict[str, Any]:
    return {
        "name": item.name,
        "in": "query",
        "required": item.required,
        "description": item.about,
        "schema": schema_of(item),
        "explode": True,
    }


def _error_schema() -> dict[str, Any]:
    texts = {name: {"type": "string"} for name in ("message", "hint")}
    error = {
        "type": "object",
        "required": ["message", "hint", "exit_code"],
        "properties": {**texts, "exit_code": {"type": "integer"}},
    }
    return {
        "type": "object",
        "required": ["schema_version", "error"],
        "properties": {"schema_version": {"const": 1}, "error": error},
    }
