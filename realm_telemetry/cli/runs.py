"""`realm runs`: how each run goes, or why it ended."""

from collections.abc import Sequence
from contextlib import closing
from typing import TYPE_CHECKING, Any, Final

import click

from realm_telemetry.cli.command import command, json_option, settings
from realm_telemetry.cli.sources import open_source
from realm_telemetry.cli.terminal import (
    cell,
    json_document,
    make_table,
    note,
    print_table,
    without_spare,
)
from realm_telemetry.cli.times import times, utc_option
from realm_telemetry.errors import counted
from realm_telemetry.folds.runs import WARNINGS, statuses
from realm_telemetry.log.filters import InvalidFilterError
from realm_telemetry.log.runs import RunsWanted

if TYPE_CHECKING:
    from rich.text import Text

STYLES: Final = {
    "running": "cyan",
    "completed": "green",
    **dict.fromkeys(("stalled", "paused", "cancelled"), "yellow"),
}
"""Every other end is a bad one."""

_BAD: Final = "red"


@command(
    examples=(
        ("realm runs", "The newest runs."),
        ("realm runs --status failed,killed,lost --since 7d", "What went wrong this week."),
        ("realm runs --warnings any", "What was NaN, spiked or hung, however it ended."),
        ("realm runs --tag baseline", "Those that somebody gave this tag."),
        ("realm runs --q train.py --limit 5 --json", "For a program."),
    )
)
@click.option("--status", metavar="NAMES", default="", help=f"Some of {', '.join(statuses())}.")
@click.option(
    "--warnings",
    metavar="NAMES",
    default="",
    help=f"Had some of {', '.join(WARNINGS)}, or any of them, however it ended.",
)
@click.option("--tag", "tags", metavar="TEXT", multiple=True, help="Has this tag; repeated, all.")
@click.option("--since", metavar="TIME", help="Heard of since: 24h or 7d ago, a date, ISO 8601.")
@click.option("--q", "words", metavar="WORDS", default="", help="Part of the id or the command.")
@click.option(
    "--limit",
    "-n",
    type=click.IntRange(1),
    default=50,
    show_default=True,
    help="The most runs to print.",
)
@json_option("Print a JSON array.")
@utc_option
@click.option("--url", help="Ask this service, not the one in the settings.")
@click.option("--log", "from_log", is_flag=True, help="Read the log, though a service runs.")
def runs(as_json: bool, url: str | None, from_log: bool, limit: int, **given: Any) -> None:
    """List runs: how each goes, or why it ended.

    Newest first by their start. From the service if it runs, else from the log. A process that
    trains without a run id is a run of its own, named by its producer id.
    """
    status = _names("status", given["status"], tuple(statuses()))
    warnings = _names("warnings", given["warnings"], ("any", *WARNINGS))
    wanted = RunsWanted(status, _since(given["since"]), given["words"], limit=limit)
    with closing(open_source(settings(), url=url, from_log=from_log, report=note)) as source:
        note(f"Reading {source.name}.")
        found = source.runs(wanted, warnings, given["tags"])
    if as_json:
        json_document(found)
    elif found:
        _print(found)
    note(counted(len(found), "run"))


def _names(option: str, text: str, known: Sequence[str]) -> tuple[str, ...]:
    """Read a comma list. Raises InvalidFilterError."""
    names = tuple(name.strip() for name in text.split(",") if name.strip())
    for name in names:
        if name not in known:
            what = "warning" if option == "warnings" else option
            hint = f"Use some of {', '.join(known)}"
            raise InvalidFilterError(option, f"there is no {what} {name!r}", hint)
    return names


def _since(text: str | None) -> int | None:
    return None if text is None else times().read("since", text)


def _print(found: Sequence[dict[str, Any]]) -> None:
    started, moments = times().column("started", [str(run["started_at"]) for run in found])
    columns = ("run", "status", "step", "loss", started, "duration", "ranks", "reason")
    whole = [_row(run, moment) for run, moment in zip(found, moments, strict=True)]
    shown, rows = without_spare(columns, whole, ("ranks", "duration", "loss", "step", started))
    table = make_table(shown, numbers=("step", "loss", "duration", "ranks"))
    for row in rows:
        table.add_row(*row)
    print_table(table)


def _row(run: dict[str, Any], moment: str) -> Sequence["Text"]:
    status = str(run["status"])
    return (
        cell(str(run["run_id"]), "bold"),
        cell(status, STYLES.get(status, _BAD)),
        cell(_step(run)),
        cell(_number(run["loss"])),
        cell(moment, "dim"),
        cell(duration(run["duration_s"])),
        cell(_ranks(run)),
        cell(str(run["reason"] or "")),
    )


def _step(run: dict[str, Any]) -> str:
    if run["step"] is None:
        return ""
    total = run["total_steps"]
    return _number(run["step"]) + ("" if total is None else f"/{_number(total)}")


def _number(value: Any) -> str:
    if type(value) is int:
        return f"{value:,}"
    if type(value) is float:
        return f"{value:.4g}"
    return "" if value is None else str(value)


def _ranks(run: dict[str, Any]) -> str:
    health = run["health"]
    return str(health).rpartition(" ")[0] if health else f"{run['processes']:,}"


def duration(seconds: float) -> str:
    """Return a duration for people: 12 s, 3:25, 1:02:03 or 2 d 3 h."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    hours, minutes = divmod(minutes, 60)
    if hours >= 24:
        return f"{hours // 24} d {hours % 24} h"
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
