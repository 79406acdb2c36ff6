"""The one set of filters: for history, live, stream, export and command line."""

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, Literal

import msgspec

from realm_telemetry.event import CHANNELS, SEVERITIES, Event
from realm_telemetry.log.has import Has, InvalidHasError
from realm_telemetry.log.text import contains_words, words_of
from realm_telemetry.log.times import TIME_HINT, parse_time

DEFAULT_LIMIT: Final = 100
MAX_LIMIT: Final = 1000


class InvalidFilterError(ValueError):
    """A query parameter that cannot be understood.

    parameter: its name. message: what is wrong. hint: what to write instead.
    """

    def __init__(self, parameter: str, message: str, hint: str) -> None:
        self.parameter, self.message, self.hint = parameter, message, hint
        super().__init__(f"{parameter}: {message}. {hint}")


class Filters(msgspec.Struct, frozen=True, kw_only=True):
    """Which events are wanted; an empty field wants all.

    not_*: names that must not fit; an event that has none is wanted.
    since_unix_nano: at or after. until_unix_nano: before.
    q: words that must all occur. has, has_not: details that must, or must not, have a value.
    limit: the most rows of one page. cursor: where the page before ended.
    """

    channels: tuple[str, ...] = ()
    kinds: tuple[str, ...] = ()
    severities: tuple[str, ...] = ()
    heroes: tuple[str, ...] = ()
    campaigns: tuple[str, ...] = ()
    runs: tuple[str, ...] = ()
    producers: tuple[str, ...] = ()
    not_channels: tuple[str, ...] = ()
    not_kinds: tuple[str, ...] = ()
    not_severities: tuple[str, ...] = ()
    not_heroes: tuple[str, ...] = ()
    not_campaigns: tuple[str, ...] = ()
    not_runs: tuple[str, ...] = ()
    not_producers: tuple[str, ...] = ()
    since_unix_nano: int | None = None
    until_unix_nano: int | None = None
    q: str = ""
    has: tuple[Has, ...] = ()
    has_not: tuple[Has, ...] = ()
    limit: int = DEFAULT_LIMIT
    cursor: str | None = None

    def matches(self, event: Event) -> bool:
        """Whether an event is wanted; the same answer as the log's SQL gives."""
        return (
            self._matches_names(event)
            and (self.since_unix_nano is None or event.time_unix_nano >= self.since_unix_nano)
            and (self.until_unix_nano is None or event.time_unix_nano < self.until_unix_nano)
            and all(has.matches(event.details) for has in self.has)
            and not any(has.matches(event.details) for has in self.has_not)
            and (not self.q or contains_words(event, self.q))
        )

    def _matches_names(self, event: Event) -> bool:
        return (
            _fits(event.channel, self.channels, self.not_channels)
            and _fits(event.kind, self.kinds, self.not_kinds)
            and _fits(event.severity, self.severities, self.not_severities)
            and _fits(event.hero_id, self.heroes, self.not_heroes)
            and _fits(event.campaign_id, self.campaigns, self.not_campaigns)
            and _fits(event.run_id, self.runs, self.not_runs)
            and _fits(event.producer, self.producers, self.not_producers)
        )


def _fits(name: str | None, wanted: tuple[str, ...], unwanted: tuple[str, ...]) -> bool:
    return (not wanted or name in wanted) and name not in unwanted


Params = Mapping[str, str | Sequence[str]]

_LISTS: Final[dict[str, tuple[str, tuple[str, ...]]]] = {
    "channel": ("channels", CHANNELS),
    "kind": ("kinds", ()),
    "severity": ("severities", SEVERITIES),
    "hero": ("heroes", ()),
    "campaign": ("campaigns", ()),
    "run": ("runs", ()),
    "producer": ("producers", ()),
}
_ALIASES: Final = {"channels": "channel"}
FILTER_PARAMETERS: Final = (*_LISTS, "since", "until", "q", "has", "not", "limit", "cursor")


def parse_filters(params: Params, *, now_ns: Callable[[], int] = time.time_ns) -> Filters:
    """Read query parameters; a parameter may be given several times or as a comma list.

    Raises InvalidFilterError, for unknown parameters too: a filter that is silently ignored would
    show the wrong events.
    """
    fields: dict[str, Any] = {}
    for name, given in params.items():
        values = [given] if isinstance(given, str) else list(given)
        known = _ALIASES.get(name, name)
        if known in _LISTS:
            field, allowed = _LISTS[known]
            for target, names in zip(
                (field, f"not_{field}"), _names(name, values, allowed), strict=True
            ):
                fields[target] = fields.get(target, ()) + names
        elif known in ("has", "not"):
            fields["has" if known == "has" else "has_not"] = _has(name, values)
        elif known in FILTER_PARAMETERS:
            field, value = _single(known, values[-1] if values else "", now_ns)
            fields[field] = value
        else:
            raise _unknown(name)
    return Filters(**fields)


def to_params(filters: Filters) -> dict[str, list[str]]:
    """Write filters as query parameters; `parse_filters` reads the same filters back."""
    params: dict[str, list[str]] = {
        name: names
        for name, (field, _) in _LISTS.items()
        if (
            names := [
                *getattr(filters, field),
                *(f"!{unwanted}" for unwanted in getattr(filters, f"not_{field}")),
            ]
        )
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
    if filters.cursor is not None:
        params["cursor"] = [filters.cursor]
    return params


def _names(
    parameter: str, values: list[str], allowed: tuple[str, ...]
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The names wanted, and those not wanted: `!debug`."""
    parts = [part.strip() for value in values for part in value.split(",")]
    names = [part.lower() for part in parts] if parameter == "producer" else parts
    wanted = [name for name in names if name and not name.startswith("!")]
    unwanted = [name[1:].strip() for name in names if name.startswith("!")]
    for name in (*wanted, *unwanted):
        if not name:
            hint = f"Write {parameter}=!name to leave out what has this name"
            raise InvalidFilterError(parameter, "there is no name after the !", hint)
        if allowed and name not in allowed:
            hint = f"{_nearest(name, allowed)}Known are {', '.join(allowed)}"
            raise InvalidFilterError(
                parameter, f"there is no {parameter.rstrip('s')} {name!r}", hint
            )
    return tuple(dict.fromkeys(wanted)), tuple(dict.fromkeys(unwanted))


def _has(parameter: Literal["has", "not"] | str, values: list[str]) -> tuple[Has, ...]:
    try:
        return tuple(dict.fromkeys(Has.parse(value) for value in values if value))
    except InvalidHasError as error:
        hint = f"Write {parameter}=path:value, such as {parameter}=job.id:abc123"
        raise InvalidFilterError(parameter, str(error), hint) from None


def _single(name: str, value: str, now_ns: Callable[[], int]) -> tuple[str, Any]:
    if name == "limit":
        return "limit", _limit(value)
    if name == "cursor":
        return "cursor", value or None
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
    if not text.isascii() or not text.isdigit() or not 1 <= int(text[:9]) <= MAX_LIMIT:
        hint = f"Write a whole number from 1 to {MAX_LIMIT}; `cursor` leads to further pages"
        raise InvalidFilterError("limit", f"{value!r} is not a page's size", hint)
    return int(text)


def _query(value: str) -> str:
    value = value.strip()
    if value and not words_of(value):
        hint = "Write the words to look for, or a phrase in double quotes"
        raise InvalidFilterError("q", f"{value!r} holds no word", hint)
    return value


def _unknown(name: str) -> InvalidFilterError:
    known = (*FILTER_PARAMETERS, *_ALIASES)
    hint = f"{_nearest(name, known)}Known are {', '.join(FILTER_PARAMETERS)}"
    return InvalidFilterError(name, "there is no such parameter", hint)


def _nearest(name: str, known: Sequence[str]) -> str:
    import difflib

    near = difflib.get_close_matches(name.lower(), known, 1, 0.5)
    return f"Did you mean {near[0]}? " if near else ""
