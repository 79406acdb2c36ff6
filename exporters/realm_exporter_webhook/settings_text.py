"""One more target in the text of realm.toml; all that stands there stays as it is."""

import json
import os
import tomllib
from collections.abc import Mapping
from copy import deepcopy
from pathlib import Path
from typing import Any, Final

from realm_telemetry.errors import ConfigError
from realm_telemetry.home import make_private_directory

TABLE: Final = "options.webhook.targets"


def read_text(path: Path) -> str:
    """Return a file with its ends of lines and marks; empty if there is none.

    Raises ConfigError.
    """
    try:
        return path.read_bytes().decode()
    except FileNotFoundError:
        return ""
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(str(path), f"cannot be read ({error})", "Correct it.") from None


def parse(path: Path, text: str) -> dict[str, Any]:
    """Return what a text of realm.toml says. Raises ConfigError."""
    try:
        return tomllib.loads(text.removeprefix("\ufeff"))
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise ConfigError(str(path), f"is not TOML: {error}", "Correct that line.") from None


def with_target(path: Path, text: str, name: str, target: Mapping[str, str | bool]) -> str:
    """Return a text with one more target, a table at its end.

    Raises ConfigError where TOML allows no table there; it has the lines to add by hand.
    """
    end = "\r\n" if "\r\n" in text else "\n"
    lines = [f"[{TABLE}.{_key(name)}]", *(f"{key} = {_value(it)}" for key, it in target.items())]
    gap = "" if not text else end if text.endswith("\n") else 2 * end
    added = text + gap + end.join(lines) + end
    try:
        is_right = parse(path, added) == joined(parse(path, text), name, target)
    except ConfigError:
        is_right = False
    if not is_right:
        by_hand = f"Add it there yourself: targets.{_key(name)} = {{ {', '.join(lines[1:])} }}"
        problem = f"{TABLE} is written so that no table can follow"
        raise ConfigError(str(path), problem, by_hand)
    return added


def write_text(path: Path, text: str) -> None:
    """Replace a file at once, keeping its mode; a new one is for its owner alone.

    A link stays a link. Raises ConfigError.
    """
    path = path.resolve()
    draft = path.with_name(f".{path.name}-{os.getpid()}")
    try:
        make_private_directory(path.parent)
        mode = path.stat().st_mode & 0o777 if path.exists() else 0o600
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
        with os.fdopen(os.open(draft, flags, 0o600), "wb") as file:
            os.fchmod(file.fileno(), mode)
            file.write(text.encode())
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    except OSError as error:
        draft.unlink(missing_ok=True)
        problem = f"cannot be written ({error.strerror})"
        raise ConfigError(str(path), problem, "Make the home writable.") from None


def joined(found: Mapping[str, Any], name: str, target: Mapping[str, Any]) -> dict[str, Any]:
    """Return what realm.toml says with one more target."""
    whole = deepcopy(dict(found))
    targets = whole
    for key in TABLE.split("."):
        targets = targets.setdefault(key, {})
    targets[name] = dict(target)
    return whole


def _key(name: str) -> str:
    return json.dumps(name) if "." in name else name


def _value(value: str | bool) -> str:
    # A JSON text is a basic string of TOML too.
    return json.dumps(value, ensure_ascii=False)
