"""The routes of the older RealmService; what they write are events, answered after commit."""

import hashlib
import re
import time
from collections.abc import Callable, Collection, Mapping
from typing import Any, Final, TypeVar

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from realm_telemetry.compat.shapes import older_event
from realm_telemetry.compat.stream import OlderStream
from realm_telemetry.event import Event, InvalidEventError, split_event_id
from realm_telemetry.kinds.catalog import event_to_dict
from realm_telemetry.log.filters import Filters
from realm_telemetry.log.has import Has
from realm_telemetry.log.rows import LogRow
from realm_telemetry.service.api.answers import json_answer
from realm_telemetry.service.api.parameters import moment, whole
from realm_telemetry.service.core import Service, service_of
from realm_telemetry.service.errors import ApiError
from realm_telemetry.service.ingest.batches import AHEAD
from realm_telemetry.service.ingest.body import check_values, content_encoding, inflate, read_body
from realm_telemetry.service.ingest.writer import Stored
from realm_telemetry.service.routes import BODY_ERRORS, SINCE, Endpoint, Parameter
from realm_telemetry.service.schemas import OLDER_EVENT, OLDER_NAME, UPDATE
from realm_telemetry.values.details import MAX_EVENT_BYTES
from realm_telemetry.values.json_text import read_object

T = TypeVar("T")

MAX_HISTORY: Final = 1_000


async def get_workers(request: Request) -> Response:
    """All workers by id."""
    return json_answer({"workers": _all_workers(request)})


async def get_worker(request: Request) -> Response:
    """One worker."""
    worker_id: str = request.path_params["id"]
    worker = _all_workers(request).get(worker_id)
    if worker is None:
        raise ApiError("unknown_worker", f"There is no worker {worker_id[:80]!r}.")
    return json_answer(worker)


async def get_history(request: Request) -> Response:
    """How a section looked when an update with _record_history had been merged, oldest first."""
    query, section = request.query_params, request.path_params["section"]
    filters = Filters(
        kinds=("section_updated",),
        has=(Has("section", section), Has("record_history", "true")),
        since_unix_nano=moment(query, "since"),
        limit=whole(query, "limit", 100, 1, MAX_HISTORY),
    )
    service = service_of(request.scope)
    page = await service.readers.run(lambda log: log.page(filters, count=False))
    return json_answer(
        {"history": [_entry(row) for row in reversed(page.rows)], "section": section}
    )


def _entry(row: LogRow) -> dict[str, Any]:
    details = row.event.details
    return {"timestamp": row.event.timestamp, "data": details.get("snapshot", details.get("data"))}


def _all_workers(request: Request) -> dict[str, Any]:
    return service_of(request.scope).folding.current.section("workers", time.time_ns())


RECORD: Final = "_record_history"
"""In the body of an update: whether `/api/history/{section}` is to show it."""

_NAME: Final = re.compile(r"[\w.-]{1,64}")
_MOST_BYTES: Final = MAX_EVENT_BYTES - 2_048
"""Of an update: beyond the limit an event's details are cut, and half a section is none."""


async def post_event(request: Request) -> Response:
    """Store one event; the same id again is a duplicate."""
    service = service_of(request.scope)

    def read(shape: dict[str, Any]) -> tuple[Event, Any]:
        given = shape.get("id")
        return _event(service, shape, given), given

    event, given = await _read(request, read)
    if service.is_ahead(event):
        raise ApiError("invalid_event", f"The event is refused: {AHEAD}.")
    # The older interface gives the time of arrival to most events.
    stored = await _store(service, event, untimed=(event.id,))
    if stored.rejected:
        raise ApiError("invalid_event", f"The event is refused: {stored.rejected[0].reason}.")
    answer = event_to_dict(event) | {"event_id": event.id}
    if given is not None:
        answer["id"] = _shown(given)
    return json_answer({"success": True, "event": answer, "was_duplicate": stored.duplicates > 0})


def _shown(given: Any) -> Any:
    """What was given as an id, as it can be answered: JSON's encoder has 64 bits for a number."""
    return str(given) if isinstance(given, int) and given.bit_length() > 63 else given


async def post_update(request: Request) -> Response:
    """Merge the body into a section; with _record_history keep how it then looks."""
    service, section = service_of(request.scope), _name(request, "section")

    def read(data: dict[str, Any]) -> tuple[dict[str, Any], bool]:
        recorded = data.pop(RECORD, False) is True
        return _checked({"section": section, "data": data}), recorded

    details, recorded = await _read(request, read)
    if recorded:
        details["record_history"] = True
        snapshot = service.folding.current.updated_fields(section) | details["data"]
        whole = details | {"snapshot": snapshot}
        details = whole if _size(whole) <= _MOST_BYTES else details
    await _store(service, _event(service, {"kind": "section_updated", "details": details}))
    return json_answer({"success": True, "section": section})


async def post_worker(request: Request) -> Response:
    """Merge the body into a worker; it counts as a heartbeat."""
    service, worker_id = service_of(request.scope), _name(request, "id")
    status = {} if worker_id in _workers(service) else {"status": "active"}

    def read(fields: dict[str, Any]) -> dict[str, Any]:
        worker = {"worker_id": worker_id} | status | fields
        return _checked({"section": "workers", "data": {worker_id: worker}})

    details = await _read(request, read)
    await _store(service, _event(service, {"kind": "section_updated", "details": details}))
    return json_answer({"success": True, "worker_id": worker_id})


async def delete_worker(request: Request) -> Response:
    """Take a worker off the list."""
    service, worker_id = service_of(request.scope), _name(request, "id")
    if worker_id not in _workers(service):
        raise ApiError("unknown_worker", f"There is no worker {worker_id!r}.")
    details = {"worker_id": worker_id, "removed": True}
    await _store(service, _event(service, {"kind": "worker_left", "details": details}))
    return json_answer({"success": True, "worker_id": worker_id})


def _workers(service: Service) -> Mapping[str, Any]:
    return service.folding.current.section("workers")


def _name(request: Request, parameter: str) -> str:
    # Letters and such: a section's name is the name of a message in the older stream.
    name: str = request.path_params[parameter]
    if not _NAME.fullmatch(name):
        raise ApiError("invalid_event", f"{name[:80]!r} is no name of a {parameter}.")
    return name


async def _read(request: Request, read: Callable[[dict[str, Any]], T]) -> T:
    """Read the body, a JSON object, and give it to `read` in a thread; an empty one is {}."""
    service = service_of(request.scope)
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    # A form of another site's page can send no JSON without asking first.
    if media_type != "application/json":
        raise ApiError("unsupported_media_type", hint="Send application/json.")
    with service.bodies.share() as share:
        body = await read_body(request, service.settings, share)
        encoding, settings = content_encoding(request), service.settings

        def work() -> T:
            data = inflate(body, encoding, settings, share)
            check_values(data, settings.max_body_values)
            return read(_decode(data))

        return await service.readers.work(work)


def _decode(data: bytes) -> dict[str, Any]:
    if not data.strip():
        return {}
    try:
        return read_object(data)
    except InvalidEventError as error:
        problem = f"The body is not a JSON object: {error}"
        raise ApiError("malformed_json", problem, "Send an object.") from None


def _event(service: Service, shape: Mapping[str, Any], given: Any = None) -> Event:
    producer, number = service.producer, 0
    if given is not None:
        producer, number = _identity(str(given))
    try:
        return older_event(shape, producer=producer, number=number or service.number())
    except InvalidEventError as error:
        raise ApiError("invalid_event", f"{error}.") from None


def _identity(given: str) -> tuple[str, int]:
    """An event id for an older one, the same for the same text; one of ours stays what it is."""
    try:
        return split_event_id(given)
    except InvalidEventError:
        digest = hashlib.sha256(given.encode("utf-8", "surrogatepass")).hexdigest()
        return split_event_id(digest[:32])


async def _store(service: Service, event: Event, untimed: Collection[str] = ()) -> Stored:
    stored = await service.writer.store([event], untimed=untimed)
    service.tally.stored(stored.accepted, stored.duplicates, len(stored.rejected), 0)
    return stored


def _checked(details: dict[str, Any]) -> dict[str, Any]:
    """The details of an update, if an event can hold them."""
    if _size(details) > _MOST_BYTES:
        problem = f"An update may have {_MOST_BYTES:,} bytes."
        raise ApiError("body_too_large", problem, "Send the fields in several updates.")
    return details


def _size(details: Mapping[str, Any]) -> int:
    try:
        return len(msgspec.msgpack.encode(details))
    except OverflowError:
        problem = "A number is beyond 64 bits."
        raise ApiError("invalid_event", problem, "Send it as a string.") from None


_LIMIT: Final = Parameter(
    "limit",
    {"type": "integer", "minimum": 1, "maximum": MAX_HISTORY, "default": 100},
    "The most entries, the newest.",
)

ENDPOINTS: Final = (
    Endpoint(
        "/api/event",
        post_event,
        "Older: store one event.",
        errors=("invalid_event", *BODY_ERRORS, "log_unavailable"),
        method="POST",
        body_types=("application/json",),
        body=OLDER_EVENT,
    ),
    Endpoint(
        "/api/update/{section}",
        post_update,
        "Older: merge fields into a section of RealmState.",
        errors=("invalid_event", "not_ready", *BODY_ERRORS, "log_unavailable"),
        method="POST",
        body_types=("application/json",),
        body=UPDATE,
        name=OLDER_NAME,
    ),
    Endpoint(
        "/api/worker/{id}",
        post_worker,
        "Older: merge fields into a worker; a heartbeat.",
        errors=("invalid_event", "not_ready", *BODY_ERRORS, "log_unavailable"),
        method="POST",
        body_types=("application/json",),
        body=UPDATE,
        name=OLDER_NAME,
    ),
    Endpoint(
        "/api/worker/{id}",
        delete_worker,
        "Older: take a worker off the list.",
        errors=("invalid_event", "unknown_worker", "not_ready", "ingest_full", "log_unavailable"),
        method="DELETE",
        name=OLDER_NAME,
    ),
    Endpoint("/api/workers", get_workers, "Older: all workers by id.", errors=("not_ready",)),
    Endpoint(
        "/api/workers/{id}",
        get_worker,
        "Older: one worker.",
        errors=("unknown_worker", "not_ready"),
    ),
    Endpoint(
        "/api/history/{section}",
        get_history,
        "Older: how a section looked, oldest first.",
        (_LIMIT, SINCE),
        errors=("invalid_parameter", "log_unavailable", "query_timeout"),
    ),
    Endpoint(
        "/api/stream",
        OlderStream(),
        "Older: the state, then events and changed sections (server-sent events).",
        media_types=("text/event-stream",),
        errors=("too_many_clients", "shutting_down", "not_ready"),
    ),
)
