"""`realm logs`: what the command of `realm run` printed, and with -f what comes."""

import time
from collections.abc import Iterator
from contextlib import closing
from typing import Final

import click

from realm_telemetry.cli.command import command, settings
from realm_telemetry.cli.problems import NoOutputError
from realm_telemetry.cli.show import unknown_run
from realm_telemetry.cli.sources import Backend, open_source
from realm_telemetry.cli.terminal import end_when_nobody_reads, note, styled_line
from realm_telemetry.client import RunOutput, ServiceUnreachableError
from realm_telemetry.kinds.line import printable

MAX_LINES: Final = 10_000
LOOK_S: Final = 0.3


@command(
    examples=(
        ("realm logs r7", "The last 100 lines that the run printed."),
        ("realm logs r7 --tail 2000 | grep loss", "More of them, for another program."),
        ("realm logs r7 -f", "Those, and what comes until the run ends; Ctrl-C ends before."),
    )
)
@click.argument("run")
@click.option("--follow", "-f", is_flag=True, help="Go on with what comes, until the run ends.")
@click.option(
    "--tail",
    "-n",
    type=click.IntRange(0, MAX_LINES),
    default=100,
    show_default=True,
    help="How many lines to begin with.",
)
@click.option("--url", help="Ask this service, not the one in the settings.")
@click.option("--log", "from_log", is_flag=True, help="Read the home, though a service runs.")
def logs(run: str, follow: bool, tail: int, url: str | None, from_log: bool) -> int:
    """Print what the command of a run printed, and with -f what comes.

    `realm run` keeps it: without secrets and colours, a progress bar as one line. From the service
    if it runs, else from the home.
    """
    try:
        with closing(open_source(settings(), url=url, from_log=from_log, report=note)) as source:
            note(f"Reading {source.name}.")
            if follow:
                end_when_nobody_reads()
            for text in _pieces(source, run, tail, follow=follow):
                styled_line(printable(text.rstrip("\n"), lines=True))
    except KeyboardInterrupt:
        return 0
    return 0


def _pieces(source: Backend, run: str, tail: int, *, follow: bool) -> Iterator[str]:
    piece = source.output(run, tail=tail)
    if piece is None:
        raise unknown_run(source, run) if source.run(run) is None else NoOutputError(run)
    while piece is not None:
        if piece.text:
            yield piece.text
        if not (follow and piece.goes_on):
            return
        if not piece.text:
            time.sleep(LOOK_S)
        piece = _next(source, run, piece)


def _next(source: Backend, run: str, piece: RunOutput) -> RunOutput | None:
    """Read on; a service that is being started again is waited for."""
    try:
        return source.output(run, offset=piece.next_offset)
    except ServiceUnreachableError:
        return piece._replace(text="")
