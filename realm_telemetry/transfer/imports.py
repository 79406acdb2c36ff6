"""Import files of older systems, and exports, into the home's log.

A second import of the same file adds nothing: ids come from the file and its line numbers, and an
exported event keeps its own. Lines that are not events are reported with their number and kept in
a file, to be corrected and imported.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from datetime import tzinfo
from pathlib import Path
from typing import BinaryIO, Final, Literal

import msgspec

from realm_telemetry.config import Settings, load_settings
from realm_telemetry.errors import ConfigError, LogError
from realm_telemetry.event import format_time
from realm_telemetry.home import IMPORTS, make_private_directory
from realm_telemetry.log import LogReader
from realm_telemetry.transfer.inputs import (
    Batch,
    Broken,
    Found,
    Input,
    UnknownFormatError,
    inputs_of,
)
from realm_telemetry.transfer.sinks import IntoLog, Nowhere, Sink
from realm_telemetry.transfer.source import Progress, no_progress, open_log
from realm_telemetry.values.conversions import safe_text

Outcome = Literal["imported", "dry_run", "own_log", "empty"]

MAX_EXAMPLES: Final = 10


class BrokenLine(msgspec.Struct, frozen=True):
    """A line or row that is no event, and why."""

    number: int
    reason: str


class ImportReport(msgspec.Struct):
    """What became of one file, or of one table of it.

    outcome: own_log is a file that is this home's log already, to which nothing was done.
    unit: what is counted, line or row. taken, already: events stored now, and known before.
    broken: lines or rows that are no event; examples has the first of them, kept_aside the file
        that holds them all. blank: empty lines.
    without_zone, with_zone: times by whether they named one; zone: what the former were read as.
    first, last: the earliest and latest time of the events.
    damage: where and why the file cannot be read any further; what stands before is imported.
    """

    path: str
    kind: str
    outcome: Outcome = "imported"
    unit: str = "line"
    seen: int = 0
    taken: int = 0
    already: int = 0
    broken: int = 0
    blank: int = 0
    without_zone: int = 0
    with_zone: int = 0
    zone: str = ""
    first: str | None = None
    last: str | None = None
    examples: list[BrokenLine] = []
    kept_aside: str | None = None
    damage: str = ""


class RejectedLines:
    """The files of rejected lines and of their reasons; the first line replaces earlier files.

    directory: None keeps nothing. unit: what the numbers count, line or row.
    """

    def __init__(self, directory: Path | None, name: str, unit: str) -> None:
        self._directory = directory
        self._broken = Path(directory or "", f"{name}.broken")
        self._why = Path(directory or "", f"{name}.reasons")
        self._unit = unit
        self._lines: BinaryIO | None = None
        self._reasons: BinaryIO | None = None

    @property
    def path(self) -> str | None:
        """Where lines are kept, None as long as there are none."""
        return str(self._broken) if self._lines else None

    def keep(self, broken: Broken) -> None:
        """Write a line. Raises OSError."""
        if self._directory is None:
            return
        if self._lines is None or self._reasons is None:
            make_private_directory(self._directory)
            self._lines = self._broken.open("wb")
            self._reasons = self._why.open("wb")
        self._lines.write(broken.data)
        if broken.reason:
            self._reasons.write(f"{self._unit} {broken.number}: {broken.reason}\n".encode())

    def close(self) -> None:
        """Close the files."""
        for file in (self._lines, self._reasons):
            if file is not None:
                file.close()


_JSONL: Final = "jsonl"


def import_files(
    paths: Iterable[str | Path],
    *,
    home: str | Path | None = None,
    zone: tzinfo | None = None,
    dry_run: bool = False,
    progress: Progress = no_progress,
    started: Callable[[Path], None] = lambda path: None,
) -> list[ImportReport]:
    """Import files into the home's log; a report for each, or for each table of one.

    zone: of times that name none, in JSON lines and the older RealmService's events; this
        machine's if None. Those of an older battle log are UTC.
    dry_run: read and report; write nothing. started: called before each file.
    Raises UnknownFormatError, OwnLinesError, LogError, OSError; what was taken before stays.
    """
    settings = load_settings({"home": home})
    return [
        report
        for path in map(Path, paths)
        for report in import_file(path, settings, zone, dry_run, progress, started)
    ]


def import_file(
    path: Path,
    settings: Settings,
    zone: tzinfo | None,
    dry_run: bool,
    progress: Progress = no_progress,
    started: Callable[[Path], None] = lambda path: None,
) -> Iterator[ImportReport]:
    """Import one file; see `import_files`."""
    started(path)
    if is_own_log(path, settings.log_path):
        yield ImportReport(safe_text(str(path)), "this home's log", "own_log")
        return
    if not path.is_file():
        fix = "An import reads it twice: save it to a file first."
        raise UnknownFormatError(str(path), "is not a file but a pipe or a device", fix)
    _refuse_own_lines(path, settings)
    if settings.log_path.exists() and not dry_run:
        open_log(settings, progress).close()
    for found in _inputs_of(path, zone):
        report = _import_input(path, found, settings, dry_run, progress)
        times = found.times
        report.without_zone, report.with_zone = times.without_zone, times.with_zone
        report.zone = times.zone_name()
        yield report


def _inputs_of(path: Path, zone: tzinfo | None) -> list[Found]:
    found = inputs_of(path, zone)
    if not found:
        raise UnknownFormatError(
            str(path),
            "has neither a table battle_log nor a table events",
            "Name an older jobs.db, realm_state.db or events.jsonl, or an export in JSON lines.",
        )
    return found


def _import_input(
    path: Path, found: Found, settings: Settings, dry_run: bool, progress: Progress
) -> ImportReport:
    sink: Sink = Nowhere(settings.log_path) if dry_run else IntoLog(settings.log_path)
    outcome: Outcome = "dry_run" if dry_run else "imported"
    with closing(sink):
        source = found.open(sink.origins())
        report = ImportReport(safe_text(str(path)), source.kind, outcome, source.unit)
        place, name = (
            None if dry_run else settings.home / IMPORTS,
            f"{path.name}-{source.producer}",
        )
        with closing(RejectedLines(place, name, source.unit)) as rejected:
            _Run(report, sink, rejected, progress).run(source)
    return report


def is_own_log(path: Path, log_path: Path) -> bool:
    """Whether a file is the home's log: an older one is extended in place by the first writer."""
    return path.exists() and log_path.exists() and path.samefile(log_path)


class OwnLinesError(ConfigError):
    """A file is what the exporter jsonl of this home writes: its events are in the log."""


def _refuse_own_lines(path: Path, settings: Settings) -> None:
    """Older lines have no ids, so what our exporter wrote would come back as further events."""
    given = settings.options.get(_JSONL, {}).get("path")
    own = Path(given).expanduser() if given else settings.home / "status" / "events.jsonl"
    if own.exists() and path.samefile(own) and _is_writing(settings):
        raise OwnLinesError(
            str(path),
            "is where this home's exporter jsonl writes what the log has already",
            "Save the lines from before it began to a file of their own, and import that.",
        )


def _is_writing(settings: Settings) -> bool:
    if _JSONL in settings.exporters:
        return True
    try:
        with LogReader(settings.log_path) as reader:
            return _JSONL in reader.now.known_exporters()
    except LogError:  # none yet, or not brought up to date; then it has had no exporter either
        return False


class _Run:
    """One file's way into a sink."""

    def __init__(
        self, report: ImportReport, sink: Sink, rejected: RejectedLines, progress: Progress
    ) -> None:
        self._report = report
        self._sink = sink
        self._rejected = rejected
        self._progress = progress
        self._times: list[int] = []

    def run(self, source: Input) -> None:
        self._sink.begin(source.producer, source.origin)
        last = 0
        for batch in source.batches():
            self._take(batch)
            last = max((ends[-1][1] for ends in batch.settled.values() if ends), default=last)
        self._sink.end(source.producer, last)
        report = self._report
        if self._times:
            report.first, report.last = map(format_time, (min(self._times), max(self._times)))
        report.kept_aside = self._rejected.path and safe_text(self._rejected.path)
        if source.damage:
            report.damage = f"{report.path}: {report.unit} {report.seen}: {source.damage}"

    def _take(self, batch: Batch) -> None:
        report = self._report
        taken = self._sink.take(batch)
        report.seen += batch.seen
        report.blank += batch.blank
        report.taken += taken.stored
        report.already += taken.already
        for broken in batch.broken:
            self._rejected.keep(broken)
            if broken.reason:
                report.broken += 1
                if len(report.examples) < MAX_EXAMPLES:
                    report.examples.append(BrokenLine(broken.number, broken.reason))
        if batch.events:
            span = [event.time_unix_nano for event in batch.events]
            self._times = [min(self._times + span), max(self._times + span)]
        self._progress(report.taken + report.already, batch.share)
