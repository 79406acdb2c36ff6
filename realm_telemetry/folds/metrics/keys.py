"""The attributes of an event's values, which tell the series that they belong to."""

from collections.abc import Callable
from typing import Any, Final

from realm_telemetry.event import Event
from realm_telemetry.folds.metrics.instruments import FIELDS, Attribute

MAX_TEXT: Final = 128

Key = tuple[str | None, ...]
"""Values of an instrument's attributes, in order; None for one that the event does not have."""


def key_reader(attributes: tuple[Attribute, ...]) -> Callable[[Event], Key]:
    """What reads a key out of an event."""
    fields = [each.source for each in attributes if each.source in FIELDS]
    if len(fields) == len(attributes):
        # Most of them, and for every event: fields are text or None already.
        return lambda event: tuple([_short(getattr(event, name)) for name in fields])
    sources = [(each.source in FIELDS, each.source) for each in attributes]
    return lambda event: tuple(
        [
            _short(getattr(event, name)) if is_field else attribute_text(event.details.get(name))
            for is_field, name in sources
        ]
    )


def attribute_text(value: Any) -> str | None:
    """A detail as an attribute's value; None if there is none, or no plain one."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str | int | float):
        return _short(str(value))
    return None


def _short(text: str | None) -> str | None:
    """At most 128 characters; to Prometheus an empty label is the same as none."""
    return text[:MAX_TEXT] if text else None
