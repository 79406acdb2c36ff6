"""Values of settings, as `configure`, the environment and `realm.toml` give them.

Each reader takes any value whatever and raises ValueError or TypeError saying what it wants. What
a value's own code does is asked as little as possible: texts, lists and tables of classes of their
own are read as what they are derived from.
"""

import os
from collections.abc import Callable, Mapping
from itertools import islice
from pathlib import Path
from typing import Any, Final

from realm_telemetry.values.conversions import MAX_DEPTH, safe_text, to_json_value

MAX_TEXT_CHARS: Final = 65_536
MAX_ENTRIES: Final = 1_000
MAX_PATH_BYTES: Final = 4_096
_MAX_SHOWN_CHARS: Final = 200


def read_text(value: Any) -> str:
    text = plain_text(value).strip() if issubclass(type(value), str) else ""
    if not text:
        raise ValueError("needs text that is not empty")
    if len(text) > MAX_TEXT_CHARS:
        raise ValueError(f"needs at most {MAX_TEXT_CHARS} characters and has {len(text)}")
    return text


def plain_text(value: str) -> str:
    """The characters of a text, also of one whose class has methods of its own."""
    return safe_text(str.__str__(value))


def read_items(value: Any) -> list[Any]:
    """The items of a list or tuple, also of one whose class has methods of its own."""
    kind = list if issubclass(type(value), list) else tuple
    if kind.__len__(value) > MAX_ENTRIES:
        raise ValueError(f"needs at most {MAX_ENTRIES} entries and has {kind.__len__(value)}")
    return [
        plain_text(item) if issubclass(type(item), str) else item for item in kind.__iter__(value)
    ]


def is_list(value: Any) -> bool:
    return issubclass(type(value), list | tuple)


def read_names(value: Any) -> tuple[Any, ...]:
    if issubclass(type(value), str):
        names = (name.strip() for name in plain_text(value).split(","))
        return tuple(read_items([name for name in names if name]))
    if not is_list(value):
        raise ValueError("needs a list of names, or names with commas between")
    return tuple(read_items(value))


def one_of(*choices: str) -> Callable[[Any], str]:
    def parse(value: Any) -> str:
        text = plain_text(value) if issubclass(type(value), str) else ""
        if text not in choices:
            raise ValueError(f"is none of {', '.join(choices)}")
        return text

    return parse


def read_path(value: Any) -> Path:
    given = str.__str__(value) if issubclass(type(value), str) else os.fspath(value)
    if "\0" in given:
        raise ValueError("has a NUL, which no path may have")
    if len(os.fsencode(given)) > MAX_PATH_BYTES:
        raise ValueError(f"needs at most {MAX_PATH_BYTES} bytes; shorten it")
    path = Path(str.__str__(given)).expanduser()
    return path if path.is_absolute() else Path.cwd() / path


def read_flag(value: Any) -> bool:
    return value is True or str(value).strip().lower() in ("true", "1", "yes", "on")


def read_table(value: Any) -> dict[str, Any]:
    if not isinstance(value, Mapping):
        raise ValueError("needs a table (a mapping)")
    plain: dict[str, Any] = _plain_table(value)
    return plain


def _plain_table(value: Any, depth: int = 0) -> Any:
    """A table with tables, lists and texts of no class of their own; other objects as they are."""
    if depth > MAX_DEPTH:
        raise ValueError("is nested too deep")
    if issubclass(type(value), str):
        return plain_text(value)
    if is_list(value):
        return [_plain_table(item, depth + 1) for item in read_items(value)]
    if not isinstance(value, Mapping):
        return value
    names = list(islice(iter(value), MAX_ENTRIES + 1))
    if len(names) > MAX_ENTRIES:
        raise ValueError(f"needs at most {MAX_ENTRIES} entries and has more")
    if not all(issubclass(type(name), str) for name in names):
        raise ValueError("needs names as text")
    return {plain_text(name): _plain_table(value[name], depth + 1) for name in names}


def resource_table(value: Any) -> dict[str, Any]:
    """As `read_table`, of what the manifest can hold."""
    return {name: to_json_value(item) for name, item in read_table(value).items()}


def shown(value: Any) -> str:
    """A value for a message: short, whatever its own code does."""
    text = repr(to_json_value(value))
    return text if len(text) <= _MAX_SHOWN_CHARS else text[:_MAX_SHOWN_CHARS] + "…"
