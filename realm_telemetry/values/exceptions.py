"""Exceptions as text and details, whatever their own code does."""

import sys
from types import TracebackType
from typing import Any, Final

from realm_telemetry.values.conversions import ENDING, error_text, safe_text

MAX_FRAMES: Final = 2_000
"""Of one exception, the last ones: each costs 10 us, and a recursion may have millions."""

ExcInfo = tuple[type[BaseException], BaseException | None, TracebackType | None]


def exception_of(given: Any) -> ExcInfo | None:
    """Return what an `exc_info` means, as logging and structlog take it; None for no exception.

    given: an exception, a triple, or anything that is true for the exception being handled.
    """
    if isinstance(given, BaseException):
        return type(given), given, given.__traceback__
    if isinstance(given, tuple):
        return _of_tuple(given)
    try:
        handled = sys.exc_info() if given else (None, None, None)
    except ENDING:
        raise
    except BaseException:  # noqa: BLE001 - a value's own truth may raise anything
        return None
    return None if handled[0] is None else handled


def _of_tuple(given: tuple[Any, ...]) -> ExcInfo | None:
    """Read what should be a triple."""
    kind, error, trace = (*given, None, None, None)[:3]
    if isinstance(error, BaseException):
        return type(error), error, trace if isinstance(trace, TracebackType) else None
    if isinstance(kind, type) and issubclass(kind, BaseException):
        return kind, None, trace if isinstance(trace, TracebackType) else None
    return None


def exception_details(exc_info: ExcInfo) -> dict[str, str]:
    """Return an exception as details, named as OpenTelemetry's conventions do."""
    kind, error, trace = exc_info
    name, module = str(kind.__qualname__), str(kind.__module__)
    details = {"exception.type": name if module == "builtins" else f"{module}.{name}"}
    if error is not None:
        details["exception.message"] = error_text(error)
        details["exception.stacktrace"] = traceback_text(error, trace)
    return details


def traceback_text(error: BaseException, trace: TracebackType | None = None) -> str:
    """Return a traceback as Python prints it; never raises for the exception's own code.

    trace: the error's own without it. Of more than MAX_FRAMES frames the outermost are left out.
    """
    from traceback import format_exception  # costs 2 ms of import, which only an error needs

    try:
        lines = format_exception(
            type(error), error, trace or error.__traceback__, limit=-MAX_FRAMES
        )
        return safe_text("".join(lines))
    except ENDING:
        raise
    except BaseException:  # noqa: BLE001 - an exception's own code may raise anything
        return f"{type(error).__name__}: {error_text(error)} (its traceback cannot be shown)"
