"""What a person looks at when events do not come: the service, its log, and all that sends.

It answers whatever is broken: what cannot be looked at is None, and a check says why.
"""

import asyncio
import shutil
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from socket import gethostname
from typing import TYPE_CHECKING, Any, Final

from realm_telemetry.errors import LogError, counted, shown
from realm_telemetry.event import format_time
from realm_telemetry.log.outbox import WEBHOOKS, Message
from realm_telemetry.service.errors import ApiError
from realm_telemetry.service.settings import ServiceSettings
from realm_telemetry.shipper.findings import (
    CheckResult,
    Level,
    nearest,
    of_disk,
    of_losses,
    of_pipeline,
)
from realm_telemetry.shipper.overview import PipelineStatus, pipeline_status, quarantined
from realm_telemetry.version import __version__

if TYPE_CHECKING:
    from realm_telemetry.service.core import Service

FRESH_S: Final = 2.0
"""So long an answer is given again: many pages ask, and spools have to be read."""

RECENT_S: Final = 86_400.0
"""A message that could not be delivered is a problem for a day."""

_LEVELS: Final[tuple[Level, ...]] = ("ok", "warning", "problem")
_DOCTOR: Final = "Run `realm doctor` where the service runs; until then events wait in spools."


def level_of(checks: list[CheckResult]) -> Level:
    """The worst of some checks."""
    return max((each.level for each in checks), key=_LEVELS.index, default="ok")


class HealthDesk:
    """Looks at most every FRESH_S seconds, once at a time; for the event loop's thread.

    service: the one that runs, None while its log is opened again. outage: why.
    """

    def __init__(
        self,
        settings: ServiceSettings,
        service: Callable[[], "Service | None"],
        outage: Callable[[], str | None],
    ) -> None:
        self._settings = settings
        self._service = service
        self._outage = outage
        self._answer: dict[str, Any] = {}
        self._fresh_until_s = 0.0
        self._lock = asyncio.Lock()

    async def answer(self) -> dict[str, Any]:
        """What there is to say, at most FRESH_S seconds old."""
        async with self._lock:
            if time.monotonic() > self._fresh_until_s:
                service = self._service()
                receipts = await _receipts(service)
                self._answer = await asyncio.to_thread(self._look, service, receipts)
                self._fresh_until_s = time.monotonic() + FRESH_S
        return self._answer

    def _look(self, service: "Service | None", receipts: dict[str, int] | None) -> dict[str, Any]:
        settings = self._settings
        pipelines = pipeline_status(settings.home, chosen=settings.spool)
        checks = [
            *_of_log(service, self._outage()),
            of_disk(settings.home),
            *(_of_service(service) if service else ()),
            *_of_shipping(settings, pipelines),
        ]
        return {
            "status": level_of(checks),
            "checks": checks,
            "service": {
                "version": __version__,
                "host": gethostname(),
                "address": settings.address,
                "started_at": format_time(int(service.started_s * 1e9)) if service else None,
                "streams": len(service.places) if service else 0,
            },
            "log": _log(settings, service),
            "exporters": [*_own_exporters(service), *_exporters_of(pipelines)],
            "shippers": [_shipper(each) for each in pipelines],
            "hosts": service.host_watch.hosts.shown() if service else [],
            "receipts": receipts,
        }


def _answers(service: "Service") -> bool:
    """Whether the log could be read a moment ago: one on a server that hangs is waited for."""
    return service.tail.error is None


def _of_log(service: "Service | None", outage: str | None) -> Iterator[CheckResult]:
    problem = service.problem if service else (outage or "The log is opened again.")
    if problem:
        yield CheckResult("log", "problem", problem, _DOCTOR)
        return
    yield CheckResult("log", "ok", "It can be read and written.")
    if service is None:
        return
    behind = [
        name
        for name, keeper in (("state", service.folding), ("runs", service.runs))
        if not keeper.ready
    ]
    if behind:
        message = f"The log is still being read: the pages lack {' and '.join(behind)} until then"
        yield CheckResult("log", "warning", message, "Wait; a large log takes some minutes.")


def _of_service(service: "Service") -> Iterator[CheckResult]:
    for name, _, problem in service.exporting.state(0):
        if problem:
            fix = f"See [options.{name}] in realm.toml, and `realm exporters`."
            yield CheckResult(name, "warning", problem, fix)
    if service.exporting.log_problem:
        yield CheckResult("exporters", "warning", service.exporting.log_problem, _DOCTOR)
    yield from _of_alerts(service)
    if service.ping_problem:
        message = f"The ping to elsewhere fails: {service.ping_problem}"
        fix = "Look at ping_url in [service] of realm.toml."
        yield CheckResult("ping", "warning", message, fix)
    for host in service.host_watch.hosts.shown():
        if host["status"] in ("lost", "silent"):
            runs = ", ".join(run["run_id"] for run in host["runs"]) or "nothing"
            message = f"{host['host']} has been silent since {host['last_heard_at']}; it ran {runs}"
            fix = "Look whether it is on and reaches this service: `realm hosts`."
            level: Level = "problem" if host["status"] == "lost" else "warning"
            yield CheckResult("host", level, message, fix)


def _of_alerts(service: "Service") -> Iterator[CheckResult]:
    """Messages that wait after a failure, and those that were given up within a day."""
    if not _answers(service):
        return
    try:
        if not service.log.has_outbox(WEBHOOKS):
            return
        with closing(service.log.outbox(WEBHOOKS)) as outbox:
            waiting = outbox.messages(1_000, ["pending"])
            dead = outbox.messages(1_000, ["dead"])
    except LogError as error:
        yield CheckResult("alerts", "warning", str(error), _DOCTOR)
        return
    since_ns = time.time_ns() - int(RECENT_S * 1e9)
    dead = [each for each in dead if (each.settled_unix_nano or 0) > since_ns]
    mend = "On the page Alerts: send a test to the target; mend its address in realm.toml"
    for target, few in _by_target(each for each in waiting if each.problem).items():
        message = f"{counted(len(few), 'message')} to {target} could not be sent yet"
        fix = f"{mend} if it fails. They are tried again by themselves."
        yield CheckResult("alerts", "warning", f"{message}: {few[0].problem}", fix)
    for target, few in _by_target(dead).items():
        message = f"{counted(len(few), 'message')} to {target} given up within a day"
        fix = f"{mend}; then send them again."
        yield CheckResult("alerts", "problem", f"{message}: {few[0].problem}", fix)


def _by_target(messages: Iterable[Message]) -> dict[str, list[Message]]:
    found: dict[str, list[Message]] = {}
    for each in messages:
        found.setdefault(each.target, []).append(each)
    return found


def _of_shipping(
    settings: ServiceSettings, pipelines: list[PipelineStatus]
) -> Iterator[CheckResult]:
    for pipeline in pipelines:
        yield of_pipeline(pipeline)
        yield from of_losses(pipeline)
    for directory, count in quarantined(settings.home, settings.spool).items():
        message = f"{counted(count, 'piece')} of damaged spools in {directory}"
        fix = "The log's events_dropped events say what was lost. Look at them, then remove them."
        yield CheckResult("spools", "warning", message, fix)


def _log(settings: ServiceSettings, service: "Service | None") -> dict[str, Any]:
    is_file = settings.log_url is None
    size: int | None = None
    free: int | None = None
    total: int | None = None
    place = str(settings.log_path) if is_file else shown(str(settings.log_place))
    try:
        if service is not None and _answers(service):
            size = service.log.describe().size_bytes
        if is_file:
            disk = shutil.disk_usage(nearest(settings.log_path))
            free, total = disk.free, disk.total
    except (LogError, OSError):  # a check says why
        pass
    return {
        "place": place,
        "log_id": service.log_id if service else None,
        "cursor": service.tail.cursor if service else None,
        "size_bytes": size,
        "disk_free_bytes": free,
        "disk_total_bytes": total,
        "keeps_days": settings.retention_days,
        "keeps_bytes": settings.retention_bytes,
    }


def _own_exporters(service: "Service | None") -> list[dict[str, Any]]:
    if service is None:
        return []
    state = service.exporting.state(service.tail.cursor)
    return [
        {"name": name, "of": "service", "behind": behind, "problem": problem}
        for name, behind, problem in state
    ]


def _exporters_of(pipelines: list[PipelineStatus]) -> list[dict[str, Any]]:
    return [
        {
            "name": name,
            "of": each.pipeline,
            # A shipper that has left has nothing of its own pipeline left to export.
            "behind": max(behind, 0) if each.running else 0,
            "problem": each.error if f"exporter {name}:" in each.error else "",
        }
        for each in pipelines
        for name, behind in each.lag.items()
    ]


def _shipper(pipeline: PipelineStatus) -> dict[str, Any]:
    return {
        "pipeline": pipeline.pipeline,
        "running": pipeline.running,
        "pid": pipeline.pid,
        "programs": sum(spool.alive for spool in pipeline.spools),
        "waiting": pipeline.pending,
        "dropped": sum(spool.dropped for spool in pipeline.spools),
        "problem": pipeline.error,
    }


async def _receipts(service: "Service | None") -> dict[str, int] | None:
    if service is None or not _answers(service):
        return None
    try:
        totals = await service.readers.run(lambda log: log.receipt_totals())
    except ApiError:  # a check says why
        return None
    names = ("producers", "live", "emitted", "stored", "stored_so_far", "dropped", "incomplete")
    return {name: getattr(totals, name) for name in names}
