"""The older `core.event_bus`: `emit_realm_event`, a typed helper for each kind, replay, export.

Every typed helper of `realm_telemetry.kinds.typed` is here by its name and answers as
`emit_realm_event` does.
"""

import argparse
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from functools import wraps
from pathlib import Path
from typing import Any, Final

from realm_telemetry.client import ServiceUnreachableError
from realm_telemetry.compat.first_use import (
    Moment,
    before_emitting,
    before_reading,
    bus_source,
    moment_ns,
)
from realm_telemetry.config import DEFAULT_SERVICE_URL, Settings
from realm_telemetry.errors import ConfigError, LogError, warn_once
from realm_telemetry.event import Event
from realm_telemetry.kinds import typed as kinds
from realm_telemetry.kinds.catalog import KIND_METADATA
from realm_telemetry.log import Filters, InvalidFilterError, parse_filters
from realm_telemetry.producer.emission import emit_in_full
from realm_telemetry.transfer.exports import STDOUT, write_events
from realm_telemetry.transfer.replay import LIVE, replay_to_service
from realm_telemetry.transfer.source import EventInput, LogInput, Step, open_log

_NOT_KEPT: Final = (
    "persist=False has no effect: every event is stored, because the live view reads the log"
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

    persist: without effect; False warns once. webhooks: secrets, which no reader is shown.
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


def replay_events(since: Moment | None = None) -> int:
    """Replay all events since a time (UTC without a zone) to the service; return how many.

    A service of this log shows them again, and stores nothing; another service stores those that
    it lacks, by the same ids. Nothing is sent to webhooks. See
    `realm_telemetry.transfer.replay.replay_events`.
    Raises ServiceError, LogError; not where no service runs on this host, for it will read the
    log when it starts.
    """
    settings, filters = before_reading(), Filters(since_unix_nano=moment_ns(since, utc=True))
    if not settings.log_path.exists():
        return 0
    try:
        return replay_to_service(settings, filters, LIVE).events
    except ServiceUnreachableError:
        if settings.service_url != DEFAULT_SERVICE_URL:
            raise
        return _count(settings, filters)


def _count(settings: Settings, filters: Filters) -> int:
    with closing(LogInput(open_log(settings))) as source:
        return sum(len(step.rows) for step in source.steps(filters))


_EXAMPLE: Final = "python -m core.event_bus export --since 2025-11-29 --output events.jsonl"


def export(
    output: str | os.PathLike[str] | None = None,
    *,
    since: str | None = None,
    until: str | None = None,
) -> int:
    """Write all events as JSON lines, in order of arrival; return how many.

    output: a file, which is whole or not there at all; by default standard output.
    since, until: as `realm query` takes them; without a zone UTC.
    Raises InvalidFilterError, LogError, OSError.
    """
    given = {"since": since, "until": until}
    filters = parse_filters({name: text for name, text in given.items() if text is not None})
    settings = before_reading()
    place = STDOUT if output is None else Path(output)
    source: EventInput = LogInput(open_log(settings)) if settings.log_path.exists() else _Nothing()
    with closing(source):
        return write_events(source, filters, place, format="jsonl", compress=False).events


class _Nothing:
    """A home without a log."""

    def steps(self, filters: Filters) -> Iterator[Step]:
        return iter(())

    def close(self) -> None: ...


def main(arguments: Sequence[str] | None = None) -> int:
    """Run `python -m core.event_bus COMMAND ...` and return its exit code.

    Commands other than export are those of `realm`.
    """
    given = sys.argv[1:] if arguments is None else list(arguments)
    if given[:1] != ["export"]:
        from realm_telemetry.cli import main as realm

        return realm(given)
    asked = _parser().parse_args(given[1:])
    try:
        written = export(asked.output, since=asked.since, until=asked.until)
    except (InvalidFilterError, ConfigError) as error:
        print(f"core.event_bus export: {error}", file=sys.stderr)  # noqa: T201
        return 2
    except BrokenPipeError:
        # The reader of our output has left; the interpreter would complain at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except (LogError, OSError) as error:
        print(f"core.event_bus export: {error}", file=sys.stderr)  # noqa: T201
        return 1
    if asked.output:
        print(f"{written:,} events written to {asked.output}", file=sys.stderr)  # noqa: T201
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "core.event_bus export",
        description="Write events of the log as JSON lines, in order of arrival.",
        epilog=f"Example: {_EXAMPLE}",
    )
    parser.add_argument("--since", help="at or after: 2025-11-29, 24h, 7d, ISO 8601 (UTC)")
    parser.add_argument("--until", help="before; in the forms of --since")
    parser.add_argument("--output", "-o", help="a file, which is replaced; else standard output")
    return parser


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
