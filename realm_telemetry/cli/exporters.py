"""`realm exporters`: what is installed, and whether it works."""

from collections.abc import Sequence
from typing import Final

import msgspec

from realm_telemetry.cli.checks.service import check_exporter_settings
from realm_telemetry.cli.command import command, json_option, settings
from realm_telemetry.cli.problems import EXIT_PROBLEM
from realm_telemetry.cli.terminal import cell, json_document, make_table, note, print_table
from realm_telemetry.config import Settings
from realm_telemetry.plugins import ExporterInfo, installed

STATUS_STYLES: Final = {
    "ok": "green",
    "duplicate": "yellow",
    "broken": "red",
    "missing": "red",
    "unfit": "red",
    "hidden": "dim",
}


class ExporterRow(msgspec.Struct, frozen=True):
    """One exporter as it is listed.

    used: whether the settings name it. groups: the entry point groups that offer it.
    status: ok, duplicate, broken, hidden behind another group's of the name, unfit where its own
        settings are wrong, or missing for one that is used and not installed.
    """

    name: str
    used: bool
    status: str
    distribution: str
    version: str
    groups: list[str]
    problem: str


@command(
    examples=(
        ("realm exporters", "What is installed, and which of it the settings name."),
        ("realm exporters --json", "The same for a program."),
    )
)
@json_option("Print a JSON array.")
def exporters(as_json: bool) -> int:
    """List the installed exporters and whether they work.

    Those that the settings name look at their own settings, and at their receiver if they have one.
    Exit code 1 if one that the settings name is missing or cannot be used.
    """
    known = settings()
    rows = list_exporters([name for name in known.exporters if isinstance(name, str)])
    rows = [_examined(row, known) for row in rows]
    if as_json:
        json_document(rows)
    else:
        _print(rows)
    return EXIT_PROBLEM if any(row.used and row.status != "ok" for row in rows) else 0


def list_exporters(used: Sequence[str]) -> list[ExporterRow]:
    """Return all installed exporters by name, and those that are used without being installed.

    used: names in the settings; "module:attribute" is looked for when it is used.
    """
    found: dict[tuple[str, str, str], ExporterRow] = {}
    for info in installed():
        key = (info.name, info.distribution, info.status)
        known = found.get(key)
        found[key] = _row(info, used, known.groups if known else [])
    names = {row.name for row in found.values()}
    missing = [name for name in used if name not in names and ":" not in name]
    rows = [*found.values(), *(_missing(name) for name in missing)]
    return sorted(rows, key=lambda row: (not row.used, row.name))


def _examined(row: ExporterRow, known: Settings) -> ExporterRow:
    """Let an exporter that is used say what it thinks of its settings."""
    if not row.used or row.status != "ok":
        return row
    results = [each for each in check_exporter_settings(row.name, known) if each.level != "ok"]
    if not results:
        return row
    unfit = any(each.level == "problem" for each in results)
    problem = " ".join(f"{each.message}. {each.fix}".strip() for each in results)
    return msgspec.structs.replace(row, status="unfit" if unfit else "ok", problem=problem)


def _row(info: ExporterInfo, used: Sequence[str], groups: list[str]) -> ExporterRow:
    return ExporterRow(
        info.name,
        info.name in used and info.status != "hidden",
        info.status,
        info.distribution,
        info.version,
        [*groups, info.group],
        info.problem,
    )


def _missing(name: str) -> ExporterRow:
    problem = f"no installed distribution offers {name!r}. Install it, or take it out of exporters."
    return ExporterRow(name, True, "missing", "", "", [], problem)


def _print(rows: Sequence[ExporterRow]) -> None:
    table = make_table(("name", "used", "status", "distribution", "groups"))
    for row in rows:
        table.add_row(
            cell(row.name, "bold"),
            cell("yes" if row.used else ""),
            cell(row.status, STATUS_STYLES[row.status]),
            cell(f"{row.distribution} {row.version}".strip()),
            cell(", ".join(row.groups)),
        )
    print_table(table)
    used = {row.name for row in rows if row.used}
    for row in rows:
        if row.problem and (row.status != "hidden" or row.name in used):
            note(f"{row.name}: {row.problem}")
