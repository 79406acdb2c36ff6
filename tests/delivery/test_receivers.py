"""What receivers do to a sender: each request ends in time, with the reason."""

import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest
import trustme

from realm_telemetry.delivery import lookup
from realm_telemetry.delivery.http import NoConnectionError, UnreachableError
from realm_telemetry.delivery.http_client import MAX_HEADER_BYTES, HttpClient
from realm_telemetry.delivery.lookup import look_up
from tests.waiting import SOON_S, wait_until

Behaviour = Callable[[socket.socket], None]
TIMEOUT_S = 0.5
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


class Receiver:
    """Accepts connections and treats each as the test sets."""

    def __init__(self, behave: Behaviour, *, backlog: int | None = None) -> None:
        self.accepted = 0
        self._open: list[socket.socket] = []
        self._listening = socket.create_server(("127.0.0.1", 0), backlog=backlog)
        self.port = self._listening.getsockname()[1]
        self._behave = behave
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        for connection in self._open:
            connection.close()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listening.accept()
            except OSError:
                return
            self.accepted += 1
            self._open.append(connection)
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        try:
            self._behave(connection)
        except OSError:
            return


def for_ever(piece: bytes, pause_s: float = 0.0) -> Behaviour:
    def behave(connection: socket.socket) -> None:
        while True:
            connection.sendall(piece)
            time.sleep(pause_s)

    return behave


def after(first: bytes, then: Behaviour) -> Behaviour:
    def behave(connection: socket.socket) -> None:
        connection.recv(65_536)
        connection.sendall(first)
        then(connection)

    return behave


def read_slowly(connection: socket.socket) -> None:
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    while True:
        connection.recv(1)
        time.sleep(0.05)


def silent(connection: socket.socket) -> None:
    time.sleep(60)


def reset(connection: socket.socket) -> None:
    connection.recv(65_536)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


def half_closed(connection: socket.socket) -> None:
    connection.recv(65_536)
    connection.shutdown(socket.SHUT_WR)
    time.sleep(60)


HEAD = b"HTTP/1.1 200 OK\r\n"
LONG = bytes(64 * 1024).replace(b"\0", b"x")

HANGS: dict[str, tuple[Behaviour, str]] = {
    "never answers": (silent, "no answer within 0.5 s"),
    "drips a status line": (after(b"HTTP/1.1 2", for_ever(b"0", 0.05)), "headers took longer"),
    "drips headers": (after(HEAD + b"X-A: ", for_ever(b"x", 0.05)), "headers took longer"),
    "drips header lines": (after(HEAD, for_ever(b"X-A: x\r\n", 0.05)), "headers took longer"),
    "drips interim answers": (
        after(b"", for_ever(b"HTTP/1.1 100 Continue\r\n\r\n", 0.05)),
        "headers took longer",
    ),
    "drips a body": (
        after(HEAD + b"Content-Length: 900\r\n\r\n", for_ever(b"x", 0.05)),
        "body took longer",
    ),
    "drips chunks": (
        after(HEAD + b"Transfer-Encoding: chunked\r\n\r\n", for_ever(b"1\r\nx\r\n", 0.05)),
        "body took longer",
    ),
    "drips the length of a chunk": (
        after(HEAD + b"Transfer-Encoding: chunked\r\n\r\n", for_ever(b"0", 0.05)),
        "body took longer",
    ),
    "drips trailers": (
        after(HEAD + b"Transfer-Encoding: chunked\r\n\r\n0\r\n", for_ever(b"X-A: x\r\n", 0.05)),
        "body took longer",
    ),
}
FAILS: dict[str, Behaviour] = {
    "reset": reset,
    "half closed": half_closed,
    "endless status line": after(b"", for_ever(LONG)),
    "endless headers": after(HEAD, for_ever(b"X-A: " + LONG + b"\r\n")),
    "endless interim answers": after(b"", for_ever(b"HTTP/1.1 103 Hints\r\n\r\n" * 1000)),
    "endless interim headers": after(b"HTTP/1.1 103 Hints\r\n", for_ever(b"X-A: x\r\n" * 1000)),
}


@pytest.fixture
def start() -> Iterator[Callable[..., Receiver]]:
    started: list[Receiver] = []

    def begin(behave: Behaviour, **options: Any) -> Receiver:
        started.append(Receiver(behave, **options))
        return started[-1]

    yield begin
    for each in started:
        each.close()


def failure(url: str, content: bytes = b"{}", reason: str = "", **options: Any) -> UnreachableError:
    """The error of a request, which comes in time.

    reason: what it has to say. On a busy machine the time may be over before the request is so far.
    """
    found: list[UnreachableError] = []

    def has_reason() -> bool:
        found.append(_failure(url, content, **options))
        return reason in str(found[-1])

    wait_until(has_reason, explain=lambda: found[-1])
    return found[-1]


def _failure(url: str, content: bytes, **options: Any) -> UnreachableError:
    given = {"addresses": options.pop("addresses", ())}
    client = HttpClient(timeout_s=TIMEOUT_S, max_answer_bytes=1000, **options)
    started_s = time.monotonic()
    with pytest.raises(UnreachableError) as caught:
        client.request("POST", url, content, **given)
    assert time.monotonic() - started_s < SOON_S
    client.close()
    return caught.value


@pytest.mark.parametrize("name", HANGS)
def test_a_receiver_that_hangs_is_left_in_time_and_the_reason_says_where(
    name: str, start: Callable[..., Receiver]
) -> None:
    behave, reason = HANGS[name]
    error = failure(f"http://127.0.0.1:{start(behave).port}", reason=reason)
    assert not isinstance(error, NoConnectionError)
    assert str(error).startswith("no answer within 0.5 s")


@pytest.mark.parametrize("name", FAILS)
def test_an_answer_that_is_none_fails(name: str, start: Callable[..., Receiver]) -> None:
    failure(f"http://127.0.0.1:{start(FAILS[name]).port}")


def test_headers_have_a_bound(start: Callable[..., Receiver]) -> None:
    line = b"X-A: " + b"x" * 1000 + b"\r\n"
    interim = b"HTTP/1.1 103 Hints\r\n" + line + b"\r\n"
    receiver = start(after(interim * (MAX_HEADER_BYTES // len(interim) - 1) + OK, silent))
    client = HttpClient(timeout_s=SOON_S, max_answer_bytes=1000)
    assert client.request("POST", f"http://127.0.0.1:{receiver.port}").body == b"ok"
    receiver = start(after(interim * (2 * MAX_HEADER_BYTES // len(interim)) + OK, silent))
    with pytest.raises(UnreachableError, match="headers are over 262,144 bytes"):
        client.request("POST", f"http://127.0.0.1:{receiver.port}")
    client.close()


@pytest.mark.parametrize("head", [HEAD + b"\r\n", HEAD + b"Content-Length: 1099511627776\r\n\r\n"])
def test_an_endless_body_is_cut(head: bytes, start: Callable[..., Receiver]) -> None:
    receiver = start(after(head, for_ever(LONG)))
    client = HttpClient(timeout_s=TIMEOUT_S, max_answer_bytes=1000)
    reply = client.request("POST", f"http://127.0.0.1:{receiver.port}")
    assert (len(reply.body), reply.whole) == (1000, False)
    client.close()


def test_a_request_that_is_not_taken_ends_in_time(start: Callable[..., Receiver]) -> None:
    receiver = start(read_slowly)
    reason = "the request was not taken"
    failure(f"http://127.0.0.1:{receiver.port}", bytes(32 * 1024 * 1024), reason)


def test_a_handshake_that_hangs_ends_in_time(start: Callable[..., Receiver]) -> None:
    for behave in (silent, for_ever(b"\x16\x03\x03\x40\x00", 0.05)):
        url = f"https://127.0.0.1:{start(behave).port}"
        failure(url, reason="the TLS handshake took longer")


def test_headers_that_drip_through_tls_end_in_time(start: Callable[..., Receiver]) -> None:
    authority = trustme.CA()
    serving = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("hook.example").configure_cert(serving)
    trusting = ssl.create_default_context()
    authority.configure_trust(trusting)

    def behave(connection: socket.socket) -> None:
        with serving.wrap_socket(connection, server_side=True) as secured:
            HANGS["drips headers"][0](secured)

    port = start(behave).port
    reason = "the answer's headers took longer"
    url = f"https://hook.example:{port}"
    failure(url, reason=reason, tls=trusting, addresses=["127.0.0.1"])


def test_a_connection_that_nobody_accepts_ends_in_time(start: Callable[..., Receiver]) -> None:
    listening = socket.create_server(("127.0.0.1", 0), backlog=0)
    waiting = []
    for _ in range(4):  # fill what the kernel accepts for it
        each = socket.socket()
        each.setblocking(False)
        each.connect_ex(listening.getsockname())
        waiting.append(each)
    error = failure(f"http://127.0.0.1:{listening.getsockname()[1]}")
    assert isinstance(error, NoConnectionError)
    for each in (*waiting, listening):
        each.close()


def test_an_address_that_takes_no_connection_leaves_time_for_the_next(
    start: Callable[..., Receiver],
) -> None:
    receiver = start(after(OK, silent))
    client = HttpClient(timeout_s=TIMEOUT_S, max_answer_bytes=1000)
    # 192.0.2.0/24 is nobody's: packets to it are lost, or refused at once.
    found = client.request(
        "POST",
        f"http://two.example:{receiver.port}",
        addresses=["192.0.2.1", "127.0.0.9", "127.0.0.1"],
    )
    assert found.status == 200
    client.close()


class HangingResolver:
    """Hangs until the test lets it go."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.going = threading.Event()

    def __call__(self, host: str, port: int) -> Sequence[str]:
        self.asked.append(host)
        self.going.wait(60)
        return ["127.0.0.1"]


def test_a_name_server_that_hangs_ends_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    hanging = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: hanging.wait(60) and [])
    error = failure("http://slow.example/", reason="its name was not resolved")
    assert isinstance(error, NoConnectionError)
    hanging.set()


def test_all_who_ask_for_a_name_share_one_look_up() -> None:
    resolver = HangingResolver()
    for _ in range(3):
        with pytest.raises(TimeoutError, match=r"slow\.example was not resolved within 0\.05 s"):
            look_up("slow.example", 80, 0.05, resolver)
    threading.Timer(0.05, resolver.going.set).start()
    assert look_up("slow.example", 80, SOON_S, resolver) == ["127.0.0.1"]
    assert resolver.asked == ["slow.example"]
    look_up("slow.example", 80, SOON_S, resolver)
    assert len(resolver.asked) == 2, "an answer is not kept"


def test_look_ups_that_hang_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lookup, "MAX_HANGING", 3)
    resolver = HangingResolver()
    for number in range(3):
        with pytest.raises(TimeoutError):
            look_up(f"slow{number}.example", 80, 0.01, resolver)
    with pytest.raises(OSError, match="3 names are being resolved already"):
        look_up("another.example", 80, 0.01, resolver)
    assert look_up("127.0.0.1", 80, 0.01, resolver) == ["127.0.0.1"]
    resolver.going.set()


def test_an_error_of_the_resolver_is_passed_on() -> None:
    def refuse(host: str, port: int) -> Sequence[str]:
        raise socket.gaierror(-2, "Name or service not known")

    with pytest.raises(socket.gaierror, match="not known"):
        look_up("nobody.example", 80, 1.0, refuse)
