"""Events from functions and blocks: `@emits` and `lifecycle`.

Functions may be plain, async, generators or both. Details come from arguments and the result.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial, wraps
from itertools import islice
from types import TracebackType
from typing import Any, Final, ParamSpec, Protocol, Self, TypeVar

from realm_telemetry.errors import warn_once
from realm_telemetry.kinds.catalog import spec
from realm_telemetry.kinds.messages import render_forgivingly
from realm_telemetry.producer.emission import emit
from realm_telemetry.values.clock import monotonic
from realm_telemetry.values.conversions import (
    ENDING,
    Walk,
    field_names,
    is_a,
    key_text,
    read_item,
    to_json_value,
)
from realm_telemetry.values.details import MAX_DETAILS, MAX_NAMES, clean_details
from realm_telemetry.values.exceptions import traceback_text


class Around(Protocol):
    """A context around one call, which receives the call's result."""

    result: Any

    def __enter__(self) -> Self: ...
    def __exit__(self, kind: Any, error: Any, trace: Any, /) -> None: ...


Begin = Callable[[Sequence[Any], dict[str, Any]], Around]
"""Makes the context of a call from its arguments."""


def wrap(function: Any, begin: Begin) -> Any:
    """Return a function of the same sort as the given one: plain, async, generator or both."""
    from inspect import isasyncgenfunction, iscoroutinefunction, isgeneratorfunction

    for is_sort, wrapped in (
        (iscoroutinefunction, _wrap_async),
        (isgeneratorfunction, _wrap_generator),
        (isasyncgenfunction, _wrap_async_generator),
    ):
        if is_sort(function):
            return wrapped(function, begin)

    @wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        with begin(args, kwargs) as this:
            this.result = function(*args, **kwargs)
            return this.result

    return call


def _wrap_async(function: Any, begin: Begin) -> Any:
    @wraps(function)
    async def call(*args: Any, **kwargs: Any) -> Any:
        with begin(args, kwargs) as this:
            this.result = await function(*args, **kwargs)
            return this.result

    return call


def _wrap_generator(function: Any, begin: Begin) -> Any:
    @wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        with begin(args, kwargs) as this:
            this.result = yield from function(*args, **kwargs)
            return this.result

    return call


def _wrap_async_generator(function: Any, begin: Begin) -> Any:
    @wraps(function)
    async def call(*args: Any, **kwargs: Any) -> Any:
        with begin(args, kwargs):
            items = function(*args, **kwargs)
            step = items.asend(None)
            while True:
                try:
                    item = await step
                except StopAsyncIteration:
                    return
                # What `yield from` does for a generator: sent values and exceptions pass through.
                try:
                    step = items.asend((yield item))
                except GeneratorExit:
                    await items.aclose()
                    raise
                except BaseException as error:  # noqa: BLE001 - handed to the wrapped one
                    step = items.athrow(error)

    return call


def check_name(name: object, example: str) -> None:
    """Raise TypeError for a bare decorator, which is handed the function in place of a name."""
    if callable(name):
        raise TypeError(
            f"A name has to be given: {example}, not the bare decorator on {name!r:.80}."
        )


def check_target(target: object, kind: str) -> None:
    for descriptor in (staticmethod, classmethod, property):
        if isinstance(target, descriptor):
            name = descriptor.__name__
            raise TypeError(
                f'@emits("{kind}") stands above @{name} and would never see a call. '
                f"Put @{name} first and @emits below it, next to the function."
            )
    if isinstance(target, type) or not callable(target):
        raise TypeError(
            f'@emits("{kind}") decorates functions and methods, not {target!r:.80}. '
            "For a class, decorate its __init__."
        )


_RECEIVERS: Final = ("self", "cls")


class Parameters:
    """The names of a function's parameters.

    positional: those that may be given by position, in order, the receiver included.
    """

    def __init__(self, positional: Sequence[str], defaults: Mapping[str, Any]) -> None:
        self.positional = tuple(positional)
        self.defaults = dict(defaults)
        self.receiver = positional[0] if positional and positional[0] in _RECEIVERS else None

    def arguments(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> dict[str, Any]:
        """Return the arguments of a call by name; those of `*args` have none."""
        given = {**self.defaults, **dict(zip(self.positional, args, strict=False)), **kwargs}
        if self.receiver is not None:
            given.pop(self.receiver, None)
        return given


def parameters_of(function: Callable[..., Any]) -> Parameters:
    """Return the parameters of a callable; none where it has no signature."""
    # Not at the top: it would be a fifth of the time that importing the package takes.
    from inspect import Parameter, signature

    try:
        parameters = signature(function).parameters.values()
    except (TypeError, ValueError):
        return Parameters((), {})
    by_position = (Parameter.POSITIONAL_ONLY, Parameter.POSITIONAL_OR_KEYWORD)
    return Parameters(
        [each.name for each in parameters if each.kind in by_position],
        {each.name: each.default for each in parameters if each.default is not Parameter.empty},
    )


class CallDetails:
    """Makes the details of one call: arguments, then the result's fields, then fixed ones."""

    def __init__(
        self, parameters: Parameters, include: Iterable[str] | None, fixed: Mapping[str, Any]
    ) -> None:
        self._parameters = parameters
        self._include = None if include is None else _names(include)
        self._fixed = dict(fixed)

    def __call__(
        self, args: Sequence[Any], kwargs: Mapping[str, Any], result: Any
    ) -> dict[str, Any]:
        """Return the details, those that are None left out."""
        found = self._parameters.arguments(args, kwargs) | result_fields(result)
        if self._include is not None:
            found = {name: value for name, value in found.items() if name in self._include}
        return {name: value for name, value in (found | self._fixed).items() if value is not None}


def _names(include: Iterable[str]) -> frozenset[Any]:
    """The names to include: one, or any number of them."""
    names = to_json_value(include)
    listed = names if isinstance(names, list) else [names]
    return frozenset(name for name in listed if isinstance(name, str))


def result_fields(result: Any) -> dict[str, Any]:
    """Return the fields of a mapping, dataclass, struct or namedtuple; of others none."""
    if result is None:
        return {}
    if is_a(result, Mapping):
        # A result may be huge, a state dict for one; the rest would be cut anyway.
        names, _ = Walk().take(islice(result, MAX_DETAILS + MAX_NAMES))
        found: dict[str, Any] = {}
        for key in names:
            found[key_text(key, found)] = read_item(result, result.__getitem__, key)
        return found
    return {
        name: read_item(result, partial(getattr, result), name)
        for name in field_names(type(result)) or ()
    }


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
        self._started = monotonic()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        duration_s = round(monotonic() - self._started, 6)
        try:
            if error is None:
                self._emitter.returned(self, duration_s)
            else:
                self._emitter.failed(self, duration_s, error)
        except ENDING:
            raise
        except BaseException as trouble:  # noqa: BLE001 - telemetry never harms the function
            warn_once("emits", f"a decorated function could not emit: {to_json_value(trouble)}")


def _error_details(error: BaseException) -> dict[str, Any]:
    return {
        "error": to_json_value(error),
        "error_type": type(error).__name__,
        "traceback": traceback_text(error)[-_MAX_TRACEBACK_CHARS:],
    }


def _emit_details(
    kind: str, details: dict[str, Any], message: str | None = None, **settings: Any
) -> None:
    """Emit an event of these details; hero_id and campaign_id among them are the event's own."""
    for name in ("hero_id", "campaign_id"):
        if issubclass(type(details.get(name)), str | int):
            settings[name] = details.pop(name)
    if message is not None:
        details, _ = clean_details(details)
        message = render_forgivingly(kind, str(to_json_value(message)), details)
    emit(kind, message, details=details, **settings)


class lifecycle:  # noqa: N801 - used like a function: a context, an async context, a decorator
    """Emit `<name>_started`, then `<name>_completed` or `<name>_failed`, around a block.

    name: job, training, eval ... or a word of one's own, whose kinds are unregistered.
    fields: details of all its events; hero_id and campaign_id are the events' own.
    The closing event has `duration_s` and what `set` added; a failed one `error`,
    `error_type` and `traceback`. What is not an Exception (KeyboardInterrupt, `sys.exit(0)`,
    asyncio's CancelledError, GeneratorExit) gives `<name>_cancelled` with a `reason` if that is a
    kind of the catalog, otherwise `<name>_failed`. `sys.exit` with another code, or a text, failed.
    Exceptions go on as they are.

    with lifecycle("job", job_id="abc123", job_type="eval") as job:
        job.set(accuracy=run())
    """

    def __init__(self, name: str, /, **fields: Any) -> None:
        check_name(name, 'lifecycle("job")')
        self._name = name
        self._fields = {key: value for key, value in fields.items() if value is not None}
        self._results: dict[str, Any] = {}
        self._begun_s: list[float] = []
        self.result: Any = None

    def set(self, **results: Any) -> None:
        """Add details to the closing event."""
        self._results.update(results)

    def __enter__(self) -> Self:
        self._results.clear()
        self.result = None
        self._emit("started", self._fields)
        self._begun_s.append(monotonic())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        if not self._begun_s:  # left twice: the block has ended before
            return
        duration_s = round(monotonic() - self._begun_s.pop(), 6)
        details = {**self._fields, "duration_s": duration_s, **self._results}
        if error is None:
            self._emit("completed", details)
        elif _is_cancelled(error) and spec(f"{self._name}_cancelled").registered:
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
        except ENDING:
            raise
        except BaseException as trouble:  # noqa: BLE001 - telemetry never harms the block
            warn_once(f"lifecycle {kind}", f"{kind} could not be emitted: {to_json_value(trouble)}")


def _is_cancelled(error: BaseException) -> bool:
    """Whether a block was left without an error; `sys.exit(3)` and `sys.exit("no")` are one."""
    if isinstance(error, SystemExit):
        return error.code is None or error.code == 0
    return not isinstance(error, Exception)


_SEVERITY_OF_PHASE: Final = {
    "started": "info",
    "completed": "success",
    "cancelled": "warning",
    "failed": "error",
}
