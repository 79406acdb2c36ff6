"""`realm replay`: events of the log, sent again."""

import time
from typing import Any, Final

import click

from realm_telemetry.cli.command import command, json_option, settings
from realm_telemetry.cli.filter_options import filter_options, to_filters
from realm_telemetry.cli.problems import EXIT_PROBLEM
from realm_telemetry.cli.terminal import ProgressLine, json_document, line
from realm_telemetry.config import Settings
from realm_telemetry.errors import counted
from realm_telemetry.log.filters import Filters
from realm_telemetry.transfer.replay import (
    LIVE,
    CursorMove,
    ReplayReport,
    replay_to_exporter,
    replay_to_service,
)

_OTHER: Final = "An exporter gets everything since a time; {what} for a service only."


@command(
    examples=(
        ("realm replay --since 24h", "The service here shows the last day again."),
        ("realm replay --since 2025-11-29 --to http://127.0.0.1:9866", "A second one gets it."),
        ("realm replay --run r7 --speed 10", "One run, ten times as fast as it was."),
        ("realm replay --since 7d --to jsonl", "An exporter gets the last week again."),
    )
)
@click.option(
    "--to",
    default=LIVE,
    show_default=True,
    metavar="live|URL|EXPORTER",
    help="The service of the settings, one at an address, or an exporter by name.",
)
@click.option("--speed", default="max", show_default=True, metavar="N|max", help="Times as fast.")
@json_option("Print what was done as a JSON document.")
@filter_options
def replay(to: str, speed: str, as_json: bool, **filters: Any) -> int:
    """Send events of the log again, to a service or an exporter.

    Ids stay, so nothing is stored twice. Another service then shows the pages and the state of the
    original; the one of this log shows the events again. Nothing goes to webhooks, unless
    --to webhook is given: an exporter's cursor is moved back, and it delivers from there again.
    """
    wanted, pace, chosen = to_filters(filters), parse_speed(speed), settings()
    if to != LIVE and "://" not in to:
        return _to_exporter(chosen, to, wanted, pace, filters, as_json)
    with ProgressLine("Replaying") as progress:
        report = replay_to_service(chosen, wanted, to, speed=pace, progress=progress)
    if as_json:
        json_document(report)
    else:
        for text in report_lines(report):
            line(text)
    return EXIT_PROBLEM if report.rejected else 0


def parse_speed(text: str) -> float | None:
    """Return how many times as fast, None for as fast as can be. Raises click.UsageError."""
    if text == "max":
        return None
    try:
        speed = float(text.removesuffix("x"))
    except ValueError:
        speed = 0.0
    if not 0.001 <= speed <= 1e9:
        raise click.UsageError(f"--speed: {text!r} is neither a number such as 10 nor max.")
    return speed


def _to_exporter(
    chosen: Settings,
    exporter: str,
    wanted: Filters,
    pace: float | None,
    filters: dict[str, Any],
    as_json: bool,
) -> int:
    others = [f"--{name}" for name, value in filters.items() if value and name != "since"]
    others += ["--speed"] if pace is not None else []
    if others:
        raise click.UsageError(_OTHER.format(what=f"{', '.join(others)} is"))
    since_ns = wanted.since_unix_nano
    if since_ns is None:
        raise click.UsageError("--since is missing: from when on the exporter is to deliver again.")
    moved = replay_to_exporter(chosen, exporter, min(since_ns, time.time_ns()))
    if as_json:
        json_document(moved)
    else:
        for text in moved_lines(exporter, moved):
            line(text)
    return 0


def report_lines(report: ReplayReport) -> list[str]:
    """Return in lines what was sent to a service."""
    sent = counted(report.events, "event")
    if report.same_log:
        lines = [
            f"{sent} replayed by the service at {report.target}, which has this same log:"
            " nothing was stored twice, and its state is what it was."
        ]
    else:
        lines = [
            f"{sent} replayed to the service at {report.target}: {report.stored:,} stored,"
            f" {report.already:,} there already"
        ]
    if report.rejected:
        lines.append(f"{counted(report.rejected, 'event')} rejected, the first: {report.reason}")
    return lines


def moved_lines(exporter: str, moved: list[CursorMove]) -> list[str]:
    """Return how an exporter's cursors moved in lines."""
    lines = []
    for each in moved:
        place = f"pipeline {each.pipeline}" if each.pipeline else "the service"
        back = each.before - each.after
        if back:
            lines.append(
                f"{exporter}, {place}: back from cursor {each.before} to {each.after},"
                f" {counted(back, 'row')} to deliver again"
            )
        else:
            lines.append(
                f"{exporter}, {place}: still at cursor {each.after}, not past that time yet"
            )
    return [
        *lines,
        "A running shipper or service delivers within a second; without one: realm ship --once",
    ]
