"""The older `core.event_bus`: `emit_realm_event`, a typed helper for each kind, and replay.

Every typed helper of `realm_telemetry.kinds.typed` is here by its name and answers as
`emit_realm_event` does.
"""

import sys
from collections.abc import Callable, Mapping, Sequence
from functools import wraps
from typing import Any, Final

from realm_telemetry.compat.exporting import export, main
from realm_telemetry.compat.first_use import before_emitting, bus_source
from realm_telemetry.compat.replaying import replay_events
from realm_telemetry.event import Event
from realm_telemetry.kinds import typed as kinds
from realm_telemetry.kinds.catalog import KIND_METADATA
from realm_telemetry.once import warn_once
from realm_telemetry.producer.emission import emit_in_full

_NOT_KEPT: Final = (
    "persist=False has no effect: every event is stored, for the log is what the live view reads"
)


def emit_realm_event(
    *,
    kind: str,
    message: str,
    channel: str | None = None,
    severity: str | None = None,
    details: Mapping[str, Any] | None = None,
    persist: bool = True,
    hero_id: str | None = None,
    campaign_id: str | None = None,
    webhooks: Sequence[str] | None = None,
) -> dict[str, Any]:
    """Record an event; return it with kind, message, channel, severity, details, timestamp, id.

    persist: without effect; False says so once. webhooks: secrets, which no reader is shown.
    """
    before_emitting()
    _note_persist(persist)
    event = emit_in_full(
        kind,
        message,
        channel=channel,
        severity=severity,
        details=details,
        hero_id=hero_id,
        campaign_id=campaign_id,
        source=bus_source(kind),
        webhooks=webhooks,
    )
    return as_dict(event)


def as_dict(event: Event) -> dict[str, Any]:
    """Return an event in the bus's shape; the time is UTC."""
    return {
        "kind": event.kind,
        "message": event.message,
        "channel": event.channel,
        "severity": event.severity,
        "details": event.details,
        "timestamp": event.timestamp,
        "id": event.id,
    }


def _note_persist(persist: bool) -> None:
    if not persist:
        warn_once("persist", _NOT_KEPT)


def _as_older(typed: Callable[..., Event]) -> Callable[..., dict[str, Any]]:
    @wraps(typed)
    def call(*arguments: Any, persist: bool = True, **fields: Any) -> dict[str, Any]:
        before_emitting()
        _note_persist(persist)
        return as_dict(typed(*arguments, **{"source": bus_source(typed.__name__)} | fields))

    return call


HELPERS: Final = {kind: _as_older(getattr(kinds, kind)) for kind in KIND_METADATA}
globals().update(HELPERS)


__all__ = [
    "KIND_METADATA",
    "as_dict",
    "emit_realm_event",
    "export",
    "main",
    "replay_events",
    *HELPERS,
]


if __name__ == "__main__":
    sys.exit(main())
