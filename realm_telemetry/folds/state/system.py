"""The system: services, mode, the last warnings and errors, and counts of all events."""

from typing import Any, Final

from realm_telemetry.event import CHANNELS, SEVERITIES, Event, format_time
from realm_telemetry.folds.state.lattice import Stamp, put
from realm_telemetry.folds.state.section import (
    Reading,
    Section,
    SectionSpec,
    bounded,
    complete,
    identity,
    pick,
    shown,
)

LIMITS: Final = {"services": 128, "warnings": 20, "errors": 20}

SERVICE_FIELDS: Final = (
    "status",
    "address",
    "pid",
    "host",
    "version",
    "reason",
    "started_at",
    "stopped_at",
    "producer",
)
FIELDS: Final = ("mode", "previous_mode", "mode_at", "config_path", "config_at")

TALLIES: Final = {
    channel: {severity: f"{channel}/{severity}" for severity in SEVERITIES} for channel in CHANNELS
}
"""Names under which the fold counts events by channel and severity."""

_NOTICES: Final = {"warning": "warnings", "error": "errors"}


def notice(section: Section, event: Event, stamp: Stamp) -> None:
    """Keep a warning or an error, whatever its kind."""
    section.records[_NOTICES[event.severity]].put(
        event.id,
        stamp,
        {
            "id": event.id,
            "timestamp": format_time(event.time_unix_nano),
            "kind": event.kind,
            "channel": event.channel,
            "message": bounded(event.message),
            "source": event.source,
        },
    )


def _started(section: Section, event: Event, stamp: Stamp) -> None:
    fields = pick(event.details, ("address", "pid", "host", "version"))
    fields |= {"status": "running", "started_at": event.time_unix_nano, "producer": event.producer}
    section.records["services"].put(_service(event), stamp, fields)


def _stopped(section: Section, event: Event, stamp: Stamp) -> None:
    fields = pick(event.details, ("reason",))
    fields |= {"status": "stopped", "stopped_at": event.time_unix_nano, "producer": event.producer}
    section.records["services"].put(_service(event), stamp, fields)


def _service(event: Event) -> str:
    return identity(event.details, "service") or event.source or event.producer


def _mode(section: Section, event: Event, stamp: Stamp) -> None:
    modes = pick(event.details, ("mode", "previous"))
    put(section.cells, "mode", stamp, modes.get("mode"))
    put(section.cells, "previous_mode", stamp, modes.get("previous"))
    put(section.cells, "mode_at", stamp, event.time_unix_nano)


def _config(section: Section, event: Event, stamp: Stamp) -> None:
    put(section.cells, "config_path", stamp, pick(event.details, ("path",)).get("path"))
    put(section.cells, "config_at", stamp, event.time_unix_nano)


REDUCERS: Final = {
    "server_started": _started,
    "server_stopped": _stopped,
    "mode_changed": _mode,
    "config_reloaded": _config,
}


def view(section: Section, reading: Reading) -> dict[str, Any]:
    """Return services by name, mode, last warnings and errors, and counts of all events."""
    return {
        **complete(FIELDS, section.flat()),
        "services": {
            name: _shown_service(fields, reading.lost)
            for name, fields in section.records["services"].newest()
        },
        "warnings": [fields for _, fields in section.records["warnings"].newest()],
        "errors": [fields for _, fields in section.records["errors"].newest()],
        "lost_processes": [
            shown({"producer": producer} | fields)
            for producer, fields in reading.sections["workers"].records["lost"].newest(20)
        ],
        "counts": _counts(reading),
    }


def _shown_service(fields: dict[str, Any], lost: frozenset[str]) -> dict[str, Any]:
    service = complete(SERVICE_FIELDS, shown(fields))
    if service["status"] == "running" and service["producer"] in lost:
        service["status"] = "lost"
    return service


def _counts(reading: Reading) -> dict[str, Any]:
    table = {
        channel: {severity: reading.counts.get(name, 0) for severity, name in names.items()}
        for channel, names in TALLIES.items()
    }
    return {
        "by_channel": {channel: sum(row.values()) for channel, row in table.items()},
        "by_severity": {
            severity: sum(row[severity] for row in table.values()) for severity in SEVERITIES
        },
        "events": reading.counts.get("events", 0),
    }


SPEC: Final = SectionSpec(REDUCERS, view, LIMITS)
