"""The limits of one conversion to a JSON value, and how much of them is left."""

from collections.abc import Iterable
from itertools import islice
from typing import Any, Final

MAX_DEPTH: Final = 16
"""Containers inside containers, counted from the value itself."""
MAX_ITEMS: Final = 1_000
"""Items kept of one container, the first ones."""
MAX_NODES: Final = 10_000
"""Values kept of one detail, over all its containers."""
MAX_ARRAY_ITEMS: Final = 64
"""An array of more is recorded as its shape and dtype."""
MAX_TEXT_CHARS: Final = 65_536
"""Characters kept of one detail, over all its texts."""
MAX_REPR_CHARS: Final = 500
MAX_KEY_CHARS: Final = 256
MAX_BYTES_KEPT: Final = 3_072
EMPTY_KEY: Final = "(empty)"
"""Stands for an empty key, which OpenTelemetry does not allow."""


class Walk:
    """One conversion: what is left of its limits, and whether anything was cut."""

    __slots__ = ("chars_left", "cut", "nodes_left", "open")

    def __init__(self) -> None:
        self.nodes_left = MAX_NODES
        self.chars_left = MAX_TEXT_CHARS
        self.open: set[int] = set()
        self.cut = False

    def first(self, items: Iterable[Any]) -> list[Any]:
        """Take as many items as a container may have."""
        kept = list(islice(items, MAX_ITEMS + 1))
        allowed = min(MAX_ITEMS, self.nodes_left)
        if len(kept) > allowed:
            self.cut = True
        self.nodes_left -= min(len(kept), allowed)
        return kept[:allowed]

    def text(self, text: str, most: int = MAX_TEXT_CHARS) -> str:
        """Return the text, cut to a length and to what the conversion has left."""
        most = min(most, self.chars_left)
        if len(text) > most:
            self.cut = True
            text = text[:most]
        self.chars_left -= len(text)
        return safe_text(text)


def safe_text(text: str) -> str:
    """Return text that UTF-8 can carry: surrogate pairs joined, lone ones replaced by U+FFFD."""
    if text.isascii():
        return text
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return text
