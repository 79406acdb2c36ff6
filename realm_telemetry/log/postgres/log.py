"""PostgreSQL as the engine of the log."""

from collections.abc import Callable, Sequence
from pathlib import Path

from realm_telemetry.errors import ConfigError
from realm_telemetry.log.engine import Log, Writer
from realm_telemetry.log.errors import LogUnavailableError
from realm_telemetry.log.maintenance import Retention as RetentionProtocol
from realm_telemetry.log.postgres.addresses import Addresses
from realm_telemetry.log.postgres.connection import Place, Sessions
from realm_telemetry.log.postgres.curves import CurveTable
from realm_telemetry.log.postgres.deadline import give_up
from realm_telemetry.log.postgres.hosts import Hosts
from realm_telemetry.log.postgres.outbox import Outbox, outbox_schema
from realm_telemetry.log.postgres.reader import LogReader
from realm_telemetry.log.postgres.retention import Retention
from realm_telemetry.log.postgres.schema import SCHEMA_VERSION, read_log_id, read_version
from realm_telemetry.log.postgres.snapshots import Snapshots
from realm_telemetry.log.postgres.standing import concerns
from realm_telemetry.log.postgres.upkeep import RowLease, Upkeep, UpkeepClaim
from realm_telemetry.log.postgres.watch import Watch
from realm_telemetry.log.postgres.writer import LogWriter, own_writer
from realm_telemetry.log.records import Concern, Description, Limits, OddRows, SideFile
from realm_telemetry.log.snapshots import SnapshotName

_RELATIONS = (
    "SELECT coalesce(sum(pg_total_relation_size(c.oid)), 0)::bigint FROM pg_class AS c"
    " JOIN pg_namespace AS n ON n.oid = c.relnamespace WHERE n.nspname = ? AND c.relkind = 'r'"
)


class PostgresLog:
    """The log in a schema of a database; see log.engine.Log."""

    def __init__(self, place: Place, *, redact: Sequence[str], clock_ns: Callable[[], int]) -> None:
        self._place = place
        self._redact = redact
        self._clock_ns = clock_ns
        self._sessions = Sessions(place, keep=False)
        self.place = place.shown

    def exists(self) -> bool:
        """Whether there is a log yet; the first writer makes it."""
        with self._sessions.one() as session:
            return read_version(session) > 0

    def identity(self) -> object:
        """Return the log's id and the epoch of its head; None if it is gone or out of reach."""
        try:
            with self._sessions.one() as session:
                if read_version(session) == 0:
                    return None
                (epoch,) = session.execute("SELECT epoch FROM realm_head").fetchone()
                return read_log_id(session), epoch
        except LogUnavailableError:
            return None

    def describe(self) -> Description:
        """Return where the log is and how large; it must exist."""
        with self._sessions.one() as session:
            version = read_version(session)
            (size,) = session.execute(_RELATIONS, (self._place.schema,)).fetchone()
            server, names, commit, standby = session.execute(
                "SELECT current_setting('server_version'),"
                " current_setting('synchronous_standby_names'),"
                " current_setting('synchronous_commit'), pg_is_in_recovery()"
            ).fetchone()
        durability = f"PostgreSQL {server}, "
        if standby:
            durability += "a standby, which is only read"
        elif commit == "off":
            durability += "commits are answered before they are on disk (synchronous_commit = off)"
        elif names and commit != "local":
            durability += "each commit is on disk here and at a standby"
        else:
            durability += "each commit is synced to its disk; no synchronous standby"
        return Description(self.place, size, durability, version, SCHEMA_VERSION)

    def concerns(self) -> list[Concern]:
        """Return what is wrong with the server and its standbys."""
        with self._sessions.one() as session:
            return list(concerns(session))

    def abandon(self) -> None:
        """Shut the connections down that wait for an answer."""
        give_up(self._place.shown)

    def integrity(self, timeout_s: float | None) -> list[str] | None:
        """Return nothing: the server checks its pages, with checksums where they are on."""
        return []

    def odd_rows(self, timeout_s: float | None) -> OddRows:
        """Return none: the server holds each column to its type."""
        return OddRows(is_complete=True)

    def side_files(self, timeout_s: float) -> list[SideFile]:
        """Return none: everything is in the database."""
        return []

    def check_writable(self, timeout_s: float) -> None:
        """Lock the head as an append does, and give it back."""
        with self._sessions.one() as session, session.transaction():
            session.execute(
                "SELECT set_config('lock_timeout', ?, true)", (f"{timeout_s * 1000:.0f}",)
            )
            session.execute("SELECT cursor FROM realm_head FOR UPDATE")

    def reader(self) -> LogReader:
        """Open the log for reading. It must exist."""
        return LogReader(self._place, clock_ns=self._clock_ns)

    def writer(self) -> LogWriter:
        """Open the log for writing; makes it, or brings it up to date."""
        return LogWriter(self._place, redact=self._redact, clock_ns=self._clock_ns)

    def watch(self) -> Watch:
        """Open a watch that notices the commits of others."""
        return Watch(self._place)

    def addresses(self) -> Addresses:
        """Return the webhook addresses that events name."""
        return Addresses(self._place)

    def outbox(self, name: str) -> Outbox:
        """Open an outbox; makes it if need be."""
        return Outbox(self._place, name)

    def has_outbox(self, name: str) -> bool:
        """Whether the schema of the outbox was made."""
        with self._sessions.one() as session:
            schema = outbox_schema(self._place, name)
            (there,) = session.execute(
                "SELECT to_regclass(?) IS NOT NULL", (f'"{schema}".mutes',)
            ).fetchone()
            return bool(there)

    def snapshots(
        self, name: SnapshotName, log_id: str, *, version: int = 0, reader: str = ""
    ) -> Snapshots:
        """Return where snapshots of a fold are."""
        return Snapshots(self._sessions, name, reader, log_id, version)

    def curves(self, log_id: str) -> CurveTable:
        """Return where the curves of runs are."""
        return CurveTable(self._sessions, log_id)

    def hosts(self) -> Hosts:
        """Return where services say what they hear from hosts."""
        return Hosts(self._place)

    def lease(self, name: str) -> RowLease:
        """Return the lease of a name; not held yet."""
        return RowLease(self._sessions, self.place, name)

    def retention(self, writer: Writer, limits: Limits) -> Retention:
        """Return what trims the log through a writer of it."""
        return Retention(own_writer(writer), limits, clock_ns=self._clock_ns)

    def upkeep_claim(self, by: str, *, first: bool = False) -> UpkeepClaim:
        """Return one process's claim to do the upkeep; not held yet."""
        return UpkeepClaim(by, first=first)

    def upkeep(
        self,
        limits: Limits,
        retain: Callable[[RetentionProtocol], bool],
        *,
        interval_s: float,
    ) -> Upkeep:
        """Return the upkeep of the log."""
        return Upkeep(limits, retain, interval_s=interval_s, clock_ns=self._clock_ns)


def open_log(
    place: str,
    *,
    home: Path | None,
    search_path: Path | None,
    state_path: Path | None,
    redact: Sequence[str],
    clock_ns: Callable[[], int],
) -> Log:
    """Return the log of a database; the paths are of no use here.

    Raises ConfigError for a URL that libpq cannot read, and where psycopg is missing.
    """
    if not place:
        raise ConfigError("the log", "the URL names no server", "Write postgresql://host/database")
    return PostgresLog(Place.parse(f"postgresql://{place}"), redact=redact, clock_ns=clock_ns)
