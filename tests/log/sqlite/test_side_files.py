"""Files beside the log: whatever is wrong with one, the log goes on and a person is told."""

import errno
import os
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from realm_telemetry.home import METRICS, SEARCH_INDEX, STATE, WEBHOOK_ADDRESSES, WEBHOOKS
from realm_telemetry.log.engine import Log, open_log
from realm_telemetry.log.errors import LogUnavailableError
from realm_telemetry.log.filters import Filters
from realm_telemetry.log.snapshots import FoldSnapshot
from realm_telemetry.log.sqlite.log import SqliteLog
from realm_telemetry.log.sqlite.search import SearchIndex
from realm_telemetry.log.sqlite.side_files import damaged_copies, is_damaged

from .conftest import make_event

HOOK = "https://example.org/hook"
FILES = (SEARCH_INDEX, STATE, METRICS, WEBHOOKS, WEBHOOK_ADDRESSES)


def other_tables(path: Path) -> None:
    """A database of some other program, or of another version of this one."""
    with closing(sqlite3.connect(path)) as connection:
        for table in (
            *("search_meta", "event_text", "realm_snapshot", "realm_measures", "messages"),
            "addresses",
        ):
            connection.execute(f"CREATE TABLE {table} (other TEXT)")
        connection.commit()


def truncate(path: Path) -> None:
    """The beginning of a database."""
    other_tables(path)
    os.truncate(path, 5000)


def zero_pages(path: Path) -> None:
    """A database whose pages behind the header are gone."""
    other_tables(path)
    with path.open("r+b") as file:
        file.seek(100)
        file.write(bytes(path.stat().st_size - 100))


def nowhere(path: Path) -> None:
    """A link to a directory that is not there."""
    path.symlink_to(path.parent / "missing" / "file")


DAMAGES: dict[str, Callable[[Path], object]] = {
    "garbage": lambda path: path.write_bytes(b"garbage" * 1000),
    "text": lambda path: path.write_text("short"),
    "truncated": truncate,
    "zeroed": zero_pages,
    "other tables": other_tables,
    "a directory": lambda path: (path / "inside").mkdir(parents=True),
    "a link to nowhere": nowhere,
    "a directory for its WAL": lambda path: Path(f"{path}-wal").mkdir(),
}
HARMLESS: dict[str, Callable[[Path], object]] = {
    "empty": lambda path: path.touch(),
    "a WAL without its file": lambda path: Path(f"{path}-wal").write_bytes(b"garbage" * 100),
}


@pytest.fixture
def home(tmp_path: Path) -> Path:
    for name in ("vault", "data"):
        (tmp_path / name).mkdir(mode=0o700)
    return tmp_path


@pytest.fixture
def own_log(home: Path) -> Log:
    return open_log(home / "vault" / "jobs.db", home=home)


def use(log: Log, home: Path) -> None:
    """Store and read through every file that stands beside the log."""
    with log.writer() as writer, log.reader() as reader:
        writer.append([make_event(1, webhooks=(HOOK,)), make_event(2)])
        index = SearchIndex(home / "vault" / "jobs.db", home / SEARCH_INDEX)
        assert len(reader.now.page(Filters(q="started")).rows) == 2
        assert index.index_step() == 2
        assert index.indexed_through(reader.log_id) == 2
        assert len(reader.now.page(Filters(q="started")).rows) == 2
        assert [row.event.webhooks for row in reader.now.after(0, webhooks=True)] == [(HOOK,), ()]
        for snapshots in (
            log.snapshots("state", reader.log_id, version=1),
            log.snapshots("metrics", reader.log_id, reader="r"),
        ):
            assert snapshots.load() is None
            assert snapshots.save(FoldSnapshot(2, b"x")) == 2
            assert snapshots.load() == FoldSnapshot(2, b"x")
        outbox = log.outbox("webhooks")
        outbox.take("scope", [("scope", "e1")], [], [])
        assert outbox.unseen("scope", ["e1", "e2"]) == {"e2"}
        outbox.close()
        writer.forget_addresses()


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
@pytest.mark.parametrize("name", FILES)
def test_a_damaged_file_is_renamed_and_made_anew(
    name: str,
    damage: Callable[[Path], object],
    home: Path,
    own_log: Log,
    capfd: pytest.CaptureFixture[str],
) -> None:
    damage(home / name)
    with own_log.writer():
        pass
    (before,) = (file for file in own_log.side_files(5) if file.problem or damage is other_tables)
    assert before.place == str(home / name)
    use(own_log, home)
    (kept,) = damaged_copies(home / name)
    assert kept.name.startswith(f"{Path(name).name}.damaged-")
    assert f"{home / name} could not be used" in capfd.readouterr().err
    assert {file.place for file in own_log.side_files(5) if not file.problem} == {
        str(home / each) for each in FILES
    }


@pytest.mark.parametrize("damage", HARMLESS.values(), ids=HARMLESS)
@pytest.mark.parametrize("name", FILES)
def test_what_is_merely_empty_is_used(
    name: str, damage: Callable[[Path], object], home: Path, own_log: Log
) -> None:
    damage(home / name)
    use(own_log, home)
    assert not list(home.glob("*/*.damaged-*"))


@pytest.mark.parametrize("name", [WEBHOOKS, SEARCH_INDEX])
def test_damage_under_a_running_process_is_mended_by_it(
    name: str, home: Path, own_log: Log
) -> None:
    """At the next use but one at the latest."""
    use(own_log, home)
    outbox = own_log.outbox("webhooks")
    for ending in ("-wal", "-shm"):
        Path(f"{home / name}{ending}").unlink(missing_ok=True)
    zero_pages_behind_header(home / name)
    with own_log.reader() as reader:
        assert len(reader.now.page(Filters(q="started")).rows) == 2
    try:
        outbox.take("scope", [("scope", "e3")], [], [])
    except LogUnavailableError:
        outbox.take("scope", [("scope", "e3")], [], [])
    outbox.close()
    SearchIndex(home / "vault" / "jobs.db", home / SEARCH_INDEX).index_step()
    assert all(not file.problem for file in own_log.side_files(5) if "damaged" not in file.place)


@pytest.mark.parametrize("step", ["rename", "touch"])
def test_a_repair_that_fails_is_tried_again_at_the_next_use(
    step: str, home: Path, own_log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A disk that is full for a moment costs no message: each error says to try again."""

    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    outbox = own_log.outbox("webhooks")
    outbox.began_ns("scope", 1)
    overwrite(home / WEBHOOKS)
    with monkeypatch.context() as patched:
        patched.setattr(Path, step, full)
        for _ in range(3):
            with pytest.raises(LogUnavailableError):
                outbox.began_ns("scope", 2)
    assert outbox.began_ns("scope", 3) == 3
    assert len(damaged_copies(home / WEBHOOKS)) == 1
    outbox.close()
    with pytest.raises(LogUnavailableError, match="closed"):
        outbox.began_ns("scope", 4)


def overwrite(path: Path) -> None:
    """Another program writes over a file that is open here."""
    with closing(sqlite3.connect(path)) as other:
        other.execute("PRAGMA user_version = 1")
        other.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    path.write_bytes(b"\xff" * path.stat().st_size)


def zero_pages_behind_header(path: Path) -> None:
    with path.open("r+b") as file:
        file.seek(4096)
        file.write(b"\xff" * (path.stat().st_size - 4096))


def test_a_file_that_is_locked_is_not_renamed(home: Path, own_log: Log) -> None:
    """Nor one on a full disk: such errors pass."""
    use(own_log, home)
    with closing(sqlite3.connect(home / STATE, isolation_level=None)) as other:
        other.execute("PRAGMA locking_mode = EXCLUSIVE")
        other.execute("BEGIN EXCLUSIVE")
        (locked,) = (file for file in own_log.side_files(5) if file.problem)
        assert "locked" in locked.problem
        assert "fuser" in locked.fix
    for code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR):
        error = sqlite3.OperationalError("no such luck")
        error.sqlite_errorcode = code
        assert not is_damaged(home / STATE, error)
    error = sqlite3.OperationalError("unable to open database file")
    error.sqlite_errorcode = sqlite3.SQLITE_CANTOPEN  # out of descriptors, say
    assert not is_damaged(home / STATE, error)


def test_a_log_is_of_this_engine(own_log: Log) -> None:
    assert isinstance(own_log, SqliteLog)
