"""`realm stats`: how many events of what, and when."""

import time
from collections.abc import Mapping, Sequence
from typing import Any, Final

import click

from realm_telemetry.cli.command import command, json_option, settings
from realm_telemetry.cli.terminal import (
    GAP,
    bar,
    bar_columns,
    cell,
    json_document,
    make_table,
    note,
    print_table,
    widest,
)
from realm_telemetry.cli.times import Times
from realm_telemetry.errors import counted
from realm_telemetry.kinds.catalog import CHANNEL_ICONS, SEVERITY_ICONS
from realm_telemetry.kinds.line import printable
from realm_telemetry.log.engine import open_log
from realm_telemetry.log.filters import InvalidFilterError
from realm_telemetry.log.graphs import GROUPINGS

_ICONS: Final = {"channel": CHANNEL_ICONS, "severity": SEVERITY_ICONS}
_STYLES: Final = {"success": "green", "warning": "yellow", "error": "red"}


@command(
    examples=(
        ("realm stats", "By day and channel, the last seven days."),
        ("realm stats --since 24h --by hour,severity", "By hour and severity."),
        ("realm stats --by run,kind --since 30d", "How much of what each run brought."),
        ("realm stats --by kind --json", "For a program: an array of objects with a count."),
    )
)
@click.option("--since", default="7d", show_default=True, metavar="TIME", help="At or after.")
@click.option("--until", metavar="TIME", help="Before.")
@click.option(
    "--by",
    default="day,channel",
    show_default=True,
    metavar="NAMES",
    help=f"What to count by, a comma list of {', '.join(GROUPINGS)}.",
)
@json_option("Print a JSON array.")
def stats(since: str, until: str | None, by: str, as_json: bool) -> None:
    """Count events by channel and day, with bars.

    Days and hours are UTC. What retention has removed from the log is counted all the same.
    """
    names = _groupings(by)
    utc = Times(utc=True, now_ns=time.time_ns())
    since_ns = utc.read("since", since)
    until_ns = None if until is None else utc.read("until", until)
    with open_log(settings().log_path).reader() as reader:
        rows = reader.now.summary(names, since_ns, until_ns)
    if as_json:
        json_document(rows)
        return
    if rows:
        _print(names, rows)
    note(f"{counted(sum(row['count'] for row in rows), 'event')} since {utc.full(since_ns)}")


def _groupings(text: str) -> tuple[str, ...]:
    names = tuple(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))
    for name in names:
        if name not in GROUPINGS:
            known = ", ".join(GROUPINGS)
            raise InvalidFilterError("by", f"cannot count by {name!r}", f"Use some of {known}")
    if not names:
        raise InvalidFilterError("by", "names nothing", f"Use some of {', '.join(GROUPINGS)}")
    return names


def _print(names: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> None:
    """Print a row for each count; what repeats the row above is left blank."""
    table = make_table((*map(_heading, names), "events", ""), numbers=("events",))
    most = max(row["count"] for row in rows)
    shown = {name: [_shown(name, _text(row[name])) for row in rows] for name in names}
    shown["events"] = [f"{row['count']:,}" for row in rows]
    columns = bar_columns(sum(widest(_heading(name), texts) + GAP for name, texts in shown.items()))
    above: tuple[str, ...] = ()
    for row in rows:
        values = tuple(_text(row[name]) for name in names)
        table.add_row(
            *(cell(text) for text in _blank_repeats(names, values, above)),
            cell(f"{row['count']:,}"),
            cell(bar(row["count"], most, columns), _STYLES.get(row.get("severity", ""), "cyan")),
        )
        above = values
    print_table(table)


def _heading(name: str) -> str:
    return f"{name} (UTC)" if name in ("day", "hour") else name


def _blank_repeats(names: Sequence[str], values: Sequence[str], above: Sequence[str]) -> list[str]:
    shown = []
    same = bool(above)
    for position, (name, value) in enumerate(zip(names, values, strict=True)):
        same = same and above[position] == value
        shown.append("" if same else _shown(name, value))
    return shown


def _text(value: str | None) -> str:
    """Return a value as text; events may be without a run."""
    return "-" if value is None else value


def _shown(name: str, value: str) -> str:
    if name == "hour":
        return value[:16].replace("T", " ")
    icon = _ICONS.get(name, {}).get(value)
    return f"{icon} {value}" if icon else printable(value)
