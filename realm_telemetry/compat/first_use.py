"""What the older modules share: set-up at first use, the log to read, times as given."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from decimal import Decimal
from itertools import islice
from math import isfinite
from pathlib import Path
from typing import Final

import msgspec

import realm_telemetry.compat.renamed  # noqa: F401  # first: for live processes of 0.1.0
from realm_telemetry.compat.shapes import to_unix_nano
from realm_telemetry.config import Settings, load_settings
from realm_telemetry.errors import ConfigError, LogError, warn_once
from realm_telemetry.log import Filters, LogReader, LogWriter
from realm_telemetry.log.filters import MAX_LIMIT
from realm_telemetry.log.rows import LogRow
from realm_telemetry.log.times import parse_time
from realm_telemetry.producer import appenders
from realm_telemetry.producer.api import configure_on_first_use, get_telemetry
from realm_telemetry.values.times import number_ns

FLUSH_S: Final = 2.0
"""The longest that reading waits for what was emitted just before."""

UPDATES: Final = "section_updated"
"""What `update_*` emits; the older readers had no such events and are shown none."""


def before_emitting() -> None:
    """Set the process up if it is not; with a wrong setting, warn once and keep the event."""
    if get_telemetry() is None:
        try:
            configure_on_first_use()
        except (ConfigError, LogError, OSError) as error:
            warn_once(str(error), f"this process could not be set up: {error}")


def bus_source(kind: str) -> str:
    """Return the source that the older bus wrote, by which older readers know the kind."""
    return f"event.{kind}"


def before_reading() -> Settings:
    """Wait until the events of this process are in the log; return its settings.

    A process that has emitted nothing is not set up. Raises ConfigError.
    """
    if get_telemetry() is None and appenders.early_producer() is not None:
        configure_on_first_use(FLUSH_S)
    active = get_telemetry()
    if active is None:
        return load_settings()
    active.settle(FLUSH_S)
    return active.settings


@contextmanager
def open_log(path: Path) -> Iterator[LogReader | None]:
    """Open a log for reading; None if there is none yet. An older one is brought up to date.

    Opened anew each time: a connection must not live on in a forked child.
    Raises LogError.
    """
    if not path.exists():
        yield None
        return
    try:
        reader = LogReader(path)
    except LogError:
        LogWriter(path).close()
        reader = LogReader(path)
    with reader:
        if not reader.now.is_filled():
            _fill(path)
        yield reader


def _fill(path: Path) -> None:
    """Fill in older rows, newest first, for as long as a reader waits; upkeep does the others."""
    until = time.monotonic() + FLUSH_S
    with LogWriter(path) as writer:
        while writer.backfill_step() and time.monotonic() < until:
            pass


def newest(
    path: Path,
    filters: Filters,
    limit: int | None,
    leave_out: Callable[[str], bool] = lambda kind: kind == UPDATES,
) -> list[LogRow]:
    """Return the newest rows of a log that match the filters, without some kinds."""
    with open_log(path) as reader:
        most = None if limit is None else max(int(limit), 0)
        if reader is None or most == 0:
            return []
        occurring = reader.now.occurring_kinds()
        if not filters.kinds and any(map(leave_out, occurring)):
            # Asked for by name, because there may be a million updates between two events.
            names = tuple(kind for kind in occurring if not leave_out(kind))
            filters = msgspec.structs.replace(filters, kinds=names or ("",))
        if most is None or most > MAX_LIMIT:
            return list(islice(reader.export(filters), most))
        return reader.now.page(msgspec.structs.replace(filters, limit=most), count=False).rows


_LATEST: Final = 2**63 - 1 - 1_000
"""Times are 64-bit numbers in the log; a reader may ask for the microsecond after."""

Moment = str | float | datetime
"""ISO 8601 text, seconds since 1970, or a datetime."""


def moment_ns(given: Moment | None, *, utc: bool = False) -> int | None:
    """Return a time in nanoseconds, None as it is; without a zone it is local, or with utc UTC.

    A text may also be any of what `realm query --since` takes. Raises ValueError.
    """
    return None if given is None else min(max(_ns(given, utc), -(2**63)), _LATEST)


def _ns(given: Moment, utc: bool) -> int:
    if isinstance(given, int | float):
        return _seconds_ns(given) if (nanos := number_ns(given)) is None else nanos
    moment = given if isinstance(given, datetime) else _moment_of(given)
    if moment is None:
        return parse_time(str(given), time.time_ns())
    if utc and moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return to_unix_nano(moment)


def _seconds_ns(given: float) -> int:
    if not isfinite(given):
        raise ValueError(f"{given} is no time")
    return int(Decimal(repr(given)) * 1_000_000_000)


def _moment_of(text: str) -> datetime | None:
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        return None
