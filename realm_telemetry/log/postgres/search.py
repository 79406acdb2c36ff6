"""Full text search: words of events that are not routine, in a column with an index of its own.

Left alone, the planner reads hundreds of thousands of rows for rare words. So the newest ids are
read first, and then the index, in a CTE that it cannot take apart.
"""

import time
from collections.abc import Sequence
from typing import Any, Final

import msgspec

from realm_telemetry.log.postgres.connection import Session
from realm_telemetry.log.postgres.plan import Plan
from realm_telemetry.log.postgres.rows import READ, to_log_row
from realm_telemetry.log.postgres.texts import MAX_WORD_CHARS
from realm_telemetry.log.rows import LogRow
from realm_telemetry.log.text import contains_words, words_of

BUDGET_S: Final = 0.2
NEWEST_IDS: Final = 60_000
_STEP: Final = 500

# Both see the words as a whole; what they let through is read and compared.
_NEAR: Final = f"""
{READ} WHERE e.id > ? AND e.id < ? AND e.words @@ ?::tsquery AND %s ORDER BY e.id DESC LIMIT ?"""
_FAR: Final = f"""
WITH hits AS MATERIALIZED (SELECT id FROM events WHERE words @@ ?::tsquery)
{READ} JOIN hits ON hits.id = e.id WHERE e.id < ? AND %s ORDER BY e.id DESC LIMIT ?"""


class Hits(msgspec.Struct, frozen=True):
    """Rows that hold the words, newest arrival first. further: the cursor to go on below."""

    ids: list[int]
    further: int | None


def query_text(words: str) -> str:
    """Return a query for the index. Words have letters and digits alone, so nothing is escaped."""
    cut = {word[:MAX_WORD_CHARS] for phrase in words_of(words) for word in phrase}
    return " & ".join(f"'{word}'" for word in sorted(cut))


def search(
    session: Session, plan: Plan, *, below: int, limit: int, deadline: float | None = None
) -> Hits:
    """Find the newest rows with a cursor under `below` that hold the words of the plan.

    deadline: time.monotonic(), 200 ms from now by default; what is found by then is returned.
    """
    deadline = time.monotonic() + BUDGET_S if deadline is None else deadline
    text, condition = query_text(plan.filters.q), plan.row
    (head,) = session.execute("SELECT coalesce(max(id), 0) FROM events").fetchone()
    floor = head - NEWEST_IDS
    ids: list[int] = []
    while len(ids) <= limit:
        if below - 1 > floor:
            rows = _read(
                session, _NEAR, condition.sql, (floor, below, text, *condition.params, _STEP)
            )
        else:
            rows = _read(session, _FAR, condition.sql, (text, below, *condition.params, _STEP))
        ids += [row.cursor for row in rows if _wants(plan, row)]
        if len(rows) == _STEP:
            below = rows[-1].cursor
        elif below - 1 > floor > 0:
            below = floor + 1
        else:
            return _hits(ids, limit, None)
        if time.monotonic() > deadline:
            return _hits(ids, limit, below)
    return _hits(ids, limit, below)


def _hits(ids: list[int], limit: int, further: int | None) -> Hits:
    if len(ids) > limit:
        return Hits(ids[:limit], ids[limit - 1])
    return Hits(ids, further)


def _read(session: Session, query: str, condition: str, params: Sequence[Any]) -> list[LogRow]:
    return [to_log_row(row) for row in session.execute(query % condition, params)]


def _wants(plan: Plan, row: LogRow) -> bool:
    return contains_words(row.event, plan.filters.q) and plan.filters.matches(row.event)
