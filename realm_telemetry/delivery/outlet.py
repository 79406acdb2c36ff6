"""An exporter as a follower sees it: something that takes rows, and can be closed."""

from collections.abc import Callable, Mapping, Sequence
from itertools import groupby
from operator import attrgetter
from typing import Any, Protocol, TypeVar

from realm_telemetry.errors import ExportError
from realm_telemetry.log.rows import LogRow
from realm_telemetry.plugins import Batch

Row_contra = TypeVar("Row_contra", contravariant=True)

Resources = Callable[[str], Mapping[str, Any]]
"""Returns the resource of a producer; empty if none is known."""


class Outlet(Protocol[Row_contra]):
    """Where rows are delivered to."""

    def deliver(self, rows: Sequence[Row_contra]) -> None:
        """Deliver rows, oldest first. Raises ExportError, or anything a plugin raises."""
        ...

    def id_of(self, row: Row_contra) -> str:
        """Return the id under which the receiver may reject a row."""
        ...

    def close(self) -> None:
        """Release what the exporter holds."""
        ...


class BareFailureError(ExportError):
    """A failure without a reason: the receiver may be down, or one record be at fault."""

    def __init__(self, message: str) -> None:
        super().__init__(message, retryable=True)


class ExporterOutlet:
    """An exporter, which takes events together with their resources."""

    def __init__(self, exporter: Any, resources: Resources) -> None:
        self._exporter = exporter
        self._resources = resources

    def deliver(self, rows: Sequence[LogRow]) -> None:
        """Hand over the events."""
        self._exporter.export_events(Batch([row.event for row in rows], self._resources))

    def id_of(self, row: LogRow) -> str:
        """Return the event's id."""
        return row.event.id

    def close(self) -> None:
        """Shut the exporter down."""
        shutdown = getattr(self._exporter, "shutdown", None)
        if shutdown is not None:
            shutdown()


class RecordOutlet(ExporterOutlet):
    """An OpenTelemetry exporter, which takes log records and only says whether it failed."""

    def deliver(self, rows: Sequence[LogRow]) -> None:
        """Hand over log records, each with its producer's resource."""
        from realm_telemetry.otel import LogRecordExportResult, to_log_record
        from realm_telemetry.otel.sdk import Resource

        records = []
        for producer, group in groupby((row.event for row in rows), attrgetter("producer")):
            resource = Resource(dict(self._resources(producer)))
            records += [to_log_record(event, resource) for event in group]
        result = self._exporter.export(records)
        if result is not LogRecordExportResult.SUCCESS:
            raise BareFailureError(f"it answered {getattr(result, 'name', result)}")


def make_outlet(exporter: Any, resources: Resources) -> ExporterOutlet:
    """Wrap an exporter of either sort."""
    wrap = ExporterOutlet if hasattr(exporter, "export_events") else RecordOutlet
    return wrap(exporter, resources)
