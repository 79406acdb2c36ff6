"""OTLP requests -> events: ids that make a resend harmless, limits, and who the producers are."""

from collections import Counter
from typing import Any, Final

import msgspec

from realm_telemetry.event import Event
from realm_telemetry.otel import names
from realm_telemetry.otel.attributes import Origin, PlainRecord, add_detail, read_attributes
from realm_telemetry.otel.foreign import content_number, foreign_event, producer_id, run_of
from realm_telemetry.otel.otlp.parts import Entries, Group
from realm_telemetry.otel.otlp.signals import Signal
from realm_telemetry.otel.record import our_event
from realm_telemetry.values.conversions import MAX_KEY_CHARS
from realm_telemetry.values.details import (
    MAX_DETAILS,
    MAX_EVENT_BYTES,
    TRUNCATED,
    fit_event,
    force_clean,
    mark_truncated,
)
from realm_telemetry.values.rank import to_rank
from realm_telemetry.values.times import EARLIEST_NS, LATEST_NS, number_ns

_SMALL_BYTES: Final = 2_000
"""A record of less is within all limits but those on its names and on their number."""

_MAX_CARRIED_CHARS: Final = 8_192
"""Of each detail that all events of a scope carry: its attributes, the resource, their schemas."""

_ARRIVAL_BYTES: Final = 1_024
"""What an event may grow by after `emit`: arrival, source, and the like."""

_MAX_KIND_CHARS: Final = 256

_MAX_SOURCE_CHARS: Final = 256

_to_msgpack: Final = msgspec.msgpack.Encoder().encode
_to_json: Final = msgspec.json.Encoder().encode

Resources = dict[str, dict[str, Any]]


class Reading(msgspec.Struct):
    """What a request came to.

    events: in its order. refused: parts that are not taken, in the signal's unit.
    cut: events that were over a limit and have lost something.
    foreign: events that are not stored, because their ids are those of another source's events.
    producers: resources by producer of events that a process with this package emitted.
    others: resources by the producer id that was made of them.
    problems: why items were refused or hold nothing. unknown: fields that were passed over.
    """

    events: list[Event] = []
    refused: int = 0
    cut: int = 0
    foreign: int = 0
    producers: Resources = {}
    others: Resources = {}
    problems: set[str] = set()
    unknown: set[str] = set()


def read_request(
    signal: Signal, data: bytes, *, as_json: bool, max_entries: int, now_ns: int
) -> Reading:
    """Read a whole request.

    now_ns: the time of records that bring none.
    Raises InvalidEventError for what is no such request, PayloadTooLargeError.
    """
    entries = Entries(max_entries)
    reader = _Reader(entries, now_ns)
    for group in signal.groups(data, entries, as_json=as_json):
        reader.read(group)
    reader.reading.unknown = entries.unknown
    return reader.reading


class _Reader:
    """One request that is being read."""

    def __init__(self, entries: Entries, now_ns: int) -> None:
        self.reading = Reading()
        self._entries = entries
        self._now_ns = now_ns
        self._same: Counter[str] = Counter()

    def read(self, group: Group) -> None:
        resource, origin = _within_bounds(group.resource.attributes), _origin(group)
        mark = origin.details.get(TRUNCATED)
        for item in group.items:
            # A span may have any number of events; the item itself is counted already.
            self._entries.count(max(len(item.records) - 1, 0))
            self.reading.refused += item.refused
            if item.problem:
                self.reading.problems.add(item.problem)
            for record in item.records:
                event = self._event(record, origin, resource)
                carries_cut = mark is not None and event.details.get(TRUNCATED) is mark
                if carries_cut or _may_be_beyond(event, item.size):
                    event = self._within_limits(event, carries_cut)
                self.reading.events.append(event)

    def _event(self, record: PlainRecord, origin: Origin, resource: dict[str, Any]) -> Event:
        read = read_attributes(record.attributes)
        storable = max(record.timestamp or 0, record.observed_timestamp or 0) <= LATEST_NS
        event = our_event(record, read) if storable else None
        if event is not None:
            theirs = event.producer == resource.get(names.PRODUCER_ID)
            self.reading.producers.setdefault(event.producer, resource if theirs else {})
            return event
        self._time(record, read.details)
        self.reading.others[origin.producer] = resource
        event = foreign_event(record, read, origin)
        return event if names.UID in read.fields else self._told_apart(event)

    def _time(self, record: PlainRecord, details: dict[str, Any]) -> None:
        """Read a record's times as every door does; what is none, or of another unit, is kept."""
        record.timestamp = _plausible(record.timestamp, "otel.time_unix_nano", details)
        record.observed_timestamp = _plausible(
            record.observed_timestamp, "otel.observed_time_unix_nano", details
        )
        if not record.timestamp and not record.observed_timestamp:
            record.observed_timestamp = self._now_ns

    def _told_apart(self, event: Event) -> Event:
        """Number an event again whose content has been in this request already.

        Two equal lines of the same nanosecond are two events. Their order says which is which,
        so that the same request sent again is the same events.
        """
        self._same[event.id] += 1
        repetition = self._same[event.id]
        if repetition == 1:
            return event
        number = content_number(f"{event.id}/{repetition}".encode())
        return msgspec.structs.replace(event, number=number)

    def _within_limits(self, event: Event, has_lost: bool) -> Event:
        """Cut what no `emit` would let through; has_lost: whether something is cut already."""
        details = event.details
        if len(event.kind) > _MAX_KIND_CHARS:
            details = details | {"otel.event_name": event.kind}
        details, cut = force_clean(details)
        cut = cut or has_lost
        if long := [key for key in event.details if len(key) > MAX_KEY_CHARS]:
            details, cut = mark_truncated(details, long), True
        event = msgspec.structs.replace(event, kind=event.kind[:_MAX_KIND_CHARS], details=details)
        if cut or len(_to_msgpack(event)) > MAX_EVENT_BYTES + _ARRIVAL_BYTES:
            event, cut = fit_event(event), True
        self.reading.cut += cut
        return event


def _plausible(given: int | None, name: str, details: dict[str, Any]) -> int:
    """Return a time, 0 where there is none; a number that is not the time is kept as a detail."""
    if not given or EARLIEST_NS <= given <= LATEST_NS:
        return given or 0
    add_detail(details, name, str(given))
    return number_ns(given) or 0


def _may_be_beyond(event: Event, size: int) -> bool:
    """Whether an event of a record of so many bytes may be over a limit."""
    if size > _SMALL_BYTES or len(event.details) > MAX_DETAILS:
        return True
    if size <= MAX_KEY_CHARS:
        return False
    return (
        len(event.kind) > _MAX_KIND_CHARS or max(map(len, event.details), default=0) > MAX_KEY_CHARS
    )


def _origin(group: Group) -> Origin:
    """Return where a group comes from, as each of its events will carry it.

    It stands in every one of them, so one long attribute would be stored as often as there are
    records.
    """
    scope, resource = group.scope, group.resource
    details = scope.details | resource.details
    if len(scope.name) > _MAX_SOURCE_CHARS:
        details["otel.scope.name"] = scope.name
    name = scope.name[:_MAX_SOURCE_CHARS]
    said = resource.attributes
    rank = to_rank(said.get(names.RANK))
    return Origin(producer_id(said), name, _carried(details), run_of(said), rank)


def _carried(details: dict[str, Any]) -> dict[str, Any]:
    """Return details with the beginnings of those that are long, as `fit_event` cuts them."""
    if len(_to_msgpack(details)) <= _SMALL_BYTES:
        return details
    details, _ = force_clean(details)
    long = []
    for key, value in details.items():
        text = value if isinstance(value, str) else _to_json(value).decode()
        if len(text) > _MAX_CARRIED_CHARS:
            details[key] = text[:_MAX_CARRIED_CHARS] + "…"
            long.append(key)
    return mark_truncated(details, long) if long else details


def _within_bounds(resource: dict[str, Any]) -> dict[str, Any]:
    """Return a resource as it is registered, no larger than an event's details."""
    if len(_to_msgpack(resource)) <= MAX_EVENT_BYTES:
        return resource
    event = Event("", "system", "info", "", force_clean(resource)[0], 0, "0" * 16, 1)
    return fit_event(event).details
