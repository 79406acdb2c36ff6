"""What parameters and JSON bodies may be, as JSON schemas: for the OpenAPI document.

What fits a schema here is taken; a test makes requests from them. Opaque values (a page's cursor,
the id of a stream) are just strings.
Source: https://json-schema.org/draft/2020-12/json-schema-validation
"""

from collections.abc import Sequence
from typing import Any, Final

from realm_telemetry.event import CHANNELS, SEVERITIES
from realm_telemetry.log.fields import Field, Filter
from realm_telemetry.log.filters import MAX_HAS, MAX_NAME_CHARS, MAX_NAMES, MAX_WORDS_CHARS
from realm_telemetry.log.graphs import GROUPINGS, MAX_FIELDS

Schema = dict[str, Any]

TEXT: Final[Schema] = {"type": "string"}
BINARY: Final[Schema] = {"type": "string", "format": "binary"}
RANK: Final[Schema] = {"type": "string", "pattern": "^(all|[0-9]{1,9})$"}
CURSOR_NUMBER: Final[Schema] = {"type": "integer", "minimum": 0, "maximum": 2**63 - 1}
EVENT_KEY: Final[Schema] = {"type": "string", "pattern": "^([0-9a-fA-F]{32}|[0-9]{1,19})$"}
OLDER_NAME: Final[Schema] = {"type": "string", "pattern": "^[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}$"}

TIME: Final[Schema] = {
    "type": "string",
    "anyOf": [
        {"const": "now"},
        {"pattern": "^[0-9]{1,9}[smhdw]( ago)?$"},
        {"pattern": "^[1-9][0-9]{9}([.][0-9]{1,9})?$"},
        {"pattern": "^20(0[1-9]|[1-9][0-9])-(0[1-9]|1[0-2])-(0[1-9]|1[0-9]|2[0-8])$"},
        {
            "pattern": "^20(0[1-9]|[1-9][0-9])-(0[1-9]|1[0-2])-(0[1-9]|1[0-9]|2[0-8])T"
            "([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]([.][0-9]{1,9})?(Z|[+-](0[0-9]|1[0-4]):[0-5][0-9])?$"
        },
    ],
}

_NAME: Final = r"[^,!\s\x00-\x20\x7f-\xa0]+"
_KEY: Final = r'[^\s\x00-\x20\x7f-\xa0":.\\]+'
_DETAIL: Final = "[A-Za-z0-9_]+([.][A-Za-z0-9_]+)*"


def _list_of(name: str, most: int) -> str:
    return f"^{name}(,{name}){{0,{most - 1}}}$"


def names_of(field: Field) -> Schema:
    """The names of a filter field: a comma list, `!` before those that are left out."""
    name = f"({'|'.join(field.allowed)})" if field.allowed else _NAME
    if field.number:
        name = "[0-9]{1,9}"
    return {
        "type": "string",
        "pattern": _list_of(f"!?{name}", MAX_NAMES),
        "maxLength": MAX_NAME_CHARS,
    }


def values_of(other: Filter) -> Schema:
    """The values of a filter that is not by names."""
    if other.repeated:
        detail = {"type": "string", "pattern": f"^{_KEY}([.]{_KEY}){{0,31}}:", "maxLength": 256}
        return {"type": "array", "items": detail, "maxItems": MAX_HAS}
    if other.name == "q":
        return {"type": "string", "pattern": "[A-Za-z0-9]", "maxLength": MAX_WORDS_CHARS}
    return TIME


DETAILS: Final[Schema] = {
    "type": "string",
    "pattern": _list_of(_DETAIL, MAX_FIELDS),
    "maxLength": 100,
}
WORDS: Final[Schema] = {"type": "string", "maxLength": MAX_WORDS_CHARS}
COMPARED_RUNS: Final[Schema] = {
    "type": "array",
    "items": {"type": "string"},
    "minItems": 2,
    "maxItems": 6,
    "uniqueItems": True,
}


def list_of(words: Sequence[str]) -> Schema:
    """A comma list of some of a few words."""
    return {"type": "string", "pattern": _list_of(f"({'|'.join(words)})", len(words))}


GROUPS: Final[Schema] = list_of(GROUPINGS)

_SCALAR: Final[Schema] = {
    "anyOf": [
        {"type": ["string", "boolean", "null"], "maxLength": 1_000},
        {"type": "integer", "minimum": -(2**63), "maximum": 2**64 - 1},
        {"type": "number", "minimum": -1e300, "maximum": 1e300},
    ]
}
_VALUE: Final[Schema] = {
    "anyOf": [
        _SCALAR,
        {"type": "array", "items": _SCALAR, "maxItems": 100},
        {"type": "object", "additionalProperties": _SCALAR, "maxProperties": 100},
    ]
}
UPDATE: Final[Schema] = {
    "type": "object",
    "additionalProperties": _VALUE,
    "maxProperties": 100,
    "description": "At most 62 KiB; values may be nested.",
}

_ID: Final[Schema] = {"type": ["string", "null"], "maxLength": 200}
OLDER_EVENT: Final[Schema] = {
    "type": "object",
    "required": ["kind"],
    "properties": {
        "kind": {"type": "string", "pattern": "^[a-z][a-z0-9_]{0,63}$"},
        "message": {"type": ["string", "null"]},
        "channel": {"enum": [*CHANNELS, None]},
        "severity": {"enum": [*SEVERITIES, None]},
        "details": {"type": ["object", "null"], "additionalProperties": _VALUE},
        "hero_id": _ID,
        "campaign_id": _ID,
        "source": _ID,
        "id": _ID,
        "timestamp": TIME["anyOf"][-1] | {"type": "string"},
    },
    "additionalProperties": False,
}
BATCH: Final[Schema] = {
    "type": "object",
    "required": ["events"],
    "properties": {
        "events": {
            "type": "array",
            "description": "Events; one that is not valid is named in the answer.",
            "items": {"type": "object", "required": ["kind"]},
        }
    },
}
HEARTBEAT: Final[Schema] = {
    "type": "object",
    "required": ["host"],
    "properties": {
        "host": {"type": "string", "minLength": 1, "maxLength": 256},
        "boot_id": {"type": "string", "maxLength": 64},
        "pipeline": {"type": "string", "maxLength": 64},
        "interval_s": {"type": "number", "exclusiveMinimum": 0, "maximum": 3600},
        "processes": {
            "type": "array",
            "maxItems": 1024,
            "items": {
                "type": "object",
                "required": ["producer", "run_id"],
                "properties": {
                    "producer": {"type": "string", "pattern": "^[0-9a-f]{16}$"},
                    "run_id": {"type": "string", "minLength": 1, "maxLength": 256},
                    "rank": {"type": ["integer", "null"], "minimum": 0, "maximum": 2**32 - 1},
                    "step": {"type": ["integer", "null"], "minimum": 0, "maximum": 2**53},
                    "step_unix_nano": {
                        "type": ["integer", "null"],
                        "minimum": 0,
                        "maximum": 2**63 - 1,
                    },
                },
            },
        },
    },
}
ALERT_ACTION: Final[Schema] = {
    "description": "One of: mute a rule or a run (for_s 0 ends that), test a target, send a message"
    " again.",
    "oneOf": [
        {
            "type": "object",
            "required": ["mute"],
            "properties": {
                "mute": {"type": "string", "maxLength": 200},
                "for_s": {"type": "number", "minimum": 0, "maximum": 2_592_000},
            },
            "additionalProperties": False,
        },
        {
            "type": "object",
            "required": ["mute_run"],
            "properties": {
                "mute_run": {"type": "string", "minLength": 1, "maxLength": 256},
                "for_s": {"type": "number", "minimum": 0, "maximum": 2_592_000},
            },
            "additionalProperties": False,
        },
        {
            "type": "object",
            "required": ["test"],
            "properties": {"test": {"type": "string", "maxLength": 200}},
            "additionalProperties": False,
        },
        {
            "type": "object",
            "required": ["redeliver"],
            "properties": {"redeliver": {"type": "integer", "minimum": 0, "maximum": 2**63 - 1}},
            "additionalProperties": False,
        },
    ],
}
LOGIN: Final[Schema] = {"type": "object", "properties": {"token": TEXT, "next": TEXT}}


def _closed(**properties: Schema) -> Schema:
    return {"type": "object", "properties": properties, "additionalProperties": False}


def _some(items: Schema) -> Schema:
    return {"type": "array", "items": items}


def otlp_request(group: str, scope: str, items: str, item: Schema) -> Schema:
    """The outline of an OTLP request in JSON; the protocol has more fields."""
    scopes = _closed(**{items: _some(item), "schemaUrl": TEXT})
    groups = _closed(**{scope: _some(scopes), "schemaUrl": TEXT})
    return _closed(**{group: _some(groups)})


_ANY_VALUE: Final = _closed(stringValue=TEXT)
OTLP_BODIES: Final = {
    "/v1/logs": otlp_request(
        "resourceLogs",
        "scopeLogs",
        "logRecords",
        _closed(body=_ANY_VALUE, severityText=TEXT, eventName=TEXT),
    ),
    "/v1/traces": otlp_request("resourceSpans", "scopeSpans", "spans", _closed(name=TEXT)),
    "/v1/metrics": otlp_request("resourceMetrics", "scopeMetrics", "metrics", _closed(name=TEXT)),
}
