"""`realm export`: all events that match, into a file."""

import sys
from contextlib import closing
from pathlib import Path
from typing import Any, Final

import click

from realm_telemetry.cli.command import command, json_option, settings
from realm_telemetry.cli.filter_options import filter_options, to_filters
from realm_telemetry.cli.problems import MissingExtraError
from realm_telemetry.cli.terminal import ProgressLine, json_note, note
from realm_telemetry.errors import counted
from realm_telemetry.transfer.exports import STDOUT, ExportReport, open_source, write_events
from realm_telemetry.transfer.formats import FORMATS, MissingPackageError, format_of

_BINARY: Final = "{what} is not for a terminal. Name a file with --output, or redirect."


@command(
    examples=(
        ("realm export --since 2025-11-29 --output events.jsonl", "For an import, or a backup."),
        ("realm export --channel eval --output evals.csv", "For a spreadsheet."),
        ("realm export --output all.jsonl.gz", "Everything, compressed."),
        ("realm export --since 7d --severity error | head -n 3", "JSON lines to stdout."),
    )
)
@click.option(
    "--output",
    "-o",
    type=click.Path(path_type=Path, dir_okay=False, allow_dash=True),
    default="-",
    metavar="FILE",
    help="Where to write; - is stdout.  [default: -]",
)
@click.option(
    "--format",
    "form",
    type=click.Choice(FORMATS),
    help="By the file's name if not given, else jsonl.",
)
@click.option("--gzip", "compress", is_flag=True, help="Compress; so does a name in .gz.")
@click.option("--url", help="Export from the service at this address, not from the log's file.")
@json_option("Print what was written as a JSON object on stderr.")
@filter_options
def export(
    output: Path, form: str | None, compress: bool, url: str | None, as_json: bool, **filters: Any
) -> None:
    """Write all events that match to a file, in order of arrival.

    The whole event with the resource of its producer. `realm import` reads JSON lines back
    without loss. A file has its name only once it is whole: Ctrl-C leaves what was there before.
    """
    wanted = to_filters(filters)
    named, compressed = format_of(output)
    form, compress = form or named or "jsonl", compress or compressed
    _check(output, form, compress)
    with ProgressLine("Exporting") as progress:
        try:
            with closing(open_source(settings(), url, progress)) as source:
                report = write_events(
                    source, wanted, output, format=form, compress=compress, progress=progress
                )
        except MissingPackageError as error:
            raise MissingExtraError(f"export --format {form}", error.extra, error.package) from None
    _print_report(report, as_json)


def _check(output: Path, form: str, compress: bool) -> None:
    if form == "parquet" and compress:
        raise click.UsageError("Parquet is compressed inside; leave --gzip and .gz out.")
    if output == STDOUT and sys.stdout.isatty() and (compress or form == "parquet"):
        what = "A compressed export" if compress else "Parquet"
        raise click.UsageError(_BINARY.format(what=what))


def _print_report(report: ExportReport, as_json: bool) -> None:
    if as_json:
        json_note(report)
    else:
        note(f"{counted(report.events, 'event')} written to {report.output}")
