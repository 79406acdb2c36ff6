"""Every route in one table, from which the router, the OpenAPI document and `/` are made."""

from collections.abc import Awaitable, Callable
from typing import Any, Final, NamedTuple

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from realm_telemetry.folds.report import FORMATS
from realm_telemetry.folds.runs import WARNINGS
from realm_telemetry.log.fields import FIELDS, OTHER_FILTERS, Field, Filter
from realm_telemetry.log.graphs import MAX_BUCKETS, MAX_POINTS
from realm_telemetry.service.api.alerts import (
    get_alert_history,
    get_alerts,
    post_alert_action,
)
from realm_telemetry.service.api.counts import (
    get_channels,
    get_histogram,
    get_series,
    get_summary,
)
from realm_telemetry.service.api.export import get_export
from realm_telemetry.service.api.health import (
    get_health,
    get_health_details,
    get_ready,
    get_receipts,
)
from realm_telemetry.service.api.history import (
    MAX_CONTEXT,
    get_context,
    get_event,
    get_events,
    get_page,
)
from realm_telemetry.service.api.hosts import get_hosts, post_heartbeat
from realm_telemetry.service.api.labels import get_labels
from realm_telemetry.service.api.metrics import get_metrics
from realm_telemetry.service.api.run_metrics import (
    POINTS,
    get_comparison,
    get_run_metrics,
)
from realm_telemetry.service.api.run_output import MAX_LINES, MAX_OFFSET, get_run_output
from realm_telemetry.service.api.run_report import MEDIA_TYPES, get_run_report
from realm_telemetry.service.api.runs import (
    MAX_RUNS,
    STATUSES,
    RunRoute,
    get_run,
    get_run_changes,
    get_runs,
)
from realm_telemetry.service.api.state import get_section, get_state
from realm_telemetry.service.ingest.batches import post_events
from realm_telemetry.service.ingest.otlp import post_logs, post_metrics, post_traces
from realm_telemetry.service.live.sse import EventStream
from realm_telemetry.service.schemas import (
    ALERT_ACTION,
    BATCH,
    COMPARED_RUNS,
    CURSOR_NUMBER,
    DETAILS,
    EVENT_KEY,
    GROUPS,
    HEARTBEAT,
    OTLP_BODIES,
    RANK,
    TEXT,
    WORDS,
    Schema,
    list_of,
    names_of,
    values_of,
)

Handler = Callable[[Request], Awaitable[Response]]


class Parameter(NamedTuple):
    """A query parameter. schema: JSON schema of its value; of an array, the name is repeated."""

    name: str
    schema: dict[str, Any]
    description: str
    required: bool = False


class Endpoint(NamedTuple):
    """One route.

    handler: an async function, or an ASGI application. parameters: besides those of the path.
    media_types, body_types: of the answer and of the request.
    errors: codes of the catalogue besides those of all routes.
    failure: the schema of its failures. name, body: the schemas of the name in the path, and of a
    JSON or form body. redirects: whether it may lead elsewhere. route: how its path is matched.
    missing: media types of a page that says that there is nothing of the name.
    """

    path: str
    handler: Any
    summary: str
    parameters: tuple[Parameter, ...] = ()
    media_types: tuple[str, ...] = ("application/json",)
    errors: tuple[str, ...] = ()
    method: str = "GET"
    body_types: tuple[str, ...] = ()
    failure: str = "Error"
    name: Schema = TEXT
    body: Schema | None = None
    redirects: bool = False
    missing: tuple[str, ...] = ()
    route: type[Route] = Route


def _text(name: str, description: str) -> Parameter:
    return Parameter(name, {"type": "string"}, description)


def _number(name: str, least: int, most: int, default: int, description: str) -> Parameter:
    bounds = {"type": "integer", "minimum": least, "maximum": most, "default": default}
    return Parameter(name, bounds, description)


def _choice(name: str, choices: list[str], description: str) -> Parameter:
    return Parameter(name, {"type": "string", "enum": choices, "default": choices[0]}, description)


def _names_of(field: Field) -> str:
    alias = f"; {field.alias} is an alias" if field.alias else ""
    return f"{field.help}; a comma list; !name leaves out{alias}."


def _values_of(other: Filter) -> str:
    return f"{other.help}; may be repeated." if other.repeated else f"{other.help}."


FILTERS: Final = (
    *(Parameter(field.name, names_of(field), _names_of(field)) for field in FIELDS),
    *(Parameter(other.name, values_of(other), _values_of(other)) for other in OTHER_FILTERS),
)
SINCE, UNTIL = (next(one for one in FILTERS if one.name == name) for name in ("since", "until"))
NAMES: Final = _text("name", "A name of the list, or * for the first 64; may be repeated.")
LIMIT: Final = _number("limit", 1, 1000, 100, "The most events to answer.")
CURSOR: Final = _text("cursor", "Where the page before ended; the Link header has it.")
AS_OF: Final = Parameter("as_of", CURSOR_NUMBER, "Leave out what arrived after this cursor.")

_BAD: Final = ("invalid_parameter",)
_LOG: Final = ("log_unavailable",)
_QUERY: Final = (*_LOG, "query_timeout")
BODY_ERRORS: Final = (
    "malformed_json",
    "malformed_compression",
    "body_timeout",
    "body_too_large",
    "too_many_values",
    "unsupported_media_type",
    "unsupported_encoding",
    "ingest_full",
)
_OBJECT: Final = ("application/json",)

_OTLP_TYPES: Final = ("application/x-protobuf", "application/json")
_OTLP_ERRORS: Final = (
    "malformed_protobuf",
    "too_many_events",
    "shutting_down",
    *BODY_ERRORS,
    *_LOG,
)

OTLP_ENDPOINTS: Final = tuple(
    Endpoint(
        path,
        handler,
        summary,
        media_types=_OTLP_TYPES,
        errors=_OTLP_ERRORS,
        method="POST",
        body_types=_OTLP_TYPES,
        failure="Status",
        body=OTLP_BODIES[path],
    )
    for path, handler, summary in (
        ("/v1/logs", post_logs, "OTLP: store log records as events; answered after commit."),
        ("/v1/traces", post_traces, "OTLP: store the events of spans; the spans are refused."),
        ("/v1/metrics", post_metrics, "OTLP: data points are refused, as the protocol says."),
    )
)

_ONE_RUN: Final = ("run_not_found", "not_ready", *_BAD, *_QUERY)

RUN_ENDPOINTS: Final = (
    Endpoint(
        "/api/runs",
        get_runs,
        "Runs, newest first by their start.",
        (
            Parameter("status", list_of(STATUSES), "A comma list."),
            Parameter(
                "warnings", list_of(("any", *WARNINGS)), "A comma list; runs with one of them."
            ),
            _text("tag", "A tag that a run has; repeated, all of them."),
            _text("metric", "A number whose last value is wanted, or * for all; may be repeated."),
            SINCE._replace(description="Heard of at or after; in the forms of since elsewhere."),
            Parameter("q", WORDS, "Part of the id or the command, in any case."),
            _number("limit", 1, MAX_RUNS, 100, "The most runs to answer."),
            CURSOR,
        ),
        errors=("not_ready", *_BAD, *_QUERY),
    ),
    Endpoint(
        "/api/runs/{id}",
        get_run,
        "One run, with its ranks, configuration and exception.",
        errors=_ONE_RUN,
        route=RunRoute,
    ),
    Endpoint(
        "/api/runs/{id}/changes",
        get_run_changes,
        "The run before of the same kind, the last that was well, and what was changed since.",
        errors=_ONE_RUN,
        route=RunRoute,
    ),
    Endpoint(
        "/api/runs/{id}/metrics",
        get_run_metrics,
        "What a run measures, and the thinned series of some of it, for graphs.",
        (
            NAMES,
            _number("points", 2, MAX_POINTS, POINTS, "The most points of a series."),
            Parameter("rank", RANK, "A rank, or all; the lowest one by default."),
            Parameter("fields", DETAILS, "In place of name: details of events that are there."),
        ),
        errors=_ONE_RUN,
        route=RunRoute,
    ),
    Endpoint(
        "/api/compare",
        get_comparison,
        "Two to six runs: summaries, differences of configuration, metrics and series.",
        (
            Parameter("run", COMPARED_RUNS, "A run id; repeated, two to six of them.", True),
            NAMES,
            _number("points", 2, MAX_POINTS, POINTS, "The most points of a series."),
        ),
        errors=_ONE_RUN,
    ),
    Endpoint(
        "/api/runs/{id}/report",
        get_run_report,
        "A run as one document: what it was, how it ended and why, its curves.",
        (_choice("format", list(FORMATS), "Markdown, or one HTML document with curves."),),
        media_types=MEDIA_TYPES,
        errors=_ONE_RUN,
        route=RunRoute,
    ),
    Endpoint(
        "/api/runs/{id}/output",
        get_run_output,
        "What the command of `realm run` printed: the last lines, or on from an offset.",
        (
            _number("tail", 0, MAX_LINES, 1000, "How many lines of the end, within 1 MiB."),
            _number("offset", 0, MAX_OFFSET, 0, "Read on from here, up to 1 MiB; not with tail."),
        ),
        media_types=("text/plain",),
        errors=("output_not_found", *_ONE_RUN),
        route=RunRoute,
    ),
)

HOST_ENDPOINTS: Final = (
    Endpoint(
        "/api/v1/heartbeat",
        post_heartbeat,
        "Take in the heartbeat of a host; nothing of it is stored.",
        errors=(
            "malformed_json",
            "body_timeout",
            "body_too_large",
            "unsupported_media_type",
            "unsupported_encoding",
            "ingest_full",
            *_LOG,
        ),
        method="POST",
        body_types=("application/json",),
        body=HEARTBEAT,
    ),
    Endpoint("/api/hosts", get_hosts, "The hosts that were heard, and what runs there."),
)

ALERT_ENDPOINTS: Final = (
    Endpoint(
        "/api/alerts",
        get_alerts,
        "Alerts: rules and when they fired, targets, the last messages.",
        errors=_LOG,
    ),
    Endpoint(
        "/api/alerts/history",
        get_alert_history,
        "Alerts: how often each rule would have fired, and when.",
        (SINCE,),
        errors=("not_found", "too_many_alerts", *_BAD, *_QUERY),
    ),
    Endpoint(
        "/api/alerts",
        post_alert_action,
        "Alerts: mute a rule, test a target, or send a message again.",
        errors=(
            "not_found",
            "malformed_json",
            "body_timeout",
            "body_too_large",
            "unsupported_media_type",
            "unsupported_encoding",
            "ingest_full",
            "too_many_alerts",
            "shutting_down",
            *_LOG,
        ),
        method="POST",
        body_types=("application/json",),
        body=ALERT_ACTION,
    ),
)

ENDPOINTS: Final = (
    Endpoint(
        "/api/v1/events",
        post_events,
        "Store a batch of events, protobuf or JSON; answered after commit.",
        (_choice("replay", ["false", "true"], "true: events of another log, replayed."),),
        errors=(
            "malformed_json",
            "malformed_protobuf",
            "malformed_compression",
            "body_timeout",
            "body_too_large",
            "too_many_events",
            "too_many_values",
            "unsupported_media_type",
            "unsupported_encoding",
            "ingest_full",
            *_LOG,
        ),
        method="POST",
        body_types=("application/x-protobuf", "application/json"),
        body=BATCH,
    ),
    Endpoint(
        "/api/events",
        get_events,
        "Live: the last events from memory, newest first.",
        (*FILTERS, LIMIT, CURSOR),
        errors=(*_BAD, "query_timeout"),
    ),
    Endpoint(
        "/api/events/stream",
        EventStream(),
        "Live: a snapshot, then every event (server-sent events).",
        (
            *FILTERS,
            _choice("routine", ["all", "latest"], "latest: one routine event per 100 ms."),
            _text("last_event_id", "Resume behind this id; as the header Last-Event-ID."),
        ),
        ("text/event-stream",),
        (*_BAD, "too_many_clients", "shutting_down"),
    ),
    Endpoint(
        "/api/state", get_state, "RealmState: what the events add up to.", errors=("not_ready",)
    ),
    Endpoint(
        "/api/state/{section}",
        get_section,
        "One section of RealmState.",
        errors=("not_ready", "unknown_section"),
    ),
    Endpoint(
        "/api/labels", get_labels, "How the pages call heroes and campaigns.", errors=("not_ready",)
    ),
    *RUN_ENDPOINTS,
    *HOST_ENDPOINTS,
    *ALERT_ENDPOINTS,
    Endpoint(
        "/api/battle_log",
        get_page,
        "History: one page, newest first.",
        (
            *FILTERS,
            LIMIT,
            CURSOR,
            AS_OF,
            _choice("format", ["array", "object"], "object: the older shape."),
        ),
        errors=(*_BAD, *_QUERY),
    ),
    Endpoint(
        "/api/battle_log/histogram",
        get_histogram,
        "History: events per interval.",
        (*FILTERS, AS_OF, _number("buckets", 1, MAX_BUCKETS, 60, "How many intervals.")),
        errors=(*_BAD, *_QUERY),
    ),
    Endpoint(
        "/api/battle_log/channels",
        get_channels,
        "History: channels and severities, with counts.",
        (SINCE,),
        errors=(*_BAD, *_QUERY),
    ),
    Endpoint(
        "/api/battle_log/summary",
        get_summary,
        "History: counts by channel, severity, kind, run and time.",
        (Parameter("by", GROUPS, "A comma list; channel,day by default."), SINCE, UNTIL),
        errors=(*_BAD, *_QUERY),
    ),
    Endpoint(
        "/api/battle_log/series",
        get_series,
        "History: numbers among the details over time, for a graph.",
        (
            *FILTERS,
            Parameter("fields", DETAILS, "Names of details, a comma list; loss by default."),
            _number("points", 1, MAX_POINTS, 1000, "About how many points."),
        ),
        errors=(*_BAD, *_QUERY),
    ),
    Endpoint(
        "/api/battle_log/export",
        get_export,
        "History: all that matches, streamed.",
        (
            *FILTERS,
            AS_OF,
            _choice("format", ["jsonl", "csv"], "JSON lines, or CSV."),
            _choice("order", ["newest", "arrival"], "By time, newest first; or as they arrived."),
        ),
        ("application/x-ndjson", "text/csv"),
        (*_BAD, *_QUERY),
    ),
    Endpoint(
        "/api/battle_log/{id}",
        get_event,
        "History: one event, by event id or cursor.",
        errors=("invalid_event_id", "event_not_found", *_QUERY),
        name=EVENT_KEY,
    ),
    Endpoint(
        "/api/battle_log/{id}/context",
        get_context,
        "History: an event among those around it.",
        (
            _number("before", 0, MAX_CONTEXT, 20, "Events before it."),
            _number("after", 0, MAX_CONTEXT, 20, "Events after it."),
        ),
        errors=("invalid_event_id", "event_not_found", *_BAD, *_QUERY),
        name=EVENT_KEY,
    ),
    Endpoint(
        "/api/receipts",
        get_receipts,
        "Per producer: emitted, stored, dropped; complete or not.",
        errors=_QUERY,
    ),
    Endpoint(
        "/api/health",
        get_health_details,
        "What is wrong on the way of an event, and what to do; answered whatever is broken.",
    ),
    Endpoint("/health", get_health, "Whether the service runs, and on which log."),
    Endpoint(
        "/ready",
        get_ready,
        "200 once the log is followed and RealmState is folded.",
        errors=("not_ready", *_LOG),
    ),
    Endpoint(
        "/metrics",
        get_metrics,
        "Prometheus metrics.",
        media_types=("text/plain",),
        errors=_QUERY,
    ),
    *OTLP_ENDPOINTS,
)
