"""`realm compare`: runs beside each other, what differs, and what their numbers are."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from typing import Any, Final

import click
import msgspec

from realm_telemetry.cli.command import command, json_option, settings
from realm_telemetry.cli.problems import EXIT_PROBLEM
from realm_telemetry.cli.runs import STYLES, duration
from realm_telemetry.cli.show import unknown_run
from realm_telemetry.cli.sources import open_source
from realm_telemetry.cli.terminal import (
    GAP,
    cell,
    json_document,
    line,
    make_table,
    note,
    print_table,
    width,
)
from realm_telemetry.errors import counted
from realm_telemetry.folds.comparison import COMPARED
from realm_telemetry.folds.runs.before import FACTS

NOT_SET: Final = "not set"
MIN_COLUMN: Final = 10
"""The narrowest column of a run; longer ids and values stand below the table."""

Row = tuple[str, list[str]]
"""A name, and of each run what it has there."""


@command(
    examples=(
        ("realm compare r7 night-1", "What differs, and the last numbers of both."),
        ("realm compare r7 night-1 --all", "With facts that are equal, and numbers of machines."),
        ("realm compare r7 night-1 --json", "For a program."),
    )
)
@click.argument("runs", metavar="RUN RUN [RUN]...", nargs=-1)
@click.option("--all", "whole", is_flag=True, help="Equal facts and numbers of the machine too.")
@json_option("Print a JSON object: runs, config, metrics, missing.")
@click.option("--url", help="Ask this service, not the one in the settings.")
@click.option("--log", "from_log", is_flag=True, help="Read the log, though a service runs.")
def compare(
    runs: tuple[str, ...], whole: bool, as_json: bool, url: str | None, from_log: bool
) -> int:
    """Show runs beside each other: what differs, and their last numbers.

    Two to six runs, as the page /compare shows them: settings, command, commit and hosts where
    they are not the same, then how each ended and each number's last value. Exit code 1 if there
    is no such run; the others are compared if two are left.
    """
    least, most = COMPARED
    if not least <= len(runs) <= most:
        raise click.UsageError(f"Give {least} to {most} runs; realm runs lists them.")
    if len(set(runs)) < len(runs):
        raise click.UsageError("A run is named twice.")
    with closing(open_source(settings(), url=url, from_log=from_log, report=note)) as source:
        note(f"Reading {source.name}.")
        found = source.compare(runs)
        errors = [unknown_run(source, each["run_id"]) for each in found["missing"]]
    if len(found["runs"]) < least:
        raise errors[0]
    if as_json:
        json_document(found)
    else:
        _print(found, whole=whole)
    for error in errors:
        note(f"{error.message} {error.hint}")
    return EXIT_PROBLEM if errors else 0


def _print(found: Mapping[str, Any], *, whole: bool) -> None:
    runs = found["runs"]
    ids = [str(run["run_id"]) for run in runs]
    settings_of = list(_settings(found["config"], len(runs)))
    different = [row for row in settings_of if len(set(row[1])) > 1]
    same = found["config"]["same"] + len(settings_of) - len(different)
    facts = [row for row in _facts(runs) if whole or len(set(row[1])) > 1]
    _section("differs", ids, [*different, *facts])
    note(f"{counted(same, 'setting')} the same in all")
    line("")
    _section("number", ids, [*_ends(runs), *_numbers(found["metrics"], whole=whole)], style=STYLES)


def _section(
    heading: str, ids: Sequence[str], rows: Sequence[Row], style: Mapping[str, str] | None = None
) -> None:
    """Print rows as a table, and those that do not fit into its columns whole, below it."""
    if not rows:
        line("nothing differs")
        return
    names = max(len(name) for name, _ in (*rows, (heading, [])))
    most = max((width() - names) // len(ids) - GAP, MIN_COLUMN)
    short = [row for row in rows if max(map(len, row[1])) <= most]
    if short:
        # Ids that do not fit are numbered, and said below.
        shown = [each if len(each) <= most else f"({n})" for n, each in enumerate(ids, 1)]
        table = make_table((heading, *shown), numbers=shown if heading == "number" else ())
        for name, values in short:
            table.add_row(
                cell(name, "bold"), *(cell(value, (style or {}).get(value, "")) for value in values)
            )
        print_table(table)
        for label, run_id in zip(shown, ids, strict=True):
            if label != run_id:
                line(f"{label} {run_id}")
    for name, values in rows:
        if max(map(len, values)) > most:
            line(f"{name}:")
            for run_id, value in zip(ids, values, strict=True):
                line(f"  {run_id}: {value}")


def _settings(config: Mapping[str, Any], count: int) -> Iterator[Row]:
    """Yield the settings that differ; objects entry by entry, as the page has them."""
    flat = [
        dict(
            entry
            for each in config["different"]
            if each["has"][run]
            for entry in _entries(str(each["name"]), each["values"][run])
        )
        for run in range(count)
    ]
    for name in sorted({name for one in flat for name in one}):
        yield name, [one.get(name, NOT_SET) for one in flat]


def _entries(name: str, value: Any) -> Iterator[tuple[str, str]]:
    if isinstance(value, dict) and value:
        for key, inner in value.items():
            yield from _entries(f"{name}.{key}", inner)
    else:
        yield name, _text(value)


def _facts(runs: Sequence[Mapping[str, Any]]) -> Iterator[Row]:
    for name in FACTS:
        yield name, [_text(run[name]) or "-" for run in runs]


def _ends(runs: Sequence[Mapping[str, Any]]) -> Iterator[Row]:
    yield "status", [str(run["status"]) for run in runs]
    reasons = [str(run["reason"] or "-") for run in runs]
    if set(reasons) != {"-"}:
        yield "reason", reasons
    yield "step", ["-" if run["step"] is None else _number(run["step"]) for run in runs]
    yield "duration", [duration(run["duration_s"]) for run in runs]


def _numbers(metrics: Sequence[Mapping[str, Any]], *, whole: bool) -> Iterator[Row]:
    """Yield each number's last value, then its best where it is a loss, then what is not finite."""
    for metric in metrics:
        if metric["machine"] and not whole:
            continue
        name, totals = str(metric["name"]), metric["runs"]
        yield name, ["-" if each is None else _number(each["last"]) for each in totals]
        if name.rpartition("/")[2].endswith("loss"):
            yield f"{name}, least", [_of(each, "least") for each in totals]
        if any(each and each["not_finite"] for each in totals):
            yield f"{name}, not finite", [_of(each, "not_finite") for each in totals]


def _of(totals: Mapping[str, Any] | None, name: str) -> str:
    return "-" if totals is None else _number(totals[name])


def _number(value: Any) -> str:
    if value is None:
        return "-"
    return f"{value:,}" if type(value) is int else f"{value:.6g}" if type(value) is float else value


def _text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, list) and all(isinstance(each, str) for each in value):
        return ", ".join(value)
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()
