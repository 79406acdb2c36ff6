"""What keeps the log in shape beside ingest: older rows filled in, search, retention.

One small step at a time, in the writer's thread while it has nothing to write, so that a batch
waits for one step at the most.
"""

from collections.abc import Callable
from typing import Final

from realm_telemetry.log.retention import Limits, Retention
from realm_telemetry.log.search import SearchIndex
from realm_telemetry.log.writer import LogWriter
from realm_telemetry.service.settings import ServiceSettings

INDEX_ROWS: Final = 200
BACKFILL_ROWS: Final = 200
_BETWEEN_STEPS_S: Final = 0.02
_DAY_NS: Final = 24 * 3600 * 1_000_000_000
_FOR_EVER: Final = 2**62


class Upkeep:
    """Belongs to the writer's thread, but for `snapshot_cursor`.

    snapshot_cursor: up to where a saved RealmState covers the log; retention stays below it.
    """

    def __init__(self, settings: ServiceSettings) -> None:
        self._settings = settings
        self._search = SearchIndex(settings.log_path, settings.search_path)
        self._retention: Retention | None = None
        self._turn = 0
        self._idle = 0
        self.snapshot_cursor = 0

    def step(self, writer: LogWriter) -> float:
        """Do one step of the next job; returns seconds until the next."""
        jobs: tuple[Callable[[LogWriter], bool], ...] = (self._backfill, self._index, self._retain)
        more = jobs[self._turn % len(jobs)](writer)
        self._turn += 1
        self._idle = 0 if more else self._idle + 1
        return _BETWEEN_STEPS_S if self._idle < len(jobs) else self._settings.upkeep_interval_s

    def _backfill(self, writer: LogWriter) -> bool:
        return writer.backfill_step(BACKFILL_ROWS) > 0

    def _index(self, _writer: LogWriter) -> bool:
        return self._search.index_step(INDEX_ROWS) == INDEX_ROWS

    def _retain(self, writer: LogWriter) -> bool:
        if self._retention is None:
            self._retention = Retention(writer, limits_of(self._settings))
        return self._retention.step(self.snapshot_cursor + 1).more


def limits_of(settings: ServiceSettings) -> Limits:
    """The bounds of the log; a bound that is left out is never reached."""
    days, most = settings.retention_days, settings.retention_bytes
    return Limits(
        max_age_ns=_FOR_EVER if days is None else int(days * _DAY_NS),
        max_bytes=_FOR_EVER if most is None else most,
    )
