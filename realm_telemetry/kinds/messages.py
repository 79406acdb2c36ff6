"""The forgiving half of message rendering: missing fields, and values of other types.

`catalog.render` comes here when a template does not fit the details as it stands.
"""

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Final

import msgspec

MAX_VALUE_CHARS: Final = 200
"""A value that its format does not fit is shown as text, cut to this length."""

_BODY_MESSAGES: Final = ("message", "msg", "event")
"""Where loggers that write objects have the line that a person reads; the last is structlog's."""

_MAX_SHOWN: Final = 4
"""Details shown in the message of a kind without template."""

# Not compiled here: most processes never need them, and every one imports this module.
_PARENTHESES: Final = r" ?\(([^()]*)\)"
_FIELD: Final = r"\{(\w+)"


def render_forgivingly(kind: str, template: str | None, details: Mapping[str, Any]) -> str:
    """Return a readable message for any details. Never raises."""
    try:
        fields = {str(key): value for key, value in details.items() if value is not None}
        if template is None:
            return _without_template(kind, fields)
        return _format(_fitting(template, frozenset(fields)), fields)
    except Exception:  # noqa: BLE001 - details and templates are the user's
        return _in_words(kind)


def body_message(body: Any) -> str:
    """Return the message of a log record whose body is any JSON value."""
    if isinstance(body, str):
        return body
    texts = [body.get(key) for key in _BODY_MESSAGES] if isinstance(body, dict) else []
    found = next((text for text in texts if isinstance(text, str)), None)
    return msgspec.json.encode(body).decode() if found is None else found


@lru_cache(maxsize=512)
def _fitting(template: str, present: frozenset[str]) -> str:
    """Return the template without the parenthesised parts that lack a field."""
    return re.sub(_PARENTHESES, lambda found: _parts_present(found, present), template)


def _format(template: str, fields: dict[str, Any]) -> str:
    try:
        return template.format_map(fields)
    except Exception:  # noqa: BLE001 - a value's own code may raise anything
        return template.format_map(_Fields(fields))


def _without_template(kind: str, fields: dict[str, Any]) -> str:
    shown = [f"{key}: {_Field(fields[key])}" for key in list(fields)[:_MAX_SHOWN]]
    return f"{_in_words(kind)} ({', '.join(shown)})" if shown else _in_words(kind)


def _in_words(kind: str) -> str:
    words = str(kind).replace("_", " ")
    return words[:1].upper() + words[1:]


def _parts_present(found: re.Match[str], present: frozenset[str]) -> str:
    parts = [part for part in found[1].split(", ") if present.issuperset(re.findall(_FIELD, part))]
    opening = found[0][: found[0].index("(") + 1]
    return f"{opening}{', '.join(parts)})" if parts else ""


class _Fields(dict[str, Any]):
    """Details whose values can be formatted by any format specification."""

    def __getitem__(self, key: str) -> "_Field":
        return _Field(super().__getitem__(key)) if key in self else _Field("?")


class _Field:
    """One value; formats as asked if it can, as cut text if not."""

    def __init__(self, value: Any) -> None:
        self._value = value

    def __format__(self, specification: str) -> str:
        try:
            return format(self._value, specification)
        except Exception:  # noqa: BLE001 - a value's own code may raise anything
            return str(self)

    def __str__(self) -> str:
        try:
            text = str(self._value)
        except Exception:  # noqa: BLE001 - a value's own code may raise anything
            text = f"<{type(self._value).__name__}>"
        return text if len(text) <= MAX_VALUE_CHARS else text[: MAX_VALUE_CHARS - 1] + "…"
