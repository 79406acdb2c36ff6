"""Values that the state keeps: within bounds, and as readers see them."""

from collections.abc import Iterable, Mapping
from typing import Any, Final

import msgspec

from realm_telemetry.event import format_time

MAX_TEXT: Final = 2_000
"""Characters of a text that a field keeps."""

MAX_NESTED_BYTES: Final = 16_384
"""Encoded size of a list or object that a field keeps."""

_NAMING: Final = (str, int, float)
_INTEGERS: Final = range(-(2**63), 2**63)
_BEYOND: Final = 1e300


def pick(details: Mapping[str, Any], names: Iterable[str]) -> dict[str, Any]:
    """Return the named details that are there and not None, each within bounds."""
    picked = {}
    for name in names:
        value = details.get(name)
        if value is not None:
            picked[name] = bounded(value)
    return picked


def bounded(value: Any) -> Any:
    """Return a JSON value within the bounds that state keeps; larger ones are marked."""
    kind = type(value)
    if kind is float or kind is bool or value is None:
        return value
    if kind is int:
        return value if value in _INTEGERS else str(value)
    if kind is str:
        return value if len(value) <= MAX_TEXT else value[: MAX_TEXT - 1] + "…"
    size = _encoded_size(value)
    return value if size <= MAX_NESTED_BYTES else {"truncated": True, "size_bytes": size}


def _encoded_size(value: Any) -> int:
    try:
        return len(msgspec.msgpack.encode(value))
    except (OverflowError, TypeError):
        return MAX_NESTED_BYTES + 1


def identity(details: Mapping[str, Any], *names: str) -> str | None:
    """Return the first of the named details as a record's key, None if none is fit for one."""
    for name in names:
        value = details.get(name)
        if type(value) in _NAMING and value != "":
            return str(value)[:200]
    return None


def number(value: Any) -> float | None:
    """Return a finite number, None for anything else ("NaN" among the losses)."""
    kind = type(value)
    if kind is float:
        return value if abs(value) < _BEYOND else None
    if kind is not int or abs(value) >= _BEYOND:
        return None
    # A snapshot cannot hold a larger integer.
    return value if value in _INTEGERS else float(value)


def shown(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return fields as readers see them: times (`..._at`, kept in nanoseconds) as text."""
    return {
        name: format_time(value) if name.endswith("_at") and type(value) is int else value
        for name, value in fields.items()
    }


def complete(names: Iterable[str], fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields with None for each documented name that nothing has set yet."""
    return dict.fromkeys(names) | dict(fields)
