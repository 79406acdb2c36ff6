"""`realm log`: where the service's log is, and how it is."""

from typing import Any

import click

from realm_telemetry.cli.command import CommandGroup, command, group, json_option, settings
from realm_telemetry.cli.problems import EXIT_PROBLEM
from realm_telemetry.cli.terminal import json_document, line, note
from realm_telemetry.config import service_log_url
from realm_telemetry.log.engine import Log, open_log


@group(examples=(("realm log status", "Where the log is, how large, and what a commit survives."),))
@click.pass_context
def log(ctx: click.Context) -> None:
    """Make the log that a service writes, and say how it is."""
    if ctx.invoked_subcommand is None:
        line(ctx.get_help())


_GROUP: CommandGroup = log


@command(
    examples=(("realm log init", "The log that the settings name, before a service needs it."),)
)
@click.argument("url", required=False)
def init(url: str | None) -> None:
    """Make the log's tables, or bring them up to date.

    URL: a log in PostgreSQL, such as postgresql://realm@db/realm. A service does the same when it
    starts; here it can be done by a user with more rights.
    """
    found = _opened(url)
    with found.writer() as writer:
        line(f"The log {found.place} is ready; its id is {writer.log_id}.")


@command(examples=(("realm log status --json", "For a program."),))
@click.argument("url", required=False)
@json_option("Print a JSON object.")
def status(url: str | None, as_json: bool) -> int:
    """Say where the log is, how large, what it has, and what a commit survives.

    URL: a log in PostgreSQL. Exit code 1 if there is no log yet.
    """
    found = _opened(url)
    if not found.exists():
        note(f"There is no log at {found.place} yet. Make it: realm log init")
        return EXIT_PROBLEM
    shown = _status(found)
    if as_json:
        json_document(shown)
        return 0
    for name, value in shown.items():
        text = f"{value:,}" if isinstance(value, int) else str(value)
        line(f"{name.replace('_', ' '):<12} {text}")
    return 0


_GROUP.add_command(init, "init")
_GROUP.add_command(status, "status")


def _opened(url: str | None) -> Log:
    chosen = settings()
    return open_log(url or service_log_url(chosen) or chosen.log_path, home=chosen.home)


def _status(found: Log) -> dict[str, Any]:
    described = found.describe()
    with found.reader() as reader, reader.snapshot() as now:
        first, last = now.min_cursor() + 1, now.max_cursor()
        return {
            "place": described.place,
            "log_id": reader.log_id,
            "schema": f"{described.version} of {described.newest_version}",
            "durability": described.durability,
            "size_bytes": described.size_bytes,
            "events": sum(now.happened().values()),
            "first_cursor": min(first, last),
            "last_cursor": last,
        }
