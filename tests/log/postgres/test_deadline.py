"""A server that takes what it is sent and never answers, at every moment of a transaction."""

import threading
import time
from collections.abc import Callable, Iterator

import pytest

from realm_telemetry.log.engine import Reader, open_log
from realm_telemetry.log.errors import LogUnavailableError
from realm_telemetry.log.postgres.connection import Place, Session, explained
from realm_telemetry.log.postgres.deadline import OverdueError
from tests.postgres_server import PASSWORD, Server
from tests.tcp_proxy import TcpProxy
from tests.waiting import SOON_S

from .conftest import make_event

pytestmark = pytest.mark.processes

STATEMENT_S = 0.4


@pytest.fixture
def proxy(postgres: Server, monkeypatch: pytest.MonkeyPatch) -> Iterator[TcpProxy]:
    """A way to the server that may be cut, and statements that may take little time."""
    defaults = {"statement_s": STATEMENT_S}
    monkeypatch.setattr(Session.__init__, "__kwdefaults__", defaults)
    monkeypatch.setattr("realm_telemetry.log.postgres.connection.ANSWER_S", STATEMENT_S)
    proxy = TcpProxy(postgres.port)
    yield proxy
    proxy.close()


def through(proxy: TcpProxy) -> str:
    secret = PASSWORD.replace(" ", "%20")
    return f"postgresql://realm:{secret}@127.0.0.1:{proxy.port}/postgres?schema=deadline"


def hang_before_begin(session: Session, hang: Callable[[], None]) -> None:
    hang()
    with session.transaction():
        session.execute("SELECT 1")


def hang_in_a_statement(session: Session, hang: Callable[[], None]) -> None:
    with session.transaction():
        hang()
        session.execute("SELECT 1")


def hang_at_commit(session: Session, hang: Callable[[], None]) -> None:
    with session.transaction():
        session.execute("SELECT 1")
        hang()


def hang_at_rollback(session: Session, hang: Callable[[], None]) -> None:
    with session.transaction():
        hang()
        raise LogUnavailableError("the first problem")


def hang_outside(session: Session, hang: Callable[[], None]) -> None:
    hang()
    session.execute("SELECT 1")


@pytest.mark.parametrize(
    "moment",
    [hang_before_begin, hang_in_a_statement, hang_at_commit, hang_at_rollback, hang_outside],
)
def test_a_session_gives_up_a_server_that_hangs(
    proxy: TcpProxy, moment: Callable[[Session, Callable[[], None]], None]
) -> None:
    place = Place.parse(through(proxy))
    session = Session(place)
    began_s = time.monotonic()
    words = "the first problem|does not answer"
    with pytest.raises(LogUnavailableError, match=words), explained(place):
        moment(session, lambda: proxy.set("half-open"))
    assert STATEMENT_S <= time.monotonic() - began_s < SOON_S
    assert session.broken
    session.close()


def hang_before_a_snapshot(reader: Reader, hang: Callable[[], None]) -> None:
    hang()
    reader.now.max_cursor()


def hang_in_a_snapshot(reader: Reader, hang: Callable[[], None]) -> None:
    with reader.snapshot() as snapshot:
        hang()
        snapshot.max_cursor()


@pytest.mark.parametrize("moment", [hang_before_a_snapshot, hang_in_a_snapshot])
def test_a_reader_gives_up_a_server_that_hangs_and_goes_on_after_it(
    proxy: TcpProxy, moment: Callable[[Reader, Callable[[], None]], None]
) -> None:
    log = open_log(through(proxy))
    with log.writer() as writer, log.reader() as reader:
        stored = writer.append([make_event(1)])
        with pytest.raises(LogUnavailableError, match="does not answer"):
            moment(reader, lambda: proxy.set("half-open"))
        proxy.set("pass")
        assert reader.now.max_cursor() >= stored.first_cursor


def test_a_statement_that_may_take_its_time_is_waited_for(proxy: TcpProxy) -> None:
    session = Session(Place.parse(through(proxy)))
    with session.unhurried(), session.transaction():
        session.execute("SELECT pg_sleep(?)", (3 * STATEMENT_S,))
    with pytest.raises(Exception, match="statement timeout"):
        session.execute("SELECT pg_sleep(?)", (5 + STATEMENT_S,))
    session.close()


def test_who_waits_for_a_server_that_hangs_can_be_let_go(proxy: TcpProxy) -> None:
    log = open_log(through(proxy))
    session = Session(Place.parse(through(proxy)), statement_s=60.0)
    proxy.set("half-open")
    timer = threading.Timer(0.3, log.abandon)
    timer.start()
    with pytest.raises(OverdueError, match="no longer"):
        session.execute("SELECT 1")
    timer.join()
    session.close()


def test_a_watch_of_a_server_that_hangs_ends_at_once(proxy: TcpProxy) -> None:
    log = open_log(through(proxy))
    log.writer().close()
    watch = log.watch()
    proxy.set("half-open")
    time.sleep(0.6)
    began_s = time.monotonic()
    watch.close()
    assert time.monotonic() - began_s < 3
