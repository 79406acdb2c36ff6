"""A PostgreSQL server for tests: `postgres` itself as a child of this process, and reaped by it.

Not pg_ctl, which takes a killed server that nobody has reaped for alive.
"""

import ctypes
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

import pytest

from tests.ports import free_port
from tests.waiting import wait_until

HOW = "PostgreSQL's server is not installed; on Debian: apt-get install postgresql"
USER = "realm"
PASSWORD = "correct horse"  # of a server that only this test reaches

_PLACES = ("/usr/lib/postgresql", "/usr/pgsql", "/opt/homebrew/opt/postgresql")
_QUICK = {
    "fsync": "off",
    "full_page_writes": "off",
    "shared_buffers": "32MB",
    "max_wal_size": "64MB",
    "min_wal_size": "32MB",
    "max_connections": "100",
    "autovacuum_naptime": "10s",
    "lc_messages": "C",
    "logging_collector": "off",
}
_HBA = "local all all trust\nlocal replication all trust\nhost all all 127.0.0.1/32 scram-sha-256\n"


def binaries() -> Path:
    """The directory of the newest server that is installed; skips the test if there is none."""
    pytest.importorskip(
        "psycopg",
        reason="psycopg is not installed: pip install 'realm-telemetry[postgres]'",
        exc_type=ImportError,
    )
    found = shutil.which("postgres")
    if found and (Path(found).resolve().parent / "initdb").exists():
        return Path(found).resolve().parent
    places = [path for place in _PLACES for path in Path(place).glob("*/bin/initdb")]
    if not places:
        pytest.skip(HOW)
    return max(places, key=lambda path: float(path.parts[-3])).parent


def _quick_place() -> Path | None:
    """A directory in memory where there is plenty: each log of a test is a hundred small files."""
    shared = Path("/dev/shm")
    is_roomy = shared.is_dir() and shutil.disk_usage(shared).free > 4 * 2**30
    return shared if is_roomy and os.access(shared, os.W_OK) else None


def ordinary_user() -> dict[str, Any]:
    """Arguments of Popen: the server refuses root."""
    if os.getuid() != 0:
        return {}
    names = {entry.pw_name: entry for entry in pwd.getpwall()}
    entry = names.get("postgres") or names["nobody"]
    return {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}


def _dies_with_us() -> None:
    ctypes.CDLL(None).prctl(1, signal.SIGINT)


def _children(pid: int) -> list[int]:
    return [
        int(child)
        for task in Path(f"/proc/{pid}/task").iterdir()
        for child in (task / "children").read_text().split()
    ]


class Server:
    """One server with its data in a directory of its own.

    settings: beside those that make it quick; `fsync=on` where a crash is tested.
    place: where its directory is made. wal: a directory of its own for its WAL.
    """

    def __init__(
        self, *, place: Path | None = None, wal: Path | None = None, **settings: str
    ) -> None:
        self._bin = binaries()
        self._as = ordinary_user()
        place = place or _quick_place()
        self.directory = Path(tempfile.mkdtemp(prefix="realm-pg-", dir=place))
        self._wal = wal
        self.data = self.directory / "data"
        self.port = free_port()
        self._settings = _QUICK | settings
        self._process: subprocess.Popen[bytes] | None = None
        if self._as:
            for each in (self.directory, wal):
                if each is not None:
                    os.chown(each, self._as["user"], self._as["group"])

    def __enter__(self) -> Self:
        try:
            self._run(
                "initdb",
                "-D",
                str(self.data),
                "-U",
                USER,
                "-A",
                "trust",
                "-E",
                "UTF8",
                "--locale=C",
                "--no-sync",
                "--wal-segsize=1",
                *(() if self._wal is None else ("--waldir", str(self._wal))),
            )
            (self.data / "pg_hba.conf").write_text(_HBA)
            self.start()
            self.sql(f"ALTER USER {USER} PASSWORD '{PASSWORD}'")
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        # Its files are of no use any more, so it need not write them.
        self.kill()
        shutil.rmtree(self.directory, ignore_errors=True)

    def standby(self) -> "Server":
        """Return a started server that follows this one; the caller ends it."""
        other = Server(place=None, wal=None, **self._settings)
        try:
            other._run(
                "pg_basebackup",
                "-D",
                str(other.data),
                "-h",
                str(self.directory),
                "-p",
                str(self.port),
                "-U",
                USER,
                "-R",
                "-X",
                "stream",
                "-c",
                "fast",
                "--no-sync",
            )
            other.start()
        except BaseException:
            other.__exit__()
            raise
        return other

    def wait_for_standby(self) -> None:
        """Make commits wait for the standby, once it has everything."""
        self.sql("ALTER SYSTEM SET synchronous_standby_names = '*'", "SELECT pg_reload_conf()")
        state = "SELECT count(*) FROM pg_stat_replication WHERE sync_state = 'sync'"
        wait_until(lambda: self.sql(state) == [(1,)], explain=self.log)

    def fall_behind(self) -> None:
        """Let a standby hear nothing more of its primary."""
        self.sql("ALTER SYSTEM SET primary_conninfo = ''", "SELECT pg_reload_conf()")
        wait_until(lambda: not self.sql("SELECT pid FROM pg_stat_wal_receiver"))

    def promote(self) -> None:
        """Make a standby the primary, which waits for no standby of its own."""
        self.sql("ALTER SYSTEM SET synchronous_standby_names = ''", "SELECT pg_reload_conf()")
        self.sql("SELECT pg_promote(true, 60)")

    def start(self) -> None:
        """Start it and wait until it takes connections."""
        options = [f"-c{name}={value}" for name, value in self._settings.items()]
        with (self.directory / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [
                    str(self._bin / "postgres"),
                    "-D",
                    str(self.data),
                    "-p",
                    str(self.port),
                    "-k",
                    str(self.directory),
                    "-h",
                    "127.0.0.1",
                    *options,
                ],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd="/",
                start_new_session=True,
                preexec_fn=_dies_with_us,
                **self._as,
            )
        wait_until(self._is_up, explain=self.log)

    def _is_up(self) -> bool:
        import psycopg

        assert self._process is not None
        assert self._process.poll() is None, self.log()
        try:
            psycopg.connect(self.url("postgres"), connect_timeout=2).close()
        except psycopg.OperationalError:
            return False
        return True

    def has_ended(self) -> bool:
        """Whether it has ended by itself."""
        return self._process is not None and self._process.poll() is not None

    def stop(self) -> None:
        """End it in order."""
        self._end(signal.SIGINT)

    def kill(self) -> None:
        """End it and all its processes at once."""
        self._end(signal.SIGKILL)

    def _end(self, number: signal.Signals) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        if number == signal.SIGKILL:
            # Each of its processes has a group of its own, and ends what it does before it notices.
            children = _children(process.pid) if process.poll() is None else []
            process.kill()
            for pid in children:
                with suppress(ProcessLookupError):
                    os.kill(pid, number)
        else:
            process.send_signal(number)
        process.wait()

    def log(self) -> str:
        """The last that it said."""
        return (self.directory / "log").read_text(errors="replace")[-2000:]

    def url(self, database: str = "postgres", **params: str) -> str:
        """The URL through the socket, where everybody is trusted."""
        more = "".join(f"&{name}={value}" for name, value in params.items())
        return f"postgresql://{USER}@/{database}?host={self.directory}&port={self.port}{more}"

    def tcp_url(self, database: str = "postgres", password: str = "", **params: str) -> str:
        """The URL through TCP, where a password is asked for."""
        more = "&".join(f"{name}={value}" for name, value in params.items())
        secret = f":{password}" if password else ""
        return f"postgresql://{USER}{secret}@127.0.0.1:{self.port}/{database}" + (
            f"?{more}" if more else ""
        )

    def sql(self, *statements: str, database: str = "postgres") -> list[tuple[Any, ...]]:
        """Run statements; the rows of the last."""
        import psycopg

        with psycopg.connect(self.url(database), autocommit=True) as connection:
            cursor = connection.cursor()
            for statement in statements:
                cursor.execute(statement)
            return cursor.fetchall() if cursor.description else []

    def _run(self, program: str, *arguments: str) -> None:
        self.run([str(self._bin / program), *arguments])

    def run(self, command: Sequence[str]) -> None:
        """Run a program as the server's user."""
        done = subprocess.run(
            command, capture_output=True, text=True, cwd="/", check=False, **self._as
        )
        assert done.returncode == 0, done.stderr
