"""Any exporter as one thing: a way to deliver events, and a way to end."""

from collections.abc import Callable, Mapping, Sequence
from itertools import groupby
from operator import attrgetter
from typing import Any, Protocol

from realm_telemetry.errors import ExportError
from realm_telemetry.event import Event

Resources = Callable[[str], Mapping[str, Any]]


class Outlet(Protocol):
    """Where one exporter delivers to."""

    def deliver(self, events: Sequence[Event]) -> None:
        """Deliver events, oldest first. Raises ExportError, or anything a plugin raises."""
        ...

    def close(self) -> None:
        """Release what the exporter holds."""
        ...


class DirectOutlet:
    """An exporter that takes events as they are."""

    def __init__(self, exporter: Any) -> None:
        self._exporter = exporter

    def deliver(self, events: Sequence[Event]) -> None:
        """Hand over the events."""
        self._exporter.export_events(events)

    def close(self) -> None:
        """Shut the exporter down."""
        _shut_down(self._exporter)


class RecordOutlet:
    """An OpenTelemetry exporter, which takes log records and only says whether it failed."""

    def __init__(self, exporter: Any, resources: Resources) -> None:
        self._exporter = exporter
        self._resources = resources

    def deliver(self, events: Sequence[Event]) -> None:
        """Hand over log records, each with its producer's resource."""
        from realm_telemetry.otel import LogRecordExportResult, to_log_record
        from realm_telemetry.otel.sdk import Resource

        records = []
        for producer, group in groupby(events, attrgetter("producer")):
            resource = Resource(dict(self._resources(producer)))
            records += [to_log_record(event, resource) for event in group]
        result = self._exporter.export(records)
        if result is not LogRecordExportResult.SUCCESS:
            raise BareFailureError(f"it answered {getattr(result, 'name', result)}")

    def close(self) -> None:
        """Shut the exporter down."""
        _shut_down(self._exporter)


class BareFailureError(ExportError):
    """A failure of which nothing is known: maybe the other side, maybe one record."""

    def __init__(self, message: str) -> None:
        super().__init__(message, retryable=True)


def make_outlet(exporter: Any, resources: Resources) -> Outlet:
    """Wrap an exporter of either sort."""
    if hasattr(exporter, "export_events"):
        return DirectOutlet(exporter)
    return RecordOutlet(exporter, resources)


def _shut_down(exporter: Any) -> None:
    shutdown = getattr(exporter, "shutdown", None)
    if shutdown is not None:
        shutdown()
