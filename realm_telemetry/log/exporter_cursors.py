"""How far each exporter has read, and what its receiver refused: the SQL of both engines."""

from collections.abc import Sequence
from typing import Any, Protocol

import msgspec

from realm_telemetry.log.records import Refusal


class Connection(Protocol):
    """What statements run on: of either engine, with `?` for parameters."""

    def execute(self, query: str, params: Sequence[Any] = ..., /) -> Any:
        """Run a statement; return the cursor."""
        ...


_decode = msgspec.json.Decoder(tuple[int, str]).decode


def load_cursors(connection: Connection, pipeline: str) -> dict[str, int]:
    """The last cursor that each exporter of a pipeline has acknowledged."""
    return dict(
        connection.execute(
            "SELECT exporter, cursor FROM realm_cursors WHERE pipeline = ?", (pipeline,)
        ).fetchall()
    )


def save_cursor(connection: Connection, pipeline: str, exporter: str, cursor: int) -> None:
    """Move an exporter's cursor."""
    connection.execute(
        "INSERT INTO realm_cursors VALUES (?, ?, ?)"
        " ON CONFLICT (pipeline, exporter) DO UPDATE SET cursor = excluded.cursor",
        (pipeline, exporter, cursor),
    )


def set_back(connection: Connection, exporter: str, cursor: int) -> dict[str, int]:
    """Ask that an exporter delivers again what comes after a cursor; where it stood, by pipeline.

    A request, and not only another cursor: a delivery saves its own once a second, so what
    is read here may lag behind, and what is written here would be written over.
    """
    stood = dict(
        connection.execute(
            "SELECT pipeline, cursor FROM realm_cursors WHERE exporter = ?", (exporter,)
        ).fetchall()
    )
    for pipeline in stood:
        connection.execute(
            "INSERT INTO realm_meta VALUES (?, ?)"
            " ON CONFLICT (key) DO UPDATE SET value = excluded.value"
            " WHERE CAST(excluded.value AS BIGINT) < CAST(realm_meta.value AS BIGINT)",
            (_request(pipeline, exporter), str(cursor)),
        )
    # At once for retention, which keeps what is to be delivered.
    connection.execute(
        "UPDATE realm_cursors SET cursor = ? WHERE exporter = ? AND cursor > ?",
        (cursor, exporter, cursor),
    )
    return stood


def asked_back(connection: Connection, pipeline: str) -> dict[str, int]:
    """The exporters of a pipeline that are to go back, and to which cursor."""
    start = _request(pipeline, "")
    rows = connection.execute(
        "SELECT key, value FROM realm_meta WHERE key >= ? AND key < ?",
        (start, start + "\U0010ffff"),
    )
    return {key.removeprefix(start): int(value) for key, value in rows}


def go_back(connection: Connection, pipeline: str, exporter: str, cursor: int) -> None:
    """Move a cursor back because it was asked for; the request is done with."""
    connection.execute("DELETE FROM realm_meta WHERE key = ?", (_request(pipeline, exporter),))
    save_cursor(connection, pipeline, exporter, cursor)


def _request(pipeline: str, exporter: str) -> str:
    return f"set back/{pipeline}/{exporter}"


def known_exporters(connection: Connection) -> dict[str, list[str]]:
    """The exporters that have a cursor, by name, and the pipelines of each."""
    found: dict[str, list[str]] = {}
    rows = connection.execute("SELECT exporter, pipeline FROM realm_cursors ORDER BY 1, 2")
    for exporter, pipeline in rows:
        found.setdefault(exporter, []).append(pipeline)
    return found


def drop_cursor(connection: Connection, pipeline: str, exporter: str) -> None:
    """Forget an exporter that is no longer set up, so that nothing is kept for it."""
    connection.execute(
        "DELETE FROM realm_cursors WHERE pipeline = ? AND exporter = ?", (pipeline, exporter)
    )


def add_refusal(connection: Connection, pipeline: str, refusal: Refusal) -> None:
    """Add to the count of events that a receiver rejected without naming them."""
    key = _refused(pipeline, refusal.exporter)
    row = connection.execute("SELECT value FROM realm_meta WHERE key = ?", (key,)).fetchone()
    count = refusal.count + (_decode(row[0])[0] if row else 0)
    connection.execute(
        "INSERT INTO realm_meta VALUES (?, ?)"
        " ON CONFLICT (key) DO UPDATE SET value = excluded.value",
        (key, msgspec.json.encode((count, refusal.reason)).decode()),
    )


def read_refusals(connection: Connection, pipeline: str) -> list[Refusal]:
    """The counts of one pipeline, by exporter."""
    start = _refused(pipeline, "")
    rows = connection.execute(
        "SELECT key, value FROM realm_meta WHERE key >= ? AND key < ? ORDER BY key",
        (start, start + "\U0010ffff"),
    )
    return [Refusal(key.removeprefix(start), *_decode(value)) for key, value in rows]


def _refused(pipeline: str, exporter: str) -> str:
    return f"refused/{pipeline}/{exporter}"
