"""Replay: send a log's events to a service again, or have an exporter deliver them again.

Events keep their ids, so no log stores one twice, and their arrival, so that another service shows
them as live as they were: its pages and its RealmState are those of the original.
"""

import time
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import closing
from typing import Any, Final, Literal

import msgspec

from realm_telemetry.client import RealmClient, ServiceError
from realm_telemetry.config import Settings, load_settings, located, token_for
from realm_telemetry.errors import ConfigError, shown
from realm_telemetry.kinds.catalog import KIND_METADATA, KindSpec
from realm_telemetry.log.filters import Filters
from realm_telemetry.log.sqlite.reader import LogReader
from realm_telemetry.transfer.exports import filters_of
from realm_telemetry.transfer.formats import Exported
from realm_telemetry.transfer.source import LogInput, Progress, Step, no_progress, open_log
from realm_telemetry.wire import BatchProducer, encode_batch

LIVE: Final = "live"
"""The service that the settings name."""

_PIPELINE: Final = "replay"
_TRIES: Final = 30
_AGAIN_S: Final = 1.0


class ReplayReport(msgspec.Struct):
    """What a replay did.

    target: the address of the service. same_log: it serves the very log that was read; then
        nothing is stored, and RealmState does not change.
    events: those sent. stored, already: those new to the service's log, and those it had.
    rejected: those that it rejected; reason is that of the first.
    """

    target: str
    same_log: bool
    events: int = 0
    stored: int = 0
    already: int = 0
    rejected: int = 0
    reason: str = ""


class CursorMove(msgspec.Struct, frozen=True):
    """An exporter's cursor in one pipeline ("" is the service), before a replay and after."""

    pipeline: str
    before: int = msgspec.field(name="stood")
    after: int = msgspec.field(name="stands")


def replay_events(
    since: Any = None,
    *,
    to: str = LIVE,
    home: Any = None,
    speed: float | Literal["max"] = "max",
    progress: Progress = no_progress,
    **filters: Any,
) -> ReplayReport:
    """Send events of the home's log to a service again.

    since: of the events; all if None. to: the address of a service; "live" is that of the settings.
    speed: 10 is ten times the original speed. filters: those of docs/http-api.md, such as run="r7".
    A service of this same log shows the events again and stores nothing; another stores those that
    it lacks. Nothing is sent to webhooks. Raises InvalidFilterError, LogError, ServiceError.
    """
    settings = located(load_settings({"home": home}))
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
    """Send events of a log to a service again; see `replay_events`."""
    url = settings.service_url if to == LIVE else to
    with (
        closing(RealmClient(url, token_for(settings.home, settings.token, url))) as client,
        closing(open_log(settings, progress)) as reader,
    ):
        same = client.health().get("log_id") == reader.log_id
        sender = _Sender(client, reader, ReplayReport(shown(client.url), same))
        for step in paced(LogInput(reader).steps(filters), speed):
            sender.send(step)
            progress(sender.report.events, step.share)
        return sender.report


class _Sender:
    """Sends batches to one service and counts the answers."""

    def __init__(self, client: RealmClient, reader: LogReader, report: ReplayReport) -> None:
        self.report = report
        self._client = client
        self._kinds = {kind.kind: kind for kind in reader.now.kinds()}

    def send(self, step: Step) -> None:
        report, rows = self.report, step.rows
        producers = {} if report.same_log else {row.event.producer: row.resource for row in rows}
        body = encode_batch(
            [row.event for row in rows],
            [BatchProducer(name, _PIPELINE, dict(known)) for name, known in producers.items()],
            self._kinds_of(rows),
        )
        answer = with_retry(lambda: self._client.replay(body))
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


def with_retry(
    ask: Callable[[], dict[str, Any]], sleep: Callable[[float], None] = time.sleep
) -> dict[str, Any]:
    """Repeat a request while the service is busy, after the pause that it asks for.

    Raises ServiceError for any other failure, and when the service stays busy.
    """
    for left in range(_TRIES, -1, -1):
        try:
            return ask()
        except ServiceError as error:
            if error.status not in (429, 503) or not left:
                raise
            sleep(error.retry_after_s or _AGAIN_S)
    raise AssertionError("unreachable")


def replay_to_exporter(settings: Settings, exporter: str, since_unix_nano: int) -> list[CursorMove]:
    """Have an exporter deliver the events since a time again; return how its cursors moved.

    A running shipper or service does so within a second. Raises ConfigError if no such exporter
    follows this log, LogError.
    """
    from realm_telemetry.log.sqlite.writer import LogWriter

    with closing(open_log(settings)) as reader, closing(LogWriter(settings.log_path)) as writer:
        known = reader.now.known_exporters()
        if exporter not in known:
            raise _not_following(exporter, known)
        cursor = reader.now.cursor_before(since_unix_nano)
        for pipeline in known[exporter]:
            _forget(settings, exporter, pipeline, reader, cursor)
        before = writer.set_back(exporter, cursor)
        if not before:  # its pipeline was done with meanwhile
            raise _not_following(exporter, reader.now.known_exporters())
    return [CursorMove(name, at, min(at, cursor)) for name, at in sorted(before.items())]


def _not_following(exporter: str, known: Collection[str]) -> ConfigError:
    there = f"There are {', '.join(known)}" if known else "No exporter has begun here"
    return ConfigError(
        "--to",
        f"no exporter {exporter!r} follows this log",
        f"{there}. One that `exporters` of realm.toml names begins with the next event."
        " A service is named by its address, or live.",
    )


def _forget(
    settings: Settings, exporter: str, pipeline: str, reader: LogReader, cursor: int
) -> None:
    """Have an exporter that remembers delivered events forget them; most remember none."""
    from realm_telemetry.plugins import ExporterContext, exporter_class

    try:
        forget = getattr(exporter_class(exporter), "forget", None)
    except ConfigError:  # an object in a program, or not installed here
        return
    if forget is None:
        return
    context = ExporterContext(
        home=settings.home,
        log_path=settings.log_path,
        options=settings.options.get(exporter, {}),
        pipeline=pipeline,
    )
    while rows := reader.now.after(cursor, 1000):
        forget(context, [row.event.id for row in rows])
        cursor = rows[-1].cursor


BATCH: Final = 500
LONGEST_SILENCE_S: Final = 5.0
"""A longer gap between events is cut to this, at any speed."""

_AT_ONCE_S: Final = 0.02


def paced(
    steps: Iterable[Step],
    speed: float | None,
    *,
    sleep: Callable[[float], None] = time.sleep,
    clock: Callable[[], float] = time.monotonic,
) -> Iterator[Step]:
    """Yield the rows of some steps as batches, each when it is due.

    speed: 10.0 is ten times the original speed; None is without pauses. Events that are due within
        20 ms form one batch.
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
