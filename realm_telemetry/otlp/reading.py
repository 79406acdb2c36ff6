"""OTLP requests -> events: ids that make a resend harmless, limits, and who the producers are."""

from collections import Counter
from typing import Any, Final

import msgspec

from realm_telemetry.event import Event
from realm_telemetry.limits import mark_truncated
from realm_telemetry.otel import names
from realm_telemetry.otel.attributes import read_attributes
from realm_telemetry.otel.foreign import content_number, foreign_event, producer_id
from realm_telemetry.otel.plain import Origin, PlainRecord
from realm_telemetry.otel.record import our_event
from realm_telemetry.otlp.parts import Entries, Group
from realm_telemetry.otlp.signals import Signal
from realm_telemetry.values import MAX_DETAILS, MAX_EVENT_BYTES, fit_event, force_clean
from realm_telemetry.walk import MAX_KEY_CHARS

_SMALL_BYTES: Final = 2_000
"""A record of less is within all limits but that on the number of its attributes."""

_ARRIVAL_BYTES: Final = 1_024
"""What an event may grow by after `emit`: arrival, source, and the like."""

_MAX_KIND_CHARS: Final = 256

_to_msgpack: Final = msgspec.msgpack.Encoder().encode

Resources = dict[str, dict[str, Any]]


class Reading(msgspec.Struct):
    """What a request came to.

    events: in its order. refused: parts that are not taken, in the signal's unit.
    cut: events that were over a limit and have lost something.
    producers: resources by producer of events that a process with this package emitted.
    others: resources by the producer id that was made of them.
    """

    events: list[Event] = []
    refused: int = 0
    cut: int = 0
    producers: Resources = {}
    others: Resources = {}


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
    return reader.reading


class _Reader:
    """One request that is being read."""

    def __init__(self, entries: Entries, now_ns: int) -> None:
        self.reading = Reading()
        self._entries = entries
        self._now_ns = now_ns
        self._same: Counter[str] = Counter()

    def read(self, group: Group) -> None:
        resource, scope = group.resource, group.scope
        origin = Origin(
            producer_id(resource.attributes), scope.name, scope.details | resource.details
        )
        for item in group.items:
            # A span may have any number of events; the item itself is counted already.
            self._entries.count(max(len(item.records) - 1, 0))
            self.reading.refused += item.refused
            for record in item.records:
                event = self._event(record, origin, resource.attributes)
                if item.size > _SMALL_BYTES or len(event.details) > MAX_DETAILS:
                    event = self._within_limits(event)
                self.reading.events.append(event)

    def _event(self, record: PlainRecord, origin: Origin, resource: dict[str, Any]) -> Event:
        read = read_attributes(record.attributes)
        event = our_event(record, read)
        if event is not None:
            theirs = event.producer == resource.get(names.PRODUCER_ID)
            self.reading.producers.setdefault(event.producer, resource if theirs else {})
            return event
        if not record.timestamp and not record.observed_timestamp:
            record.observed_timestamp = self._now_ns
        self.reading.others[origin.producer] = resource
        event = foreign_event(record, read, origin)
        return event if names.UID in read.fields else self._told_apart(event)

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

    def _within_limits(self, event: Event) -> Event:
        """Cut what no `emit` would let through."""
        details = event.details
        if len(event.kind) > _MAX_KIND_CHARS:
            details = details | {"otel.event_name": event.kind}
        details, cut = force_clean(details)
        if long := [key for key in event.details if len(key) > MAX_KEY_CHARS]:
            details, cut = mark_truncated(details, long), True
        event = msgspec.structs.replace(event, kind=event.kind[:_MAX_KIND_CHARS], details=details)
        if cut or len(_to_msgpack(event)) > MAX_EVENT_BYTES + _ARRIVAL_BYTES:
            event, cut = fit_event(event), True
        self.reading.cut += cut
        return event
