"""Connections to the log's file, and what SQLite's errors mean to a person."""

import os
import sqlite3
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from realm_telemetry.home import is_local_filesystem, is_planted, make_private_directory
from realm_telemetry.log.errors import (
    LogInterruptedError,
    LogRefusedError,
    LogUnavailableError,
)
from realm_telemetry.log.sqlite.foreign_text import LenientConnection
from realm_telemetry.log.sqlite.odd_rows import HAS_FUNCTION, has_detail
from realm_telemetry.values.clock import monotonic

BUSY_TIMEOUT_S: Final = 30.0
_WAL_PATIENCE_S: Final = 10.0

_ADVICE: Final = {
    sqlite3.SQLITE_CORRUPT: (
        "is corrupt",
        "Stop the processes that use it, move it away together with its -wal and -shm files"
        " (what is readable can be saved with: sqlite3 {path} .recover), and start again with an"
        " empty log; events not yet stored wait in their spools",
    ),
    sqlite3.SQLITE_NOTADB: (
        "is not an SQLite database",
        "Move it away, or set another home, and start again; events wait in their spools",
    ),
    sqlite3.SQLITE_FULL: (
        "cannot grow, the disk is full",
        "Free some space on it; events wait in their spools meanwhile",
    ),
    sqlite3.SQLITE_READONLY: (
        "cannot be written",
        "Give this user write permission for the file and its directory",
    ),
    sqlite3.SQLITE_CANTOPEN: (
        "cannot be opened",
        "Check that its directory exists and that this user may read and write there",
    ),
    sqlite3.SQLITE_IOERR: (
        "could not be read or written",
        "Check the disk, the quota of this user and the limit of a file's size (ulimit -f); events"
        " wait in their spools meanwhile",
    ),
    sqlite3.SQLITE_BUSY: (
        "is locked by another program",
        "Find it with: fuser {path}; events wait in their spools meanwhile",
    ),
}


# These blame what is written and not the file.
_REFUSED: Final = (
    sqlite3.DataError,
    sqlite3.IntegrityError,
    sqlite3.InterfaceError,
    sqlite3.ProgrammingError,
)


@contextmanager
def explained(path: Path, *, files: bool = False) -> Iterator[None]:
    """Translate SQLite's errors about the log.

    files: those of the file system too, where only code of the engine runs inside.
    Raises LogUnavailableError that says what to do, LogInterruptedError, or LogRefusedError.
    """
    try:
        yield
    except _REFUSED as error:
        raise LogRefusedError(str(error)) from error
    except sqlite3.Error as error:
        if getattr(error, "sqlite_errorcode", 0) == sqlite3.SQLITE_INTERRUPT:
            raise LogInterruptedError("the query was ended before it had an answer") from error
        raise LogUnavailableError(_explain(path, error)) from error
    except OSError as error:
        if not files:
            raise
        raise LogUnavailableError(_unusable(path, error)) from error


@contextmanager
def translated(path: Path) -> Iterator[None]:
    """Translate the errors of a file that stands beside the log, with the file's name."""
    try:
        yield
    except _REFUSED as error:
        raise LogRefusedError(f"{path}: {error}") from error
    except (sqlite3.Error, OSError) as error:
        raise LogUnavailableError(f"{path}: {error}") from error


def _explain(path: Path, error: sqlite3.Error) -> str:
    code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF
    if code not in _ADVICE:
        return _unusable(path, error)
    problem, advice = _ADVICE[code]
    return f"the log {path} {problem} ({error}). {advice.format(path=path)}."


def _unusable(path: Path, error: Exception) -> str:
    return f"the log {path} cannot be used ({error}). Run `realm doctor`; events wait in spools."


def check_place(path: Path, *, mount_table: str | None = None) -> None:
    """Refuse a network file system, where WAL and its locks fail silently.

    Source: https://sqlite.org/wal.html, "all processes must be on the same host".
    Raises LogUnavailableError.
    """
    local, kind = is_local_filesystem(path, mount_table=mount_table)
    if not local:
        raise LogUnavailableError(
            f"the log {path} would lie on a network file system ({kind}), where SQLite loses data."
            " Set REALM_HOME to a directory on a local disk; other hosts reach the log over HTTP."
        )


_OTHERS: Final = (
    (stat.S_ISDIR, "a directory"),
    (stat.S_ISFIFO, "a pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)


def check_file(path: Path) -> None:
    """Refuse what stands in the place of the log and is no file: SQLite waits for some of these.

    Raises LogUnavailableError.
    """
    try:
        kind = path.stat().st_mode
    except OSError:  # nothing is there, or SQLite says what is wrong
        return
    for is_this, name in _OTHERS:
        if is_this(kind):
            raise LogUnavailableError(
                f"{path} is {name}, where the log is to be. Move it away, or set REALM_HOME to"
                " another directory; events wait in their spools."
            )


def tables_in(connection: sqlite3.Connection) -> set[str]:
    """Names of the tables of a file, without views: those run what its author wrote, for ever too.

    Without virtual tables as well.
    """
    query = "SELECT name FROM sqlite_master WHERE type = 'table' AND rootpage > 0"
    return {row[0] for row in connection.execute(query)}


def open_writer(path: Path) -> sqlite3.Connection:
    """Open the file for writing, creating it and its directory (mode 0700) if need be.

    WAL, every commit synced. Raises LogUnavailableError.
    """
    check_place(path)
    with explained(path):
        try:
            make_private_directory(path.parent)
        except OSError as error:
            raise LogUnavailableError(
                f"the log's directory {path.parent} cannot be made: {error.strerror}."
                " Set REALM_HOME to a directory that this user may write."
            ) from error
        if is_planted(path.parent):
            raise LogUnavailableError(
                f"the log's directory {path.parent} belongs to another user, in a directory where"
                " everybody can make files. Set REALM_HOME to a directory of this user's own."
            )
        check_file(path)
        connection = sqlite3.connect(
            path,
            timeout=BUSY_TIMEOUT_S,
            isolation_level=None,
            check_same_thread=False,
            factory=LenientConnection,
        )
        try:
            _set_up_writer(connection)
        except BaseException:
            connection.close()
            raise
    return connection


def open_reader(path: Path) -> sqlite3.Connection:
    """Open the file read-only, autocommit. Raises LogUnavailableError if it is not there."""
    if not path.exists():
        in_the_way = next((part for part in path.parents if part.is_file()), None)
        if in_the_way is not None:
            raise LogUnavailableError(
                f"there can be no log at {path}: {in_the_way} is a file. Set REALM_HOME to a"
                " directory."
            )
        raise LogUnavailableError(
            f"there is no log at {path} yet. It comes with the first event"
            " (try: realm emit note message=hello), or set REALM_HOME to where it is."
        )
    check_file(path)
    with explained(path):
        connection = sqlite3.connect(
            f"file:{uri_path(path)}?mode=ro",
            timeout=BUSY_TIMEOUT_S,
            isolation_level=None,
            check_same_thread=False,
            uri=True,
            cached_statements=256,
            factory=LenientConnection,
        )
        try:
            connection.execute("PRAGMA query_only = 1")
            connection.create_function(HAS_FUNCTION, 3, has_detail, deterministic=True)
            connection.execute("PRAGMA cache_size = -16000")
        except BaseException:
            connection.close()
            raise
    return connection


@contextmanager
def snapshot(connection: sqlite3.Connection) -> Iterator[sqlite3.Connection]:
    """One short read transaction: all statements inside see the same rows."""
    connection.execute("BEGIN")
    try:
        yield connection
    finally:
        if connection.in_transaction:
            connection.execute("COMMIT")


def _set_up_writer(connection: sqlite3.Connection) -> None:
    _switch_to_wal(connection)
    for pragma in (
        "synchronous = FULL",
        "cache_size = -16000",
        "temp_store = MEMORY",
        "journal_size_limit = 67108864",
        # Distributions build SQLite with secure_delete on, which doubles the work of trimming.
        "secure_delete = FAST",
    ):
        connection.execute(f"PRAGMA {pragma}")


def _switch_to_wal(connection: sqlite3.Connection) -> None:
    # The switch needs the file alone and does not wait for it: older code may be at work.
    deadline = monotonic() + _WAL_PATIENCE_S
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or monotonic() > deadline:
                raise
            time.sleep(0.02)
        else:
            return


def uri_path(path: Path) -> str:
    """Return a path as it stands in a URI of SQLite's."""
    text = os.fspath(path.absolute())
    return text.replace("%", "%25").replace("?", "%3f").replace("#", "%23")
