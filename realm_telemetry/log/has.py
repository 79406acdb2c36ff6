"""Filters over details: `path:value`."""

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

import msgspec

# What a path may hold, so that it can stand in a quoted JSON path.
_SEGMENT: Final = re.compile(r"[^\"\\\x00-\x1f\x7f:]+")
_NUMBER: Final = re.compile(r"-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?")
_MAX_PATH: Final = 256
MAX_KEYS: Final = 32
"""Of a path; details are no deeper than half of that."""


class InvalidHasError(ValueError):
    """Not a `path:value`; the message says what is wrong."""


class Has(msgspec.Struct, frozen=True):
    """A detail with a value.

    path: keys joined by dots; a key that itself holds the dots is found as well. If there
        is a list on the way, or at its end, any of the list's entries will do.
    value: text. It equals a string of the same text, a number of the same value, and
        true, false and null.
    """

    path: str
    value: str

    def __str__(self) -> str:
        return f"{self.path}:{self.value}"

    @classmethod
    def parse(cls, text: str) -> "Has":
        """Read `path:value`; the value may hold colons. Raises InvalidHasError."""
        path, colon, value = text.partition(":")
        path = path.strip()
        if not colon or not path:
            raise InvalidHasError(f"{text!r} is not path:value")
        if len(path) > _MAX_PATH or not all(map(_SEGMENT.fullmatch, path.split("."))):
            raise InvalidHasError(f"{path!r} is not a path of keys joined by dots")
        if path.count(".") >= MAX_KEYS:
            raise InvalidHasError(f"{path[:80]!r} has over {MAX_KEYS} keys")
        return cls(path, value)

    def matches(self, details: Mapping[str, Any]) -> bool:
        """Whether the details have the value at the path."""
        return any(
            _equals(found, self.value)
            for keys in self.key_lists()
            for found in _look_up(details, keys)
        )

    def json_texts(self) -> list[str]:
        """What the JSON text of an equal value that is not a string may be."""
        if self.value in ("true", "false", "null"):
            return [self.value]
        return [msgspec.json.encode(number).decode() for number in _numbers(self.value)]

    def key_lists(self) -> list[list[str]]:
        """The places to look at: the path as a single key, and cut at its dots."""
        nested = self.path.split(".")
        return [[self.path], nested] if len(nested) > 1 else [nested]


def _look_up(value: Any, keys: list[str], *, through_list: bool = True) -> Iterator[Any]:
    """What keys lead to, through one list at the most."""
    for depth, key in enumerate(keys, 1):
        if not isinstance(value, Mapping) or key not in value:
            return
        value = value[key]
        if through_list and isinstance(value, list | tuple):
            for entry in value:
                yield from _look_up(entry, keys[depth:], through_list=False)
            return
    yield value


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
