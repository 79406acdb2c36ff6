"""The details of an event: any mapping -> JSON values, with their limits.

`clean_fields` is the hot path: it looks at types and numbers only. Lone surrogates in text it
leaves to the encoder: `msgspec.msgpack.encode` raises UnicodeEncodeError, and
`make_safe` then gives an event that does encode. One that encodes to more than
MAX_EVENT_BYTES goes through `fit_event`.
"""

from collections.abc import Mapping
from itertools import islice
from typing import Any, Final

import msgspec

from realm_telemetry.event import Event
from realm_telemetry.values.conversions import MAX_INT, MIN_INT, key_text, to_json_value
from realm_telemetry.values.limits import (
    CONTEXT_FIELDS,
    MAX_DETAILS,
    MAX_EVENT_BYTES,
    MAX_NAMES,
    TRUNCATED,
    fit_event,
    mark_truncated,
)
from realm_telemetry.values.walk import Walk, safe_text

__all__ = [
    "MAX_DETAILS",
    "MAX_EVENT_BYTES",
    "TRUNCATED",
    "clean_details",
    "clean_fields",
    "fit_event",
    "force_clean",
    "make_safe",
    "safe_text",
    "text_or_none",
    "to_json_value",
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
    cut: list[str] = []
    try:
        kept = MAX_DETAILS if len(details) <= MAX_DETAILS else MAX_DETAILS - 1
        for key in islice(details, kept):
            name = key_text(key, cleaned)
            walk = Walk()
            cleaned[name] = to_json_value(details[key], walk)
            if walk.cut:
                cut.append(name)
        cut += [key_text(key, {}) for key in islice(details, kept, MAX_DETAILS + MAX_NAMES)]
    except Exception:  # noqa: BLE001 - a mapping's own code may raise anything
        cut.append(UNREADABLE)
    return (mark_truncated(cleaned, cut), True) if cut else (cleaned, False)


def make_safe(event: Event) -> Event:
    """Return the event with every field fit to be encoded, within MAX_EVENT_BYTES."""
    texts = {
        name: text_or_none(getattr(event, name)) for name in ("kind", "message", *CONTEXT_FIELDS)
    }
    webhooks = tuple(str(to_json_value(address)) for address in event.webhooks)
    details, _ = force_clean(event.details)
    return fit_event(msgspec.structs.replace(event, details=details, webhooks=webhooks, **texts))


def text_or_none(value: Any) -> str | None:
    """Return a value as text, None as it is. Never raises."""
    converted = to_json_value(value)
    return converted if converted is None or isinstance(converted, str) else str(converted)
