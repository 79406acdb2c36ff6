"""The older `core.realm_store`: the last events and RealmState, read from the log."""

import os
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from realm_telemetry.compat.first_use import (
    UPDATES,
    before_emitting,
    before_reading,
    bus_source,
    newest,
    open_log,
)
from realm_telemetry.compat.shapes import local_time
from realm_telemetry.config import Settings
from realm_telemetry.event import Event
from realm_telemetry.folds.runtime import every_row
from realm_telemetry.folds.state import RealmState, state_runner
from realm_telemetry.kinds.catalog import CHANNEL_ICONS, is_routine
from realm_telemetry.log import Filters, LogReader, engine
from realm_telemetry.producer.emission import emit_in_full

__all__ = [
    "RealmStore",
    "emit_event",
    "get_events",
    "get_realm_state",
    "get_store",
    "get_training_state",
    "update_hero",
    "update_queue",
    "update_skills",
    "update_training",
    "update_worker",
]

_STATE_EVENTS: Final = 50
_SCHEMA_VERSION: Final = 2

Fields = Mapping[str, Any] | None


class RealmStore:
    """The last events, and RealmState. Times of events are naive local."""

    def __init__(self) -> None:
        self._fold = _Fold()

    def emit_event(
        self,
        kind: str,
        message: str | None = None,
        channel: str | None = None,
        severity: str | None = None,
        details: Fields = None,
        **fields: Any,
    ) -> dict[str, Any]:
        """Record an event and return it in the store's shape."""
        before_emitting()
        event = emit_in_full(
            kind,
            message,
            channel=channel,
            severity=severity,
            details=details,
            **{"source": bus_source(kind)} | fields,
        )
        return _shape(event)

    def get_events(self, limit: int = 50) -> list[dict[str, Any]]:
        """Return the last events, newest first."""
        return [_shape(row.event) for row in newest(_log_path(), Filters(), limit)]

    def update_training(self, data: Fields = None, **fields: Any) -> None:
        """Merge fields into the section training."""
        self.update("training", {**(data or {}), **fields})

    def update_worker(self, worker_id: str, data: Fields = None, **fields: Any) -> None:
        """Merge fields into a worker, which also counts as its heartbeat."""
        worker = {"worker_id": worker_id, **(data or {}), **fields}
        self.update("workers", {str(worker_id): worker})

    def update_hero(self, data: Fields = None, **fields: Any) -> None:
        """Merge fields into the section hero."""
        self.update("hero", {**(data or {}), **fields})

    def update_queue(self, data: Fields = None, **fields: Any) -> None:
        """Merge fields into the section queue."""
        self.update("queue", {**(data or {}), **fields})

    def update_skills(self, data: Fields = None, **fields: Any) -> None:
        """Merge fields into the section skills."""
        self.update("skills", {**(data or {}), **fields})

    def update(self, section: str, data: Mapping[str, Any]) -> None:
        """Merge fields into any section."""
        before_emitting()
        emit_in_full(UPDATES, section=section, data=data)

    def get_state(self) -> dict[str, Any]:
        """Return every section by name, and beside them what `GET /api/state` answers.

        state: the sections again. events: the last 50 that are not routine, which the sections
        cover. timestamp, schema_version.
        """
        sections = self._fold.sections()
        last = newest(_log_path(), Filters(), _STATE_EVENTS, is_routine)
        return {
            **sections,
            "state": sections,
            "events": [_shape(row.event) for row in last],
            "timestamp": local_time(time.time_ns()),
            "schema_version": _SCHEMA_VERSION,
        }

    def get_section(self, name: str) -> dict[str, Any]:
        """Return one section; empty if there is none of this name."""
        return self._fold.sections().get(name, {})


class _Fold:
    """RealmState as far as it was read; each reading folds what came since.

    of: the log that the state is of.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._of: tuple[Path, str] | None = None
        self._runner = state_runner("")
        os.register_at_fork(after_in_child=self._after_fork)

    def sections(self) -> dict[str, dict[str, Any]]:
        settings = before_reading()
        with self._lock, open_log(settings.log_path) as reader:
            if reader is None:
                return RealmState().to_dict()
            return self._caught_up(reader, settings).to_dict()

    def _caught_up(self, reader: LogReader, settings: Settings) -> RealmState:
        log, known = (reader.path, reader.log_id), self._of
        # Unknown until all is folded: an interrupted fold may have counted an event in part.
        self._of = None
        if log != known:
            beside = engine.open_log(settings.log_path, home=settings.home)
            self._runner = state_runner(reader.log_id, beside)
            self._runner.restart()
        state = self._runner.catch_up(every_row(reader.now))
        self._of = log
        return state

    def _after_fork(self) -> None:
        self._lock = threading.Lock()


_store: Final = RealmStore()


def get_store() -> RealmStore:
    """Return the one store."""
    return _store


def get_realm_state() -> dict[str, Any]:
    """Return the state; see RealmStore.get_state."""
    return _store.get_state()


def get_training_state() -> dict[str, Any]:
    """Return the section training."""
    return _store.get_section("training")


emit_event: Final = _store.emit_event
get_events: Final = _store.get_events
update_hero: Final = _store.update_hero
update_queue: Final = _store.update_queue
update_skills: Final = _store.update_skills
update_training: Final = _store.update_training
update_worker: Final = _store.update_worker


def _log_path() -> Path:
    return before_reading().log_path


def _shape(event: Event) -> dict[str, Any]:
    return {
        "id": event.id,
        "timestamp": local_time(event.time_unix_nano),
        "kind": event.kind,
        "channel": event.channel,
        "severity": event.severity,
        "message": event.message,
        "icon": CHANNEL_ICONS.get(event.channel, ""),
        "details": event.details,
    }
