"""Functions of any sort with a context around each call: plain, async, generator, both."""

from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any, Protocol, Self


class Around(Protocol):
    """A context around one call, which is told the call's result."""

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
