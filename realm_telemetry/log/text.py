"""Words of events and of queries: what full text search looks at."""

import re
import unicodedata
from typing import Final

import msgspec

from realm_telemetry.event import Event

_WORD: Final = re.compile(r"[^\W_]+")
_PART: Final = re.compile(r'"([^"]*)"|([^\s"]+)')


def search_text(event: Event) -> str:
    """All of an event that can be searched."""
    names = (event.kind, event.source, event.hero_id, event.campaign_id, event.run_id)
    details = msgspec.json.encode(event.details).decode() if event.details else ""
    return "\n".join((event.message, *filter(None, names), details))


def words_of(query: str) -> list[list[str]]:
    """The phrases of a query, each as its words: `"a b" c_d` is a b, then c d.

    All must occur; a phrase's words side by side.
    """
    parts = (quoted or plain for quoted, plain in _PART.findall(query))
    return [words for part in parts if (words := cut_words(part))]


def match_expression(query: str) -> str:
    """The query for FTS5. Every word is quoted, so that none is taken for an operator."""
    return " AND ".join('"' + " ".join(words) + '"' for words in words_of(query))


def contains_words(event: Event, query: str) -> bool:
    """Whether an event has all the phrases of a query."""
    text = "\0".join(["", *cut_words(search_text(event)), ""])
    return all("\0".join(["", *words, ""]) in text for words in words_of(query))


def cut_words(text: str) -> list[str]:
    """Return words as FTS5's unicode61 cuts them: lower case, without accents."""
    if text.isascii():
        return _WORD.findall(text.lower())
    plain = unicodedata.normalize("NFD", text.lower())
    return _WORD.findall("".join(c for c in plain if not unicodedata.combining(c)))
