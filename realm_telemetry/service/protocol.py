"""uvicorn's HTTP protocol with what it lacks: bounds on clients, and a way to abort.

A client costs something before its token is asked for, so all of that is bounded here, for every
address the service listens on:

- how many connections there are, in all and from one address. One that waits for its next request
  makes room for a new one.
- the bytes of everything that is no body (request line, headers, chunk sizes and their extensions,
  trailers), as they arrive: the parser keeps an unfinished header and appends to it, and calls
  nobody before it ends.
- the time until headers are whole, between two requests, and after an answer to a request that has
  not ended.
- the time without taking any of an answer.

A connection waits (no request, or headers that are not whole), then a request is under way from its
whole headers to the end of its answer.
"""

import asyncio
import json
import logging
import resource
import time
from collections import Counter
from collections.abc import Collection
from http import HTTPStatus
from ipaddress import IPv6Address, ip_address, ip_network
from typing import Any, ClassVar, Final

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from realm_telemetry.service.errors import ApiError
from realm_telemetry.service.live.streams import ABORT_EXTENSION
from realm_telemetry.service.settings import ServiceSettings

MAX_HEADER_BYTES: Final = 64 * 1024
MAX_HEADERS: Final = 128
MAX_PIPELINED: Final = 16
"""Requests that wait on one connection for the answer before them; each is held in memory."""

WRITE_TIMEOUT_S: Final = 30.0

_KEPT_DESCRIPTORS: Final = 128
"""Files of the process that are no connections: the log, its readers, exporters."""

_FOR_LOOPBACK: Final = 8
"""One part in so many of all connections is left to this machine, whatever others do."""


class ConnectionLimits:
    """How many connections there may be, in all and from one address.

    Loopback and trusted proxies stand for many, so for them only the limit in all holds. The
    addresses of one IPv6 network of 64 bits are one: its owner has all of them.
    """

    def __init__(self, settings: ServiceSettings) -> None:
        files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        # Without descriptors the server could not even accept a connection to refuse it.
        room = settings.max_connections if files < 0 else max(files - _KEPT_DESCRIPTORS, 1)
        self.most = min(settings.max_connections, room)
        self._most_of_address = settings.max_connections_per_address
        self._trusted = [ip_network(one, strict=False) for one in settings.trusted_proxies]
        self._of_address: Counter[str] = Counter()

    def enter(self, address: str | None, open_ones: "Collection[RealmProtocol]") -> bool:
        """Let a connection in, if there is room or an idle one can make some.

        open_ones: all connections, the new one too.
        """
        known = address is not None and not self._stands_for_many(address)
        most = self.most - self.most // _FOR_LOOPBACK if known else self.most
        key = _owner(address) if known and address else ""
        # First: who has a share of its own already makes nobody else leave.
        if key and self._of_address[key] >= self._most_of_address:
            return False
        if len(open_ones) > most and not _make_room(open_ones):
            return False
        if key:
            self._of_address[key] += 1
        return True

    def leave(self, address: str | None) -> None:
        """Take the place of one back that was let in."""
        if address is None or self._stands_for_many(address):
            return
        key = _owner(address)
        self._of_address[key] -= 1
        if not self._of_address[key]:
            del self._of_address[key]

    def _stands_for_many(self, address: str) -> bool:
        host = ip_address(address)
        if isinstance(host, IPv6Address) and host.ipv4_mapped is not None:
            host = host.ipv4_mapped
        return host.is_loopback or any(host in network for network in self._trusted)


def _owner(address: str) -> str:
    host = ip_address(address)
    if isinstance(host, IPv6Address) and host.ipv4_mapped is None:
        return str(ip_network((int(host) >> 64 << 64, 64)))
    return address


def _make_room(open_ones: "Collection[RealmProtocol]") -> bool:
    """Close the connection that has waited longest for a request."""
    waiting = [one for one in open_ones if one.waiting_since is not None]
    if not waiting:
        return False
    min(waiting, key=lambda one: one.waiting_since or 0.0).close()
    return True


class TooLargeError(Exception):
    """Raised inside the parser, which stops at it: a request is over a limit."""


class UnknownCodingError(Exception):
    """Raised inside the parser: a request's body is coded in a way that is not read here."""


class RealmProtocol(HttpToolsProtocol):
    """One connection. `protocol_for` makes the class of a service.

    waiting_since: when it began to wait; None while a request is under way.
    """

    settings: ClassVar[ServiceSettings]
    limits: ClassVar[ConnectionLimits]

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Let it in, and give the client a while for its first request's headers."""
        super().connection_made(transport)
        self._open_bytes = 0
        self._header_bytes = 0
        self._in_message = self._in_headers = False
        self._refused = self._is_over = False
        self._request_timer: asyncio.TimerHandle | None = None
        self._write_timer: asyncio.TimerHandle | None = None
        self.waiting_since: float | None = None
        address = self.client[0] if self.client else None
        open_ones: Any = self.connections
        self._is_in = self.limits.enter(address, open_ones)
        if self._is_in:
            self.waiting_since = self.loop.time()
            self._arm()
        else:
            self._refuse("too_many_connections")

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the timers, and give the place back."""
        self._disarm()
        if self._write_timer is not None:
            self._write_timer.cancel()
        self.waiting_since = None
        if self._is_in:
            self._is_in = False
            self.limits.leave(self.client[0] if self.client else None)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Parse; what is no body may only grow so far."""
        if self._refused:
            return
        if self.waiting_since is not None and not self._in_message:
            # Also for line breaks before a request, of which the parser says nothing.
            self._arm()
        self._open_bytes += len(data)
        super().data_received(data)
        if self._open_bytes > MAX_HEADER_BYTES and not self._refused:
            self._refuse("headers_too_large")

    def on_message_begin(self) -> None:
        """Offer the application a way to drop the connection."""
        super().on_message_begin()
        if len(self.pipeline) >= MAX_PIPELINED:
            self._stop_parser()
        self._arm()
        self._in_message = self._in_headers = True
        self._header_bytes = self._open_bytes = 0
        extensions: dict[str, Any] = {ABORT_EXTENSION: self.transport.abort}
        self.scope["extensions"] = extensions

    def on_url(self, url: bytes) -> None:
        """Count the request line."""
        super().on_url(url)
        self._count(len(url))

    def on_header(self, name: bytes, value: bytes) -> None:
        """Count a header; trailers are not among those that were checked, and nobody gets them."""
        self._count(len(name) + len(value))
        # Others the parser would leave in the body; a proxy in front may read it another way.
        if name.lower() == b"transfer-encoding" and value.strip().lower() != b"chunked":
            raise UnknownCodingError
        if self._in_headers:
            super().on_header(name, value)
            if len(self.headers) > MAX_HEADERS:
                self._stop_parser()

    def on_headers_complete(self) -> None:
        """All headers are there: the rest has its own limits."""
        self._disarm()
        self._in_headers = False
        self._open_bytes = 0
        self.waiting_since = None
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """Keep the body of a method that has one; that of another is not read by any route."""
        self._open_bytes = 0
        if self.scope["method"] == "POST":
            super().on_body(body)

    def on_message_complete(self) -> None:
        """The request is whole."""
        self._in_message = False
        self._disarm()
        super().on_message_complete()

    def on_response_complete(self) -> None:
        """Wait for the next request; one that was answered before its end gets a while."""
        super().on_response_complete()
        if self.transport.is_closing():
            self._linger()
        elif self.cycle.response_complete:
            self.waiting_since = self.loop.time()
            if self._in_message:
                self._arm()

    def timeout_keep_alive_handler(self) -> None:
        """Close a connection that no request came on."""
        if not self.transport.is_closing():
            self.close()

    def send_400_response(self, msg: str) -> None:
        """Answer what is no HTTP, or over a limit."""
        if self._is_over:
            self._refuse("headers_too_large")
            return
        self._refused = True
        if self._is_answering():
            self.transport.abort()
        else:
            super().send_400_response(msg)
            self.close()

    def pause_writing(self) -> None:
        """The client does not keep up: give it a while."""
        super().pause_writing()
        self._linger()

    def resume_writing(self) -> None:
        """It took what there was."""
        if self._write_timer is not None and not self.transport.is_closing():
            self._write_timer.cancel()
            self._write_timer = None
        super().resume_writing()

    def close(self) -> None:
        """Close the connection; what the client does not take is dropped after a while."""
        self.waiting_since = None
        self.transport.close()
        self._linger()

    def _refuse(self, code: str) -> None:
        """Answer with an error and close; where an answer is under way, just end it."""
        self._refused = True
        self.config.app.state.error_answers[code] += 1  # type: ignore[union-attr]
        if self._is_answering():
            self.transport.abort()
        else:
            self.transport.write(_answer(code))
            self.close()

    def _is_answering(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def _count(self, size: int) -> None:
        self._header_bytes += size
        if self._header_bytes > MAX_HEADER_BYTES:
            self._stop_parser()

    def _stop_parser(self) -> None:
        self._is_over = True
        raise TooLargeError

    def _arm(self) -> None:
        if self._request_timer is None:
            timeout_s = self.settings.header_timeout_s
            self._request_timer = self.loop.call_later(timeout_s, self.transport.abort)

    def _disarm(self) -> None:
        if self._request_timer is not None:
            self._request_timer.cancel()
            self._request_timer = None

    def _linger(self) -> None:
        if self._write_timer is None:
            self._write_timer = self.loop.call_later(WRITE_TIMEOUT_S, self.transport.abort)


class Seldom(logging.Filter):
    """Lets each warning about what clients send through once a minute, with how often it came.

    Anybody who reaches the address can make the server write one for each connection.
    """

    def __init__(self) -> None:
        super().__init__()
        self._next_s: dict[str, float] = {}
        self._kept_back: Counter[str] = Counter()

    def filter(self, record: logging.LogRecord) -> bool:
        """Return whether a record is written; one that stands for others says for how many."""
        if record.levelno != logging.WARNING or not isinstance(record.msg, str):
            return True
        text, now_s = record.msg, time.monotonic()
        if now_s < self._next_s.get(text, 0.0):
            self._kept_back[text] += 1
            return False
        self._next_s[text] = now_s + SELDOM_S
        kept_back = self._kept_back.pop(text, 0)
        if kept_back:
            record.msg = f"{text} ({kept_back} more times since this was said last)"
        return True


SELDOM_S: Final = 60.0
_SELDOM: Final = Seldom()


def protocol_for(settings: ServiceSettings) -> type[RealmProtocol]:
    """The protocol of a service: its connections share limits, whatever address they came to."""
    logging.getLogger("uvicorn.error").addFilter(_SELDOM)
    shared = {"settings": settings, "limits": ConnectionLimits(settings)}
    return type("RealmProtocol", (RealmProtocol,), shared)


def _answer(code: str) -> bytes:
    """An error of the catalogue as a whole answer, for what never reaches the application."""
    error = ApiError(code)
    body = json.dumps({"error": code, "message": error.message, "hint": error.hint}).encode()
    retry = f"retry-after: {error.retry_after_s}\r\n" if error.retry_after_s else ""
    head = (
        f"HTTP/1.1 {error.status} {HTTPStatus(error.status).phrase}\r\n"
        f"content-type: application/json\r\ncontent-length: {len(body)}\r\n{retry}"
        "connection: close\r\n\r\n"
    )
    return head.encode() + body
