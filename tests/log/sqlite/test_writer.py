"""The file that a writer opens: where it may be, and the error for one that cannot be used."""

import os
import stat
from pathlib import Path
from typing import Any

import pytest

from realm_telemetry.errors import LogError
from realm_telemetry.log import LogWriter, ProducerInfo
from realm_telemetry.log.engine import open_log
from realm_telemetry.log.errors import LogRefusedError
from realm_telemetry.log.sqlite.connection import check_place

from .conftest import PRODUCER, make_event


def test_a_rolled_back_append_leaves_no_trace_in_the_numbers(writer: LogWriter) -> None:
    writer.register_producer(ProducerInfo(PRODUCER))
    with writer.transaction() as connection:
        connection.execute(
            "CREATE TRIGGER full BEFORE INSERT ON webhook_requests"
            " BEGIN SELECT RAISE(ABORT, 'full'); END"
        )
    with pytest.raises(LogRefusedError):
        writer.append([make_event(1, webhooks=("https://example.org",))])
    assert writer.append([make_event(1)]).stored == 1


def test_the_directory_is_private(writer: LogWriter) -> None:
    assert writer.path.parent.stat().st_mode & 0o777 == 0o700


def test_a_network_file_system_is_refused(tmp_path: Path) -> None:
    table = f"40 22 0:40 / {tmp_path} rw - nfs4 server:/home rw\n"
    with pytest.raises(LogError, match=r"network file system \(nfs4\).*REALM_HOME"):
        check_place(tmp_path / "jobs.db", mount_table=table)


def test_a_file_that_is_no_database_is_named_and_left_alone(path: Path) -> None:
    path.parent.mkdir()
    path.write_bytes(b"not a database" * 100)
    with pytest.raises(LogError, match=f"{path} is not an SQLite database.*Move it away"):
        LogWriter(path)
    assert path.read_bytes() == b"not a database" * 100


@pytest.mark.parametrize(
    ("put", "name"),
    [
        (Path.mkdir, "a directory"),
        (os.mkfifo, "a pipe"),
        (lambda path: path.symlink_to("/dev/zero"), "a device"),
        (lambda path: os.mknod(path, stat.S_IFSOCK | 0o600), "a socket"),
    ],
)
def test_what_is_no_file_is_named_at_once(path: Path, put: Any, name: str) -> None:
    """SQLite waits half a minute for a pipe, and speaks of the disk."""
    path.parent.mkdir()
    put(path)
    log = open_log(path)
    for use in (lambda: LogWriter(path), log.reader, lambda: log.check_writable(0.1)):
        with pytest.raises(LogError, match=f"{path} is {name}, where the log is to be.*REALM_HOME"):
            use()


def test_a_corrupt_database_says_what_to_do(writer: LogWriter) -> None:
    writer.append([make_event(number) for number in range(1, 1000)])
    writer.close()
    content = bytearray(writer.path.read_bytes())
    content[4096:] = b"\xa5" * (len(content) - 4096)
    writer.path.write_bytes(content)
    with pytest.raises(LogError, match=r"corrupt.*\.recover"):
        LogWriter(writer.path).append([make_event(1)])


def test_a_read_only_home_is_explained(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(LogError, match="cannot be made"):
        LogWriter(tmp_path / "file" / "vault" / "jobs.db")


def test_a_log_of_a_newer_version_is_refused(writer: LogWriter) -> None:
    with writer.transaction() as connection:
        connection.execute("UPDATE realm_meta SET value = 999 WHERE key = 'schema_version'")
    with pytest.raises(LogError, match="newer version"):
        LogWriter(writer.path)


@pytest.mark.parametrize("suffix", ["-writer.lock", "-writer.turnstile"])
@pytest.mark.parametrize("how", ["link", "pipe", "directory"])
def test_what_stands_in_the_place_of_a_lock_is_named_and_not_written_to(
    tmp_path: Path, suffix: str, how: str
) -> None:
    """Words are written into the lock: through a link, into a file of somebody else."""
    other = tmp_path / "other"
    other.write_text("precious")
    place = tmp_path / f"jobs.db{suffix}"
    if how == "link":
        place.symlink_to(other)
    elif how == "pipe":
        os.mkfifo(place)
    else:
        place.mkdir()
    with pytest.raises(LogError, match=f"{place.name} is no file; move it away"):
        LogWriter(tmp_path / "jobs.db").append([make_event(1)])
    assert other.read_text() == "precious"
