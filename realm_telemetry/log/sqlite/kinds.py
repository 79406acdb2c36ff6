"""The table of kinds that producers registered."""

import sqlite3
from typing import Final

from realm_telemetry.kinds.catalog import KindSpec
from realm_telemetry.log.sqlite.foreign_text import name_of

_COLUMNS: Final = "kind, channel, severity, message, routine"


def save_kind(connection: sqlite3.Connection, kind: KindSpec) -> None:
    """Add a kind, or replace it: the newest program is right."""
    connection.execute(
        f"INSERT OR REPLACE INTO realm_kinds ({_COLUMNS}) VALUES (?, ?, ?, ?, ?)",
        (kind.kind, kind.channel, kind.severity, kind.template, kind.routine),
    )


def read_kinds(connection: sqlite3.Connection) -> list[KindSpec]:
    """All kinds that producers registered, by name."""
    rows = connection.execute(f"SELECT {_COLUMNS} FROM realm_kinds ORDER BY kind")
    return [
        KindSpec(kind, channel, severity, message, bool(routine))
        for kind, channel, severity, message, routine in rows
        if type(kind) is type(channel) is type(severity) is str
        and (message is None or type(message) is str)
    ]


def occurring_kinds(connection: sqlite3.Connection) -> list[str]:
    """The kinds that there are rows of, from the totals."""
    query = "SELECT DISTINCT kind FROM realm_totals WHERE happened > gone"
    return list(dict.fromkeys(name_of(kind) for (kind,) in connection.execute(query)))


def has_kind(connection: sqlite3.Connection, kind: KindSpec) -> bool:
    """Whether exactly this is known already."""
    row = connection.execute(
        f"SELECT {_COLUMNS} FROM realm_kinds WHERE kind = ?", (kind.kind,)
    ).fetchone()
    fields = (kind.kind, kind.channel, kind.severity, kind.template, kind.routine)
    return row is not None and tuple(row) == fields
