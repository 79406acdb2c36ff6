"""The historic view in numbers: histogram, channels, summary."""

import time
from typing import Final

from starlette.datastructures import QueryParams
from starlette.requests import Request
from starlette.responses import Response

from realm_telemetry.event import format_time
from realm_telemetry.kinds.catalog import CHANNEL_DESCRIPTIONS, CHANNEL_ICONS, SEVERITY_COLOURS
from realm_telemetry.log.graphs import MAX_BUCKETS, MAX_POINTS
from realm_telemetry.service.api.answers import json_answer
from realm_telemetry.service.api.parameters import filters_of, moment, optional_whole, whole
from realm_telemetry.service.core import service_of
from realm_telemetry.service.errors import ApiError
from realm_telemetry.values.paths import read_paths

_WEEK_NS: Final = 7 * 24 * 3600 * 1_000_000_000


async def get_histogram(request: Request) -> Response:
    """Events per interval, by severity."""
    query = request.query_params
    buckets = whole(query, "buckets", 60, 1, MAX_BUCKETS)
    as_of = optional_whole(query, "as_of")
    filters = filters_of(query, own=("buckets", "as_of"))
    service = service_of(request.scope)
    found = await service.readers.run(lambda log: log.histogram(filters, buckets, as_of))
    bars = [
        {
            "start": format_time(bar.start_unix_nano),
            "end": format_time(bar.end_unix_nano),
            "count": sum(bar.counts.values()),
            "counts": bar.counts,
        }
        for bar in found.buckets
    ]
    shape = {
        "buckets": bars,
        "width_s": found.width_ns / 1e9,
        "total": found.total,
        "relation": found.relation,
        "as_of": found.as_of,
    }
    return json_answer(shape)


async def get_channels(request: Request) -> Response:
    """What channels and severities there are, and how many events of each."""
    since_ns = moment(request.query_params, "since")
    service = service_of(request.scope)
    counts = await service.readers.run(lambda log: log.channels(since_ns))
    oldest_ns = await service.readers.run(lambda log: log.oldest_time())
    channels = {
        name: {
            "name": name,
            "icon": CHANNEL_ICONS[name],
            "description": description,
            "counts": dict(counts.get(name, {})),
            "count": sum(counts.get(name, {}).values()),
        }
        for name, description in CHANNEL_DESCRIPTIONS.items()
    }
    shape = {
        "channels": channels,
        "severities": SEVERITY_COLOURS,
        "oldest": None if oldest_ns is None else format_time(oldest_ns),
        "retention_days": service.settings.retention_days,
    }
    return json_answer(shape)


async def get_series(request: Request) -> Response:
    """Numbers among the details over time, for a graph."""
    query = request.query_params
    points = whole(query, "points", 1000, 1, MAX_POINTS)
    filters = filters_of(query, own=("points", "fields"))
    service = service_of(request.scope)
    try:
        fields = fields_of(query)
        found = await service.readers.run(lambda log: log.series(filters, fields, points))
    except ValueError as error:
        raise ApiError("invalid_parameter", f"fields: {error}.") from None
    return json_answer(found)


def fields_of(query: QueryParams) -> list[str]:
    """The names of details that a graph is wanted of. Raises ValueError."""
    given = query.getlist("fields") or ["loss"]
    return list(dict.fromkeys(name for text in given for name in read_paths(text)))


async def get_summary(request: Request) -> Response:
    """Counts by channel, severity, kind, run, day or hour."""
    query = request.query_params
    since_ns, until_ns = moment(query, "since"), moment(query, "until")
    until_ns = time.time_ns() if until_ns is None else until_ns
    since_ns = max(until_ns - _WEEK_NS, -(2**63)) if since_ns is None else since_ns
    by = _names(query.get("by", "channel,day"))
    service = service_of(request.scope)

    try:
        summary = await service.readers.run(lambda log: log.summary(by, since_ns, until_ns))
    except ValueError as error:
        raise ApiError("invalid_parameter", f"by: {error}.") from None
    return json_answer(summary)


def _names(text: str) -> tuple[str, ...]:
    """The names of a comma list, each once: one given a thousand times costs as one."""
    return tuple(dict.fromkeys(part.strip() for part in text.split(",") if part.strip()))
