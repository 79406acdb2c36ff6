"""The target of `realm log move`: a log that comes into being beside the place where it is to be.

Until it is whole it lies in the schema `<schema>_moving`, where no service looks. The last step
renames it, in one transaction. So there is never half a log, and a move that was interrupted goes
on from the last row that was committed.
"""

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from math import inf
from typing import Any, ClassVar, Final

import msgspec

from realm_telemetry.errors import ConfigError
from realm_telemetry.event import FIRST_CONTENT_NUMBER, PROCESS_LOST_NUMBER
from realm_telemetry.log.errors import LogRefusedError, LogUnavailableError
from realm_telemetry.log.event_rows import Row
from realm_telemetry.log.postgres.columns import Group
from realm_telemetry.log.postgres.connection import Place, Session, Sessions, explained
from realm_telemetry.log.postgres.copied import COPY_EVENTS, copied_rows, range_text, stored
from realm_telemetry.log.postgres.log import PostgresLog
from realm_telemetry.log.postgres.schema import migrate, read_log_id, read_version
from realm_telemetry.log.postgres.texts import to_name
from realm_telemetry.log.ranges import Ranges
from realm_telemetry.log.records import HISTORY_PIPELINES, Moved

MOVING: Final = "_moving"
PARTS: Final = ("", "_addresses", "_webhooks")
"""The schemas of a log, by what follows its name."""

_LONGEST_NAME: Final = 63 - len(MOVING + "_addresses")
_LOCK: Final = 0x7265616C6F
_PATIENCE_S: Final = 15.0
"""The server may take so long to notice that whoever moved before was killed."""

_INDEXES: Final = """
SELECT indexname, indexdef FROM pg_indexes WHERE schemaname = ? AND tablename = 'events'
    AND indexname <> 'events_pkey' ORDER BY indexname"""
_UNIQUE: Final = "events_event_id_key"
_ADD_UNIQUE: Final = f"ALTER TABLE events ADD CONSTRAINT {_UNIQUE} UNIQUE (event_id)"
_SUMS: Final = "SELECT count(*), coalesce(sum(id), 0)::bigint, coalesce(min(id), 0) FROM events"
_IDS: Final = """
SELECT coalesce(sum(id), 0)::bigint, coalesce(string_agg(uuid_send(event_id), '' ORDER BY id), '')
FROM events WHERE id > ? AND id <= ?"""
_RELATIONS: Final = """
SELECT c.relname FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
WHERE n.nspname = ? AND c.relkind IN ('r', 'v', 'm', 'p', 'f')"""
_MOVED_PIPELINE: Final = "remote/"
_MOST_NUMBER: Final = FIRST_CONTENT_NUMBER - 2

_COLUMNS: Final = {
    "hours": ("realm_hourly_counts", "hour, group_id, happened, gone"),
    "run_hours": ("realm_run_counts", "hour, run_id, group_id, happened"),
    "producers": (
        "realm_producers",
        "producer, pipeline, resource_json, history, clock_offset_ns, numbers, lost, stored,"
        " emitted, dropped, ended, last_kind, last_step, last_time_unix_nano, origin",
    ),
    "cursors": ("realm_cursors", "pipeline, exporter, cursor"),
    "dead_letters": (
        "realm_dead_letters",
        "pipeline, exporter, cursor, event_id, reason, time_unix_nano",
    ),
    "requests": ("webhook_requests", "cursor, urls"),
    "kinds": ("realm_kinds", "kind, channel, severity, message, routine"),
    "jumps": ("realm_clock_jumps", "cursor, arrival_unix_nano"),
    "runs": ("realm_runs", "run_id, started, updated, status, command, through, record"),
    "curves_mark": ("realm_curves_mark", "log_id, mark"),
    "curves": ("realm_curves", "run_id, part, through, content, thin"),
}
_OUTBOX: Final = {
    "messages": (
        "message_id, scope, rule, title, target, url, events, body, state, attempts,"
        " due_unix_nano, created_unix_nano, settled_unix_nano, status, problem"
    ),
    "rule_states": "scope, rule, grouped, definition, state",
    "scopes": "scope, began_unix_nano",
    "seen": "scope, event_id",
    "replays": "scope, times",
    "circuits": "scope, pool, place, failures, until_unix_nano, reason",
    "mutes": "rule, until_unix_nano",
}


class MoveNote(msgspec.Struct):
    """What a log that is not whole yet knows of its move; in `realm_meta` under `move`.

    log_id: of the log that is moved. source_id: that the source has behind its seal. indexes:
    statements that make what was left out for speed. is_whole: whether all has been copied.
    """

    log_id: str
    source_id: str
    indexes: list[str]
    is_whole: bool = False


class MoveTarget:
    """A place in PostgreSQL that takes a log in. Raises ConfigError, LogUnavailableError."""

    answer_s: ClassVar[float] = 120.0  # the source may be held meanwhile

    def __init__(self, url: str) -> None:
        self._place = Place.parse(url)
        self.place = self._place.shown
        schema = self._place.schema
        if len(schema) > _LONGEST_NAME:
            problem = f"the schema {schema} has more than {_LONGEST_NAME} characters"
            raise ConfigError("--to", problem, "Give it a shorter name.")
        self._moving = msgspec.structs.replace(self._place, schema=schema + MOVING)
        self._groups: dict[Group, int] = {}
        self._note: MoveNote | None = None
        self._others = Sessions(self._moving)
        self._session = Session(self._moving, statement_s=None)
        try:
            with self._used() as session:
                _lock(session)
        except BaseException:
            self.close()
            raise

    @property
    def log(self) -> PostgresLog:
        """The log that comes into being, to be read and compared."""
        return PostgresLog(self._moving, redact=(), clock_ns=time.time_ns)

    def close(self) -> None:
        """Close the connection, and let others move."""
        self._others.close()
        self._session.close()

    @contextmanager
    def _used(self, within_s: float | None = None) -> Iterator[Session]:
        with explained(self._place), self._session.within(within_s or self.answer_s):
            yield self._session

    @contextmanager
    def _transaction(self, within_s: float | None = None) -> Iterator[Session]:
        with self._used(within_s) as session, session.transaction():
            yield session

    def check(self, log_id: str) -> bool:
        """Whether the log is at its place already, whole.

        Raises LogUnavailableError where another one, or anything else, is in the way.
        """
        with self._used() as session:
            standby, version = session.execute(
                "SELECT pg_is_in_recovery(), current_setting('default_transaction_read_only')"
            ).fetchone()
            if standby or version == "on":
                raise LogUnavailableError(
                    f"the server of the log {self.place} is a standby, which cannot be written",
                    "Name all servers in the URL, with target_session_attrs=read-write.",
                )
            return self._is_there(session, log_id)

    def _is_there(self, session: Session, log_id: str) -> bool:
        """Look at what is at the final place: the log, nothing, or an empty log."""
        schema = self._place.schema
        with _looking_at(session, schema):
            if session.execute(f"SELECT to_regclass('\"{schema}\".realm_meta')").fetchone()[0]:
                if read_log_id(session) == log_id:
                    return True
                (cursor,) = session.execute("SELECT cursor FROM realm_head").fetchone()
                (held,) = session.execute(
                    "SELECT count(*) FROM realm_leases WHERE until > clock_timestamp()"
                ).fetchone()
                if cursor:
                    raise LogUnavailableError(
                        f"there is a log at {self.place} already, with events up to {cursor:,}",
                        "Name another database, or another schema: ...?schema=NAME.",
                    )
                if held:
                    raise LogUnavailableError(
                        f"a service uses the empty log at {self.place}",
                        "Stop it; it may start again once the log is there.",
                    )
        names = {row[0] for row in session.execute(_RELATIONS, (schema,))}
        with _looking_at(session, schema + MOVING):
            known = {row[0] for row in session.execute(_RELATIONS, (schema + MOVING,))}
        if known and names - known:
            raise LogUnavailableError(
                f"the schema {schema} of {self.place} has tables that are not the log's"
                f" ({', '.join(sorted(names - known)[:3])})",
                "Name another schema: ...?schema=NAME.",
            )
        return False

    def begin(self, log_id: str, source_id: str) -> MoveNote:
        """Make the tables, or find those of a move of this log that was interrupted.

        source_id: that the source is to have behind its seal, if the move begins here.
        Raises LogUnavailableError where another log was on its way to this place.
        """
        with self._used() as session:
            migrate(session)
            note = self._read_note(session)
            if note is None:
                if session.execute("SELECT EXISTS (SELECT FROM events)").fetchone()[0]:
                    raise self._foreign("a log that no move has brought there")
                note = MoveNote(log_id, source_id, [])
                with session.transaction():
                    self._leave_indexes_out(session, note)
            elif note.log_id != log_id:
                raise self._foreign(f"half of the log {note.log_id}, which a move left there")
            rows = session.execute("SELECT kind, channel, severity, id FROM realm_groups")
            self._groups = {tuple(row[:3]): row[3] for row in rows}
        with self._used() as session:
            self._is_there(session, "")
        self._note = note
        return note

    def _foreign(self, what: str) -> LogUnavailableError:
        schema = self._moving.schema
        return LogUnavailableError(
            f"the schema {schema} of {self.place} has {what}",
            f'If it is of no use: DROP SCHEMA "{schema}" CASCADE; or name another schema.',
        )

    def _read_note(self, session: Session) -> MoveNote | None:
        row = session.execute("SELECT value FROM realm_meta WHERE key = 'move'").fetchone()
        return msgspec.json.decode(row[0], type=MoveNote) if row else None

    def _save_note(self, session: Session, note: MoveNote) -> None:
        session.execute(
            "INSERT INTO realm_meta VALUES ('move', ?)"
            " ON CONFLICT (key) DO UPDATE SET value = excluded.value",
            (msgspec.json.encode(note).decode(),),
        )
        session.execute("UPDATE realm_meta SET value = ? WHERE key = 'log_id'", (note.log_id,))

    def _leave_indexes_out(self, session: Session, note: MoveNote) -> None:
        found = session.execute(_INDEXES, (self._moving.schema,)).fetchall()
        for name, statement in found:
            if name == _UNIQUE:
                session.execute(f"ALTER TABLE events DROP CONSTRAINT {_UNIQUE}")
                note.indexes.append(_ADD_UNIQUE)
            else:
                session.execute(f'DROP INDEX "{name}"')
                note.indexes.append(statement)
        self._save_note(session, note)

    def last_cursor(self) -> int:
        """Return the cursor of the last row that was copied."""
        with self._used() as session:
            (cursor,) = session.execute("SELECT coalesce(max(id), 0) FROM events").fetchone()
        return int(cursor)

    def encoded(self, rows: Sequence[Row]) -> str:
        """Return rows, in the order of log.sqlite.rows.READ_COLUMNS, as `copy` takes them."""
        return copied_rows(rows, self._group_id)

    def copy(self, text: str) -> None:
        """Store encoded rows in one transaction; in another thread while more are encoded."""
        with self._transaction() as session:
            # `hold` syncs them all.
            session.execute("SET LOCAL synchronous_commit TO off")
            _copy(session, COPY_EVENTS, text)

    def _group_id(self, group: Group) -> int:
        """Return the number of a group, which is added over a connection of its own."""
        found = self._groups.get(group)
        if found is None:
            with self._others.one() as session:
                row = session.execute(
                    "INSERT INTO realm_groups (kind, channel, severity) VALUES (?, ?, ?)"
                    " ON CONFLICT (kind, channel, severity) DO UPDATE SET kind = excluded.kind"
                    " RETURNING id",
                    group,
                ).fetchone()
            found = self._groups[group] = int(row[0])
        return found

    def make_indexes(self) -> Iterator[str]:
        """Make the indexes that were left out, and yield the name of each before."""
        assert self._note is not None
        while self._note.indexes:
            statement = self._note.indexes[0]
            yield statement.split(" ON ")[0].rpartition(" ")[2]
            with self._transaction(inf) as session:
                session.execute("SET LOCAL maintenance_work_mem TO '256MB'")
                session.raw.execute(statement)
                self._note.indexes = self._note.indexes[1:]
                self._save_note(session, self._note)
        with self._used(inf) as session:
            session.execute("ANALYZE events")

    def sums(self) -> tuple[int, int, int]:
        """Return the number of rows, the sum of their cursors, and the lowest."""
        with self._used() as session:
            count, total, lowest = session.execute(_SUMS).fetchone()
        return count, total, lowest

    def ids(self, after: int, until: int) -> tuple[int, bytes]:
        """Return the sum of the cursors in a span, and the ids of its events in a row."""
        with self._used() as session:
            total, ids = session.execute(_IDS, (after, until)).fetchone()
        return total, bytes(ids)

    def cursors(self, after: int, limit: int) -> list[int]:
        """Return the cursors of rows behind a cursor."""
        query = "SELECT id FROM events WHERE id > ? ORDER BY id LIMIT ?"
        with self._used() as session:
            return [row[0] for row in session.execute(query, (after, limit))]

    def remove(self, *, below: int = 0, cursors: Sequence[int] = ()) -> None:
        """Remove rows that the source does not have any more."""
        with self._transaction() as session:
            query = "DELETE FROM events WHERE id < ? OR id = ANY(?::bigint[])"
            session.execute(query, (below, list(cursors)))

    def hold(
        self,
        tables: Mapping[str, Sequence[Row]],
        outbox: Mapping[str, Sequence[Row]] | None,
        addresses: Sequence[Row],
        head: tuple[int, int | None],
    ) -> None:
        """Store all that stands beside the rows, in the place of what was stored before; synced.

        tables: by the names of log.sqlite.departure.TABLES, and those of curves. head: cursor and
        arrival of the last row.
        """
        assert self._note is not None
        if outbox is not None:
            self.log.outbox("webhooks").close()  # makes its tables
        totals = [(self._id_of(row[:3]), *row[3:]) for row in tables["totals"]]
        made = {name: self._made(name, tables.get(name, ())) for name in _COLUMNS}
        with self._transaction() as session:
            _hold_totals(session, totals)
            for name, (table, columns) in _COLUMNS.items():
                _replace(session, table, columns, made[name])
            session.execute(
                "UPDATE realm_head SET cursor = ?, before = ?, arrival_unix_nano = ?",
                (head[0], head[0], head[1]),
            )
            for key, value in tables["meta"]:
                session.execute(
                    "INSERT INTO realm_meta VALUES (?, ?)"
                    " ON CONFLICT (key) DO UPDATE SET value = excluded.value",
                    (key, str(value)),
                )
            place = f'"{self._moving.schema}_addresses".addresses'
            _replace(session, place, "name, url, used_unix_nano", addresses)
            for name, rows in (outbox or {}).items():
                place = f'"{self._moving.schema}_webhooks".{name}'
                _replace(session, place, _OUTBOX[name], rows)

    def _made(self, name: str, rows: Sequence[Row]) -> list[Row]:
        """Return the rows of a table as they are stored here."""
        if name == "hours":
            return _added([(row[0], self._id_of(row[1:4])) for row in rows], rows, 4)
        if name == "run_hours":
            keys = [(row[0], to_name(row[1]), self._id_of(row[2:5])) for row in rows]
            return _added(keys, rows, 5)
        if name == "producers":
            return [self._producer(row) for row in rows]
        if name in ("runs", "curves"):
            return [(to_name(row[0]), *row[1:]) for row in rows]
        return list(rows)

    def _id_of(self, group: Sequence[str]) -> int:
        kind, channel, severity = group
        return self._group_id((to_name(kind), to_name(channel), to_name(severity)))

    def _producer(self, row: Row) -> Row:
        """Return a producer; one of the source's own host is a sender's from now on."""
        assert self._note is not None
        producer, pipeline, resource, history, offset, done, count, *others, origin = row
        numbers, is_lost = None, False
        if done:
            pairs = Ranges.load(done).pairs()
            numbers = range_text(pairs, _MOST_NUMBER)
            is_lost = any(end == PROCESS_LOST_NUMBER for _, end in pairs)
            if not pipeline.startswith(_MOVED_PIPELINE) and pipeline not in HISTORY_PIPELINES:
                pipeline, origin, history = (
                    _MOVED_PIPELINE + pipeline,
                    self._note.source_id,
                    True,
                )
        emitted, dropped, ended, kind, step, time_unix_nano = others
        return (
            producer,
            pipeline,
            resource,
            int(bool(history)),
            offset,
            numbers,
            is_lost,
            count,
            emitted,
            dropped,
            bool(ended),
            kind,
            step,
            time_unix_nano,
            origin,
        )

    def note_whole(self) -> None:
        """Note that all has been copied; from here on the source may be sealed. Synced."""
        assert self._note is not None
        self._note.is_whole = True
        with self._transaction() as session:
            self._save_note(session, self._note)

    def finish(self, log_id: str) -> None:
        """Put the log that is whole in its place."""
        with self._transaction() as session:
            note = self._read_note(session) if read_version(session) else None
            if note is None or note.log_id != log_id or not note.is_whole:
                raise LogUnavailableError(
                    f"the log that was moved is not at {self.place}",
                    "Name the place that `realm log status` says it went to.",
                )
            if self._is_there(session, log_id):
                raise LogUnavailableError(f"the log is at {self.place} twice")
            session.execute("DELETE FROM realm_meta WHERE key = 'move'")
            for part in PARTS:
                name, moving = self._place.schema + part, self._moving.schema + part
                session.execute(f'DROP SCHEMA IF EXISTS "{name}" CASCADE')
                (is_there,) = session.execute(
                    "SELECT EXISTS (SELECT FROM pg_namespace WHERE nspname = ?)", (moving,)
                ).fetchone()
                if is_there:
                    session.execute(f'ALTER SCHEMA "{moving}" RENAME TO "{name}"')

    def held_events(self) -> int:
        """Return how many events the log in its place has."""
        with PostgresLog(self._place, redact=(), clock_ns=time.time_ns).reader() as reader:
            return sum(reader.now.happened().values())

    def moved(self, cursor: int) -> Moved:
        """Return what the source keeps of the move."""
        assert self._note is not None
        return Moved(self.place, self._note.log_id, cursor)


def _lock(session: Session) -> None:
    """Keep out a second move to the same server, until the connection ends."""
    deadline_s = time.monotonic() + _PATIENCE_S
    while not session.execute("SELECT pg_try_advisory_lock(?)", (_LOCK,)).fetchone()[0]:
        if time.monotonic() > deadline_s:
            raise LogUnavailableError(
                f"another `realm log move` to {session.place.shown} is at work", "Wait for it."
            )
        time.sleep(0.1)


@contextmanager
def _looking_at(session: Session, schema: str) -> Iterator[None]:
    session.execute(f'SET search_path TO "{schema}"')
    try:
        yield
    finally:
        if session.raw.info.transaction_status.name != "INERROR":
            session.execute(f'SET search_path TO "{session.place.schema}"')


def _copy(session: Session, statement: str, text: str) -> None:
    try:
        raw = text.encode()
    except UnicodeEncodeError as error:
        raise LogRefusedError(str(error)) from error
    with session.raw.cursor() as cursor, cursor.copy(statement) as copy:
        copy.write(raw)


def _hold_totals(session: Session, totals: Sequence[Row]) -> None:
    session.execute("UPDATE realm_groups SET happened = 0, gone = 0")
    for group, happened, gone in totals:
        session.execute(
            "UPDATE realm_groups SET happened = happened + ?, gone = gone + ? WHERE id = ?",
            (happened, gone, group),
        )


def _replace(session: Session, table: str, columns: str, rows: Sequence[Row]) -> None:
    session.execute(f"DELETE FROM {table}")
    with (
        session.raw.cursor() as cursor,
        cursor.copy(f"COPY {table} ({columns}) FROM STDIN") as copy,
    ):
        for row in rows:
            copy.write_row([stored(value) for value in row])


def _added(keys: Sequence[tuple[Any, ...]], rows: Sequence[Row], at: int) -> list[Row]:
    """Return one row for each key, with what its rows count from a column on."""
    sums: dict[tuple[Any, ...], list[int]] = {}
    for key, row in zip(keys, rows, strict=True):
        counts = sums.setdefault(key, [0] * (len(row) - at))
        for index, value in enumerate(row[at:]):
            counts[index] += value
    return [(*key, *counts) for key, counts in sums.items()]
