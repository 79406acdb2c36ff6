"""The heartbeats of hosts, for all services of the log: a row for each pipeline of a host."""

from collections.abc import Sequence
from typing import Any, Final

from realm_telemetry.log.hosts import SharedBeat
from realm_telemetry.log.postgres.connection import ANSWER_S, Place, Session, Sessions
from realm_telemetry.log.postgres.holders import holder_name
from realm_telemetry.log.postgres.schema import migrate
from realm_telemetry.log.postgres.texts import to_name

_FORGET_DAYS: Final = 30
# A row that is lost with the server comes again with the next heartbeat.
_NO_WAIT: Final = "SET LOCAL synchronous_commit = off"
# In one order, so that two services do not wait for each other.
_KEEP: Final = """
INSERT INTO realm_hosts AS h (host, boot_id, pipeline, content, heard_at, service)
SELECT host, boot_id, pipeline, content, clock_timestamp() - make_interval(secs => age_s), ?
FROM unnest(?::text[], ?::text[], ?::text[], ?::bytea[], ?::float8[])
    AS n (host, boot_id, pipeline, content, age_s)
ORDER BY host, boot_id, pipeline
ON CONFLICT (host, boot_id, pipeline) DO UPDATE SET content = excluded.content,
    heard_at = excluded.heard_at, service = excluded.service
WHERE excluded.heard_at > h.heard_at"""
# With an overlap, for rows whose commit came after the look at younger ones.
_OTHERS: Final = """
SELECT host, boot_id, pipeline, content,
    greatest(extract(epoch FROM clock_timestamp() - heard_at), 0)::float8, heard_at
FROM realm_hosts
WHERE service <> ? AND heard_at > coalesce(?::timestamptz - interval '10 s', '-infinity')"""
_OLD: Final = (
    "DELETE FROM realm_hosts WHERE heard_at < clock_timestamp() - make_interval(days => ?)"
)


class Hosts:
    """The table as one service uses it; see log.hosts.HostTable."""

    def __init__(self, place: Place) -> None:
        self._sessions = Sessions(place, migrate)
        self._service = holder_name("service")
        self._newest: Any = None
        self._is_swept = False

    def exchange(self, heard: Sequence[SharedBeat]) -> list[SharedBeat]:
        """Keep what this service has heard; return what others have since the last call."""
        with self._sessions.one() as session, session.within(ANSWER_S):
            if heard:
                self._keep(session, heard)
            rows = session.execute(_OTHERS, (self._service, self._newest)).fetchall()
        times = [row[5] for row in rows]
        if self._newest is not None:
            times.append(self._newest)
        self._newest = max(times, default=None)
        return [SharedBeat(row[0], row[1], row[2], bytes(row[3]), row[4]) for row in rows]

    def _keep(self, session: Session, heard: Sequence[SharedBeat]) -> None:
        columns = [
            [to_name(each.host) for each in heard],
            [to_name(each.boot_id) for each in heard],
            [to_name(each.pipeline) for each in heard],
            [each.content for each in heard],
            [each.age_s for each in heard],
        ]
        with session.transaction():
            session.execute(_NO_WAIT)
            session.execute(_KEEP, (self._service, *columns))
            if not self._is_swept:
                session.execute(_OLD, (_FORGET_DAYS,))
        self._is_swept = True

    def forget(self, host: str, boot_id: str) -> None:
        """Remove a host that is reported as lost."""
        with self._sessions.one() as session, session.within(ANSWER_S):
            session.execute(
                "DELETE FROM realm_hosts WHERE host = ? AND boot_id = ?",
                (to_name(host), to_name(boot_id)),
            )

    def close(self) -> None:
        """Close the connection."""
        self._sessions.close()
