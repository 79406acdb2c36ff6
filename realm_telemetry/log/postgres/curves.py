"""Curves of runs, in tables beside the log: see log.curves. All services of the log share them."""

from collections.abc import Callable, Mapping, Sequence
from typing import Final

import msgspec

from realm_telemetry.log.curves import CurvesLayer, CurvesMark, Part
from realm_telemetry.log.postgres.connection import Session, Sessions
from realm_telemetry.log.postgres.texts import from_stored, to_name

# Readers wait for nobody; whoever saves waits for the other who does.
_LOCK: Final = "LOCK TABLE realm_curves_mark IN SHARE ROW EXCLUSIVE MODE"
_MARK: Final = "SELECT mark FROM realm_curves_mark WHERE log_id = ?"
_SET_MARK: Final = """
INSERT INTO realm_curves_mark VALUES (true, ?, ?)
ON CONFLICT (only_row) DO UPDATE SET log_id = excluded.log_id, mark = excluded.mark"""
_LAYERS: Final = """
SELECT part, through, content FROM realm_curves WHERE run_id = ? ORDER BY part, through"""
_ADD: Final = "INSERT INTO realm_curves (run_id, part, through, content) VALUES (?, ?, ?, ?)"
_CROWDED: Final = """
SELECT run_id FROM realm_curves WHERE run_id = ANY(?::text[])
GROUP BY run_id HAVING count(*) > ?"""
_REMOVE: Final = "DELETE FROM realm_curves WHERE run_id = ? AND part = ? AND through = ?"
_USED: Final = "SELECT coalesce(sum(octet_length(content)), 0) FROM realm_curves"
_OLDEST: Final = """
SELECT run_id, bool_and(thin) AS is_thin FROM realm_curves
GROUP BY run_id ORDER BY is_thin, max(through) LIMIT ?"""
_THINNED: Final = """
UPDATE realm_curves SET content = ?, thin = true WHERE run_id = ? AND part = ? AND through = ?"""
_FORGET: Final = "DELETE FROM realm_curves WHERE run_id = ?"
_AT_ONCE: Final = 100
"""Runs that make room in one call."""


class CurveTable:
    """The curves of one log; see log.curves.CurveStore."""

    def __init__(self, sessions: Sessions, log_id: str) -> None:
        self._sessions = sessions
        self._log_id = log_id

    def mark(self) -> CurvesMark | None:
        """Return up to where the curves are stored; None if there are none of this log."""
        with self._sessions.one() as session:
            return self._mark(session)

    def layers(self, run_id: str) -> tuple[CurvesMark, list[CurvesLayer]]:
        """Return what is stored of one run, true at the mark."""
        with self._sessions.one() as session, session.transaction():
            session.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
            mark = self._mark(session)
            return (CurvesMark(), []) if mark is None else (mark, self._layers(session, run_id))

    def save(
        self, part: Part, layers: Mapping[str, bytes], mark: CurvesMark, *, before: CurvesMark
    ) -> CurvesMark:
        """Store layers and their mark in one transaction; return the mark that counts then."""
        with self._sessions.one() as session, session.transaction():
            session.execute(_LOCK)
            known = self._mark(session)
            if known is None:
                # Those of a log that was here before are no curves of this one.
                session.execute("DELETE FROM realm_curves")
                known = CurvesMark(before.begun)
            if (known.begun, getattr(known, part)) != (before.begun, getattr(before, part)):
                return known
            through = getattr(mark, part)
            new = known.advanced(part, through, mark.set_backs)
            for run_id, content in layers.items():
                session.execute(_ADD, (to_name(run_id), part, through, content))
            session.execute(_SET_MARK, (self._log_id, msgspec.json.encode(new).decode()))
            return new

    def crowded(self, runs: Sequence[str], most: int) -> list[str]:
        """Return which of these runs have more than so many layers."""
        with self._sessions.one() as session:
            rows = session.execute(_CROWDED, ([to_name(run) for run in runs], most)).fetchall()
        found = {from_stored(run_id) for (run_id,) in rows}
        return [run for run in runs if run in found]

    def join(self, run_id: str, joined: Sequence[CurvesLayer], layer: CurvesLayer) -> None:
        """Store one layer in the place of several of a run; nothing if they are not there now."""
        name = to_name(run_id)
        with self._sessions.one() as session, session.transaction():
            session.execute(_LOCK)
            there = self._layers(session, run_id)
            if all(each in there for each in joined):
                for each in joined:
                    session.execute(_REMOVE, (name, each.part, each.through))
                session.execute(_ADD, (name, *layer))

    def make_room(self, most_bytes: int, thin: Callable[[bytes], bytes]) -> None:
        """Thin the layers of the oldest runs, then remove them, down to nine tenths of this."""
        with self._sessions.one() as session:
            if self._used_bytes(session) <= most_bytes:
                return
            oldest = session.execute(_OLDEST, (_AT_ONCE,)).fetchall()
            for name, is_thin in oldest:
                with session.transaction():
                    session.execute(_LOCK)
                    self._shrink(session, name, None if is_thin else thin)
                    if self._used_bytes(session) <= most_bytes * 9 // 10:
                        return

    def _shrink(self, session: Session, name: str, thin: Callable[[bytes], bytes] | None) -> None:
        if thin is None:
            session.execute(_FORGET, (name,))
            return
        for part, through, content in session.execute(_LAYERS, (name,)).fetchall():
            session.execute(_THINNED, (thin(bytes(content)), name, part, through))

    def _used_bytes(self, session: Session) -> int:
        row = session.execute(_USED).fetchone()
        return int(row[0]) if row else 0

    def _mark(self, session: Session) -> CurvesMark | None:
        row = session.execute(_MARK, (self._log_id,)).fetchone()
        return msgspec.json.decode(row[0], type=CurvesMark) if row else None

    def _layers(self, session: Session, run_id: str) -> list[CurvesLayer]:
        rows = session.execute(_LAYERS, (to_name(run_id),))
        return [CurvesLayer(part, through, bytes(content)) for part, through, content in rows]
