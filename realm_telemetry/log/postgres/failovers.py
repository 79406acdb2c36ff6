"""Where standbys have taken over: up to which cursor each of them had the log.

Each promotion gives the server another timeline. Whoever appends or follows notes it at the first
connection to that server, so before an append: the head is then what the standby had.
"""

from typing import Final

import msgspec

from realm_telemetry.log.postgres.connection import Session

MOST: Final = 1_000
"""Failovers that are kept; readers that bring a cursor of before are very old."""

TIMELINE: Final = """CASE WHEN pg_is_in_recovery() THEN NULL
    ELSE left(pg_walfile_name(pg_current_wal_lsn()), 8) END"""

_KEY: Final = "failovers"
_LOOK: Final = f"SELECT {TIMELINE}, (SELECT value FROM realm_meta WHERE key = '{_KEY}')"
_SAVE: Final = f"""
INSERT INTO realm_meta VALUES ('{_KEY}', ?)
ON CONFLICT (key) DO UPDATE SET value = excluded.value"""


class _Known(msgspec.Struct):
    timeline: str
    heads: list[int] = []


def note_failover(session: Session) -> None:
    """Note it if the server has been promoted since somebody looked; a standby is left alone."""
    timeline, text = session.execute(_LOOK).fetchone()
    if timeline is None or _read(text).timeline == timeline:
        return
    with session.transaction():
        (head,) = session.execute("SELECT cursor FROM realm_head FOR UPDATE").fetchone()
        known = _read(session.execute(_LOOK).fetchone()[1])
        if known.timeline == timeline:
            return
        if known.timeline:
            known.heads = [*known.heads, head][-MOST:]
        known.timeline = timeline
        session.execute(_SAVE, (msgspec.json.encode(known).decode(),))


def failovers(session: Session) -> list[int]:
    """The cursor of the head at each failover, oldest first."""
    row = session.execute(f"SELECT value FROM realm_meta WHERE key = '{_KEY}'").fetchone()
    return _read(row[0] if row else None).heads


def _read(text: str | None) -> _Known:
    return msgspec.json.decode(text, type=_Known) if text else _Known("")
