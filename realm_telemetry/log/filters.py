"""The one set of filters: for history, live, stream, export and command line."""

import time
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import Any, Final, Literal

import msgspec

from realm_telemetry.event import Event
from realm_telemetry.log.fields import FIELDS, FILTER_PARAMETERS, Field
from realm_telemetry.log.has import Has, InvalidHasError
from realm_telemetry.log.text import contains_words, words_of
from realm_telemetry.log.times import TIME_HINT, parse_time
from realm_telemetry.values.conversions import safe_text
from realm_telemetry.values.paths import read_names, write_name

DEFAULT_LIMIT: Final = 100
MAX_LIMIT: Final = 1000

MAX_HAS: Final = 16
"""Details that must have a value, and as many that must not; each is looked for in every row."""
MAX_NAMES: Final = 100
"""Names of one field; each may be a walk of its own through an index."""
MAX_NAME_CHARS: Final = 1_024
MAX_WORDS_CHARS: Final = 1_024
MAX_PHRASES: Final = 32


class InvalidFilterError(ValueError):
    """A query parameter that cannot be understood.

    parameter: its name. message: what is wrong. hint: what to write instead.
    """

    def __init__(self, parameter: str, message: str, hint: str) -> None:
        self.parameter, self.message, self.hint = parameter, message, hint
        super().__init__(f"{parameter}: {message}. {hint}")


_Names: Any = msgspec.defstruct(
    "_Names",
    [(name, tuple[str, ...], ()) for field in FIELDS for name in (field.plural, field.not_plural)],
    frozen=True,
    kw_only=True,
)


# A class that is made of FIELDS at run time is none that mypy knows.
class Filters(_Names, frozen=True, kw_only=True, dict=True):  # type: ignore[misc, call-arg]
    """Which events are wanted; an empty field wants all.

    Each row of FIELDS gives two tuples of names: `kinds`, which must fit, and `not_kinds`, which
    must not; an event that has none is wanted by the latter.
    since_unix_nano: at or after. until_unix_nano: before.
    q: words that must all occur. has, has_not: details that must, or must not, have a value.
    limit: the most rows of one page. page_token: where the page before ended.
    """

    since_unix_nano: int | None = None
    until_unix_nano: int | None = None
    q: str = ""
    has: tuple[Has, ...] = ()
    has_not: tuple[Has, ...] = ()
    limit: int = DEFAULT_LIMIT
    page_token: str | None = None

    def wanted(self, field: Field) -> tuple[str, ...]:
        """The names of a field that must fit; empty if any will do."""
        names: tuple[str, ...] = getattr(self, field.plural)
        return names

    def unwanted(self, field: Field) -> tuple[str, ...]:
        """The names of a field that must not fit."""
        names: tuple[str, ...] = getattr(self, field.not_plural)
        return names

    def asks_for(self, field: Field) -> bool:
        """Whether the filters name anything of a field."""
        return bool(self.wanted(field) or self.unwanted(field))

    def matches(self, event: Event) -> bool:
        """Whether an event is wanted; the same answer as the log's SQL gives."""
        for column, wanted, unwanted, absent in self._asked:
            name = getattr(event, column)
            if name is None:
                name = absent
            elif type(name) is int:
                name = str(name)
            if (wanted and name not in wanted) or name in unwanted:
                return False
        return (
            (self.since_unix_nano is None or event.time_unix_nano >= self.since_unix_nano)
            and (self.until_unix_nano is None or event.time_unix_nano < self.until_unix_nano)
            and all(has.matches(event.details) for has in self.has)
            and not any(has.matches(event.details) for has in self.has_not)
            and (not self.q or contains_words(event, self.q))
        )

    @cached_property
    def _asked(self) -> list[tuple[str, tuple[str, ...], tuple[str, ...], str | None]]:
        """The fields that names are asked of; every event of a stream is held against them."""
        return [
            (field.column, self.wanted(field), self.unwanted(field), field.absent or None)
            for field in FIELDS
            if self.asks_for(field)
        ]


Params = Mapping[str, str | Sequence[str]]

_BY_PARAMETER: Final = {
    name: field for field in FIELDS for name in (field.name, field.alias) if name
}


def parse_filters(params: Params, *, now_ns: Callable[[], int] = time.time_ns) -> Filters:
    """Read query parameters; a parameter may be given several times or as a comma list.

    A name with a comma is written as JSON text: `run="a,b"`.
    Raises InvalidFilterError, for unknown parameters too: a filter that is silently ignored would
    show the wrong events.
    """
    found: dict[str, Any] = {}
    for name, given in params.items():
        # What came as bytes that are not UTF-8 would be text that SQLite refuses.
        values = [safe_text(value) for value in ([given] if isinstance(given, str) else given)]
        if field := _BY_PARAMETER.get(name):
            wanted, unwanted = _names(name, field, values)
            found[field.plural] = found.get(field.plural, ()) + wanted
            found[field.not_plural] = found.get(field.not_plural, ()) + unwanted
        elif name in ("has", "not"):
            found["has" if name == "has" else "has_not"] = _has(name, values)
        elif name in FILTER_PARAMETERS:
            attribute, value = _single(name, values[-1] if values else "", now_ns)
            found[attribute] = value
        else:
            raise _unknown(name)
    _check_names(found)
    return Filters(**found)


def _check_names(found: Mapping[str, Any]) -> None:
    for field in FIELDS:
        names = (*found.get(field.plural, ()), *found.get(field.not_plural, ()))
        if len(names) > MAX_NAMES:
            raise _too_many(field.name, len(names), MAX_NAMES)
        if any(len(name) > MAX_NAME_CHARS for name in names):
            raise _too_long(field.name, MAX_NAME_CHARS)


def _too_many(parameter: str, count: int, most: int) -> InvalidFilterError:
    hint = f"Ask for at most {most} at once"
    return InvalidFilterError(parameter, f"it is given {count} values", hint)


def _too_long(parameter: str, most: int) -> InvalidFilterError:
    hint = f"Write at most {most:,} characters"
    return InvalidFilterError(parameter, "a value is too long", hint)


def to_params(filters: Filters) -> dict[str, list[str]]:
    """Write filters as query parameters; `parse_filters` reads the same filters back."""
    params: dict[str, list[str]] = {
        field.name: [
            *(write_name(name) for name in filters.wanted(field)),
            *(write_name(name, unwanted=True) for name in filters.unwanted(field)),
        ]
        for field in FIELDS
        if filters.asks_for(field)
    }
    for name, nanos in (("since", filters.since_unix_nano), ("until", filters.until_unix_nano)):
        if nanos is not None:
            sign, nanos = ("-", -nanos) if nanos < 0 else ("", nanos)
            params[name] = [f"{sign}{nanos // 1_000_000_000:05d}.{nanos % 1_000_000_000:09d}"]
    if filters.q:
        params["q"] = [filters.q]
    if filters.has:
        params["has"] = [str(has) for has in filters.has]
    if filters.has_not:
        params["not"] = [str(has) for has in filters.has_not]
    if filters.limit != DEFAULT_LIMIT:
        params["limit"] = [str(filters.limit)]
    if filters.page_token is not None:
        params["cursor"] = [filters.page_token]
    return params


def _names(
    parameter: str, field: Field, values: list[str]
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The names wanted, and those not wanted: `!debug`."""
    names = [each for value in values for each in read_names(value)]
    wanted = [field.read(name) for is_unwanted, name in names if not is_unwanted]
    unwanted = [field.read(name) for is_unwanted, name in names if is_unwanted]
    for name in (*wanted, *unwanted):
        if not name:
            hint = f"Write {parameter}=!name to leave out what has this name"
            raise InvalidFilterError(parameter, "there is no name after the !", hint)
        if field.allowed and name not in field.allowed:
            hint = f"{_nearest(name, field.allowed)}Known are {', '.join(field.allowed)}"
            raise InvalidFilterError(parameter, f"there is no {field.name} {name!r}", hint)
        if field.number and not (name.isascii() and name.isdigit()):
            hint = f"Write a whole number from 0, such as {parameter}=0"
            raise InvalidFilterError(parameter, f"{name!r} is not a {field.name}", hint)
    return tuple(dict.fromkeys(wanted)), tuple(dict.fromkeys(unwanted))


def _has(parameter: Literal["has", "not"] | str, values: list[str]) -> tuple[Has, ...]:
    values = [value for value in values if value]
    if len(values) > MAX_HAS:
        raise _too_many(parameter, len(values), MAX_HAS)
    if any(len(value) > MAX_NAME_CHARS for value in values):
        raise _too_long(parameter, MAX_NAME_CHARS)
    try:
        return tuple(dict.fromkeys(map(Has.parse, values)))
    except InvalidHasError as error:
        hint = f"Write {parameter}=path:value, such as {parameter}=job.id:abc123"
        raise InvalidFilterError(parameter, str(error), hint) from None


def _single(name: str, value: str, now_ns: Callable[[], int]) -> tuple[str, Any]:
    if name == "limit":
        return "limit", _limit(value)
    if name == "cursor":
        return "page_token", value or None
    if name == "q":
        return "q", _query(value)
    try:
        moment = parse_time(value, now_ns())
    except (ValueError, OverflowError):
        raise InvalidFilterError(name, f"{value!r} is not a time", TIME_HINT) from None
    # Times are 64-bit numbers in the log.
    return f"{name}_unix_nano", min(max(moment, -(2**63)), 2**63 - 1)


def _limit(value: str) -> int:
    text = value.strip()
    text = text.lstrip("0") if text.isascii() and text.isdigit() else ""
    if not text or len(text) > len(str(MAX_LIMIT)) or int(text) > MAX_LIMIT:
        hint = f"Write a whole number from 1 to {MAX_LIMIT}; `cursor` leads to further pages"
        raise InvalidFilterError("limit", f"{value!r} is not a page's size", hint)
    return int(text)


def _query(value: str) -> str:
    value = value.strip()
    if len(value) > MAX_WORDS_CHARS:
        raise _too_long("q", MAX_WORDS_CHARS)
    if len(phrases := words_of(value)) > MAX_PHRASES:
        raise _too_many("q", len(phrases), MAX_PHRASES)
    if value and not phrases:
        hint = "Write the words to look for, or a phrase in double quotes"
        raise InvalidFilterError("q", f"{value!r} holds no word", hint)
    return value


def _unknown(name: str) -> InvalidFilterError:
    known = (*FILTER_PARAMETERS, *_BY_PARAMETER)
    hint = f"{_nearest(name, known)}Known are {', '.join(FILTER_PARAMETERS)}"
    return InvalidFilterError(name, "there is no such parameter", hint)


def _nearest(name: str, known: Sequence[str]) -> str:
    import difflib

    near = difflib.get_close_matches(name.lower(), known, 1, 0.5)
    return f"Did you mean {near[0]}? " if near else ""
