"""The log's tables, indexes and triggers, and the ordered migrations that make them.

The older `battle_log` is created first and then extended, in a new file as in an old one, so
that there is one shape. Every index is partial: on an older table of millions of rows it is then
made without an entry for rows that are not filled in yet. Each migration is recorded in the
transaction that applies it.

Two versions stand in `realm_meta`. `schema_revision` is the newest migration that was applied.
`schema_version` is the oldest schema whose code may still write: the minimum-writer version, under
the name that version 0.1.0 looks at (docs/decisions/0101-the-oldest-code-that-may-write.md).
"""

import secrets
import sqlite3
from collections.abc import Callable, Sequence
from typing import Final

import msgspec

from realm_telemetry.log.errors import LogUnavailableError
from realm_telemetry.log.records import Moved
from realm_telemetry.log.sqlite.older import older_values

HOUR_NS: Final = 3_600_000_000_000

OLDER_TABLE: Final = """
CREATE TABLE IF NOT EXISTS battle_log (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    timestamp TEXT NOT NULL,
    channel TEXT NOT NULL,
    source TEXT NOT NULL,
    severity TEXT NOT NULL DEFAULT 'info',
    hero_id TEXT,
    campaign_id TEXT,
    message TEXT NOT NULL,
    details_json TEXT
)"""

ADDED_COLUMNS: Final = (
    ("event_id", "BLOB"),
    ("time_unix_nano", "INTEGER"),
    ("observed_unix_nano", "INTEGER"),
    ("kind", "TEXT"),
    ("run_id", "TEXT"),
    ("producer", "TEXT"),
    ("trace_id", "TEXT"),
    ("span_id", "TEXT"),
    ("trace_flags", "INTEGER"),
)

TABLES: Final = {
    "realm_meta": """
CREATE TABLE realm_meta (
    key TEXT PRIMARY KEY,
    value NOT NULL
) WITHOUT ROWID""",
    # done: ranges of the numbers that are stored or need no row. One set, so that a processor which
    # takes out every other event does not break it into a range for each. Empty text: not kept, for
    # producers met in an import or a replay.
    "realm_producers": """
CREATE TABLE realm_producers (
    producer TEXT PRIMARY KEY,
    pipeline TEXT NOT NULL,
    resource_json TEXT NOT NULL DEFAULT '{}',
    history INTEGER NOT NULL DEFAULT 1,
    clock_offset_ns INTEGER NOT NULL DEFAULT 0,
    done TEXT NOT NULL DEFAULT '[]',
    stored INTEGER NOT NULL DEFAULT 0,
    emitted INTEGER,
    dropped INTEGER NOT NULL DEFAULT 0,
    ended INTEGER NOT NULL DEFAULT 0,
    last_kind TEXT,
    last_step INTEGER,
    last_time_unix_nano INTEGER
) WITHOUT ROWID""",
    "realm_cursors": """
CREATE TABLE realm_cursors (
    pipeline TEXT NOT NULL,
    exporter TEXT NOT NULL,
    cursor INTEGER NOT NULL,
    PRIMARY KEY (pipeline, exporter)
) WITHOUT ROWID""",
    "realm_dead_letters": """
CREATE TABLE realm_dead_letters (
    id INTEGER PRIMARY KEY,
    pipeline TEXT NOT NULL,
    exporter TEXT NOT NULL,
    cursor INTEGER NOT NULL,
    event_id BLOB,
    reason TEXT NOT NULL,
    time_unix_nano INTEGER NOT NULL
)""",
    # happened counts every event ever stored, gone those that left again: retention changes what
    # can be read, not what happened.
    "realm_hourly_counts": """
CREATE TABLE realm_hourly_counts (
    hour INTEGER NOT NULL,
    channel TEXT NOT NULL,
    severity TEXT NOT NULL,
    kind TEXT NOT NULL,
    happened INTEGER NOT NULL DEFAULT 0,
    gone INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (hour, channel, severity, kind)
) WITHOUT ROWID""",
    "realm_totals": """
CREATE TABLE realm_totals (
    channel TEXT NOT NULL,
    severity TEXT NOT NULL,
    kind TEXT NOT NULL,
    happened INTEGER NOT NULL DEFAULT 0,
    gone INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (channel, severity, kind)
) WITHOUT ROWID""",
    # urls: a JSON list of what stands for each address, never the address: see log.addresses.
    "webhook_requests": """
CREATE TABLE webhook_requests (
    cursor INTEGER PRIMARY KEY,
    urls TEXT NOT NULL
)""",
}

# Tables that came later, each by a migration of its own.
LATER_TABLES: Final = {
    # Kinds that producers registered, for readers in other processes.
    "realm_kinds": """
CREATE TABLE realm_kinds (
    kind TEXT PRIMARY KEY,
    channel TEXT NOT NULL,
    severity TEXT NOT NULL,
    message TEXT,
    routine INTEGER NOT NULL DEFAULT 0
) WITHOUT ROWID""",
    # Of events that have a run; the others of an hour are what realm_hourly_counts has beyond.
    "realm_run_counts": """
CREATE TABLE realm_run_counts (
    hour INTEGER NOT NULL,
    run_id TEXT NOT NULL,
    channel TEXT NOT NULL,
    severity TEXT NOT NULL,
    kind TEXT NOT NULL,
    happened INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (hour, run_id, channel, severity, kind)
) WITHOUT ROWID""",
}

# What came with schema 12, of which older code knows nothing and needs nothing.
CLOCK_JUMPS: Final = """
CREATE TABLE realm_clock_jumps (
    cursor INTEGER PRIMARY KEY,
    arrival_unix_nano INTEGER NOT NULL
)"""
"""Where the log's clock went back: the first row after it, and that row's arrival."""

RUNS: Final = """
CREATE TABLE IF NOT EXISTS realm_runs (
    run_id TEXT PRIMARY KEY,
    started INTEGER NOT NULL,
    updated INTEGER NOT NULL,
    status TEXT,
    command TEXT,
    through INTEGER NOT NULL,
    record BLOB NOT NULL
)"""
"""Runs, which outlive their events: see log.runs.StoredRun."""

RUNS_INDEX: Final = """
CREATE INDEX IF NOT EXISTS realm_runs_by_start ON realm_runs (started, run_id)"""

RANK_COLUMN: Final = ("rank", "INTEGER")
PRODUCER_ORIGIN_COLUMN: Final = ("origin", "TEXT")
"""The log_id of the log that a producer's events came from first; NULL for one of this log."""

# Arrival in the log that an event was replayed from: how live it was. `observed_unix_nano` stays
# the arrival here, which retention goes by.
ORIGIN_COLUMN: Final = ("origin_observed_unix_nano", "INTEGER")

TIME_INDEX: Final = "battle_log_by_time"
KIND_INDEX: Final = "battle_log_by_kind"
HERO_INDEX: Final = "battle_log_by_hero"
CAMPAIGN_INDEX: Final = "battle_log_by_campaign"
RUN_INDEX: Final = "battle_log_by_run"
HERO_RUN_INDEX: Final = "battle_log_by_hero_and_run"

# Kind, channel and severity go together: few combinations of them occur, `realm_totals` names them,
# and so every filter over the three, alone or with a hero, campaign or run, is a handful of places
# in one index. An index by channel and severity alone would serve nothing more.
INDEXES: Final = {
    "battle_log_by_event_id": """
CREATE UNIQUE INDEX battle_log_by_event_id ON battle_log (event_id)
    WHERE event_id IS NOT NULL""",
    TIME_INDEX: f"""
CREATE INDEX {TIME_INDEX} ON battle_log (time_unix_nano)
    WHERE time_unix_nano IS NOT NULL""",
    KIND_INDEX: f"""
CREATE INDEX {KIND_INDEX} ON battle_log (kind, channel, severity, time_unix_nano)
    WHERE time_unix_nano IS NOT NULL""",
    HERO_INDEX: f"""
CREATE INDEX {HERO_INDEX} ON battle_log
    (hero_id, kind, channel, severity, time_unix_nano)
    WHERE hero_id IS NOT NULL AND time_unix_nano IS NOT NULL""",
    CAMPAIGN_INDEX: f"""
CREATE INDEX {CAMPAIGN_INDEX} ON battle_log
    (campaign_id, kind, channel, severity, time_unix_nano)
    WHERE campaign_id IS NOT NULL AND time_unix_nano IS NOT NULL""",
    RUN_INDEX: f"""
CREATE INDEX {RUN_INDEX} ON battle_log
    (run_id, kind, channel, severity, time_unix_nano)
    WHERE run_id IS NOT NULL AND time_unix_nano IS NOT NULL""",
}

HERO_RUN: Final = f"""
CREATE INDEX {HERO_RUN_INDEX} ON battle_log (run_id, hero_id, time_unix_nano)
    WHERE hero_id IS NOT NULL AND run_id IS NOT NULL AND time_unix_nano IS NOT NULL"""


def floor_hour(time: str) -> str:
    """SQL for the hour since 1970 that a time in nanoseconds lies in, before 1970 too."""
    return f"(({time} - (({time} % {HOUR_NS}) + {HOUR_NS}) % {HOUR_NS}) / {HOUR_NS})"


def _count_statements(row: str, column: str) -> str:
    """Trigger statements that add a row to one column of both counts.

    Not an upsert: the conflict clause of the statement that fires a trigger replaces those inside
    (https://sqlite.org/lang_createtrigger.html), and that statement is older code's.
    """
    key = f"{row}.channel, {row}.severity, {row}.kind"
    match = f"channel = {row}.channel AND severity = {row}.severity AND kind = {row}.kind"
    hour = floor_hour(f"{row}.time_unix_nano")
    return f"""
    INSERT INTO realm_hourly_counts (hour, channel, severity, kind) SELECT {hour}, {key}
        WHERE NOT EXISTS (SELECT 1 FROM realm_hourly_counts WHERE hour = {hour} AND {match});
    UPDATE realm_hourly_counts SET {column} = {column} + 1 WHERE hour = {hour} AND {match};
    INSERT INTO realm_totals (channel, severity, kind) SELECT {key}
        WHERE NOT EXISTS (SELECT 1 FROM realm_totals WHERE {match});
    UPDATE realm_totals SET {column} = {column} + 1 WHERE {match};"""


def triggers(older_values: str) -> dict[str, str]:
    """The triggers that keep ids, times and counts right while older code writes.

    older_values: `column = expression` list that fills a row which older code inserted.
    """
    return {
        "realm_fill_older_row": f"""
CREATE TRIGGER realm_fill_older_row AFTER INSERT ON battle_log WHEN NEW.event_id IS NULL
BEGIN
    UPDATE battle_log SET {older_values} WHERE id = NEW.id;
END""",
        "realm_count_older_row": f"""
CREATE TRIGGER realm_count_older_row AFTER UPDATE OF event_id ON battle_log
    WHEN OLD.event_id IS NULL AND NEW.event_id IS NOT NULL
BEGIN{_count_statements("NEW", "happened")}
END""",
        "realm_count_gone_row": f"""
CREATE TRIGGER realm_count_gone_row AFTER DELETE ON battle_log WHEN OLD.event_id IS NOT NULL
BEGIN{_count_statements("OLD", "gone")}
    DELETE FROM webhook_requests WHERE cursor = OLD.id;
END""",
    }


class Migration(msgspec.Struct, frozen=True):
    """One step from a version to the next.

    writer: the oldest schema whose code may write to the log afterwards. Raised only where older
        code would lose or damage something; what it does not know, such as a column, does not.
    """

    version: int
    name: str
    apply: Callable[[sqlite3.Connection], None]
    writer: int


def _add_tables(connection: sqlite3.Connection) -> None:
    for name, statement in TABLES.items():
        _create(connection, name, statement)
    connection.execute("INSERT INTO realm_meta VALUES ('log_id', ?)", (secrets.token_hex(16),))


def _create(connection: sqlite3.Connection, name: str, statement: str) -> None:
    if _exists(connection, name):
        raise LogUnavailableError(
            f"the file already has a table {name} that is not this package's."
            " Rename it, or set another REALM_HOME."
        )
    connection.execute(statement)


def _add_kinds(connection: sqlite3.Connection) -> None:
    _create(connection, "realm_kinds", LATER_TABLES["realm_kinds"])


def _count_runs(connection: sqlite3.Connection) -> None:
    _create(connection, "realm_run_counts", LATER_TABLES["realm_run_counts"])
    connection.execute(
        f"INSERT INTO realm_run_counts SELECT {floor_hour('time_unix_nano')}, run_id, channel,"
        f" severity, kind, count(*) FROM battle_log INDEXED BY {RUN_INDEX}"
        " WHERE run_id IS NOT NULL AND time_unix_nano IS NOT NULL GROUP BY 1, 2, 3, 4, 5"
    )


def _keep_origin(connection: sqlite3.Connection) -> None:
    _add_columns(connection, (ORIGIN_COLUMN,))


def _add_rank_and_jumps(connection: sqlite3.Connection) -> None:
    _add_columns(connection, (RANK_COLUMN,))
    _add_columns(connection, (PRODUCER_ORIGIN_COLUMN,), "realm_producers")
    _create(connection, "realm_clock_jumps", CLOCK_JUMPS)
    connection.execute(HERO_RUN)
    _add_runs(connection)


def _add_runs(connection: sqlite3.Connection) -> None:
    """Add the table of runs; there are logs of schema 12 that were made before it."""
    if not has_runs(connection):
        connection.execute(RUNS)
        connection.execute(RUNS_INDEX)
        # Of a table that was there before: the new one is true at the beginning.
        connection.execute("DELETE FROM realm_meta WHERE key = 'runs'")


def has_runs(connection: sqlite3.Connection) -> bool:
    """Whether the log has the table of runs."""
    return _exists(connection, "realm_runs")


def _add_columns(
    connection: sqlite3.Connection, columns: Sequence[tuple[str, str]], table: str = "battle_log"
) -> None:
    present = {row[1] for row in connection.execute(f"PRAGMA table_info({table})")}
    for name, kind in columns:
        if name not in present:
            # Changes the schema's text only; no row is rewritten.
            connection.execute(f"ALTER TABLE {table} ADD COLUMN {name} {kind}")


def _extend_battle_log(connection: sqlite3.Connection) -> None:
    connection.execute(OLDER_TABLE)
    _add_columns(connection, ADDED_COLUMNS)
    log_id = read_log_id(connection)
    for statement in triggers(older_values(log_id)).values():
        connection.execute(statement)
    connection.execute(
        "INSERT INTO realm_meta SELECT 'older_rows_below', coalesce(max(id), 0) + 1 FROM battle_log"
    )


def _add_index(name: str) -> Callable[[sqlite3.Connection], None]:
    def apply(connection: sqlite3.Connection) -> None:
        connection.execute(INDEXES[name])

    return apply


_BEFORE_12: Final = (
    ("add tables", _add_tables),
    ("extend battle_log", _extend_battle_log),
    # One index a transaction: each reads an older table once, and others may write between.
    *((f"add index {name}", _add_index(name)) for name in INDEXES),
    ("add realm_kinds", _add_kinds),
    ("keep the arrival of replayed events", _keep_origin),
    ("count by run", _count_runs),
)

MIGRATIONS: Final = (
    # Code of these needs each of them to write.
    *(Migration(n, name, apply, n) for n, (name, apply) in enumerate(_BEFORE_12, start=1)),
    Migration(
        12, "add rank, origin, clock jumps and the index of hero and run", _add_rank_and_jumps, 11
    ),
)

SCHEMA_VERSION: Final = MIGRATIONS[-1].version


def migrate(connection: sqlite3.Connection) -> int:
    """Apply the next migration that is missing; returns how many are left.

    To be called inside a write transaction. Raises LogUnavailableError if the file
    comes from a newer version of the package that this one must not write beside.
    """
    check_writer(connection)
    version = read_version(connection)
    waiting = [migration for migration in MIGRATIONS if migration.version > version]
    if not waiting:
        _add_runs(connection)
        return 0
    waiting[0].apply(connection)
    connection.executemany(
        "INSERT OR REPLACE INTO realm_meta VALUES (?, ?)",
        [("schema_version", waiting[0].writer), ("schema_revision", waiting[0].version)],
    )
    return len(waiting) - 1


def check_writer(connection: sqlite3.Connection) -> None:
    """Raise LogUnavailableError if code of this schema may not write to the log any more."""
    oldest = _read_meta(connection, "schema_version")
    if oldest > SCHEMA_VERSION:
        raise LogUnavailableError(
            "the log was written by a newer version of realm_telemetry, which needs schema"
            f" {oldest} or newer of whoever writes; this version knows {SCHEMA_VERSION}. Upgrade"
            " the package here, or set another REALM_HOME. Events wait in their spools."
        )


def read_version(connection: sqlite3.Connection) -> int:
    """The schema version of the file; 0 if it has none of this package's tables."""
    # Version 0.1.0 wrote only one of the two.
    return max(_read_meta(connection, key) for key in ("schema_version", "schema_revision"))


def _read_meta(connection: sqlite3.Connection, key: str) -> int:
    if not _exists(connection, "realm_meta"):
        return 0
    row = connection.execute("SELECT value FROM realm_meta WHERE key = ?", (key,)).fetchone()
    return int(row[0]) if row else 0


def read_log_id(connection: sqlite3.Connection) -> str:
    """The log's id, 32 hex digits, made with the file."""
    row = connection.execute("SELECT value FROM realm_meta WHERE key = 'log_id'").fetchone()
    return str(row[0])


def read_moved(connection: sqlite3.Connection) -> Moved | None:
    """Where the events of the log were moved; None for one that was not moved."""
    if not _exists(connection, "realm_meta"):
        return None
    row = connection.execute("SELECT value FROM realm_meta WHERE key = 'moved'").fetchone()
    return msgspec.json.decode(row[0], type=Moved) if row else None


def has_foreign_tables(connection: sqlite3.Connection) -> bool:
    """Whether another program keeps tables in the same file."""
    # Any realm_ table: a newer version of this package takes its turn as this one does.
    row = connection.execute(
        "SELECT count(*) FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite\\_%'"
        " ESCAPE '\\' AND name NOT LIKE 'realm\\_%' ESCAPE '\\'"
        " AND name NOT IN ('battle_log', 'webhook_requests')"
    ).fetchone()
    return bool(row[0])


def _exists(connection: sqlite3.Connection, table: str) -> bool:
    query = "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = ?"
    return connection.execute(query, (table,)).fetchone() is not None
