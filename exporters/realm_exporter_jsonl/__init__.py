"""Appends events to a file, one JSON object a line."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, ClassVar, Final

import msgspec

from realm_exporter_jsonl.file import append, last_lines, rotate
from realm_telemetry.catalog import event_to_dict
from realm_telemetry.errors import ConfigError
from realm_telemetry.event import Event
from realm_telemetry.otel import EventExporter

__all__ = ["JsonlExporter"]

_REMEMBERED: Final = 4096
"""Event ids kept to recognise those that come again; a shipper resends at most one batch."""

_DEFAULT_PATHS: Final = {"event": ("logs", "events.jsonl"), "older": ("status", "events.jsonl")}
_encode = msgspec.json.Encoder().encode


class _Line(msgspec.Struct):
    """As much of a line as is needed to recognise its event."""

    id: str


class JsonlExporter(EventExporter):
    """Appends whole lines; several processes may share the file."""

    name = "jsonl"
    defaults: ClassVar[Mapping[str, Any]] = {
        "path": "",
        "format": "event",
        "fsync": False,
        "max_bytes": 0,
        "keep": 3,
    }

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """Raises ConfigError."""
        super().__init__(*args, **kwargs)
        if self.options["format"] not in _DEFAULT_PATHS:
            raise ConfigError(
                "options.jsonl.format",
                f"there is no {self.options['format']!r}",
                f"Use one of {', '.join(_DEFAULT_PATHS)}.",
            )
        default = self.context.home.joinpath(*_DEFAULT_PATHS[self.options["format"]])
        self.path = Path(self.options["path"] or default).expanduser()
        self._line = _older_line if self.options["format"] == "older" else _event_line
        self._recent: dict[str, None] = {}

    def open(self) -> None:
        """Read which events the end of the file has: a batch may come again after a crash."""
        if self.options["format"] == "event":
            self._remember(_ids(last_lines(self.path)))

    def deliver(self, events: Sequence[Event]) -> None:
        """Append those that are not there yet, all or none."""
        new = {event.id: event for event in events if event.id not in self._recent}
        if not new:
            return
        if self.options["max_bytes"]:
            rotate(self.path, self.options["max_bytes"], self.options["keep"])
        lines = [self._line(event) for event in new.values()]
        append(self.path, lines, fsync=self.options["fsync"])
        self._remember(new)

    def _remember(self, ids: Iterable[str]) -> None:
        self._recent.update(dict.fromkeys(ids))
        for event_id in list(self._recent)[:-_REMEMBERED]:
            del self._recent[event_id]


def _event_line(event: Event) -> bytes:
    return _encode(event_to_dict(event))


def _older_line(event: Event) -> bytes:
    """Write what the older status file had: naive local time, kind, and the fields."""
    moment = datetime.fromtimestamp(event.time_unix_nano // 1_000_000_000)
    moment = moment.replace(microsecond=event.time_unix_nano // 1000 % 1_000_000)
    return _encode(
        {"ts": moment.isoformat(), "kind": event.kind}
        | {key: value for key, value in event.details.items() if key not in ("ts", "kind")}
    )


def _ids(lines: Iterable[bytes]) -> list[str]:
    decoder = msgspec.json.Decoder(_Line)
    ids = []
    for line in lines:
        try:
            ids.append(decoder.decode(line).id)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):  # somebody else's line
            continue
    return ids
