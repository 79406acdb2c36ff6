"""Times as commands print and read them: all in one zone, which each command names once.

The zone is this machine's (TZ), or UTC with `--utc`. Dates are printed where a time is not of
today. A time that is given without a zone, as in `--since 2025-11-29`, is of the same zone. JSON
stays ISO 8601 in UTC.
"""

import time
from collections.abc import Callable, Iterable
from datetime import UTC, date, datetime
from typing import Any, Final, TypeVar

import click

from realm_telemetry.event import format_time
from realm_telemetry.log.filters import InvalidFilterError
from realm_telemetry.log.times import TIME_HINT, parse_time

Function = TypeVar("Function", bound=Callable[..., Any])

_UTC_KEY: Final = "realm_telemetry.utc"
_S: Final = 1_000_000_000


def utc_option(function: Function) -> Function:
    """Add `--utc`; `times` knows of it."""
    return click.option(
        "--utc",
        is_flag=True,
        expose_value=False,
        callback=_set_utc,
        is_eager=True,  # other options are read by it
        help="Times in UTC, not in this machine's zone (TZ).",
    )(function)


def _set_utc(ctx: click.Context, parameter: click.Parameter, value: bool) -> None:
    ctx.meta[_UTC_KEY] = value or ctx.meta.get(_UTC_KEY, False)


def times() -> "Times":
    """Return how the command that runs prints times."""
    ctx = click.get_current_context(silent=True)
    is_utc = ctx is not None and ctx.meta.get(_UTC_KEY, False)
    return Times(utc=bool(is_utc), now_ns=time.time_ns())


class Times:
    """How one command prints times, nanoseconds since 1970 or ISO 8601 text with a zone.

    utc: whether in UTC, not in the machine's zone. now_ns: what is today.
    """

    def __init__(self, *, utc: bool, now_ns: int) -> None:
        self._utc = utc
        self._now_ns = now_ns
        self._today = self._day(now_ns)

    @property
    def zone(self) -> str:
        """The zone's name now, such as `CET` or `UTC+0530`."""
        return self.zone_of(self._now_ns)

    def zone_of(self, moment: int | str) -> str:
        """Return the name of the zone at a time: in summer another one."""
        local = self._local(moment)
        name = (local.tzname() if local else None) or "UTC"
        return f"UTC{name}" if name[0] in "+-" else name

    def short(self, moment: int | str) -> str:
        """Return the time, with its date if that is not today's: `10:00:00`."""
        text = self.long(moment)
        return text if self._day(moment) != self._today else text[11:]

    def long(self, moment: int | str) -> str:
        """Return date and time: `2025-11-29 10:00:00`."""
        local = self._local(moment)
        text = format_time(_nanos(moment)) if local is None else local.isoformat()
        return text[:19].replace("T", " ")

    def full(self, moment: int | str) -> str:
        """Return date, time and zone, where nothing else names it: `2025-11-29 10:00:00 CET`."""
        return f"{self.long(moment)} {self.zone_of(moment)}"

    def column(self, name: str, moments: Iterable[int | str]) -> tuple[str, list[str]]:
        """Return the heading of a column of times and its cells.

        All have their dates if one is not of today. The heading names the zone; where a clock was
        set between them, each cell does.
        """
        moments = list(moments)
        zones = {self.zone_of(moment) for moment in moments} or {self.zone}
        if len(zones) > 1:
            return name, [self.full(moment) for moment in moments]
        dated = any(self._day(moment) != self._today for moment in moments)
        show = self.long if dated else self.short
        return f"{name} ({zones.pop()})", [show(moment) for moment in moments]

    def read(self, option: str, text: str) -> int:
        """Read a time that was given as an option. Raises InvalidFilterError."""
        try:
            return parse_time(self.with_zone(text), self._now_ns)
        except (ValueError, OverflowError):
            raise InvalidFilterError(option, f"{text!r} is not a time", TIME_HINT) from None

    def with_zone(self, text: str) -> str:
        """Return a given time with the zone that it is of, unless it has one or needs none."""
        if self._utc or text[4:5] != "-":
            return text
        try:
            moment = datetime.fromisoformat(text.strip())
            return text if moment.tzinfo else moment.astimezone().isoformat()
        except (ValueError, OverflowError, OSError):
            return text

    def _day(self, moment: int | str) -> date | None:
        local = self._local(moment)
        return None if local is None else local.date()

    def _local(self, moment: int | str) -> datetime | None:
        """Return a time in the zone; None for one that no calendar of the zone has."""
        try:
            seconds = _nanos(moment) // _S
            return datetime.fromtimestamp(seconds, UTC).astimezone(UTC if self._utc else None)
        except (OverflowError, ValueError, OSError):
            return None


def _nanos(moment: int | str) -> int:
    return parse_time(moment, 0) if isinstance(moment, str) else moment
