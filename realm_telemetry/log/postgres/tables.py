"""The smaller tables: kinds, dead letters, runs."""

from collections.abc import Sequence
from itertools import islice
from typing import Any, Final

from realm_telemetry.kinds.catalog import KindSpec
from realm_telemetry.log.maintenance import EXPORTERS
from realm_telemetry.log.postgres.connection import Session
from realm_telemetry.log.postgres.holders import process_name
from realm_telemetry.log.postgres.texts import from_stored, to_name
from realm_telemetry.log.records import DeadLetter
from realm_telemetry.log.runs import RunsMark, RunsWanted, StoredRun, mark_text, read_mark

_KIND: Final = "kind, channel, severity, message, routine"
_RUN: Final = "run_id, started, updated, status, command, through, record"
_LIST: Final = """
SELECT run_id, started, updated, status, command, through, ''::bytea FROM realm_runs
WHERE status IS NOT NULL AND updated >= ? AND (started, run_id) < (?, ?)"""
_END: Final = (2**63 - 1, "")


def save_kind(session: Session, kind: KindSpec) -> None:
    """Add a kind, or replace it: the newest program is right."""
    session.execute(
        f"INSERT INTO realm_kinds AS k ({_KIND}) VALUES (?, ?, ?, ?, ?)"
        " ON CONFLICT (kind) DO UPDATE SET channel = excluded.channel,"
        " severity = excluded.severity, message = excluded.message, routine = excluded.routine"
        " WHERE (k.channel, k.severity, k.message, k.routine) IS DISTINCT FROM"
        " (excluded.channel, excluded.severity, excluded.message, excluded.routine)",
        (kind.kind, kind.channel, kind.severity, kind.template, int(kind.routine)),
    )


def read_kinds(session: Session) -> list[KindSpec]:
    """All kinds that producers registered, by name."""
    rows = session.execute(f"SELECT {_KIND} FROM realm_kinds ORDER BY kind")
    return [
        KindSpec(
            from_stored(kind),
            channel,
            severity,
            None if message is None else from_stored(message),
            bool(routine),
        )
        for kind, channel, severity, message, routine in rows
    ]


def occurring_kinds(session: Session) -> list[str]:
    """The kinds that there are rows of, from the totals."""
    rows = session.execute(
        "SELECT DISTINCT kind FROM realm_groups WHERE happened > gone ORDER BY 1"
    )
    return [from_stored(kind) for (kind,) in rows]


def add_dead_letter(
    session: Session, pipeline: str, exporter: str, cursor: int, reason: str, time_unix_nano: int
) -> None:
    """Keep the refused event's id and the reason, even after its row is gone."""
    session.execute(
        "INSERT INTO realm_dead_letters"
        " (pipeline, exporter, cursor, event_id, reason, time_unix_nano)"
        " VALUES (?, ?, ?, (SELECT replace(event_id::text, '-', '') FROM events WHERE id = ?),"
        " ?, ?)",
        (pipeline, exporter, cursor, cursor, reason, time_unix_nano),
    )


def read_dead_letters(session: Session, pipeline: str | None = None) -> list[DeadLetter]:
    """The refused events of one pipeline or of all, oldest first."""
    rows = session.execute(
        "SELECT pipeline, exporter, cursor, event_id, reason, time_unix_nano"
        " FROM realm_dead_letters WHERE pipeline = coalesce(?, pipeline) ORDER BY id",
        (pipeline,),
    )
    return [DeadLetter(row[0], row[1], row[2], row[3], from_stored(row[4]), row[5]) for row in rows]


def may_export(session: Session) -> bool:
    """Whether no other process holds the lease of the service's exporters."""
    row = session.execute(
        "SELECT NOT EXISTS (SELECT FROM realm_leases WHERE name = ? AND until > clock_timestamp()"
        " AND NOT starts_with(holder, ?))",
        (EXPORTERS, f"lease {process_name()} "),
    ).fetchone()
    return bool(row[0])


def runs_mark(session: Session) -> RunsMark:
    """Up to which cursor the table has the events."""
    row = session.execute("SELECT value FROM realm_meta WHERE key = 'runs'").fetchone()
    return read_mark(row[0]) if row else RunsMark()


def _run(row: Sequence[Any]) -> StoredRun:
    texts = [None if row[at] is None else from_stored(row[at]) for at in (0, 3, 4)]
    return StoredRun(str(texts[0]), row[1], row[2], texts[1], texts[2], row[5], bytes(row[6]))


def read_run(session: Session, run_id: str) -> StoredRun | None:
    """One run of the table."""
    query = f"SELECT {_RUN} FROM realm_runs WHERE run_id = ?"
    row = session.execute(query, (to_name(run_id),)).fetchone()
    return _run(row) if row else None


def read_runs(session: Session, wanted: RunsWanted) -> list[StoredRun]:
    """The runs of the table that are wanted, newest first by their start.

    Words are looked for here, in any case of any script.
    """
    since = -(2**63) if wanted.since is None else wanted.since
    query, params = _LIST, [since, *(wanted.below or _END)]
    if wanted.statuses:
        query += " AND status = ANY(?::text[])"
        params.append(list(wanted.statuses))
    query += " ORDER BY started DESC, run_id DESC"
    found = filter(wanted.matches, (_run(row) for row in session.execute(query, params)))
    ids = [run.run_id for run in islice(found, wanted.limit)]
    return [run for run_id in ids if (run := read_run(session, run_id)) is not None]


def count_runs(session: Session) -> dict[str, int]:
    """How many runs of the table have each status."""
    query = "SELECT status, count(*) FROM realm_runs WHERE status IS NOT NULL GROUP BY status"
    return dict(session.execute(query).fetchall())


_SAVE: Final = f"""
INSERT INTO realm_runs ({_RUN}) VALUES (?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (run_id) DO UPDATE SET started = excluded.started, updated = excluded.updated,
    status = excluded.status, command = excluded.command, through = excluded.through,
    record = excluded.record"""


def save_runs(session: Session, runs: Sequence[StoredRun], mark: RunsMark, after: int) -> int:
    """Save runs and the mark they are true at; return the cursor of the mark that counts then.

    after: the cursor that they were made from. Nothing is saved if that of the table is another.
    """
    known = runs_mark(session).cursor
    if known != after:
        return known
    for run in runs:
        values = [getattr(run, name) for name in StoredRun.__struct_fields__]
        session.execute(_SAVE, [to_name(run.run_id), *values[1:]])
    session.execute(
        "INSERT INTO realm_meta VALUES ('runs', ?)"
        " ON CONFLICT (key) DO UPDATE SET value = excluded.value",
        (mark_text(mark),),
    )
    return mark.cursor
