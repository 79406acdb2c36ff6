"""What a program logs with structlog as events.

    from realm_telemetry.integrations.structlog import RealmProcessor

    structlog.configure(processors=[
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        RealmProcessor(),
        structlog.dev.ConsoleRenderer(),
    ])

It passes the event dict on as it was, so it stands before the renderer. Where structlog hands
over to the standard library's `logging`, use this or the logging bridge, not both.
"""

import logging
import sys
from collections.abc import Mapping, MutableMapping, Sequence
from typing import Any, Final

from realm_telemetry.integrations.logging import KIND, ExcInfo, exception_details, level_of
from realm_telemetry.kinds.catalog import spec
from realm_telemetry.producer.emission import record as emit_record

_LEVELS: Final = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warn": logging.WARNING,
    "warning": logging.WARNING,
    "error": logging.ERROR,
    "err": logging.ERROR,
    "exception": logging.ERROR,
    "critical": logging.CRITICAL,
    "fatal": logging.CRITICAL,
}
_NOT_DETAILS: Final = frozenset(("level", "logger", "exc_info", "stack_info"))


class RealmProcessor:
    """A structlog processor that emits each event dict as an event.

    An event that has the name of a kind (`log.info("checkpoint_saved", step=7)`) is one of that
    kind; any other is a `log_record` with the event as its message. The level is the severity,
    the logger the source; all else that is bound is a detail.
    level: the least that is taken.
    exclude: names of loggers that are left out, with all below them.
    """

    def __init__(self, level: int | str = logging.NOTSET, *, exclude: Sequence[str] = ()) -> None:
        self._least = logging._checkLevel(level)  # type: ignore[attr-defined]  # what Handler uses
        self._exclude = tuple(exclude)

    def __call__(
        self, logger: Any, method_name: str, event_dict: MutableMapping[str, Any]
    ) -> MutableMapping[str, Any]:
        """Emit, and return the very event dict."""
        name = str(event_dict.get("level", method_name)).lower()
        number = _LEVELS.get(name, logging.INFO)
        source = event_dict.get("logger") or getattr(logger, "name", None)
        if number >= self._least and not self._is_excluded(source):
            _emit(event_dict, number, source)
        return event_dict

    def _is_excluded(self, source: Any) -> bool:
        return any(source == name or str(source).startswith(f"{name}.") for name in self._exclude)


def _emit(event_dict: Mapping[str, Any], number: int, source: Any) -> None:
    name = event_dict.get("event")
    details = {
        str(key): value
        for key, value in event_dict.items()
        if key not in _NOT_DETAILS and key != "event"
    }
    exc_info = _exc_info(event_dict.get("exc_info"))
    if exc_info is not None:
        details |= exception_details(exc_info)
    level = level_of(number, logging.getLevelName(number))
    source = None if source is None else str(source)
    if isinstance(name, str) and spec(name).registered:
        # The kind knows its severity; a level above info says more than that.
        severity = level.severity if number >= logging.WARNING else None
        emit_record(name, None, details, None, severity, source=source)
        return
    details |= level.details
    message = name if isinstance(name, str) else str(name)
    emit_record(KIND, message, details, level.channel, level.severity, source=source)


def _exc_info(given: Any) -> ExcInfo | None:
    """What structlog takes for `exc_info`: True, an exception or a triple."""
    if isinstance(given, BaseException):
        return type(given), given, given.__traceback__
    if isinstance(given, tuple):
        return given if given[0] is not None else None
    current = sys.exc_info() if given else (None, None, None)
    return None if current[0] is None else current
