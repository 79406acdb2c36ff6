"""Secrets under a name in text: `password: x`, `--token x`, `"api_key": "x"`, `?sig=x`."""

import re
from functools import lru_cache
from typing import Final, NamedTuple

from realm_telemetry.redaction.names import COUNTS, Verdict, judge, keeps_text, looks_like_key
from realm_telemetry.redaction.rules import LONG_SCHEMES, REDACTED, SCHEMES, Span
from realm_telemetry.redaction.tables import find_below, is_field

_MAX_NAME: Final = 64
_MAX_CONTAINER: Final = 4096
_MAX_TRAILING: Final = 8

# After the first letters of a name: the rest of it, a quote, and what says that a value follows,
# in Markdown's bold letters too.
AFTER_NAME: Final = (
    r"[\w-]{0,40}+(?P<quote>\\{0,8}[\"'`]|&quot;|&#34;)?+\]?\*{0,3}+\s{0,4}+[ \t]{0,60}+"
    # {"name": "PASSWORD", "value": "x"} and <add key="password" value="x"/> within a text
    r"(?P<sep>,\s{0,4}\\{0,8}[\"']value\\{0,8}[\"']\s{0,4}:|value\s?="
    r"|=>|:=|==?|:(?!//)|%3d|%3a|,|>|->|→|\.{4,80}+(?=\s))?+(?:\*{2,3}(?=\s))?+\s{0,4}+"
    # password: &anchor x
    r"(?:(?<=\s)&[\w-]{1,32}[ \t]{1,4}+)?+"
)
_NAME_CHARACTERS: Final = frozenset("abcdefghijklmnopqrstuvwxyz0123456789_-")
_OPENING: Final = re.compile(r"(?:[\w.]{1,40}\((?=[\"']))?+[bruf]{0,2}(\\{0,8})([\"'`])", re.I)
# A value without quotes ends before what looks like the next name, too.
_NEXT_NAME: Final = r"[&;,](?:amp;)?(?:[\w.-]{1,64}+=|\s|\Z|[)\]}&;,\"'])"
_BARE: Final = re.compile(rf"(?:(?!\\[nrt]|{_NEXT_NAME})[^\s\"'<>`])++")
_BARE_QUERY: Final = re.compile(rf"(?:(?!\\[nrt]|{_NEXT_NAME})[^\s\"'<>`&#])++")
_BARE_ESCAPED: Final = re.compile(rf"(?:(?!\\[nrt]|%26|{_NEXT_NAME})[^\s\"'<>`])++")
_LINE: Final = {quote: re.compile(rf"(?:(?!\\[nr])[^\r\n{quote}])*+") for quote in ("", "'", '"')}
"""The rest of a line, or of a text between quotes."""
_SCHEME: Final = re.compile(rf"(?:{'|'.join(SCHEMES)})\s{{1,4}}(?=\S)", re.I)
_LONG_SCHEME: Final = re.compile(rf"(?:{'|'.join(LONG_SCHEMES)})\s{{1,4}}", re.I)
_AFTER_A_WORD: Final = frozenset(("token", "tokens", "key", "keys", "pass", "passe"))
"""Names of which the word before them in a text is a part: `API key: x`, `eos token: </s>`."""
_IN_A_REPORT: Final = re.compile(r"\d{1,9}[,;]?\s(?:fail|skip|xfail|error|total)", re.I)
"""`pass: 100000 fail: 5`."""
_WORD: Final = re.compile(r"[A-Za-z]{2,32}(?![\w.@:=-])")
_WRAPPINGS: Final = (("<![CDATA[", "]]>"), ("&quot;", "&quot;"), ("&#34;", "&#34;"))
_BLOCK: Final = re.compile(r"[|>][+-]?\d?[ \t]{0,8}\r?\n[ \t]{1,64}+(?=[^\s])")
_BLOCK_LINES: Final = re.compile(r"[^\r\n]++(?:\r?\n[ \t]{1,64}+[^\s][^\r\n]*+)*+")
_HEADERS: Final = frozenset(("authorization", "proxy-authorization", "cookie", "set-cookie"))
_CLOSING: Final = {"[": "]", "(": ")", "{": "}"}
_OPENED: Final = {closing: opening for opening, closing in _CLOSING.items()}


class _Name(NamedTuple):
    """A name in text. start: of it, without quotes. sep: what stands before the value, or None."""

    text: str
    start: int
    quote: str | None
    sep: str | None
    sep_end: int
    spaced: bool


def find_named(pattern: re.Pattern[str], prose: bool, text: str, low: str) -> list[Span]:
    """Find the values of secret names; prose: also after a name and a colon without quotes."""
    spans, position = [], 0
    while match := pattern.search(low, position):
        position = match.end()
        name = _name(match, text, low)
        if name and not prose and name.sep == ":" and not name.quote and not _is_header(name.text):
            continue
        below = _below(name, text, position) if name and name.sep == ":" else None
        if below:
            spans += below[0]
            position = max(below[1], position)
            continue
        span = _value(name, text, position) if name else None
        if span:
            spans.append(span)
            position = max(span[1], position)
    return spans


_LINE_START: Final = re.compile(r"[ \t]*(?:-[ \t]+)?[\"']?")


def _below(name: _Name, text: str, position: int) -> tuple[list[Span], int] | None:
    """The secrets in the lines below a name of YAML, and where they end; None without such lines.

    A value may stand on the next line by itself, too.
    """
    line_end = text.find("\n", name.sep_end, position)
    if line_end < 0:
        return None
    before = text[name.start - 1 : name.start] if name.start else ""
    verdict = _verdict(name, before, text, position)
    if not verdict:
        return [], position
    start = text.rfind("\n", 0, name.start) + 1
    line = text[start : name.start]
    key = _LINE_START.fullmatch(line) is not None
    indent = len((line if key else line[: len(line) - len(line.lstrip())]).expandtabs())
    found, end = find_below(
        verdict,
        text,
        line_end + 1,
        indent,
        described=name.text.lower().startswith(("auth", "cred")),
        lists=not key,
    )
    if end > line_end + 1:
        return found, end
    alone = verdict in (Verdict.SECRET, Verdict.PLURAL) and not is_field(text, position)
    return None if alone else ([], position)


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
    return (
        _Name(text[start:end], start, quote, sep, match.end("sep"), spaced) if end > start else None
    )


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


_SETS: Final = re.compile(r"(?<!\S)(?:env|setenv|set)\s{1,3}\Z", re.IGNORECASE)
_MAX_SETS: Final = 12
"""`ENV DB_PASSWORD x` and `setenv TOKEN x`; characters before the name."""


def _leads_to_a_value(name: _Name, before: str, text: str, position: int) -> bool:
    flag = name.text.startswith("-") and before.lower() not in _NAME_CHARACTERS
    if name.sep and "value" in name.sep:
        return bool(name.quote) or before == "<"
    if name.sep is None:
        set_here = _SETS.search(text, max(name.start - _MAX_SETS, 0), name.start) is not None
        variable = set_here and name.text.isupper()
        led = (flag or variable) and name.spaced and not name.quote
        return led and text[position] != "-" and "\n" not in text[name.start : position]
    if name.sep == ",":  # ("password", "x") and ["--password", "x"]
        pair = before in ("'", '"') and text[name.start - 2 : name.start - 1] == "("
        return bool(name.quote) and (flag or pair) and text[position] in "'\"\\"
    if name.sep == ">":
        entry = text[max(name.start - 6, 0) : name.start].rstrip("\"'")
        tag = before == "<" and text[name.start - 2 : name.start - 1] != ":"  # https://u:<pw>@h
        return tag or (bool(name.quote) and entry.endswith(("key=", "name=")))
    return True


def _verdict(name: _Name, before: str, text: str, position: int) -> Verdict:
    word = name.text
    if before == " " and word.lower() in _AFTER_A_WORD:
        word = f"{text[max(name.start - 17, 0) : name.start - 1].rpartition(' ')[2]}_{word}"
    if name.sep == ":" and not name.quote and word == "PASS":
        return Verdict.PLAIN  # as the reports of tests have it
    if name.sep == ":" and not name.quote and word == "auth" and _WORD.match(text, position):
        return Verdict.PLAIN  # the name of a part of a program
    verdict = _judge(word)
    if name.sep in ("->", "→") and verdict in COUNTS:
        return Verdict.PLAIN  # token -> id
    if verdict is Verdict.PASS and _IN_A_REPORT.match(text, position):
        return Verdict.PLAIN
    if verdict is Verdict.PIECE and not _is_quoted_piece(name, text, position):
        return Verdict.TOKEN
    return verdict


@lru_cache(maxsize=4096)
def _judge(word: str) -> Verdict:
    return judge(word)


def _is_quoted_piece(name: _Name, text: str, position: int) -> bool:
    """Return whether `token` may stand before a piece of text, as in `token: "the"`."""
    return name.sep in (":", "=") and _OPENING.match(text, position) is not None


_SIGNATURES: Final = frozenset(("sig", "signature", "hmac", "sign"))
_MIN_QUERY_KEY: Final = 16


def _query_value(name: _Name, before: str, text: str, position: int) -> Span | None:
    """Names that are secret in the query of a URL alone."""
    word = name.text.lower()
    named = word in _SIGNATURES or word == "key"
    if not named or name.sep != "=" or before not in ("?", "&", ";"):
        return None
    end = _bare_end(text, position, _BARE_QUERY)
    return None if word == "key" and end - position < _MIN_QUERY_KEY else (position, end)


def _secret_value(
    name: _Name, verdict: Verdict, before: str, text: str, position: int
) -> Span | None:
    wrapped = _wrapped(text, position)
    if wrapped:
        kept = text.startswith(REDACTED, wrapped[0]) or keeps_text(verdict, text[slice(*wrapped)])
        return None if kept else wrapped
    opening = _OPENING.match(text, position)
    if opening and not name.quote and opening[2] == before:
        return None  # the end of a text, as in getpass("Password: ")
    if opening:
        start = opening.end()
        triple = opening[2] * 3
        if not opening[1] and text.startswith(triple, start - 1):
            start, end = _triple(text, start + 2, triple)
            if verdict in COUNTS and not looks_like_key(text[start:end].strip()):
                return None  # a text of several lines
        else:
            end = _closing(text, start, len(opening[1]), opening[2])
        if "authorization" in name.text.lower():
            start = _after_scheme(text, start, end)
    elif text[position] in _CLOSING:
        login = text[position] == "(" and name.text.lower().endswith("auth")
        return _container(text, position) if login or verdict not in COUNTS else None
    else:
        start = _after_scheme(text, position, len(text))
        end = (
            start
            if text.startswith(REDACTED, start)
            else _bare_value(name, before, text, position, start)
        )
    value = text[start:end]
    return None if text.startswith(REDACTED, start) or keeps_text(verdict, value) else (start, end)


def _wrapped(text: str, position: int) -> Span | None:
    """A value in CDATA, between `&quot;`, or in the lines below `password: |`."""
    for opening, closing in _WRAPPINGS:
        if text.startswith(opening, position):
            start = position + len(opening)
            end = text.find(closing, start, start + _MAX_CONTAINER)
            return start, end if end >= 0 else min(start + _MAX_CONTAINER, len(text))
    block = _BLOCK.match(text, position) if text[position] in "|>" else None
    if block is None:
        return None
    if text.startswith(REDACTED, block.end()):
        return block.end(), block.end() + len(REDACTED)
    lines = _BLOCK_LINES.match(text, block.end())
    return lines.span() if lines else None


def _bare_value(name: _Name, before: str, text: str, position: int, start: int) -> int:
    """Return where a value without quotes ends; that of a header goes to the end of the line."""
    cookie = name.sep == ":" and name.text.lower() in ("cookie", "set-cookie")
    if cookie or _LONG_SCHEME.match(text, position):
        line = _LINE.get(before, _LINE[""]).match(text, start)
        return line.end() if line else start
    escaped = _BARE_ESCAPED if name.sep == "%3d" else _BARE
    return _bare_end(text, start, _BARE_QUERY if before in ("?", "&") else escaped)


def _after_scheme(text: str, start: int, end: int) -> int:
    scheme = _SCHEME.match(text, start, end) or _LONG_SCHEME.match(text, start, end)
    return scheme.end() if scheme else start


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


def _triple(text: str, start: int, quote: str) -> Span:
    """A value between three quotes, on one line or more, without the first line end."""
    end = text.find(quote, start)
    start += len(text[start : start + 2]) - len(text[start : start + 2].lstrip("\r\n"))
    return start, len(text) if end < 0 else max(end, start)


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
