"""The producer id of an imported file, so that a second import adds nothing.

A file is known by a digest of its content, and its events by their line numbers. Because older
programs go on appending, each import notes how many bytes it saw, and their digest: a file that
begins with just these bytes is the same file, grown (docs/decisions/0055). A table is known by its
first and last row.
"""

from collections.abc import Iterable, Iterator, Mapping
from hashlib import blake2b
from pathlib import Path
from typing import Any, BinaryIO, Final

import msgspec

from realm_telemetry.errors import ConfigError
from realm_telemetry.values.conversions import safe_text

PIPELINE: Final = "import"
"""The pipeline of these producers: none of its own, so no exporter sends their events on."""

_PIECE: Final = 1024 * 1024
_HEAD_BYTES: Final = 4096
_DIGEST_BYTES: Final = 16


class FileMark(msgspec.Struct, frozen=True):
    """How much of a file was seen, its digest, and the digest of its first 4 KiB or first line."""

    bytes: int
    digest: str
    head: str


class RowMark(msgspec.Struct, frozen=True):
    """A row of a table: its number, and a digest of what it holds."""

    number: int
    digest: str


class TableMark(msgspec.Struct, frozen=True):
    """The first and last row of a table when it was imported."""

    table: str
    first: RowMark
    last: RowMark


class ImportOrigin(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What the log keeps of an imported file, as the resource of its producer."""

    service_name: str = msgspec.field(name="service.name", default="realm import")
    path: str = msgspec.field(name="realm.import.path")
    file: FileMark | None = msgspec.field(name="realm.import.file", default=None)
    table: TableMark | None = msgspec.field(name="realm.import.table", default=None)

    def resource(self) -> dict[str, Any]:
        """Return it as a resource."""
        shape: dict[str, Any] = msgspec.to_builtins(self)
        return {"service.name": self.service_name} | shape


Origins = Mapping[str, ImportOrigin]
"""Origins of earlier imports by producer."""


def read_origins(resources: Iterable[tuple[str, Mapping[str, Any]]]) -> dict[str, ImportOrigin]:
    """Return those producers that are imported files."""
    origins = {}
    for producer, resource in resources:
        if "realm.import.path" in resource:
            try:
                origins[producer] = msgspec.convert(resource, ImportOrigin)
            except msgspec.ValidationError:  # of another version, so of a file that is not known
                continue
    return origins


class ChangedFileError(ConfigError):
    """A file was imported before, and what it held then has been changed since."""


def identify_file(file: BinaryIO, path: Path, known: Origins) -> tuple[str, ImportOrigin]:
    """Return the producer of a file's lines, and what to note of it.

    file: at its start; read to its end. Raises ChangedFileError.
    """
    marks: dict[int, dict[str, str]] = {}
    for producer, origin in known.items():
        if origin.file is not None:
            marks.setdefault(origin.file.bytes, {})[origin.file.digest] = producer
    digest, read, found, head = blake2b(digest_size=_DIGEST_BYTES), 0, "", b""
    for stop in [*sorted(marks), None]:
        for piece in _pieces(file, None if stop is None else stop - read):
            head += piece[: _HEAD_BYTES - len(head)]
            digest.update(piece)
            read += len(piece)
        if stop is not None and read == stop:
            # The longest of several is the one that was imported last.
            found = marks[stop].get(digest.hexdigest(), found)
    mark = FileMark(read, digest.hexdigest(), _digest_of(head.partition(b"\n")[0]))
    if not found:
        _refuse_changed(mark, path, known)
    return found or mark.digest[:16], ImportOrigin(path=safe_text(str(path)), file=mark)


def _pieces(file: BinaryIO, most: int | None) -> Iterator[bytes]:
    left = most
    while piece := file.read(_PIECE if left is None else min(_PIECE, left)):
        yield piece
        left = None if left is None else left - len(piece)


def _refuse_changed(mark: FileMark, path: Path, known: Origins) -> None:
    """Times have microseconds: two files do not begin with the same line by chance."""
    for origin in known.values():
        if origin.file is not None and origin.file.head == mark.head and mark.bytes:
            raise ChangedFileError(
                str(path),
                f"begins like {origin.path}, which was imported before, and then differs,"
                " so that its events would be stored twice",
                "Import new or corrected lines as a file of their own; an import keeps the lines"
                " that it rejects in such a file.",
            )


def _digest_of(data: bytes) -> str:
    return blake2b(data, digest_size=_DIGEST_BYTES).hexdigest()


def identify_table(
    table: str, first: RowMark, last: RowMark, path: Path, known: Origins, holds: Any
) -> tuple[str, ImportOrigin]:
    """Return the producer of a table's rows, and what to note of it.

    holds: whether a RowMark is of the table as it is now. One of an earlier import's two is
    enough: older programs append, and delete what is old.
    """
    mark = TableMark(table, first, last)
    for producer, origin in known.items():
        seen = origin.table
        if seen is not None and seen.table == table and (holds(seen.last) or holds(seen.first)):
            return producer, ImportOrigin(path=safe_text(str(path)), table=mark)
    text = msgspec.json.encode(mark)
    return blake2b(text, digest_size=8).hexdigest(), ImportOrigin(
        path=safe_text(str(path)), table=mark
    )


def mark_row(number: int, values: Iterable[object]) -> RowMark:
    """Return the mark of a row."""
    text = "\x1f".join(map(str, values)).encode("utf-8", "replace")
    return RowMark(number, _digest_of(text))
