"""The httpx transport: what a replacement of the library must do as well."""

import logging
import socket
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from realm_telemetry.delivery.http import NoConnectionError, UnreachableError
from realm_telemetry.delivery.http_client import HttpClient, InvalidAddressError, host_of
from tests.waiting import SOON_S, wait_until

Talk = Callable[[socket.socket], None]

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


class Server:
    """A server that gives the answer of the test to each request of each connection."""

    def __init__(self) -> None:
        self.talk: Talk = lambda connection: connection.sendall(OK)
        self.requests: list[bytes] = []
        self.connections = 0
        self._open: list[socket.socket] = []
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port = self._listening.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._listening.shutdown(socket.SHUT_RDWR)  # wakes the thread that accepts
        self._listening.close()
        for connection in self._open:
            connection.close()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listening.accept()
            except OSError:
                return
            self.connections += 1
            self._open.append(connection)
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        try:
            while request := _read_request(connection):
                self.requests.append(request)
                self.talk(connection)
        except OSError:
            return


def _read_request(connection: socket.socket) -> bytes:
    request = b""
    while b"\r\n\r\n" not in request:
        received = connection.recv(65_536)
        if not received:
            return b""
        request += received
    head, _, body = request.partition(b"\r\n\r\n")
    length = next(
        (
            int(line[15:])
            for line in head.lower().split(b"\r\n")
            if line.startswith(b"content-length:")
        ),
        0,
    )
    while len(body) < length:
        body += connection.recv(65_536)
    return head + b"\r\n\r\n" + body


def drip(head: bytes) -> Talk:
    """Send a beginning, and then a byte every 50 ms for ever."""

    def talk(connection: socket.socket) -> None:
        connection.sendall(head)
        while True:
            connection.sendall(b"x")
            time.sleep(0.05)

    return talk


def say_and_close(text: bytes) -> Talk:
    def talk(connection: socket.socket) -> None:
        connection.sendall(text)
        connection.shutdown(socket.SHUT_RDWR)

    return talk


@pytest.fixture
def server() -> Iterator[Server]:
    running = Server()
    yield running
    running.close()


@pytest.fixture
def client() -> Iterator[HttpClient]:
    made = HttpClient(timeout_s=SOON_S, max_answer_bytes=1000)
    yield made
    made.close()


@pytest.fixture
def hasty() -> Iterator[HttpClient]:
    made = HttpClient(timeout_s=0.5, max_answer_bytes=1000)
    yield made
    made.close()


def answers(client: HttpClient, url: str) -> bool:
    try:
        return client.request("GET", url).status == 200
    except UnreachableError:
        return False


def test_requests_share_one_connection(server: Server, client: HttpClient) -> None:
    for _ in range(3):
        reply = client.request("POST", server.url, b"body", {"X-Kind": "test"})
        assert (reply.status, reply.body, reply.whole) == (200, b"ok", True)
    assert server.connections == 1
    assert b"x-kind: test" in server.requests[0].lower()
    assert b"accept-encoding: identity" in server.requests[0].lower()


@pytest.mark.parametrize(
    "talk",
    [
        drip(b"HTTP/1.1 200 OK\r\nX-Long: "),
        drip(b"HTTP/1.1 200 OK\r\nContent-Length: 900\r\n\r\n"),
        drip(b"HTTP/1.1 200 OK\r\n\r\n"),
        drip(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"),
        lambda connection: time.sleep(60),
    ],
    ids=["headers", "body", "body without length", "chunks", "silence"],
)
def test_the_whole_request_has_one_deadline(talk: Talk, server: Server, hasty: HttpClient) -> None:
    wait_until(lambda: answers(hasty, server.url))
    server.talk = talk
    for _ in range(2):  # over the connection that is open, then over a new one
        started_s = time.monotonic()
        with pytest.raises(UnreachableError):
            hasty.request("GET", server.url)
        assert time.monotonic() - started_s < SOON_S
    server.talk = lambda connection: connection.sendall(OK)
    wait_until(lambda: answers(hasty, server.url))


def test_nothing_there_is_no_connection(client: HttpClient) -> None:
    server = Server()
    server.close()
    with pytest.raises(NoConnectionError):
        client.request("GET", server.url)


@pytest.mark.parametrize("answer", [b"", b"nonsense\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Le"])
def test_what_is_no_answer_is_none(answer: bytes, server: Server, client: HttpClient) -> None:
    server.talk = say_and_close(answer)
    with pytest.raises(UnreachableError) as caught:
        client.request("GET", server.url)
    assert not isinstance(caught.value, NoConnectionError)


def test_a_long_answer_is_cut(server: Server, client: HttpClient) -> None:
    server.talk = say_and_close(b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 5000)
    reply = client.request("GET", server.url)
    assert (len(reply.body), reply.whole) == (1000, False)


def test_a_redirect_is_an_answer(server: Server, client: HttpClient) -> None:
    server.talk = say_and_close(
        b"HTTP/1.1 307 Moved\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n"
    )
    reply = client.request("GET", server.url)
    assert (reply.status, reply.headers["location"]) == (307, "http://127.0.0.1:1/")


def test_a_pinned_address_is_connected_to_under_the_name(
    server: Server, client: HttpClient
) -> None:
    url = f"http://hooks.example:{server.port}/path?x=1"
    assert client.request("POST", url, b"{}", addresses=["127.0.0.1"]).status == 200
    (request,) = server.requests
    assert request.startswith(b"POST /path?x=1 HTTP/1.1")
    assert f"host: hooks.example:{server.port}".encode() in request.lower()


@pytest.mark.parametrize("proxies", [True, False])
def test_the_environments_proxy_is_used_where_it_may_be(
    proxies: bool, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", server.url)
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    made = HttpClient(timeout_s=SOON_S, max_answer_bytes=1000, proxies=proxies)
    if proxies:
        assert made.request("GET", "http://unknown.invalid/path").status == 200
        assert server.requests[0].startswith(b"GET http://unknown.invalid/path HTTP/1.1")
    else:
        with pytest.raises(NoConnectionError):
            made.request("GET", "http://unknown.invalid/path")
    made.close()


def test_a_proxy_is_under_the_deadline_too(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """While the tunnel of an https:// address is made."""
    monkeypatch.setenv("HTTPS_PROXY", server.url)
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    server.talk = drip(b"HTTP/1.1 200 OK\r\nX-Long: ")
    made = HttpClient(timeout_s=0.5, max_answer_bytes=1000)
    started_s = time.monotonic()
    with pytest.raises(UnreachableError):
        made.request("GET", "https://unknown.invalid/path")
    assert time.monotonic() - started_s < SOON_S
    made.close()


def test_an_address_that_is_none_is_refused(client: HttpClient) -> None:
    with pytest.raises(InvalidAddressError):
        client.request("GET", "http://[::1")
    assert host_of("http://[::1") is None
    assert host_of("ftp://x") is None
    assert host_of("https://x.example/y") == "x.example"


def test_requests_are_not_logged(
    server: Server, client: HttpClient, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG):
        client.request("GET", server.url)
    assert [each for each in caplog.records if each.name.startswith("http")] == []
