"""`core.event_bus.replay_events`: what the log says, told to the service once more."""

from collections.abc import Iterator
from itertools import islice
from typing import Final

import msgspec

from realm_telemetry.client import RealmClient, ServiceUnreachableError
from realm_telemetry.compat.first_use import before_reading, open_log
from realm_telemetry.compat.moments import Moment, moment_ns
from realm_telemetry.config import DEFAULT_SERVICE_URL
from realm_telemetry.event import Event
from realm_telemetry.log import Filters, LogReader

_BATCH: Final = 500


def replay_events(since: Moment | None = None) -> int:
    """Give the service all events since a time (UTC without a zone) again; return how many.

    RealmState and the live view of a service of this log have them all, and are left as they are;
    another service stores those that it lacks, by the same ids. Nothing is sent to webhooks.
    Raises ServiceError, LogError; not where no service runs on this host, for it will read the
    log when it starts.
    """
    settings, since_ns = before_reading(), moment_ns(since, utc=True)
    with open_log(settings.log_path) as reader:
        if reader is None:
            return 0
        events = _events(reader, Filters(since_unix_nano=since_ns))
        try:
            with RealmClient(settings.service_url, settings.token) as client:
                if client.health().get("log_id") != reader.log_id:
                    return _send(client, events)
        except ServiceUnreachableError:
            if settings.service_url != DEFAULT_SERVICE_URL:
                raise
        return sum(1 for _ in events)


def _send(client: RealmClient, events: Iterator[Event]) -> int:
    sent = 0
    while batch := list(islice(events, _BATCH)):
        client.post(batch)
        sent += len(batch)
    return sent


def _events(reader: LogReader, filters: Filters) -> Iterator[Event]:
    """The events that the filters want, in order of arrival."""
    cursor = 0
    while rows := reader.after(cursor, _BATCH, filters):
        cursor = rows[-1].cursor
        # Where an event arrived first is not for another log to say.
        yield from (msgspec.structs.replace(row.event, observed_unix_nano=None) for row in rows)
