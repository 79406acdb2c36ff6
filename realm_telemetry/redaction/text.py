"""Secrets in text: under a name, by their form, in a URL, in a key file.

Every finder reads the text once, from left to right: a text of a megabyte that is made to be slow
takes under a second. What stands beside a secret is kept.
"""

import re
from collections.abc import Callable, Sequence
from functools import cache, partial
from typing import Final, NamedTuple

from realm_telemetry.redaction.names import COUNTS, Verdict, judge, keeps_text
from realm_telemetry.redaction.rules import (
    FORMS,
    LONG_SCHEMES,
    LOOSE_FORMS,
    MIN_FORM,
    NAME_HINTS,
    REDACTED,
    SCHEMES,
    Finder,
    Form,
)

Span = tuple[int, int]

_ROUNDS: Final = 4
"""What is found may uncover more: `password=x` in the value of another name."""

_MAX_NAME: Final = 64
_MAX_CONTAINER: Final = 4096
_MAX_URL: Final = 4096
_MAX_TRAILING: Final = 8

# After the first letters of a name: the rest of it, a quote, and what says that a value follows.
_AFTER_NAME: Final = (
    r"[\w-]{0,40}+(?P<quote>\\{0,8}[\"'`])?+\]?\s{0,4}+"
    # {"name": "PASSWORD", "value": "x"} and <add key="password" value="x"/> within a text
    r"(?P<sep>,\s{0,4}\\{0,8}[\"']value\\{0,8}[\"']\s{0,4}:|value\s?="
    r"|=>|:=|==?|:(?!//)|%3d|%3a|,|>)?+\s{0,4}+"
)
_NAME_CHARACTERS: Final = frozenset("abcdefghijklmnopqrstuvwxyz0123456789_-")
_OPENING: Final = re.compile(r"(?:[\w.]{1,40}\((?=[\"']))?+[bruf]{0,2}(\\{0,8})([\"'`])", re.I)
# A value without quotes ends before what looks like the next name, too.
_NEXT_NAME: Final = r"[&;,](?:amp;)?(?:[\w.-]{1,64}+=|\s|\Z|[)\]}&;,\"'])"
_BARE: Final = re.compile(rf"(?:(?!\\[nrt]|{_NEXT_NAME})[^\s\"'<>`])++")
_BARE_QUERY: Final = re.compile(rf"(?:(?!\\[nrt]|{_NEXT_NAME})[^\s\"'<>`&#])++")
_BARE_ESCAPED: Final = re.compile(rf"(?:(?!\\[nrt]|%26|{_NEXT_NAME})[^\s\"'<>`])++")
_LINE: Final = re.compile(r"(?:(?!\\[nr])[^\r\n])++")
_SCHEME: Final = re.compile(rf"(?:{'|'.join(SCHEMES)})\s{{1,4}}(?=\S)", re.I)
_LONG_SCHEME: Final = re.compile(rf"(?:{'|'.join(LONG_SCHEMES)})\s{{1,4}}", re.I)
_PEM_END: Final = re.compile(r"[\"'`]|-----begin")
_URL_END: Final = re.compile(r"[\s\"'`<>]|:(?:\\?/){2}")
_AFTER_A_WORD: Final = frozenset(("token", "tokens", "key", "keys"))
"""Names of which the word before them in a text is a part: `API key: x`, `eos token: </s>`."""
_WORD: Final = re.compile(r"[A-Za-z]{2,32}(?![\w.@:=-])")
_HEADERS: Final = frozenset(("authorization", "proxy-authorization", "cookie", "set-cookie"))
_CLOSING: Final = {"[": "]", "(": ")", "{": "}"}
_OPENED: Final = {closing: opening for opening, closing in _CLOSING.items()}


def shown(text: str) -> str:
    """Return an address, a setting or an error as people may see it: without its secrets.

    Unlike `clean_text` it keeps what follows a name and a colon, which our own messages have.
    """
    return _clean_once(text, (), prose=False)


def clean_text(text: str, patterns: Sequence[re.Pattern[str]] = ()) -> str:
    """Return the text without secrets; the same object if it has none.

    patterns: of the user's own; all that they match is secret.
    """
    for _ in range(_ROUNDS):
        clean = _clean_once(text, patterns)
        if clean is text:
            break
        text = clean
    return text


class Hints(NamedTuple):
    """What calls for a closer look: in lower case, and as it stands."""

    low: Sequence[str]
    exact: Sequence[str]

    def among(self, text: str) -> "Hints":
        """Return those that stand in a text; one character is found much faster than two."""
        low = text.lower()
        marks = {mark for mark in _MARKS if mark in text} | {""}
        return Hints(
            [hint for hint in self.low if _MARK_OF[hint] in marks and hint in low],
            [hint for hint in self.exact if _MARK_OF[hint] in marks and hint in text],
        )


def is_plain(text: str, hints: Hints) -> bool:
    """Return whether no secret is in a text: fast, and false for some that have none.

    hints: those that it may have; ALL_HINTS, or what a longer text has of them.
    """
    if hints.low:
        low = text.lower()
        for hint in hints.low:
            if hint in low and _closer(hint)(text, low):
                return False
    if len(text) >= MIN_FORM:
        for hint in hints.exact:
            if hint in text and any(_find_form(form, text) for form in _FORMS_OF[hint]):
                return False
    return True


@cache
def _closer(hint: str) -> Callable[[str, str], object]:
    """Return the closer look that a hint calls for."""
    if hint not in NAME_HINTS:
        return lambda text, low: any(find(text, low) for find in _finders()[hint])
    follows = re.compile(
        hint + r"[\w-]{0,40}+(?:\\{0,8}[\"'`])?+\]?\s{0,4}+(?:=|:(?!//)|%3|,|>|value)"
    )
    others = _finders()[hint][1:]
    return lambda text, low: (
        follows.search(low)
        or "--" in low
        or " -" in low
        or low[0] == "-"
        or any(find(text, low) for find in others)
    )


def _clean_once(text: str, patterns: Sequence[re.Pattern[str]], *, prose: bool = True) -> str:
    low = _lower(text)
    spans: list[Span] = []
    for hint, finders in _finders(prose).items():
        if hint in low:
            for find in finders:
                spans += find(text, low)
    if len(text) >= MIN_FORM:
        for form in FORMS:
            if form.hint in text:
                spans += _find_form(form, text)
    for pattern in patterns:
        spans += [match.span() for match in pattern.finditer(text)]
    return _without(text, spans)


def _lower(text: str) -> str:
    """Lower case at the same positions."""
    low = text.lower()
    if len(low) != len(text):  # some letters become two
        low = text.encode("utf-8", "surrogatepass").lower().decode("utf-8", "surrogatepass")
    return low


def _without(text: str, spans: list[Span]) -> str:
    """Replace what the spans cover; what overlaps is one secret."""
    merged: list[list[int]] = []
    for start, end in sorted(spans):
        if start >= end or text[start:end] == REDACTED:
            continue
        if merged and start < merged[-1][1]:
            merged[-1][1] = max(merged[-1][1], end)
        else:
            merged.append([start, end])
    if not merged:
        return text
    pieces, done = [], 0
    for start, end in merged:
        pieces += [text[done:start], REDACTED]
        done = end
    clean = "".join([*pieces, text[done:]])
    return text if clean == text else clean


class _Name(NamedTuple):
    """A name in text. start: of it, without quotes. sep: what stands before the value, or None."""

    text: str
    start: int
    quote: str | None
    sep: str | None
    spaced: bool


def _find_named(pattern: re.Pattern[str], prose: bool, text: str, low: str) -> list[Span]:
    """Find the values of secret names; prose: also after a name and a colon without quotes."""
    spans, position = [], 0
    while match := pattern.search(low, position):
        position = match.end()
        name = _name(match, text, low)
        if name and not prose and name.sep == ":" and not name.quote and not _is_header(name.text):
            continue
        span = _value(name, text, position) if name else None
        if span:
            spans.append(span)
            position = max(span[1], position)
    return spans


def _is_header(name: str) -> bool:
    return name.lower() in _HEADERS


def _name(match: re.Match[str], text: str, low: str) -> _Name | None:
    start, floor = match.start(), max(match.start() - _MAX_NAME, 0)
    while start > floor and low[start - 1] in _NAME_CHARACTERS:
        start -= 1
    if start and text[start - 1] == "\\" and low[start] in "nrt":
        start += 1  # the letter of an escaped line end
    quote, sep = match["quote"], match["sep"]
    end = match.start("quote") if quote else _end_of_name(match, low)
    spaced = match.end() > end and low[match.end() - 1].isspace()
    return _Name(text[start:end], start, quote, sep, spaced) if end > start else None


def _end_of_name(match: re.Match[str], low: str) -> int:
    end = match.start()
    while end < match.end() and (low[end] in _NAME_CHARACTERS or low[end].isalnum()):
        end += 1
    return end


def _value(name: _Name, text: str, position: int) -> Span | None:
    if text.startswith(REDACTED, position) or position >= len(text):
        return None
    before = text[name.start - 1 : name.start]
    if not _leads_to_a_value(name, before, text, position):
        return None
    verdict = _verdict(name, before, text, position)
    if not verdict:
        return _query_value(name, before, text, position)
    return _secret_value(name, verdict, before, text, position)


def _leads_to_a_value(name: _Name, before: str, text: str, position: int) -> bool:
    flag = name.text.startswith("-")
    if name.sep and "value" in name.sep:
        return bool(name.quote)
    if name.sep is None:
        return flag and name.spaced and not name.quote and text[position] != "-"
    if name.sep == ",":  # ("password", "x") and ["--password", "x"]
        pair = before in ("'", '"') and text[name.start - 2 : name.start - 1] == "("
        return bool(name.quote) and (flag or pair) and text[position] in "'\"\\"
    return before == "<" if name.sep == ">" else True


def _verdict(name: _Name, before: str, text: str, position: int) -> Verdict:
    word = name.text
    if before == " " and word.lower() in _AFTER_A_WORD:
        word = f"{text[max(name.start - 17, 0) : name.start - 1].rpartition(' ')[2]}_{word}"
    if name.sep == ":" and not name.quote and word == "PASS":
        return Verdict.PLAIN  # as the reports of tests have it
    if name.sep == ":" and not name.quote and word == "auth" and _WORD.match(text, position):
        return Verdict.PLAIN  # the name of a part of a program
    return judge(word)


_SIGNATURES: Final = frozenset(("sig", "signature", "hmac", "sign"))
_MIN_QUERY_KEY: Final = 16


def _query_value(name: _Name, before: str, text: str, position: int) -> Span | None:
    """Names that are secret in the query of a URL alone."""
    if name.sep != "=" or before not in ("?", "&", ";"):
        return None
    end = _bare_end(text, position, _BARE_QUERY)
    word = name.text.lower()
    if word in _SIGNATURES or (word == "key" and end - position >= _MIN_QUERY_KEY):
        return position, end
    return None


def _secret_value(
    name: _Name, verdict: Verdict, before: str, text: str, position: int
) -> Span | None:
    opening = _OPENING.match(text, position)
    if opening and not name.quote and opening[2] == before:
        return None  # the end of a text, as in getpass("Password: ")
    if opening:
        start = opening.end()
        end = _closing(text, start, len(opening[1]), opening[2])
        if "authorization" in name.text.lower():
            start = _after_scheme(text, start, end)
    elif text[position] in _CLOSING:
        return None if verdict in COUNTS else _container(text, position)
    else:
        start, end = _bare_value(name, before, text, position)
    value = text[start:end]
    return None if value.startswith(REDACTED) or keeps_text(verdict, value) else (start, end)


def _bare_value(name: _Name, before: str, text: str, position: int) -> Span:
    """A value without quotes; that of a header goes to the end of the line."""
    start = _after_scheme(text, position, len(text))
    cookie = name.sep == ":" and name.text.lower() in ("cookie", "set-cookie")
    if cookie or _LONG_SCHEME.match(text, position):
        end = _end_of_line(text, start)
        quote = text.find(before, start, end) if before in ("'", '"') else -1
        return start, end if quote < 0 else quote
    escaped = _BARE_ESCAPED if name.sep == "%3d" else _BARE
    end = _bare_end(text, start, _BARE_QUERY if before in ("?", "&") else escaped)
    tag = text.find("<", start, end) if name.sep == ">" else -1
    return start, end if tag < 0 else tag


def _after_scheme(text: str, start: int, end: int) -> int:
    scheme = _SCHEME.match(text, start, end) or _LONG_SCHEME.match(text, start, end)
    return scheme.end() if scheme else start


def _end_of_line(text: str, start: int) -> int:
    line = _LINE.match(text, start)
    return line.end() if line else start


def _closing(text: str, start: int, escapes: int, quote: str) -> int:
    """Where a quoted value ends: at the same quote with as many escapes; else with the line."""
    position = start
    while (found := text.find(quote, position)) >= 0:
        slashes = 0
        while found - slashes > start and text[found - slashes - 1] == "\\":
            slashes += 1
        if slashes <= escapes if escapes else slashes % 2 == 0:
            return found - (slashes if escapes else 0)
        position = found + 1
    line = text.find("\n", start)
    return len(text) if line < 0 else line


def _container(text: str, position: int) -> Span | None:
    """A list or a table in text, with its brackets; None if it is empty."""
    limit = min(position + _MAX_CONTAINER, len(text))
    end = text.find(_CLOSING[text[position]], position, limit)
    inside = text[position + 1 : limit if end < 0 else end]
    return (position, limit if end < 0 else end + 1) if inside.strip() else None


def _bare_end(text: str, start: int, value: re.Pattern[str]) -> int:
    """Where a value without quotes ends."""
    match = value.match(text, start)
    return _without_trailing(text, start, match.end()) if match else start


def _without_trailing(text: str, start: int, end: int) -> int:
    """The end without the marks of the sentence, and brackets that were opened before."""
    floor = max(start + 1, end - _MAX_TRAILING)
    while end > floor:
        last = text[end - 1]
        opened = _OPENED.get(last)
        if last not in ",;." and (opened is None or opened in text[start:end]):
            break
        end -= 1
    return end


def _find_form(form: Form, text: str) -> list[Span]:
    group, spans = 1 if _pattern(form).groups else 0, []
    for match in _pattern(form).finditer(text):
        found = match[group]
        if not form.mixed or any(letter.isdigit() for letter in found):
            spans.append(match.span(group))
    return [span for span in spans if not keeps_text(Verdict.SECRET, text[slice(*span)])]


@cache
def _pattern(form: Form) -> re.Pattern[str]:
    return re.compile(form.pattern, 0 if form in FORMS else re.IGNORECASE)


def _find_in_urls(text: str, low: str) -> list[Span]:
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
    if at < 0 and colon and not password[:5].rstrip("\\").isdigit() and "[" not in user:
        at = segment.rfind("@")  # the password has a slash
    if at < 1:
        return None
    user, colon, password = segment[:at].partition(":")
    if colon and password:
        kept = len(user) + 1 if user and not _is_token(user) else 0
        known = keeps_text(Verdict.SECRET, password)
        return None if known and kept else (start + kept, start + at)
    return (start, start + at) if _is_token(user) else None


def _is_no_host(text: str) -> bool:
    """Return whether a text before a slash may rather be a part of a password."""
    return not ("." in text or ":" in text or text == "localhost")


def _is_token(user: str) -> bool:
    """Return whether a user name is a token, as in `https://<token>@github.com`."""
    return len(user) >= 16 and any(map(str.isdigit, user)) and user != REDACTED


_PEM: Final = re.compile(r"-----begin [a-z0-9 ]{0,40}private key(?: block)?-----")


def _find_keys(text: str, low: str) -> list[Span]:
    """Find what stands between the first and last line of a private key, or after the first."""
    spans, position = [], 0
    while (begin := _PEM.search(low, position)) is not None:
        stop = _PEM_END.search(low, begin.end())
        limit = stop.start() if stop else len(low)
        end = low.find("-----end", begin.end(), limit)
        position = limit if end < 0 else end
        spans.append((begin.end(), position))
    return [span for span in spans if text[slice(*span)].strip() not in ("", REDACTED)]


_URL_START: Final = re.compile(r":(?:\\?/){2}")


@cache
def _finders(prose: bool = True) -> dict[str, list[Finder]]:
    """The finders by the hint that calls for them, in lower case."""
    found: dict[str, list[Finder]] = {hint: [_named_finder(hint, prose)] for hint in NAME_HINTS}
    found["key"].append(_find_keys)
    found |= {"//": [_find_in_urls], "\\/": [_find_in_urls]}
    for form in LOOSE_FORMS:
        found.setdefault(form.hint, []).append(_form_finder(form))
    return found


def _named_finder(hint: str, prose: bool) -> Finder:
    return partial(_find_named, re.compile(hint + _AFTER_NAME), prose)


def _form_finder(form: Form) -> Finder:
    return lambda text, low: _find_form(form, text)


_FORMS_OF: Final = {form.hint: [one for one in FORMS if one.hint == form.hint] for form in FORMS}

ALL_HINTS: Final = Hints(
    tuple(dict.fromkeys((*NAME_HINTS, "//", "\\/", *(form.hint for form in LOOSE_FORMS)))),
    tuple(_FORMS_OF),
)

_MARKS: Final = "_-./:\\"


def _mark_of(hint: str) -> str:
    """A rare character of every text that has a hint; empty if there is none."""
    given = {form.mark for form in _FORMS_OF.get(hint, ())}
    return next((mark for mark in hint if mark in _MARKS), given.pop() if len(given) == 1 else "")


_MARK_OF: Final = {hint: _mark_of(hint) for hint in (*ALL_HINTS.low, *ALL_HINTS.exact)}
