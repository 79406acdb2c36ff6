"""`realm doctor`: looks at everything between emit and the views."""

from collections.abc import Iterator
from contextlib import closing
from typing import Final

import click

from realm_telemetry.cli.checks.check import MARKS, STYLES, Check, Subject
from realm_telemetry.cli.checks.home import (
    check_file_system,
    check_home,
    check_shared_home,
    check_spool_place,
)
from realm_telemetry.cli.checks.log import check_lock, check_log, check_side_files
from realm_telemetry.cli.checks.service import (
    check_options,
    check_pages,
    check_round_trip,
    check_service,
    check_service_addresses,
    check_service_exporters,
    check_service_settings,
)
from realm_telemetry.cli.checks.service_log import check_service_log
from realm_telemetry.cli.checks.shipping import check_exporters, check_shipping
from realm_telemetry.cli.command import command, json_option, settings, timeout_option
from realm_telemetry.cli.problems import EXIT_PROBLEM
from realm_telemetry.cli.terminal import colour, json_document, line, styled_line
from realm_telemetry.cli.times import utc_option
from realm_telemetry.kinds.line import printable
from realm_telemetry.shipper.findings import CheckResult

CHECKS: Final[tuple[Check, ...]] = (
    check_home,
    check_file_system,
    check_shared_home,
    check_spool_place,
    check_log,
    check_side_files,
    check_lock,
    check_service_log,
    check_exporters,
    check_options,
    check_service_settings,
    check_service_exporters,
    check_pages,
    check_service,
    check_service_addresses,
    check_shipping,
)
"""In the order of an event's path; the round trip comes last."""


@command(
    examples=(
        ("realm doctor", "Check the home in use."),
        ("realm doctor --full", "Check every page and row of the log too."),
        ("realm doctor --no-round-trip --json", "Without emitting an event, for a program."),
    )
)
@click.option("--round-trip/--no-round-trip", default=True, help="Whether to emit an event.")
@click.option(
    "--full",
    is_flag=True,
    help="Check every page and row of the log, however long it takes.",
)
@utc_option
@timeout_option(10.0, "The longest that any one check may wait.")
@json_option("Print one JSON object: healthy, home, checks.")
def doctor(round_trip: bool, full: bool, timeout_s: float, as_json: bool) -> int:
    """Check the whole path of an event and say what to do.

    ✓ is well, ! is worth knowing, ✗ has to be fixed. The round trip emits a note on the debug
    channel, as a producer of its own, and waits until the log and the running service have it.
    Exit code 1 if there is a ✗.
    """
    subject = Subject(settings(), timeout_s, full=full)
    checks = (*CHECKS, check_round_trip) if round_trip else CHECKS
    results = []
    with closing(subject):
        for result in run_checks(subject, checks):
            results.append(result)
            if not as_json:
                _print(result)
    healthy = all(result.level != "problem" for result in results)
    if as_json:
        home = str(subject.settings.home)
        json_document({"healthy": healthy, "home": home, "checks": results, "findings": results})
    return 0 if healthy else EXIT_PROBLEM


def run_checks(subject: Subject, checks: tuple[Check, ...] = CHECKS) -> Iterator[CheckResult]:
    """Yield each result as soon as its check has it."""
    for check in checks:
        yield from check(subject)


def _print(result: CheckResult) -> None:
    mark = MARKS[result.level]
    if colour():
        mark = click.style(mark, STYLES[result.level], bold=True)
    styled_line(f"{mark} {printable(f'{result.check}: {result.message}')}")
    if result.fix:
        line(f"    {result.fix}")
