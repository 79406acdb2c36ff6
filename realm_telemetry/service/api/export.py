"""GET /api/battle_log/export: all that matches, as JSON lines or CSV, while it is read."""

from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from itertools import islice
from typing import Final

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from realm_telemetry.log.engine import Reader
from realm_telemetry.log.filters import Filters
from realm_telemetry.log.rows import LogRow
from realm_telemetry.service.api.parameters import choice, filters_of, optional_whole
from realm_telemetry.service.core import Service, service_of
from realm_telemetry.transfer.formats import TEXT_FORMATS
from realm_telemetry.transfer.source import Resources

ROWS_PER_PIECE: Final = 500

FORMATS: Final = tuple(TEXT_FORMATS)
ORDERS: Final = ("newest", "arrival")


async def get_export(request: Request) -> Response:
    """Stream an export; later arrivals than its start are left out."""
    query = request.query_params
    form = choice(query, "format", FORMATS, "jsonl")
    order = choice(query, "order", ORDERS, "newest")
    as_of = optional_whole(query, "as_of")
    filters = filters_of(query, own=("format", "order", "as_of"))
    service = service_of(request.scope)
    if as_of is None:
        as_of = await service.readers.run(lambda log: log.max_cursor())
    headers = {
        "cache-control": "no-store",
        "content-disposition": f'attachment; filename="battle_log.{form}"',
        "x-as-of": str(as_of),
    }
    # Of its own: a generator that threads take turns at must not meet their other queries.
    reader = await service.readers.work(service.readers.open)
    rows = _in_order(reader, filters, as_of, order)
    return StreamingResponse(
        _pieces(service, reader, rows, form), 200, headers, TEXT_FORMATS[form].media_type
    )


def _in_order(reader: Reader, filters: Filters, as_of: int, order: str) -> Iterator[LogRow]:
    if order == "newest":
        yield from reader.export(filters, as_of)
    else:
        for step in reader.arrivals(filters, as_of):
            yield from step.rows


async def _pieces(
    service: Service, reader: Reader, rows: Iterator[LogRow], form: str
) -> AsyncIterator[bytes]:
    encode = _encoder(reader, form)
    try:
        yield TEXT_FORMATS[form].start
        while piece := await service.readers.work(
            lambda: encode(list(islice(rows, ROWS_PER_PIECE)))
        ):
            yield piece
    finally:
        reader.close()


def _encoder(reader: Reader, form: str) -> Callable[[Sequence[LogRow]], bytes]:
    resources, encode = Resources(reader), TEXT_FORMATS[form].encode
    return lambda rows: encode(resources.join(rows))
