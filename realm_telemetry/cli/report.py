"""`realm report`: a run as Markdown, for people."""

from contextlib import closing

import click

from realm_telemetry.cli.command import command, settings
from realm_telemetry.cli.show import unknown_run
from realm_telemetry.cli.sources import open_source
from realm_telemetry.cli.terminal import note, styled_line
from realm_telemetry.kinds.line import printable


@command(
    examples=(
        ("realm report r7", "What it was, how it ended and why."),
        ("realm report r7 > r7.md", "To a file."),
    )
)
@click.argument("run")
@click.option("--url", help="Ask this service, not the one in the settings.")
@click.option("--log", "from_log", is_flag=True, help="Read the log, though a service runs.")
def report(run: str, url: str | None, from_log: bool) -> None:
    """Write a run as Markdown, for people.

    What it was, how it ended and why, its last checkpoints, the exception with its traceback, and
    the last notable events. From the service if it runs, else from the log.
    """
    with closing(open_source(settings(), url=url, from_log=from_log, report=note)) as source:
        note(f"Reading {source.name}.")
        text = source.report(run)
        if text is None:
            raise unknown_run(source, run)
    styled_line(printable(text.rstrip("\n"), lines=True))
