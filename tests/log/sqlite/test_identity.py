"""The log's files are swapped under a connection: what is acknowledged is where a reader looks."""

import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from realm_telemetry.log import LogReader, LogWriter
from realm_telemetry.log.engine import open_log
from realm_telemetry.log.errors import LogReplacedError, LogUnavailableError

from .conftest import make_event


def messages(path: Path) -> list[str]:
    """What a new process finds."""
    with closing(sqlite3.connect(path)) as connection:
        return [row[0] for row in connection.execute("SELECT message FROM battle_log ORDER BY id")]


def backup(path: Path, to: Path) -> None:
    """Copy a log as `sqlite3 jobs.db ".backup ..."` does."""
    with closing(sqlite3.connect(path)) as source, closing(sqlite3.connect(to)) as target:
        source.backup(target)


def files(path: Path) -> list[Path]:
    return [each for end in ("", "-wal", "-shm") if (each := Path(f"{path}{end}")).exists()]


def delete(path: Path) -> None:
    for each in files(path):
        each.unlink()


def delete_only_the_file(path: Path) -> None:
    path.unlink()


def move(path: Path) -> None:
    for each in files(path):
        each.rename(each.with_name(f"old-{each.name}"))


def rename_the_directory(path: Path) -> None:
    path.parent.rename(path.parent.with_name("renamed"))


def put_a_copy(path: Path) -> None:
    """As `mv` puts a restored backup in place; the journals of the old file stay behind."""
    backup(path, path.with_name("copy.db"))
    path.with_name("copy.db").rename(path)


def put_a_copy_alone(path: Path) -> None:
    backup(path, path.with_name("copy.db"))
    delete(path)
    path.with_name("copy.db").rename(path)


SWAPS = [delete, delete_only_the_file, move, rename_the_directory, put_a_copy, put_a_copy_alone]


@pytest.mark.parametrize("swap", SWAPS, ids=lambda swap: swap.__name__)
def test_a_swapped_log_is_not_written(path: Path, swap: Callable[[Path], None]) -> None:
    log = open_log(path)
    with LogWriter(path) as writer, LogReader(path) as reader, closing(log.watch()) as watch:
        writer.append([make_event(1)])
        watch.changed()
        assert len(reader.now.after(0)) == 1
        swap(path)
        for use in (lambda: writer.append([make_event(2)]), reader.now.max_cursor, watch.changed):
            for _ in range(2):
                with pytest.raises(LogReplacedError, match="moved, deleted or replaced"):
                    use()
    with LogWriter(path) as again:
        again.append([make_event(2)])
        assert messages(path)[-1] == "Job 2 started"
        again.append([make_event(3)])
    kept = messages(path)
    assert kept[-2:] == ["Job 2 started", "Job 3 started"]
    assert kept[:-2] == (["Job 1 started"] if "copy" in swap.__name__ else [])


@pytest.mark.parametrize("lost", [("-wal",), ("-shm",), ("-wal", "-shm")])
def test_a_lost_journal_loses_nothing(path: Path, lost: tuple[str, ...]) -> None:
    with LogWriter(path) as writer:
        writer.append([make_event(number) for number in range(1, 50)])
        for end in lost:
            Path(f"{path}{end}").unlink()
        with pytest.raises(LogReplacedError, match="-wal or -shm file was removed"):
            writer.append([make_event(50)])
    with LogWriter(path) as again:
        again.append([make_event(50)])
        assert len(messages(path)) == 50
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)


def test_what_is_committed_into_a_moved_file_is_not_acknowledged(path: Path) -> None:
    """The move comes between the last look and the commit."""

    def commit_meanwhile(writer: LogWriter) -> None:
        with writer.transaction() as connection:
            connection.execute("INSERT INTO realm_meta VALUES ('mine', 1)")
            move(path)

    with LogWriter(path) as writer, pytest.raises(LogReplacedError):
        commit_meanwhile(writer)
    with closing(sqlite3.connect(path.with_name("old-jobs.db"))) as connection:
        assert connection.execute("SELECT 1 FROM realm_meta WHERE key = 'mine'").fetchone()


@pytest.fixture
def checkpointed(path: Path) -> Path:
    """A log whose file has all, and a backup of it beside, from when it had half."""
    with LogWriter(path) as writer:
        writer.append([make_event(number, message="x" * 5000) for number in range(1, 101)])
    shutil.copy(path, path.with_name("half.db"))
    with LogWriter(path) as writer:
        writer.append([make_event(number, message="x" * 5000) for number in range(101, 201)])
    return path


def test_a_log_that_is_cut_in_place_is_refused_until_a_person_has_mended_it(
    checkpointed: Path,
) -> None:
    path = checkpointed
    with LogWriter(path) as writer:
        with path.open("r+b") as file:
            file.truncate(path.stat().st_size // 2)
        for _ in range(2):
            with pytest.raises(LogUnavailableError, match="cut or overwritten in place"):
                writer.append([make_event(300)])
        delete(path)
        path.with_name("half.db").rename(path)
        with pytest.raises(LogReplacedError):
            writer.append([make_event(300)])
    with LogWriter(path) as again:
        again.append([make_event(300)])
    assert len(messages(path)) == 101


def test_older_content_in_the_same_inode_is_refused(checkpointed: Path) -> None:
    path = checkpointed
    with LogWriter(path) as writer:
        shutil.copyfile(path.with_name("half.db"), path)
        with pytest.raises(LogUnavailableError, match="cut or overwritten in place"):
            writer.append([make_event(300)])


def test_a_vacuum_is_not_taken_for_a_swap(checkpointed: Path) -> None:
    path = checkpointed
    with LogWriter(path) as writer, LogReader(path) as reader:
        assert reader.now.max_cursor() == 200
        with writer.transaction() as connection:
            connection.execute("DELETE FROM battle_log WHERE id < 190")
        size = path.stat().st_size
        with closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute("VACUUM")
            other.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        assert path.stat().st_size < size
        writer.append([make_event(300)])
        assert reader.now.max_cursor() == 201


def test_a_log_that_was_set_back_gets_a_new_id(path: Path) -> None:
    """Restored while nothing ran: what is derived from the log must not be taken for its own."""
    with LogWriter(path) as writer:
        first = writer.log_id
        writer.append([make_event(1)])
        backup(path, path.with_name("older.db"))
        writer.append([make_event(2)])
    with LogWriter(path) as writer:
        assert writer.log_id == first, "it was not set back"
    delete(path)
    path.with_name("older.db").rename(path)
    with LogWriter(path) as writer:
        second = writer.log_id
        assert second != first
        assert second[:16] == first[:16], "ids of older rows are made of it"
        writer.append([make_event(3)])
    with LogWriter(path) as writer, LogReader(path) as reader:
        assert writer.log_id == reader.log_id == second
        assert [row.event.number for row in reader.now.after(0)] == [1, 3]


def test_content_that_comes_back_through_sqlite_is_noticed(path: Path) -> None:
    """By a writer that has not written lately too."""
    with LogWriter(path) as writer, LogWriter(path) as other:
        writer.append([make_event(1)])
        backup(path, path.with_name("older.db"))
        writer.append([make_event(2)])
        backup(path.with_name("older.db"), path)
        for each in (writer, other, writer):
            with pytest.raises(LogReplacedError, match="replaced by an older"):
                each.append([make_event(3)])
        first = writer.log_id
    with LogWriter(path) as writer:
        assert writer.log_id != first
        writer.append([make_event(3)])
    assert messages(path) == ["Job 1 started", "Job 3 started"]


def test_rows_that_older_code_deletes_do_not_set_a_log_back(path: Path) -> None:
    with LogWriter(path) as writer:
        first = writer.log_id
        writer.append([make_event(number) for number in range(1, 5)])
        with closing(sqlite3.connect(path)) as older, older:
            older.execute("DELETE FROM battle_log")
        writer.append([make_event(5)])
    with LogWriter(path) as writer:
        assert writer.log_id == first
