"""`realm report`: a run as one document, for people."""

from contextlib import closing
from typing import TYPE_CHECKING

import click

from realm_telemetry.cli.command import command, settings
from realm_telemetry.cli.show import unknown_run
from realm_telemetry.cli.sources import open_source
from realm_telemetry.cli.terminal import note, styled_line
from realm_telemetry.kinds.line import printable

if TYPE_CHECKING:
    from realm_telemetry.folds.report import ReportFormat


@command(
    examples=(
        ("realm report r7", "What it was, how it ended and why."),
        ("realm report r7 > r7.md", "To a file."),
        ("realm report r7 --format html > r7.html", "With its curves, to send or keep."),
    )
)
@click.argument("run")
@click.option(
    "--format",
    "wanted",
    type=click.Choice(("md", "html")),
    default="md",
    show_default=True,
    help="Markdown, or one HTML document with its curves.",
)
@click.option("--url", help="Ask this service, not the one in the settings.")
@click.option("--log", "from_log", is_flag=True, help="Read the log, though a service runs.")
def report(run: str, wanted: "ReportFormat", url: str | None, from_log: bool) -> None:
    """Write a run as Markdown or HTML, for people.

    What it was, how it ended and why, its last checkpoints, the exception with its traceback, its
    curves, the last notable events and the last lines that it printed. From the service if it
    runs, else from the log.
    """
    with closing(open_source(settings(), url=url, from_log=from_log, report=note)) as source:
        note(f"Reading {source.name}.")
        text = source.report(run, wanted)
        if text is None:
            raise unknown_run(source, run)
    styled_line(printable(text.rstrip("\n"), lines=True))
