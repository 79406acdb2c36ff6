"""`realm state`: what the events of the log add up to."""

import re
import time
from collections.abc import Iterator
from contextlib import closing
from typing import Any, Final

import click

from realm_telemetry.cli.command import command, json_option, settings
from realm_telemetry.cli.sources import Backend, LogBackend, ServiceBackend, open_source
from realm_telemetry.cli.terminal import json_document, line, note
from realm_telemetry.cli.times import times, utc_option
from realm_telemetry.folds.state import SECTIONS, rebuild

_TIMES: Final = ("_at", "_timestamp", "_last_heartbeat")
_TIME: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z")
"""As `format_time` writes them."""

MAX_ITEMS: Final = 20
"""Entries of a list or object that a person is shown; --json has all."""


@command(
    examples=(
        ("realm state", "Every section."),
        ("realm state training", "One of them."),
        ("realm state jobs --json", "For a program."),
    )
)
@click.argument("section", required=False, type=click.Choice(tuple(SECTIONS)))
@json_option("Print a JSON object.")
@utc_option
@click.option("--url", help="Ask this service, not the one in the settings.")
@click.option("--log", "from_log", is_flag=True, help="Fold the log, though a service runs.")
def state(section: str | None, as_json: bool, url: str | None, from_log: bool) -> None:
    """Show the state that the events give: jobs, workers, checkpoints ...

    From the service if it runs, else folded from the log. docs/state.md describes the sections.
    """
    chosen = settings()
    with closing(open_source(chosen, url=url, from_log=from_log, report=note)) as source:
        note(f"Reading {source.name}.")
        shown = _read(source, section)
    if as_json:
        json_document(shown)
        return
    lines = list(outline(shown))
    for text in lines or ("nothing yet",):
        line(text)


def _read(source: Backend, section: str | None) -> dict[str, Any]:
    if isinstance(source, ServiceBackend):
        found = source.client.state(section)
        return found if section else dict(found["state"])
    assert isinstance(source, LogBackend)
    folded = rebuild(source.reader.now, source.log)
    sections = folded.to_dict(time.time_ns())
    if section in (None, "training"):
        sections["training"] = source.as_runs_say(sections["training"])
    return sections[section] if section else sections


def outline(value: Any, depth: int = 0, most: int = MAX_ITEMS) -> Iterator[str]:
    """Yield a JSON value as indented lines, `name: value`.

    most: entries of each list or object.
    """
    indent = "  " * depth
    items = _shown_items(value)
    for name, item in items[:most]:
        label = f"{indent}{name}" + ("" if name == "-" else ":")
        if isinstance(item, dict | list) and not _shown_items(item):
            yield f"{label} nothing yet"
        elif isinstance(item, dict | list):
            yield label
            yield from outline(item, depth + 1, most)
        elif isinstance(item, str) and "\n" in item.strip("\n"):
            yield label
            for text in item.strip("\n").expandtabs(4).splitlines():
                yield f"{indent}    {text}"
        else:
            yield f"{label} {_text(name, item)}"
    if len(items) > most:
        yield f"{indent}... and {len(items) - most} more"


def _text(name: str, item: Any) -> str:
    """Return a value; a time of ours as all commands print it."""
    is_time = isinstance(item, str) and f"_{name}".endswith(_TIMES) and _TIME.fullmatch(item)
    return times().full(item) if is_time else str(item)


def _shown_items(value: dict[str, Any] | list[Any]) -> list[tuple[str, Any]]:
    """Return names and values without what is empty, nor zeros where all are counts."""
    if isinstance(value, list):
        return [("-", item) for item in value]
    counts = all(type(item) is int for item in value.values())
    return [
        (name, item)
        for name, item in value.items()
        if item not in (None, [], {}) and not (counts and item == 0) and not _all_zero(item)
    ]


def _all_zero(item: Any) -> bool:
    return isinstance(item, dict) and all(
        type(count) is int and not count for count in item.values()
    )
