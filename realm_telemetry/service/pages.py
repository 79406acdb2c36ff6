"""The two pages that the service writes itself: what is served where, and the log-in.

No script, no request to anywhere else, links relative, so that both work behind any proxy.
Every value that is not ours goes through `escape`.
"""

from collections.abc import Sequence
from html import escape
from typing import Final

from realm_telemetry.kinds.catalog import CHANNEL_ICONS
from realm_telemetry.log.rows import LogRow

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
        "<main><h1>RealmService</h1><p>This service asks for its token, the value of"
        " <code>REALM_TOKEN</code> where it was started.</p>"
        f'<form method="post" action="login">{alert}'
        f'<input type="hidden" name="next" value="{escape(wanted)}">'
        '<label for="token">Token</label>'
        '<input id="token" name="token" type="password" autocomplete="current-password"'
        " required autofocus><button>Log in</button></form></main>",
    )


def index_page(routes: Sequence[tuple[str, str]], rows: Sequence[LogRow], remark: str) -> str:
    """What is served where, and the last events.

    routes: (path, what it answers). rows: newest first. remark: a word in front, may be empty.
    """
    said = f"<p><strong>{escape(remark)}</strong></p>" if remark else ""
    return _document(
        "RealmService",
        "<main><h1>⚔️ RealmService</h1><p>One log, two views of it: live and historic."
        f" Every path is answered at every address of this service.</p>{said}"
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
