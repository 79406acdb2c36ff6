"""Rows of an export into a file, by format."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any, Final, Protocol

import msgspec

from realm_telemetry.errors import ConfigError
from realm_telemetry.transfer.formats import TEXT_FORMATS, Exported, TextFormat

FORMATS: Final = (*TEXT_FORMATS, "parquet")

_SUFFIXES: Final = {
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "jsonl",
    ".csv": "csv",
    ".parquet": "parquet",
}
_TEXTS: Final = ("kind", "channel", "severity", "message", "source")
_CONTEXT: Final = ("hero_id", "campaign_id", "run_id", "producer")
_AS_THEY_ARE: Final = (*_TEXTS, *_CONTEXT, "number", "trace_id", "span_id", "trace_flags")
_MOST_ROWS_A_GROUP: Final = 50_000
_MOST_BYTES_A_GROUP: Final = 16 * 1024 * 1024


class MissingPackageError(Exception):
    """A format needs a package that a plain install leaves out."""

    def __init__(self, package: str, extra: str) -> None:
        self.package, self.extra = package, extra
        super().__init__(f"{package} is not installed. pip install 'realm-telemetry[{extra}]'")


class Writer(Protocol):
    """Takes rows; `close` writes what a format has at its end."""

    def write(self, rows: Sequence[Exported]) -> None: ...

    def close(self) -> None: ...


def format_of(path: Path) -> tuple[str | None, bool]:
    """Return the format that a file's name asks for, None if none; and whether compressed."""
    suffixes = [suffix.lower() for suffix in path.suffixes]
    compressed = suffixes[-1:] == [".gz"]
    left = suffixes[:-1] if compressed else suffixes
    return _SUFFIXES.get(left[-1]) if left else None, compressed


def make_writer(name: str, file: IO[bytes]) -> Writer:
    """Return a writer of a format. Raises ConfigError, MissingPackageError."""
    if name == "parquet":
        return ParquetWriter(file)
    if name not in TEXT_FORMATS:
        raise ConfigError("format", f"there is no {name!r}", f"Use one of {', '.join(FORMATS)}.")
    return TextWriter(file, TEXT_FORMATS[name])


class TextWriter:
    """JSON lines or CSV."""

    def __init__(self, file: IO[bytes], form: TextFormat) -> None:
        self._file = file
        self._encode = form.encode
        file.write(form.start)

    def write(self, rows: Sequence[Exported]) -> None:
        """Write rows."""
        self._file.write(self._encode(rows))

    def close(self) -> None:
        """End: nothing is left to write."""


class ParquetWriter:
    """Parquet with typed times, details and resource as JSON text, zstd inside.

    Rows are gathered up to some 16 MiB of text, so that memory stays flat.
    """

    def __init__(self, file: IO[bytes]) -> None:
        try:
            import pyarrow
            import pyarrow.parquet
        except ModuleNotFoundError:
            raise MissingPackageError("pyarrow", "parquet") from None
        self._arrow: Any = pyarrow
        self._schema: Any = pyarrow.schema(_parquet_fields(pyarrow))
        self._file: Any = pyarrow.parquet.ParquetWriter(file, self._schema, compression="zstd")
        self._rows: list[Mapping[str, Any]] = []
        self._bytes = 0

    def write(self, rows: Sequence[Exported]) -> None:
        """Take rows; write those gathered once they are enough."""
        for row in rows:
            shape = _parquet_row(row)
            self._rows.append(shape)
            self._bytes += 300 + len(shape["message"]) + len(shape["details"])
            if len(self._rows) >= _MOST_ROWS_A_GROUP or self._bytes >= _MOST_BYTES_A_GROUP:
                self._flush()

    def close(self) -> None:
        """Write the last rows and the file's footer."""
        self._flush()
        self._file.close()

    def _flush(self) -> None:
        if self._rows:
            self._file.write_table(self._arrow.Table.from_pylist(self._rows, self._schema))
        self._rows, self._bytes = [], 0


def _parquet_fields(arrow: Any) -> list[tuple[str, Any]]:
    text, moment = arrow.string(), arrow.timestamp("ns", "UTC")
    return [
        ("cursor", arrow.int64()),
        ("id", text),
        ("time", moment),
        ("observed_time", moment),
        *((name, text) for name in (*_TEXTS, *_CONTEXT)),
        ("number", arrow.uint64()),
        ("trace_id", text),
        ("span_id", text),
        ("trace_flags", arrow.uint32()),
        ("late", arrow.bool_()),
        ("details", text),
        ("resource", text),
    ]


def _parquet_row(row: Exported) -> Mapping[str, Any]:
    event = row.event
    return {name: getattr(event, name) for name in _AS_THEY_ARE} | {
        "cursor": row.cursor,
        "id": event.id,
        "time": event.time_unix_nano,
        "observed_time": event.observed_unix_nano,
        "late": event.late,
        "details": msgspec.json.encode(event.details).decode(),
        "resource": msgspec.json.encode(row.resource).decode(),
    }
