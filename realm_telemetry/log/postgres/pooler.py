"""Whether a pooler stands before the server that gives its connections to another at any time.

A session's settings, its prepared statements and LISTEN belong to one connection of the server.
"""

from collections.abc import Callable
from contextlib import closing
from typing import Any, Final

from realm_telemetry.log.postgres.deadline import OverdueError, answers_within

_PID: Final = "SELECT pg_backend_pid()"
_WAIT_S: Final = 2.0

_known: Final = set[str]()


def shares_connections(raw: Any, connect: Callable[[], Any], place: str) -> bool:
    """Whether another client gets the server's connection of this one between two statements.

    raw: a connection of psycopg. connect: opens another.
    place: of the log; one that does not share is asked once.
    """
    # A pooler names a process of its own when a client connects; see pg_backend_pid.
    if place in _known or _pid(raw) == raw.info.backend_pid:
        return False
    before = _pid(raw)
    try:
        with closing(connect()) as other, answers_within(_WAIT_S, other.fileno(), place):
            other.execute("BEGIN")
            if _pid(other) == before or _pid(raw) != before:
                return True
    except OverdueError:  # it has no second one, so it cannot have given it the first
        pass
    _known.add(place)
    return False


def _pid(raw: Any) -> int | None:
    row = raw.execute(_PID).fetchone()
    return None if row is None else int(row[0])
