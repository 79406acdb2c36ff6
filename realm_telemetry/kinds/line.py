"""An event as one line for a terminal."""

import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final, TextIO

import msgspec

from realm_telemetry.event import Event, format_time
from realm_telemetry.kinds.catalog import CHANNEL_ICONS, SEVERITY_ICONS

_ANSI: Final = {"info": "", "success": "\x1b[32m", "warning": "\x1b[33m", "error": "\x1b[31m"}
_DIM: Final = "\x1b[2m"
_BOLD: Final = "\x1b[1m"
_RESET: Final = "\x1b[0m"

# C0 and C1 controls would drive the terminal; line separators and bidirectional controls let a
# message look like other lines than it is (CVE-2021-42574); what is invisible hides text or makes
# two names look like one; lone surrogates cannot be written. All of Unicode's format characters
# (Cf) and default-ignorable ones, but those that are seen or that emoji and scripts need.
_UNSAFE: Final = re.compile(
    "[\x00-\x1f\x7f-\x9f\xad\u034f\u061c\u070f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b\u200e\u200f"
    "\u2028-\u202e\u2060-\u206f\u3164\ufeff\uffa0\ufff0-\ufffb\ud800-\udfff"
    "\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff]"
    # A joiner is part of an emoji, or of a word in a script of Asia; elsewhere it is invisible.
    "|(?<![\u0600-\u0fff\u1000-\u109f\u1780-\u18af])\u200c"
    "|(?<![\u0600-\u0fff\u1000-\u109f\u1780-\u18af\u2190-\u2bff\ufe0f\U0001f000-\U0001faff])\u200d"
)


def format_line(
    event: Event, colour: bool, *, details: bool = False, when: str | None = None
) -> str:
    """Return the event as one line without its line end.

    colour: whether ANSI colours may be used. details: whether they follow the message as JSON.
    when: the time as it is to be shown; by default the local time of day.
    No text of the event can drive the terminal.
    """
    tint = _ANSI.get(event.severity, "") if colour else ""
    dim, bold, reset = (_DIM, _BOLD, _RESET) if colour else ("", "", "")
    icons = f"{CHANNEL_ICONS.get(event.channel, ' ')} {SEVERITY_ICONS.get(event.severity, ' ')}"
    kind = printable(event.kind)
    message = printable(event.message)
    moment = _local_time(event.time_unix_nano) if when is None else when
    about = _about(event, details)
    return (
        f"{dim}{moment}{reset} {icons} {bold}{kind:<20}{reset} "
        f"{tint}{message}{reset if tint else ''}{f'  {dim}{about}{reset}' if about else ''}"
    )


def printable(text: str, *, lines: bool = False) -> str:
    """Return the text with every character escaped that is not plainly shown.

    lines: whether ends of lines stay, and tabs as blanks.
    """
    if text.isascii() and text.isprintable():
        return text
    if lines:
        parts = text.replace("\r\n", "\n").expandtabs(4).split("\n")
        return "\n".join(printable(part) for part in parts)
    return _UNSAFE.sub(_escape, text)


def printable_json(text: str) -> str:
    """Return JSON text that means the same, with such characters of its strings as `\\uXXXX`.

    Ends of lines stay: inside of strings there are none.
    """
    if text.isascii() and "\x7f" not in text:  # others are escaped by the encoder already
        return text
    return "\n".join(_UNSAFE.sub(_json_escape, line) for line in text.split("\n"))


def _json_escape(found: re.Match[str]) -> str:
    units = found.group().encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[at : at + 2].hex()}" for at in range(0, len(units), 2))


def _escape(found: re.Match[str]) -> str:
    return found.group().encode("unicode_escape").decode("ascii")


def _about(event: Event, details: bool) -> str:
    words = [
        f"{name}={printable(value)}"
        for name, value in (
            ("hero", event.hero_id),
            ("campaign", event.campaign_id),
            ("run", event.run_id),
        )
        if value
    ]
    if event.late:
        words.append("late")
    if details and event.details:
        words.append(printable(msgspec.json.encode(event.details).decode()))
    return " ".join(words)


def _local_time(time_unix_nano: int) -> str:
    try:
        moment = datetime.fromtimestamp(time_unix_nano // 1_000_000_000)
    except (OverflowError, ValueError, OSError):
        return format_time(time_unix_nano)[11:19]
    return f"{moment:%H:%M:%S}"


def wants_colour(stream: TextIO, environ: Mapping[str, Any]) -> bool:
    """Return whether a stream is to be written in colour.

    NO_COLOR and FORCE_COLOR, if not empty, decide (https://no-color.org); else a terminal does.
    """
    if environ.get("NO_COLOR"):
        return False
    if environ.get("FORCE_COLOR"):
        return bool(environ["FORCE_COLOR"] != "0")
    return stream.isatty() and environ.get("TERM") != "dumb"
