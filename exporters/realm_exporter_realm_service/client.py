"""The HTTP client of one RealmService: every wait is bounded, every answer is checked."""

import gzip
import os
import time
from collections.abc import Callable, Mapping
from ipaddress import ip_address
from typing import Any, Final, NamedTuple

import httpx
import msgspec

from realm_telemetry.delivery.http import retry_after_s, unlogged
from realm_telemetry.errors import ConfigError, ExportError, PayloadTooLargeError
from realm_telemetry.event import InvalidEventError
from realm_telemetry.kinds.line import printable
from realm_telemetry.version import __version__
from realm_telemetry.wire import CONTENT_TYPE, BatchAnswer, decode_answer

_WAIT_FOR_A_PERSON_S: Final = 30.0
_MAX_SHOWN: Final = 300

_URL_FIX: Final = "Set service_url (REALM_SERVICE_URL) to the address of a RealmService"
_TOKEN_FIX: Final = "Set token (REALM_TOKEN) to the one that service was started with"

# Not the events are at fault here but a setting, and once it is mended they will be taken.
_SETTINGS_AT_FAULT: Final = {
    301: _URL_FIX,
    302: _URL_FIX,
    307: _URL_FIX,
    308: _URL_FIX,
    401: _TOKEN_FIX,
    403: f"{_TOKEN_FIX}, and service_url to a host name that it allows",
    404: _URL_FIX,
    405: _URL_FIX,
    407: "Set HTTPS_PROXY with its user and password, or NO_PROXY for this host",
    421: _URL_FIX,
}
_BUSY: Final = frozenset({408, 425, 429})


class ErrorBody(msgspec.Struct):
    """The service's own words, from its catalogue of errors."""

    message: str = ""
    hint: str = ""


def to_error(
    url: str, status: int, headers: Mapping[str, str], body: bytes, now: Callable[[], float]
) -> ExportError:
    """Return the ExportError for a status that is not 200.

    now: wall clock in seconds, for a Retry-After that is a date.
    """
    fix = _SETTINGS_AT_FAULT.get(status)
    wait_s = retry_after_s(headers.get("retry-after"), now())
    if wait_s is None and fix:
        wait_s = _WAIT_FOR_A_PERSON_S
    words = _words(body)
    message = f"{url} answered {status}{f' ({words})' if words else ''}"
    retryable = bool(fix) or status in _BUSY or status >= 500
    return ExportError(
        f"{message}. {fix}." if fix else message, retryable=retryable, retry_after_s=wait_s
    )


def _words(body: bytes) -> str:
    try:
        said = msgspec.json.decode(body, type=ErrorBody)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return printable(body[:_MAX_SHOWN].decode("utf-8", "replace").strip())
    return printable(f"{said.message} {said.hint}".strip()[:_MAX_SHOWN])


EVENTS_PATH: Final = "/api/v1/events"
HEALTH_PATH: Final = "/health"
COMPRESSIONS: Final = ("auto", "zstd", "gzip", "none")

_MAX_ANSWER_BYTES: Final = 4 * 1024 * 1024
_WORTH_COMPRESSING: Final = 1024
# Below the 5 s after which uvicorn closes an idle connection: reusing one just then fails.
_KEEP_ALIVE_S: Final = 4.0


class _Answer(NamedTuple):
    status: int
    headers: Mapping[str, str]
    body: bytes


class _Health(msgspec.Struct):
    log_id: str | None = None


class ServiceClient:
    """Speaks to one RealmService; used by one thread at a time.

    connect_timeout_s, timeout_s: until it is connected; for a whole request.
    """

    def __init__(
        self,
        url: str,
        token: str | None,
        *,
        compression: str = "auto",
        connect_timeout_s: float = 2.0,
        timeout_s: float = 10.0,
        clock: Any = time,
    ) -> None:
        """Opens no connection. Raises ConfigError."""
        self.url = url.rstrip("/")
        self._host = _check_url(self.url)
        self._headers = _headers(token)
        self._timeout = httpx.Timeout(timeout_s, connect=connect_timeout_s)
        self._timeout_s = timeout_s
        self._clock = clock
        self._encoding = _choose_encoding(compression, is_loopback(self._host))
        self._http: httpx.Client | None = None
        self._pid = 0

    def log_id(self) -> str | None:
        """Ask which log the service serves; None if it does not say.

        Raises ExportError.
        """
        answer = self._request("GET", HEALTH_PATH)
        if answer.status != 200:
            raise self._error(HEALTH_PATH, answer)
        try:
            return msgspec.json.decode(answer.body, type=_Health).log_id
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise self._nonsense(HEALTH_PATH) from error

    def send(self, batch: bytes) -> BatchAnswer:
        """Send an EventBatch.

        Raises PayloadTooLargeError if the service says so, else ExportError.
        """
        answer = self._post(batch)
        if answer.status == 415 and self._encoding == "zstd":
            self._encoding = "gzip"  # the service has no zstandard installed
            answer = self._post(batch)
        if answer.status == 413:
            raise PayloadTooLargeError(f"{self.url} does not take {len(batch):,} bytes at once")
        if answer.status != 200:
            raise self._error(EVENTS_PATH, answer)
        try:
            if not answer.headers.get("content-type", "").startswith(CONTENT_TYPE):
                raise self._nonsense(EVENTS_PATH)
            return decode_answer(answer.body)
        except InvalidEventError as error:
            raise self._nonsense(EVENTS_PATH) from error

    def close(self) -> None:
        """Close the connection; the next request opens another one."""
        http, self._http = self._http, None
        if http is not None and self._pid == os.getpid():
            http.close()

    def _post(self, batch: bytes) -> _Answer:
        headers = {"Content-Type": CONTENT_TYPE, "Accept": CONTENT_TYPE}
        if self._encoding != "identity" and len(batch) >= _WORTH_COMPRESSING:
            headers["Content-Encoding"] = self._encoding
            batch = _COMPRESSORS[self._encoding](batch)
        return self._request("POST", EVENTS_PATH, batch, headers)

    def _request(
        self, method: str, path: str, content: bytes = b"", headers: Mapping[str, str] | None = None
    ) -> _Answer:
        deadline = time.monotonic() + self._timeout_s
        stream = self._client().stream(
            method, self.url + path, content=content or None, headers=headers
        )
        try:
            with unlogged(), stream as response:
                body = self._read(response, path, deadline)
                return _Answer(response.status_code, response.headers, body)
        except httpx.HTTPError as error:
            self.close()
            raise ExportError(
                f"{self.url}{path}: {_describe(error)}. Is a RealmService running there"
                " (`realm serve`)? service_url (REALM_SERVICE_URL) says where it is",
                retryable=True,
            ) from error

    def _read(self, response: httpx.Response, path: str, deadline: float) -> bytes:
        """Read the body; each read has its timeout, but a dripping server is always in time."""
        body = bytearray()
        for chunk in response.iter_raw():
            body += chunk
            if len(body) > _MAX_ANSWER_BYTES:
                raise self._nonsense(path)
            if time.monotonic() > deadline:
                raise httpx.ReadTimeout(f"the answer took over {self._timeout_s:g} s")
        return bytes(body)

    def _client(self) -> httpx.Client:
        if self._http is None or self._pid != os.getpid():  # a fork must not share a connection
            self._pid = os.getpid()
            self._http = httpx.Client(
                headers=self._headers,
                timeout=self._timeout,
                limits=httpx.Limits(max_connections=1, keepalive_expiry=_KEEP_ALIVE_S),
                # A proxy cannot reach this machine's loopback.
                trust_env=not is_loopback(self._host),
            )
        return self._http

    def _error(self, path: str, answer: _Answer) -> ExportError:
        return to_error(
            self.url + path, answer.status, answer.headers, answer.body, self._clock.time
        )

    def _nonsense(self, path: str) -> ExportError:
        return ExportError(
            f"{self.url}{path} answered something that no RealmService says."
            " Check service_url (REALM_SERVICE_URL), and what stands between",
            retryable=True,
        )


def is_loopback(host: str) -> bool:
    """Return whether a host name means this machine."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _check_url(url: str) -> str:
    try:
        parsed = httpx.URL(url)
        if parsed.scheme in ("http", "https") and parsed.host:
            return parsed.host
    except (httpx.InvalidURL, TypeError):
        pass
    raise ConfigError(
        "service_url", f"{url!r} is not an address", "Write it like http://127.0.0.1:8866"
    )


def _headers(token: str | None) -> dict[str, str]:
    headers = {
        "User-Agent": f"realm-telemetry/{__version__}",
        # Compressed answers are small anyway, and could be bombs.
        "Accept-Encoding": "identity",
    }
    if token:
        if not (token.isascii() and token.isprintable()):
            raise ConfigError(
                "token", "has characters that no header can carry", "Use letters and digits."
            )
        headers["Authorization"] = f"Bearer {token}"
    return headers


def _choose_encoding(compression: str, loopback: bool) -> str:
    if compression == "none" or (compression == "auto" and loopback):
        return "identity"
    if compression == "gzip":
        return "gzip"
    try:
        import zstandard  # noqa: F401 - only whether it is there
    except ModuleNotFoundError:
        if compression == "zstd":
            raise ConfigError(
                "options.realm_service.compression",
                "zstd needs the module zstandard",
                "pip install 'realm-telemetry[service]'",
            ) from None
        return "gzip"
    return "zstd"


def _zstd(data: bytes) -> bytes:
    import zstandard

    return zstandard.ZstdCompressor(level=1).compress(data)


def _gzip(data: bytes) -> bytes:
    return gzip.compress(data, compresslevel=1)


_COMPRESSORS: Final[dict[str, Callable[[bytes], bytes]]] = {"gzip": _gzip, "zstd": _zstd}


def _describe(error: httpx.HTTPError) -> str:
    if isinstance(error, httpx.ConnectTimeout):
        return "no connection within the time for it"
    if isinstance(error, httpx.TimeoutException):
        return "no answer in time"
    return str(error) or type(error).__name__
