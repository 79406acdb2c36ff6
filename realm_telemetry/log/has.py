"""Filters over details: `path:value`."""

import re
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from realm_telemetry.values.paths import (
    InvalidPathError,
    find_all,
    read_path,
    split_path,
    write_path,
)

_NUMBER: Final = re.compile(r"-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?")


class InvalidHasError(ValueError):
    """Not a `path:value`; the message says what is wrong."""


class Has(msgspec.Struct, frozen=True):
    """A detail with a value.

    path: a detail's name, or keys joined by dots (values.paths). If there is a list on the way,
        or at its end, any of the list's entries will do.
    value: text. It equals a string of the same text, a number of the same value, and
        true, false and null.
    """

    path: str
    value: str

    def __str__(self) -> str:
        return f"{write_path(self.path)}:{self.value}"

    @classmethod
    def parse(cls, text: str) -> "Has":
        """Read `path:value`; the value may hold colons. Raises InvalidHasError."""
        path, value = split_path(text)
        if value is None:
            raise InvalidHasError(f"{text[:80]!r} is not path:value")
        try:
            return cls(read_path(path), value)
        except InvalidPathError as error:
            raise InvalidHasError(str(error)) from None

    def matches(self, details: Mapping[str, Any]) -> bool:
        """Whether the details have the value at the path."""
        return any(_equals(found, self.value) for found in find_all(details, self.path))

    def json_texts(self) -> list[str]:
        """What the JSON text of an equal value that is not a string may be."""
        if self.value in ("true", "false", "null"):
            return [self.value]
        return [msgspec.json.encode(number).decode() for number in _numbers(self.value)]


def _equals(found: Any, text: str) -> bool:
    if isinstance(found, str):
        return found == text
    if found is None or isinstance(found, bool):
        return {None: "null", True: "true", False: "false"}[found] == text
    return isinstance(found, int | float) and found in _numbers(text)


def _numbers(text: str) -> list[int | float]:
    """The number that a text stands for, as int and as float where both are the same value."""
    if not _NUMBER.fullmatch(text) or len(text) > 400:
        return []
    real = float(text)
    if real in (float("inf"), float("-inf")):
        return []
    whole = int(text) if text.lstrip("-").isdigit() else int(real) if real.is_integer() else None
    if whole is None:
        return [real]
    # 2**53 + 1 as a float is another number.
    same = [real] if int(real) == whole else []
    return [*([whole] if -(2**63) <= whole < 2**64 else []), *same]
