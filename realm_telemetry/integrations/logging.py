"""Records of the standard library's `logging` as events.

    from realm_telemetry.integrations import logging as realm_logging

    realm_logging.install(level="INFO", exclude=["urllib3"])

A record becomes an event of kind `log_record`, as one that comes through OpenTelemetry does: its
logger is the source, its level the severity, `extra` and exception are details.
"""

import logging
from collections.abc import Callable, Sequence
from traceback import format_exception
from types import TracebackType
from typing import Any, Final, NamedTuple

from realm_telemetry.producer.emission import record as emit_record

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
_MAX_REMEMBERED: Final = 10_000

ExcInfo = tuple[type[BaseException], BaseException, TracebackType | None]


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
        passed = self.filter(record)
        if passed:
            self.emit(passed if isinstance(passed, logging.LogRecord) else record)
        return passed

    def emit(self, record: logging.LogRecord) -> None:
        """Emit a record as an event, unless its logger is left out."""
        name = record.name
        taken = self._taken.get(name)
        if taken is None:
            taken = self._remember(name)
        if not taken or (record.threadName or "").startswith(THREAD_PREFIX):
            return
        try:
            level = level_of(record.levelno, record.levelname)
            emit_record(
                KIND,
                record.getMessage(),
                _details(record, level),
                level.channel,
                level.severity,
                source=name,
                time_unix_nano=int(record.created * 1e9),
            )
        except Exception:  # noqa: BLE001 - logging's own way to report a bad call
            self.handleError(record)

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


def _details(record: logging.LogRecord, level: Level) -> dict[str, Any]:
    fields = vars(record)
    details = {str(key): fields[key] for key in fields.keys() - _STANDARD}
    details["code.file.path"] = record.pathname
    details["code.function.name"] = record.funcName
    details["code.line.number"] = record.lineno
    if level.details:
        details |= level.details
    if record.exc_info and record.exc_info[0] is not None:
        details |= exception_details(record.exc_info)
    if record.stack_info:
        details["code.stacktrace"] = record.stack_info
    return details


def exception_details(exc_info: ExcInfo) -> dict[str, str]:
    """Return an exception as details, named as OpenTelemetry's conventions do."""
    kind, error, trace = exc_info
    module = "" if kind.__module__ == "builtins" else f"{kind.__module__}."
    return {
        "exception.type": f"{module}{kind.__qualname__}",
        "exception.message": str(error),
        "exception.stacktrace": "".join(format_exception(kind, error, trace)),
    }


class _Installed(NamedTuple):
    handler: RealmHandler
    remove: Callable[[], None]


_installed: _Installed | None = None


def install(
    level: int | str = logging.NOTSET,
    *,
    loggers: Sequence[str] = (),
    exclude: Sequence[str] = (),
    beside: bool = False,
) -> RealmHandler:
    """Turn what the program logs into events. A second call replaces the first.

    level: the least that is taken; what a logger's own level drops never comes here.
    loggers, exclude: see RealmHandler. Named loggers get the handler themselves, so that it also
        hears those that do not propagate.
    beside: hook into `logging` without a handler on the root logger, for a program that does
        not know of us: with one there, `basicConfig` would do nothing, and warnings of a program
        without any handler would no longer be printed.
    """
    global _installed
    uninstall()
    handler = RealmHandler(level, loggers=loggers, exclude=exclude)
    remove = _listen_beside(handler) if beside else _add(handler, loggers)
    _installed = _Installed(handler, remove)
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


def _add(handler: RealmHandler, names: Sequence[str]) -> Callable[[], None]:
    # Where records go on to another one that is named too, they would be heard twice.
    tops = [name for name in names if not _goes_on_to(logging.getLogger(name), names)]
    heard = [logging.getLogger(name) for name in dict.fromkeys(tops)] or [logging.getLogger()]
    for logger in heard:
        logger.addHandler(handler)

    def remove() -> None:
        for logger in heard:
            logger.removeHandler(handler)

    return remove


def _goes_on_to(logger: logging.Logger, names: Sequence[str]) -> bool:
    while logger.propagate and logger.parent is not None:
        logger = logger.parent
        if logger.name in names:
            return True
    return False


def _listen_beside(handler: RealmHandler) -> Callable[[], None]:
    call_handlers = logging.Logger.callHandlers

    def call_handlers_and_ours(self: logging.Logger, record: logging.LogRecord) -> None:
        call_handlers(self, record)
        if listening and record.levelno >= handler.level:
            handler.handle(record)

    listening = True
    logging.Logger.callHandlers = call_handlers_and_ours  # type: ignore[method-assign]

    def remove() -> None:
        nonlocal listening
        listening = False  # somebody may have wrapped ours meanwhile: then it stays, deaf
        if logging.Logger.callHandlers is call_handlers_and_ours:
            logging.Logger.callHandlers = call_handlers  # type: ignore[method-assign]

    return remove
