"""How often an error was seen lately: by its type, and the program's own frame nearest to it."""

import re
import time
from collections.abc import Mapping
from pathlib import PurePath
from typing import Any, Final, NamedTuple
from urllib.parse import urlencode

from realm_telemetry.event import Event
from realm_telemetry.log.engine import Snapshot
from realm_telemetry.log.filters import Filters

DAYS: Final = 7
MAX_EVENTS: Final = 500
"""Of the newest errors; beyond them the count is "at least"."""

_KINDS: Final = ("uncaught_exception", "training_failed", "exception")
_FRAME: Final = re.compile(
    r'^[ \t|+]*File "(.{1,1000}?)", line (\d{1,9})(?:, in (.{1,200}))?$', re.M
)
_BEGIN: Final = "Traceback (most recent call last):"
_LIBRARY: Final = re.compile(
    r"[\\/](?:site|dist)-packages[\\/]|^<frozen |[\\/]lib(?:64)?[\\/]python3?[\d.]*[\\/]"
)
"""Files of libraries and of Python; the pages fold the same ones."""


class Frame(NamedTuple):
    """A frame of a traceback."""

    file: str
    line: int
    function: str


class Group(NamedTuple):
    """What makes two errors the same: the type without its module, the file's name, the function.

    The line is no part of it: it moves with every edit.
    """

    error_type: str
    file: str
    function: str


def own_frame(trace: Any) -> Frame | None:
    """Return the frame of the program's own code nearest to the error, which is the last one.

    Of the last of chained exceptions. Without one of its own, that of a library.
    """
    if not isinstance(trace, str):
        return None
    last = trace.rpartition(_BEGIN)[2]
    for text in (last, trace):
        frames = _frames(text)
        own = [frame for frame in frames if not _LIBRARY.search(frame.file)]
        if own:
            return own[-1]
    return frames[-1] if frames else None


def _frames(text: str) -> list[Frame]:
    return [Frame(file, int(line), function or "") for file, line, function in _FRAME.findall(text)]


def group_of(details: Mapping[str, Any]) -> Group:
    """Return the group of an error; details: of its event, or as a run shows its exception."""
    named = details.get("error_type") or details.get("exception.type") or ""
    trace = details.get("traceback") or details.get("exception.stacktrace")
    frame = own_frame(trace)
    short = str(named).rpartition(".")[2]
    return Group(short, "", "") if frame is None else Group(short, _name(frame), frame.function)


def _name(frame: Frame) -> str:
    return PurePath(frame.file).name


def seen(log: Snapshot, exception: Mapping[str, Any], now_ns: int | None = None) -> dict[str, Any]:
    """Return how many processes, in how many runs, have reported the same error lately."""
    since = (time.time_ns() if now_ns is None else now_ns) - DAYS * 86_400 * 10**9
    wanted = Filters(kinds=_KINDS, since_unix_nano=since, limit=MAX_EVENTS)
    page = log.page(wanted, count=False)
    group = group_of(exception)
    found = {_place(row.event) for row in page.rows if _is_one(row.event, group)}
    return {
        "times": len(found),
        "runs": len({run for _, run in found}),
        "days": DAYS,
        "at_least": page.next_token is not None,
        "query": _query(group),
    }


def _place(event: Event) -> tuple[str, str]:
    return event.producer, event.run_id or event.producer


def _is_one(event: Event, group: Group) -> bool:
    return "unraisable" not in event.details and group_of(event.details) == group


def _query(group: Group) -> str:
    """Return the filters of these errors, as the log's address takes them."""
    words = [group.error_type, group.file, f"in {group.function}" if group.function else ""]
    quoted = " ".join('"' + word.replace('"', " ") + '"' for word in words if word)
    given = {"kind": ",".join(_KINDS), "since": f"{DAYS}d", **({"q": quoted} if quoted else {})}
    return urlencode(given)
