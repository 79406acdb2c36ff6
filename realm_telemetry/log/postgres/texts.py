"""Text as PostgreSQL takes it: without NUL, and names short enough for its indexes."""

from hashlib import sha256
from typing import Final

MAX_NAME_BYTES: Final = 1_200
"""Two names, and what else an entry of an index has, are below the 2,704 bytes that one may have.
"""

MAX_WORD_CHARS: Final = 255
"""Of a word in the index; what it finds is compared with the whole words."""

_MARK: Final = "\uffff"
"""No character (a noncharacter of Unicode), so that hardly a text has it; it escapes itself."""


class Stored(str):
    """A text in the form that the server has: `Session.execute` leaves it as it is."""

    __slots__ = ()


def is_storable(text: str) -> bool:
    """Whether `to_stored` returns a text as it is."""
    return "\0" not in text and _MARK not in text


def to_stored(text: str) -> str:
    """Return a text without NUL, which `from_stored` turns back."""
    if is_storable(text):
        return text
    return text.replace(_MARK, _MARK + "1").replace("\0", _MARK + "0")


def from_stored(text: str) -> str:
    """Return the text that `to_stored` was given."""
    if _MARK in text:
        return text.replace(_MARK + "0", "\0").replace(_MARK + "1", _MARK)
    return text


def to_name(text: str) -> str:
    """Return a name as it is stored: one that no index takes is cut, with its digest as a mark."""
    text = Stored(to_stored(text))
    if len(text) <= MAX_NAME_BYTES // 4:
        return text
    raw = text.encode()
    if len(raw) <= MAX_NAME_BYTES:
        return text
    digest = sha256(raw).hexdigest()[:16]
    return Stored(f"{raw[: MAX_NAME_BYTES - 20].decode(errors='ignore')}…{digest}")
