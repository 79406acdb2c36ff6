"""The log: can it be read, is it whole, can it be written."""

from collections.abc import Iterator
from typing import Final

from realm_telemetry.cli.checks.check import CheckResult, Subject
from realm_telemetry.errors import LogError
from realm_telemetry.log.engine import Log, open_log
from realm_telemetry.log.errors import LogUnavailableError

LOCK_WAIT_S: Final = 2.0
RECOVER: Final = (
    "Stop the processes that use it, move it away together with its -wal and -shm files, and start"
    " again with an empty log; what is readable can be saved with: sqlite3 {path} .recover"
)


def check_log(subject: Subject) -> Iterator[CheckResult]:
    """Whether the log opens, how large it is, and whether it is whole."""
    log = open_log(subject.settings.log_path)
    if not log.exists():
        yield CheckResult("log", "ok", f"{log.place} is not there yet; the first event makes it")
        return
    try:
        found = log.describe()
        if not found.is_current:
            versions = f"{found.version} of {found.newest_version}"
            message = f"{found.place} is of an older version ({versions})"
            fix = "The next program that emits brings it up to date, as the round trip here does."
            yield CheckResult("log", "warning", message, fix)
            return
        with log.reader() as reader:
            subject.log_id = reader.log_id
            with reader.snapshot() as state:
                held = state.max_cursor() - state.min_cursor()
    except LogError as error:
        yield CheckResult("log", "problem", str(error))
        return
    size = f"{found.size_bytes / 1e6:,.1f} MB"
    message = f"{found.place}, {size}, about {held:,} rows, log_id {subject.log_id}"
    yield CheckResult("log", "ok", message)
    yield _integrity(log, subject.timeout_s)


def check_lock(subject: Subject) -> Iterator[CheckResult]:
    """Whether a writer gets its turn."""
    log = open_log(subject.settings.log_path)
    if not log.exists():
        return
    try:
        log.check_writable(min(LOCK_WAIT_S, subject.timeout_s))
    except LogUnavailableError as error:
        yield CheckResult("writer lock", "problem", error.problem, error.fix)
        return
    yield CheckResult("writer lock", "ok", "free, and the file can be written")


def _integrity(log: Log, timeout_s: float) -> CheckResult:
    try:
        problems = log.integrity(timeout_s)
    except LogError as error:
        return CheckResult("integrity", "problem", str(error))
    if problems is None:
        message = f"quick_check found nothing in {timeout_s:g} s and was not done by then"
        return CheckResult("integrity", "warning", message, "Give it longer with --timeout.")
    if not problems:
        return CheckResult("integrity", "ok", "quick_check found nothing")
    return CheckResult("integrity", "problem", "; ".join(problems), RECOVER.format(path=log.place))
