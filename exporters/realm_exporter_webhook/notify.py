"""Delivery by apprise, to e-mail and the many services that have no template here.

Only to targets of realm.toml: no event names such an address. apprise says whether a message went,
and not whether a further attempt makes sense, so that each failure is tried again.
"""

import logging
import re
from importlib.util import find_spec
from typing import Any, Final
from urllib.parse import unquote

import msgspec

from realm_telemetry.kinds.line import printable

PREFIX: Final = "apprise:"
MISSING: Final = "pip install 'realm-telemetry[notify]'"
UNKNOWN: Final = "apprise knows no such address"

_NOWHERE: Final = logging.NullHandler()
_SECRET_CHARS: Final = 4
_MAX_SHOWN: Final = 200


class Notice(msgspec.Struct, frozen=True):
    """A message as apprise takes it. type: `info`, `success`, `warning` or `failure`."""

    title: str
    text: str
    type: str


def is_installed() -> bool:
    """Whether apprise can be imported; it takes half a second, so only where it is needed."""
    return find_spec("apprise") is not None


def scheme_of(url: str) -> str:
    """Return the scheme of the address behind the prefix: `mailto`, `tgram`."""
    return url.removeprefix(PREFIX).partition("://")[0]


def problem_of(url: str) -> str:
    """Return what is wrong with an address, empty if apprise knows it."""
    if not is_installed():
        return f"apprise is not installed: {MISSING}"
    return "" if _service_of(url) is not None else UNKNOWN


def send(url: str, body: bytes) -> str:
    """Send a message once; return what was wrong, empty if it went.

    How long that may take is apprise's affair: 4 s to connect and 4 s to read, unless the address
    has `cto` and `rto`.
    """
    if problem := problem_of(url):
        return problem
    import apprise

    notice = msgspec.json.decode(body, type=Notice)
    sender = apprise.Apprise()
    sender.add(_service_of(url))
    capture: Any = apprise.LogCapture  # without types
    with capture(level=apprise.logging.WARNING, fmt="%(message)s") as said:
        # As text: apprise makes HTML of it where a service takes that, and escapes it.
        went = sender.notify(
            body=notice.text,
            title=notice.title,
            notify_type=apprise.NotifyType(notice.type),
            body_format=apprise.NotifyFormat.TEXT,
        )
        words = said.getvalue()
    return "" if went else _without_secrets(url, words) or "apprise did not say why it failed"


def _service_of(url: str) -> Any:
    import apprise

    # What it logs may have the address in it, and goes nowhere but into a message's problem.
    logger = logging.getLogger(apprise.LOGGER_NAME)
    logger.addHandler(_NOWHERE)
    logger.propagate = False
    return apprise.Apprise.instantiate(url.removeprefix(PREFIX), suppress_exceptions=True)


def _without_secrets(url: str, words: str) -> str:
    """The last thing that apprise said, without parts of the address but its host."""
    line = next((each for each in reversed(words.splitlines()) if each.strip()), "")
    parts = re.split(r"[^\w.%+-]+", url.removeprefix(PREFIX))
    host = re.match(r"[^/]*//(?:[^@/]*@)?([^:/?]*)", url.removeprefix(PREFIX))
    for part in {unquote(part) for part in parts} | set(parts):
        if len(part) >= _SECRET_CHARS and (host is None or part != host[1]):
            line = line.replace(part, "…")
    return printable(line)[:_MAX_SHOWN]
