"""Appends events to a CSV file, for people who live in spreadsheets."""

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import msgspec

from realm_telemetry.event import Event
from realm_telemetry.otel import EventExporter

__all__ = ["CsvExporter", "round_losses"]

COLUMNS = ("id", "timestamp", "kind", "channel", "severity", "message", "details")


class CsvExporter(EventExporter):
    """Writes a row per event.

    The base class calls `deliver` from one thread at a time, never with an empty batch, and turns
    an OSError into an ExportError that the shipper retries.
    """

    name = "csv"
    defaults: ClassVar[Mapping[str, Any]] = {"path": ""}

    def open(self) -> None:
        """Read the ids that are there: after a crash the shipper may send a batch again."""
        self.path = Path(self.options["path"] or self.context.home / "logs" / "events.csv")
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._known: set[str] = set()
        if self.path.exists():
            with self.path.open(newline="", encoding="utf-8") as file:
                self._known = {row["id"] for row in csv.DictReader(file)}

    def deliver(self, events: Sequence[Event]) -> None:
        """Append the events that are not there yet; returning means that they are safe."""
        new = {event.id: event for event in events if event.id not in self._known}
        with self.path.open("a", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            if file.tell() == 0:
                writer.writerow(COLUMNS)
            writer.writerows(map(_row, new.values()))
        self._known.update(new)


def _row(event: Event) -> tuple[str, ...]:
    details = msgspec.json.encode(event.details).decode()
    return (
        event.id,
        event.timestamp,
        event.kind,
        event.channel,
        event.severity,
        event.message,
        details,
    )


def round_losses(event: Event) -> Event | None:
    """A processor: returns the event, another one in its place, or None to drop it."""
    loss = event.details.get("loss")
    if not isinstance(loss, float):
        return event
    return msgspec.structs.replace(event, details=event.details | {"loss": round(loss, 4)})
