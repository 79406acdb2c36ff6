"""OTLP/HTTP with binary protobuf. Source: https://opentelemetry.io/docs/specs/otlp/#otlphttp"""

import gzip
import os
import time
import zlib
from collections.abc import Callable, Mapping
from typing import Final, NamedTuple

import requests
from google.protobuf import json_format
from google.protobuf.message import DecodeError, Message
from opentelemetry.exporter.otlp.proto.http import _OTLP_HTTP_HEADERS

from realm_exporter_otlp.http_answers import nonsense, to_error, unreachable
from realm_exporter_otlp.settings import Target
from realm_exporter_otlp.signals import SERVICES, Answer
from realm_telemetry.delivery.quiet_http import unlogged
from realm_telemetry.errors import PayloadTooLargeError
from realm_telemetry.shipper.deliveries import is_loopback
from realm_telemetry.version import __version__

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
