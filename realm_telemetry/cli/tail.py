"""`realm tail`: the end of the log, and with -f what comes."""

import time
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any, Final

import click

from realm_telemetry.cli.command import command, json_option, settings
from realm_telemetry.cli.event_text import event_text
from realm_telemetry.cli.filter_options import filter_options, to_filters
from realm_telemetry.cli.sources import Backend, Row, open_source
from realm_telemetry.cli.terminal import colour, end_when_nobody_reads, json_line, note, styled_line
from realm_telemetry.cli.times import Times, times
from realm_telemetry.config import Settings
from realm_telemetry.errors import LogError
from realm_telemetry.kinds.catalog import event_to_dict
from realm_telemetry.log.filters import Filters

WAIT_S: Final = 0.2


@command(
    examples=(
        ("realm tail", "The last 50 events."),
        ("realm tail -f --channel training,checkpoint", "Those, and what comes; Ctrl-C ends."),
        ("realm tail -n 10 --severity warning,error --since 24h", "What went wrong since then."),
        ("realm tail -n 500 --json --has step:183000", "A JSON object a line, for a program."),
    )
)
@click.option("--follow", "-f", is_flag=True, help="Go on with what arrives, until Ctrl-C.")
@click.option(
    "--number",
    "-n",
    type=click.IntRange(0, 100_000),
    default=50,
    show_default=True,
    help="How many events to begin with.",
)
@click.option("--details", "-d", is_flag=True, help="Print the details below each message.")
@json_option("Print one JSON object a line.")
@click.option("--url", help="Read this service, not the one in the settings.")
@click.option("--log", "from_log", is_flag=True, help="Read the log's file, though a service runs.")
@filter_options
def tail(
    follow: bool,
    number: int,
    details: bool,
    as_json: bool,
    url: str | None,
    from_log: bool,
    **filters: Any,
) -> int:
    """Print the last events, and with -f those that come.

    Reads the service if it runs, else the log's file, and says on stderr which of them. With -f
    nothing is missed or repeated: a lost connection goes on where it was.
    """
    wanted = to_filters(filters)
    try:
        with closing(_open(settings(), url, from_log, wait=follow)) as source:
            shown = times()
            note(f"Reading {source.name}{'' if as_json else f'; times in {shown.zone}'}.")
            show = _printer(as_json, details, shown)
            for row in _rows(source, wanted, number, follow=follow):
                show(row)
    except KeyboardInterrupt:
        return 0
    return 0


def _rows(source: Backend, filters: Filters, number: int, *, follow: bool) -> Iterator[Row]:
    newest = source.newest(filters, max(number, 1))
    yield from reversed(list(newest.rows)[:number])
    if follow:
        end_when_nobody_reads()
        yield from source.follow(filters, newest.as_of)


def _open(chosen: Settings, url: str | None, from_log: bool, *, wait: bool) -> Backend:
    """Open a source; where there is no log yet and we follow anyway, wait for that too."""
    patient = wait and url is None and not chosen.log_path.exists()
    noted = False
    while True:
        try:
            return open_source(chosen, url=url, from_log=from_log, report=note)
        except LogError:
            if not patient:
                raise
        if not noted:
            note(f"There is no log at {chosen.log_path} yet; waiting for its first event.")
            noted = True
        time.sleep(WAIT_S)


def _printer(as_json: bool, details: bool, shown: Times) -> Callable[[Row], None]:
    coloured = colour()

    def show(row: Row) -> None:
        if as_json:
            json_line(event_to_dict(row.event, row.cursor))
        else:
            when = shown.short(row.event.time_unix_nano)
            styled_line(event_text(row.event, when, coloured=coloured, details=details))

    return show
