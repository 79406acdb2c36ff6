"""Records of the standard library's `logging` as events.

    from realm_telemetry.integrations import logging as realm_logging

    realm_logging.install(level="INFO", exclude=["urllib3"])

A record becomes an event of kind `log_record`, as one that comes through OpenTelemetry does: its
logger is the source, its level the severity, `extra` and exception are details.
"""

import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, NamedTuple

from realm_telemetry.errors import warn_once
from realm_telemetry.kinds.messages import body_message
from realm_telemetry.producer.emission import record as emit_record
from realm_telemetry.values.conversions import ENDING, error_text, key_text, read_item
from realm_telemetry.values.details import text_or_none, to_json_value
from realm_telemetry.values.exceptions import exception_details, exception_of

KIND: Final = "log_record"
THREAD_PREFIX: Final = "realm-telemetry-"
"""Of our own threads; what they log would cause more of the same.

Long, because a program that trains for a realm has threads named `realm-...` too.
"""

_OURS: Final = frozenset(("realm_telemetry", "opentelemetry", "httpx", "httpcore"))
_OUR_PLUGINS: Final = "realm_exporter_"
_STANDARD: Final = frozenset(vars(logging.makeLogRecord({}))) | {
    "asctime",
    "message",
    "taskName",
}
_OF_STRUCTLOG: Final = frozenset(("_logger", "_name"))
"""What structlog's `wrap_for_formatter` sets beside a message that is its event dict."""
_MAX_REMEMBERED: Final = 10_000
MAX_INSIDE_ITSELF: Final = 8
"""Records that are logged while one is shown, each inside the last, beyond which none is shown."""


class Level(NamedTuple):
    """What a logging level is in an event.

    details: what severity and channel do not show, named as for other OpenTelemetry records.
    """

    channel: str
    severity: str
    details: dict[str, Any]


def level_of(number: int, name: str) -> Level:
    """Return what a level is: DEBUG is channel debug, CRITICAL severity error."""
    known = _KNOWN.get((number, name))
    if known is not None:
        return known
    severity = "info" if number < 30 else "warning" if number < 40 else "error"
    details: dict[str, Any] = {"otel.severity_text": name}
    if number >= 10:
        # As OpenTelemetry does: four steps in each ten.
        otel = 5 + 4 * (min(number, 50) // 10 - 1) + min(number - min(number, 50) // 10 * 10, 3)
        details = {"otel.severity_number": otel} | details
    return Level("debug" if number < 20 else "system", severity, details)


_KNOWN: Final = {
    (10, "DEBUG"): Level(
        "debug", "info", {"otel.severity_number": 5, "otel.severity_text": "DEBUG"}
    ),
    (20, "INFO"): Level("system", "info", {}),
    (30, "WARNING"): Level("system", "warning", {}),
    (40, "ERROR"): Level("system", "error", {}),
    (50, "CRITICAL"): Level(
        "system", "error", {"otel.severity_number": 21, "otel.severity_text": "FATAL"}
    ),
}


class RealmHandler(logging.Handler):
    """A logging handler that emits each record as an event.

    loggers: names; of others, and what is not below them, nothing is taken. Empty: all.
    exclude: names that are left out, with all below them. Our own loggers, OpenTelemetry's and
        those of the HTTP client always are: delivering an event must not cause the next.
    """

    def __init__(
        self,
        level: int | str = logging.NOTSET,
        *,
        loggers: Sequence[str] = (),
        exclude: Sequence[str] = (),
    ) -> None:
        super().__init__(level)
        self._loggers = tuple(loggers)
        self._exclude = tuple(exclude)
        self._taken: dict[str, bool] = {}

    def createLock(self) -> None:  # noqa: N802 - logging's name
        """Make no lock: emitting needs none, and threads would wait for each other."""
        self.lock = None

    def handle(self, record: logging.LogRecord) -> bool | logging.LogRecord:  # type: ignore[override]
        """Emit a record that passes the filters; from Python 3.13 on, theirs needs a lock."""
        try:
            passed = self.filter(record)
        except ENDING:
            raise
        except BaseException:  # noqa: BLE001 - the program's filter; the record is not lost for it
            passed = True
        if passed:
            self.emit(passed if isinstance(passed, logging.LogRecord) else record)
        return passed

    def emit(self, record: logging.LogRecord) -> None:
        """Emit a record as an event, unless its logger is left out. Never raises an Exception."""
        depth = getattr(_shown, "depth", 0)
        _shown.depth = depth + 1
        try:
            if self._takes(record):
                _emit(record, shows=depth < MAX_INSIDE_ITSELF)
        except ENDING:
            raise
        except BaseException:  # noqa: BLE001 - a value's own code may raise anything
            _emit_bare(record)
        finally:
            _shown.depth = depth

    def _takes(self, record: logging.LogRecord) -> bool:
        name = record.name
        if type(name) is not str:
            name = str(name)
        taken = self._taken.get(name)
        if taken is None:
            taken = self._remember(name)
        return taken and not (record.threadName or "").startswith(THREAD_PREFIX)

    def _remember(self, name: str) -> bool:
        if len(self._taken) >= _MAX_REMEMBERED:
            self._taken.clear()
        first = name.partition(".")[0]
        ours = first in _OURS or first.startswith(_OUR_PLUGINS)
        wanted = not self._loggers or _is_below(name, self._loggers)
        taken = wanted and not ours and not _is_below(name, self._exclude)
        self._taken[name] = taken
        return taken


def _is_below(name: str, tops: Sequence[str]) -> bool:
    return any(name == top or name.startswith(f"{top}.") for top in tops)


_shown = threading.local()


def _emit(record: logging.LogRecord, *, shows: bool) -> None:
    """Emit a record; raises what is wrong with it, but for its message, arguments and exception.

    shows: whether what is no text may be shown, which runs code that may log again.
    """
    level = level_of(record.levelno, record.levelname)
    details = _extra(record)
    message = _message(record, details) if shows else _bare_message(record)
    _add(details, "code.file.path", record.pathname)
    _add(details, "code.function.name", record.funcName)
    _add(details, "code.line.number", record.lineno)
    if level.details:
        details |= level.details
    exc_info = exception_of(record.exc_info) if record.exc_info else None
    if exc_info is not None and shows:
        details |= exception_details(exc_info)
    if record.stack_info:
        details["code.stacktrace"] = record.stack_info
    emit_record(
        KIND,
        message,
        details,
        level.channel,
        level.severity,
        source=str(record.name),
        time_unix_nano=_moment(record.created),
    )


def _emit_bare(record: Any) -> None:
    """Emit what there is of a record that is not as logging makes them."""
    try:
        number = getattr(record, "levelno", None)
        level = level_of(number if type(number) is int else logging.INFO, "INFO")
        details: dict[str, Any] = {}
        for name in ("msg", "args", "levelno", "levelname", "exc_info", "pathname", "lineno"):
            details[f"log.{name}"] = read_item(record, lambda key: getattr(record, key, None), name)
        details = {key: value for key, value in details.items() if value is not None}
        source = text_or_none(getattr(record, "name", None))
        emit_record(
            KIND, _bare_message(record), details, level.channel, level.severity, source=source
        )
    except ENDING:
        raise
    except BaseException as error:  # noqa: BLE001 - a value's own code may raise anything
        warn_once("log record", f"a log record could not be recorded: {to_json_value(error)}")


def _bare_message(record: Any) -> str:
    message = getattr(record, "msg", None)
    return message if type(message) is str else f"<{type(message).__name__} that cannot be shown>"


def _moment(created: Any) -> int | None:
    """When a record was made, ns; None, which is now, where that is no time."""
    nanoseconds = int(created * 1e9) if type(created) is float and created == created else 0
    return nanoseconds if 0 < nanoseconds < 2**63 else None


def _message(record: logging.LogRecord, details: dict[str, Any]) -> str | None:
    """The message; what else it was goes into the details, named as for OpenTelemetry's handler."""
    given = record.msg
    if record.args or isinstance(given, str):
        try:
            return record.getMessage()
        except ENDING:
            raise
        except BaseException as error:  # noqa: BLE001 - a value's own code may raise anything
            _add(details, "log.args", record.args)
            _add(details, "log.problem", f"{type(error).__name__}: {error_text(error)}")
            return text_or_none(given)
    if given is None:
        return None
    if not isinstance(given, bool | int | float | bytes | Sequence | Mapping):
        return text_or_none(given) if isinstance(given, BaseException) else str(given)
    if isinstance(given, Mapping) and "_logger" in details:
        for name in _OF_STRUCTLOG:
            details.pop(name, None)
        _add_exception(details, given)
    body = to_json_value(given)
    _add(details, "otel.body", body)
    return body_message(body)


def _add_exception(details: dict[str, Any], event_dict: Mapping[Any, Any]) -> None:
    """Add the exception that structlog leaves to its formatter."""
    exc_info = exception_of(event_dict.get("exc_info"))
    if exc_info is not None:
        details |= exception_details(exc_info)


def _extra(record: logging.LogRecord) -> dict[str, Any]:
    fields = vars(record)
    details: dict[str, Any] = {}
    for key in fields.keys() - _STANDARD:
        details[key if type(key) is str else key_text(key, details)] = fields[key]
    return details


def _add(details: dict[str, Any], name: str, value: Any) -> None:
    """Add a detail of ours; an `extra` of that name goes under `attributes.` and the name."""
    if name in details:
        details[f"attributes.{name}"] = details[name]
    details[name] = value


class _Installed(NamedTuple):
    handler: RealmHandler
    remove: Callable[[], None]


_installed: _Installed | None = None


def install(
    level: int | str = logging.NOTSET,
    *,
    loggers: Sequence[str] = (),
    exclude: Sequence[str] = (),
    beside: bool = True,
) -> RealmHandler:
    """Turn what the program logs into events. A second call replaces the first.

    level: the least that is taken; what a logger's own level drops never comes here.
    loggers, exclude: see RealmHandler. Loggers that do not propagate are heard too.
    beside: taken for older programs, and without effect.
    Nothing is added to a logger: a handler there would be gone when the program configures its
    logging (`dictConfig`, `basicConfig(force=True)`, Hydra), `basicConfig` alone would do nothing,
    and warnings of a program without any handler would no longer be printed.
    """
    global _installed
    uninstall()
    handler = RealmHandler(level, loggers=loggers, exclude=exclude)
    _installed = _Installed(handler, _listen(handler))
    return handler


def uninstall() -> None:
    """Undo `install`; harmless without it."""
    global _installed
    if _installed is not None:
        _installed.remove()
        _installed = None


def installed() -> RealmHandler | None:
    """What `install` has installed."""
    return _installed and _installed.handler


def _listen(handler: RealmHandler) -> Callable[[], None]:
    """Hear each record where its logger hands it to handlers; returns what ends it."""
    call_handlers = logging.Logger.callHandlers

    def call_handlers_and_ours(self: logging.Logger, record: logging.LogRecord) -> None:
        try:
            call_handlers(self, record)
        except ENDING:
            raise
        except BaseException:
            if self.hasHandlers():  # what a handler of the program raises is for the program
                raise
        finally:  # after the program's own, whose filters may take secrets out of a record
            if listening and _reaches(record, handler.level):
                handler.handle(record)

    listening = True
    logging.Logger.callHandlers = call_handlers_and_ours  # type: ignore[method-assign]

    def remove() -> None:
        nonlocal listening
        listening = False  # somebody may have wrapped ours meanwhile: then it stays, deaf
        if logging.Logger.callHandlers is call_handlers_and_ours:
            logging.Logger.callHandlers = call_handlers  # type: ignore[method-assign]

    return remove


def _reaches(record: logging.LogRecord, least: int) -> bool:
    number = getattr(record, "levelno", None)
    return number >= least if isinstance(number, int) else True
