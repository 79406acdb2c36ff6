"""OTLP/HTTP with binary protobuf, and what an answer means for the records that were sent.

Source: https://opentelemetry.io/docs/specs/otlp/#otlphttp
"""

import gzip
import os
import time
import zlib
from collections.abc import Callable, Mapping
from typing import Final, NamedTuple
from urllib.parse import urlsplit

import requests
from google.protobuf import json_format
from google.protobuf.message import DecodeError, Message
from google.rpc.status_pb2 import Status
from opentelemetry.exporter.otlp.proto.http import _OTLP_HTTP_HEADERS

from realm_exporter_otlp.settings import MAX_SHOWN, WAIT_FOR_A_PERSON_S, Target
from realm_exporter_otlp.transport import SERVICES, Answer
from realm_telemetry.delivery.http import retry_after_s, unlogged
from realm_telemetry.errors import ExportError, PayloadTooLargeError
from realm_telemetry.kinds.line import printable
from realm_telemetry.shipper.deliveries import is_loopback
from realm_telemetry.version import __version__

_GRPC_PORT: Final = 4317

_RETRYABLE: Final = frozenset({429, 502, 503, 504})
# Not the records are at fault here but a setting, and once it is mended they will be taken; by the
# protocol's letter they would be given up.
_ENDPOINT_AT_FAULT: Final = frozenset({301, 302, 303, 307, 308, 404, 405, 421})
_HEADERS_AT_FAULT: Final = frozenset({401, 403, 407})
_FORMAT_AT_FAULT: Final = frozenset({415})


def to_error(target: Target, status: int, headers: Mapping[str, str], body: bytes) -> ExportError:
    """Return the ExportError for a status that is not 2xx."""
    fix = _fix(target, status)
    wait_s = retry_after_s(headers.get("retry-after"), time.time())
    if wait_s is None and fix:
        wait_s = WAIT_FOR_A_PERSON_S
    words = _words(headers.get("content-type", ""), body)
    message = f"{target.shown} answered {status}{f' ({words})' if words else ''}"
    return ExportError(
        f"{message}. {fix}" if fix else message,
        retryable=bool(fix) or status in _RETRYABLE,
        retry_after_s=wait_s,
    )


def unreachable(target: Target, error: requests.RequestException) -> ExportError:
    """Return the ExportError for a request without an answer."""
    return ExportError(
        f"{target.shown}: {_describe(target, error)}. {_hint(target)}", retryable=True
    )


def nonsense(target: Target) -> ExportError:
    """Return the ExportError for a success that no OTLP receiver says."""
    return ExportError(
        f"{target.shown} answered something that no OTLP receiver says. Check"
        f" {target.endpoint_setting}, and what stands between",
        retryable=True,
    )


def _fix(target: Target, status: int) -> str:
    if status in _ENDPOINT_AT_FAULT:
        path = f"/v1/{target.signal}"
        return (
            f"Set {target.endpoint_setting} to the address of an OTLP receiver: over HTTP its"
            f" path, most often {path}, is added, but not to signal_endpoint or"
            f" OTEL_EXPORTER_OTLP_{target.signal.upper()}_ENDPOINT"
        )
    if status in _HEADERS_AT_FAULT:
        return target.headers_fix
    if status in _FORMAT_AT_FAULT:
        return f"Set options.{target.exporter}.compression to 'none', or protocol to another one"
    return ""


def _hint(target: Target) -> str:
    if urlsplit(target.endpoint).port == _GRPC_PORT:
        return (
            f"Port {_GRPC_PORT} most often speaks gRPC: set options.{target.exporter}.protocol or"
            " OTEL_EXPORTER_OTLP_PROTOCOL to 'grpc', or take port 4318"
        )
    return f"Does a collector listen there? {target.endpoint_setting} says where it is"


def _describe(target: Target, error: requests.RequestException) -> str:
    """Say it in few words; those of the library hold addresses of objects and of retries."""
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


def _words(content_type: str, body: bytes) -> str:
    """The receiver's own words: a google.rpc.Status, or text."""
    if content_type.startswith("application/x-protobuf"):
        try:
            return printable(Status.FromString(body).message[:MAX_SHOWN])
        except DecodeError:
            return ""
    return printable(body[:MAX_SHOWN].decode("utf-8", "replace").strip())


_MAX_ANSWER_BYTES: Final = 65_536
"""More than any answer has; what is beyond stays unread."""

_CONNECT_TIMEOUT_S: Final = 5.0


class _Reply(NamedTuple):
    status: int
    headers: Mapping[str, str]
    body: bytes


class HttpChannel:
    """Sends over one kept-alive connection."""

    def __init__(self, target: Target) -> None:
        self.target = target
        self._headers = _headers(target)
        self._service = SERVICES[target.signal]
        self._session: requests.Session | None = None
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
            raise to_error(self.target, reply.status, reply.headers, reply.body)
        return self._read_answer(reply)

    def close(self) -> None:
        """Close the connection; the next `send` opens another one."""
        session, self._session = self._session, None
        if session is not None and self._pid == os.getpid():
            session.close()

    def _post(self, body: bytes) -> _Reply:
        deadline_s = time.monotonic() + self.target.timeout_s
        try:
            with unlogged():
                return self._once(body, deadline_s)
        except requests.RequestException as error:
            self.close()
            raise unreachable(self.target, error) from error

    def _once(self, body: bytes, deadline_s: float) -> _Reply:
        timeout_s = self.target.timeout_s
        response = self._open().post(
            self.target.endpoint,
            data=body,
            headers=self._headers,
            timeout=(min(timeout_s, _CONNECT_TIMEOUT_S), timeout_s),
            allow_redirects=False,
            stream=True,
        )
        with response:
            # Byte by byte: a larger read waits until it is full, and each byte of a dripping
            # server is in time.
            answer = bytearray()
            for byte in response.iter_content(1):
                answer += byte
                if time.monotonic() > deadline_s:
                    raise requests.ReadTimeout
                if len(answer) >= _MAX_ANSWER_BYTES:
                    break
            return _Reply(response.status_code, response.headers, bytes(answer))

    def _open(self) -> requests.Session:
        if self._session is None or self._pid != os.getpid():  # a fork must not share a connection
            self._pid = os.getpid()
            self._session = session = requests.Session()
            target = self.target
            session.trust_env = not is_loopback(target.endpoint)  # no proxy reaches this loopback
            if "authorization" in target.headers:
                session.auth = _as_it_is  # without one requests puts in that of ~/.netrc
            if target.certificate:
                session.verify = target.certificate
            if target.client_certificate and target.client_key:
                session.cert = (target.client_certificate, target.client_key)
            elif target.client_certificate:
                session.cert = target.client_certificate
        return self._session

    def _read_answer(self, reply: _Reply) -> Answer:
        """Read a success; receivers not quite up to the protocol answer nothing, or JSON."""
        response = self._service.response()
        kind = reply.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind == "text/html":  # whatever stands between says so, and took nothing
            raise nonsense(self.target)
        try:
            if kind == "application/json" and reply.body:
                json_format.Parse(reply.body, response, ignore_unknown_fields=True)
            elif kind == "application/x-protobuf":
                response.ParseFromString(reply.body)
        except (DecodeError, json_format.ParseError, UnicodeDecodeError) as error:
            raise nonsense(self.target) from error
        return self._service.answer(response)


def _headers(target: Target) -> dict[str, str]:
    headers = {name.lower(): value for name, value in _OTLP_HTTP_HEADERS.items()}
    headers["user-agent"] = f"realm-telemetry/{__version__} {headers.get('user-agent', '')}".strip()
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
