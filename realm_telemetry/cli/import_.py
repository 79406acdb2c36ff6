"""`realm import`: files of the older systems, and exports of ours."""

from collections.abc import Callable
from datetime import UTC, tzinfo
from pathlib import Path
from typing import Final

import click

from realm_telemetry.cli.command import command, json_option, settings
from realm_telemetry.cli.problems import EXIT_PROBLEM, Problem, write_problem
from realm_telemetry.cli.terminal import ProgressLine, json_document, line, note
from realm_telemetry.cli.times import times, utc_option
from realm_telemetry.errors import counted
from realm_telemetry.transfer.imports import ImportReport, import_file


@command(
    examples=(
        ("realm import status/events.jsonl --dry-run", "What would be imported, and what not."),
        ("realm import status/events.jsonl", "The older status file."),
        ("realm import old/jobs.db old/realm_state.db", "The older battle log and event store."),
        ("realm import events.jsonl.gz --json", "An export of ours; the report for a program."),
        ("realm import status/events.jsonl --zone Europe/Berlin", "Written on a machine there."),
    )
)
@click.argument(
    "paths",
    nargs=-1,
    required=True,
    metavar="PATH ...",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
)
@click.option("--dry-run", is_flag=True, help="Read and tell; write nothing.")
@click.option(
    "--zone",
    metavar="NAME",
    help="Of times that name none, such as UTC or Europe/Berlin; this machine's by default."
    " Those of an older battle log are UTC.",
)
@utc_option
@json_option("Print the reports as a JSON array.")
def import_(paths: tuple[Path, ...], dry_run: bool, zone: str | None, as_json: bool) -> int:
    """Take over files of the older systems, and exports.

    Reads status/events.jsonl, the table battle_log of a jobs.db, the table events of a
    realm_state.db, a whole log of another home, and JSON lines of `realm export`, compressed or
    not. Importing a file again adds nothing, also where it has grown meanwhile. Every event counts
    as arriving now. Exit code 1 if a line or row could not be
    imported, or a file is damaged; what stands before the damage is imported.
    """
    chosen, named = settings(), parse_zone(zone)
    reports: list[ImportReport] = []
    show: Callable[[ImportReport], None] = (lambda report: None) if as_json else print_report
    for path in paths:
        with ProgressLine(f"{'Reading' if dry_run else 'Importing'} {path.name}") as progress:
            try:
                found = list(import_file(path, chosen, named, dry_run, progress))
            except KeyboardInterrupt:
                note("Interrupted. The events so far are in the log; the same command continues.")
                raise
        reports += found
        for report in found:
            show(report)
    if as_json:
        json_document(reports)
    damages = [report.damage for report in reports if report.damage]
    for damage in damages:
        write_problem(Problem("damaged_file", f"{damage}.", _DAMAGED, EXIT_PROBLEM), as_json)
    return EXIT_PROBLEM if damages or any(report.broken for report in reports) else 0


_DAMAGED: Final = (
    "All before it was read. Import a whole copy of the file to have the rest; no event is"
    " stored twice."
)


def parse_zone(name: str | None) -> tzinfo | None:
    """Return a zone by name. Raises click.UsageError."""
    from zoneinfo import ZoneInfo

    if name is None or name.upper() in ("UTC", "Z"):
        return None if name is None else UTC
    try:
        return ZoneInfo(name)
    except (ValueError, OSError, KeyError):
        raise click.UsageError(
            f"--zone: this machine knows no time zone {name!r}. Write a name such as Europe/Berlin."
        ) from None


def print_report(report: ImportReport) -> None:
    """Print what became of a file, for a person."""
    for text in report_lines(report):
        line(text)


def report_lines(report: ImportReport) -> list[str]:
    """Return a report in lines."""
    clock = times()
    if report.outcome == "own_log":
        return [
            f"{report.path} is this home's log. It was extended in place and lost nothing,"
            " so there is nothing to import."
        ]
    verb = "would be taken" if report.outcome == "dry_run" else "imported"
    lines = [f"{report.path}: {report.kind}, {counted(report.seen, report.unit)}"]
    lines.append(f"  {counted(report.taken, 'event')} {verb}, {report.already:,} there already")
    if report.first:
        first, last = map(clock.full, (report.first, report.last or report.first))
        lines.append(f"  from {first} to {last}")
    if report.without_zone:
        others = f"; {report.with_zone:,} with one" if report.with_zone else ""
        unzoned = counted(report.without_zone, "time")
        lines.append(f"  {unzoned} without a zone, read as {report.zone}{others}")
    if report.blank:
        lines.append(f"  {counted(report.blank, 'empty line')} left out")
    return lines + _broken_lines(report)


def _broken_lines(report: ImportReport) -> list[str]:
    if not report.broken:
        return []
    kept = f", kept in {report.kept_aside}" if report.kept_aside else ""
    lines = [f"  {counted(report.broken, report.unit)} could not be imported{kept}"]
    lines += [f"    {report.unit} {each.number}: {each.reason}" for each in report.examples]
    if report.broken > len(report.examples):
        lines.append(f"    ... and {report.broken - len(report.examples):,} more")
    return lines
