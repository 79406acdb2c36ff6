"""POST /api/v1/events: batches in, answered after their commit."""

import time
from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final, NamedTuple

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from realm_telemetry.errors import PayloadTooLargeError
from realm_telemetry.event import Event, InvalidEventError
from realm_telemetry.kinds.catalog import KindSpec
from realm_telemetry.kinds.outside import event_from_outside, has_identity
from realm_telemetry.log.engine import Snapshot
from realm_telemetry.log.rows import LogRow
from realm_telemetry.service.api.answers import json_answer
from realm_telemetry.service.api.parameters import choice
from realm_telemetry.service.core import Service, service_of
from realm_telemetry.service.errors import ApiError
from realm_telemetry.service.ingest.body import (
    BodyShare,
    check_values,
    content_encoding,
    count_values,
    inflate,
    may_have_more_values,
    read_body,
)
from realm_telemetry.service.ingest.registrar import Introduced
from realm_telemetry.service.settings import ServiceSettings
from realm_telemetry.values.details import MAX_EVENT_BYTES, fit_event, force_clean, make_safe
from realm_telemetry.values.json_fields import type_name
from realm_telemetry.values.json_text import read_object
from realm_telemetry.wire import (
    CONTENT_TYPE,
    Batch,
    BatchAnswer,
    BatchProducer,
    Rejected,
    encode_answer,
    read_batch,
)
from realm_telemetry.wire.fields import check_shape, submessages

_INLINE_BYTES: Final = 8 * 1024
"""Below this, decoding takes less than the way to a thread and back."""

_ARRIVAL_BYTES: Final = 1_024
"""What an event may grow by after `emit`: arrival, source, and the like."""

_JSON_FIELDS: Final = {1: 8, 2: 3}
"""Fields of EventBatch, and of their entries: details_json of an event, resource_json of others.

Source: proto/realm_telemetry/wire/v1/event.proto.
"""

_to_msgpack: Final = msgspec.msgpack.Encoder().encode

_MAX_REASONS: Final = 1_000
_JSON_TYPE: Final = "application/json"


class Parsed(NamedTuple):
    """A body taken apart.

    rejected: those that no event can be, with their place in the batch where they have no id.
    introduced: resources that events in JSON bring. log_id: of the sender's log, if it has one.
    untimed: ids of events that brought no time.
    """

    events: Sequence[Event]
    producers: Sequence[BatchProducer]
    rejected: Sequence[Rejected]
    kinds: Sequence[KindSpec] = ()
    introduced: Introduced | None = None
    log_id: str = ""
    untimed: Collection[str] = ()


async def post_events(request: Request) -> Response:
    """Take a batch; protobuf is answered in protobuf unless JSON is asked for."""
    service = service_of(request.scope)
    media_type = _media_type(request)
    encoding = content_encoding(request)
    replay = choice(request.query_params, "replay", ("false", "true"), "false") == "true"
    shown = service.hub.cursor
    with service.bodies.share() as share:
        body = await read_body(request, service.settings, share)
        parsed = await _parse(service, share, body, encoding, media_type)
        stored = await service.writer.store(
            parsed.events,
            parsed.producers,
            parsed.kinds,
            replay=replay,
            introduced=parsed.introduced,
            source=parsed.log_id,
            untimed=parsed.untimed,
        )
        if replay and stored.duplicates:
            await _show_again(service, parsed.events, shown)
    rejected = [*parsed.rejected, *stored.rejected]
    service.tally.stored(stored.accepted, stored.duplicates, len(rejected), len(body))
    answer = BatchAnswer(
        stored.accepted, stored.duplicates, rejected[:_MAX_REASONS], service.log_id
    )
    if media_type == CONTENT_TYPE and _JSON_TYPE not in request.headers.get("accept", ""):
        return Response(encode_answer(answer), media_type=CONTENT_TYPE)
    return json_answer(answer)


async def _show_again(service: Service, events: Sequence[Event], shown: int) -> None:
    """Show events that the log had before; those stored just now come by the tail.

    shown: the cursor up to which the streams had everything before this batch was stored.
    """

    def find(log: Snapshot) -> list[LogRow]:
        found = (log.get(event.id) for event in events)
        return [row for row in found if row is not None and row.cursor <= shown]

    rows = sorted(await service.readers.run_long(find), key=lambda row: row.cursor)
    service.live.show_again(rows)
    service.hub.show_again(rows)


def _media_type(request: Request) -> str:
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    # Only these two: a form of another site's page can send neither without asking first.
    if media_type not in (CONTENT_TYPE, _JSON_TYPE):
        raise ApiError("unsupported_media_type")
    return media_type


async def _parse(
    service: Service, share: BodyShare, body: bytes, encoding: str, media_type: str
) -> Parsed:
    settings = service.settings

    def parse() -> Parsed:
        data = inflate(body, encoding, settings, share)
        if media_type == CONTENT_TYPE:
            return _without_ahead(service, _from_protobuf(data, settings))
        check_values(data, settings.max_body_values)
        return _without_ahead(service, _from_json(data, service))

    if encoding == "identity" and len(body) < _INLINE_BYTES:
        return parse()
    return await service.readers.work(parse)


def _from_protobuf(data: bytes, settings: ServiceSettings) -> Parsed:
    try:
        _check_wire_values(data, settings)
        batch: Batch = read_batch(
            data, max_bytes=settings.max_body_bytes, max_entries=settings.max_batch_events
        )
    except PayloadTooLargeError as error:
        raise ApiError("too_many_events", f"{error}.") from None
    except InvalidEventError as error:
        raise ApiError("malformed_protobuf", f"{error}.") from None
    events = (
        batch.events if len(data) <= MAX_EVENT_BYTES else [_fitted(one) for one in batch.events]
    )
    return Parsed(events, batch.producers, batch.rejected, batch.kinds, log_id=batch.log_id)


AHEAD: Final = "its producer is this service, which numbers events that come without an id"


def _without_ahead(service: Service, parsed: Parsed) -> Parsed:
    """Refuse numbers that this service has yet to give."""
    ahead = [event for event in parsed.events if service.is_ahead(event)]
    if not ahead:
        return parsed
    events = [event for event in parsed.events if not service.is_ahead(event)]
    rejected = [*parsed.rejected, *(Rejected(event.id, AHEAD) for event in ahead)]
    return parsed._replace(events=events, rejected=rejected)


def _check_wire_values(data: bytes, settings: ServiceSettings) -> None:
    """As `check_values`, for the JSON inside a protobuf body."""
    most = settings.max_body_values
    if not may_have_more_values(data, most):
        return
    check_shape(data, settings.max_body_bytes, settings.max_batch_events)
    found = 0
    for entry, start, end in submessages(data, 0, len(data)):
        if entry not in _JSON_FIELDS:
            continue
        for field, first, last in submessages(data, start, end):
            if field == _JSON_FIELDS[entry]:
                found += count_values(data[first:last], most)
    if found > most:
        raise ApiError("too_many_values", f"The body has over {most:,} JSON values.")


def _fitted(event: Event) -> Event:
    """Cut what no `emit` would let through: the live view keeps thousands of events in memory."""
    if len(_to_msgpack(event)) <= MAX_EVENT_BYTES + _ARRIVAL_BYTES:
        return event
    return fit_event(event)


def _from_json(data: bytes, service: Service) -> Parsed:
    shapes, rejected = _shapes(data)
    if len(shapes) > service.settings.max_batch_events:
        raise ApiError("too_many_events")
    events, untimed = list[Event](), set[str]()
    resources: dict[str, Mapping[str, Any]] = {}
    for place, shape in enumerate(shapes):
        try:
            events.append(event := _event(shape, service))
        except InvalidEventError as error:
            rejected.append(Rejected(_name(shape, place), str(error)))
            continue
        if not _is_timed(shape):
            untimed.add(event.id)
        if has_identity(shape) and shape.get("resource"):
            resources[event.producer] = force_clean(shape["resource"])[0]
    return Parsed(events, (), rejected, introduced=Introduced({}, resources), untimed=untimed)


def _is_timed(shape: Any) -> bool:
    return any(name in shape for name in ("time_unix_nano", "timestamp", "ts"))


def _shapes(data: bytes) -> tuple[list[Any], list[Rejected]]:
    """Return the events of a body, undone, and what else it has, which is not taken."""
    try:
        body = read_object(data)
    except InvalidEventError as error:
        raise ApiError("malformed_json", f"The body is not the JSON expected: {error}") from None
    shapes = body.pop("events", None)
    if not isinstance(shapes, list):
        problem = 'The body is not the JSON expected: it must be {"events": [...]}'
        raise ApiError("malformed_json", f"{problem}, got events: {type_name(shapes)}")
    reason = "a batch in JSON has no such field"
    return shapes, [Rejected(name[:64], reason) for name in body]


def _event(shape: Any, service: Service) -> Event:
    """One event of a JSON batch; what it lacks is given here: id, time, channel, message."""
    now_ns = time.time_ns()
    if isinstance(shape, Mapping) and has_identity(shape):
        return make_safe(event_from_outside(shape, now_ns=now_ns))
    number = service.number()
    return make_safe(
        event_from_outside(shape, now_ns=now_ns, producer=service.producer, number=number)
    )


def _name(shape: Any, place: int) -> str:
    named = shape.get("id") if isinstance(shape, Mapping) else None
    return named[:64] if isinstance(named, str) else f"events[{place}]"
