"""SQLite files beside the log: one that cannot be used is renamed, and a new one made.

Each holds what can be made again, or what is worth less than everything that would stop for it. The
damaged file is kept under another name for whoever wants to look.
"""

import os
import sqlite3
import stat
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, TypeVar

from realm_telemetry.errors import warn_once

DAMAGED_MARK: Final = ".damaged-"
"""What follows the name of a file that could not be used; then comes the time."""

ENDINGS: Final = ("", "-wal", "-shm", "-journal")
"""Of the files that SQLite keeps for one database."""

T = TypeVar("T")

_DAMAGED: Final = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
_MAYBE_NO_FILE: Final = (
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_READONLY,
    sqlite3.SQLITE_PERM,
    sqlite3.SQLITE_IOERR,
)
# SQLite has one code for all mistakes in a statement; ours are right for our own tables.
_OTHER_TABLES: Final = ("no such ", "has no column", "columns but", "already exists")


def usable(path: Path, use: Callable[[], T], lost: str) -> T:
    """Return what a function makes of a file; if the file is damaged, with a new one instead.

    use: opens the file by itself, makes it if need be, and may be called twice.
    lost: what goes with the file, for the report.
    """
    before = _identity(path)
    try:
        return use()
    except (sqlite3.Error, OSError) as error:
        if not is_damaged(path, error):
            raise
        # Another process may have replaced it by now.
        if before in (None, _identity(path)):
            rename_damaged(path, error, lost)
    return use()


def is_damaged(path: Path, error: Exception) -> bool:
    """Whether an error says that the file itself is of no use: not busy, not a full disk."""
    if isinstance(error, sqlite3.Error):
        code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF
        if code in _DAMAGED:
            return True
        if code == sqlite3.SQLITE_ERROR:
            return any(words in str(error) for words in _OTHER_TABLES)
        if code not in _MAYBE_NO_FILE:
            return False
    return not may_be_used(path)


def rename_damaged(path: Path, error: Exception, lost: str) -> None:
    """Rename a file with what SQLite keeps beside it, and say so on stderr.

    Raises OSError if it cannot be renamed.
    """
    kept = _free_name(path)
    for ending in ENDINGS:
        if os.path.lexists(f"{path}{ending}"):
            Path(f"{path}{ending}").rename(f"{kept}{ending}")
    warn_once(
        f"renamed {kept}",
        f"{path} could not be used ({error}) and is now {kept.name}; a new one is made. {lost}"
        " `realm doctor` names such files.",
    )


def damaged_copies(path: Path) -> list[Path]:
    """Return the files that stood in the place of a path and could not be used."""
    return sorted(
        found
        for found in path.parent.glob(f"{path.name}{DAMAGED_MARK}*")
        if not found.name.endswith(ENDINGS[1:])
    )


def _free_name(path: Path) -> Path:
    base = f"{path.name}{DAMAGED_MARK}{datetime.now(UTC):%Y%m%dT%H%M%SZ}"
    kept, number = path.with_name(base), 1
    while os.path.lexists(kept):
        number += 1
        kept = path.with_name(f"{base}-{number}")
    return kept


def may_be_used(path: Path) -> bool:
    """Whether a path is a file that this user may read and write, or nothing yet."""
    for ending in ENDINGS:
        try:
            found = Path(f"{path}{ending}").stat()
        except FileNotFoundError:
            if os.path.lexists(f"{path}{ending}"):  # a link to nowhere
                return False
            continue
        except OSError:
            return False
        if not stat.S_ISREG(found.st_mode) or not os.access(f"{path}{ending}", os.R_OK | os.W_OK):
            return False
    return True


def _identity(path: Path) -> object:
    try:
        found = os.lstat(path)
    except OSError:
        return None
    return found.st_dev, found.st_ino
