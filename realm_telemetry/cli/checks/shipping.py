"""Spools, shippers and exporters."""

import time
from collections.abc import Iterator
from typing import Final

from realm_telemetry.cli.checks.check import Subject
from realm_telemetry.cli.exporters import list_exporters
from realm_telemetry.errors import ConfigError, counted
from realm_telemetry.plugins import load_processor
from realm_telemetry.shipper.findings import CheckResult, of_losses, of_pipeline
from realm_telemetry.shipper.overview import pipeline_status, quarantined

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
        yield of_pipeline(pipeline)
        yield from of_losses(pipeline)
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


def _processor(name: object) -> Iterator[CheckResult]:
    if not isinstance(name, str):
        return
    try:
        load_processor(name)
    except ConfigError as error:
        yield CheckResult("processors", "problem", f"{name}: {error.problem}", error.fix)
    else:
        yield CheckResult("processors", "ok", name)
