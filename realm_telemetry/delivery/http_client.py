"""The HTTP client of our senders: one request, one deadline, whatever the receiver does.

It stands on httpcore, the transport of httpx, because that lets us open the connections: names are
resolved within the deadline, or not at all where the address is given, and every operation has what
is left of it. httpx parses addresses and headers. tests/delivery/test_http_client.py and
test_receivers.py, and the tests of the exporters on TLS, proxies and pinned addresses, say what a
replacement must do.
"""

import base64
import os
import ssl
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from typing import Any, Final
from urllib.parse import unquote
from urllib.request import getproxies, proxy_bypass

import httpcore
import httpx

from realm_telemetry.delivery.http import (
    USER_AGENT,
    Deadline,
    NoConnectionError,
    Reply,
    UnreachableError,
    quiet_http,
)
from realm_telemetry.delivery.lookup import look_up

# Below the 5 s after which uvicorn closes an idle connection: reusing one just then fails.
_KEEP_ALIVE_S: Final = 4.0
_SHORTEST_S: Final = 0.001
"""A socket takes a timeout of 0 for a request not to wait at all."""

MAX_HEADER_BYTES: Final = 256 * 1024
"""Of an answer with all that comes before it, such as interim answers (1xx)."""


class InvalidAddressError(ValueError):
    """An address that no request can be made for."""


class HttpClient:
    """Sends over one kept-alive connection; used by one thread at a time.

    timeout_s: for a whole request, from the name's look-up to the last byte of the answer.
    connect_timeout_s: until it is connected.
    max_answer_bytes: how much of an answer is read.
    proxies: whether the environment's proxies are used.
    tls: in place of a context of its own.
    Redirects are not followed.
    """

    def __init__(
        self,
        *,
        timeout_s: float,
        connect_timeout_s: float | None = None,
        max_answer_bytes: int,
        proxies: bool = True,
        tls: ssl.SSLContext | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        """Opens no connection."""
        self._timeout_s = timeout_s
        self._max_answer_bytes = max_answer_bytes
        self._proxies = proxies
        self._tls = tls
        # Compressed answers are small anyway, and could be bombs.
        self._headers = {"User-Agent": USER_AGENT, "Accept-Encoding": "identity"}
        self._headers |= headers or {}
        self._network = _Network(min(connect_timeout_s or timeout_s, timeout_s))
        self._pool: httpcore.ConnectionPool | None = None
        self._way: tuple[str, str | None] = ("", None)
        self._pid = 0

    def request(
        self,
        method: str,
        url: str,
        content: bytes = b"",
        headers: Mapping[str, str] | None = None,
        *,
        addresses: Sequence[str] = (),
        deadline: Deadline | None = None,
    ) -> Reply:
        """Send a request, once.

        addresses: connect to the first of these that takes a connection, and not to what the
            host's name or a proxy's resolves to now; the name stays in the Host header, and the
            certificate is checked against it.
        deadline: one that has begun, in place of an own one.
        Raises UnreachableError, NoConnectionError if there was no connection, InvalidAddressError.
        """
        if deadline is None:
            with Deadline(self._timeout_s) as own:
                return self.request(
                    method, url, content, headers, addresses=addresses, deadline=own
                )
        try:
            with quiet_http():
                request = self._build(method, url, content, headers or {})
                return self._send(request, addresses, deadline)
        except (httpx.InvalidURL, httpcore.UnsupportedProtocol) as error:
            raise InvalidAddressError(str(error)) from error
        except UnreachableError:
            self.close()
            raise
        except (*_TRANSPORT_ERRORS, OSError) as error:
            self.close()
            raise _unreachable(error, deadline) from error

    def close(self) -> None:
        """Close the connection; the next request opens another one."""
        pool, self._pool = self._pool, None
        if pool is not None and self._pid == os.getpid():
            pool.close()

    def _build(
        self, method: str, url: str, content: bytes, headers: Mapping[str, str]
    ) -> httpx.Request:
        parsed = httpx.URL(url)
        own = {**self._headers, **_login(parsed), **headers}
        return httpx.Request(method, parsed, content=content or None, headers=own)

    def _send(self, request: httpx.Request, addresses: Sequence[str], deadline: Deadline) -> Reply:
        self._network.begin(deadline, addresses)
        sent = httpcore.Request(
            request.method,
            httpcore.URL(
                scheme=request.url.raw_scheme,
                host=request.url.raw_host,
                port=request.url.port,
                target=request.url.raw_path,
            ),
            headers=request.headers.raw,
            content=request.read(),
        )
        pool = self._open(request.url, pinned=bool(addresses))
        with closing(pool.handle_request(sent)) as response:
            deadline.phase = "body"
            body, whole = self._read(response.iter_stream())
            deadline.check()
            return Reply(response.status, httpx.Headers(response.headers), body, whole)

    def _read(self, chunks: Iterable[bytes]) -> tuple[bytes, bool]:
        body = bytearray()
        for chunk in chunks:
            body += chunk
            if len(body) > self._max_answer_bytes:
                return bytes(body[: self._max_answer_bytes]), False
        return bytes(body), True

    def _open(self, url: httpx.URL, *, pinned: bool) -> httpcore.ConnectionPool:
        # A proxy would resolve the name again.
        proxy = _proxy_for(url) if self._proxies and not pinned else None
        way = (url.scheme, proxy)
        if self._pool is None or self._pid != os.getpid() or self._way != way:
            self.close()  # a fork must not share a connection
            self._pid, self._way = os.getpid(), way
            # A context takes a while to make: certificates are read.
            needs_tls = url.scheme == "https" and self._tls is None
            self._pool = httpcore.ConnectionPool(
                ssl_context=tls_context() if needs_tls else self._tls,
                proxy=None if proxy is None else _proxy(proxy),
                max_connections=1,
                keepalive_expiry=_KEEP_ALIVE_S,
                network_backend=self._network,
            )
        return self._pool


_TRANSPORT_ERRORS: Final = (
    httpcore.TimeoutException,
    httpcore.NetworkError,
    httpcore.ProtocolError,
    httpcore.ProxyError,
    httpcore.ConnectionNotAvailable,
)


class _Network(httpcore.SyncBackend):
    """Opens connections under the deadline of the request in hand."""

    def __init__(self, connect_timeout_s: float) -> None:
        super().__init__()
        self.deadline = Deadline(0.0)
        self.header_bytes = 0
        self._connect_timeout_s = connect_timeout_s
        self._addresses: Sequence[str] = ()
        self._socket: Any = None

    def begin(self, deadline: Deadline, addresses: Sequence[str]) -> None:
        """Put what is connected already under the deadline of another request."""
        self.deadline, self._addresses, self.header_bytes = deadline, addresses, 0
        deadline.watch(self._socket)

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        """Connect to the first address that takes a connection."""
        end_s = self.deadline.left_s - min(self._connect_timeout_s, self.deadline.left_s)
        self.deadline.phase = "resolve"
        addresses = self._addresses or self._resolved(host, port, self.deadline.left_s - end_s)
        self.deadline.phase = "connect"
        for number, address in enumerate(addresses):
            # One that does not answer leaves time for the others.
            share_s = (self.deadline.left_s - end_s) / (len(addresses) - number)
            try:
                found = super().connect_tcp(
                    address, port, max(share_s, _SHORTEST_S), local_address, socket_options
                )
            except (httpcore.ConnectError, httpcore.ConnectTimeout):
                if number == len(addresses) - 1:
                    raise
            else:
                return _Stream(found, self)
        raise httpcore.ConnectError(f"{host} has no address")

    def _resolved(self, host: str, port: int, timeout_s: float) -> Sequence[str]:
        try:
            return look_up(host, port, timeout_s)
        except TimeoutError as error:
            raise httpcore.ConnectTimeout(str(error)) from error
        except (OSError, UnicodeError) as error:
            raise httpcore.ConnectError(str(error)) from error

    def watch(self, socket: Any) -> None:
        """Keep the connection's socket, for the deadlines of this request and the next."""
        self._socket = socket
        self.deadline.watch(socket)


class _Stream(httpcore.NetworkStream):
    """A connection whose every operation has what is left of the request's deadline."""

    def __init__(self, stream: httpcore.NetworkStream, network: _Network) -> None:
        self._stream = stream
        self._network = network
        network.watch(stream.get_extra_info("socket"))

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        """Read what is there, and note how far the answer has come."""
        deadline, left_s = self._network.deadline, self._left_s(httpcore.ReadTimeout)
        if deadline.phase == "send":
            deadline.phase = "answer"
        found = self._stream.read(max_bytes, left_s)
        if deadline.phase == "answer":
            deadline.phase = "headers"
        if deadline.phase == "headers":
            self._network.header_bytes += len(found)
            if self._network.header_bytes > MAX_HEADER_BYTES + max_bytes:
                raise httpcore.RemoteProtocolError(
                    f"the answer's headers are over {MAX_HEADER_BYTES:,} bytes"
                )
        return found

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        """Send all of it."""
        self._network.deadline.phase = "send"
        self._stream.write(buffer, self._left_s(httpcore.WriteTimeout))

    def close(self) -> None:
        """Close the connection."""
        self._stream.close()

    def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,
    ) -> httpcore.NetworkStream:
        """Return the connection under TLS."""
        self._network.deadline.phase = "tls"
        left_s = self._left_s(httpcore.ConnectTimeout)
        secured = self._stream.start_tls(ssl_context, server_hostname, left_s)
        return _Stream(secured, self._network)

    def get_extra_info(self, info: str) -> Any:
        """Return what httpcore asks for of the socket."""
        return self._stream.get_extra_info(info)

    def _left_s(self, passed: type[httpcore.TimeoutException]) -> float:
        left_s = self._network.deadline.left_s
        if left_s <= 0.0:
            raise passed(self._network.deadline.reason)
        return max(left_s, _SHORTEST_S)


def tls_context() -> ssl.SSLContext:
    """Return a context that several clients share."""
    return httpx.create_ssl_context()


def host_of(url: Any) -> str | None:
    """Return the host of an http:// or https:// address; None if it is not one."""
    try:
        parsed = httpx.URL(url)
    except (httpx.InvalidURL, TypeError):
        return None
    return parsed.host if parsed.scheme in ("http", "https") and parsed.host else None


def _login(url: httpx.URL) -> dict[str, str]:
    """The header for a user and password in an address."""
    if not (url.username or url.password):
        return {}
    pair = f"{url.username}:{url.password}".encode()
    return {"Authorization": f"Basic {base64.b64encode(pair).decode()}"}


def _proxy_for(url: httpx.URL) -> str | None:
    """The environment's proxy for an address: HTTP_PROXY, HTTPS_PROXY, ALL_PROXY, NO_PROXY."""
    known = getproxies()
    proxy = known.get(url.scheme) or known.get("all")
    if not proxy or proxy_bypass(url.host):
        return None
    return proxy if "://" in proxy else f"http://{proxy}"


def _proxy(address: str) -> httpcore.Proxy:
    url = httpx.URL(address)
    login = (unquote(url.username), unquote(url.password)) if url.username else None
    bare = httpcore.URL(scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=b"/")
    return httpcore.Proxy(bare, auth=login)


def _unreachable(error: Exception, deadline: Deadline) -> UnreachableError:
    if isinstance(error, httpcore.ConnectTimeout) and deadline.phase in ("resolve", "connect"):
        what = "its name was not resolved" if deadline.phase == "resolve" else "no connection"
        return NoConnectionError(f"{what} within the time for it")
    if deadline.passed or isinstance(error, httpcore.TimeoutException):
        return UnreachableError(deadline.reason)
    words = str(error) or type(error).__name__
    return (
        NoConnectionError(words)
        if isinstance(error, httpcore.ConnectError)
        else UnreachableError(words)
    )
