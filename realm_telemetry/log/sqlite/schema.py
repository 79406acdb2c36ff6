"""The log's tables, indexes and triggers, as SQL.

The older `battle_log` is created first and then extended, in a new file as in an old one, so
that there is one shape. Every index is partial: on an older table of millions of rows it is then
made without an entry for rows that are not filled in yet.
"""

from typing import Final

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
    # What register_kind said in the producers, for readers in other processes.
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

# Arrival in the log that an event was replayed from: how live it was. `observed_unix_nano` stays
# the arrival here, which retention goes by.
ORIGIN_COLUMN: Final = ("origin_observed_unix_nano", "INTEGER")

TIME_INDEX: Final = "battle_log_by_time"
KIND_INDEX: Final = "battle_log_by_kind"
HERO_INDEX: Final = "battle_log_by_hero"
CAMPAIGN_INDEX: Final = "battle_log_by_campaign"
RUN_INDEX: Final = "battle_log_by_run"

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
    """The triggers that keep ids, times and counts right whatever older code does.

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
