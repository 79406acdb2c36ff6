"""Text as PostgreSQL takes it: without NUL, and names short enough for its indexes."""

from hashlib import sha256
from typing import Final

MAX_NAME_BYTES: Final = 1_200
"""Two names, and what else an entry of an index has, are below the 2,704 bytes that one may have.
"""

_MARK: Final = "\uffff"
"""No character (a noncharacter of Unicode), so that hardly a text has it; it escapes itself."""


def to_stored(text: str) -> str:
    """Return a text without NUL, which `from_stored` turns back."""
    if "\0" in text or _MARK in text:
        return text.replace(_MARK, _MARK + "1").replace("\0", _MARK + "0")
    return text


def from_stored(text: str) -> str:
    """Return the text that `to_stored` was given."""
    if _MARK in text:
        return text.replace(_MARK + "0", "\0").replace(_MARK + "1", _MARK)
    return text


def to_name(text: str) -> str:
    """Return a name as it is stored: one that no index takes is cut, with its digest as a mark."""
    text = to_stored(text)
    if len(text) <= MAX_NAME_BYTES // 4:
        return text
    raw = text.encode()
    if len(raw) <= MAX_NAME_BYTES:
        return text
    digest = sha256(raw).hexdigest()[:16]
    return f"{raw[: MAX_NAME_BYTES - 20].decode(errors='ignore')}…{digest}"
