"""How a server stands: what its standbys have, and what a commit of it survives."""

from collections.abc import Iterator
from typing import Final

from realm_telemetry.log.postgres.connection import Session, driver
from realm_telemetry.log.records import Concern

MAX_LAG_BYTES: Final = 64 * 1024 * 1024
MAX_LAG_S: Final = 10.0

_SERVER: Final = """
SELECT current_setting('synchronous_standby_names'), current_setting('synchronous_commit'),
    pg_is_in_recovery(), current_setting('fsync')"""
# Columns are NULL for a user who may not see them.
_STANDBYS: Final = """
SELECT application_name, state, sync_state, pg_wal_lsn_diff(pg_current_wal_lsn(), replay_lsn),
    extract(epoch FROM replay_lag) FROM pg_stat_replication ORDER BY application_name"""
_MAY_SEE: Final = "SELECT pg_has_role(current_user, 'pg_read_all_stats', 'USAGE')"


# More than one append writes, and gone with the statement: a result that memory does not hold.
_ROOM: Final = "SELECT count(*) FROM generate_series(1, 200000)"


def check_room(session: Session) -> None:
    """Write 3 MB where the server has its tables. Raises psycopg's DiskFull without room."""
    with session.transaction():
        session.execute("SET LOCAL work_mem = '64kB'")
        session.execute(_ROOM)


def concerns(session: Session) -> Iterator[Concern]:
    """Yield what a person should know of the server that is written to."""
    names, commit, is_standby, fsync = session.execute(_SERVER).fetchone()
    if is_standby:
        yield Concern(
            "problem",
            "this server is a standby, which cannot be written",
            "Name all servers in the URL, with target_session_attrs=read-write.",
        )
        return
    yield from _of_disk(session)
    if fsync == "off" or commit == "off":
        yield Concern(
            "warning",
            "commits are answered before they are on disk"
            f" ({'fsync' if fsync == 'off' else 'synchronous_commit'} = off)",
            "A power loss takes the last events. Turn it on in postgresql.conf.",
        )
    if not session.execute(_MAY_SEE).fetchone()[0]:
        yield Concern(
            "warning",
            "this user may not see the server's standbys",
            "Grant it: GRANT pg_read_all_stats TO USER",
        )
        return
    is_synchronous = bool(names) and commit not in ("off", "local")
    yield from _of_standbys(session, is_synchronous=is_synchronous)


def _of_disk(session: Session) -> Iterator[Concern]:
    try:
        check_room(session)
    except driver().errors.DiskFull as error:
        yield Concern(
            "problem",
            f"its disk is full ({' '.join(str(error).split())})",
            "Free some space at the server; until then events wait at their hosts.",
        )


def _of_standbys(session: Session, *, is_synchronous: bool) -> Iterator[Concern]:
    # A backup that is being taken is no standby.
    rows = [row for row in session.execute(_STANDBYS) if row[1] not in ("backup", "startup")]
    if is_synchronous and not any(row[2] in ("sync", "quorum") for row in rows):
        yield Concern(
            "problem",
            "no synchronous standby is connected, so every commit waits for one",
            "Start it, see docs/postgres.md; or take it out of synchronous_standby_names.",
        )
    for name, _state, sync_state, lag_bytes, lag_s in rows:
        if sync_state == "async" and not is_synchronous:
            yield Concern(
                "warning",
                f"the standby {name} is asynchronous: promoted, it lacks the last events that were"
                " acknowledged",
                f"Set synchronous_standby_names = 'FIRST 1 ({name})', see docs/postgres.md.",
            )
        if (lag_bytes or 0) > MAX_LAG_BYTES or (lag_s or 0) > MAX_LAG_S:
            behind = f"{float(lag_bytes or 0) / 1e6:,.0f} MB, {float(lag_s or 0):,.0f} s"
            yield Concern(
                "warning",
                f"the standby {name} lags behind ({behind})",
                "See what holds it up: its disk, the network, a long query there.",
            )
