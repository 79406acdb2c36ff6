"""Events of an export as bytes: JSON lines, which an import reads back, and CSV for tables."""

import csv
import io
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, NamedTuple

import msgspec

from realm_telemetry.event import Event
from realm_telemetry.kinds.catalog import event_to_dict

CSV_COLUMNS: Final = (
    "cursor", "id", "timestamp", "kind", "channel", "severity", "message", "source", "hero_id",
    "campaign_id", "run_id", "producer", "number", "trace_id", "span_id", "late", "details",
    "resource",
)  # fmt: skip

_encode: Final = msgspec.json.Encoder().encode


class Exported(NamedTuple):
    """An event as it leaves a log.

    cursor: where it stood there. resource: of its producer.
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


def _cell(value: Any) -> str:
    text = "" if value is None else str(value)
    # A spreadsheet would run a cell that begins like a formula (OWASP: CSV injection).
    return "'" + text if text[:1] in ("=", "+", "-", "@", "\t", "\r") else text


def _csv_lines(lines: Sequence[Sequence[str]]) -> bytes:
    out = io.StringIO()
    csv.writer(out, lineterminator="\r\n").writerows(lines)
    return out.getvalue().encode("utf-8", "replace")


TEXT_FORMATS: Final = {
    "jsonl": TextFormat("application/x-ndjson; charset=utf-8", b"", encode_jsonl),
    "csv": TextFormat("text/csv; charset=utf-8", _csv_lines([CSV_COLUMNS]), encode_csv),
}
