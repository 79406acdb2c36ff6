"""Secrets that are known by their form: tokens, passwords in URLs, key files."""

import re
from functools import cache
from typing import Final

from realm_telemetry.redaction.names import Verdict, keeps_text, looks_like_key
from realm_telemetry.redaction.rules import FORMS, REDACTED, SCHEMES_WITH_PASSWORDS, Form, Span

_MAX_URL: Final = 4096
_SCHEME: Final = re.compile(r"([a-z][a-z0-9+.]{0,20}):(?:\\?/){2}$")
_KEY_PART: Final = re.compile(r"(?=[A-Za-z]{0,64}\d)[A-Za-z0-9]{10}")
"""A part of a key with a digit; `sk-learn-classifier-v2` has none."""
_STANDS_FOR: Final = re.compile(
    r"[*•]{1,64}|[xX]{3,64}|\.{2,10}|<[^<>]{0,64}>|\$\{[^{}]{1,64}\}|\{\{?[\w. ]{0,64}\}\}?"
    r"|%\(?\w{0,64}\)?s|\[(?:redacted|filtered|masked|hidden|removed)\]",
    re.IGNORECASE,
)
"""What is no password in a URL."""
_PEM_END: Final = re.compile(r"[\"'`]|-----begin")
_URL_END: Final = re.compile(r"[\s\"'`<>]|:(?:\\?/){2}")
_PEM: Final = re.compile(r"-----begin [a-z0-9 ]{0,40}private key(?: block)?-----")
_URL_START: Final = re.compile(r":(?:\\?/){2}")


def find_form(form: Form, text: str) -> list[Span]:
    group, spans = 1 if _pattern(form).groups else 0, []
    for match in _pattern(form).finditer(text):
        found = match[group]
        if (not form.mixed or _KEY_PART.search(found)) and (not form.key or looks_like_key(found)):
            spans.append(match.span(group))
    return [span for span in spans if not keeps_text(Verdict.SECRET, text[slice(*span)])]


@cache
def _pattern(form: Form) -> re.Pattern[str]:
    return re.compile(form.pattern, 0 if form in FORMS else re.IGNORECASE)


def find_in_urls(text: str, low: str) -> list[Span]:
    """Find `user:password@` after `://`, also where the password has an `@` or a `/`."""
    spans, position = [], 0
    while (found := _URL_START.search(low, position)) is not None:
        start = found.end()
        stop = _URL_END.search(low, start, start + _MAX_URL)
        position = max(stop.start() if stop else min(start + _MAX_URL, len(low)), start)
        span = _user_info(text, start, position)
        if span:
            spans.append(span)
    return spans


def _user_info(text: str, start: int, end: int) -> Span | None:
    segment = text[start:end]
    path = min(at if (at := segment.find(mark)) >= 0 else len(segment) for mark in "/?#")
    at = segment.rfind("@", 0, path)
    user, colon, password = segment[:path].partition(":")
    if at >= 0 and _is_no_host(segment[at + 1 : path]) and segment[-1:] != "@":
        later = segment.rfind("@")
        at = later if later > path and segment[later - 1] != "/" else at
    late = colon and not password[:5].rstrip("\\").isdigit() and "[" not in user
    if at < 0 and late and _may_have_password(text, start, user):
        at = segment.rfind("@")  # the password has a slash
    if at < 1:
        return None
    user, colon, password = segment[:at].partition(":")
    if colon and password:
        kept = len(user) + 1 if user and not _is_token(user) else 0
        return None if _STANDS_FOR.fullmatch(password) and kept else (start + kept, start + at)
    return (start, start + at) if _is_token(user) else None


def _may_have_password(text: str, start: int, user: str) -> bool:
    """Return whether a slash may be in a password: in `model://llama:70b/x@v2` it is not."""
    if text.startswith(("PORT", "port"), start + len(user) + 1):
        return False
    address = _SCHEME.search(text[max(start - 24, 0) : start].lower())
    scheme = address[1].partition("+")[0] if address else ""
    if scheme in ("http", "https", "ws", "wss") and ("." in user or user == "localhost"):
        return False
    return scheme in SCHEMES_WITH_PASSWORDS


def _is_no_host(text: str) -> bool:
    """Return whether a text before a slash may rather be a part of a password."""
    return not ("." in text or ":" in text or text == "localhost")


def _is_token(user: str) -> bool:
    """Return whether a user name is a token, as in `https://<token>@github.com`."""
    return len(user) >= 16 and any(map(str.isdigit, user)) and user != REDACTED


def find_keys(text: str, low: str) -> list[Span]:
    """Find what stands between the first and last line of a private key, or after the first."""
    spans, position = [], 0
    while (begin := _PEM.search(low, position)) is not None:
        stop = _PEM_END.search(low, begin.end())
        limit = stop.start() if stop else len(low)
        end = low.find("-----end", begin.end(), limit)
        position = limit if end < 0 else end
        spans.append((begin.end(), position))
    return [span for span in spans if text[slice(*span)].strip() not in ("", REDACTED)]
