"""The system: services, mode, the last warnings and errors, and counts of all events."""

from typing import Any, Final

from realm_telemetry.event import CHANNELS, SEVERITIES, Event, format_time
from realm_telemetry.folds.clock import Stamp
from realm_telemetry.folds.state.section import Reading, Section, SectionSpec
from realm_telemetry.folds.state.table import Table, always, attribute, detail, time_of
from realm_telemetry.folds.state.values import bounded, complete, identity, shown

_STARTED: Final = "server_started"
_STOPPED: Final = "server_stopped"
_MODE: Final = "mode_changed"
_CONFIG: Final = "config_reloaded"


def _service(event: Event) -> str:
    return identity(event.details, "service") or event.source or event.producer


SERVICE: Final = Table(
    "services",
    (_STARTED, _STOPPED),
    {
        "status": (always("running").on(_STARTED), always("stopped").on(_STOPPED)),
        "address": detail("address").on(_STARTED),
        "pid": detail("pid").on(_STARTED),
        "host": detail("host").on(_STARTED),
        "version": detail("version").on(_STARTED),
        "reason": detail("reason").on(_STOPPED),
        "started_at": time_of(_STARTED),
        "stopped_at": time_of(_STOPPED),
        "producer": attribute("producer"),
    },
    limit=128,
    key=_service,
)

SETTINGS: Final = Table(
    "",
    (_MODE, _CONFIG),
    {
        "mode": detail("mode", None).on(_MODE),
        "previous_mode": detail("previous", None).on(_MODE),
        "mode_at": time_of(_MODE),
        "config_path": detail("path", None).on(_CONFIG),
        "config_at": time_of(_CONFIG),
    },
)

TALLIES: Final = {
    channel: {severity: f"{channel}/{severity}" for severity in SEVERITIES} for channel in CHANNELS
}
"""Names under which the fold counts events by channel and severity."""

_NOTICES: Final = {"warning": "warnings", "error": "errors"}


def notice(section: Section, event: Event, stamp: Stamp) -> None:
    """Keep a warning or an error of any kind."""
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


def view(section: Section, reading: Reading) -> dict[str, Any]:
    """Return services by name, mode, last warnings and errors, and counts of all events."""
    return {
        **complete(SETTINGS.rows, section.flat()),
        "services": _services(section, reading.lost),
        "warnings": [fields for _, fields in section.records["warnings"].newest()],
        "errors": [fields for _, fields in section.records["errors"].newest()],
        "lost_processes": [
            shown({"producer": producer} | fields)
            for producer, fields in reading.sections["workers"].records["lost"].newest(20)
        ],
        "counts": _counts(reading),
    }


def _services(section: Section, lost: frozenset[str]) -> dict[str, Any]:
    services = dict(section.newest(SERVICE))
    for service in services.values():
        if service["status"] == "running" and service["producer"] in lost:
            service["status"] = "lost"
    return services


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


SYSTEM: Final = SectionSpec(
    (*SERVICE.kinds, *SETTINGS.kinds),
    (SERVICE, SETTINGS),
    view,
    # Of events of every kind: `notice`.
    limits={"warnings": 20, "errors": 20},
)
