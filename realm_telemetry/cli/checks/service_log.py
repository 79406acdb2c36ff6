"""The log that the service has elsewhere: is it reached, and how does its server stand."""

import os
from collections.abc import Iterator

from realm_telemetry.cli.checks.check import Subject
from realm_telemetry.config import Settings, service_log_url
from realm_telemetry.errors import ConfigError, LogError
from realm_telemetry.log.engine import Log, open_log
from realm_telemetry.shipper.findings import CheckResult

NAME = "service log"


def check_service_log(subject: Subject) -> Iterator[CheckResult]:
    """Whether the log that the settings name is there, whole, and on more than one disk."""
    url = service_log_url(subject.settings)
    if url is None:
        yield from _moved(subject.settings)
        return
    setting = "REALM_LOG_URL" if os.environ.get("REALM_LOG_URL") else "[service] log_url"
    try:
        yield from _look(open_log(url, home=subject.settings.home), setting)
    except ConfigError as error:
        yield CheckResult(NAME, "problem", f"{setting}: {error.problem}", error.fix)
    except LogError as error:
        fix = "The server's own log says why it does not answer: a disk that is full stops it too."
        yield CheckResult(NAME, "problem", f"{setting}: {error}", fix)


def _look(log: Log, setting: str) -> Iterator[CheckResult]:
    if not log.exists():
        fix = "Make it with `realm log init`, or start the service."
        yield CheckResult(NAME, "warning", f"{setting}: there is no log at {log.place} yet", fix)
        return
    found = log.describe()
    if found.version > found.newest_version:
        message = f"{log.place} was made by a newer version of realm_telemetry"
        yield CheckResult(NAME, "problem", message, "Upgrade the package here.")
        return
    message = f"{log.place}, {found.size_bytes / 1e6:,.1f} MB, {found.durability}"
    yield CheckResult(NAME, "ok", message)
    for concern in log.concerns():
        yield CheckResult(NAME, concern.level, f"{log.place}: {concern.message}", concern.fix)


def _moved(settings: Settings) -> Iterator[CheckResult]:
    """Remark on a log that was moved while the settings still name the one of the home."""
    log = open_log(settings.log_path, home=settings.home)
    try:
        moved = log.describe().moved if log.exists() else None
    except LogError:  # which the check of the log has said
        return
    if moved is not None:
        yield CheckResult(
            NAME,
            "warning",
            f"the log of this home was moved to {moved.place}",
            "A service on this home needs it: REALM_LOG_URL, or [service] log_url. What programs"
            " here emit is sent to the service.",
        )
