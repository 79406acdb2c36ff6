"""The log: can it be read, is it whole, can it be written."""

from collections.abc import Iterator
from pathlib import Path
from typing import Final

from realm_telemetry.cli.checks.check import Subject
from realm_telemetry.errors import LogError
from realm_telemetry.log.engine import Log, open_log
from realm_telemetry.log.errors import LogUnavailableError
from realm_telemetry.shipper.findings import CheckResult

LOCK_WAIT_S: Final = 2.0
RECOVER: Final = (
    "Stop the processes that use it, move it away together with its -wal and -shm files, and start"
    " again with an empty log; what is readable can be saved with: sqlite3 {path} .recover"
)


def check_log(subject: Subject) -> Iterator[CheckResult]:
    """Whether the log opens, how large it is, and whether it is whole."""
    log = open_log(subject.settings.log_path, home=subject.settings.home)
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
    yield _integrity(log, None if subject.full else subject.timeout_s)
    yield _odd_rows(log, None if subject.full else subject.timeout_s)


def check_side_files(subject: Subject) -> Iterator[CheckResult]:
    """Whether the files beside the log are whole, and which had to be replaced."""
    chosen = subject.settings
    log = open_log(chosen.log_path, home=chosen.home, state_path=chosen.state_path)
    files = log.side_files(subject.timeout_s)
    for file in files:
        if file.problem:
            yield CheckResult("other files", "warning", f"{file.place}: {file.problem}", file.fix)
    if whole := [Path(file.place).name for file in files if not file.problem]:
        yield CheckResult("other files", "ok", f"{', '.join(whole)}: whole")


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


def _integrity(log: Log, timeout_s: float | None) -> CheckResult:
    check = "integrity_check" if timeout_s is None else "quick_check"
    try:
        problems = log.integrity(timeout_s)
    except LogError as error:
        return CheckResult("integrity", "problem", str(error))
    if problems is None:
        message = f"{check} found nothing in {timeout_s:g} s and was not done by then"
        fix = "Give it longer with --timeout, or as long as it takes with --full."
        return CheckResult("integrity", "warning", message, fix)
    if not problems:
        return CheckResult("integrity", "ok", f"{check} found nothing")
    return CheckResult("integrity", "problem", "; ".join(problems), RECOVER.format(path=log.place))


def _odd_rows(log: Log, timeout_s: float | None) -> CheckResult:
    """Rows of other software are shown as far as they can be; a person may mend them."""
    try:
        found = log.odd_rows(timeout_s)
    except LogError as error:
        return CheckResult("rows", "problem", str(error))
    scope = f"{'' if found.is_complete else 'the last '}{found.looked_at:,} rows"
    if not found.count:
        return CheckResult("rows", "ok", f"all of {scope} can be read")
    named = "; ".join(f"{cursor} ({problem})" for cursor, problem in found.named)
    more = " ..." if found.count > len(found.named) else ""
    return CheckResult(
        "rows",
        "warning",
        f"{found.count:,} of {scope} have columns that cannot be read, by id: {named}{more}",
        "Other software wrote them. They are shown as far as they can be, marked realm.unreadable;"
        " mend or delete them in the table battle_log.",
    )
