"""`realm watch`: what shippers look for in runs, and what they would have found."""

from collections import Counter
from typing import Any, Final

import click

from realm_telemetry.cli.command import CommandGroup, command, group, json_option, settings
from realm_telemetry.cli.terminal import (
    ProgressLine,
    cell,
    json_document,
    line,
    make_table,
    note,
    print_table,
)
from realm_telemetry.cli.times import times, utc_option
from realm_telemetry.errors import counted
from realm_telemetry.event import format_time
from realm_telemetry.kinds.catalog import render
from realm_telemetry.log.engine import open_log
from realm_telemetry.log.filters import Filters
from realm_telemetry.shipper.watch import Backtest, Found, WatchSettings, watch_settings

_SHOWN: Final = 200


@group(
    examples=(
        ("realm watch", "The rules and their limits."),
        ("realm watch backtest --since 7d", "What they would have found, and when."),
    )
)
@click.pass_context
def watch(ctx: click.Context) -> None:
    """Show the rules that runs are watched by, and try them on the past.

    The table [watch] of realm.toml sets them; shippers follow them.
    """
    if ctx.invoked_subcommand is None:
        chosen = _settings()
        for name in WatchSettings.__struct_fields__:
            value = getattr(chosen, name)
            line(f"{name:<16} {str(value).lower() if isinstance(value, bool) else value}")


_GROUP: CommandGroup = watch


@command(examples=(("realm watch backtest --since 24h --json", "For a program."),))
@click.option("--since", default="7d", show_default=True, metavar="TIME", help="From when on.")
@click.option("--run", "run_ids", multiple=True, metavar="ID", help="Only of this run.")
@utc_option
@json_option("Print a JSON array.")
def backtest(since: str, run_ids: tuple[str, ...], as_json: bool) -> None:
    """Say when each rule would have fired over the log, with the settings of now.

    Nothing is stored. Events are read in the order of their arrival.
    """
    found = _backtest(since, run_ids)
    if as_json:
        json_document([_shape(each) for each in found])
    elif found:
        _print(found)
    counts = Counter(each.kind for each in found)
    note(", ".join(f"{count:,} {kind}" for kind, count in counts.items()) or "Nothing was found.")


_GROUP.add_command(backtest, "backtest")


def _settings() -> WatchSettings:
    return watch_settings(str(settings().home))


def _backtest(since: str, run_ids: tuple[str, ...]) -> list[Found]:
    tested = Backtest(_settings())
    filters = Filters(since_unix_nano=times().read("since", since), runs=run_ids)
    found: list[Found] = []
    events = 0
    log = open_log(settings().log_path)
    with log.reader() as reader, ProgressLine("Reading") as progress:
        for step in reader.arrivals(filters):
            for row in step.rows:
                found += tested.read(row.event)
            events += len(step.rows)
            progress(events, None)
    note(f"Read {counted(events, 'event')} of {log.place}.")
    return found


def _shape(found: Found) -> dict[str, Any]:
    return {
        "timestamp": format_time(found.time_unix_nano),
        "run_id": found.run_id,
        "rank": found.rank,
        "kind": found.kind,
        "details": found.details,
    }


def _print(found: list[Found]) -> None:
    shown = found[-_SHOWN:]
    heading, moments = times().column("time", [each.time_unix_nano for each in shown])
    table = make_table((heading, "run", "rank", "kind", "message"), numbers=("rank",))
    for each, moment in zip(shown, moments, strict=True):
        table.add_row(
            cell(moment, "dim"),
            cell(each.run_id, "bold"),
            cell("" if each.rank is None else str(each.rank)),
            cell(each.kind),
            cell(render(each.kind, each.details)),
        )
    print_table(table)
    if len(found) > _SHOWN:
        note(f"These are the last {_SHOWN} of {len(found):,}; --json has all.")
