"""Lines of what a command prints: as a person sees them at last, and without secrets.

A carriage return begins the line again, as on a terminal, so that a thousand frames of a progress
bar are one line. Colours and other control sequences are left out.
"""

import re
from collections import deque
from collections.abc import Callable, Sequence
from itertools import islice
from typing import Final

MAX_LINE_BYTES: Final = 8_192
"""Of a line; what is longer is cut, and ends with an ellipsis."""

KEPT_LINES: Final = 200
"""The last lines, in memory."""

TAIL_LINES: Final = 50
TAIL_BYTES: Final = 16_384
"""What of them a `run_ended` has. An event has 65,536 bytes, and its evidence needs some."""

TAIL_LINE_BYTES: Final = 1_024
"""Of a line in a `run_ended`."""

_HELD_BYTES: Final = 2 * MAX_LINE_BYTES
_KEY_LINES: Final = 100
"""No private key has more."""

_CONTROL: Final = re.compile(
    r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?"
    r"|[PX^_][^\x1b]*(?:\x1b\\)?|[ -/]*[0-~])"
)
"""Source: ECMA-48, control sequences and strings."""

_KEY_BEGIN: Final = "-----BEGIN PRIVATE KEY-----"
_HEADER: Final = "Traceback (most recent call last):"
_ERROR: Final = re.compile(r"[A-Za-z_][\w.]*(?:: .*)?")
_NO_CAUSE: Final = ("KeyboardInterrupt", "SystemExit")
_MAX_ERROR: Final = 2_000
_MAX_TRACEBACK: Final = 8_000

Redact = Callable[[str], str]


class Folder:
    """Makes lines of the bytes of one stream.

    redact: takes secrets out of a text of several lines.
    """

    def __init__(self, redact: Redact) -> None:
        self._redact = redact
        self._rest = b""
        self._key_lines = 0

    def feed(self, data: bytes) -> list[str]:
        """Return the lines that end in the data."""
        *whole, rest = data.split(b"\n")
        if whole:
            whole[0] = self._rest + whole[0]
            self._rest = b""
        self._rest = _unfinished(self._rest + rest)
        return self._clean([_text(_folded(line)) for line in whole])

    def skip(self, count: int) -> list[str]:
        """Return the line that stands for bytes that were not read."""
        return [*self.end(), f"[... {count:,} bytes left out]"]

    def end(self) -> list[str]:
        """Return the last line, if the stream ended within one."""
        rest, self._rest = self._rest, b""
        return self._clean([_text(_folded(rest))]) if rest else []

    def _clean(self, lines: list[str]) -> list[str]:
        if not lines:
            return []
        # A private key that began in an earlier piece is hidden up to its end.
        inside = 0 < self._key_lines <= _KEY_LINES
        text = "\n".join([_KEY_BEGIN, *lines] if inside else lines)
        self._note_key(text, len(lines))
        clean = self._redact(text).split("\n")
        return [_cut(line, MAX_LINE_BYTES) for line in (clean[1:] if inside else clean)]

    def _note_key(self, text: str, count: int) -> None:
        begin = text.rfind("-----BEGIN ")
        is_open = begin > text.rfind("-----END ") and "PRIVATE KEY" in text[begin : begin + 60]
        self._key_lines = self._key_lines + count if is_open else 0


def _folded(line: bytes) -> bytes:
    line = line.rstrip(b"\r")
    return line[line.rfind(b"\r") + 1 :]


def _unfinished(rest: bytes) -> bytes:
    """Return what of an unfinished line may still be seen; it may go on with a line feed."""
    if b"\r" in rest:
        rest = _folded(rest) + (b"\r" if rest.endswith(b"\r") else b"")
    return rest[:_HELD_BYTES]


def _text(line: bytes) -> str:
    text = line[:_HELD_BYTES].decode("utf-8", "replace")
    return _CONTROL.sub("", text) if "\x1b" in text else text


def _cut(text: str, most: int) -> str:
    """Return a line within a number of bytes."""
    if len(text) * 4 <= most or len(raw := text.encode("utf-8", "replace")) <= most:
        return text
    return raw[: most - 3].decode("utf-8", "ignore") + "…"


class Tail:
    """The last lines of all streams."""

    def __init__(self) -> None:
        self._lines: deque[str] = deque(maxlen=KEPT_LINES)

    def add(self, lines: Sequence[str]) -> None:
        """Take further lines."""
        self._lines.extend(lines)

    def lines(self) -> list[str]:
        """Return the last lines, within what a `run_ended` may have of them."""
        kept: list[str] = []
        room = TAIL_BYTES
        for line in islice(reversed(self._lines), TAIL_LINES):
            line = _cut(line, TAIL_LINE_BYTES)
            room -= len(line.encode("utf-8", "replace")) + 1
            if room < 0:
                break
            kept.append(line)
        return kept[::-1]


def find_traceback(lines: Sequence[str]) -> tuple[str, str] | None:
    """Return the last exception that Python printed: its own line, and the whole traceback.

    None without one, or if it is what Ctrl-C and an exit raise.
    """
    for number in range(len(lines) - 1, -1, -1):
        at = lines[number].find(_HEADER)
        if at >= 0:
            found = _read_traceback(lines[number + 1 :], lines[number][:at])
            if found is not None:
                return None if found[0].startswith(_NO_CAUSE) else found
    return None


def _read_traceback(lines: Sequence[str], prefix: str) -> tuple[str, str] | None:
    """prefix: what stands before the first line, such as the rank that torchrun names."""
    read = [_HEADER]
    for line in lines:
        line = line.removeprefix(prefix)
        read.append(line)
        if line.startswith((" ", "\t")) or not line:
            continue
        if len(read) < 3 or not _ERROR.fullmatch(line):
            return None
        text = "\n".join(read)
        return line[:_MAX_ERROR], text[-_MAX_TRACEBACK:]
    return None
