"""SQLite as the engine of the log: one file, with a few others beside it."""

import sqlite3
from collections.abc import Callable, Sequence
from contextlib import closing, suppress
from pathlib import Path

from realm_telemetry.home import CURVES, METRICS, SEARCH_INDEX, STATE, WEBHOOKS
from realm_telemetry.log.engine import Log, Writer
from realm_telemetry.log.errors import LogUnavailableError
from realm_telemetry.log.maintenance import Retention as RetentionProtocol
from realm_telemetry.log.records import Concern, Description, Limits, OddRows, SideFile
from realm_telemetry.log.snapshots import SnapshotName
from realm_telemetry.log.sqlite.addresses import Addresses, addresses_path
from realm_telemetry.log.sqlite.connection import check_file, explained, open_reader
from realm_telemetry.log.sqlite.curves import CurveFile
from realm_telemetry.log.sqlite.identity import OpenFiles, inode_of
from realm_telemetry.log.sqlite.inspection import damaged_pages, odd_rows, side_files
from realm_telemetry.log.sqlite.lock import FileLease, lock_path, try_turn
from realm_telemetry.log.sqlite.outbox import OutboxFile
from realm_telemetry.log.sqlite.reader import LogReader
from realm_telemetry.log.sqlite.retention import Retention
from realm_telemetry.log.sqlite.schema import SCHEMA_VERSION, read_moved, read_version
from realm_telemetry.log.sqlite.search import SearchIndex
from realm_telemetry.log.sqlite.snapshots import MetricsSnapshots, SnapshotStore, StateSnapshots
from realm_telemetry.log.sqlite.upkeep import Upkeep, UpkeepClaim
from realm_telemetry.log.sqlite.writer import LogWriter, own_writer
from realm_telemetry.values.file_watch import MODIFIED, MOVED, TOUCHED, FileWatch


class SqliteLog:
    """The log in one file; see log.engine.Log."""

    def __init__(
        self,
        path: Path,
        *,
        home: Path | None,
        search_path: Path | None,
        state_path: Path | None,
        redact: Sequence[str],
        clock_ns: Callable[[], int],
    ) -> None:
        self.path = path
        self._redact = redact
        self.place = str(path)
        self._data = (addresses_path(path) if home is None else home / WEBHOOKS).parent
        self._search_path = search_path or path.with_name(Path(SEARCH_INDEX).name)
        self._state_path = state_path or self._data / Path(STATE).name
        self._clock_ns = clock_ns

    def exists(self) -> bool:
        """Whether there is a log yet; the first writer makes it."""
        return self.path.exists()

    def identity(self) -> object:
        """Return device and inode of the file; None if it is gone."""
        return inode_of(self.path)

    def describe(self) -> Description:
        """Return where the log is and how large; it must exist."""
        with explained(self.path), closing(open_reader(self.path)) as connection:
            version, moved = read_version(connection), read_moved(connection)
        size_bytes = sum(_size(Path(f"{self.path}{end}")) for end in ("", "-wal"))
        durability = "each commit is synced to disk"
        return Description(self.place, size_bytes, durability, version, SCHEMA_VERSION, moved)

    def concerns(self) -> list[Concern]:
        """Return nothing: the checks of the home look at the disk."""
        return []

    def abandon(self) -> None:
        """Do nothing: there is no server."""

    def integrity(self, timeout_s: float | None) -> list[str] | None:
        """Run SQLite's quick_check within the time, or its integrity_check to its end."""
        return damaged_pages(self.path, timeout_s)

    def odd_rows(self, timeout_s: float | None) -> OddRows:
        """Read rows, newest first, and return which of them cannot be read whole."""
        return odd_rows(self.path, timeout_s)

    def side_files(self, timeout_s: float) -> list[SideFile]:
        """Check the files of the index, the snapshots and the webhooks."""
        beside = [self._state_path.with_name(Path(name).name) for name in (METRICS, CURVES)]
        data = (*beside, self._outbox_path("webhooks"))
        paths = (self._search_path, self._state_path, *data, addresses_path(self.path))
        return list(side_files(paths, timeout_s))

    def check_writable(self, timeout_s: float) -> None:
        """Wait for the writer lock and for SQLite's own, and give both back."""
        check_file(self.path)
        with explained(self.path, files=True):
            is_free = try_turn(self.path, timeout_s)
        if not is_free:
            raise LogUnavailableError(
                f"one of our processes has held the log for over {timeout_s:g} s",
                f"Find it with: fuser {lock_path(self.path)}",
            )
        with (
            explained(self.path),
            closing(sqlite3.connect(self.path, timeout=timeout_s, isolation_level=None)) as other,
        ):
            other.execute("BEGIN IMMEDIATE")
            other.execute("ROLLBACK")

    def reader(self) -> LogReader:
        """Open the file for reading. It must exist.

        The last step of the schema is made here where it is missing: a person who has upgraded
        looks first.
        """
        if self.exists() and self._schema() == SCHEMA_VERSION - 1:
            self.writer().close()
        return LogReader(self.path, search_path=self._search_path, clock_ns=self._clock_ns)

    def _schema(self) -> int:
        with explained(self.path), closing(open_reader(self.path)) as connection:
            return read_version(connection)

    def writer(self) -> LogWriter:
        """Open the file for writing; makes it, or brings it up to date."""
        return LogWriter(self.path, redact=self._redact, clock_ns=self._clock_ns)

    def watch(self) -> "DataVersionWatch":
        """Open a watch that notices the commits of others."""
        return DataVersionWatch(self.path)

    def addresses(self) -> Addresses:
        """Return the webhook addresses that events name."""
        return Addresses(addresses_path(self.path))

    def outbox(self, name: str) -> OutboxFile:
        """Open `data/<name>.db`; makes it if need be."""
        return OutboxFile(self._outbox_path(name))

    def has_outbox(self, name: str) -> bool:
        """Whether `data/<name>.db` was made."""
        return self._outbox_path(name).exists()

    def snapshots(
        self, name: SnapshotName, log_id: str, *, version: int = 0, reader: str = ""
    ) -> SnapshotStore:
        """Return where snapshots of a fold are: a file of RealmState's, and one of metrics."""
        if name == "state":
            return StateSnapshots(self._state_path, log_id, version)
        path = self._state_path.with_name(Path(METRICS).name)
        return MetricsSnapshots(path, log_id, reader)

    def curves(self, log_id: str) -> CurveFile:
        """Return where the curves of runs are: a file beside RealmState's."""
        return CurveFile(self._state_path.with_name(Path(CURVES).name), log_id)

    def hosts(self) -> None:
        """Return None: one service has the log, and keeps what it hears to itself."""

    def lease(self, name: str) -> FileLease:
        """Return the lease of a name, a lock of `data/<name>.lock`; not held yet."""
        return FileLease(self._data / f"{name}.lock")

    def retention(self, writer: Writer, limits: Limits) -> Retention:
        """Return what trims the log through a writer of it."""
        return Retention(own_writer(writer), limits, clock_ns=self._clock_ns)

    def upkeep_claim(self, by: str, *, first: bool = False) -> UpkeepClaim:
        """Return one process's claim to do the upkeep; not held yet."""
        return UpkeepClaim(by, first=first, clock_ns=self._clock_ns)

    def upkeep(
        self,
        limits: Limits,
        retain: Callable[[RetentionProtocol], bool],
        *,
        interval_s: float,
    ) -> Upkeep:
        """Return the upkeep of the log."""
        return Upkeep(
            SearchIndex(self.path, self._search_path),
            limits,
            retain,
            interval_s=interval_s,
            clock_ns=self._clock_ns,
        )

    def _outbox_path(self, name: str) -> Path:
        return self._data / f"{name}.db"


class DataVersionWatch:
    """Asks SQLite whether another connection has committed.

    `PRAGMA data_version` on a connection changes then; it costs 3 us, and 4 more to see that the
    file is still the log.
    """

    waits = False

    def __init__(self, path: Path) -> None:
        self._path = path
        self._connection = open_reader(path)
        self._looked = -1
        self._caught_up = -1
        self._files: OpenFiles | None = None
        self._journal: FileWatch | None = None

    def changed(self) -> bool:
        """Whether there may be rows that came after the last `caught_up`."""
        with explained(self._path, files=True):
            self._looked = self._connection.execute("PRAGMA data_version").fetchone()[0]
            if self._files is None:
                self._files = OpenFiles(self._path)
            else:
                self._files.check(self._connection)
        return self._looked != self._caught_up

    def caught_up(self) -> None:
        """All rows up to the last call of `changed` were read."""
        # Not the version of now: a commit between the two must show at the next look.
        self._caught_up = self._looked

    def epoch(self) -> object:
        """Return nothing: a file has no standby."""
        return None

    def descriptor(self) -> int | None:
        """A watch of the log's journal, where a commit is written before it can be seen."""
        if self._journal is None:
            # Its end, too: what it has is rescued before others begin a new one.
            with suppress(OSError):  # no more watches are allowed: who polls goes on
                path = Path(f"{self._path}-wal")
                self._journal = FileWatch(path, MODIFIED | TOUCHED | MOVED)
        return None if self._journal is None else self._journal.descriptor

    def drain(self) -> bool:
        """Let the descriptor be quiet until the next write; whether it was not."""
        return self._journal is not None and self._journal.drain()

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()
        if self._journal is not None:
            self._journal.close()


def open_log(
    place: str,
    *,
    home: Path | None,
    search_path: Path | None,
    state_path: Path | None,
    redact: Sequence[str],
    clock_ns: Callable[[], int],
) -> Log:
    """Return the log in a file."""
    return SqliteLog(
        Path(place),
        home=home,
        search_path=search_path,
        state_path=state_path,
        redact=redact,
        clock_ns=clock_ns,
    )


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0
