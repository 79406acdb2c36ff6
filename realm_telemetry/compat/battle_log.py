"""The older `core.battle_log`: write, read and trim entries of the log. Times are UTC, with `Z`."""

import os
import secrets
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import count
from pathlib import Path
from typing import Any, Final, Protocol

from realm_telemetry.compat.first_use import (
    UPDATES,
    Moment,
    before_emitting,
    before_reading,
    moment_ns,
    newest,
    open_log,
)
from realm_telemetry.compat.shapes import older_event
from realm_telemetry.folds.runtime import every_row
from realm_telemetry.folds.state import state_runner
from realm_telemetry.kinds.catalog import (
    CHANNEL_DESCRIPTIONS,
    CHANNEL_ICONS,
    SEVERITY_COLOURS,
    SEVERITY_ICONS,
)
from realm_telemetry.log import Filters, LogWriter, engine
from realm_telemetry.log.records import Limits
from realm_telemetry.log.rows import LogRow
from realm_telemetry.log.sqlite.older import older_kind
from realm_telemetry.producer.api import get_telemetry
from realm_telemetry.producer.emission import emit_in_full

SEVERITY_COLORS: Final = SEVERITY_COLOURS

__all__ = [
    "CHANNEL_DESCRIPTIONS",
    "CHANNEL_ICONS",
    "SEVERITY_COLORS",
    "SEVERITY_COLOURS",
    "SEVERITY_ICONS",
    "BattleLogEntry",
    "BattleLogger",
    "get_battle_logger",
    "log_checkpoint",
    "log_data",
    "log_debug",
    "log_eval",
    "log_event",
    "log_guild",
    "log_jobs",
    "log_system",
    "log_training",
    "log_vault",
]


@dataclass(frozen=True)
class BattleLogEntry:
    """A row of the log. id: its row id."""

    id: int
    timestamp: str
    channel: str
    source: str
    severity: str
    message: str
    hero_id: str | None
    campaign_id: str | None
    details: dict[str, Any]
    icon: str

    @property
    def color(self) -> str:
        """The severity's colour."""
        return SEVERITY_COLOURS.get(self.severity, "#888")

    def to_dict(self) -> dict[str, Any]:
        """Return all fields as JSON has them."""
        return asdict(self)


class BattleLogger:
    """Writes and reads the log of this process's home, or of another file.

    db_path: another log; it is written at once, by this process itself, which takes milliseconds.
    """

    def __init__(self, db_path: str | os.PathLike[str] | None = None) -> None:
        self._given = None if db_path is None else Path(db_path).expanduser().absolute()
        self._pid = 0

    def log(
        self,
        channel: str,
        message: str,
        severity: str = "info",
        source: str | None = None,
        details: Mapping[str, Any] | None = None,
        hero_id: str | None = None,
        campaign_id: str | None = None,
        **fields: Any,
    ) -> str:
        """Record an entry; return the event's id.

        source: who writes, such as `jobs.store`; `event.<kind>` is an event of that kind, any
            other one a note.
        """
        shape: dict[str, Any] = {
            "kind": older_kind(source or ""),
            "message": message,
            "channel": channel,
            "severity": severity,
            "details": {**(details or {}), **fields},
            "hero_id": hero_id,
            "campaign_id": campaign_id,
            "source": source,
        }
        before_emitting()
        if self._is_elsewhere():
            return self._store(shape)
        return emit_in_full(**shape).id

    def get_events(
        self,
        channels: Sequence[str] | None = None,
        since: Moment | None = None,
        limit: int = 100,
        hero_id: str | None = None,
        campaign_id: str | None = None,
        severity: str | None = None,
    ) -> list[BattleLogEntry]:
        """Return entries after a time (UTC without a zone), newest first."""
        since_ns = moment_ns(since, utc=True)
        filters = Filters(
            channels=_names(channels),
            severities=_names(severity),
            heroes=_names(hero_id),
            campaigns=_names(campaign_id),
            # After, not at: a reader hands in the time of the last entry that it has.
            since_unix_nano=None if since_ns is None else since_ns + 1_000,
        )
        return [_entry(row) for row in newest(self._path(), filters, limit)]

    def get_recent(self, limit: int = 50) -> list[BattleLogEntry]:
        """Return the last entries, newest first."""
        return self.get_events(limit=limit)

    def get_channel_counts(self, hours: float = 24) -> dict[str, int]:
        """Return how many events each channel has had in the last hours."""
        since_ns = time.time_ns() - int(hours * 3_600 * 1_000_000_000)
        counts: Counter[str] = Counter()
        with open_log(self._path()) as reader:
            for row in reader.now.summary(("channel", "kind"), since_ns) if reader else ():
                counts[row["channel"]] += row["count"] if row["kind"] != UPDATES else 0
        return {channel: number for channel, number in counts.items() if number}

    def cleanup_old(self, max_age_days: float = 30) -> int:
        """Remove entries that arrived longer ago; return how many.

        RealmState is saved first, so that it keeps what they changed.
        """
        path = self._path()
        if not path.exists():
            return 0
        covered = None if self._is_elsewhere() else save_state(path, before_reading().home)
        return trim(path, max_age_days, covered)

    def _is_elsewhere(self) -> bool:
        active = get_telemetry()
        ours = None if active is None else active.settings.log_path.absolute()
        return self._given is not None and self._given != ours

    def _path(self) -> Path:
        ours = before_reading().log_path
        return self._given or ours

    def _store(self, shape: Mapping[str, Any]) -> str:
        assert self._given is not None
        if self._pid != os.getpid():  # a forked child is a producer of its own
            self._pid, self._producer, self._numbers = os.getpid(), secrets.token_hex(8), count(1)
        event = older_event(shape, producer=self._producer, number=next(self._numbers))
        with LogWriter(self._given, redact=before_reading().redact) as writer:
            writer.append([event])
        return event.id


_default: Final = BattleLogger()


def get_battle_logger() -> BattleLogger:
    """Return the one of this process's home."""
    return _default


def log_event(channel: str, message: str, severity: str = "info", **fields: Any) -> str:
    """Record an entry in the log of this process's home; see BattleLogger.log."""
    return _default.log(channel, message, severity, **fields)


class _Log(Protocol):
    def __call__(self, message: str, severity: str = "info", **fields: Any) -> str: ...


def _to_channel(channel: str) -> _Log:
    def log(message: str, severity: str = "info", **fields: Any) -> str:
        return _default.log(channel, message, severity, **fields)

    log.__name__ = log.__qualname__ = f"log_{channel}"
    log.__doc__ = f"Record an entry of the channel {channel}; see BattleLogger.log."
    return log


log_system: Final = _to_channel("system")
log_jobs: Final = _to_channel("jobs")
log_training: Final = _to_channel("training")
log_eval: Final = _to_channel("eval")
log_vault: Final = _to_channel("vault")
log_guild: Final = _to_channel("guild")
log_debug: Final = _to_channel("debug")
log_data: Final = _to_channel("data")
log_checkpoint: Final = _to_channel("checkpoint")


def _names(given: str | Sequence[str] | None) -> tuple[str, ...]:
    if given is None:
        return ()
    return (given,) if isinstance(given, str) else tuple(given)


def _entry(row: LogRow) -> BattleLogEntry:
    event = row.event
    return BattleLogEntry(
        id=row.cursor,
        timestamp=event.timestamp,
        channel=event.channel,
        source=event.source or f"event.{event.kind}",
        severity=event.severity,
        message=event.message,
        hero_id=event.hero_id,
        campaign_id=event.campaign_id,
        details=event.details,
        icon=CHANNEL_ICONS.get(event.channel, ""),
    )


_DAY_NS: Final = 86_400 * 1_000_000_000
_ALL: Final = 2**62


def trim(path: Path, max_age_days: float, covered: int | None) -> int:
    """Remove rows that arrived longer ago; return how many. covered: only up to this cursor."""
    limits = Limits(max_age_ns=int(max_age_days * _DAY_NS), max_bytes=_ALL)
    below = _ALL if covered is None else covered + 1
    removed = 0
    log = engine.open_log(path)
    with log.writer() as writer:
        retention = log.retention(writer, limits)
        while (step := retention.step(below)).more:
            removed += step.removed
    return removed


def save_state(path: Path, home: Path) -> int:
    """Bring the snapshot of RealmState up to a home's log; return the cursor that it covers."""
    with open_log(path) as reader:
        if reader is None:
            return 0
        runner = state_runner(reader.log_id, engine.open_log(path, home=home))
        runner.restart()
        runner.catch_up(every_row(reader.now))
        runner.save()
        return runner.covered
