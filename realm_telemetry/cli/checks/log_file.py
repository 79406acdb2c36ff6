"""The log's file: can it be read, is it whole, can it be written."""

import fcntl
import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Final

from realm_telemetry.cli.checks.check import Finding, Subject
from realm_telemetry.errors import LogError
from realm_telemetry.log import LogReader
from realm_telemetry.log.sqlite.connection import explained, open_reader
from realm_telemetry.log.sqlite.migrations import SCHEMA_VERSION, read_version

LOCK_WAIT_S: Final = 2.0
INSTRUCTIONS_A_LOOK: Final = 100_000
RECOVER: Final = (
    "Stop the processes that use it, move it away together with its -wal and -shm files, and start"
    " again with an empty log; what is readable can be saved with: sqlite3 {path} .recover"
)


def check_log(subject: Subject) -> Iterator[Finding]:
    """Whether the log opens, how large it is, and whether it is whole."""
    path = subject.settings.log_path
    if not path.exists():
        yield Finding("log", "ok", f"{path} is not there yet; the first event makes it")
        return
    try:
        version = _version(path)
        if version < SCHEMA_VERSION:
            message = f"{path} is of an older version ({version} of {SCHEMA_VERSION})"
            fix = "The next program that emits brings it up to date, as the round trip here does."
            yield Finding("log", "warning", message, fix)
            return
        with LogReader(path) as reader:
            subject.log_id = reader.log_id
            with reader.snapshot() as log:
                held = log.max_cursor() - log.min_cursor()
    except LogError as error:
        yield Finding("log", "problem", str(error))
        return
    size = sum(_size(Path(f"{path}{end}")) for end in ("", "-wal"))
    message = f"{path}, {size / 1e6:,.1f} MB, about {held:,} rows, log_id {subject.log_id}"
    yield Finding("log", "ok", message)
    yield _integrity(path, subject.timeout_s)


def check_lock(subject: Subject) -> Iterator[Finding]:
    """Whether a writer gets its turn."""
    path = subject.settings.log_path
    if not path.exists():
        return
    wait_s = min(LOCK_WAIT_S, subject.timeout_s)
    if not _gets_turn(Path(f"{path}-writer.lock"), wait_s):
        message = f"one of our processes has held the log for over {wait_s:g} s"
        fix = f"Find it with: fuser {path}-writer.lock"
        yield Finding("writer lock", "problem", message, fix)
        return
    try:
        with explained(path):
            _begin_and_undo(path, wait_s)
    except LogError as error:
        yield Finding("writer lock", "problem", str(error))
        return
    yield Finding("writer lock", "ok", "free, and the file can be written")


def _version(path: Path) -> int:
    """The schema version of the file; 0 for that of older writers."""
    with explained(path), closing(open_reader(path)) as connection:
        return read_version(connection)


def _integrity(path: Path, timeout_s: float) -> Finding:
    """Run SQLite's quick_check within the time; a log of gigabytes takes longer."""
    deadline_s = time.monotonic() + timeout_s
    try:
        with explained(path), closing(open_reader(path)) as connection:
            connection.set_progress_handler(
                lambda: time.monotonic() > deadline_s, INSTRUCTIONS_A_LOOK
            )
            found = [row[0] for row in connection.execute("PRAGMA quick_check(3)")]
    except LogError as error:
        return Finding("integrity", "problem", str(error))
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode != sqlite3.SQLITE_INTERRUPT:
            raise
        message = f"quick_check found nothing in {timeout_s:g} s and was not done by then"
        return Finding("integrity", "warning", message, "Give it longer with --timeout.")
    if found == ["ok"]:
        return Finding("integrity", "ok", "quick_check found nothing")
    return Finding("integrity", "problem", "; ".join(found), RECOVER.format(path=path))


def _gets_turn(lock_path: Path, wait_s: float) -> bool:
    if not lock_path.exists():
        return True
    descriptor = os.open(lock_path, os.O_RDWR | os.O_CLOEXEC)
    deadline_s = time.monotonic() + wait_s
    try:
        while time.monotonic() < deadline_s:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                time.sleep(0.005)
            else:
                return True
        return False
    finally:
        os.close(descriptor)


def _begin_and_undo(path: Path, wait_s: float) -> None:
    connection = sqlite3.connect(path, timeout=wait_s, isolation_level=None)
    with closing(connection):
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("ROLLBACK")


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0
