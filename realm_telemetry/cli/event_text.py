"""An event for a person: its line, and below it what it is about and its details.

Texts of several lines, such as tracebacks, are printed as lines.
"""

from collections.abc import Iterator
from typing import Any, Final

import msgspec

from realm_telemetry.event import Event
from realm_telemetry.kinds.line import format_line, printable

INDENT: Final = "    "

_ABOUT: Final = ("id", "source", "rank", "trace_id", "span_id")
"""What the line itself does not have."""


def event_text(event: Event, when: str, *, coloured: bool, details: bool) -> str:
    """Return an event as a line, with details as indented lines below it; without a line end.

    when: its time, as the command prints times.
    """
    line = format_line(event, coloured, when=when)
    if not details:
        return line
    about = {name: getattr(event, name) for name in _ABOUT}
    below = {name: value for name, value in about.items() if value is not None}
    return "\n".join([line, *_lines(below | event.details, INDENT)])


def _lines(values: dict[str, Any], indent: str) -> Iterator[str]:
    for name, value in values.items():
        label = f"{indent}{printable(name)}:"
        if isinstance(value, str) and "\n" in value.strip("\n"):
            yield label
            text = printable(value.strip("\n"), lines=True)
            yield from (f"{indent}{INDENT}{each}".rstrip() for each in text.split("\n"))
        elif isinstance(value, dict) and value:
            yield label
            yield from _lines(value, indent + INDENT)
        else:
            yield f"{label} {_value(value)}"


def _value(value: Any) -> str:
    text = value if isinstance(value, str) else msgspec.json.encode(value).decode()
    return printable(text)
