"""Fields of a JSON object, read strictly: InvalidEventError names the one that is wrong."""

from collections.abc import Mapping
from typing import Any

from realm_telemetry.event import InvalidEventError


def field(data: Mapping[str, Any], name: str, wanted: type) -> Any:
    """Return a field of this type, or None if it is missing or null."""
    value = data.get(name)
    if value is not None and not isinstance(value, wanted):
        raise InvalidEventError(f"{name} must be {wanted.__name__}, got {type_name(value)}")
    return value


def one_of(data: Mapping[str, Any], name: str, known: tuple[str, ...]) -> str | None:
    """Return a field that is one of the known words, or None."""
    value: str | None = field(data, name, str)
    if value is not None and value not in known:
        raise InvalidEventError(f"{name} must be one of {', '.join(known)}; got {value[:80]!r}")
    return value


def integer(data: Mapping[str, Any], name: str, least: int, most: int) -> int | None:
    """Return a whole number, given as such or as decimal text, or None."""
    value = data.get(name)
    if value is None:
        return None
    if isinstance(value, str) and len(value) <= 20 and value.removeprefix("-").isdecimal():
        value = int(value)
    if type(value) is not int:
        raise InvalidEventError(f"{name} must be a whole number, got {type_name(value)}")
    if not least <= value <= most:
        raise InvalidEventError(f"{name} must be from {least} to {most}")
    return value


def hex_digits(data: Mapping[str, Any], name: str, digits: int) -> str | None:
    """Return a field of so many hex digits in lower case, or None."""
    value: str | None = field(data, name, str)
    if value is not None and (
        len(value) != digits or not set(value) <= set("0123456789abcdefABCDEF")
    ):
        raise InvalidEventError(f"{name} must be {digits} hex digits")
    return value and value.lower()


def type_name(value: object) -> str:
    """Return what JSON, or else Python, calls the type of a value."""
    return "null" if value is None else type(value).__name__
