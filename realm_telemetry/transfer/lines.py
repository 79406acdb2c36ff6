"""The lines of a file, plain or compressed, as far as they can be read.

A damaged file is no reason to lose what stands before the damage: it reads as a file that ends
there, and says what is wrong.
"""

import codecs
import io
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple, Self

from realm_telemetry.values.json_text import encoding_of

MAX_LINE_BYTES: Final = 8 * 1024 * 1024

_GZIP: Final = b"\x1f\x8b"
_PIECE: Final = 64 * 1024
_MIB: Final = 1024 * 1024


class Line(NamedTuple):
    """A line of a file with its line break; of one that is too long, a piece.

    rest: it continues the piece before.
    """

    number: int
    data: bytes
    rest: bool


class LineFile:
    """A file to be read: decompressed where it is compressed, as UTF-8 where it is UTF-16 or 32.

    damage: why it cannot be read any further; empty as long as it can. Raises OSError at opening.
    """

    def __init__(self, path: Path) -> None:
        self.damage = ""
        self._file = path.open("rb")
        self._text = io.BufferedReader(_Pieces(self._pieces(path)), _MIB)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def read(self, size: int = -1) -> bytes:
        """Return the next bytes."""
        return self._text.read(size)

    def readline(self, size: int = -1) -> bytes:
        """Return the next line, or a piece of it."""
        return self._text.readline(size)

    def close(self) -> None:
        """Close the file."""
        self._text.close()
        self._file.close()

    def _pieces(self, path: Path) -> Iterator[bytes]:
        start = self._read()
        pieces = self._from(start)
        if start.startswith(_GZIP):
            pieces = self._inflated(pieces)
        elif not start and path.suffix == ".gz":
            self.damage = "it is empty, which a gzip file never is"
        first = next(pieces, b"")
        encoding, mark = encoding_of(first)
        if encoding == "utf-8":
            yield first
            yield from pieces
        else:
            yield from _transcoded(first[mark:], pieces, encoding)

    def _read(self) -> bytes:
        try:
            return self._file.read(_PIECE)
        except OSError as error:
            self.damage = f"it cannot be read any further ({error.strerror})"
            return b""

    def _from(self, piece: bytes) -> Iterator[bytes]:
        while piece:
            yield piece
            piece = self._read()

    def _inflated(self, pieces: Iterator[bytes]) -> Iterator[bytes]:
        """Yield the content of all gzip members, up to the first damage."""
        member, members = None, 0
        for piece in pieces:
            while piece := piece if member else piece.lstrip(b"\0"):  # padding between members
                member = member or zlib.decompressobj(wbits=31)
                before = member.copy()
                try:
                    content = member.decompress(piece, _MIB)
                except zlib.error as error:
                    yield from _up_to_damage(before, piece)
                    self.damage = _what_is_wrong(error, members)
                    return
                yield content
                piece = member.unconsumed_tail or member.unused_data
                if member.eof:
                    member, members = None, members + 1
        if member is not None:
            yield from _rest_of(member)
            self.damage = self.damage or "the gzip data ends too early"


class _Pieces(io.RawIOBase):
    """Pieces of bytes as a stream."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = pieces
        self._left = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]  # what BufferedReader hands over
        while not self._left:
            piece = next(self._pieces, None)
            if piece is None:
                return 0
            self._left = memoryview(piece)
        size = min(len(buffer), len(self._left))
        buffer[:size] = self._left[:size]
        self._left = self._left[size:]
        return size


def _rest_of(member: "zlib._Decompress") -> Iterator[bytes]:
    """Yield what is left inside the window of a member that has no end."""
    try:
        while rest := member.decompress(b"", _MIB):
            yield rest
    except zlib.error:
        return


def _up_to_damage(member: "zlib._Decompress", piece: bytes) -> Iterator[bytes]:
    """Yield what a piece holds before its damage: byte by byte, or zlib would keep it."""
    for place in range(len(piece)):
        try:
            yield member.decompress(piece[place : place + 1])
        except zlib.error:
            return


def _what_is_wrong(error: zlib.error, members: int) -> str:
    if members and "header" in str(error):
        return "bytes that are no gzip follow the end of the gzip data"
    return f"the gzip data is damaged ({str(error).rpartition(': ')[2]})"


def _transcoded(first: bytes, pieces: Iterator[bytes], encoding: str) -> Iterator[bytes]:
    decoder = codecs.getincrementaldecoder(encoding)("replace")
    yield decoder.decode(first).encode()
    for piece in pieces:
        yield decoder.decode(piece).encode()
    yield decoder.decode(b"", final=True).encode()


def numbered_lines(file: LineFile, most_bytes: int) -> Iterator[Line]:
    """Yield the lines within the first bytes of a file; one that is too long in pieces."""
    left, number, rest = most_bytes, 1, False
    while left > 0 and (data := file.readline(min(MAX_LINE_BYTES + 1, left))):
        left -= len(data)
        yield Line(number, data, rest)
        rest = not data.endswith(b"\n")
        number += not rest
