"""The log's tables in PostgreSQL, in a schema of their own, and the ordered migrations."""

import secrets
from typing import Final

from realm_telemetry.log.errors import LogUnavailableError
from realm_telemetry.log.postgres.connection import Session

HOUR_NS: Final = 3_600_000_000_000

# Kind, channel and severity go together; few combinations of them occur. Each is a group, which has
# the totals. `happened` counts every event ever stored, `gone` those that left again.
_FIRST: Final = """
CREATE TABLE realm_meta (
    key text COLLATE "C" PRIMARY KEY,
    value text COLLATE "C" NOT NULL
);
CREATE TABLE realm_head (
    only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    cursor bigint NOT NULL,
    before bigint NOT NULL,
    arrival_unix_nano bigint,
    appends bigint NOT NULL,
    epoch text NOT NULL
) WITH (fillfactor = 10);
CREATE TABLE realm_groups (
    id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    kind text COLLATE "C" NOT NULL,
    channel text COLLATE "C" NOT NULL,
    severity text COLLATE "C" NOT NULL,
    happened bigint NOT NULL DEFAULT 0,
    gone bigint NOT NULL DEFAULT 0,
    UNIQUE (kind, channel, severity)
) WITH (fillfactor = 50);
CREATE TABLE events (
    id bigint PRIMARY KEY,
    event_id uuid NOT NULL UNIQUE,
    time_unix_nano bigint NOT NULL,
    observed_unix_nano bigint NOT NULL,
    origin_observed_unix_nano bigint,
    group_id integer NOT NULL,
    trace_flags bigint,
    rank bigint,
    hero_id text COLLATE "C",
    campaign_id text COLLATE "C",
    run_id text COLLATE "C",
    source text COLLATE "C",
    trace_id text COLLATE "C",
    span_id text COLLATE "C",
    message text COLLATE "C" NOT NULL,
    details json,
    words tsvector
);
CREATE INDEX events_by_time ON events (time_unix_nano, id);
CREATE INDEX events_by_group ON events (group_id, time_unix_nano, id);
CREATE INDEX events_by_hero ON events (hero_id, group_id, time_unix_nano, id)
    WHERE hero_id IS NOT NULL;
CREATE INDEX events_by_campaign ON events (campaign_id, group_id, time_unix_nano, id)
    WHERE campaign_id IS NOT NULL;
CREATE INDEX events_by_run ON events (run_id, group_id, time_unix_nano, id)
    WHERE run_id IS NOT NULL;
CREATE INDEX events_by_run_and_hero ON events (run_id, hero_id, time_unix_nano, id)
    WHERE run_id IS NOT NULL AND hero_id IS NOT NULL;
CREATE INDEX events_by_word ON events USING gin (words) WHERE words IS NOT NULL;
CREATE TABLE realm_producers (
    producer text COLLATE "C" PRIMARY KEY,
    pipeline text COLLATE "C" NOT NULL,
    resource_json text COLLATE "C" NOT NULL DEFAULT '{}',
    history smallint NOT NULL DEFAULT 1,
    clock_offset_ns bigint NOT NULL DEFAULT 0,
    numbers int8multirange,
    lost boolean NOT NULL DEFAULT false,
    stored bigint NOT NULL DEFAULT 0,
    emitted bigint,
    dropped bigint NOT NULL DEFAULT 0,
    ended boolean NOT NULL DEFAULT false,
    last_kind text COLLATE "C",
    last_step bigint,
    last_time_unix_nano bigint,
    origin text COLLATE "C"
) WITH (fillfactor = 50);
CREATE TABLE realm_cursors (
    pipeline text COLLATE "C" NOT NULL,
    exporter text COLLATE "C" NOT NULL,
    cursor bigint NOT NULL,
    PRIMARY KEY (pipeline, exporter)
);
CREATE TABLE realm_dead_letters (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    pipeline text COLLATE "C" NOT NULL,
    exporter text COLLATE "C" NOT NULL,
    cursor bigint NOT NULL,
    event_id text COLLATE "C",
    reason text NOT NULL,
    time_unix_nano bigint NOT NULL
);
CREATE TABLE realm_hourly_counts (
    hour bigint NOT NULL,
    group_id integer NOT NULL,
    happened bigint NOT NULL DEFAULT 0,
    gone bigint NOT NULL DEFAULT 0,
    PRIMARY KEY (hour, group_id)
) WITH (fillfactor = 70);
CREATE TABLE realm_run_counts (
    hour bigint NOT NULL,
    run_id text COLLATE "C" NOT NULL,
    group_id integer NOT NULL,
    happened bigint NOT NULL DEFAULT 0,
    PRIMARY KEY (hour, run_id, group_id)
) WITH (fillfactor = 70);
CREATE TABLE webhook_requests (cursor bigint PRIMARY KEY, urls text NOT NULL);
CREATE TABLE realm_kinds (
    kind text COLLATE "C" PRIMARY KEY,
    channel text COLLATE "C" NOT NULL,
    severity text COLLATE "C" NOT NULL,
    message text,
    routine integer NOT NULL DEFAULT 0
);
CREATE TABLE realm_clock_jumps (cursor bigint PRIMARY KEY, arrival_unix_nano bigint NOT NULL);
CREATE TABLE realm_runs (
    run_id text COLLATE "C" PRIMARY KEY,
    started bigint NOT NULL,
    updated bigint NOT NULL,
    status text COLLATE "C",
    command text COLLATE "C",
    through bigint NOT NULL,
    record bytea NOT NULL
);
CREATE INDEX realm_runs_by_start ON realm_runs (started, run_id);
CREATE TABLE realm_snapshots (
    name text COLLATE "C" NOT NULL,
    reader text COLLATE "C" NOT NULL,
    log_id text NOT NULL,
    fold_version integer NOT NULL,
    cursor bigint NOT NULL,
    saved_unix_nano bigint NOT NULL,
    content bytea NOT NULL,
    PRIMARY KEY (name, reader)
);
CREATE TABLE realm_curves (
    run_id text COLLATE "C" NOT NULL,
    part text COLLATE "C" NOT NULL,
    through bigint NOT NULL,
    content bytea NOT NULL,
    -- Whether it was thinned to make room.
    thin boolean NOT NULL DEFAULT false,
    PRIMARY KEY (run_id, part, through)
);
CREATE TABLE realm_curves_mark (
    only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    log_id text NOT NULL,
    mark text NOT NULL
);
CREATE TABLE realm_leases (
    name text COLLATE "C" PRIMARY KEY,
    holder text NOT NULL,
    until timestamptz NOT NULL
);
CREATE VIEW realm_totals AS SELECT channel, severity, kind, happened, gone FROM realm_groups;
CREATE VIEW battle_log AS SELECT
    e.id,
    to_char(to_timestamp(e.time_unix_nano / 1000000000.0) AT TIME ZONE 'UTC',
        'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') AS timestamp,
    g.channel, coalesce(e.source, 'event.' || g.kind) AS source, g.severity, e.hero_id,
    e.campaign_id, e.message, e.details::text AS details_json, e.event_id, e.time_unix_nano,
    e.observed_unix_nano, g.kind, e.run_id,
    left(replace(e.event_id::text, '-', ''), 16) AS producer,
    e.trace_id, e.span_id, e.trace_flags, e.origin_observed_unix_nano, e.rank
FROM events AS e LEFT JOIN realm_groups AS g ON g.id = e.group_id;
"""

# IF NOT EXISTS asks for the right to make schemas also where there is one.
MAKE_SCHEMA: Final = """
DO $make$ BEGIN
    IF to_regnamespace('"{schema}"') IS NULL THEN CREATE SCHEMA "{schema}"; END IF;
END $make$;
"""

# Addresses are secrets: in a schema of their own, so that a dump can leave them out.
_ADDRESSES: Final = (
    MAKE_SCHEMA.replace("{schema}", "{schema}_addresses")
    + """
CREATE TABLE IF NOT EXISTS "{schema}_addresses".addresses (
    name text COLLATE "C" PRIMARY KEY,
    url text COLLATE "C" NOT NULL UNIQUE,
    used_unix_nano bigint NOT NULL
);
"""
)

_HOSTS: Final = """
CREATE TABLE realm_hosts (
    host text COLLATE "C" NOT NULL,
    boot_id text COLLATE "C" NOT NULL,
    pipeline text COLLATE "C" NOT NULL,
    content bytea NOT NULL,
    heard_at timestamptz NOT NULL,
    service text NOT NULL,
    PRIMARY KEY (host, boot_id, pipeline)
) WITH (fillfactor = 50);
"""

MIGRATIONS: Final = (_FIRST + _ADDRESSES, _HOSTS)
SCHEMA_VERSION: Final = len(MIGRATIONS)

_LOCK: Final = 0x7265616C6D  # "realm"


def read_version(session: Session) -> int:
    """Return the version of the tables; 0 if there are none."""
    row = session.execute(
        "SELECT to_regclass(?) IS NOT NULL", (f'"{session.place.schema}".realm_meta',)
    ).fetchone()
    if not row[0]:
        return 0
    found = session.execute("SELECT value FROM realm_meta WHERE key = 'schema_version'").fetchone()
    return int(found[0]) if found else 0


def migrate(session: Session) -> None:
    """Make the tables, or bring them up to date; several may try at once.

    Raises LogUnavailableError for tables of a newer version.
    """
    version = read_version(session)
    schema = session.place.schema
    if version == SCHEMA_VERSION:
        _restore_addresses(session, schema)
        return
    with session.unhurried(), session.transaction():
        session.execute("SELECT pg_advisory_xact_lock(?)", (_LOCK,))
        version = read_version(session)
        if version > SCHEMA_VERSION:
            raise LogUnavailableError(
                f"the log {session.place.shown} was made by a newer version of realm_telemetry"
                f" (schema {version}, this one knows {SCHEMA_VERSION})",
                "Upgrade the package here.",
            )
        if version == 0:
            session.script(MAKE_SCHEMA.replace("{schema}", schema))
        for number, statements in enumerate(MIGRATIONS, 1):
            if number > version:
                session.script(statements.replace("{schema}", schema))
        if version == 0:
            _begin(session)
        session.execute(
            "INSERT INTO realm_meta VALUES ('schema_version', ?)"
            " ON CONFLICT (key) DO UPDATE SET value = excluded.value",
            (str(SCHEMA_VERSION),),
        )


def _restore_addresses(session: Session, schema: str) -> None:
    """Make the table of addresses again where a dump that left it out was restored."""
    name = f'"{schema}_addresses".addresses'
    if not session.execute("SELECT to_regclass(?) IS NOT NULL", (name,)).fetchone()[0]:
        with session.transaction():
            session.execute("SELECT pg_advisory_xact_lock(?)", (_LOCK,))
            session.script(_ADDRESSES.replace("{schema}", schema))


def _begin(session: Session) -> None:
    session.execute(
        "INSERT INTO realm_meta VALUES ('log_id', ?)",
        (secrets.token_hex(16),),
    )
    session.execute(
        "INSERT INTO realm_head VALUES (true, 0, 0, NULL, 0, ?)", (secrets.token_hex(8),)
    )


def read_log_id(session: Session) -> str:
    """The log's id, 32 hex digits, made with the tables."""
    row = session.execute("SELECT value FROM realm_meta WHERE key = 'log_id'").fetchone()
    return str(row[0])


def check_readable(session: Session) -> str:
    """Return the log's id. Raises LogUnavailableError where there is no log of this version."""
    version = read_version(session)
    place = session.place.shown
    if version == 0:
        raise LogUnavailableError(f"there is no log at {place} yet", "Make it: realm log init URL")
    if version < SCHEMA_VERSION:
        raise LogUnavailableError(
            f"the log {place} has not been brought up to date (schema {version} of"
            f" {SCHEMA_VERSION})",
            "Start a service that writes to it, or: realm log init URL",
        )
    return read_log_id(session)
