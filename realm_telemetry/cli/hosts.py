"""`realm hosts`: the hosts that a service hears, and what runs there."""

from collections.abc import Sequence
from contextlib import closing
from typing import Any, Final

import click

from realm_telemetry.cli.command import command, json_option, settings
from realm_telemetry.cli.runs import duration
from realm_telemetry.cli.terminal import (
    cell,
    json_document,
    make_table,
    note,
    print_table,
)
from realm_telemetry.client import RealmClient
from realm_telemetry.config import DEFAULT_SERVICE_URL, token_for
from realm_telemetry.errors import counted
from realm_telemetry.home import running_service

STYLES: Final = {"live": "green", "away": "dim", "silent": "yellow", "lost": "red"}
MAX_SHOWN: Final = 8
"""Ranks of a run that a person is shown."""


@command(
    examples=(
        ("realm hosts", "Which hosts are heard, and what runs there."),
        ("realm hosts --json", "For a program."),
    )
)
@json_option("Print a JSON array.")
@click.option("--url", help="Ask this service, not the one in the settings.")
def hosts(as_json: bool, url: str | None) -> None:
    """List the hosts that a service hears, and what runs there.

    Only a running service knows: heartbeats of hosts are not stored.
    """
    chosen = settings()
    place = url or chosen.service_url
    token = token_for(chosen.home, chosen.token, place)
    with closing(RealmClient(place, token)) as client:
        found = client.hosts()
    if as_json:
        json_document(found)
    elif found:
        _print(found)
    note(counted(len(found), "host"))
    if place == DEFAULT_SERVICE_URL and url is None and running_service(chosen.home) is None:
        note(f"No service says that it runs on {chosen.home}: these may be another home's.")


def _print(found: Sequence[dict[str, Any]]) -> None:
    table = make_table(("host", "status", "last heard", "runs", "ranks"), numbers=("last heard",))
    for host in found:
        table.add_row(
            cell(str(host["host"]), "bold"),
            cell(str(host["status"]), STYLES.get(str(host["status"]), "")),
            cell(f"{duration(host['age_s'])} ago"),
            cell("\n".join(str(run["run_id"]) for run in host["runs"])),
            cell("\n".join(_ranks(run["processes"]) for run in host["runs"])),
        )
    print_table(table)


def _ranks(processes: Sequence[dict[str, Any]]) -> str:
    """Return the ranks of a run with their steps, or how many processes it has there."""
    ranks = sorted((each["rank"], each["step"]) for each in processes if each["rank"] is not None)
    if not ranks:
        return counted(len(processes), "process")
    shown = [f"{rank}" if step is None else f"{rank}: {step:,}" for rank, step in ranks]
    more = f" and {len(shown) - MAX_SHOWN:,} more" if len(shown) > MAX_SHOWN else ""
    return ", ".join(shown[:MAX_SHOWN]) + more
