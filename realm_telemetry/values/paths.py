"""Names of details: the one way in which filters, graphs, rules and metrics find a value.

A name is first looked for as it stands, whatever characters it has (`train/loss`, `loss[0]`); if
there is no such detail and it has dots, it is cut at them and each part leads one object further
in. Where a name stands beside others, as in `path:value` or a list with commas, it may be written
as JSON text: `"train:loss"`.
"""

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

MAX_PATH_CHARS: Final = 256
MAX_KEYS: Final = 32
"""Of a name that is cut at its dots; details are no deeper than half of that."""

_QUOTED: Final = re.compile(r'"(?:[^"\\]|\\.)*"', re.DOTALL)
_NAMED: Final = re.compile(
    rf"\s*(!?)\s*({_QUOTED.pattern}(?=\s*(?:,|$))|[^,]*)\s*(?:,|$)", re.DOTALL
)
_LISTED: Final = re.compile(rf"\s*({_QUOTED.pattern}(?=\s*(?:,|$))|[^,]*)(?:,|$)", re.DOTALL)


class InvalidPathError(ValueError):
    """Not the name of a detail; the message says what is wrong."""


def read_path(text: str) -> str:
    """Return the name that a text gives, plain or as JSON text. Raises InvalidPathError."""
    text = text.strip()
    path = _unquoted(text) if _QUOTED.fullmatch(text) else text
    if not path:
        raise InvalidPathError("there is no name of a detail")
    if len(path) > MAX_PATH_CHARS:
        raise InvalidPathError(
            f"{path[:40]!r}... has {len(path):,} characters, the limit is {MAX_PATH_CHARS}"
        )
    if path.count(".") >= MAX_KEYS:
        raise InvalidPathError(f"{path[:80]!r} has over {MAX_KEYS} keys")
    return path


def write_path(path: str) -> str:
    """Return a name as `read_path` reads it back, and where it stands beside others."""
    plain = path.isprintable() and path == path.strip() and not re.search(r'[:,"]', path)
    return path if plain else json.dumps(path, ensure_ascii=False)


def split_path(text: str) -> tuple[str, str | None]:
    """Cut `path:value`; the path is not read yet. None for the value if there is no colon."""
    quoted = _QUOTED.match(text.lstrip())
    if quoted:
        rest = text.lstrip()[quoted.end() :].lstrip()
        if rest.startswith(":"):
            return quoted.group(), rest[1:]
    path, colon, value = text.partition(":")
    return path, value if colon else None


def read_paths(text: str) -> list[str]:
    """Return the names in a list with commas. Raises InvalidPathError."""
    parts = [part for part in _LISTED.findall(text) if part.strip()]
    return list(dict.fromkeys(map(read_path, parts)))


def read_names(text: str) -> list[tuple[bool, str]]:
    """Return the names in a list with commas, each with whether a `!` stands before it.

    A name with a comma, or that begins with `!`, may be written as JSON text: `"a,b"`.
    """
    found = []
    for mark, part in _NAMED.findall(text):
        name = part.strip()
        if mark or name:
            found.append((bool(mark), _unquoted_name(name)))
    return found


def write_name(name: str, *, unwanted: bool = False) -> str:
    """Return a name as `read_names` reads it back."""
    plain = name == name.strip() and "," not in name and name[:1] not in ('"', "!", "")
    return f"{'!' * unwanted}{name if plain else json.dumps(name, ensure_ascii=False)}"


def _unquoted_name(name: str) -> str:
    if not _QUOTED.fullmatch(name):
        return name
    try:
        return str(json.loads(name, strict=False))
    except ValueError:
        return name


def key_lists(path: str) -> list[list[str]]:
    """Return the places to look at: the name as a single key, and cut at its dots."""
    parts = path.split(".")
    return [[path], parts] if len(parts) > 1 and all(parts) else [[path]]


def find(details: Mapping[str, Any], path: str) -> Any:
    """Return the detail of a name; None if there is none."""
    if path in details:
        return details[path]
    if "." not in path:
        return None
    found: Any = details
    for key in key_lists(path)[-1]:
        if not isinstance(found, Mapping) or key not in found:
            return None
        found = found[key]
    return found


def find_all(details: Mapping[str, Any], path: str) -> Iterator[Any]:
    """Yield what a name may mean: at either place, and of a list there any of its entries."""
    for keys in key_lists(path):
        yield from _look_up(details, keys)


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


def _unquoted(text: str) -> str:
    try:
        return str(json.loads(text, strict=False))
    except ValueError:
        raise InvalidPathError(f"{text[:80]} is no JSON text") from None
