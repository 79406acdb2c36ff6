"""The statements of one append, which go to the server together: one round trip.

Every append locks the row of the head, so that cursors are dense and in the order of commits: who
has seen a cursor has seen all below it.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

from realm_telemetry.event import FIRST_CONTENT_NUMBER
from realm_telemetry.log.postgres.schema import HOUR_NS

_COLUMNS: Final = (
    ("event_id", "uuid"),
    ("time_unix_nano", "bigint"),
    ("group_id", "integer"),
    ("number", "bigint"),
    ("producer", "cut"),
    ("step", "bigint"),
    ("source", "cut"),
    ("hero_id", "cut"),
    ("campaign_id", "cut"),
    ("run_id", "cut"),
    ("message", "cut"),
    ("details", "cut"),
    ("trace_id", "cut"),
    ("span_id", "cut"),
    ("trace_flags", "bigint"),
    ("origin_observed_unix_nano", "bigint"),
    ("rank", "bigint"),
    ("words", "cut"),
)
"""What columns.Columns has of each event. number: negative if it counts nothing, -1 for a
`process_lost`. cut: texts with a separator between them."""


def _given(name: str, kind: str) -> str:
    if kind == "cut":
        return f"string_to_array(%({name})s::text, %(separator)s::text, %(none)s::text)"
    return f"%({name})s::{kind}[]"


_ARRAYS: Final = ", ".join(_given(*column) for column in _COLUMNS)
_NAMES: Final = ", ".join(name for name, _ in _COLUMNS)

PLANNING: Final = "SET plan_cache_mode TO force_generic_plan; SET enable_seqscan TO off"
"""A plan that is made once: that takes as long as to store 100 events. The tables may be empty
then, and grow."""

LOCK: Final = "SELECT cursor, epoch FROM realm_head FOR UPDATE"

# Whose events a producer's are; see log.engine.Writer.append about `source`.
OWNER: Final = (
    "CASE WHEN numbers IS NULL THEN '' WHEN pipeline LIKE 'remote/%%' THEN coalesce(origin, '')"
    " WHEN pipeline IN ('import', 'replay') THEN '' END"
)

REGISTER: Final = """
INSERT INTO realm_producers AS p (producer, pipeline, numbers, lost, stored)
SELECT new.producer, %(pipeline)s, coalesce(rows.numbers, '{}'), coalesce(rows.lost, false),
    coalesce(rows.stored, 0)
FROM unnest(%(producers)s::text[]) AS new (producer)
LEFT JOIN LATERAL (
    SELECT range_agg(int8range(number, number + 1)) FILTER (WHERE number >= 0) AS numbers,
        bool_or(number = -1) AS lost, count(*) FILTER (WHERE number >= 0) AS stored
    FROM (
        SELECT ('x' || right(replace(event_id::text, '-', ''), 16))::bit(64)::bigint AS number
        FROM events WHERE event_id BETWEEN (new.producer || repeat('0', 16))::uuid
            AND (new.producer || repeat('f', 16))::uuid
    ) AS numbered WHERE number >= -1 AND number < 9223372036854775807
) AS rows ON true
WHERE NOT EXISTS (
    SELECT FROM realm_producers AS known
    WHERE known.producer = new.producer AND known.numbers IS NOT NULL)
ON CONFLICT (producer) DO UPDATE SET pipeline = excluded.pipeline, resource_json = '{}',
    history = 1, clock_offset_ns = 0, origin = NULL, numbers = excluded.numbers,
    lost = excluded.lost, stored = excluded.stored"""

# The last SELECT answers for each event that was not stored why, and once with n = 0 for all. A row
# is looked for only where the numbers of its producer cannot tell: the index takes 2 us for each.
# OFFSET 0 keeps the planner from reading the whole table for a join.
_STORE: Final = f"""
WITH head AS MATERIALIZED (SELECT cursor, arrival_unix_nano FROM realm_head),
given AS MATERIALIZED (
    SELECT event_id, time_unix_nano, group_id, number, coalesce(producer, %(only)s::text)
        AS producer, step, source, hero_id, campaign_id, run_id, coalesce(message, '') AS message,
        details, trace_id, span_id, trace_flags, origin_observed_unix_nano, rank, words, n,
        number = -1 AS is_lost, number < -1 AS is_content,
        number BETWEEN 0 AND 9223372036854775806 AS is_counted
    FROM unnest({_ARRAYS}) WITH ORDINALITY AS i ({_NAMES}, n) WHERE event_id IS NOT NULL
), known AS MATERIALIZED (
    SELECT producer, numbers, lost, {OWNER} AS owner FROM realm_producers
    WHERE producer = ANY(%(producers)s::text[])
), looked AS MATERIALIZED (
    SELECT w.*, e.id IS NOT NULL AS is_row, e.time_unix_nano AS row_time, e.group_id AS row_group
    FROM (
        SELECT given.*, k.owner,
            k.numbers IS NOT NULL AND (is_counted OR is_lost) AS is_told,
            k.numbers IS NOT NULL AND NOT is_content
                AND CASE WHEN is_lost THEN k.lost ELSE k.numbers @> number END AS is_known,
            k.producer IS NOT NULL AND NOT is_content AND %(is_foreign)s::boolean
                AND k.owner IS DISTINCT FROM '' AND k.owner IS DISTINCT FROM %(sender)s::text
                AS is_foreign
        FROM given LEFT JOIN known AS k ON k.producer = given.producer
    ) AS w LEFT JOIN LATERAL (
        SELECT id, time_unix_nano, group_id FROM events
        WHERE event_id = w.event_id AND NOT (w.is_told AND NOT w.is_known) OFFSET 0
    ) AS e ON true
), fresh AS MATERIALIZED (
    FRESH
), numbered AS MATERIALIZED (
    SELECT head.cursor + row_number() OVER (ORDER BY n) AS id,
        CASE WHEN time_unix_nano >= 0 THEN time_unix_nano / {HOUR_NS}
            ELSE -1 - -(time_unix_nano + 1) / {HOUR_NS} END AS hour,
        fresh.*
    FROM fresh, head
), stored AS (
    INSERT INTO events (id, event_id, time_unix_nano, observed_unix_nano,
        origin_observed_unix_nano, group_id, trace_flags, rank, hero_id, campaign_id, run_id,
        source, trace_id, span_id, message, details, words)
    SELECT id, event_id, time_unix_nano, %(arrival)s::bigint, origin_observed_unix_nano, group_id,
        trace_flags, rank, hero_id, campaign_id, run_id, source, trace_id, span_id, message,
        details::json, array_to_tsvector(string_to_array(words, ' '))
    FROM numbered
), counted AS MATERIALIZED (
    SELECT hour, run_id, group_id, count(*) AS happened FROM numbered GROUP BY 1, 2, 3
), hours AS (
    INSERT INTO realm_hourly_counts AS c (hour, group_id, happened)
    SELECT hour, group_id, sum(happened) FROM counted GROUP BY 1, 2
    ON CONFLICT (hour, group_id) DO UPDATE SET happened = c.happened + excluded.happened
), runs AS (
    INSERT INTO realm_run_counts AS c (hour, run_id, group_id, happened)
    SELECT hour, run_id, group_id, happened FROM counted WHERE run_id IS NOT NULL
    ON CONFLICT (hour, run_id, group_id) DO UPDATE SET happened = c.happened + excluded.happened
), totals AS (
    UPDATE realm_groups AS g SET happened = g.happened + c.happened
    FROM (SELECT group_id, sum(happened) AS happened FROM counted GROUP BY 1) AS c
    WHERE g.id = c.group_id
), sums AS (
    SELECT producer, count(*) FILTER (WHERE NOT is_lost) AS stored, bool_or(is_lost) AS lost,
        range_agg(int8range(number, number + 1)) FILTER (WHERE is_counted) AS numbers,
        max(n) AS last
    FROM numbered WHERE NOT is_content GROUP BY producer
), receipts AS (
    UPDATE realm_producers AS p SET stored = p.stored + s.stored, lost = p.lost OR s.lost,
        numbers = p.numbers + coalesce(s.numbers, '{{}}'),
        last_kind = (SELECT kind FROM realm_groups WHERE id = l.group_id),
        last_step = coalesce(l.step, p.last_step), last_time_unix_nano = l.time_unix_nano
    FROM sums AS s JOIN numbered AS l ON l.n = s.last
    WHERE p.producer = s.producer AND p.numbers IS NOT NULL
), jumped AS (
    INSERT INTO realm_clock_jumps SELECT head.cursor + 1, %(arrival)s::bigint FROM head
    WHERE %(arrival)s::bigint < head.arrival_unix_nano - 60000000000
        AND EXISTS (SELECT FROM numbered)
), moved AS (
    UPDATE realm_head AS h SET before = h.cursor, appends = appends + 1,
        cursor = h.cursor + (SELECT count(*) FROM numbered),
        arrival_unix_nano = CASE WHEN EXISTS (SELECT FROM numbered) THEN %(arrival)s::bigint
            ELSE h.arrival_unix_nano END
)
SELECT 0 AS n, head.cursor, (SELECT count(*) FROM numbered), NULL::text,
    coalesce(%(arrival)s::bigint < head.arrival_unix_nano - 60000000000, false) FROM head
UNION ALL
UNSTORED
ORDER BY 1"""


def _filled(fresh: str, unstored: str) -> str:
    """Return the statement with what differs."""
    return _STORE.replace("FRESH", fresh).replace("UNSTORED", unstored)


_NEW: Final = "SELECT * FROM looked WHERE NOT (is_row OR is_known OR is_foreign)"
_WHY: Final = "owner, is_foreign AND NOT is_row AND NOT is_known FROM looked"

STORE: Final = _filled(
    _NEW,
    f"SELECT n, row_time, row_group, {_WHY} WHERE is_row OR is_known OR is_foreign",
)
"""For events with different ids."""

STORE_REPEATED: Final = _filled(
    _NEW.replace("*", "DISTINCT ON (event_id) *", 1) + " ORDER BY event_id, n",
    f"""SELECT n, coalesce(row_time, (SELECT f.time_unix_nano FROM fresh AS f
        WHERE f.event_id = looked.event_id)),
    coalesce(row_group, (SELECT f.group_id FROM fresh AS f WHERE f.event_id = looked.event_id)),
    {_WHY} WHERE NOT EXISTS (SELECT FROM fresh WHERE fresh.n = looked.n)""",
)
"""For events of which some have the same id: the first counts."""

SKIP: Final = """
UPDATE realm_producers SET numbers = numbers + %s::int8multirange, lost = lost OR %s
WHERE producer = %s AND numbers IS NOT NULL"""

WEBHOOKS: Final = """
INSERT INTO webhook_requests (cursor, urls)
SELECT e.id, w.urls FROM unnest(%s::uuid[], %s::text[]) AS w (event_id, urls)
JOIN events AS e USING (event_id)
WHERE e.id > (SELECT before FROM realm_head) ON CONFLICT DO NOTHING"""

NOTIFY: Final = "SELECT pg_notify(%s, cursor::text) FROM realm_head"


class Unstored(NamedTuple):
    """An event that was not stored, by its place in the batch.

    time, group: of the event that has its id, None if that has left the log.
    owner: the log that its producer's events come from, for one that came from elsewhere.
    """

    position: int
    time: int | None
    group: int | None
    owner: str | None
    is_foreign: bool


class Stored(NamedTuple):
    """What an append has stored: `total` rows after the cursor `before`.

    set_back: whether the clock of who stores them was set back before them.
    """

    before: int
    total: int
    set_back: bool
    others: list[Unstored]


def empty(names: Sequence[str] = ()) -> dict[str, Any]:
    """Return the columns of an append without events."""
    return dict.fromkeys((*(name for name, _ in _COLUMNS), "separator", "none", "only")) | {
        "producers": list(names)
    }


def read_answer(rows: Sequence[Sequence[Any]]) -> Stored:
    """Read what STORE has answered."""
    _, before, count, _, set_back = rows[0]
    others = [Unstored(n - 1, time, group, owner, bad) for n, time, group, owner, bad in rows[1:]]
    return Stored(before, count, set_back, others)


def skipped_ranges(skipped: Mapping[str, Any]) -> list[tuple[str, bool, str]]:
    """Return the parameters of SKIP for the numbers of each producer that need no row."""
    found = []
    for producer, ranges in skipped.items():
        pairs = list(ranges)
        most = FIRST_CONTENT_NUMBER - 2
        text = ",".join(f"[{first},{min(end, most)}]" for first, end in pairs if first <= most)
        found.append((f"{{{text}}}", any(end == 2**64 - 1 for _, end in pairs), producer))
    return found
