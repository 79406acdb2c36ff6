"""What `realm doctor` asks of the log: pages that are damaged, odd rows, the files beside it."""

import sqlite3
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Final

from realm_telemetry.log.records import OddRows, SideFile
from realm_telemetry.log.rows import UNREADABLE
from realm_telemetry.log.sqlite.connection import explained, open_reader, uri_path
from realm_telemetry.log.sqlite.rows import READ_COLUMNS, to_log_row
from realm_telemetry.log.sqlite.schema import read_log_id
from realm_telemetry.log.sqlite.side_files import DAMAGED_MARK, damaged_copies, may_be_used

MOST_NAMED: Final = 10
"""Odd rows that are named by their ids."""

_INSTRUCTIONS_A_LOOK: Final = 100_000
_ROWS_A_LOOK: Final = 500
_BUSY_S: Final = 0.5


def damaged_pages(path: Path, timeout_s: float | None) -> list[str] | None:
    """Return what SQLite finds wrong with a file, nothing if it is whole; None if time ran out.

    timeout_s: for a quick check; None checks each index against its table too, for as long as it
        takes.
    """
    check = "integrity_check" if timeout_s is None else "quick_check"
    with explained(path), closing(open_reader(path)) as connection:
        return _checked(connection, f"PRAGMA {check}(3)", _deadline(timeout_s))


def odd_rows(path: Path, timeout_s: float | None) -> OddRows:
    """Read rows, newest first, and return which of them have columns that cannot be read."""
    is_late, found = _deadline(timeout_s), OddRows()
    with explained(path), closing(open_reader(path)) as connection:
        log_id = read_log_id(connection)
        for row in connection.execute(f"SELECT {READ_COLUMNS} FROM battle_log ORDER BY id DESC"):
            if found.looked_at % _ROWS_A_LOOK == 0 and is_late():
                return found
            found.looked_at += 1
            event = to_log_row(row, log_id).event
            if UNREADABLE in event.details:
                found.count += 1
                if len(found.named) < MOST_NAMED:
                    found.named.append((row[0], str(event.details[UNREADABLE])))
    found.is_complete = True
    return found


def side_files(paths: Iterable[Path], timeout_s: float) -> Iterator[SideFile]:
    """Return the state of each file that is there, and of those that were renamed."""
    is_late = _deadline(timeout_s)
    for path in paths:
        problem, fix = _problem(path, is_late)
        if problem is not None:
            yield SideFile(str(path), problem, fix)
        for kept in damaged_copies(path):
            yield SideFile(
                str(kept),
                "is what stood there before and could not be used",
                "Look at it if you like, then delete it.",
            )


def _problem(path: Path, is_late: Callable[[], bool]) -> tuple[str | None, str]:
    """What is wrong with a file, empty if nothing, None if it is not there; and what helps."""
    kept = f"{path.name}{DAMAGED_MARK}<time>"
    made_anew = f"A new one is made when it is next needed; this one is kept as {kept}."
    if not may_be_used(path):
        return "is not a file that this user may read and write", made_anew
    try:
        if not path.exists():
            return None, ""
        uri = f"file:{uri_path(path)}?mode=ro"
        with closing(sqlite3.connect(uri, timeout=_BUSY_S, uri=True)) as connection:
            problems = _checked(connection, "PRAGMA quick_check(1)", is_late)
            connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode & 0xFF in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
            return f"is locked by another program ({error})", f"Find it with: fuser {path}"
        return str(error), made_anew
    except (sqlite3.DatabaseError, OSError) as error:
        return str(error), made_anew
    return "; ".join(problems or []), made_anew if problems else ""


def _checked(
    connection: sqlite3.Connection, query: str, is_late: Callable[[], bool]
) -> list[str] | None:
    connection.set_progress_handler(is_late, _INSTRUCTIONS_A_LOOK)
    try:
        found = [str(row[0]) for row in connection.execute(query)]
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode != sqlite3.SQLITE_INTERRUPT:
            raise
        return None
    finally:
        connection.set_progress_handler(None, 0)
    return [] if found == ["ok"] else found


def _deadline(timeout_s: float | None) -> Callable[[], bool]:
    deadline_s = float("inf") if timeout_s is None else time.monotonic() + timeout_s
    return lambda: time.monotonic() > deadline_s
