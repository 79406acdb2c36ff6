"""What a browser gets: the built pages, two plain pages, security headers.

The built pages (War Room, Runs, Battle Log and their assets) are read once when the service starts.
They are built from `web/` into `static/` (`make pages`); wheels contain them. Without them the API
works all the same, and `/` says how to build them.
The log-in and the start page have no script, no request to another host, and relative links, so
that they work behind any proxy. Every value from outside goes through `escape`.
"""

import gzip
import mimetypes
from collections.abc import Sequence
from functools import lru_cache
from html import escape
from pathlib import Path
from typing import Final, NamedTuple

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from realm_telemetry.kinds.catalog import CHANNEL_ICONS
from realm_telemetry.log.rows import LogRow
from realm_telemetry.service.compression import WORTH_PACKING, accepts_gzip
from realm_telemetry.service.errors import ApiError

_ALWAYS: Final = [
    (b"x-content-type-options", b"nosniff"),
    # Not no-referrer: a browser then sends its own form with `Origin: null`.
    (b"referrer-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"x-frame-options", b"DENY"),
]
_DEFAULT_POLICY: Final = (
    b"content-security-policy",
    b"default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
)

HTML_POLICY: Final = (
    "default-src 'none'; style-src 'unsafe-inline'; img-src 'self' data:; form-action 'self'; "
    "frame-ancestors 'none'; base-uri 'none'"
)
"""For our own pages: no script at all, styles inside the page."""

PAGE_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "worker-src 'self'; img-src 'self' data:; form-action 'self'; frame-ancestors 'none'; "
    "base-uri 'none'"
)
"""For the built pages: only what this service serves, nothing inside the page."""


class SecurityHeaders:
    """Adds the headers; an answer that brings its own policy keeps it."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = list(message.get("headers", ())) + _ALWAYS
                if not any(name == b"content-security-policy" for name, _ in headers):
                    headers.append(_DEFAULT_POLICY)
                message = {**message, "headers": headers}
            await send(message)

        await self._app(scope, receive, send_with_headers)


STATIC: Final = Path(__file__).with_name("static")
RUN_PAGE: Final = "runs/run.html"
"""In a directory, as its address is: what it loads is one level up."""
PAGES: Final = {
    "/": "index.html",
    "/runs": "runs.html",
    "/runs/{id}": RUN_PAGE,
    "/battle-log": "battle-log.html",
    "/alerts": "alerts.html",
    "/compare": "compare.html",
    "/service-health": "service-health.html",
}
HOW_TO_BUILD: Final = "The pages are not built. Build them in the checkout: make pages"

_TYPES: Final = {".js": "text/javascript", ".css": "text/css", ".html": "text/html"}


class StaticFile(NamedTuple):
    """A file in memory, as it is and compressed."""

    media_type: str
    data: bytes
    packed: bytes | None


def pages_built(directory: Path = STATIC) -> bool:
    """Return whether all pages are in a directory."""
    return all((directory / name).is_file() for name in PAGES.values())


class BuiltPages:
    """The files below a directory by their path in it; empty if nothing is built."""

    def __init__(self, directory: Path = STATIC) -> None:
        paths = [path for path in directory.rglob("*") if path.is_file()]
        self._files = {path.relative_to(directory).as_posix(): _read(path) for path in paths}

    @property
    def built(self) -> bool:
        """Whether all pages are there."""
        return all(name in self._files for name in PAGES.values())

    async def page(self, request: Request) -> Response:
        """A page by its path. It is asked for anew each time, because it names the assets."""
        name = PAGES.get(request.scope["path"].removeprefix(request.scope.get("root_path", "")))
        return self.file(request, name)

    def file(self, request: Request, name: str | None, status: int = 200) -> Response:
        """A page by its name in the directory. Raises ApiError not_found if it is not built."""
        if name is None or name not in self._files:
            raise ApiError("not_found", HOW_TO_BUILD, "GET /api says what is served.")
        headers = {"content-security-policy": PAGE_POLICY, "cache-control": "no-store"}
        return self._answer(request, name, headers, status)

    async def script(self, request: Request) -> Response:
        """event-stream.js, which other pages load by name."""
        return self._answer(request, "event-stream.js", {"cache-control": "no-cache"})

    async def asset(self, request: Request) -> Response:
        """A file whose name changes with its content."""
        # A worker has a policy of its own: that of its script's answer.
        headers = {
            "cache-control": "public, max-age=31536000, immutable",
            "content-security-policy": PAGE_POLICY,
        }
        return self._answer(request, f"assets/{request.path_params['name']}", headers)

    def _answer(
        self, request: Request, name: str, headers: dict[str, str], status: int = 200
    ) -> Response:
        file = self._files.get(name)
        if file is None:
            raise ApiError("not_found")
        headers["vary"] = "accept, accept-encoding"
        if file.packed is not None and accepts_gzip(request.headers.getlist("accept-encoding")):
            headers["content-encoding"] = "gzip"
            return Response(file.packed, status, headers, file.media_type)
        return Response(file.data, status, headers, file.media_type)


def _read(path: Path) -> StaticFile:
    found = path.stat()
    return _packed(path, found.st_mtime_ns, found.st_size)


@lru_cache(maxsize=64)
def _packed(path: Path, _changed_ns: int, _size: int) -> StaticFile:
    """Read and compress a file; services of one process share what has not changed."""
    data = path.read_bytes()
    media_type = _TYPES.get(path.suffix) or mimetypes.guess_type(path.name)[0]
    packed = gzip.compress(data, 9, mtime=0) if len(data) > WORTH_PACKING else None
    return StaticFile(media_type or "application/octet-stream", data, packed)


_STYLE: Final = """
:root { color-scheme: light dark;
  --ink: light-dark(#1d2330, #e4e7ee); --soft: light-dark(#5b6475, #98a1b3);
  --paper: light-dark(#f7f6f2, #12151c); --card: light-dark(#ffffff, #1a1f29);
  --line: light-dark(#dfdcd3, #2b3240); --link: light-dark(#1f5fae, #7db4ff);
  --success: light-dark(#2c7a34, #6fce77); --warning: light-dark(#9a5b00, #ffb74d);
  --error: light-dark(#b3261e, #ff8a80); }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 2.5rem 1.25rem; max-width: 60rem; color: var(--ink);
  background: var(--paper); font: 16px/1.5 system-ui, sans-serif; }
h1 { margin: 0; font-size: 1.5rem; letter-spacing: -.01em; }
h2 { margin: 2.25rem 0 .6rem; font-size: 1rem; }
p { margin: .3rem 0; color: var(--soft); }
a { color: var(--link); text-decoration-thickness: 1px; text-underline-offset: .2em; }
:focus-visible { outline: 2px solid var(--link); outline-offset: 2px; }
table { width: 100%; border-collapse: collapse; background: var(--card);
  border: 1px solid var(--line); border-radius: 8px; }
td { padding: .45rem .75rem; border-top: 1px solid var(--line); vertical-align: top; }
tr:first-child td { border-top: 0; }
td:first-child { white-space: nowrap; width: 1%; }
code, time { font: .875rem/1.6 ui-monospace, monospace; font-variant-numeric: tabular-nums; }
time, .soft { color: var(--soft); }
td.message { overflow-wrap: anywhere; }
.success { color: var(--success); } .warning { color: var(--warning); }
.error { color: var(--error); }
form { display: grid; gap: .75rem; max-width: 24rem; margin-top: 1.5rem; padding: 1.25rem;
  background: var(--card); border: 1px solid var(--line); border-radius: 8px; }
input, button { font: inherit; padding: .55rem .75rem; border-radius: 6px;
  border: 1px solid var(--line); color: inherit; background: var(--paper); }
button { background: var(--link); color: var(--paper); border: 0; cursor: pointer; }
@media (max-width: 36rem) { td:first-child { white-space: normal; } }
"""


def _document(title: str, body: str) -> str:
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{_STYLE}</style></head><body>{body}</body></html>"
    )


def login_page(wanted: str, problem: str) -> str:
    """The log-in form.

    wanted: a path of this service to go on to. problem: what was wrong with the last try.
    """
    alert = f'<p class="error" role="alert">{escape(problem)}</p>' if problem else ""
    return _document(
        "Log in · RealmService",
        "<main><h1>RealmService</h1><p>This service asks for its token: <code>realm login</code>"
        " prints a link that logs in, and <code>REALM_TOKEN</code> holds the token if one was"
        " set.</p>"
        f'<form method="post" action="login">{alert}'
        f'<input type="hidden" name="next" value="{escape(wanted)}">'
        '<label for="token">Token</label>'
        '<input id="token" name="token" type="password" autocomplete="current-password"'
        " required autofocus><button>Log in</button></form></main>",
    )


def onward_page(path: str) -> str:
    """A page that leads on to a path of this service at once."""
    return _document(
        "Logged in · RealmService",
        f'<meta http-equiv="refresh" content="0;url={escape(path)}">'
        "<main><h1>RealmService</h1><p>You are logged in."
        f' <a href="{escape(path)}">Go on</a></p></main>',
    )


def index_page(routes: Sequence[tuple[str, str]], rows: Sequence[LogRow], remark: str) -> str:
    """What is served where, and the last events.

    routes: (path, what it answers). rows: newest first. remark: a word in front, may be empty.
    """
    note = f"<p><strong>{escape(remark)}</strong></p>" if remark else ""
    return _document(
        "RealmService",
        "<main><h1>⚔️ RealmService</h1><p>One log, two views of it: live and historic."
        f" Every path is answered at every address of this service.</p>{note}"
        f"<h2>Last events</h2>{_events_table(rows)}"
        f"<h2>What is served where</h2>{_routes_table(routes)}</main>",
    )


def _events_table(rows: Sequence[LogRow]) -> str:
    if not rows:
        return (
            "<p>The log has no events yet. A process that calls <code>realm.emit</code>, or"
            " <code>realm demo</code>, will fill it.</p>"
        )
    return f"<table><tbody>{''.join(_event_row(row) for row in rows)}</tbody></table>"


def _event_row(row: LogRow) -> str:
    event = row.event
    icon = CHANNEL_ICONS.get(event.channel, "")
    return (
        f'<tr><td><time datetime="{escape(event.timestamp)}">{escape(event.timestamp[11:19])}'
        f'</time></td><td><span title="{escape(event.channel)}">{icon}</span>'
        f' <a class="{escape(event.severity)}" href="api/battle_log/{event.id}">'
        f'{escape(event.kind)}</a></td><td class="message">{escape(event.message[:300])}</td></tr>'
    )


def _routes_table(routes: Sequence[tuple[str, str]]) -> str:
    return f"<table><tbody>{''.join(_route_row(*route) for route in routes)}</tbody></table>"


def _route_row(path: str, summary: str) -> str:
    method, _, where = path.rpartition(" ")
    shown = f"<code>{escape(path)}</code>"
    if not method and "{" not in where:
        shown = f'<a href="{escape(where.lstrip("/") or "./")}">{shown}</a>'
    return f"<tr><td>{shown}</td><td>{escape(summary)}</td></tr>"


def index_text(routes: Sequence[tuple[str, str]], rows: Sequence[LogRow], remark: str) -> str:
    """The same for a terminal."""
    width = max(len(path) for path, _ in routes)
    lines = ["RealmService: one log, two views of it.", *([remark] if remark else []), ""]
    lines += [f"  {path:<{width}}  {summary}" for path, summary in routes]
    lines += ["", "Last events:" if rows else "The log has no events yet."]
    lines += [
        f"  {row.event.timestamp[11:19]}  {row.event.severity:<7}  {row.event.kind}: "
        f"{_printable(row.event.message[:120])}"
        for row in rows
    ]
    return "\n".join(lines) + "\n"


def _printable(text: str) -> str:
    """Without the control characters by which a message could write over a terminal."""
    return "".join(letter if letter.isprintable() else " " for letter in text)
