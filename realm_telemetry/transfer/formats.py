"""The formats of an export: JSON lines, which an import reads back, CSV and Parquet."""

import csv
import io
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO, Any, Final, NamedTuple, Protocol

import msgspec

from realm_telemetry.errors import ConfigError
from realm_telemetry.event import Event
from realm_telemetry.kinds.catalog import event_to_dict
from realm_telemetry.values.rank import rank_of

CSV_COLUMNS: Final = (
    "cursor", "id", "timestamp", "kind", "channel", "severity", "message", "source", "hero_id",
    "campaign_id", "run_id", "rank", "producer", "number", "trace_id", "span_id", "late", "details",
    "resource",
)  # fmt: skip

_encode: Final = msgspec.json.Encoder().encode


class Exported(NamedTuple):
    """An event as it leaves a log.

    cursor: its row id there. resource: of its producer.
    """

    event: Event
    cursor: int | None
    resource: Mapping[str, Any]


class TextFormat(NamedTuple):
    """How a file begins, and how rows go on."""

    media_type: str
    start: bytes
    encode: Callable[[Sequence[Exported]], bytes]


def to_shape(row: Exported) -> dict[str, Any]:
    """Return the JSON shape of an event, with the resource of its producer."""
    shape = event_to_dict(row.event, row.cursor)
    shape["resource"] = row.resource
    return shape


def encode_jsonl(rows: Sequence[Exported]) -> bytes:
    """Encode rows as JSON objects, one a line."""
    return b"".join(_encode(to_shape(row)) + b"\n" for row in rows)


def encode_csv(rows: Sequence[Exported]) -> bytes:
    """Encode rows as lines of CSV_COLUMNS, details and resource as JSON."""
    return _csv_lines([_cells(row) for row in rows])


def _cells(row: Exported) -> list[str]:
    shape = to_shape(row)
    for name in ("details", "resource"):
        shape[name] = _encode(shape[name]).decode()
    return [_cell(shape.get(column)) for column in CSV_COLUMNS]


# A spreadsheet runs a cell that begins like a formula, some after blanks, controls, quotes or a
# separator that is theirs and not ours, and signs of full width too (OWASP: CSV injection).
_FORMULA: Final = re.compile(
    r"[\s\x00-\x20\x7f-\xa0\xad'\"`,;|\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f"
    r"\u2028-\u202e\u2060-\u206f\u2800\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffb\U000e0000-\U000e0fff]*"
    r"[=+\-@\uff1d\uff0b\uff0d\uff20\u2212\ufe62\ufe63\ufe66\ufe6b\u207a-\u207c\u208a-\u208c]"
    r"|'*[\t\r\n\x00]"
)
_NUMBER: Final = re.compile(r"[+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?", re.ASCII)


def _cell(value: Any) -> str:
    """Return a cell that no spreadsheet runs: one that it might begins with an apostrophe.

    So does one that begins like a formula after apostrophes of its own: taking one apostrophe away
    where a formula, or what looks like one, follows gives every text back.
    """
    text = "" if value is None else str(value)
    is_formula = _FORMULA.match(text) and not _NUMBER.fullmatch(text)
    return f"'{text}" if is_formula else text


def _csv_lines(lines: Sequence[Sequence[str]]) -> bytes:
    out = io.StringIO()
    csv.writer(out, lineterminator="\r\n").writerows(lines)
    return out.getvalue().encode("utf-8", "replace")


TEXT_FORMATS: Final = {
    "jsonl": TextFormat("application/x-ndjson; charset=utf-8", b"", encode_jsonl),
    "csv": TextFormat("text/csv; charset=utf-8", _csv_lines([CSV_COLUMNS]), encode_csv),
}


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
        """Do nothing: these formats have no end."""


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
        ("rank", arrow.uint32()),
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
        "rank": rank_of(event),
        "time": event.time_unix_nano,
        "observed_time": event.observed_unix_nano,
        "late": event.late,
        "details": msgspec.json.encode(event.details).decode(),
        "resource": msgspec.json.encode(row.resource).decode(),
    }
