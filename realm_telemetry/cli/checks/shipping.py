"""Spools, shippers and exporters."""

import time
from collections.abc import Iterator, Sequence
from typing import Final

from realm_telemetry.cli.checks.check import CheckResult, Level, Subject
from realm_telemetry.cli.exporters import list_exporters
from realm_telemetry.cli.terminal import counted
from realm_telemetry.errors import ConfigError
from realm_telemetry.plugins import load_processor
from realm_telemetry.shipper.overview import PipelineStatus, pipeline_status, quarantined
from realm_telemetry.shipper.status import STALE_AFTER_S

SETTLE_S: Final = 1.0
"""How long a shipper is given to bring a lag down before it counts."""


def check_shipping(subject: Subject) -> Iterator[CheckResult]:
    """Each pipeline: is a shipper at work where there is something to ship."""
    home, chosen = subject.settings.home, subject.settings.spool
    pipelines = pipeline_status(home, chosen=chosen)
    if any(each.pending or any(each.lag.values()) for each in pipelines):
        time.sleep(min(SETTLE_S, subject.timeout_s))
        pipelines = pipeline_status(home, chosen=chosen)
    if not pipelines:
        yield CheckResult(
            "shipper", "ok", "no pipeline yet; the first program that emits starts one"
        )
    for pipeline in pipelines:
        yield _pipeline(pipeline)
        yield from _losses(pipeline)
    for directory, count in quarantined(home, chosen).items():
        message = f"{counted(count, 'piece')} of damaged spools in {directory}"
        fix = "The log's events_dropped events say what was lost. Look at them, then remove them."
        yield CheckResult("spools", "warning", message, fix)


def check_exporters(subject: Subject) -> Iterator[CheckResult]:
    """The exporters and processors that the settings name."""
    settings = subject.settings
    used = [name for name in settings.exporters if isinstance(name, str)]
    rows = [row for row in list_exporters(used) if row.used]
    for row in rows:
        if row.status != "ok":
            yield CheckResult("exporters", "problem", row.name, row.problem)
    good = [row.name for row in rows if row.status == "ok"]
    if good:
        yield CheckResult("exporters", "ok", ", ".join(good))
    for name in settings.processors:
        yield from _processor(name)


def _pipeline(pipeline: PipelineStatus) -> CheckResult:
    name = f"pipeline {pipeline.pipeline}"
    message = f"{name}: {_who(pipeline)}, {_waiting(pipeline)}"
    if pipeline.error:
        # Once the log has them, events are safe; an exporter may have them later.
        level: Level = "problem" if pipeline.pending else "warning"
        return CheckResult("shipper", level, f"{message}: {pipeline.error}", _look(pipeline))
    if pipeline.heartbeat_age_s is not None and pipeline.heartbeat_age_s > STALE_AFTER_S:
        fix = f"It hangs: end it (kill {pipeline.pid}); the next program that emits starts another."
        return CheckResult("shipper", "problem", message, fix)
    if pipeline.spools and not pipeline.running and _has_work(pipeline):
        fix = "realm ship --once; or start any program that emits, it starts a shipper."
        return CheckResult("shipper", "warning", message, fix)
    if not (pipeline.spools or pipeline.running):
        return CheckResult("shipper", "ok", f"{name}: idle, all shipped")
    return CheckResult("shipper", "ok", message)


def _losses(pipeline: PipelineStatus) -> Iterator[CheckResult]:
    """What spools say was dropped or given up."""
    dropped = sum(spool.dropped for spool in pipeline.spools)
    given_up = sum(spool.undelivered for spool in pipeline.spools)
    if dropped:
        message = f"{counted(dropped, 'event')} dropped because a spool was full"
        fix = "Raise max_spool_bytes, or mend what keeps the log from being written."
        yield CheckResult("spools", "warning", message, fix)
    for refusal in pipeline.refused:
        message = f"{counted(refusal.count, 'event')} refused by the other side of"
        fix = "It does not say which; the log has them all."
        yield CheckResult(
            "spools", "warning", f"{message} {refusal.exporter}: {refusal.reason}", fix
        )
    if given_up:
        message = f"{counted(given_up, 'event')} given up by an exporter; the log has them"
        yield CheckResult("spools", "warning", message, _look(pipeline))


def _has_work(pipeline: PipelineStatus) -> bool:
    return any(spool.pending or spool.unexported or not spool.alive for spool in pipeline.spools)


def _who(pipeline: PipelineStatus) -> str:
    return f"shipper pid {pipeline.pid}" if pipeline.running else "no shipper runs"


def _waiting(pipeline: PipelineStatus) -> str:
    parts = [counted(len(pipeline.spools), "spool")]
    if pipeline.pending:
        parts.append(f"{counted(pipeline.pending, 'event')} to store")
    parts += [f"{name} {counted(lag, 'row')} behind" for name, lag in _behind(pipeline)]
    return ", ".join(parts)


def _behind(pipeline: PipelineStatus) -> Sequence[tuple[str, int]]:
    # A shipper that has left has nothing of its own pipeline left to export.
    return [item for item in pipeline.lag.items() if item[1]] if pipeline.running else []


def _look(pipeline: PipelineStatus) -> str:
    return f"Read logs/shipper-{pipeline.pipeline}.log in the home."


def _processor(name: object) -> Iterator[CheckResult]:
    if not isinstance(name, str):
        return
    try:
        load_processor(name)
    except ConfigError as error:
        yield CheckResult("processors", "problem", f"{name}: {error.problem}", error.fix)
    else:
        yield CheckResult("processors", "ok", name)
