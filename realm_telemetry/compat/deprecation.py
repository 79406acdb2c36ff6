"""Say that a function has a successor, once for each place that calls it."""

import os
import sys
import warnings
from collections.abc import Callable
from functools import wraps
from types import FrameType
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")

_said: set[tuple[str, int, str, str | None]] = set()


def replaced_by(successor: str) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Have a function of `core.events` warn with DeprecationWarning, naming its successor."""

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        text = f"core.events.{function.__name__}() is deprecated; use {successor}"

        @wraps(function)
        def call(*arguments: P.args, **fields: P.kwargs) -> R:
            answer = function(*arguments, **fields)
            # Afterwards: where warnings are errors, the event is recorded all the same.
            _warn(text, sys._getframe(1))
            return answer

        return call

    return decorate


def _warn(text: str, caller: FrameType) -> None:
    path, line = caller.f_code.co_filename, caller.f_lineno
    # Every test of a suite may expect the warning of a line that several of them come to.
    place = (path, line, text, os.environ.get("PYTEST_CURRENT_TEST"))
    if place not in _said:
        _said.add(place)
        module = caller.f_globals.get("__name__", "<unknown>")
        warnings.warn_explicit(text, DeprecationWarning, path, line, module)
