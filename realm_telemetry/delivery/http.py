"""What every HTTP sender shares: one deadline a request, what an answer means, quiet libraries.

The transports are httpx (`http_client`) and, for OTLP, OpenTelemetry's HTTP and gRPC libraries.
A sender sends once: the follower retries, or the outbox of messages. See
docs/decisions/0083-one-delivery-kit.md.
"""

import logging
import re
import socket
import threading
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC
from email.utils import parsedate_to_datetime
from ipaddress import ip_address
from typing import Any, Final, Literal, NamedTuple
from urllib.parse import urlsplit

import msgspec

from realm_telemetry.delivery.retry import LONGEST_RETRY_AFTER_S
from realm_telemetry.errors import ExportError
from realm_telemetry.version import __version__

USER_AGENT: Final = f"realm-telemetry/{__version__}"

BUSY: Final = frozenset({408, 425, 429})
SERVER_ERRORS: Final = frozenset(range(500, 1000))

WAIT_FOR_A_PERSON_S: Final = 30.0
"""Before another attempt where a setting is at fault: nothing changes sooner by itself."""

MAX_SHOWN: Final = 300
"""Characters of a receiver's own words that a message has."""


class Reply(NamedTuple):
    """An answer. headers: found in any case. whole: whether the body was read to its end."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    whole: bool = True


class UnreachableError(Exception):
    """A request without an answer; the message says why in few words."""


class NoConnectionError(UnreachableError):
    """Nothing was sent: there was no connection."""


class Answers(NamedTuple):
    """What the answers of a protocol mean: HTTP statuses, or the names of gRPC's codes.

    retryable: the same records may be taken later.
    fixes: a setting is at fault and not the records, by code what to do: once that is corrected
        they are taken. Every other answer is a rejection.
    """

    retryable: Collection[int | str]
    fixes: Mapping[int | str, str] = {}

    def error(
        self,
        place: str,
        code: int | str,
        words: str = "",
        retry_after_s: float | None = None,
        hint: str = "",
    ) -> ExportError:
        """Return the error for an answer that is no success.

        place: who answered, as people may see it; empty if they know. words: the receiver's own.
        hint: what to look at where no setting is known to be at fault.
        """
        fix = self.fixes.get(code, "")
        if fix and retry_after_s is None:
            retry_after_s = WAIT_FOR_A_PERSON_S
        message = f"{place} answered {code}{f' ({words})' if words else ''}".strip()
        advice = fix or hint
        return ExportError(
            f"{message}. {advice}" if advice else message,
            retryable=bool(fix) or code in self.retryable,
            retry_after_s=retry_after_s,
        )


Phase = Literal["resolve", "connect", "tls", "send", "answer", "headers", "body"]

_TOOK_LONGER: Final[dict[Phase, str]] = {
    "resolve": ": its name was not resolved",
    "connect": ": there was no connection",
    "tls": ": the TLS handshake took longer",
    "send": ": the request was not taken",
    "answer": "",
    "headers": ": the answer's headers took longer",
    "body": ": the answer's body took longer",
}


class Deadline:
    """The end of a whole request: its connection is shut down then, whatever it is doing.

    The timeout of an HTTP library is for each read, and a server that sends one byte at a time is
    in time for every single one.
    phase: what the request is doing, which is the reason if the deadline passes meanwhile.
    """

    def __init__(self, timeout_s: float) -> None:
        self.timeout_s = timeout_s
        self.passed = False
        self.phase: Phase = "resolve"
        self._late_in: Phase | None = None
        self._end_s = time.monotonic() + timeout_s
        self._socket: socket.socket | None = None
        self._lock = threading.Lock()
        self._timer = threading.Timer(timeout_s, self._expire)
        self._timer.daemon = True

    @property
    def left_s(self) -> float:
        """Seconds that are left, at least 0."""
        return max(self._end_s - time.monotonic(), 0.0)

    @property
    def reason(self) -> str:
        """What took longer."""
        return f"no answer within {self.timeout_s:g} s{_TOOK_LONGER[self._late_in or self.phase]}"

    def __enter__(self) -> "Deadline":
        self._end_s = time.monotonic() + self.timeout_s
        self._timer.start()
        return self

    def __exit__(self, *_: Any) -> None:
        self._timer.cancel()
        with self._lock:
            self._socket = None

    def watch(self, connection: socket.socket | None) -> None:
        """Shut this connection down at the end, in place of an earlier one."""
        with self._lock:
            self._socket = connection
            if self.passed:
                self._shut_down()

    def check(self) -> None:
        """Raise UnreachableError once it has passed: a body that was cut off may look whole."""
        if self.passed:
            raise UnreachableError(self.reason)

    def _expire(self) -> None:
        with self._lock:
            # A library may take the end of the connection for that of a part, and go on.
            self.passed, self._late_in = True, self.phase
            self._shut_down()

    def _shut_down(self) -> None:
        if self._socket is not None:
            # Not a TLS socket's own method: another thread reads from it.
            with suppress(OSError):
                socket.socket.shutdown(self._socket, socket.SHUT_RDWR)


class Wait(NamedTuple):
    """What a receiver asks for. whole_host: not for this address only, but for all of its host."""

    wait_s: float | None
    whole_host: bool = False


def asked_wait(reply: Reply, now_s: float) -> Wait:
    """Read how long a receiver asks to wait, in whichever way it says so; the longest counts.

    Retry-After (RFC 9110, 10.2.3), X-RateLimit-Reset-After and `retry_after` in a JSON body
    (Discord; below `parameters` Telegram), `retry_after_ms` there (Matrix). `global` there, and a
    header for it, mean all of the host (docs.discord.com/developers/topics/rate-limits).
    """
    body = _json_object(reply.body)
    waits = [retry_after_s(reply.headers.get(name), now_s) for name in _WAIT_HEADERS]
    waits += [_body_wait_s(body, path, unit_s) for path, unit_s in _WAIT_FIELDS]
    asked = [wait_s for wait_s in waits if wait_s is not None]
    whole_host = body.get("global") is True or any(
        reply.headers.get(name, "").strip().lower() == value for name, value in _HOST_HEADERS
    )
    return Wait(max(asked, default=None), whole_host)


_WAIT_HEADERS: Final = ("retry-after", "x-ratelimit-reset-after")
_WAIT_FIELDS: Final = (
    (("retry_after",), 1.0),
    (("parameters", "retry_after"), 1.0),
    (("retry_after_ms",), 0.001),
)
_HOST_HEADERS: Final = (("x-ratelimit-global", "true"), ("x-ratelimit-scope", "global"))


def _json_object(body: bytes) -> dict[str, Any]:
    try:
        found = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _body_wait_s(body: Any, path: Sequence[str], unit_s: float) -> float | None:
    for name in path:
        body = body.get(name) if isinstance(body, dict) else None
    if isinstance(body, str) and _NUMBER.fullmatch(body):
        body = float(body)
    return bounded_wait_s(body * unit_s) if type(body) in (int, float) else None


_NUMBER: Final = re.compile(r"\d{1,15}(?:\.\d{0,15})?|\.\d{1,15}", re.ASCII)
# A date has a comma of its own, and so has a list of values: of several headers, for example.
_VALUES: Final = re.compile(r"(?:(?:mon|tue|wed|thu|fri|sat|sun)[a-z]*,)?[^,]*", re.I | re.ASCII)


def retry_after_s(value: str | None, now_s: float) -> float | None:
    """Read Retry-After, seconds or an HTTP date; None if it is neither.

    Fractions of seconds are read too, and of several values the longest counts.
    At least 0 and at most an hour: another machine's mistake must not stop this one for days.
    """
    texts = _VALUES.findall((value or "")[:1000])
    waits = [_one_wait_s(text.strip(), now_s) for text in texts]
    return max((wait_s for wait_s in waits if wait_s is not None), default=None)


def _one_wait_s(text: str, now_s: float) -> float | None:
    if _NUMBER.fullmatch(text):
        return bounded_wait_s(float(text))
    try:
        moment = parsedate_to_datetime(text)
        wait_s = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() - now_s
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    return bounded_wait_s(max(wait_s, 0.0))


def bounded_wait_s(wait_s: float | None) -> float | None:
    """Return what was asked for, at most an hour; None for what cannot be meant."""
    if wait_s is None or not wait_s >= 0.0:  # NaN neither
        return None
    return min(wait_s, LONGEST_RETRY_AFTER_S)


def is_loopback(place: str) -> bool:
    """Whether a URL or a host name means this machine, which no proxy reaches."""
    host = (urlsplit(place).hostname if "://" in place else place) or ""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


class _NotOurs(logging.Filter):
    """Drops what this thread's own requests log."""

    def __init__(self) -> None:
        super().__init__()
        self.ours = threading.local()

    def filter(self, record: logging.LogRecord) -> bool:
        return not getattr(self.ours, "active", False)


_NOT_OURS: Final = _NotOurs()
for _name in (
    "httpx",
    "httpcore.connection",
    "httpcore.http11",
    "httpcore.proxy",
    "urllib3.connectionpool",
    "urllib3.util.retry",
):
    logging.getLogger(_name).addFilter(_NOT_OURS)


@contextmanager
def quiet_http() -> Iterator[None]:
    """Suppress HTTP-library logs of the requests that this thread makes inside.

    Where a program exports its logging through an exporter of ours, each request would log the
    record that needs the next request; and an address may be a secret.
    """
    _NOT_OURS.ours.active = True
    try:
        yield
    finally:
        _NOT_OURS.ours.active = False
