"""GET /api/battle_log/export: all that matches, as JSON lines or CSV, while it is read."""

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Sequence
from typing import Final

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from realm_telemetry.log.engine import Reader
from realm_telemetry.log.filters import Filters
from realm_telemetry.log.rows import LogRow
from realm_telemetry.service.api.parameters import choice, filters_of, optional_whole
from realm_telemetry.service.core import service_of
from realm_telemetry.service.errors import ApiError
from realm_telemetry.service.reader_pool import ReaderPool
from realm_telemetry.transfer.formats import TEXT_FORMATS
from realm_telemetry.transfer.source import Resources

FORMATS: Final = tuple(TEXT_FORMATS)
ORDERS: Final = ("newest", "arrival")


async def get_export(request: Request) -> Response:
    """Stream an export; later arrivals than its start are left out."""
    query = request.query_params
    form = choice(query, "format", FORMATS, "jsonl")
    order = choice(query, "order", ORDERS, "newest")
    as_of = optional_whole(query, "as_of")
    filters = filters_of(query, own=("format", "order", "as_of"))
    if filters.page_token is not None and order == "arrival":
        raise ApiError("invalid_parameter", "cursor: there are no pages in the order of arrival.")
    readers = service_of(request.scope).readers
    if as_of is None:
        as_of = await readers.run(lambda log: log.max_cursor())
    headers = {
        "cache-control": "no-store",
        "content-disposition": f'attachment; filename="battle_log.{form}"',
        "x-as-of": str(as_of),
    }
    # Of its own: a generator that threads take turns at must not meet their other queries.
    reader = await readers.work(readers.open)
    pieces = _pieces(readers, reader, _steps(reader, filters, as_of, order), form)
    # What is wrong with the request shows in the first piece, while there can be an error.
    first = await anext(pieces)
    if request.method == "HEAD":
        await pieces.aclose()
    return StreamingResponse(_joined(first, pieces), 200, headers, TEXT_FORMATS[form].media_type)


def _steps(reader: Reader, filters: Filters, as_of: int, order: str) -> Iterator[Sequence[LogRow]]:
    """Rows by the step that found them; one that found none gives its thread back as well."""
    if order == "newest":
        yield from reader.export_steps(filters, as_of)
    else:
        for step in reader.arrivals(filters, as_of):
            yield step.rows


async def _pieces(
    readers: ReaderPool, reader: Reader, steps: Iterator[Sequence[LogRow]], form: str
) -> AsyncGenerator[bytes]:
    encode = _encoder(reader, form)

    def next_piece() -> bytes | None:
        rows = next(steps, None)
        return None if rows is None else encode(rows)

    try:
        start = TEXT_FORMATS[form].start
        while (piece := await readers.step(reader, next_piece)) is not None:
            yield start + piece
            start = b""
        yield start
    finally:
        readers.discard(reader)


async def _joined(first: bytes, pieces: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    if first:
        yield first
    async for piece in pieces:
        if piece:
            yield piece


def _encoder(reader: Reader, form: str) -> Callable[[Sequence[LogRow]], bytes]:
    resources, encode = Resources(reader), TEXT_FORMATS[form].encode
    return lambda rows: encode(resources.join(rows))
