"""OTLP/HTTP with binary protobuf, and what an answer means for the records that were sent.

Source: https://opentelemetry.io/docs/specs/otlp/#otlphttp
"""

import gzip
import os
import time
import zlib
from collections.abc import Callable, Sequence
from http.client import HTTPResponse
from ssl import SSLSocket
from typing import Any, Final
from urllib.parse import urlsplit

import requests
from google.protobuf import json_format
from google.protobuf.message import DecodeError, Message
from google.rpc.status_pb2 import Status
from opentelemetry.exporter.otlp.proto.http import _OTLP_HTTP_HEADERS
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPSConnection
from urllib3.exceptions import ConnectTimeoutError, NewConnectionError

from realm_exporter_otlp.settings import Target
from realm_exporter_otlp.signals import SERVICES, Answer, status_wait_s
from realm_telemetry.delivery.http import (
    MAX_SHOWN,
    USER_AGENT,
    Answers,
    Deadline,
    Phase,
    Reply,
    UnreachableError,
    asked_wait,
    is_loopback,
    quiet_http,
)
from realm_telemetry.delivery.lookup import look_up
from realm_telemetry.errors import ExportError, PayloadTooLargeError
from realm_telemetry.kinds.line import printable

_GRPC_PORT: Final = 4317
_CONNECT_TIMEOUT_S: Final = 5.0

_MAX_ANSWER_BYTES: Final = 65_536
"""More than any answer has; the rest stays unread."""

# The protocol's own: https://opentelemetry.io/docs/specs/otlp/#failures-1
_RETRYABLE: Final = frozenset({429, 502, 503, 504})
# A setting is at fault here and not the records; by the protocol's letter they would be given up.
_ENDPOINT_AT_FAULT: Final = (301, 302, 303, 307, 308, 404, 405, 421)
_HEADERS_AT_FAULT: Final = (401, 403, 407)
_FORMAT_AT_FAULT: Final = 415


class HttpChannel:
    """Sends over one kept-alive connection, each request within the target's timeout."""

    def __init__(self, target: Target) -> None:
        self.target = target
        self._headers = _headers(target)
        self._answers = _answers(target)
        self._service = SERVICES[target.signal]
        self._session: requests.Session | None = None
        self._adapter = _Adapter()
        self._pid = 0

    def send(self, request: Message) -> Answer:
        """Send an Export*ServiceRequest, once.

        Raises PayloadTooLargeError for status 413, else ExportError.
        """
        body = _COMPRESSORS[self.target.compression](request.SerializeToString())
        reply = self._post(body)
        if reply.status == 413:
            raise PayloadTooLargeError(f"{self.target.shown} does not take {len(body):,} bytes")
        if not 200 <= reply.status < 300:
            raise self._error(reply)
        return self._read_answer(reply)

    def close(self) -> None:
        """Close the connection; the next `send` opens another one."""
        session, self._session = self._session, None
        if session is not None and self._pid == os.getpid():
            session.close()

    def _post(self, body: bytes) -> Reply:
        deadline = Deadline(self.target.timeout_s)
        try:
            with quiet_http(), deadline:
                return self._once(body, deadline)
        except (requests.RequestException, UnreachableError) as error:
            self.close()
            what = deadline.reason if deadline.passed else _describe(self.target, error)
            raise ExportError(
                f"{self.target.shown}: {what}. {_hint(self.target)}", retryable=True
            ) from error

    def _once(self, body: bytes, deadline: Deadline) -> Reply:
        timeout_s = self.target.timeout_s
        session = self._open()
        self._adapter.deadline = deadline
        response = session.post(
            self.target.endpoint,
            data=body,
            headers=self._headers,
            timeout=(min(timeout_s, _CONNECT_TIMEOUT_S), timeout_s),
            allow_redirects=False,
            stream=True,
        )
        with response:
            deadline.phase = "body"
            answer = next(response.iter_content(_MAX_ANSWER_BYTES), b"")
            deadline.check()
            return Reply(response.status_code, response.headers, answer)

    def _open(self) -> requests.Session:
        if self._session is None or self._pid != os.getpid():  # a fork must not share a connection
            self._pid = os.getpid()
            self._session = session = requests.Session()
            self._adapter = _Adapter()
            for scheme in ("http://", "https://"):
                session.mount(scheme, self._adapter)
            target = self.target
            session.trust_env = not is_loopback(target.endpoint)
            if "authorization" in target.headers:
                session.auth = _as_it_is  # without one requests puts in that of ~/.netrc
            if target.certificate:
                session.verify = target.certificate
            if target.client_certificate and target.client_key:
                session.cert = (target.client_certificate, target.client_key)
            elif target.client_certificate:
                session.cert = target.client_certificate
        return self._session

    def _error(self, reply: Reply) -> ExportError:
        wait_s, status = asked_wait(reply, time.time()).wait_s, _status(reply)
        if status is not None:
            waits = (wait_s, status_wait_s(status))
            wait_s = max((each for each in waits if each is not None), default=None)
        return self._answers.error(self.target.shown, reply.status, _words(reply, status), wait_s)

    def _read_answer(self, reply: Reply) -> Answer:
        """Read a success; receivers not quite up to the protocol answer nothing, or JSON."""
        response = self._service.response()
        kind = reply.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind == "text/html":  # a proxy between answers so, and took nothing
            raise _nonsense(self.target)
        try:
            if kind == "application/json" and reply.body:
                json_format.Parse(reply.body, response, ignore_unknown_fields=True)
            elif kind == "application/x-protobuf":
                response.ParseFromString(reply.body)
        except (DecodeError, json_format.ParseError, UnicodeDecodeError) as error:
            raise _nonsense(self.target) from error
        return self._service.answer(response)


class _Adapter(HTTPAdapter):
    """Puts each connection under the deadline of the request that uses it."""

    def __init__(self) -> None:
        self.deadline: Deadline | None = None
        super().__init__()

    def init_poolmanager(self, *args: Any, **options: Any) -> None:
        super().init_poolmanager(*args, **options)
        self._watch_pools(self.poolmanager)

    def proxy_manager_for(self, proxy: str, **options: Any) -> Any:
        known = proxy in self.proxy_manager
        manager = super().proxy_manager_for(proxy, **options)
        if not known:
            self._watch_pools(manager)
        return manager

    def watch(self, socket: Any) -> None:
        """Put a connection's socket under the deadline of the request in hand."""
        if self.deadline is not None:
            self.deadline.watch(socket)

    def enter(self, phase: Phase) -> None:
        """Note what the request is doing."""
        if self.deadline is not None:
            self.deadline.phase = phase

    def left_s(self) -> float:
        """Seconds that are left for a step on the way to a connection."""
        left_s = _CONNECT_TIMEOUT_S if self.deadline is None else self.deadline.left_s
        return min(max(left_s, 0.001), _CONNECT_TIMEOUT_S)

    def resolved(self, host: str, port: int) -> Sequence[str]:
        """Look a name up. Raises OSError, UnicodeError."""
        self.enter("resolve")
        found = look_up(host, port, self.left_s())
        self.enter("connect")
        return found

    def _watch_pools(self, manager: Any) -> None:
        manager.pool_classes_by_scheme = {
            scheme: type(
                pool.__name__, (pool,), {"ConnectionCls": _watched(pool.ConnectionCls, self)}
            )
            for scheme, pool in manager.pool_classes_by_scheme.items()
        }


def _answer_class(adapter: _Adapter) -> type:
    """Return a class of answers that note when their headers begin."""

    class Answer(HTTPResponse):
        def _read_status(self) -> Any:  # the one step between no answer and its headers
            adapter.enter("answer")
            found = super()._read_status()  # type: ignore[misc]
            adapter.enter("headers")
            return found

    return Answer


def _watched(base: Any, adapter: _Adapter) -> type:
    """Return a connection class of urllib3 that gives each of its sockets to the deadline."""

    class Watched(base):  # type: ignore[misc]
        response_class = _answer_class(adapter)
        _dns_host: Any
        _watched_socket: Any = None

        def _new_conn(self) -> Any:
            """Connect to the first address that takes a connection; `base` takes names too."""
            name = self._dns_host
            try:
                *others, self._dns_host = adapter.resolved(name, self.port)
            except (OSError, UnicodeError) as error:
                raise NewConnectionError(self, f"{name} cannot be resolved: {error}") from error
            last = self._dns_host
            try:
                for self._dns_host in (*others, last):
                    self.timeout = adapter.left_s()
                    try:
                        connected = super()._new_conn()
                        connected.settimeout(adapter.left_s())  # for the handshake
                        return connected
                    except (NewConnectionError, ConnectTimeoutError):
                        if self._dns_host == last:
                            raise
            finally:
                self._dns_host = name

        @property
        def sock(self) -> Any:
            return self._watched_socket

        @sock.setter
        def sock(self, socket: Any) -> None:
            self._watched_socket = socket
            if socket is not None:
                handshakes = issubclass(base, HTTPSConnection) and not isinstance(socket, SSLSocket)
                adapter.enter("tls" if handshakes else "send")
            adapter.watch(socket)

        def request(self, *args: Any, **options: Any) -> None:
            adapter.watch(self.sock)  # it may be connected since the request before
            adapter.enter("send")
            super().request(*args, **options)

    return Watched


def _answers(target: Target) -> Answers:
    path = f"/v1/{target.signal}"
    endpoint_fix = (
        f"Set {target.endpoint_setting} to the address of an OTLP receiver: over HTTP its"
        f" path, most often {path}, is added, but not to signal_endpoint or"
        f" OTEL_EXPORTER_OTLP_{target.signal.upper()}_ENDPOINT"
    )
    format_fix = f"Set options.{target.exporter}.compression to 'none', or protocol to another one"
    return Answers(
        _RETRYABLE,
        {
            **dict.fromkeys(_ENDPOINT_AT_FAULT, endpoint_fix),
            **dict.fromkeys(_HEADERS_AT_FAULT, target.headers_fix),
            _FORMAT_AT_FAULT: format_fix,
        },
    )


def _nonsense(target: Target) -> ExportError:
    """Return the ExportError for a success that no OTLP receiver says."""
    return ExportError(
        f"{target.shown} answered something that no OTLP receiver says. Check"
        f" {target.endpoint_setting}, and what stands between",
        retryable=True,
    )


def _hint(target: Target) -> str:
    if urlsplit(target.endpoint).port == _GRPC_PORT:
        return (
            f"Port {_GRPC_PORT} most often speaks gRPC: set options.{target.exporter}.protocol or"
            " OTEL_EXPORTER_OTLP_PROTOCOL to 'grpc', or take port 4318"
        )
    return f"Does a collector listen there? {target.endpoint_setting} says where it is"


def _describe(target: Target, error: Exception) -> str:
    """Describe it in few words; those of the library hold addresses of objects and of retries."""
    if isinstance(error, requests.exceptions.SSLError):
        return f"TLS failed ({_cause(error)}); options.{target.exporter}.certificate may help"
    if isinstance(error, requests.ConnectTimeout):
        return "no connection within the time for it"
    if isinstance(error, requests.Timeout):
        return f"no answer within {target.timeout_s:g} s"
    return _cause(error)


def _cause(error: BaseException) -> str:
    """The innermost reason, such as `Connection refused`."""
    reason: BaseException = error
    for _ in range(20):
        inner = getattr(reason, "reason", None) or (reason.args[0] if reason.args else None)
        if isinstance(inner, BaseException):
            reason = inner
            continue
        deeper = reason.__cause__ or reason.__context__
        if deeper is None or (isinstance(reason, OSError) and reason.strerror):
            break
        reason = deeper
    text = getattr(reason, "strerror", None) or str(reason) or type(reason).__name__
    return printable(str(text)[:MAX_SHOWN])


def _status(reply: Reply) -> Status | None:
    if not reply.headers.get("content-type", "").startswith("application/x-protobuf"):
        return None
    try:
        return Status.FromString(reply.body)
    except DecodeError:
        return Status()


def _words(reply: Reply, status: Status | None) -> str:
    """The receiver's own words: of a google.rpc.Status, or text."""
    if status is not None:
        return printable(status.message[:MAX_SHOWN])
    return printable(reply.body[:MAX_SHOWN].decode("utf-8", "replace").strip())


def _headers(target: Target) -> dict[str, str]:
    headers = {name.lower(): value for name, value in _OTLP_HTTP_HEADERS.items()}
    headers["user-agent"] = f"{USER_AGENT} {headers.get('user-agent', '')}".strip()
    # Compressed answers are small anyway, and could be bombs.
    headers["accept-encoding"] = "identity"
    if target.compression != "none":
        headers["content-encoding"] = target.compression
    return headers | target.headers


def _gzip(data: bytes) -> bytes:
    return gzip.compress(data, compresslevel=1)


def _plain(data: bytes) -> bytes:
    return data


_COMPRESSORS: Final[dict[str, Callable[[bytes], bytes]]] = {
    "none": _plain,
    "gzip": _gzip,
    "deflate": zlib.compress,
}


def _as_it_is(request: requests.PreparedRequest) -> requests.PreparedRequest:
    return request
