"""Access control as pure ASGI middleware: Host, Origin, token, and the log-in of browsers.

DNS rebinding: a page of another site that resolves to 127.0.0.1 carries its own Host name, so
names are checked. The port is not, because a tunnel changes it.
Cross-site requests: a browser says where a request comes from (`Origin`, `Sec-Fetch-Site`), so
those from elsewhere are refused, reading ones too: a page of another site cannot see the answer,
but it could keep the service busy. Another port of this host is elsewhere as well. Only a link may
lead from there to a page. Programs send neither header and pass.
Wrong tokens are limited for each address; the right one is never, because on one host all users
share an address. A browser gives the token once at /login, or comes by a link that `realm login`
prints, and then has a cookie that scripts cannot read.
"""

import asyncio
import re
import socket
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Sequence
from ipaddress import ip_address, ip_network
from typing import Final
from urllib.parse import parse_qs, quote, urlsplit

from starlette.requests import HTTPConnection, Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from realm_telemetry.service.errors import ApiError
from realm_telemetry.service.pages import HTML_POLICY, PAGES, login_page, onward_page
from realm_telemetry.service.paths import route_path, sent_path
from realm_telemetry.service.sessions import COOKIE_AGE_S, Sessions
from realm_telemetry.service.settings import LOOPBACK_HOSTS, ServiceSettings


class Throttle:
    """Counts failures per address inside a sliding window.

    Bounded: `max_addresses` are remembered, the longest silent one is forgotten first.
    """

    def __init__(
        self,
        attempts: int,
        window_s: float,
        *,
        max_addresses: int = 1024,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._attempts = attempts
        self._window_s = window_s
        self._max_addresses = max_addresses
        self._clock = clock
        self._failures: OrderedDict[str, deque[float]] = OrderedDict()

    def wait_s(self, address: str) -> int:
        """Seconds until this address may try again; 0 if it may now."""
        failures = self._failures.get(address)
        if failures is None or len(failures) < self._attempts:
            return 0
        left = failures[0] + self._window_s - self._clock()
        return max(0, int(left) + 1) if left > 0 else 0

    def failed(self, address: str) -> None:
        """Note a wrong token."""
        failures = self._failures.setdefault(address, deque(maxlen=self._attempts))
        failures.append(self._clock())
        self._failures.move_to_end(address)
        if len(self._failures) > self._max_addresses:
            self._failures.popitem(last=False)


COOKIE: Final = "realm_session"

_OPEN_PATHS: Final = frozenset({"/health", "/ready", "/login", "/llms.txt"})
_LINKED_PATHS: Final = frozenset({*PAGES, "/login"})
_LINKED_BELOW: Final = "/runs/"
"""Pages that people open by a link of another site; what a page loads comes from its own origin."""


_PORT: Final = re.compile(r":\d{0,5}")


def host_name(host: str) -> str:
    """The name in a Host header, without the port and without the brackets of IPv6.

    Empty for a header that has something else behind the name.
    """
    if host.startswith("["):
        name, _, port = host[1:].partition("]")
        return name.lower() if not port or _PORT.fullmatch(port) else ""
    name, colon, port = host.partition(":")
    return name.rstrip(".").lower() if _PORT.fullmatch(colon + port) or not colon else ""


class HostCheck:
    """Refuses Host names that this service does not go by."""

    def __init__(self, app: ASGIApp, settings: ServiceSettings) -> None:
        self._app = app
        self._names = LOOPBACK_HOSTS | {name.lower() for name in settings.allowed_hosts}
        self._open = settings.host not in LOOPBACK_HOSTS
        if self._open:
            self._names |= {settings.host.lower(), socket.gethostname().lower()}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and "*" not in self._names:
            hosts = [value for name, value in scope["headers"] if name == b"host"]
            if len(hosts) != 1 or not self._is_ours(host_name(hosts[0].decode("latin-1"))):
                await ApiError("host_not_allowed").response()(scope, receive, send)
                return
        await self._app(scope, receive, send)

    def _is_ours(self, name: str) -> bool:
        # An address cannot be rebound: a page with it as Host came from that very address.
        return name in self._names or (self._open and _is_address(name))


MAX_PARAMETERS: Final = 256
"""Parameters of one query: reading them is work of the loop, and a line has room for thousands."""


class QueryCheck:
    """Refuses a query of more parameters than any route has a use for, before it is read."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["query_string"].count(b"&") >= MAX_PARAMETERS:
            problem = f"The query has over {MAX_PARAMETERS} parameters."
            await ApiError("invalid_parameter", problem).response()(scope, receive, send)
            return
        await self._app(scope, receive, send)


def _is_address(name: str) -> bool:
    try:
        ip_address(name)
    except ValueError:
        return False
    return True


class OriginCheck:
    """Refuses what a page of another origin asks for, but for following a link to a page."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and not (self._same_origin(scope) or self._is_link(scope)):
            await ApiError("origin_not_allowed").response()(scope, receive, send)
            return
        await self._app(scope, receive, send)

    @staticmethod
    def _is_link(scope: Scope) -> bool:
        headers = HTTPConnection(scope).headers
        return (
            scope["method"] in ("GET", "HEAD")
            and _is_page(route_path(scope))
            and "origin" not in headers
            and headers.getlist("sec-fetch-mode") == ["navigate"]
            # A frame or an object inside a page of another site is not opened by a person.
            and headers.get("sec-fetch-dest", "document") == "document"
        )

    @staticmethod
    def _same_origin(scope: Scope) -> bool:
        headers = HTTPConnection(scope).headers
        if not set(headers.getlist("sec-fetch-site")) <= {"none", "same-origin"}:
            return False
        origins = headers.getlist("origin")
        if not origins:
            return True
        try:
            netloc = urlsplit(origins[0]).netloc
        except ValueError:
            return False
        return len(origins) == 1 and netloc.lower() == headers.get("host", "").lower() != ""


def _is_page(path: str) -> bool:
    return path in _LINKED_PATHS or path.startswith(_LINKED_BELOW)


class TokenCheck:
    """Asks for the token, as Bearer header or log-in cookie, where one is set."""

    def __init__(self, app: ASGIApp, sessions: Sessions | None, throttle: Throttle) -> None:
        self._app = app
        self._sessions = sessions
        self._throttle = throttle

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if (
            self._sessions is None
            or scope["type"] != "http"
            or route_path(scope) in _OPEN_PATHS
            or (refusal := self._refusal(Request(scope))) is None
        ):
            await self._app(scope, receive, send)
        else:
            await refusal(scope, receive, send)

    def _refusal(self, request: Request) -> Response | None:
        assert self._sessions is not None
        if self._sessions.is_valid(request.cookies.get(COOKIE, "")):
            return None
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer" and token:
            return self._bearer_refusal(client_address(request), token.strip())
        if request.method == "GET" and "text/html" in request.headers.get("accept", ""):
            return RedirectResponse(login_location(request), 303)
        return ApiError("token_required").response()

    def _bearer_refusal(self, address: str, token: str) -> Response | None:
        assert self._sessions is not None
        if self._sessions.is_token(token):
            return None
        # A header can be guessed at as well as a form, so both share one limit.
        if wait := self._throttle.wait_s(address):
            return ApiError("too_many_attempts", retry_after_s=wait).response()
        self._throttle.failed(address)
        return ApiError("token_wrong").response()


def client_address(request: Request) -> str:
    """The peer's address, or a word for an unknown one."""
    return request.client.host if request.client else "unknown"


def login_location(request: Request) -> str:
    """Where to log in, and what to come back to."""
    wanted = sent_path(request.scope)
    if request.url.query:
        wanted += "?" + request.url.query
    return f"{request.scope.get('root_path', '')}/login?next={quote(wanted)}"


MAX_FORM_BYTES = 8 * 1024
_FORM_TYPE = "application/x-www-form-urlencoded"


class Login:
    """The routes of /login; without a token there is nothing to log in to."""

    def __init__(
        self,
        sessions: Sessions | None,
        throttle: Throttle,
        timeout_s: float,
        proxies: Sequence[str] = (),
    ) -> None:
        """proxies: `trusted_proxies`; what they say of TLS counts."""
        self._sessions = sessions
        self._throttle = throttle
        self._timeout_s = timeout_s
        self._proxies = [ip_network(one, strict=False) for one in proxies]

    async def show(self, request: Request) -> Response:
        """The form; with a good ticket the cookie, and on to the page."""
        if self._sessions is None:
            return _to(request, "/")
        wanted = _next(request.query_params.get("next", ""))
        ticket = request.query_params.get("ticket")
        if ticket is None:
            return _page(wanted)
        if not self._sessions.take(ticket):
            problem = "This link was used, or is too old. `realm login` prints another."
            return _page(wanted, problem=problem, status=401)
        # A redirect would not carry the cookie where the link was opened from another program.
        root = request.scope.get("root_path", "")
        return self._with_cookie(request, _html(onward_page(root + wanted)))

    async def submit(self, request: Request) -> Response:
        """Compare the token; right: the cookie, and on to where the browser wanted to go."""
        if self._sessions is None:
            return _to(request, "/")
        form = await self._form(request)
        wanted = _next(form.get("next", ""))
        if self._sessions.is_token(form.get("token", "").strip()):
            return self._with_cookie(request, _to(request, wanted))
        address = client_address(request)
        if wait_s := self._throttle.wait_s(address):
            raise ApiError("too_many_attempts", retry_after_s=wait_s)
        self._throttle.failed(address)
        return _page(wanted, problem="That is not the token of this service.", status=401)

    def _with_cookie(self, request: Request, response: Response) -> Response:
        assert self._sessions is not None
        response.set_cookie(
            COOKIE,
            self._sessions.issue(),
            max_age=COOKIE_AGE_S,
            path=request.scope.get("root_path", "") or "/",
            secure=self._is_secure(request),
            httponly=True,
            samesite="strict",
        )
        return response

    def _is_secure(self, request: Request) -> bool:
        """Whether the browser came by TLS: to us, or to a proxy of loopback or that is trusted."""
        if request.url.scheme == "https":
            return True
        said = request.headers.getlist("x-forwarded-proto")
        first = said[0].partition(",")[0].strip().lower() if said else ""
        return first == "https" and self._is_proxy(client_address(request))

    def _is_proxy(self, address: str) -> bool:
        try:
            peer = ip_address(address)
        except ValueError:
            return False
        peer = getattr(peer, "ipv4_mapped", None) or peer
        return peer.is_loopback or any(peer in network for network in self._proxies)

    async def _form(self, request: Request) -> dict[str, str]:
        if request.headers.get("content-type", "").partition(";")[0].strip().lower() != _FORM_TYPE:
            raise ApiError("unsupported_media_type", hint=f"Send {_FORM_TYPE}.")
        body = bytearray()
        try:
            async with asyncio.timeout(self._timeout_s):
                async for chunk in request.stream():
                    body += chunk
                    if len(body) > MAX_FORM_BYTES:
                        raise ApiError("body_too_large")
        except TimeoutError:
            raise ApiError("body_timeout") from None
        fields = parse_qs(body.decode("utf-8", "replace"), max_num_fields=8)
        return {name: values[-1] for name, values in fields.items()}


def _next(wanted: str) -> str:
    """A path of this service to go on to; anything else would let others send people away."""
    safe = wanted.startswith("/") and not wanted.startswith(("//", "/\\", "/login"))
    return wanted if safe and wanted.isprintable() and wanted.isascii() else "/"


def _to(request: Request, path: str) -> Response:
    return RedirectResponse(request.scope.get("root_path", "") + path, 303)


def _page(wanted: str, *, problem: str = "", status: int = 200) -> Response:
    return _html(login_page(wanted, problem), status)


def _html(text: str, status: int = 200) -> Response:
    headers = {"content-security-policy": HTML_POLICY, "cache-control": "no-store"}
    return HTMLResponse(text, status, headers)
