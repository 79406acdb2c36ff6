"""Connections to the server, and what its errors mean to a person.

psycopg is imported here and nowhere else, when the first connection is made: it takes 135 ms.
"""

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final, Self
from urllib.parse import parse_qsl, quote, unquote, urlencode, urlsplit

import msgspec

from realm_telemetry.errors import ConfigError
from realm_telemetry.log.errors import (
    LogInterruptedError,
    LogRefusedError,
    LogUnavailableError,
)
from realm_telemetry.log.postgres.deadline import OverdueError, answers_within, has_ended, shut_down
from realm_telemetry.log.postgres.pooler import shares_connections
from realm_telemetry.log.postgres.texts import to_stored

if TYPE_CHECKING:
    import psycopg

OLDEST_SERVER: Final = 140_000
"""Multiranges came with PostgreSQL 14."""

CONNECT_TIMEOUT_S: Final = 2
RETRY_S: Final = 10.0
ANSWER_S: Final = 5.0
"""For what a server that is there answers at once."""
STATEMENT_S: Final = 15.0
"""For one statement: none looks at more than some thousand rows, and others wait for it."""
SCHEMA: Final = "realm"
IDLE_S: Final = 60
"""For a transaction in which nothing is asked: a process that was stopped holds up no other."""
_SET_UP_S: Final = 3.0
GRACE_S: Final = 1.0
"""The server ends what takes too long; a server that hangs ends nothing."""
_CANCEL_S: Final = 2.0
_KEEPALIVES: Final = {
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 10_000,
}
"""A machine that is gone without a word is known within 25 s; the last is in milliseconds."""

_SETTING: Final = "the log"
_ENCODINGS: Final = ("UTF8", "SQL_ASCII")

_ADVICE: Final[Mapping[str, tuple[str, str]]] = {
    "28P01": ("refuses the password", "Set PGPASSWORD, or put it into ~/.pgpass"),
    "28000": ("refuses this user", "See pg_hba.conf of the server, and the user in the URL"),
    "3D000": ("has no such database", "Create it: createdb NAME"),
    "42501": ("does not allow this to the user", "Grant the user the schema of the log"),
    "25006": (
        "is a standby or read-only, and cannot be written",
        "Name all servers in the URL, with target_session_attrs=read-write; on a primary, let"
        " default_transaction_read_only be off for the user",
    ),
    "53300": ("has no connection left", "Raise max_connections of the server"),
    "53100": ("cannot grow, its disk is full", "Free some space there"),
    "53200": ("is out of memory", "See its log; max_locks_per_transaction is one that it names"),
    "55P03": (
        "holds up what is asked: another program has locked it",
        "See pg_stat_activity and pg_locks of the server",
    ),
    "57014": (
        "has not finished a statement in time",
        "See what it does in pg_stat_activity: other programs, its disk, or a lock",
    ),
    "57P01": ("has ended the connection", "An administrator did, or it stops; it is tried again"),
    "57P03": ("does not take connections now", "It starts or stops; try again"),
}
_NO_ANSWER: Final = (
    "does not answer",
    "See whether it runs, and whether the network to it lets packets through in both directions",
)


# A user, a database or a pooler may have others.
_SETTINGS: Final = (
    "SET jit TO off; SET default_text_search_config TO 'pg_catalog.simple';"
    " SET default_transaction_isolation TO 'read committed'"
)


def driver() -> Any:
    """Return psycopg. Raises ConfigError where it is not installed."""
    try:
        import psycopg
    except ImportError as error:
        raise ConfigError(
            _SETTING,
            f"PostgreSQL needs psycopg, which cannot be imported ({error})",
            "Install it: pip install 'realm-telemetry[postgres]'",
        ) from None
    return psycopg


class Place(msgspec.Struct, frozen=True):
    """Where a log is.

    conninfo: a URL for libpq, which may hold a password. shown: the same without secrets.
    schema: of the log's tables. connect_timeout_s: for each server of the URL.
    retry_s: for how long an append is tried again before it is an error.
    """

    conninfo: str
    shown: str
    schema: str = SCHEMA
    connect_timeout_s: int = CONNECT_TIMEOUT_S
    retry_s: float = RETRY_S

    @classmethod
    def parse(cls, url: str) -> "Place":
        """Read `postgresql://...`; `schema` and `log_retry_s` are ours, the others libpq's.

        Raises ConfigError.
        """
        try:
            parts = urlsplit(url)
            given = parse_qsl(parts.query, keep_blank_values=True, strict_parsing=bool(parts.query))
        except ValueError as error:
            raise _no_url(str(error)) from None
        if parts.scheme not in ("postgresql", "postgres"):
            raise _no_url("it begins with postgresql://")
        options = dict(given)
        schema = options.pop("schema", SCHEMA)
        if not schema or len(schema) > 60 or not schema.replace("_", "a").isalnum():
            raise _no_url("schema needs letters, digits and _")
        timeout = options.pop("connect_timeout", str(CONNECT_TIMEOUT_S))
        if not timeout.isdigit():
            raise _no_url("connect_timeout needs a whole number of seconds")
        try:
            retry_s = float(options.pop("log_retry_s", RETRY_S))
        except ValueError:
            raise _no_url("log_retry_s needs seconds") from None
        shown = {name: value for name, value in options.items() if "password" not in name}
        user, at, hosts = parts.netloc.rpartition("@")
        visible = f"{user.partition(':')[0]}{at}{hosts}"
        if schema != SCHEMA:
            shown["schema"] = schema
        place = cls(
            parts._replace(query=_query(options)).geturl(),
            parts._replace(netloc=visible, query=_query(shown)).geturl(),
            schema,
            int(timeout) or CONNECT_TIMEOUT_S,
            retry_s,
        )
        place.check()
        return place

    @property
    def keepalives(self) -> dict[str, Any]:
        """How soon a server that is gone is noticed, as far as the URL does not say it."""
        return {name: value for name, value in _KEEPALIVES.items() if name not in self.conninfo}

    def check(self) -> None:
        """Let libpq read the URL. Raises ConfigError."""
        psycopg = driver()
        try:
            psycopg.conninfo.conninfo_to_dict(self.conninfo)
        except psycopg.Error as error:
            raise _no_url(self.cleaned(str(error))) from None

    def cleaned(self, text: str) -> str:
        """Return a text without the password that the URL may hold."""
        secret = urlsplit(self.conninfo).netloc.rpartition("@")[0].partition(":")[2]
        for name, value in parse_qsl(urlsplit(self.conninfo).query):
            if "password" in name:
                text = text.replace(value, "…").replace(quote(value), "…")
        return text.replace(secret, "…").replace(unquote(secret), "…") if secret else text


def _query(options: Mapping[str, str]) -> str:
    # libpq knows %20 and no plus.
    return urlencode(options, quote_via=quote)


def _no_url(problem: str) -> ConfigError:
    return ConfigError(
        _SETTING, f"it is no URL of PostgreSQL: {problem}", "Write postgresql://user@host/database"
    )


@contextmanager
def explained(place: Place) -> Iterator[None]:
    """Translate psycopg's errors.

    Raises LogUnavailableError that says what to do, or LogRefusedError.
    """
    psycopg = driver()
    try:
        yield
    except (psycopg.Error, OverdueError) as error:
        raise translated(place, error) from error


def translated(place: Place, error: "psycopg.Error | OverdueError") -> Exception:
    """Return the log's error for one of psycopg's, or for an answer that did not come."""
    psycopg = driver()
    state = getattr(error, "sqlstate", None) or ""
    if state.startswith(("22", "23", "42804")) or (
        not state and isinstance(error, psycopg.DataError | psycopg.ProgrammingError)
    ):
        return LogRefusedError(place.cleaned(str(error)))
    problem, advice = _ADVICE.get(state, ("", ""))
    text = " ".join(place.cleaned(str(error)).split())
    if not problem and "password authentication failed" in text:
        problem, advice = _ADVICE["28P01"]
    elif not problem and "no password supplied" in text:
        problem, advice = "asks for a password", _ADVICE["28P01"][1]
    elif not problem and "session is read-only" in text:
        problem, advice = _ADVICE["25006"]
    elif not problem and 'database "' in text and "does not exist" in text:
        problem, advice = _ADVICE["3D000"]
    elif isinstance(error, OverdueError | psycopg.errors.ConnectionTimeout):
        problem, advice = _NO_ANSWER
    problem = problem or "cannot be used"
    return LogUnavailableError(
        f"the server of the log {place.shown} {problem} ({text})",
        f"{advice or 'Run `realm doctor`'}; events wait in their spools meanwhile.",
    )


@lru_cache(maxsize=64)
def _as_it_is(oid: int) -> type:
    """Return a dumper of what is in the server's binary form already."""
    psycopg = driver()

    class AsItIs(psycopg.adapt.Dumper):  # type: ignore[name-defined,misc]
        format = psycopg.pq.Format.BINARY

        def dump(self, obj: bytes) -> bytes:
            return obj

    AsItIs.oid = oid
    return AsItIs


@lru_cache(maxsize=512)
def _with_marks(query: str) -> str:
    return query.replace("%", "%%").replace("?", "%s")


class Session:
    """One connection, for one thread at a time; `execute` takes `?`, as statements of both engines.

    broken: its server has gone, or it is in an unknown state.
    statement_s: within what time each statement of `execute` is answered; None: any.
    """

    def __init__(self, place: Place, *, statement_s: float | None = STATEMENT_S) -> None:
        self.place = place
        self.statement_s = statement_s
        self.notices: list[str] = []
        self.interrupted = False
        self.raw: psycopg.Connection[Any]
        with explained(place):
            self.raw = self._connected()
            try:
                with self.within(place.connect_timeout_s + _SET_UP_S):
                    self._set_up()
            except BaseException:
                self.raw.close()
                raise

    def _connected(self) -> Any:
        return driver().connect(
            self.place.conninfo,
            autocommit=True,
            connect_timeout=self.place.connect_timeout_s,
            application_name="realm_telemetry",
            client_encoding="utf8",
            **self.place.keepalives,
        )

    def _set_up(self) -> None:
        version = self.raw.info.server_version
        if version < OLDEST_SERVER:
            raise self._unfit(
                f"PostgreSQL {version // 10_000}, which is too old",
                f"Use {OLDEST_SERVER // 10_000} or newer",
            )
        encoding = self.raw.info.parameter_status("server_encoding")
        if encoding not in _ENCODINGS:
            raise self._unfit(
                f"a database with the encoding {encoding}, which has no place for all texts",
                "Make one with --encoding UTF8 --template template0",
            )
        if shares_connections(self.raw, self._connected, self.place.shown):
            raise self._unfit(
                "a pooler that gives a connection to others between two transactions",
                "Name the server itself, a service needs seven connections; or pool_mode = session",
            )
        self.raw.add_notice_handler(self._note)
        self.raw.execute(f'SET search_path TO "{self.place.schema}"; {_SETTINGS}; {self._limits()}')

    def _unfit(self, problem: str, fix: str) -> ConfigError:
        return ConfigError(_SETTING, f"{self.place.shown} is {problem}", fix)

    def _limits(self) -> str:
        """Statements that let the server end what takes too long, whatever the user's own are."""
        lasting_s = self.statement_s or 0
        return (
            f"SET statement_timeout TO {lasting_s * 1000:.0f};"
            f" SET lock_timeout TO {min(lasting_s, ANSWER_S) * 1000:.0f};"
            f" SET idle_in_transaction_session_timeout TO '{IDLE_S if lasting_s else 0}s'"
        )

    def takes_binary(self, kind: type[bytes], oid: int) -> None:
        """Send values of this class as the server's type `oid`, which they are the bytes of."""
        self.raw.adapters.register_dumper(kind, _as_it_is(oid))

    def _note(self, diagnostic: Any) -> None:
        if len(self.notices) < 100:
            self.notices.append(diagnostic.sqlstate or "")

    def within(self, seconds: float) -> AbstractContextManager[None]:
        """End the connection if the server does not answer in time. Raises OverdueError then."""
        return answers_within(seconds, self.raw.fileno(), self.place.shown)

    @property
    def broken(self) -> bool:
        """Whether it cannot be used any more."""
        return bool(self.raw.closed or self.raw.broken)

    def execute(self, query: str, params: Sequence[Any] = ()) -> Any:
        """Run a statement with `?` for its parameters; return the cursor."""
        given = [to_stored(value) if type(value) is str else value for value in params]
        with self._in_time():
            return self.raw.execute(_with_marks(query), given)

    def _in_time(self) -> AbstractContextManager[None]:
        seconds = self.statement_s
        return nullcontext() if seconds is None else self.within(seconds + GRACE_S)

    def begin(self, query: str) -> None:
        """Run what a server answers at once, as the beginning of a transaction, in ANSWER_S."""
        with self.within(ANSWER_S):
            self.raw.execute(query)

    def script(self, query: str) -> None:
        """Run one or several statements without parameters."""
        with self._in_time():
            self.raw.execute(query)

    @contextmanager
    def unhurried(self) -> Iterator[None]:
        """Let statements take any time."""
        before, self.statement_s = self.statement_s, None
        self.begin(self._limits())
        try:
            yield
        finally:
            self.statement_s = before
            if not self.broken:
                self.begin(self._limits())

    def executemany(self, query: str, rows: Sequence[Sequence[Any]]) -> None:
        """Run a statement once for each row."""
        for row in rows:
            self.execute(query, row)

    @contextmanager
    def transaction(self) -> Iterator[Self]:
        """One transaction, rolled back on any exception. It begins within ANSWER_S.

        Raises LogUnavailableError where no standby has confirmed it: it may be lost.
        """
        self.notices.clear()
        self.begin("BEGIN")
        try:
            yield self
        except BaseException:
            if not self.broken:
                with suppress(Exception):
                    self.script("ROLLBACK")
            raise
        self.script("COMMIT")
        self.check_confirmed()

    def check_confirmed(self) -> None:
        """Refuse a COMMIT whose wait for the standby was cancelled; the server only warns.

        Source: SyncRepWaitForLSN in src/backend/replication/syncrep.c, WARNING 01000.
        """
        if "01000" in self.notices:
            self.notices.clear()
            raise LogUnavailableError(
                f"the log {self.place.shown} has a transaction that its standby has not confirmed",
                "It is sent again.",
            )

    def cancel(self) -> None:
        """End the statement that runs now; from any thread."""
        self.interrupted = True
        try:
            self.raw.cancel_safe(timeout=_CANCEL_S)
        except Exception:  # noqa: BLE001 - the server does not answer: nobody is to wait for it
            with suppress(Exception):
                shut_down(self.raw.fileno())

    def close(self) -> None:
        """Close the connection."""
        self.raw.close()


class Sessions:
    """Connections that are reused, one for each thread that needs one now.

    prepare: done with each new one. keep: False closes each after its use, which then is rare.
    """

    def __init__(
        self,
        place: Place,
        prepare: Callable[[Session], Any] | None = None,
        *,
        keep: bool = True,
    ) -> None:
        self._place = place
        self._keep = keep
        self._prepare = prepare
        self._lock = threading.Lock()
        self._idle: list[Session] = []
        self._busy: set[Session] = set()
        self._closed = False

    @contextmanager
    def one(self) -> Iterator[Session]:
        """A session, with psycopg's errors translated."""
        session = self._take()
        try:
            with explained(self._place):
                yield session
        except LogUnavailableError as error:
            if session.interrupted and getattr(error.__cause__, "sqlstate", "") == "57014":
                raise LogInterruptedError("the query was ended before it had an answer") from error
            raise
        finally:
            self._give_back(session)

    def _take(self) -> Session:
        with self._lock:
            while self._idle:
                session = self._idle.pop()
                if not (session.broken or has_ended(session.raw)):
                    session.interrupted = False
                    self._busy.add(session)
                    return session
                session.close()
            if self._closed:
                raise LogUnavailableError(f"the log {self._place.shown} was closed")
        session = Session(self._place)
        try:
            if self._prepare is not None:
                with explained(self._place):
                    self._prepare(session)
        except BaseException:
            session.close()
            raise
        with self._lock:
            self._busy.add(session)
        return session

    def _give_back(self, session: Session) -> None:
        with self._lock:
            self._busy.discard(session)
            # One that was cancelled late would end the statement of whoever has it next.
            if (
                self._closed
                or not self._keep
                or session.broken
                or session.interrupted
                or session.raw.info.transaction_status
            ):
                session.close()
            else:
                self._idle.append(session)

    def interrupt(self) -> None:
        """End the statements that run now."""
        with self._lock:
            busy = list(self._busy)
        for session in busy:
            session.cancel()

    def close(self) -> None:
        """Close what is idle now, and the others when they are given back."""
        with self._lock:
            self._closed = True
            for session in self._idle:
                session.close()
            self._idle.clear()
