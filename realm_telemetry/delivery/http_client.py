"""The httpx transport of our senders: the one place that uses it for sending.

Its continuation httpx2 could replace it here. tests/delivery/test_http_client.py, and the tests of
the exporters on TLS, proxies and pinned addresses, say what a replacement must do.
"""

import os
import ssl
from collections.abc import Mapping
from contextlib import closing
from typing import Any, Final

import httpx

from realm_telemetry.delivery.http import (
    USER_AGENT,
    Deadline,
    NoConnectionError,
    Reply,
    UnreachableError,
    quiet_http,
)

# Below the 5 s after which uvicorn closes an idle connection: reusing one just then fails.
_KEEP_ALIVE_S: Final = 4.0
_CONNECTED: Final = (".connect_tcp.complete", ".start_tls.complete")


class InvalidAddressError(ValueError):
    """An address that no request can be made for."""


class HttpClient:
    """Sends over one kept-alive connection; used by one thread at a time.

    timeout_s: for a whole request, from connecting to the last byte of the answer.
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
        self._timeout = httpx.Timeout(
            timeout_s, connect=min(connect_timeout_s or timeout_s, timeout_s)
        )
        self._max_answer_bytes = max_answer_bytes
        self._proxies = proxies
        self._tls = tls
        # Compressed answers are small anyway, and could be bombs.
        self._headers = {"User-Agent": USER_AGENT, "Accept-Encoding": "identity"}
        self._headers |= headers or {}
        self._http: httpx.Client | None = None
        self._socket: Any = None
        self._pid = 0

    def request(
        self,
        method: str,
        url: str,
        content: bytes = b"",
        headers: Mapping[str, str] | None = None,
        *,
        address: str | None = None,
    ) -> Reply:
        """Send a request, once.

        address: connect to this one, and not to one that the host's name resolves to now; the name
            stays in the Host header, and the certificate is checked against it.
        Raises UnreachableError, NoConnectionError if there was no connection, InvalidAddressError.
        """
        deadline = Deadline(self._timeout_s)
        try:
            with quiet_http(), deadline:
                request = self._build(method, url, content, headers or {}, address)
                return self._send(request, deadline)
        except httpx.InvalidURL as error:
            raise InvalidAddressError(str(error)) from error
        except UnreachableError:
            self.close()
            raise
        except (httpx.HTTPError, OSError) as error:
            self.close()
            raise _unreachable(error, deadline) from error

    def close(self) -> None:
        """Close the connection; the next request opens another one."""
        http, self._http, self._socket = self._http, None, None
        if http is not None and self._pid == os.getpid():
            http.close()

    def _build(
        self, method: str, url: str, content: bytes, headers: Mapping[str, str], address: str | None
    ) -> httpx.Request:
        named = httpx.URL(url)
        if address is None:
            return self._open().build_request(
                method, named, content=content or None, headers=headers
            )
        return self._open().build_request(
            method,
            named.copy_with(host=address.partition("%")[0]),
            content=content,
            headers={**headers, "Host": named.netloc.decode("ascii")},
            # The certificate is checked against this name, not against the pinned address.
            extensions={"sni_hostname": named.raw_host.decode("ascii")},
        )

    def _send(self, request: httpx.Request, deadline: Deadline) -> Reply:
        def trace(name: str, info: Mapping[str, Any]) -> None:
            if name.endswith(_CONNECTED):
                self._socket = info["return_value"].get_extra_info("socket")
                deadline.watch(self._socket)

        deadline.watch(self._socket)
        request.extensions = {**request.extensions, "trace": trace}
        with closing(self._open().send(request, stream=True)) as response:
            body, whole = self._read(response)
            deadline.check()
            return Reply(response.status_code, response.headers, body, whole)

    def _read(self, response: httpx.Response) -> tuple[bytes, bool]:
        body = bytearray()
        for chunk in response.iter_raw():
            body += chunk
            if len(body) > self._max_answer_bytes:
                return bytes(body[: self._max_answer_bytes]), False
        return bytes(body), True

    def _open(self) -> httpx.Client:
        if self._http is None or self._pid != os.getpid():  # a fork must not share a connection
            self._pid = os.getpid()
            self._socket = None
            self._http = httpx.Client(
                headers=self._headers,
                timeout=self._timeout,
                limits=httpx.Limits(max_connections=1, keepalive_expiry=_KEEP_ALIVE_S),
                trust_env=self._proxies,
                verify=self._tls or True,
            )
        return self._http


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


def _unreachable(error: Exception, deadline: Deadline) -> UnreachableError:
    if isinstance(error, httpx.ConnectTimeout):
        return NoConnectionError("no connection within the time for it")
    if deadline.passed or isinstance(error, httpx.TimeoutException):
        return UnreachableError(f"no answer within {deadline.timeout_s:g} s")
    words = str(error) or type(error).__name__
    return (
        NoConnectionError(words)
        if isinstance(error, httpx.ConnectError)
        else UnreachableError(words)
    )
