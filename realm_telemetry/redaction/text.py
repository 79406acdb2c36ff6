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
from realm_telemetry.redaction.rules import (
    FORMS,
    LOOSE_FORMS,
    MIN_FORM,
    NAME_HINTS,
    REDACTED,
    Finder,
    Form,
    Span,
)

_ROUNDS: Final = 4
"""What is found may uncover more: `password=x` in the value of another name."""


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
    others = _finders()[hint][1:]
    return lambda text, low: (
        follows.search(low)
        or ("-" in low and _OPTION.search(low))
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
                spans += find_form(form, text)
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


@cache
def _finders(prose: bool = True) -> dict[str, list[Finder]]:
    """The finders by the hint that calls for them, in lower case."""
    found: dict[str, list[Finder]] = {hint: [_named_finder(hint, prose)] for hint in NAME_HINTS}
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

_MARKS: Final = "_-./:\\"


def _mark_of(hint: str) -> str:
    """A rare character of every text that has a hint; empty if there is none."""
    given = {form.mark for form in _FORMS_OF.get(hint, ())}
    return next((mark for mark in hint if mark in _MARKS), given.pop() if len(given) == 1 else "")


_MARK_OF: Final = {hint: _mark_of(hint) for hint in (*ALL_HINTS.low, *ALL_HINTS.exact)}
