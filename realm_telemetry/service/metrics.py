"""GET /metrics: Prometheus text.

Source: https://prometheus.io/docs/instrumenting/exposition_formats/
"""

import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final, NamedTuple

from starlette.requests import Request
from starlette.responses import Response

from realm_telemetry.service.core import Service, service_of
from realm_telemetry.service.errors import CATALOGUE

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"


class Metric(NamedTuple):
    """One metric: name, type, help and samples of (labels, value)."""

    name: str
    kind: str
    help: str
    samples: Iterable[tuple[dict[str, str], float]]


async def get_metrics(request: Request) -> Response:
    """All metrics of the service."""
    service = service_of(request.scope)
    counts = await service.readers.run(lambda reader: reader.channels(None))
    metrics = [
        *_log_metrics(service, counts),
        *_ingest_metrics(service),
        _error_metric(request.app.state.error_answers),
        *_live_metrics(service),
    ]
    text = "".join(_lines(metric) for metric in metrics)
    return Response(text, headers={"cache-control": "no-store"}, media_type=CONTENT_TYPE)


def _log_metrics(service: Service, counts: dict[str, dict[str, int]]) -> list[Metric]:
    by_both = [
        ({"channel": channel, "severity": severity}, float(count))
        for channel, severities in counts.items()
        for severity, count in severities.items()
    ]
    return [
        Metric("realm_events_total", "counter", "Events that the log has stored.", by_both),
        _one("realm_log_bytes", "gauge", "Size of the log's files.", _size(service)),
        _one("realm_log_cursor", "gauge", "Highest row id seen.", service.tail.cursor),
    ]


def _ingest_metrics(service: Service) -> list[Metric]:
    tally, writer = service.tally, service.writer
    outcomes = {
        "accepted": tally.accepted,
        "duplicate": tally.duplicates,
        "rejected": tally.rejected,
    }
    samples = [({"outcome": name}, float(count)) for name, count in outcomes.items()]
    return [
        Metric("realm_ingest_events_total", "counter", "Events that came over HTTP.", samples),
        _one("realm_ingest_batches_total", "counter", "Batches answered.", tally.batches),
        _one("realm_ingest_bytes_total", "counter", "Bytes of bodies as sent.", tally.bytes),
        _one("realm_ingest_queue_events", "gauge", "Events that wait.", writer.queued_events),
        _one("realm_ingest_bytes", "gauge", "Bytes of bodies in memory.", service.bodies.used),
        _one("realm_commits_total", "counter", "Transactions with events.", writer.commits),
    ]


def _error_metric(counts: Mapping[str, int]) -> Metric:
    # With those that never happened, so that an alert on an increase sees the first.
    samples = [({"error": code}, float(counts.get(code, 0))) for code in sorted(CATALOGUE)]
    return Metric("realm_http_errors_total", "counter", "Error answers by code.", samples)


def _live_metrics(service: Service) -> list[Metric]:
    places, tail = service.places, service.tail
    rings = [
        ({"feed": str(name)}, float(len(feed.ring))) for name, feed in service.hub.feeds.items()
    ]
    drops = {
        "refused": places.refused,
        "stalled": places.stalled,
        "fell_off": places.fell_off,
    }
    return [
        _one("realm_sse_clients", "gauge", "Connected streams.", len(places)),
        Metric("realm_sse_ring_frames", "gauge", "Frames in the rings.", rings),
        Metric(
            "realm_sse_drops_total",
            "counter",
            "Streams refused, cut off, or sent back to the log.",
            [({"reason": name}, float(count)) for name, count in drops.items()],
        ),
        _one("realm_tail_rows_total", "counter", "Rows the tail has read.", tail.rows),
        _one("realm_tail_lag_seconds", "gauge", "From arrival to the tail, last row.", tail.lag_s),
        _one("realm_state_ready", "gauge", "1 once RealmState is folded.", service.folding.ready),
        _one("realm_uptime_seconds", "gauge", "Since start.", time.time() - service.started_s),
    ]


def _one(name: str, kind: str, text: str, value: float) -> Metric:
    return Metric(name, kind, text, [({}, float(value))])


def _lines(metric: Metric) -> str:
    head = f"# HELP {metric.name} {metric.help}\n# TYPE {metric.name} {metric.kind}\n"
    return head + "".join(
        f"{metric.name}{_labels(labels)} {value:.10g}\n" for labels, value in metric.samples
    )


def _labels(labels: dict[str, str]) -> str:
    if not labels:
        return ""
    pairs = (f'{name}="{_escaped(value)}"' for name, value in labels.items())
    return "{" + ",".join(pairs) + "}"


def _escaped(value: str) -> str:
    return value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")


def _size(service: Service) -> int:
    path = service.settings.log_path
    return sum(_file_size(Path(f"{path}{end}")) for end in ("", "-wal"))


def _file_size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0
