"""`realm query`: the history, newest first."""

from collections.abc import Iterable, Sequence
from contextlib import closing
from typing import Any

import click

from realm_telemetry.cli.command import command, json_option, settings
from realm_telemetry.cli.event_text import event_text
from realm_telemetry.cli.filter_options import filter_options, to_filters
from realm_telemetry.cli.sources import Listing, LogBackend, Row, open_source
from realm_telemetry.cli.terminal import (
    cell,
    colour,
    json_document,
    json_line,
    make_table,
    note,
    print_table,
    styled_line,
)
from realm_telemetry.cli.times import times
from realm_telemetry.kinds.catalog import CHANNEL_ICONS, SEVERITY_ICONS, event_to_dict, kinds
from realm_telemetry.log.filters import Filters

SEVERITY_STYLES = {"success": "green", "warning": "yellow", "error": "red"}


@command(
    examples=(
        ("realm query --since 24h --severity error", "What failed since this time yesterday."),
        ("realm query --severity error --details -n 3", "The last failures, with tracebacks."),
        ("realm query --kind checkpoint_saved,checkpoint_promoted -n 20", "The last checkpoints."),
        ('realm query --q "out of memory" --has worker_id:w1', "Words, and a detail."),
        ("realm query --channel eval --jsonl | head -n 3", "One JSON object a line."),
    )
)
@click.option(
    "--limit",
    "-n",
    type=click.IntRange(1),
    default=100,
    show_default=True,
    help="The most events to print.",
)
@click.option("--details", "-d", is_flag=True, help="Print the details below each message.")
@json_option("Print one JSON array.")
@click.option("--jsonl", is_flag=True, help="Print one JSON object a line.")
@click.option("--url", help="Ask the service at this address, not the log's file.")
@click.option("--log", "log_url", metavar="URL", help="Read the log at this URL of PostgreSQL.")
@filter_options
def query(
    limit: int,
    details: bool,
    as_json: bool,
    jsonl: bool,
    url: str | None,
    log_url: str | None,
    **filters: Any,
) -> None:
    """Search the history.

    Prints events by time, newest first; for --q by arrival. On stderr: how many match in all, and
    the cursor up to which the log was looked at.
    """
    if as_json and jsonl:
        raise click.UsageError("--json and --jsonl exclude each other.")
    if url and log_url:
        raise click.UsageError("--url and --log exclude each other.")
    wanted = to_filters(filters)
    chosen = settings()
    source = (
        LogBackend(chosen, log_url)
        if url is None
        else open_source(chosen, url=url, from_log=False, report=note)
    )
    with closing(source):
        listing = source.newest(wanted, limit)
        if jsonl:
            shown = _print_lines(listing.rows)
        elif details and not as_json:
            shown = _print_details(listing.rows)
        else:
            shown = _print_all(list(listing.rows), as_json)
    note(summary(listing, shown))
    if not (shown or as_json or jsonl):
        note(_why_nothing(wanted))


def summary(listing: Listing, shown: int) -> str:
    """Return how many events are shown of how many, and as of when."""
    plus = "+" if listing.relation == "gte" else ""
    total = shown if listing.total is None else max(listing.total, shown)
    as_of = "" if listing.as_of is None else f", as of cursor {listing.as_of}"
    return f"{shown:,} of {total:,}{plus} events{as_of}"


def _why_nothing(wanted: Filters) -> str:
    """Return what to try where nothing matches."""
    known = {spec.kind for spec in kinds()}
    unknown = [kind for kind in wanted.kinds if kind not in known]
    if unknown:
        return f"The catalog has no kind {', '.join(unknown)}; realm kinds lists those it has."
    return "Leave out a filter, or look further back with --since."


def _print_lines(rows: Iterable[Row]) -> int:
    shown = 0
    for row in rows:
        json_line(event_to_dict(row.event, row.cursor))
        shown += 1
    return shown


def _print_details(rows: Iterable[Row]) -> int:
    """Print events with their details, whole at any width."""
    coloured, clock, shown = colour(), times(), 0
    note(f"Times in {clock.zone}.")
    for row in rows:
        when = clock.short(row.event.time_unix_nano)
        styled_line(event_text(row.event, when, coloured=coloured, details=True))
        shown += 1
    return shown


def _print_all(rows: Sequence[Row], as_json: bool) -> int:
    if as_json:
        json_document([event_to_dict(row.event, row.cursor) for row in rows])
    elif rows:
        _print_table(rows)
    return len(rows)


def _print_table(rows: Sequence[Row]) -> None:
    heading, moments = times().column("time", [row.event.time_unix_nano for row in rows])
    table = make_table((heading, "channel", "kind", "message"))
    for row, moment in zip(rows, moments, strict=True):
        event = row.event
        style = SEVERITY_STYLES.get(event.severity, "")
        icon = SEVERITY_ICONS.get(event.severity, " ")
        table.add_row(
            cell(moment, "dim"),
            cell(f"{CHANNEL_ICONS.get(event.channel, ' ')} {event.channel}"),
            cell(event.kind, "bold"),
            cell(f"{icon} {event.message}", style),
        )
    print_table(table)
