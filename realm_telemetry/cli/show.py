"""`realm show` and what finds a run for it: all of a run, or of an event."""

import re
from contextlib import closing
from difflib import get_close_matches
from shlex import quote
from typing import Any, Final
from urllib.parse import parse_qsl

import click
import msgspec

from realm_telemetry.cli.command import command, json_option, settings
from realm_telemetry.cli.problems import UnknownRunError
from realm_telemetry.cli.sources import Backend, open_source
from realm_telemetry.cli.state import outline
from realm_telemetry.cli.terminal import json_document, line, note, styled_line
from realm_telemetry.cli.times import utc_option
from realm_telemetry.kinds.line import printable
from realm_telemetry.log.runs import RunsWanted

LOOKED_AT: Final = 500
"""Runs among which near ids are looked for."""

MAX_SHOWN: Final = 100
"""Entries of each list or object that a person is shown."""

LAST_LINES: Final = 20
"""Of the output of a run that ended badly."""

NOT_BAD: Final = ("running", "stalled", "paused", "completed")

_EVENT_ID: Final = re.compile("[0-9a-fA-F]{32}")


@command(
    examples=(
        ("realm show r7", "A run: status and reason, ranks, checkpoints, the traceback."),
        ("realm show cccccccccccccccc000000000000001e", "An event with its details."),
        ("realm show r7 --metrics", "Its numbers: last, least, greatest, and their curves."),
        ("realm show r7 --json", "For a program."),
    )
)
@click.argument("name", metavar="RUN|EVENT")
@click.option("--metrics", "numbers", is_flag=True, help="The numbers of a run as a table.")
@json_option("Print a JSON object.")
@utc_option
@click.option("--url", help="Ask this service, not the one in the settings.")
@click.option("--log", "from_log", is_flag=True, help="Read the log, though a service runs.")
def show(name: str, numbers: bool, as_json: bool, url: str | None, from_log: bool) -> None:
    """Show all of a run, or of an event.

    32 hex digits are an event id. From the service if it runs, else from the log.
    """
    with closing(open_source(settings(), url=url, from_log=from_log, report=note)) as source:
        note(f"Reading {source.name}.")
        if numbers:
            _show_metrics(source, name, as_json=as_json)
            return
        event = source.event(name.lower()) if _EVENT_ID.fullmatch(name) else None
        found = event or source.run(name)
        if found is None:
            raise unknown_run(source, name)
        bad = event is None and found["status"] not in NOT_BAD and not as_json
        output = source.output(name, tail=LAST_LINES) if bad else None
        changes = None if event or as_json else source.changes(name)
    if as_json:
        json_document(found)
    else:
        _print(found, "" if output is None else output.text)
        if changes and changes["before"]:
            _print_changes(changes)


def _show_metrics(source: Backend, run_id: str, *, as_json: bool) -> None:
    from realm_telemetry.cli.metrics_table import POINTS, print_metrics

    found = source.metrics(run_id, POINTS)
    if found is None:
        raise unknown_run(source, run_id)
    if as_json:
        json_document(found)
    else:
        print_metrics(found)


def unknown_run(source: Backend, run_id: str) -> UnknownRunError:
    """Return the error for an id that no run has, with ids that are near."""
    known = [str(run["run_id"]) for run in source.runs(RunsWanted(limit=LOOKED_AT))]
    known = [name for name in known if name != run_id]
    holding = [name for name in known if run_id and run_id.lower() in name.lower()]
    near = dict.fromkeys([*holding[:3], *get_close_matches(run_id, known, 3, 0.5)])
    return UnknownRunError(run_id, list(near)[:3])


def _print(found: dict[str, Any], output: str) -> None:
    """Print a value as an outline, the traceback in full and the output behind it."""
    exception = found.get("exception") or {}
    trace = exception.get("traceback")
    if exception:
        found = found | {"exception": {**exception, "traceback": None, **_seen(exception)}}
    for text in outline(found, most=MAX_SHOWN):
        line(text)
    if trace:
        line("")
        styled_line(printable(trace.rstrip(), lines=True))
    if output:
        line("")
        line("The last lines of its output:")
        styled_line(printable(output.rstrip("\n"), lines=True))


def _print_changes(found: dict[str, Any]) -> None:
    """Print what was changed since the run before, as `GET /api/runs/{id}/changes` answers it."""
    before = found["before"]
    well = "the last that was well" if before["is_well"] else f"{before['status']}; none was well"
    line("")
    line(f"Changed since {printable(before['run_id'])} (of the same {before['rule']}, {well}):")
    changed = [
        (each["name"], *map(_setting, each["values"], each.get("has") or map(bool, each["values"])))
        for each in (*found["config"]["different"], *found["facts"])
    ]
    for name, then, now in changed[:MAX_SHOWN]:
        line(printable(f"  {name}: {then} -> {now}"))
    if not changed:
        line("  nothing")


def _setting(value: Any, has: bool) -> str:
    if not has:
        return "not set"
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()


def _seen(exception: dict[str, Any]) -> dict[str, Any]:
    """Return how often an error was seen, and the command that lists where, for people."""
    from realm_telemetry.folds.runs.view import seen_text

    found = exception.get("seen")
    if not isinstance(found, dict):  # of an older service
        return {}
    options = [f"--{name} {quote(value)}" for name, value in parse_qsl(found["query"])]
    return {"seen": seen_text(exception), "seen_in": f"realm query {' '.join(options)}"}
