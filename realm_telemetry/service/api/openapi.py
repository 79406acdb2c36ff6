"""The OpenAPI document, made from the table of routes and the catalogue of errors.

Source: https://spec.openapis.org/oas/v3.1.0
"""

import re
from collections.abc import Sequence
from typing import Any, Final

from realm_telemetry.service.errors import CATALOGUE
from realm_telemetry.service.ingest.otlp_failures import RETRYABLE
from realm_telemetry.service.routes import Endpoint, Parameter
from realm_telemetry.service.schemas import BINARY, Schema
from realm_telemetry.wire import CONTENT_TYPE as PROTOBUF

_EVERYWHERE: Final = (
    "token_required",
    "token_wrong",
    "too_many_attempts",
    "host_not_allowed",
    "origin_not_allowed",
    "headers_too_large",
    "too_many_connections",
)
_PATH_PARAMETER: Final = re.compile(r"{(\w+)}")

_ERROR_SCHEMA: Final[dict[str, Any]] = {
    "type": "object",
    "required": ["error", "message", "hint"],
    "properties": {
        "error": {"type": "string", "enum": sorted(CATALOGUE)},
        "message": {"type": "string"},
        "hint": {"type": "string"},
    },
}

_STATUS_SCHEMA: Final[dict[str, Any]] = {
    "type": "object",
    "description": "google.rpc.Status",
    "required": ["message"],
    "properties": {"code": {"type": "integer"}, "message": {"type": "string"}},
}


def openapi_document(endpoints: Sequence[Endpoint], version: str) -> dict[str, Any]:
    """Describe all routes."""
    paths: dict[str, dict[str, Any]] = {}
    for endpoint in endpoints:
        paths.setdefault(endpoint.path, {})[endpoint.method.lower()] = _operation(endpoint)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "RealmService",
            "version": version,
            "description": "Live and historic views of a realm's log, and the way into it.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "."}],
        "security": [{}, {"bearer": []}, {"cookie": []}],
        "paths": paths,
        "components": {
            "schemas": {"Error": _ERROR_SCHEMA, "Status": _STATUS_SCHEMA},
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer"},
                "cookie": {"type": "apiKey", "in": "cookie", "name": "realm_session"},
            },
        },
    }


def _operation(endpoint: Endpoint) -> dict[str, Any]:
    in_path = [
        {"name": name, "in": "path", "required": True, "schema": endpoint.name}
        for name in _PATH_PARAMETER.findall(endpoint.path)
    ]
    operation: dict[str, Any] = {
        "operationId": _operation_id(endpoint),
        "summary": endpoint.summary,
        "parameters": in_path + [_parameter(one) for one in endpoint.parameters],
        "responses": {
            "200": {
                "description": endpoint.summary,
                "content": {media_type: {} for media_type in endpoint.media_types},
            },
            **({"303": {"description": "It is elsewhere."}} if endpoint.redirects else {}),
            **_errors(endpoint),
        },
    }
    if endpoint.body_types:
        content = {
            media_type: {"schema": _body(endpoint, media_type)}
            for media_type in endpoint.body_types
        }
        operation["requestBody"] = {"required": True, "content": content}
    return operation


def _body(endpoint: Endpoint, media_type: str) -> Schema:
    return BINARY if media_type == PROTOBUF or endpoint.body is None else endpoint.body


def _operation_id(endpoint: Endpoint) -> str:
    words = re.findall(r"\w+", endpoint.path) or ["index"]
    return "_".join([endpoint.method.lower(), *words])


def _parameter(parameter: Parameter) -> dict[str, Any]:
    return {
        "name": parameter.name,
        "in": "query",
        "required": parameter.required,
        "schema": parameter.schema,
        "description": parameter.description,
    }


def _errors(endpoint: Endpoint) -> dict[str, Any]:
    by_status: dict[str, list[str]] = {}
    for code in (*endpoint.errors, *_EVERYWHERE):
        status = CATALOGUE[code].status
        if endpoint.failure == "Status":
            status = RETRYABLE.get(code, status)
        by_status.setdefault(str(status), []).append(code)
    schema = {"schema": {"$ref": f"#/components/schemas/{endpoint.failure}"}}
    types = ("application/json",) if endpoint.failure == "Error" else endpoint.media_types
    content = dict.fromkeys(types, schema)
    found: dict[str, Any] = {
        status: {"description": ", ".join(codes), "content": content}
        for status, codes in sorted(by_status.items())
    }
    if endpoint.missing:
        found["404"]["content"] = content | {media_type: {} for media_type in endpoint.missing}
    return found
