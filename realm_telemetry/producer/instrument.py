"""Events from functions and blocks: `@emits` and `lifecycle`."""

from collections.abc import Callable, Sequence
from functools import partial
from time import perf_counter
from types import TracebackType
from typing import Any, Final, ParamSpec, Self, TypeVar

from realm_telemetry.errors import warn_once
from realm_telemetry.kinds.catalog import spec
from realm_telemetry.kinds.messages import render_forgivingly
from realm_telemetry.producer.call_details import CallDetails, parameters_of, result_fields
from realm_telemetry.producer.emission import emit
from realm_telemetry.producer.wrapping import check_name, check_target, wrap
from realm_telemetry.values.conversions import to_json_value
from realm_telemetry.values.details import clean_details

_MAX_TRACEBACK_CHARS: Final = 8_000
"""The end of a longer traceback is kept: it is nearest to the error."""

P = ParamSpec("P")
R = TypeVar("R")


def emits(
    kind: str,
    *,
    include: Sequence[str] | None = None,
    message: str | None = None,
    on_error: str | None = None,
    **fields: Any,
) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Emit an event each time the function returns; for a generator, when it is exhausted.

    Details are the arguments by name (never self or cls), then what a returned mapping,
    dataclass, struct or namedtuple holds, `duration_s`, and `fields`. None is left out. An
    argument or field hero_id or campaign_id is the event's own.
    include: the names to take from arguments and result; all without it.
    message: a template over the details, instead of the kind's.
    on_error: the kind to emit, with `error` and `error_type`, if the function raises; the
        exception goes on as it is.
    A function that raises, and a generator closed early, emit nothing else. Goes below
    @staticmethod, @classmethod and @property; above them it raises TypeError, as without a kind.
    """
    check_name(kind, '@emits("checkpoint_saved")')

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        check_target(function, kind)
        details_of = CallDetails(parameters_of(function), include, fields)
        emitter = _Emitter(kind, message, on_error, details_of)
        wrapped: Callable[P, R] = wrap(function, partial(_Call, emitter))
        return wrapped

    return decorate


class _Emitter:
    """What a decorated function emits."""

    def __init__(
        self, kind: str, message: str | None, on_error: str | None, details_of: CallDetails
    ) -> None:
        self._kind = kind
        self._message = message
        self._on_error = on_error
        self._details_of = details_of

    def returned(self, call: "_Call", duration_s: float) -> None:
        details = self._details_of(call.args, call.kwargs, call.result)
        details.setdefault("duration_s", duration_s)
        _emit_details(self._kind, details, self._message)

    def failed(self, call: "_Call", duration_s: float, error: BaseException) -> None:
        # A generator that its reader closes early has neither failed nor come to its end.
        if self._on_error is not None and not isinstance(error, GeneratorExit):
            details = self._details_of(call.args, call.kwargs, None)
            details.setdefault("duration_s", duration_s)
            _emit_details(self._on_error, details | _error_details(error))


class _Call:
    """One call of a decorated function, around which it is a context."""

    __slots__ = ("_emitter", "_started", "args", "kwargs", "result")

    def __init__(self, emitter: _Emitter, args: Sequence[Any], kwargs: dict[str, Any]) -> None:
        self._emitter = emitter
        self.args = args
        self.kwargs = kwargs
        self.result: Any = None
        self._started = perf_counter()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        duration_s = round(perf_counter() - self._started, 6)
        try:
            if error is None:
                self._emitter.returned(self, duration_s)
            else:
                self._emitter.failed(self, duration_s, error)
        except Exception as trouble:  # noqa: BLE001 - telemetry never harms the function
            warn_once("emits", f"a decorated function could not emit: {to_json_value(trouble)}")


def _error_details(error: BaseException) -> dict[str, Any]:
    from traceback import format_exception  # costs 2 ms of import, which only an error needs

    stack = "".join(format_exception(error))[-_MAX_TRACEBACK_CHARS:]
    return {
        "error": to_json_value(error),
        "error_type": type(error).__name__,
        "traceback": stack,
    }


def _emit_details(
    kind: str, details: dict[str, Any], message: str | None = None, **settings: Any
) -> None:
    """Emit an event of these details; hero_id and campaign_id among them are the event's own."""
    for name in ("hero_id", "campaign_id"):
        if isinstance(details.get(name), str | int):
            settings[name] = details.pop(name)
    if message is not None:
        details, _ = clean_details(details)
        message = render_forgivingly(kind, message, details)
    emit(kind, message, details=details, **settings)


class lifecycle:  # noqa: N801 - used like a function: a context, an async context, a decorator
    """Emit `<name>_started`, then `<name>_completed` or `<name>_failed`, around a block.

    name: job, training, eval ... or a word of one's own, whose kinds are unregistered.
    fields: details of all its events; hero_id and campaign_id are the events' own.
    The closing event has `duration_s` and what `set` added; a failed one `error`,
    `error_type` and `traceback`. What is not an Exception (KeyboardInterrupt, SystemExit, asyncio's
    CancelledError, GeneratorExit) gives `<name>_cancelled` with a `reason` if that is a kind of
    the catalog, otherwise `<name>_failed`. Exceptions go on as they are.

    with lifecycle("job", job_id="abc123", job_type="eval") as job:
        job.set(accuracy=run())
    """

    def __init__(self, name: str, /, **fields: Any) -> None:
        check_name(name, 'lifecycle("job")')
        self._name = name
        self._fields = {key: value for key, value in fields.items() if value is not None}
        self._results: dict[str, Any] = {}
        self._started = 0.0
        self.result: Any = None

    def set(self, **results: Any) -> None:
        """Add details to the closing event."""
        self._results.update(results)

    def __enter__(self) -> Self:
        self._results.clear()
        self.result = None
        self._emit("started", self._fields)
        self._started = perf_counter()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        duration_s = round(perf_counter() - self._started, 6)
        details = {**self._fields, "duration_s": duration_s, **self._results}
        if error is None:
            self._emit("completed", details)
        elif not isinstance(error, Exception) and spec(f"{self._name}_cancelled").registered:
            self._emit("cancelled", details | {"reason": to_json_value(error)})
        else:
            self._emit("failed", details | _error_details(error))

    async def __aenter__(self) -> Self:
        return self.__enter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        self.__exit__(kind, error, _)

    def __call__(self, function: Callable[P, R]) -> Callable[P, R]:
        """Decorate a function: each call is a block; a result's fields join the closing event."""
        check_target(function, f"{self._name}_started")
        wrapped: Callable[P, R] = wrap(function, self._fresh)
        return wrapped

    def _fresh(self, args: Sequence[Any], kwargs: dict[str, Any]) -> "lifecycle":
        return lifecycle(self._name, **self._fields)

    def _emit(self, phase: str, details: dict[str, Any]) -> None:
        kind = f"{self._name}_{phase}"
        severity = None if spec(kind).registered else _SEVERITY_OF_PHASE[phase]
        try:
            _emit_details(kind, details | result_fields(self.result), severity=severity)
        except Exception as trouble:  # noqa: BLE001 - telemetry never harms the block
            warn_once(f"lifecycle {kind}", f"{kind} could not be emitted: {to_json_value(trouble)}")


_SEVERITY_OF_PHASE: Final = {
    "started": "info",
    "completed": "success",
    "cancelled": "warning",
    "failed": "error",
}
