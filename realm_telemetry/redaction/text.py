"""Secrets in text: under a name, by their form, in a URL, in a key file.

Every finder reads the text once, from left to right, and each value once, also one that is kept:
128 KB that were made to be slow take up to 0.3 s. What stands beside a secret is kept.
"""

import re
from collections.abc import Callable, Sequence
from functools import cache, partial
from typing import Final, NamedTuple

from realm_telemetry.redaction.forms import find_form, find_in_urls, find_keys
from realm_telemetry.redaction.named import AFTER_NAME, find_named
from realm_telemetry.redaction.phrases import LOOSE_FORMS
from realm_telemetry.redaction.rules import (
    BEYOND_ASCII,
    FORMS,
    MIN_FORM,
    NAME_HINTS,
    REDACTED,
    Finder,
    Form,
    Span,
)
from realm_telemetry.redaction.tables import find_tables

_ROUNDS: Final = 4
"""What is found may uncover more: `password=x` in the value of another name."""


def shown(text: str) -> str:
    """Return an address, a setting or an error as people may see it: without its secrets.

    Unlike `clean_text` it keeps what follows a name and a colon, which our own messages have.
    """
    return _clean_once(text, (), prose=False)


_HIDING: Final = re.compile(
    "\x1b\\[[0-?]{0,32}[ -/]{0,4}[@-~]"
    "|[\u00ad\u200b-\u200f\u202a-\u202e\u2060-\u2064\u2066-\u2069\ufeff]"
)
"""Colours of a terminal, and characters that nobody sees: they may stand within a name or key."""

_WIDE: Final = {0xFEE0 + each: each for each in range(0x21, 0x7F)}
"""Letters, digits and signs of full width, as keyboards for Chinese and Japanese give them."""
_MAY_HIDE: Final = re.compile("[\u00ad\u200b-\u2069\ufeff\uff01-\uff5e]")


def as_seen(text: str) -> str:
    """Return a text as a person sees it, without colours; the same object if it has none."""
    if "\x1b" not in text and (text.isascii() or _MAY_HIDE.search(text) is None):
        return text
    return _HIDING.sub("", text).translate(_WIDE)


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
    """What calls for a closer look: in lower case, and as it stands.

    hides: whether the texts may have what `as_seen` takes out.
    """

    low: Sequence[str]
    exact: Sequence[str]
    hides: bool = True

    def among(self, text: str) -> "Hints":
        """Return those of ALL_HINTS in a text; one character is found much faster than two."""
        original, seen = text, as_seen(text)
        if seen is not text:
            text = f"{text}\n{seen}"
        low = text.lower()
        marks = ["", *(mark for mark in _MARKS if mark in text)]
        if not text.isascii():
            marks.append(BEYOND_ASCII)
        # One pass for all hints that end with this mark.
        tails = {part[-_TAIL:] for part in text.split("_")} if "_" in text else set()
        marked = [hint for tail in tails & _BY_TAIL.keys() for hint in _BY_TAIL[tail]]
        others = [hint for mark in marks for hint in _EXACT_BY_MARK[mark] if hint in text]
        return Hints(
            [hint for mark in marks for hint in _LOW_BY_MARK[mark] if hint in low],
            [*others, *(hint for hint in marked if hint in text)],
            seen is not original,
        )


LONG: Final = 4_096
"""Characters from which it pays to look first which hints a text can have."""


def is_plain(text: str, hints: Hints) -> bool:
    """Return whether no secret is in a text: fast, and false for some that have none.

    hints: those that it may have; ALL_HINTS, or what a longer text has of them.
    """
    if len(text) > LONG:
        hints = ALL_HINTS.among(text)
    if not _is_plain(text, hints):
        return False
    seen = as_seen(text) if hints.hides else text
    return seen is text or _is_plain(seen, hints)


def _is_plain(text: str, hints: Hints) -> bool:
    if hints.low:
        low = text.lower()
        for hint in hints.low:
            if hint in low and _closer(hint)(text, low):
                return False
    if len(text) >= MIN_FORM:
        for hint in hints.exact:
            if hint in text and any(find_form(form, text) for form in _FORMS_OF[hint]):
                return False
    return True


_OPTION: Final = re.compile(r"-(?:(?<![a-z0-9_-]-)|(?<=\\[nrt]-))")
"""Where an option may begin: `-password x`, after any white space or bracket."""


@cache
def _closer(hint: str) -> Callable[[str, str], object]:
    """Return the closer look that a hint calls for."""
    if hint not in NAME_HINTS:
        return lambda text, low: any(find(text, low) for find in _finders()[hint])
    follows = re.compile(
        hint + r"[\w-]{0,40}+(?:\\{0,8}[\"'`]|&quot;|&#34;)?+\]?\s{0,4}+[ \t]{0,60}+"
        r"(?:=|:(?!//)|%3|,|>|value|->|→|\.{4})"
    )
    variable = re.compile(rf"(?:env|set)\s{{1,3}}\w{{0,64}}{hint}")
    others = _finders()[hint][1:]
    return lambda text, low: (
        follows.search(low)
        or ("-" in low and _OPTION.search(low))
        or (("env" in low or "set " in low) and variable.search(low))
        or any(find(text, low) for find in others)
    )


def _clean_once(text: str, patterns: Sequence[re.Pattern[str]], *, prose: bool = True) -> str:
    return _without(text, _spans(text, patterns, prose))


def _spans(text: str, patterns: Sequence[re.Pattern[str]], prose: bool) -> list[Span]:
    """Return where the secrets of a text are, also of what a person sees of it."""
    spans = _spans_as_is(text, patterns, prose)
    seen = as_seen(text)
    if seen is text:
        return spans
    places = _places(text)
    found = _spans_as_is(seen, patterns, prose)
    return spans + [(places[start], places[end - 1] + 1) for start, end in found if end > start]


def _places(text: str) -> list[int]:
    """Return where in a text each character is that a person sees."""
    places: list[int] = []
    position = 0
    for match in _HIDING.finditer(text):
        places += range(position, match.start())
        position = match.end()
    places += range(position, len(text))
    return places


def words_without_secrets(
    words: Sequence[str], patterns: Sequence[re.Pattern[str]] = ()
) -> list[str]:
    """Return the words of a command without what is secret where they stand on one line."""
    found = list(words)
    for _ in range(_ROUNDS):
        line = " ".join(found)
        spans = _spans(line, patterns, True)
        start, clean = 0, []
        for word in found:
            end = start + len(word)
            inside = [
                (max(first, start) - start, min(last, end) - start)
                for first, last in spans
                if first < end and last > start
            ]
            clean.append(_without(word, inside))
            start = end + 1
        if clean == found:
            break
        found = clean
    return found


def _spans_as_is(text: str, patterns: Sequence[re.Pattern[str]], prose: bool) -> list[Span]:
    low = _lower(text)
    spans: list[Span] = []
    for hint, finders in _finders(prose).items():
        if hint in low:
            for find in finders:
                spans += find(text, low)
    if len(text) >= MIN_FORM:
        for form in FORMS:
            if form.hint in text:
                spans += find_form(form, text)
    for pattern in patterns:
        spans += [match.span() for match in pattern.finditer(text)]
    return spans


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


@cache
def _finders(prose: bool = True) -> dict[str, list[Finder]]:
    """The finders by the hint that calls for them, in lower case."""
    found: dict[str, list[Finder]] = {
        hint: [_named_finder(hint, prose), partial(find_tables, hint)] for hint in NAME_HINTS
    }
    found["key"].append(find_keys)
    found |= {"//": [find_in_urls], "\\/": [find_in_urls]}
    for form in LOOSE_FORMS:
        found.setdefault(form.hint, []).append(_form_finder(form))
    return found


def _named_finder(hint: str, prose: bool) -> Finder:
    return partial(find_named, re.compile(hint + AFTER_NAME), prose)


def _form_finder(form: Form) -> Finder:
    return lambda text, low: find_form(form, text)


_FORMS_OF: Final = {form.hint: [one for one in FORMS if one.hint == form.hint] for form in FORMS}

ALL_HINTS: Final = Hints(
    tuple(dict.fromkeys((*NAME_HINTS, "//", "\\/", *(form.hint for form in LOOSE_FORMS)))),
    tuple(_FORMS_OF),
)

_MARKS: Final = (*"_-./:\\$%{~'", " -")


def _mark_of(hint: str) -> str:
    """A rare character of every text that has a hint; empty if there is none."""
    forms = [*_FORMS_OF.get(hint, ()), *(one for one in LOOSE_FORMS if one.hint == hint)]
    given: set[str] = {form.mark for form in forms}
    mark = given.pop() if len(given) == 1 else ""
    if mark:
        return mark
    return next((mark for mark in hint if mark in _MARKS), "")


def _by_mark(hints: Sequence[str]) -> dict[str, list[str]]:
    return {
        mark: [hint for hint in hints if _mark_of(hint) == mark]
        for mark in ("", BEYOND_ASCII, *_MARKS)
    }


_TAIL: Final = 2
"""Characters before a `_`."""

_BY_TAIL: Final[dict[str, list[str]]] = {}
for _hint in ALL_HINTS.exact:
    if _hint.endswith("_"):
        _BY_TAIL.setdefault(_hint[-_TAIL - 1 : -1], []).append(_hint)
_LOW_BY_MARK: Final = _by_mark(ALL_HINTS.low)
_EXACT_BY_MARK: Final = _by_mark([hint for hint in ALL_HINTS.exact if not hint.endswith("_")])
