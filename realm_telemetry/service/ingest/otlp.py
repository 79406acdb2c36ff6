"""POST /v1/logs, /v1/traces and /v1/metrics: OTLP of any SDK or collector, as events.

Answered after the commit, by the protocol's rules: https://opentelemetry.io/docs/specs/otlp/
"""

import time
from typing import Final

from starlette.requests import Request
from starlette.responses import Response

from realm_telemetry.errors import PayloadTooLargeError
from realm_telemetry.event import InvalidEventError
from realm_telemetry.otel.otlp import (
    LOGS,
    METRICS,
    TRACES,
    Reading,
    Signal,
    answer_body,
    read_request,
)
from realm_telemetry.service.core import Service, service_of
from realm_telemetry.service.errors import ApiError
from realm_telemetry.service.ingest.body import (
    BodyShare,
    check_values,
    content_encoding,
    inflate,
    read_body,
)
from realm_telemetry.service.ingest.otlp_failures import JSON, media_type
from realm_telemetry.service.ingest.registrar import Introduced
from realm_telemetry.service.ingest.writer import Stored
from realm_telemetry.wire import CONTENT_TYPE as PROTOBUF

_INLINE_BYTES: Final = 4 * 1024
"""Below this, reading takes about as long as the way to a thread and back."""

_HINT: Final = "The protocol is https://opentelemetry.io/docs/specs/otlp/."
_SMALLER: Final = "Send smaller batches, or raise max_batch_events in [service] of realm.toml."


async def post_logs(request: Request) -> Response:
    """Store log records as events."""
    return await _take(request, LOGS)


async def post_traces(request: Request) -> Response:
    """Store the events of spans; the spans are refused."""
    return await _take(request, TRACES)


async def post_metrics(request: Request) -> Response:
    """Refuse data points, by the protocol's rules."""
    return await _take(request, METRICS)


async def _take(request: Request, signal: Signal) -> Response:
    service = service_of(request.scope)
    as_json = _is_json(request)
    encoding = content_encoding(request)
    with service.bodies.share() as share:
        body = await read_body(request, service.settings, share)
        reading = await _read(service, share, signal, body, encoding, as_json=as_json)
        stored = await _store(service, reading)
    reading.foreign += len(stored.rejected)
    rejected = reading.refused + reading.foreign
    service.tally.stored(stored.accepted, stored.duplicates, rejected, len(body))
    answer = answer_body(signal, reading, as_json=as_json)
    headers = {"cache-control": "no-store"}
    return Response(answer, headers=headers, media_type=JSON if as_json else PROTOBUF)


def _is_json(request: Request) -> bool:
    given = media_type(request.headers)
    # Only these two: a form of another site's page can send neither without asking first.
    if given not in (PROTOBUF, JSON):
        raise ApiError("unsupported_media_type")
    charset = _charset(request.headers["content-type"])
    if given == JSON and charset not in ("", "utf-8", "utf8"):
        raise ApiError("unsupported_media_type", f"JSON is UTF-8, not {charset[:40]}.")
    return given == JSON


def _charset(content_type: str) -> str:
    for parameter in content_type.split(";")[1:]:
        name, _, value = parameter.partition("=")
        if name.strip().lower() == "charset":
            return value.strip().strip('"').lower()
    return ""


async def _read(
    service: Service,
    share: BodyShare,
    signal: Signal,
    body: bytes,
    encoding: str,
    *,
    as_json: bool,
) -> Reading:
    settings = service.settings

    def read() -> Reading:
        data = inflate(body, encoding, settings, share)
        if as_json:
            check_values(data, settings.max_body_values)
        return read_request(
            signal,
            data,
            as_json=as_json,
            max_entries=settings.max_batch_events,
            now_ns=time.time_ns(),
        )

    try:
        if encoding == "identity" and len(body) < _INLINE_BYTES:
            return read()
        return await service.readers.work(read)
    except PayloadTooLargeError as error:
        problem = f"{error}.".capitalize()
        raise ApiError("too_many_events", problem, _SMALLER) from None
    except InvalidEventError as error:
        code = "malformed_json" if as_json else "malformed_protobuf"
        problem = f"The body is not an {signal.request}: {str(error).rstrip('.')}."
        raise ApiError(code, problem, _HINT) from None


async def _store(service: Service, reading: Reading) -> Stored:
    offered = len(reading.events)
    reading.events = [event for event in reading.events if not service.is_ahead(event)]
    reading.foreign = offered - len(reading.events)
    if not reading.events:
        return Stored(0, 0)
    return await service.writer.store(
        reading.events, introduced=Introduced(reading.producers, reading.others)
    )
