"""The older `core.events`, deprecated: events as lines `{"ts", "kind", ...fields}`.

Every function warns once for each place that calls it, naming its successor. Times are naive
local, as they were. Fields that a line has are the event's details; `message`, `channel`,
`severity`, `hero_id` and `campaign_id` among them are the event's own too.
"""

import os
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from functools import wraps
from types import FrameType
from typing import Any, ParamSpec, TypeVar

from realm_telemetry.compat.first_use import (
    UPDATES,
    Moment,
    before_emitting,
    before_reading,
    bus_source,
    moment_ns,
    newest,
    open_log,
)
from realm_telemetry.compat.shapes import older_line
from realm_telemetry.event import CHANNELS, SEVERITIES
from realm_telemetry.log import Filters
from realm_telemetry.producer.emission import emit_in_full

P = ParamSpec("P")
R = TypeVar("R")

_warned: set[tuple[str, int, str, str | None]] = set()


def replaced_by(successor: str) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Have a function of `core.events` warn with DeprecationWarning, naming its successor."""

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        text = f"core.events.{function.__name__}() is deprecated; use {successor}"

        @wraps(function)
        def call(*arguments: P.args, **fields: P.kwargs) -> R:
            answer = function(*arguments, **fields)
            # After the call: where warnings are errors, the event is recorded too.
            _warn(text, sys._getframe(1))
            return answer

        return call

    return decorate


def _warn(text: str, caller: FrameType) -> None:
    path, line = caller.f_code.co_filename, caller.f_lineno
    # Every test of a suite may expect the warning of a line that several of them come to.
    place = (path, line, text, os.environ.get("PYTEST_CURRENT_TEST"))
    if place not in _warned:
        _warned.add(place)
        module = caller.f_globals.get("__name__", "<unknown>")
        warnings.warn_explicit(text, DeprecationWarning, path, line, module)


__all__ = [
    "emit_checkpoint_saved",
    "emit_eval_completed",
    "emit_eval_suite_triggered",
    "emit_event",
    "emit_job_completed",
    "emit_job_failed",
    "emit_job_started",
    "emit_job_submitted",
    "emit_training_completed",
    "emit_training_started",
    "emit_warning",
    "get_event_count",
    "get_events_last_n_minutes",
    "get_events_since",
    "get_recent_events",
    "iter_events",
]

Line = dict[str, Any]

_PAGE_ROWS = 1_000


@replaced_by("realm_telemetry.emit")
def emit_event(kind: str, **fields: Any) -> Line:
    """Record an event; return its line."""
    return _emit(kind, fields)


@replaced_by("realm_telemetry.job_submitted")
def emit_job_submitted(job_id: str, job_type: str | None = None, **fields: Any) -> Line:
    """A job was put into the queue."""
    return _emit("job_submitted", fields, job_id=job_id, job_type=job_type)


@replaced_by("realm_telemetry.job_started")
def emit_job_started(
    job_id: str, job_type: str | None = None, worker_id: str | None = None, **fields: Any
) -> Line:
    """A worker began a job."""
    return _emit("job_started", fields, job_id=job_id, job_type=job_type, worker_id=worker_id)


@replaced_by("realm_telemetry.job_completed")
def emit_job_completed(job_id: str, job_type: str | None = None, **fields: Any) -> Line:
    """A job ended well."""
    return _emit("job_completed", fields, job_id=job_id, job_type=job_type)


@replaced_by("realm_telemetry.job_failed")
def emit_job_failed(job_id: str, error: str | BaseException | None = None, **fields: Any) -> Line:
    """A job ended with an error."""
    return _emit("job_failed", fields, job_id=job_id, error=error)


@replaced_by("realm_telemetry.checkpoint_saved")
def emit_checkpoint_saved(
    hero_id: str | None = None,
    campaign_id: str | None = None,
    step: int | None = None,
    path: Any = None,
    **fields: Any,
) -> Line:
    """A checkpoint was written."""
    own = {"hero_id": hero_id, "campaign_id": campaign_id, "step": step, "path": path}
    return _emit("checkpoint_saved", fields, **own)


@replaced_by("realm_telemetry.training_started")
def emit_training_started(
    hero_id: str | None = None, campaign_id: str | None = None, **fields: Any
) -> Line:
    """A training run began."""
    return _emit("training_started", fields, hero_id=hero_id, campaign_id=campaign_id)


@replaced_by("realm_telemetry.training_completed")
def emit_training_completed(
    hero_id: str | None = None, campaign_id: str | None = None, **fields: Any
) -> Line:
    """A training run reached its end."""
    return _emit("training_completed", fields, hero_id=hero_id, campaign_id=campaign_id)


@replaced_by("realm_telemetry.eval_suite_triggered")
def emit_eval_suite_triggered(suite_id: str, **fields: Any) -> Line:
    """A suite of evals was set off. The newer name of the field, suite, is set as well."""
    return _emit("eval_suite_triggered", fields, suite_id=suite_id, suite=suite_id)


@replaced_by("realm_telemetry.eval_completed")
def emit_eval_completed(
    suite_id: str | None = None,
    skill_id: str | None = None,
    level: int | None = None,
    accuracy: float | None = None,
    **fields: Any,
) -> Line:
    """An eval ended. The newer names of its fields, suite and skill, are set as well."""
    names = {"suite_id": suite_id, "suite": suite_id, "skill_id": skill_id, "skill": skill_id}
    return _emit("eval_completed", fields, **names, level=level, accuracy=accuracy)


@replaced_by("realm_telemetry.warning_raised")
def emit_warning(message: str, **fields: Any) -> Line:
    """A warning."""
    return _emit("warning_raised", fields, message=message, warning=message)


@replaced_by("realm_telemetry.client.RealmClient.query or `realm query`")
def get_recent_events(
    limit: int = 50, since: Moment | None = None, kinds: Sequence[str] | None = None
) -> list[Line]:
    """Return the last events' lines, newest first."""
    return _lines(limit, since, kinds)


@replaced_by("realm_telemetry.client.RealmClient.query or `realm query --since`")
def get_events_since(since: Moment, kinds: Sequence[str] | None = None) -> list[Line]:
    """Return the lines of all events after a time, newest first."""
    return _lines(None, since, kinds)


@replaced_by("realm_telemetry.client.RealmClient.query or `realm query --since 15m`")
def get_events_last_n_minutes(minutes: float, kinds: Sequence[str] | None = None) -> list[Line]:
    """Return the lines of the last minutes' events, newest first."""
    return _lines(None, time.time() - minutes * 60, kinds)


@replaced_by("realm_telemetry.client.RealmClient.query or `realm export`")
def iter_events() -> Iterator[Line]:
    """Yield all lines as a file would: in order of arrival, oldest first."""
    return _all_lines()


@replaced_by("realm_telemetry.client.RealmClient.query_page or `realm stats`")
def get_event_count() -> int:
    """Return how many events the log holds."""
    with open_log(before_reading().log_path) as reader:
        if reader is None:
            return 0
        with reader.snapshot() as log:
            updates = log.page(Filters(kinds=(UPDATES,), limit=1)).total
            return log.page(Filters(limit=1)).total - updates


def _emit(kind: str, fields: Line, **own: Any) -> Line:
    """Emit with the function's own arguments first; those that are None are left out."""
    before_emitting()
    line = {name: value for name, value in own.items() if value is not None} | fields
    channel, severity = line.get("channel"), line.get("severity")
    event = emit_in_full(
        kind,
        line.get("message"),
        channel=channel if channel in CHANNELS else None,
        severity=severity if severity in SEVERITIES else None,
        details=line,
        hero_id=line.get("hero_id"),
        campaign_id=line.get("campaign_id"),
        source=bus_source(kind),
    )
    return older_line(event)


def _lines(limit: int | None, since: Moment | None, kinds: Sequence[str] | None) -> list[Line]:
    since_ns = moment_ns(since)
    filters = Filters(
        kinds=tuple(kinds or ()), since_unix_nano=None if since_ns is None else since_ns + 1_000
    )
    rows = newest(before_reading().log_path, filters, limit)
    return [older_line(row.event) for row in rows]


def _all_lines() -> Iterator[Line]:
    path, cursor = before_reading().log_path, 0
    while True:
        with open_log(path) as reader:
            rows = reader.now.after(cursor, _PAGE_ROWS) if reader else []
        for row in rows:
            if row.event.kind != UPDATES:
                yield older_line(row.event)
        if len(rows) < _PAGE_ROWS:
            return
        cursor = rows[-1].cursor
