"""Ordered changes of the log's file, each recorded in the transaction that makes it."""

import secrets
import sqlite3
from collections.abc import Callable, Sequence
from typing import Final

import msgspec

from realm_telemetry.errors import LogError
from realm_telemetry.log.sqlite.older import older_values
from realm_telemetry.log.sqlite.schema import (
    ADDED_COLUMNS,
    INDEXES,
    LATER_TABLES,
    OLDER_TABLE,
    ORIGIN_COLUMN,
    RUN_INDEX,
    TABLES,
    floor_hour,
    triggers,
)


class Migration(msgspec.Struct, frozen=True):
    """One step from a version to the next."""

    version: int
    name: str
    apply: Callable[[sqlite3.Connection], None]


def _add_tables(connection: sqlite3.Connection) -> None:
    for name, statement in TABLES.items():
        _create(connection, name, statement)
    connection.execute("INSERT INTO realm_meta VALUES ('log_id', ?)", (secrets.token_hex(16),))


def _create(connection: sqlite3.Connection, name: str, statement: str) -> None:
    if _exists(connection, name):
        raise LogError(
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


def _add_columns(connection: sqlite3.Connection, columns: Sequence[tuple[str, str]]) -> None:
    present = {row[1] for row in connection.execute("PRAGMA table_info(battle_log)")}
    for name, kind in columns:
        if name not in present:
            # Changes the schema's text only; no row is rewritten.
            connection.execute(f"ALTER TABLE battle_log ADD COLUMN {name} {kind}")


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


# One index a transaction: each reads an older table once, and others may write between.
MIGRATIONS: Final = (
    Migration(1, "add tables", _add_tables),
    Migration(2, "extend battle_log", _extend_battle_log),
    *(Migration(3 + n, f"add index {name}", _add_index(name)) for n, name in enumerate(INDEXES)),
    Migration(3 + len(INDEXES), "add realm_kinds", _add_kinds),
    Migration(4 + len(INDEXES), "keep the arrival of replayed events", _keep_origin),
    Migration(5 + len(INDEXES), "count by run", _count_runs),
)

SCHEMA_VERSION: Final = MIGRATIONS[-1].version


def migrate(connection: sqlite3.Connection) -> int:
    """Apply the next migration that is missing; returns how many are left.

    To be called inside a write transaction. Raises LogError if the file comes from a newer
    version of the package.
    """
    version = read_version(connection)
    if version > SCHEMA_VERSION:
        raise LogError(
            f"the log was written by a newer version of realm_telemetry (schema {version}, this"
            f" one knows {SCHEMA_VERSION}). Upgrade the package on this host."
        )
    waiting = [migration for migration in MIGRATIONS if migration.version > version]
    if not waiting:
        return 0
    waiting[0].apply(connection)
    connection.execute(
        "INSERT OR REPLACE INTO realm_meta VALUES ('schema_version', ?)", (waiting[0].version,)
    )
    return len(waiting) - 1


def read_version(connection: sqlite3.Connection) -> int:
    """The schema version of the file; 0 if it has none of this package's tables."""
    if not _exists(connection, "realm_meta"):
        return 0
    row = connection.execute("SELECT value FROM realm_meta WHERE key = 'schema_version'").fetchone()
    return int(row[0]) if row else 0


def read_log_id(connection: sqlite3.Connection) -> str:
    """The log's id, 32 hex digits, made with the file."""
    row = connection.execute("SELECT value FROM realm_meta WHERE key = 'log_id'").fetchone()
    return str(row[0])


def has_foreign_tables(connection: sqlite3.Connection) -> bool:
    """Whether another program keeps tables in the same file."""
    own = ("battle_log", *TABLES, *LATER_TABLES)
    marks = ",".join("?" * len(own))
    row = connection.execute(
        "SELECT count(*) FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite\\_%'"
        f" ESCAPE '\\' AND name NOT IN ({marks})",
        own,
    ).fetchone()
    return bool(row[0])


def _exists(connection: sqlite3.Connection, table: str) -> bool:
    query = "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = ?"
    return connection.execute(query, (table,)).fetchone() is not None
