"""How the pipelines of a home are doing, for `realm ship --status` and `realm doctor`."""

import os
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import msgspec

from realm_telemetry.errors import ConfigError, LogError, shown
from realm_telemetry.log.engine import open_log
from realm_telemetry.log.records import Refusal
from realm_telemetry.shipper.lock import is_held
from realm_telemetry.shipper.manifest import MANIFEST_NAME, Manifest, read_manifest
from realm_telemetry.shipper.notes import load_notes
from realm_telemetry.shipper.status import read_status
from realm_telemetry.spool.liveness import is_alive
from realm_telemetry.spool.place import spool_roots
from realm_telemetry.spool.reader import SpoolReader, spool_directories

_READ_AT_ONCE = 1000


class SpoolStatus(msgspec.Struct, frozen=True):
    """One producer's spool.

    pending: events that are not in the log yet.
    unexported: events in the log that some exporter has not acknowledged.
    undelivered: dead letters: events that an exporter will never take.
    end_unstored: the producer has ended, and the log does not have its end yet.
    """

    producer: str
    alive: bool
    pending: int
    unexported: int
    undelivered: int
    dropped: int
    end_unstored: bool = msgspec.field(default=False, name="end_untold")


class PipelineStatus(msgspec.Struct, frozen=True):
    """One pipeline.

    running: whether a shipper holds it; pid and heartbeat_age_s are None if none does.
    lag: rows of the log that each exporter has not looked at yet.
    dead_letters: events that an exporter will never take, as "event id, exporter: reason".
    refused: counts of events that a receiver rejected without naming them.
    error: what is wrong and what to do; empty if nothing is.
    """

    pipeline: str
    directory: str
    service_url: str
    exporters: list[str]
    running: bool
    pid: int | None
    heartbeat_age_s: float | None
    error: str
    spools: list[SpoolStatus]
    cursors: dict[str, int]
    lag: dict[str, int]
    dead_letters: list[str] = []
    refused: list[Refusal] = []

    @property
    def pending(self) -> int:
        """Events that are not in the log yet."""
        return sum(spool.pending for spool in self.spools)


def pipeline_directories(spool_root: Path) -> list[Path]:
    """The pipelines of a spool root, in no order."""
    try:
        with os.scandir(spool_root) as entries:
            found = [Path(entry.path) for entry in entries if entry.is_dir(follow_symlinks=False)]
    except OSError:
        return []
    return [directory for directory in found if _is_pipeline(directory)]


def _is_pipeline(directory: Path) -> bool:
    """Whether it has a manifest, or spools whose manifest is missing."""
    with suppress(OSError):
        spools = (spool / "control" for spool in spool_directories(directory))
        return (directory / MANIFEST_NAME).exists() or any(control.exists() for control in spools)
    return True


def quarantined(home: Path, chosen: Path | None = None) -> dict[Path, int]:
    """Return the directories with pieces of damaged spools, and how many each has."""
    found = {}
    for root in spool_roots(home, chosen):
        for directory in (root / "quarantine", *root.glob("otel/*/quarantine")):
            with suppress(OSError):
                found[directory] = len(os.listdir(directory))  # noqa: PTH208
    return {directory: count for directory, count in found.items() if count}


def pipeline_status(
    home: Path, spool_root: Path | None = None, chosen: Path | None = None
) -> list[PipelineStatus]:
    """Return what is known of each pipeline of a home, wherever its spools are.

    spool_root: look there only. chosen: the setting `spool`.
    """
    roots = [spool_root] if spool_root else spool_roots(home, chosen)
    found = []
    for directory in sorted(path for root in roots for path in pipeline_directories(root)):
        try:
            manifest = read_manifest(directory)
        except ConfigError as error:
            # Whose it is cannot be read; to leave it out would say that there is nothing to ship.
            found.append(_unreadable(directory, error))
            continue
        if spool_root or Path(manifest.home) == home:
            found.append(_describe(directory, manifest))
    return found


def _unreadable(directory: Path, error: ConfigError) -> PipelineStatus:
    """Return the status of a pipeline without a manifest to go by; nothing in it is opened."""
    return PipelineStatus(
        pipeline=directory.name,
        directory=str(directory),
        service_url="",
        exporters=[],
        running=False,
        pid=None,
        heartbeat_age_s=None,
        error=str(error),
        spools=[],
        cursors={},
        lag={},
    )


def _describe(directory: Path, manifest: Manifest) -> PipelineStatus:
    page = read_status(directory)
    running = is_held(directory)
    age_s = (time.time_ns() - page.heartbeat_unix_nano) / 1e9 if running and page else None
    known = _in_the_log(manifest)
    error = page.error if page and page.error else known.error
    return PipelineStatus(
        pipeline=manifest.pipeline,
        directory=str(directory),
        service_url=shown(manifest.service_url),
        exporters=manifest.exporters,
        running=running,
        pid=page.pid if running and page else None,
        heartbeat_age_s=age_s,
        error=shown(error),
        spools=list(_spools(directory)),
        cursors=known.cursors,
        lag={name: known.highest - cursor for name, cursor in known.cursors.items()},
        dead_letters=known.letters,
        refused=known.refused,
    )


class _InTheLog(msgspec.Struct, frozen=True):
    """What the log has of a pipeline. error: why it cannot be read."""

    cursors: dict[str, int] = {}
    highest: int = 0
    letters: list[str] = []
    refused: list[Refusal] = []
    error: str = ""


def _in_the_log(manifest: Manifest) -> _InTheLog:
    if not Path(manifest.log_path).exists():
        return _InTheLog()
    try:
        with open_log(Path(manifest.log_path)).reader() as reader, reader.snapshot() as log:
            letters = [
                f"{letter.event_id or 'cursor ' + str(letter.cursor)}, {letter.exporter}:"
                f" {letter.reason}"
                for letter in log.dead_letters(manifest.pipeline)
            ]
            cursors = log.cursors(manifest.pipeline)
            refused = log.refusals(manifest.pipeline)
            return _InTheLog(cursors, log.max_cursor(), letters, refused)
    except LogError as error:
        return _InTheLog(error=str(error))


def _spools(pipeline_dir: Path) -> Iterator[SpoolStatus]:
    for directory in sorted(spool_directories(pipeline_dir)):
        with suppress(FileNotFoundError):  # its shipper has just done with it
            yield describe_spool(directory)


def describe_spool(directory: Path) -> SpoolStatus:
    """Look into one spool without moving anything; reads what is pending."""
    reader = SpoolReader(directory)
    try:
        alive = is_alive(directory)
        if not alive:
            reader.finish()
        control = reader.control
        stored = control.stored_number if control.is_whole else 0
        shipped = load_notes(directory).shipped
        return SpoolStatus(
            producer=directory.name,
            alive=alive,
            pending=0 if shipped else _count_after(reader, stored),
            unexported=max(stored - control.exported_number, 0),
            undelivered=control.undelivered if control.is_whole else 0,
            dropped=control.believable_dropped,
            end_unstored=not (alive or shipped),
        )
    finally:
        reader.close()


def _count_after(reader: SpoolReader, stored: int) -> int:
    last = stored
    while frames := reader.read(_READ_AT_ONCE):
        last = max(last, frames[-1].number)
    return last - stored
