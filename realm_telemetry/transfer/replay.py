"""Replay: send a log's events to a service again, or have an exporter deliver them again.

Events keep their ids, so no log stores one twice, and their arrival, so that another service shows
them as live as they were: its pages and its RealmState are those of the original.
"""

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from typing import Any, Final, Literal

import msgspec

from realm_telemetry.client import RealmClient, ServiceError
from realm_telemetry.config import Settings, load_settings
from realm_telemetry.errors import ConfigError
from realm_telemetry.kinds.catalog import KIND_METADATA, KindSpec
from realm_telemetry.log.filters import Filters
from realm_telemetry.log.sqlite.reader import LogReader
from realm_telemetry.transfer.exports import filters_of
from realm_telemetry.transfer.formats import Exported
from realm_telemetry.transfer.source import LogSource, Progress, Step, no_progress, open_log
from realm_telemetry.wire import BatchProducer, encode_batch

LIVE: Final = "live"
"""The service that the settings name."""

_PIPELINE: Final = "replay"
_TRIES: Final = 30
_AGAIN_S: Final = 1.0


class ReplayReport(msgspec.Struct):
    """What a replay did.

    target: the address of the service. same_log: it serves the very log that was read; then
        nothing is stored, and RealmState is what it was.
    events: those told. stored, already: new to the service's log, or known to it.
    rejected: those that it would not take; reason is that of the first.
    """

    target: str
    same_log: bool
    events: int = 0
    stored: int = 0
    already: int = 0
    rejected: int = 0
    reason: str = ""


class SetBack(msgspec.Struct, frozen=True):
    """An exporter's cursor in one pipeline ("" is the service's own), before and after."""

    pipeline: str
    stood: int
    stands: int


def replay_events(
    since: Any = None,
    *,
    to: str = LIVE,
    home: Any = None,
    speed: float | Literal["max"] = "max",
    progress: Progress = no_progress,
    **filters: Any,
) -> ReplayReport:
    """Tell a service once more what the home's log says.

    since: of the events; all if None. to: the address of a service; "live" is that of the settings.
    speed: 10 is ten times as fast as it was. filters: those of docs/http-api.md, such as run="r7".
    A service of this very log shows the events again and stores nothing; another stores those that
    it lacks. Nothing is sent to webhooks. Raises InvalidFilterError, LogError, ServiceError.
    """
    settings = load_settings({"home": home})
    wanted = filters_of({"since": since} | filters)
    pace = None if speed == "max" else float(speed)
    return replay_to_service(settings, wanted, to, speed=pace, progress=progress)


def replay_to_service(
    settings: Settings,
    filters: Filters,
    to: str,
    *,
    speed: float | None = None,
    progress: Progress = no_progress,
) -> ReplayReport:
    """Tell a service what the log says; see `replay_events`."""
    url = settings.service_url if to == LIVE else to
    with (
        closing(RealmClient(url, settings.token)) as client,
        closing(open_log(settings, progress)) as reader,
    ):
        same = client.health().get("log_id") == reader.log_id
        telling = _Telling(client, reader, ReplayReport(client.url, same))
        for step in paced(LogSource(reader).steps(filters), speed):
            telling.tell(step)
            progress(telling.report.events, step.share)
        return telling.report


class _Telling:
    """Batches on their way to one service."""

    def __init__(self, client: RealmClient, reader: LogReader, report: ReplayReport) -> None:
        self.report = report
        self._client = client
        self._kinds = {kind.kind: kind for kind in reader.kinds()}

    def tell(self, step: Step) -> None:
        report, rows = self.report, step.rows
        producers = {} if report.same_log else {row.event.producer: row.resource for row in rows}
        body = encode_batch(
            [row.event for row in rows],
            [BatchProducer(name, _PIPELINE, dict(told)) for name, told in producers.items()],
            self._kinds_of(rows),
        )
        answer = patiently(lambda: self._client.replay(body))
        report.events += len(rows)
        report.stored += answer["accepted"]
        report.already += answer["duplicates"]
        rejected = answer.get("rejected", [])
        report.rejected += len(rejected)
        if rejected and not report.reason:
            report.reason = str(rejected[0].get("reason", ""))

    def _kinds_of(self, rows: Sequence[Exported]) -> list[KindSpec]:
        named = {row.event.kind for row in rows} - KIND_METADATA.keys()
        return [self._kinds[name] for name in sorted(named) if name in self._kinds]


def patiently(
    ask: Callable[[], dict[str, Any]], sleep: Callable[[float], None] = time.sleep
) -> dict[str, Any]:
    """Ask a service that is busy again, as it says; raises what is no busyness, or stays one."""
    for left in range(_TRIES, -1, -1):
        try:
            return ask()
        except ServiceError as error:
            if error.status not in (429, 503) or not left:
                raise
            sleep(error.retry_after_s or _AGAIN_S)
    raise AssertionError("unreachable")


def set_back_exporter(settings: Settings, exporter: str, since_unix_nano: int) -> list[SetBack]:
    """Let an exporter deliver again what happened since a time; how its cursors moved.

    A shipper or a service at work notices within a second. Raises ConfigError if nothing in this
    log goes to such an exporter, LogError.
    """
    from realm_telemetry.log.sqlite.writer import LogWriter

    with closing(open_log(settings)) as reader, closing(LogWriter(settings.log_path)) as writer:
        known = reader.known_exporters()
        if exporter not in known:
            there = f"There are {', '.join(known)}" if known else "No exporter has begun here"
            raise ConfigError(
                "--to",
                f"no exporter {exporter!r} follows this log",
                f"{there}. A service is named by its address, or live.",
            )
        cursor = reader.cursor_before(since_unix_nano)
        for pipeline in known[exporter]:
            _forget(settings, exporter, pipeline, reader, cursor)
        stood = writer.set_back(exporter, cursor)
    return [SetBack(name, place, min(place, cursor)) for name, place in sorted(stood.items())]


def _forget(
    settings: Settings, exporter: str, pipeline: str, reader: LogReader, cursor: int
) -> None:
    """Tell an exporter that remembers what it had to forget it; most do not."""
    from realm_telemetry.plugins import ExporterContext, exporter_class

    try:
        forget = getattr(exporter_class(exporter), "forget", None)
    except ConfigError:  # an object of some program, or not installed here
        return
    if forget is None:
        return
    context = ExporterContext(
        home=settings.home,
        log_path=settings.log_path,
        options=settings.options.get(exporter, {}),
        pipeline=pipeline,
    )
    while rows := reader.after(cursor, 1000):
        forget(context, [row.event.id for row in rows])
        cursor = rows[-1].cursor


BATCH: Final = 500
LONGEST_SILENCE_S: Final = 5.0
"""A night without an event is cut to this, at any speed."""

_AT_ONCE_S: Final = 0.02


def paced(
    steps: Iterable[Step],
    speed: float | None,
    *,
    sleep: Callable[[float], None] = time.sleep,
    clock: Callable[[], float] = time.monotonic,
) -> Iterator[Step]:
    """Yield the rows of some steps as batches, each when it is due.

    speed: 10.0 is ten times as fast as it was; None is as fast as can be. What is due within 20 ms
        goes together.
    """
    due_s, last_ns = clock(), None
    for step in steps:
        start = 0
        for place, row in enumerate(step.rows):
            time_ns = row.event.time_unix_nano
            if speed is not None and last_ns is not None:
                due_s += min(max(time_ns - last_ns, 0) / 1e9 / speed, LONGEST_SILENCE_S)
            last_ns = time_ns if last_ns is None else max(last_ns, time_ns)
            wait_s = due_s - clock()
            if speed is not None and wait_s > _AT_ONCE_S:
                yield from _batches(step.rows[start:place], step.share)
                start = place
                sleep(max(due_s - clock(), 0.0))
        yield from _batches(step.rows[start:], step.share)


def _batches(rows: Sequence[Exported], share: float | None) -> Iterator[Step]:
    for start in range(0, len(rows), BATCH):
        yield Step(rows[start : start + BATCH], share)
