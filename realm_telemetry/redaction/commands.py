"""Command lines as lists of words: which programs take passwords, and where."""

from collections.abc import Sequence
from typing import Any, Final

from realm_telemetry.redaction.rules import REDACTED

_APART: Final = frozenset(("sshpass", "docker", "podman"))
"""Programs that take a password as the word after `-p`; docker's and podman's `login` does."""

_COMMANDS: Final = frozenset(
    (
        *("command", "cmd", "cmdline", "command_line", "command_args", "argv", "args"),
        *("arguments", "entrypoint"),
    )
)
"""Names of details, after their last dot, whose lists are words of one command."""

_PROGRAMS: Final = _APART | {"curl", "mysql", "mysqldump", "mysqladmin", "mariadb", "7z", "7za"}
_MAX_PROGRAM: Final = 256


def program_of(values: Sequence[Any]) -> str:
    """The program of a command line that takes logins of its own; empty for others."""
    first = values[0] if values else None
    if not isinstance(first, str) or len(first) > _MAX_PROGRAM:
        return ""
    name = first.rpartition("/")[2]
    return name if name in _PROGRAMS else ""


def is_command(path: str, values: Sequence[Any]) -> bool:
    """Whether a list is the words of a command, by the last part of its name."""
    name = path.rpartition(".")[2].lower()
    return name in _COMMANDS and all(isinstance(value, str) for value in values)


def without_login(program: str, before: Any, item: Any) -> Any:
    if not isinstance(item, str):
        return item
    user, colon, password = item.partition(":")
    login = before in ("-u", "--user") or item.startswith("-u")
    if program == "curl" and login and colon and password != REDACTED:
        return f"{user}:{REDACTED}"
    if program in _APART and before == "-p" and item != REDACTED:
        return REDACTED
    option = program not in ("curl", *_APART) and item.startswith("-p") and len(item) > 2
    return f"-p{REDACTED}" if option and item[2:] != REDACTED else item
