"""GET /metrics: the service's own metrics, the receipts, and those made of events."""

import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Final, NamedTuple

from starlette.requests import Request
from starlette.responses import Response

from realm_telemetry.errors import LogError
from realm_telemetry.folds.metrics import Metrics
from realm_telemetry.folds.metrics.series import MAX_TEXT
from realm_telemetry.folds.runs import Layer, Reading, step_of
from realm_telemetry.log.engine import Snapshot
from realm_telemetry.log.outbox import WEBHOOKS
from realm_telemetry.log.records import LiveProducer, ReceiptTotals
from realm_telemetry.log.runs import RunsWanted
from realm_telemetry.service.api.event_metrics import EVENTS, event_counter, event_metrics
from realm_telemetry.service.api.exposition import CONTENT_TYPE, Metric, Sample, by, exposition, one
from realm_telemetry.service.core import Service, service_of
from realm_telemetry.service.errors import CATALOGUE

MAX_RUNNING: Final = 50
"""Running runs that have a series each, the newest ones by their start."""


class _Read(NamedTuple):
    """What a scrape asks the log. events: the metrics of events, as text."""

    events: str
    receipts: ReceiptTotals
    runs: list[Metric]


async def get_metrics(request: Request) -> Response:
    """All metrics of the service."""
    service = service_of(request.scope)
    # A copy: the tail goes on folding while the thread writes, which takes a while for many series.
    dumped = service.metrics.current.dump() if service.metrics.ready else None
    layers = service.runs.current.layers() if service.runs.ready else None
    read = await service.readers.run(lambda log: _read(log, service, dumped, layers))
    metrics = [
        *read.runs,
        *_receipt_metrics(read.receipts),
        *_log_metrics(service, await service.readers.work(lambda: _size(service))),
        *_ingest_metrics(service),
        _error_metric(request.app.state.error_answers),
        *_live_metrics(service),
        *await service.readers.work(lambda: _webhook_metrics(service)),
    ]
    headers = {"cache-control": "no-store"}
    text = read.events + exposition(metrics)
    return Response(text, headers=headers, media_type=CONTENT_TYPE)


def _read(
    log: Snapshot, service: Service, dumped: bytes | None, layers: Sequence[Layer] | None
) -> _Read:
    # While they are being folded, only what the log itself counts is known.
    definition = service.definition
    metrics = Metrics(definition) if dumped is None else Metrics.load(dumped, definition)
    counter = event_counter(metrics[EVENTS], log.happened())
    events = exposition([counter, *event_metrics(metrics, time.time_ns())])
    runs = [] if layers is None else _run_metrics(Reading(log, layers))
    return _Read(events, log.receipt_totals(), runs)


def _run_metrics(runs: Reading) -> list[Metric]:
    """All runs by status; the steps of those that go on, the newest ones by their start."""
    running, _ = runs.page(RunsWanted(("running",), limit=MAX_RUNNING))
    # By the label: of two ids that are the same for its length there is one series.
    steps = {
        run_id[:MAX_TEXT]: step
        for run_id, record in reversed(running)
        if (step := step_of(record)) is not None
    }
    return [
        by("realm_runs", "gauge", "Runs by their status.", "status", runs.counts()),
        by("realm_run_step", "gauge", "Last step of running runs.", "realm_run_id", steps),
    ]


def _receipt_metrics(receipts: ReceiptTotals) -> list[Metric]:
    outcomes = {
        "emitted": receipts.emitted,
        "stored": receipts.stored,
        "stored_so_far": receipts.stored_so_far,
        "dropped": receipts.dropped,
    }
    states = {"live": receipts.live, "ended": receipts.producers - receipts.live}
    live = [sample for producer in receipts.newest_live for sample in _of_producer(producer)]
    return [
        by("realm_receipt_events", "gauge", "Events by receipts.", "outcome", outcomes),
        one("realm_receipts_incomplete", "gauge", "Producers that lack some.", receipts.incomplete),
        by("realm_producers", "gauge", "Producers known.", "state", states),
        Metric("realm_producer_events", "gauge", "Of the newest 50 alive.", live),
    ]


def _of_producer(live: LiveProducer) -> Iterator[Sample]:
    name = {"realm_producer_id": live.producer, "service_name": live.service_name}
    outcomes = {"emitted": live.emitted, "stored": live.stored, "dropped": live.dropped}
    for outcome, count in outcomes.items():
        if count is not None:
            yield Sample({**name, "outcome": outcome}, count)


def _log_metrics(service: Service, size: int) -> list[Metric]:
    return [
        one("realm_log_bytes", "gauge", "Size of the log's files.", size),
        one("realm_log_cursor", "gauge", "Highest row id seen.", service.tail.cursor),
    ]


def _ingest_metrics(service: Service) -> list[Metric]:
    tally, writer = service.tally, service.writer
    outcomes = {
        "accepted": tally.accepted,
        "duplicate": tally.duplicates,
        "rejected": tally.rejected,
    }
    return [
        by(
            "realm_ingest_events_total",
            "counter",
            "Events that came over HTTP.",
            "outcome",
            outcomes,
        ),
        one("realm_ingest_batches_total", "counter", "Batches answered.", tally.batches),
        one("realm_ingest_bytes_total", "counter", "Bytes of bodies as sent.", tally.bytes),
        one("realm_ingest_queue_events", "gauge", "Events that wait.", writer.queued_events),
        one("realm_ingest_bytes", "gauge", "Bytes of bodies in memory.", service.bodies.used),
        one("realm_commits_total", "counter", "Transactions with events.", writer.commits),
    ]


def _error_metric(counts: Mapping[str, int]) -> Metric:
    # With those that never happened, so that an alert on an increase sees the first.
    codes = {code: counts.get(code, 0) for code in sorted(CATALOGUE)}
    return by("realm_http_errors_total", "counter", "Error answers by code.", "error", codes)


def _live_metrics(service: Service) -> list[Metric]:
    places, tail = service.places, service.tail
    rings = {str(name): len(feed.ring) for name, feed in service.hub.feeds.items()}
    drops = {
        "refused": places.refused,
        "stalled": places.stalled,
        "fell_off": places.fell_off,
    }
    return [
        one("realm_sse_clients", "gauge", "Connected streams.", len(places)),
        by("realm_sse_ring_frames", "gauge", "Frames in the rings.", "feed", rings),
        by(
            "realm_sse_drops_total",
            "counter",
            "Streams refused, cut off, or sent back to the log.",
            "reason",
            drops,
        ),
        one("realm_tail_rows_total", "counter", "Rows the tail has read.", tail.rows),
        one("realm_tail_lag_seconds", "gauge", "From arrival to the tail, last row.", tail.lag_s),
        one("realm_state_ready", "gauge", "1 once RealmState is folded.", service.folding.ready),
        one(
            "realm_measures_ready",
            "gauge",
            "1 once the metrics of events are folded.",
            service.metrics.ready,
        ),
        one("realm_uptime_seconds", "gauge", "Since start.", time.time() - service.started_s),
    ]


def _webhook_metrics(service: Service) -> list[Metric]:
    """What the outbox of webhooks has, if there is one that can be read."""
    if not service.log.has_outbox(WEBHOOKS):
        return []
    try:
        with closing(service.log.outbox(WEBHOOKS)) as outbox:
            counts, circuits = outbox.counts(), outbox.circuits()
    except LogError:  # doctor says why
        return []
    states = {"pending": 0, "delivered": 0, "dead": 0}
    for (_, state), count in counts.items():
        states[state] += count
    pools = {"rules": 0, "events": 0} | Counter(circuit.pool for circuit in circuits)
    return [
        by("realm_webhook_messages", "gauge", "Messages of webhooks.", "state", states),
        by(
            "realm_webhook_hosts_left_alone",
            "gauge",
            "Hosts that gave no answer, by who sends: rules, or events that name addresses.",
            "senders",
            pools,
        ),
    ]


def _size(service: Service) -> int:
    if service.settings.log_url is not None:
        return service.log.describe().size_bytes
    path = service.settings.log_path
    return sum(_file_size(Path(f"{path}{end}")) for end in ("", "-wal"))


def _file_size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0
