"""Appends events to a file, one JSON object a line."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Final, NamedTuple

import msgspec

from realm_exporter_jsonl.file import append, last_lines, rotate
from realm_telemetry.errors import ConfigError
from realm_telemetry.event import Event
from realm_telemetry.home import LOGS
from realm_telemetry.kinds.catalog import event_to_dict
from realm_telemetry.otel import EventExporter
from realm_telemetry.plugins import extension

__all__ = ["JsonlExporter"]

_REMEMBERED: Final = 4096
"""Lines kept to recognise those that come again; a shipper resends at most one batch."""

_encode = msgspec.json.Encoder().encode
_older_shape: Final[Callable[[Event], dict[str, Any]]] = extension("jsonl.line")


class _Line(msgspec.Struct):
    """As much of a line as is needed to recognise its event."""

    id: str


class _Format(NamedTuple):
    """What a file holds.

    place: where it is in the home. line: an event's line.
    mark, marks: what an event, and those of a file's lines, are recognised by.
    """

    place: tuple[str, ...]
    line: Callable[[Event], bytes]
    mark: Callable[[Event, bytes], str | bytes]
    marks: Callable[[Iterable[bytes]], Iterable[str | bytes]]


class JsonlExporter(EventExporter):
    """Appends whole lines; several processes may share the file."""

    name = "jsonl"
    defaults: ClassVar[Mapping[str, Any]] = {
        "path": "",
        "format": "older",
        "fsync": False,
        "max_bytes": 0,
        "keep": 3,
    }

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """Raises ConfigError."""
        super().__init__(*args, **kwargs)
        if self.options["format"] not in _FORMATS:
            raise ConfigError(
                "options.jsonl.format",
                f"there is no {self.options['format']!r}",
                f"Use one of {', '.join(_FORMATS)}.",
            )
        self._format = _FORMATS[self.options["format"]]
        default = self.context.home.joinpath(*self._format.place)
        self.path = Path(self.options["path"] or default).expanduser()
        self._recent: dict[str | bytes, None] = {}

    def open(self) -> None:
        """Read which events the end of the file has: a batch may come again after a crash."""
        self._remember(self._format.marks(last_lines(self.path)))

    def deliver(self, events: Sequence[Event]) -> None:
        """Append those that are not there yet, all or none."""
        if self._recent and not self.path.exists():
            self._recent.clear()  # the file was moved away; a replay may bring its events again
        new: dict[str | bytes, bytes] = {}
        for event in events:
            line = self._format.line(event)
            mark = self._format.mark(event, line)
            if mark not in self._recent:
                new[mark] = line
        if not new:
            return
        if self.options["max_bytes"]:
            rotate(self.path, self.options["max_bytes"], self.options["keep"])
        append(self.path, list(new.values()), fsync=self.options["fsync"])
        self._remember(new)

    def _remember(self, marks: Iterable[str | bytes]) -> None:
        self._recent.update(dict.fromkeys(marks))
        for mark in list(self._recent)[:-_REMEMBERED]:
            del self._recent[mark]


def _event_line(event: Event) -> bytes:
    return _encode(event_to_dict(event))


def _older_line(event: Event) -> bytes:
    return _encode(_older_shape(event))


def _ids(lines: Iterable[bytes]) -> list[str]:
    decoder = msgspec.json.Decoder(_Line)
    ids = []
    for line in lines:
        try:
            ids.append(decoder.decode(line).id)
        except (
            msgspec.DecodeError,
            UnicodeDecodeError,
            RecursionError,
        ):  # a line of another writer
            continue
    return ids


_FORMATS: Final = {
    # An older line has no id; two events of one microsecond, kind and fields look the same.
    "older": _Format(
        ("status", "events.jsonl"), _older_line, lambda _, line: line, lambda lines: lines
    ),
    "event": _Format((LOGS, "events.jsonl"), _event_line, lambda event, _: event.id, _ids),
}
