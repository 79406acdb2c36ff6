"""Query parameters: the common filters, and the few that single routes add."""

import time
from collections.abc import Sequence
from typing import Final

from starlette.datastructures import QueryParams

from realm_telemetry.log.filters import Filters, InvalidFilterError, parse_filters
from realm_telemetry.log.times import parse_time
from realm_telemetry.service.errors import ApiError

MAX_QUERY_CHARS: Final = 8_192


def filters_of(query: QueryParams, own: Sequence[str] = ()) -> Filters:
    """Read the common filters; `own` are parameters that the route itself reads.

    Raises ApiError invalid_parameter that names the parameter.
    """
    params: dict[str, list[str]] = {}
    for name, value in query.multi_items():  # once: `getlist` looks through all for each name
        if name not in own:
            params.setdefault(name, []).append(value)
    if sum(len(value) for values in params.values() for value in values) > MAX_QUERY_CHARS:
        raise ApiError("invalid_parameter", f"The query has over {MAX_QUERY_CHARS} characters.")
    try:
        return parse_filters(params)
    except InvalidFilterError as error:
        problem = f"{error.parameter}: {error.message}."
        raise ApiError("invalid_parameter", problem, error.hint) from None


def choice(query: QueryParams, name: str, choices: Sequence[str], default: str) -> str:
    """One of a few words."""
    value = query.get(name, default)
    if value not in choices:
        raise _invalid(name, f"must be one of {', '.join(choices)}")
    return value


def whole(query: QueryParams, name: str, default: int, least: int, most: int) -> int:
    """A whole number within bounds."""
    text = query.get(name, "")
    if not text:
        return default
    if not (text.isascii() and text.isdigit() and len(text) < 20 and least <= int(text) <= most):
        raise _invalid(name, f"must be a whole number from {least} to {most}")
    return int(text)


def optional_whole(query: QueryParams, name: str) -> int | None:
    """A whole number of at least 0, or None if it is not given."""
    return whole(query, name, 0, 0, 2**63 - 1) if query.get(name) else None


def moment(query: QueryParams, name: str) -> int | None:
    """A time in any of the forms of `since`, as nanoseconds, or None if it is not given."""
    text = query.get(name)
    if text is None:
        return None
    try:
        # Times are 64-bit numbers in the log.
        return min(max(parse_time(text, time.time_ns()), -(2**63)), 2**63 - 1)
    except (ValueError, OverflowError):
        raise _invalid(name, f"{text[:80]!r} is not a time") from None


def _invalid(name: str, problem: str) -> ApiError:
    return ApiError("invalid_parameter", f"{name}: {problem}.")
