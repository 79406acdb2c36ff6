"""What a client may cost before its token is asked for, with real sockets at every address."""

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from realm_telemetry.errors import ConfigError
from realm_telemetry.service import RealmServer, realm_app
from realm_telemetry.service.protocol import (
    MAX_HEADER_BYTES,
    MAX_HEADERS,
    MAX_PIPELINED,
    ConnectionLimits,
    RealmProtocol,
)
from tests.waiting import SOON_S, wait_until

from .conftest import asking, free_ports, serving

GET = b"GET /health HTTP/1.1\r\nHost: localhost\r\n"
POST = (
    b"POST /api/v1/events HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    b"Transfer-Encoding: chunked\r\n\r\n"
)


@contextmanager
def connected(server: RealmServer, door: int = 0) -> Iterator[socket.socket]:
    """A connection to one of the addresses."""
    with socket.create_connection(("127.0.0.1", server.ports[door]), timeout=10) as connection:
        yield connection


def answer_to(connection: socket.socket) -> bytes:
    """All that comes until the other side is gone."""
    answer = b""
    try:
        while data := connection.recv(65536):
            answer += data
    except ConnectionError:
        pass
    return answer


def sent_until_cut_off(connection: socket.socket, piece: bytes, most: int = 64 << 20) -> int:
    """Send the same bytes again and again; how many went before the connection was closed."""
    sent = 0
    try:
        while sent < most:
            connection.sendall(piece)
            sent += len(piece)
    except OSError:
        pass
    return sent


ENDLESS = {
    "request line": (b"GET /", b"a" * 65536),
    "query": (b"GET /health?", b"a=b&" * 16384),
    "one header": (GET + b"X: ", b"y" * 65536),
    "a header name": (GET, b"y" * 65536),
    "many headers": (GET, b"a:\r\n" * 16384),
    "line breaks before a request": (b"", b"\r\n" * 32768),
    "a chunk extension": (POST + b"1;", b"x" * 65536),
    "one trailer": (POST + b"1\r\n \r\n0\r\nX: ", b"y" * 65536),
    "many trailers": (POST + b"1\r\n \r\n0\r\n", b"a:\r\n" * 16384),
    "a chunk size": (POST, b"0" * 65536),
    "a trailer of an answered request": (
        GET.replace(b"GET", b"DELETE") + b"Transfer-Encoding: chunked\r\n\r\n0\r\nX: ",
        b"y" * 65536,
    ),
    "requests that nobody waits for": (b"", (GET + b"\r\n") * 1000),
}


@pytest.mark.parametrize("part", ENDLESS)
def test_no_part_of_a_request_but_its_body_may_be_endless(server: RealmServer, part: str) -> None:
    begin, piece = ENDLESS[part]
    for door in range(3):
        with connected(server, door) as connection:
            connection.sendall(begin)
            # The kernels on both sides hold a few hundred KiB.
            assert sent_until_cut_off(connection, piece) < 16 << 20


@pytest.mark.parametrize("part", ["one header", "one trailer", "a chunk extension", "many headers"])
def test_ten_endless_connections_hold_up_nobody(server: RealmServer, part: str) -> None:
    begin, piece = ENDLESS[part]
    over = threading.Event()

    def attack(door: int) -> None:
        while not over.is_set():
            with connected(server, door) as connection:
                connection.sendall(begin)
                sent_until_cut_off(connection, piece)

    attackers = [threading.Thread(target=attack, args=(n % 3,)) for n in range(10)]
    for attacker in attackers:
        attacker.start()
    try:
        with asking(server) as client:
            for _ in range(15):
                started = time.monotonic()
                assert client.get("/health").status_code == 200
                assert time.monotonic() - started < 5.0
    finally:
        over.set()
        for attacker in attackers:
            attacker.join()


def head(size: int) -> bytes:
    """A request whose request line and headers are counted as so many bytes."""
    fixed = len(b"/health" + b"Host" + b"localhost" + b"Connection" + b"close" + b"X")
    value = b"y" * (size - fixed)
    return GET + b"Connection: close\r\nX: " + value + b"\r\n\r\n"


def test_headers_may_have_as_many_bytes_as_the_limit_and_no_more(server: RealmServer) -> None:
    for size, status in ((MAX_HEADER_BYTES - 200, b"200"), (MAX_HEADER_BYTES + 1, b"431")):
        with connected(server) as connection:
            connection.sendall(head(size))
            answer = answer_to(connection)
        assert answer.startswith(b"HTTP/1.1 " + status)
    assert b'"headers_too_large"' in answer


def test_there_may_be_as_many_headers_as_the_limit_and_no_more(server: RealmServer) -> None:
    for more, status in ((MAX_HEADERS - 2, b"200"), (MAX_HEADERS - 1, b"431")):
        with connected(server) as connection:
            lines = b"".join(b"X-%d: 1\r\n" % number for number in range(more))
            connection.sendall(GET + b"Connection: close\r\n" + lines + b"\r\n")
            assert answer_to(connection).startswith(b"HTTP/1.1 " + status)


def test_requests_in_a_row_are_all_answered_up_to_the_limit(server: RealmServer) -> None:
    with connected(server) as connection:
        connection.sendall((GET + b"\r\n") * MAX_PIPELINED + GET + b"Connection: close\r\n\r\n")
        assert answer_to(connection).count(b"HTTP/1.1 200") == MAX_PIPELINED + 1


def test_trailers_are_no_headers(server: RealmServer) -> None:
    body = b'{"events": []}'
    with connected(server) as connection:
        request = POST.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")
        trailer = b"0\r\nOrigin: http://evil.example\r\n\r\n"
        connection.sendall(request + b"%x\r\n%s\r\n" % (len(body), body) + trailer)
        assert answer_to(connection).startswith(b"HTTP/1.1 200")


DRIPS = {
    "nothing": (b"", b""),
    "headers": (GET, b"X"),
    "line breaks": (b"", b"\r\n"),
    "after an answer": (GET + b"\r\n", b"\r\n"),
    "the body of an answered request": (GET + b"Content-Length: 1000000\r\n\r\n", b"x"),
    "trailers of an answered request": (
        GET + b"Transfer-Encoding: chunked\r\n\r\n0\r\n",
        b"X: y\r\n",
    ),
}


@pytest.mark.parametrize("what", DRIPS)
def test_a_client_that_drips_is_cut_off(tmp_path: Path, what: str) -> None:
    begin, drop = DRIPS[what]
    with serving(free_ports(tmp_path, header_timeout_s=0.4, idle_timeout_s=0.6)) as server:
        started = time.monotonic()
        with connected(server) as connection:
            connection.sendall(begin)
            connection.settimeout(0.05)
            while not is_closed(connection):
                assert time.monotonic() - started < SOON_S
                try:
                    connection.sendall(drop)
                except OSError:
                    break


def is_closed(connection: socket.socket) -> bool:
    """Whether the other side has closed; reads what there is."""
    try:
        return connection.recv(65536) == b""
    except TimeoutError:
        return False
    except ConnectionError:
        return True


def test_a_stream_outlives_all_deadlines(tmp_path: Path) -> None:
    options: dict[str, Any] = {"header_timeout_s": 0.2, "idle_timeout_s": 0.2, "keepalive_s": 0.3}
    with serving(free_ports(tmp_path, **options)) as server, connected(server) as connection:
        connection.sendall(GET.replace(b"/health", b"/api/events/stream") + b"\r\n")
        time.sleep(1.2)
        connection.settimeout(SOON_S)
        assert b": keepalive" in connection.recv(1 << 20)
        assert connection.recv(65536)


def test_a_connection_that_waits_makes_room_for_a_new_one(tmp_path: Path) -> None:
    with serving(free_ports(tmp_path, max_connections=4)) as server, ExitStack() as stack:
        idle = [stack.enter_context(connected(server, n % 3)) for n in range(8)]
        with asking(server) as client:
            assert client.get("/health").status_code == 200
            # Three addresses are accepted in an order of their own: which ones had to go is open.
            for connection in idle:
                connection.settimeout(0.05)
            wait_until(lambda: sum(is_closed(connection) for connection in idle) == 5)


def test_when_all_connections_are_busy_a_new_one_is_refused_with_a_reason(tmp_path: Path) -> None:
    with serving(free_ports(tmp_path, max_connections=4)) as server, ExitStack() as stack:
        for door in (0, 1, 2, 0):
            stream = stack.enter_context(connected(server, door))
            stream.sendall(GET.replace(b"/health", b"/api/events/stream") + b"\r\n")
            assert stream.recv(1).startswith(b"H")
        for door in range(3):
            with connected(server, door) as connection:
                answer = answer_to(connection)
            assert answer.startswith(b"HTTP/1.1 503 ")
            assert b'"too_many_connections"' in answer
            assert b"retry-after: 5" in answer
        stack.close()

        def is_let_in() -> bool:
            with asking(server) as client:
                return client.get("/health").status_code == 200

        wait_until(is_let_in)


def test_one_address_has_its_share_and_loopback_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = free_ports(tmp_path, max_connections_per_address=3)
    with serving(settings) as server, ExitStack() as stack:
        for _ in range(5):
            stack.enter_context(connected(server)).sendall(GET)
        monkeypatch.setattr(ConnectionLimits, "_stands_for_many", lambda *_: False)
        for _ in range(3):
            stack.enter_context(connected(server)).sendall(GET)
        with connected(server) as connection:
            assert b"too_many_connections" in answer_to(connection)
        stack.close()
        with asking(server) as client:
            wait_until(lambda: client.get("/health").status_code == 200)


class Connection:
    """What the limits look at."""

    def __init__(self, waiting_since: float | None = None) -> None:
        self.waiting_since = waiting_since
        self.closed = False

    def close(self) -> None:
        """Note it."""
        self.closed = True


Enter = Callable[[str | None, list[Any]], bool]


def limits(tmp_path: Path, **options: Any) -> ConnectionLimits:
    """The limits of settings."""
    return ConnectionLimits(free_ports(tmp_path, **options))


@pytest.mark.parametrize("address", ["127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1", None])
def test_this_machine_may_have_all_connections(tmp_path: Path, address: str | None) -> None:
    of = limits(tmp_path, max_connections_per_address=1)
    assert all(of.enter(address, []) for _ in range(10))


@pytest.mark.parametrize(
    ("first", "second", "same"),
    [
        ("192.0.2.1", "192.0.2.1", True),
        ("192.0.2.1", "192.0.2.2", False),
        ("2001:db8::1", "2001:db8::ffff:2", True),
        ("2001:db8::1", "2001:db8:0:1::1", False),
        ("::ffff:192.0.2.1", "::ffff:192.0.2.2", False),
        ("fe80::1%eth0", "fe80::2%eth0", True),
    ],
)
def test_who_is_one_address(tmp_path: Path, first: str, second: str, same: bool) -> None:
    of = limits(tmp_path, max_connections_per_address=1)
    assert of.enter(first, [])
    assert of.enter(second, []) is not same
    of.leave(first)
    assert of.enter(first, [])


def test_a_trusted_proxy_stands_for_many(tmp_path: Path) -> None:
    proxies = ("10.0.0.5", "10.1.0.0/16", "2001:db8::/32")
    of = limits(tmp_path, max_connections_per_address=1, trusted_proxies=proxies)
    for address in ("10.0.0.5", "10.1.2.3", "2001:db8::7", "::ffff:10.0.0.5"):
        assert all(of.enter(address, []) for _ in range(3)), address
    assert [of.enter("10.0.0.6", []) for _ in range(2)] == [True, False]


def test_others_cannot_take_the_last_connections_of_this_machine(tmp_path: Path) -> None:
    of = limits(tmp_path, max_connections=16)
    busy: list[Any] = [Connection() for _ in range(15)]
    assert not of.enter("192.0.2.1", busy)
    assert of.enter("127.0.0.1", busy)
    assert of.enter("192.0.2.1", busy[:14])


def test_an_address_that_has_its_share_makes_nobody_leave(tmp_path: Path) -> None:
    of = limits(tmp_path, max_connections=8, max_connections_per_address=2)
    assert [of.enter("192.0.2.1", []) for _ in range(2)] == [True, True]
    idle: list[Any] = [Connection(waiting_since=float(n)) for n in range(8)]
    assert not of.enter("192.0.2.1", idle)
    assert not any(each.closed for each in idle)
    assert of.enter("192.0.2.2", idle)
    assert [each.closed for each in idle] == [True] + [False] * 7


def test_a_process_with_few_descriptors_takes_fewer_connections(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("resource.getrlimit", lambda _: (200, 4096))
    assert limits(tmp_path).most == 72
    assert limits(tmp_path, max_connections=50).most == 50
    monkeypatch.setattr("resource.getrlimit", lambda _: (-1, -1))
    assert limits(tmp_path, max_connections=50_000).most == 50_000


def test_a_trusted_proxy_that_is_no_address_is_a_configuration_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"proxy\.example"):
        realm_app(free_ports(tmp_path, trusted_proxies=("proxy.example",)))


def test_services_do_not_share_limits(tmp_path: Path) -> None:
    with serving(free_ports(tmp_path / "a")) as one, serving(free_ports(tmp_path / "b")) as other:
        assert one.url != other.url
        assert httpx.get(one.url + "/health").status_code == 200
    assert not hasattr(RealmProtocol, "limits")
