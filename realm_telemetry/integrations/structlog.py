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
from collections.abc import Mapping, MutableMapping, Sequence
from typing import Any, Final

from realm_telemetry.errors import warn_once
from realm_telemetry.integrations.logging import KIND, level_of
from realm_telemetry.kinds.catalog import spec
from realm_telemetry.producer.emission import record as emit_record
from realm_telemetry.values.conversions import ENDING, key_text
from realm_telemetry.values.details import text_or_none, to_json_value
from realm_telemetry.values.exceptions import exception_details, exception_of

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
        """Emit, and return the very event dict. Never raises an Exception."""
        try:
            self._take(logger, method_name, event_dict)
        except ENDING:
            raise
        except BaseException:  # noqa: BLE001 - a value's own code may raise anything
            _emit_bare(method_name, event_dict)
        return event_dict

    def _take(self, logger: Any, method_name: str, event_dict: Mapping[str, Any]) -> None:
        name = str(event_dict.get("level", method_name)).lower()
        number = _LEVELS.get(name, logging.INFO)
        source = event_dict.get("logger") or getattr(logger, "name", None)
        if number >= self._least and not self._is_excluded(source):
            _emit(event_dict, number, source)

    def _is_excluded(self, source: Any) -> bool:
        return any(source == name or str(source).startswith(f"{name}.") for name in self._exclude)


def _emit(event_dict: Mapping[str, Any], number: int, source: Any) -> None:
    name = event_dict.get("event")
    details: dict[str, Any] = {}
    for key, value in event_dict.items():
        if key not in _NOT_DETAILS and key != "event":
            details[key if type(key) is str else key_text(key, details)] = value
    exc_info = exception_of(event_dict.get("exc_info"))
    if exc_info is not None:
        details |= exception_details(exc_info)
    level = level_of(number, logging.getLevelName(number))
    source = text_or_none(source)
    if isinstance(name, str) and spec(name).registered:
        # The kind knows its severity; a level above info says more than that.
        severity = level.severity if number >= logging.WARNING else None
        emit_record(name, None, details, None, severity, source=source)
        return
    details |= level.details
    emit_record(KIND, _message(name), details, level.channel, level.severity, source=source)


def _message(event: Any) -> str:
    """An event that is no text as its text; `emit` converts what cannot be."""
    try:
        return str(event)
    except ENDING:
        raise
    except BaseException:  # noqa: BLE001 - a value's own code may raise anything
        return str(to_json_value(event))


def _emit_bare(method_name: Any, event_dict: Any) -> None:
    """Emit what an earlier processor has left of an event."""
    try:
        level = level_of(_LEVELS.get(str(method_name), logging.INFO), "INFO")
        event = to_json_value(event_dict)
        message = event if isinstance(event, str) else "a log record that is no event dict"
        emit_record(KIND, message, {"log.event": event}, level.channel, level.severity)
    except ENDING:
        raise
    except BaseException as error:  # noqa: BLE001 - a value's own code may raise anything
        warn_once("log record", f"a log record could not be recorded: {to_json_value(error)}")
