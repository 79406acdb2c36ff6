"""GET /api/battle_log/export: all that matches, as JSON lines or CSV, while it is read."""

import csv
import io
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from itertools import islice
from typing import Any, Final

import msgspec
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from realm_telemetry.catalog import event_to_dict
from realm_telemetry.log.reader import LogReader
from realm_telemetry.log.rows import LogRow
from realm_telemetry.service.core import Service, service_of
from realm_telemetry.service.parameters import choice, filters_of, optional_whole

ROWS_PER_PIECE: Final = 500

CSV_COLUMNS: Final = (
    "cursor", "id", "timestamp", "kind", "channel", "severity", "message", "source", "hero_id",
    "campaign_id", "run_id", "producer", "number", "trace_id", "span_id", "late", "details",
)  # fmt: skip

_MEDIA_TYPES: Final = {
    "jsonl": "application/x-ndjson; charset=utf-8",
    "csv": "text/csv; charset=utf-8",
}


async def get_export(request: Request) -> Response:
    """Stream an export; later arrivals than its start are left out."""
    query = request.query_params
    form = choice(query, "format", ("jsonl", "csv"), "jsonl")
    as_of = optional_whole(query, "as_of")
    filters = filters_of(query, own=("format", "as_of"))
    service = service_of(request.scope)
    if as_of is None:
        as_of = await service.readers.run(LogReader.max_cursor)
    encode: Callable[[Sequence[LogRow]], bytes] = _jsonl if form == "jsonl" else _csv
    start = b"" if form == "jsonl" else _csv_line(CSV_COLUMNS)
    headers = {
        "cache-control": "no-store",
        "content-disposition": f'attachment; filename="battle_log.{form}"',
        "x-as-of": str(as_of),
    }
    # Of its own: a generator that threads take turns at must not meet their other queries.
    reader = await service.readers.work(service.readers.open)
    pieces = _pieces(service, reader, reader.export(filters, as_of), encode, start)
    return StreamingResponse(pieces, 200, headers, _MEDIA_TYPES[form])


async def _pieces(
    service: Service,
    reader: LogReader,
    rows: Iterator[LogRow],
    encode: Callable[[Sequence[LogRow]], bytes],
    start: bytes,
) -> AsyncIterator[bytes]:
    try:
        yield start
        while piece := await service.readers.work(
            lambda: encode(list(islice(rows, ROWS_PER_PIECE)))
        ):
            yield piece
    finally:
        reader.close()


def _jsonl(rows: Sequence[LogRow]) -> bytes:
    return b"".join(
        msgspec.json.encode(event_to_dict(row.event, row.cursor)) + b"\n" for row in rows
    )


def _csv(rows: Sequence[LogRow]) -> bytes:
    return b"".join(_csv_line(_cells(event_to_dict(row.event, row.cursor))) for row in rows)


def _cells(shape: dict[str, Any]) -> list[str]:
    shape["details"] = msgspec.json.encode(shape["details"]).decode()
    return [_cell(shape[column]) for column in CSV_COLUMNS]


def _cell(value: Any) -> str:
    text = "" if value is None else str(value)
    # A spreadsheet would run a cell that begins like a formula (OWASP: CSV injection).
    return "'" + text if text[:1] in ("=", "+", "-", "@", "\t", "\r") else text


def _csv_line(cells: Sequence[str]) -> bytes:
    out = io.StringIO()
    csv.writer(out, lineterminator="\r\n").writerow(cells)
    return out.getvalue().encode("utf-8", "replace")
