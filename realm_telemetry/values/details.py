"""The details of an event: any mapping -> JSON values, within the limits of an event.

`clean_fields` is the hot path: it looks at types and numbers only. It leaves lone surrogates in
text to the encoder: `msgspec.msgpack.encode` raises UnicodeEncodeError, and `make_safe` then gives
an event that does encode. An event that encodes to more than MAX_EVENT_BYTES is cut by `fit_event`,
which marks what was cut.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from typing import Any, Final

import msgspec

from realm_telemetry.event import Event
from realm_telemetry.values.conversions import (
    MAX_DEPTH,
    MAX_INT,
    MAX_ITEMS,
    MAX_KEY_CHARS,
    MIN_INT,
    Walk,
    key_text,
    read_item,
    safe_text,
    to_json_value,
)

MAX_DETAILS: Final = 96
"""Details of an event, `realm.truncated` among them."""
MAX_EVENT_BYTES: Final = 65_536
"""An event as msgpack."""
ADDED_BYTES: Final = 1_024
"""What may be added to an event of that size between `emit` and the log."""
TRUNCATED: Final = "realm.truncated"
"""The detail that lists which details were cut or left out; `"(message)"` if that was."""
MAX_NAMES: Final = 32
"""Names in the mark; "..." stands for more."""
_MAX_NAME_CHARS: Final = 64
MESSAGE_MARK: Final = "(message)"
"""Stands for the message in the list of what was cut."""

CONTEXT_FIELDS: Final = ("hero_id", "campaign_id", "run_id", "source")
_MAX_CONTEXT_CHARS: Final = 256
_MARK_BYTES: Final = 8_448
"""No mark is longer: 33 names of 64 characters."""

_encode: Final = msgspec.msgpack.Encoder().encode


def fit_event(event: Event) -> Event:
    """Return the event within MAX_EVENT_BYTES of msgpack; the same object if it already is.

    Details are shortened, the largest first, then the message; what is left of the details goes
    before the first 4 KiB of the message do; the kind and the id never. A shortened
    detail is the beginning of its text, or of its JSON. `realm.truncated` names all of them.
    """
    if len(_encode(event)) <= MAX_EVENT_BYTES:
        return event
    fitting = _Fitting(event)
    for step in fitting.steps():
        if fitting.excess <= 0:
            break
        step()
    return fitting.event()


class _Fitting:
    """An event that is being cut: its details and message so far, and what was cut."""

    def __init__(self, event: Event) -> None:
        context = {name: _cut_context(getattr(event, name)) for name in CONTEXT_FIELDS}
        self._rest = msgspec.structs.replace(event, message="", details={}, **context)
        self._message = event.message
        self._details = dict(event.details)
        self._cut = _earlier_names(self._details)
        self._details.pop(TRUNCATED, None)
        self._sizes = {key: _size(key) + _size(value) for key, value in self._details.items()}
        self._room = MAX_EVENT_BYTES - len(_encode(self._rest)) - _MARK_BYTES

    @property
    def excess(self) -> int:
        """Bytes over the limit, with room for the mark."""
        return sum(self._sizes.values()) + len(self._message.encode()) - self._room

    def steps(self) -> Iterator[Callable[[], None]]:
        """Return what to do one after the other, in the order of `fit_event`."""
        for kept_chars in (8_192, 1_024, 128):
            for key in self._largest_first():
                yield partial(self._shorten, key, kept_chars)
        yield partial(self._shorten_message, 4_096)
        for key in self._largest_first():
            yield partial(self._remove, key)
        yield partial(self._shorten_message, 0)

    def event(self) -> Event:
        """Return what is left, marked."""
        details = mark_truncated(self._details, self._cut)
        return msgspec.structs.replace(self._rest, message=self._message, details=details)

    def _largest_first(self) -> list[str]:
        return sorted(self._sizes, key=self._sizes.__getitem__, reverse=True)

    def _shorten(self, key: str, kept_chars: int) -> None:
        value = self._details[key]
        text = value if isinstance(value, str) else msgspec.json.encode(value).decode()
        if len(text) > kept_chars:
            self._details[key] = text[:kept_chars] + "…"
            self._sizes[key] = _size(key) + _size(self._details[key])
            self._cut.append(key)

    def _remove(self, key: str) -> None:
        del self._details[key], self._sizes[key]
        self._cut.append(key)

    def _shorten_message(self, least_bytes: int) -> None:
        raw = self._message.encode()
        kept = max(len(raw) - max(self.excess, 0) - len("…".encode()), least_bytes, 0)
        if kept < len(raw):
            self._message = raw[:kept].decode(errors="ignore") + "…"
            self._cut.append(MESSAGE_MARK)


def _size(value: Any) -> int:
    return len(_encode(value))


def _cut_context(value: str | None) -> str | None:
    return value and value[:_MAX_CONTEXT_CHARS]


def mark_truncated(details: dict[str, Any], cut: Iterable[str]) -> dict[str, Any]:
    """Add the names of what was cut to the mark, in place; drop the last detail to make room."""
    names = _earlier_names(details) + list(cut)
    if TRUNCATED not in details and len(details) >= MAX_DETAILS:
        names.append(details.popitem()[0])
    names = list(dict.fromkeys(name[:_MAX_NAME_CHARS] for name in names))
    details[TRUNCATED] = names if len(names) <= MAX_NAMES else [*names[:MAX_NAMES], "..."]
    return details


def _earlier_names(details: Mapping[str, Any]) -> list[str]:
    mark = details.get(TRUNCATED)
    return [str(name) for name in mark if name != "..."] if isinstance(mark, list) else []


__all__ = [
    "ADDED_BYTES",
    "MAX_DEPTH",
    "MAX_DETAILS",
    "MAX_EVENT_BYTES",
    "TRUNCATED",
    "are_plain",
    "are_plain_values",
    "clean_details",
    "clean_fields",
    "fit_event",
    "force_clean",
    "make_safe",
    "safe_text",
    "text_or_none",
    "to_json_value",
    "within_limits",
]

UNREADABLE: Final = "(details)"
"""Stands in the mark for a mapping that could not be read to its end."""


def clean_fields(fields: dict[str, Any]) -> tuple[dict[str, Any], bool]:
    """Return keyword arguments as details, and whether any were cut: the hot path.

    Where nothing has to change, the very dict is returned. Keys are taken to be text, as those
    of keyword arguments are. Text is not looked at, see the top of this module.
    """
    if len(fields) <= MAX_DETAILS and "" not in fields:
        for value in fields.values():
            kind = type(value)
            if kind is float:
                if value - value == 0.0:  # not so for NaN and the infinities
                    continue
            elif kind is int:
                # Small first: CPython compares those of one digit three times as fast.
                if -0x3FFFFFFF < value < 0x3FFFFFFF or MIN_INT <= value <= MAX_INT:
                    continue
            elif kind is str or kind is bool or value is None:
                continue
            break
        else:
            return fields, False
    return force_clean(fields)


def clean_details(details: Mapping[Any, Any]) -> tuple[dict[str, Any], bool]:
    """Return any mapping as details, and whether any were cut.

    Where nothing has to change in a dict, the very dict is returned. Text is not looked at.
    """
    if type(details) is dict:
        for key in details:
            if type(key) is not str:
                break
        else:
            return clean_fields(details)
    return force_clean(details)


def force_clean(details: Mapping[Any, Any]) -> tuple[dict[str, Any], bool]:
    """Return any mapping as details, text made safe as well, and whether any were cut.

    Never raises an Exception; a mapping that cannot be read to its end is marked as cut.
    """
    cleaned: dict[str, Any] = {}
    reading = Walk()
    keys, cut = _keys(details, reading)
    kept = MAX_DETAILS if len(keys) <= MAX_DETAILS else MAX_DETAILS - 1
    for key in keys[:kept]:
        name = key_text(key, cleaned)
        walk = Walk(reading.deadline_s)
        if type(details) is not dict and walk.late:  # even to look for the next may take long
            cut.append(name)
            continue
        cleaned[name] = to_json_value(read_item(details, details.__getitem__, key), walk)
        if walk.cut:
            cut.append(name)
    cut += [key_text(key, {}) for key in keys[kept : MAX_DETAILS + MAX_NAMES]]
    return (mark_truncated(cleaned, cut), True) if cut else (cleaned, False)


def are_plain(details: Any) -> bool:
    """Whether details are JSON values within the limits of `force_clean`, which mends the rest.

    Looks at types and numbers only; text is not looked at.
    """
    return (
        type(details) is dict
        and len(details) <= MAX_DETAILS
        # As in `clean_fields` the length of keys is not looked at; those that are no text fail when
        # they are encoded, and are mended then.
        and "" not in details
        and are_plain_values(details.values())
    )


def are_plain_values(values: Iterable[Any], levels_left: int = MAX_DEPTH) -> bool:
    """Whether values need no change to be those of details: not too deep, no number too large."""
    for value in values:
        kind = type(value)
        if kind is float:
            if value - value != 0.0:  # so for NaN and the infinities
                return False
        elif kind is int:
            # Small first, as in `clean_fields`.
            if not -0x3FFFFFFF < value < 0x3FFFFFFF and not MIN_INT <= value <= MAX_INT:
                return False
        elif kind is dict or kind is list:
            if not _is_plain_container(value, levels_left):
                return False
        elif kind is not str and kind is not bool and value is not None:
            return False
    return True


def _is_plain_container(value: Any, levels_left: int) -> bool:
    if not levels_left or len(value) > MAX_ITEMS:
        return False
    if type(value) is list:
        return are_plain_values(value, levels_left - 1)
    return _are_plain_keys(value) and are_plain_values(value.values(), levels_left - 1)


def _are_plain_keys(value: dict[Any, Any]) -> bool:
    try:
        return "" not in value and max(map(len, value), default=0) <= MAX_KEY_CHARS
    except TypeError:
        return False


def _keys(details: Mapping[Any, Any], reading: Walk) -> tuple[list[Any], list[str]]:
    """The keys that could be read, and the mark of a mapping that could not be to its end."""
    keys, error = reading.take(details)
    return keys, [UNREADABLE] if error is not None else []


def make_safe(event: Event) -> Event:
    """Return the event with every field fit to be encoded, within MAX_EVENT_BYTES."""
    texts = {
        name: text_or_none(getattr(event, name)) for name in ("kind", "message", *CONTEXT_FIELDS)
    }
    webhooks = tuple(str(to_json_value(address)) for address in event.webhooks)
    details, _ = force_clean(event.details)
    return fit_event(msgspec.structs.replace(event, details=details, webhooks=webhooks, **texts))


def within_limits(event: Event) -> Event:
    """Return the event as `emit` would have let it through; the same object if it already is.

    For the log, which events of others reach too: what is cut is marked as `emit` marks it. On the
    way an event may have grown by ADDED_BYTES: an arrival, what a processor has added.
    """
    if not are_plain(event.details):
        return make_safe(event)
    if len(_encode(event)) <= MAX_EVENT_BYTES + ADDED_BYTES:
        return event
    return fit_event(event)


def text_or_none(value: Any) -> str | None:
    """Return a value as text, None as it is. Never raises."""
    converted = to_json_value(value)
    return converted if converted is None or isinstance(converted, str) else str(converted)
