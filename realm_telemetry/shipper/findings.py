"""What is wrong on an event's way to the log, and what to do: for `realm doctor` and its page.

A check has a level, and names the fix where there is one.
"""

import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final, Literal

import msgspec

from realm_telemetry.errors import counted, shown
from realm_telemetry.home import is_local_filesystem
from realm_telemetry.shipper.overview import PipelineStatus
from realm_telemetry.shipper.status import STALE_AFTER_S

Level = Literal["ok", "warning", "problem"]

LOW_BYTES: Final = 512 * 1024 * 1024


class CheckResult(msgspec.Struct, frozen=True):
    """One line of `realm doctor`, without the secrets of addresses.

    check: what was looked at. fix: what to do; empty if nothing is.
    """

    check: str
    level: Level
    message: str
    fix: str = ""

    def __post_init__(self) -> None:
        """Take secrets out, wherever the words come from."""
        for name in ("message", "fix"):
            msgspec.structs.force_setattr(self, name, shown(getattr(self, name)))


def of_disk(home: Path) -> CheckResult:
    """SQLite and spools need a local disk, and room on it."""
    local, kind = is_local_filesystem(home)
    if not local:
        message = f"{home} is on a network file system ({kind}), where SQLite loses data"
        fix = (
            "Make /var/tmp or /tmp a local disk that this user can write, or set REALM_HOME to"
            " one; other hosts reach the log over HTTP."
        )
        return CheckResult("file system", "problem", message, fix)
    free = shutil.disk_usage(nearest(home)).free
    message = f"local ({kind}), {free / 1e9:.1f} GB free"
    if free < LOW_BYTES:
        fix = "Free some space; until then events wait in spools, and those fill."
        return CheckResult("file system", "warning", message, fix)
    return CheckResult("file system", "ok", message)


def nearest(path: Path) -> Path:
    """The path, or the nearest of its parents that is there."""
    return next((each for each in (path, *path.parents) if each.exists()), Path("/"))


def of_pipeline(pipeline: PipelineStatus) -> CheckResult:
    """Whether a shipper is at work where there is something to ship."""
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


def of_losses(pipeline: PipelineStatus) -> Iterator[CheckResult]:
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
