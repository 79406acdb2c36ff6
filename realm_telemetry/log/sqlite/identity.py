"""Whether the files that a connection has open are still those at their paths.

SQLite goes on writing to a file without a name, and to a journal that no other process can see. So
each long-lived connection looks before it relies on its files: three `stat` calls, 4 us
and more on a busy machine.

Older content may also come back under the same name: a backup that is restored. Each writer leaves
a mark beside the log of how far that is written. A log that is behind its mark gets a new log_id,
and so all that is derived from it (state, metrics, search, streams) begins anew.
"""

import logging
import secrets
import sqlite3
from contextlib import suppress
from os import stat
from pathlib import Path
from typing import Final

from realm_telemetry.log.errors import LogReplacedError, LogUnavailableError
from realm_telemetry.log.sqlite.lock import Mark

_JOURNALS: Final = ("-wal", "-shm")

_MARK: Final = (
    "SELECT (SELECT value FROM realm_meta WHERE key = 'log_id'),"
    " coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'battle_log'), 0)"
)
_logger = logging.getLogger(__name__)

Inode = tuple[int, int]


class OpenFiles:
    """The log's file and its journals, as they were when a connection had opened them.

    To be made after the connection's first statement, which opens the journals.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._journal_paths = [Path(f"{path}{end}") for end in _JOURNALS]
        self._names = [str(each) for each in (path, *self._journal_paths)]
        self._bytes = path.stat().st_size
        self._file = inode_of(path)
        self._journals = [inode_of(each) for each in self._journal_paths]

    def check(self, connection: sqlite3.Connection) -> None:
        """Raise LogReplacedError if another process that opens the log would not see these files.

        Raises LogUnavailableError if the file was cut or overwritten in place.
        """
        try:
            # Not Path.stat, which takes longer: this is in each commit and each poll.
            file, *journals = map(stat, self._names)
        except OSError:
            self._explain(connection)
            return
        same_file = (file.st_dev, file.st_ino) == self._file and file.st_size == self._bytes
        if not same_file or [(each.st_dev, each.st_ino) for each in journals] != self._journals:
            self._explain(connection)

    def _explain(self, connection: sqlite3.Connection) -> None:
        """Say what differs, if it is more than growth."""
        inode = inode_of(self._path)
        if inode is None:
            raise self._replaced("it is gone")
        if inode != self._file:
            self._set_journals_aside()
            raise self._replaced("another file is there")
        if [inode_of(each) for each in self._journal_paths] != self._journals:
            self._rescue(connection)
            raise self._replaced("its -wal or -shm file was removed")
        self._resized(connection, self._path.stat().st_size)

    def _replaced(self, what: str) -> LogReplacedError:
        return LogReplacedError(
            f"the log {self._path} was moved, deleted or replaced while it was open ({what})",
            "It is opened again where it should be; what was stored before is where the file went.",
        )

    def _resized(self, connection: sqlite3.Connection, size: int) -> None:
        """Follow the file's growth; SQLite makes it smaller only if it says so itself."""
        if size < self._bytes and _bytes_of(connection) >= self._bytes:
            raise LogUnavailableError(
                f"the log {self._path} was cut or overwritten in place while it was open",
                "Stop the processes that use it, move it away together with its -wal and -shm"
                " files, put a backup in its place or nothing, and start again; events not"
                " yet stored wait in their spools.",
            )
        self._bytes = size

    def _set_journals_aside(self) -> None:
        """Rename the journals of the file that was here: SQLite would apply them to the new one."""
        for path, known in zip(self._journal_paths, self._journals, strict=True):
            if known is not None and inode_of(path) == known:
                with suppress(OSError):  # another process did it
                    path.rename(f"{path}.replaced")

    def _rescue(self, connection: sqlite3.Connection) -> None:
        """Move what only the lost journal has into the file, unless others began a new journal."""
        if inode_of(self._journal_paths[0]) in (None, self._journals[0]):
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()


def mark_of(connection: sqlite3.Connection) -> Mark:
    """How far the log is written now."""
    return Mark(*connection.execute(_MARK).fetchone())


def is_set_back(now: Mark, mark: Mark | None) -> bool:
    """Whether rows were taken back since the mark was left, as when a backup is restored."""
    return mark is not None and mark.log_id == now.log_id and now.cursor < mark.cursor


def renew_if_set_back(connection: sqlite3.Connection, mark: Mark | None) -> None:
    """Give the log a new id if its rows were taken back since the mark was left.

    To be called inside a write transaction.
    """
    now = mark_of(connection)
    if mark is None or not is_set_back(now, mark):
        return
    # The first half stays: events of the older table have their ids from it.
    renewed = now.log_id[:16] + secrets.token_hex(8)
    connection.execute("UPDATE realm_meta SET value = ? WHERE key = 'log_id'", (renewed,))
    _logger.warning(
        "The log's content is older than what was written to it last (up to row %d, then %d): it"
        " has a new log_id, and what is derived from it is made again.",
        now.cursor,
        mark.cursor,
    )


def _bytes_of(connection: sqlite3.Connection) -> int:
    """How large the file is for SQLite; beyond measure if SQLite finds it damaged."""
    try:
        pages = connection.execute("PRAGMA page_count").fetchone()[0]
        return int(pages * connection.execute("PRAGMA page_size").fetchone()[0])
    except sqlite3.DatabaseError:
        return 2**63


def inode_of(path: Path) -> Inode | None:
    """Device and inode of what is at a path; None if there is nothing, or it cannot be seen."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino
