"""`realm emit`: one event, by way of spool and shipper as any program's."""

import re
from typing import Any, Final

import click

from realm_telemetry.cli.command import command, json_option, settings, timeout_option
from realm_telemetry.cli.problems import EXIT_PROBLEM
from realm_telemetry.cli.terminal import json_line, line, note
from realm_telemetry.config import Settings
from realm_telemetry.event import CHANNELS, SEVERITIES, Event, InvalidEventError
from realm_telemetry.kinds.catalog import KIND_METADATA, event_to_dict
from realm_telemetry.values.conversions import safe_text
from realm_telemetry.values.json_text import read_json

SERVICE_NAME: Final = "realm"
"""Who emitted, unless OTEL_SERVICE_NAME or realm.toml says otherwise."""

_PAIR: Final = re.compile(r"([^\s=]+)=(.*)", re.DOTALL)
_FIELDS: Final = ("message", "channel", "severity", "hero_id", "campaign_id", "source")
"""Keys that are no details but what the options of the same names set."""


@command(
    examples=(
        ('realm emit note "Changed the cooling"', "A note; it is in the log within a second."),
        (
            "realm emit checkpoint_saved step=183000 loss=0.234 path=ckpt/183000",
            "Details as JSON values; the kind writes the message.",
        ),
        (
            'realm emit note "Tuned" --channel guild --hero dio tags=\'["lr", "warmup"]\'',
            "Lists and objects are JSON too.",
        ),
        ('realm emit note "Restarted from 4,000" --run r7', "A note about a run."),
        ("realm emit training_paused reason=maintenance --wait", "Come back once it is stored."),
    )
)
@click.argument("kind")
@click.argument("words", nargs=-1, metavar="[KEY=VALUE | MESSAGE] ...")
@click.option("--message", "-m", help="The message; without one the kind's template writes it.")
@click.option("--channel", type=click.Choice(CHANNELS), help="In place of the kind's.")
@click.option("--severity", type=click.Choice(SEVERITIES), help="In place of the kind's.")
@click.option("--hero", "hero_id", metavar="ID", help="The hero it is about.")
@click.option("--campaign", "campaign_id", metavar="ID", help="The campaign it belongs to.")
@click.option("--run", metavar="ID", help="The run it is about.")
@click.option("--source", metavar="TEXT", help="The part of a program it comes from.")
@click.option("--wait", is_flag=True, help="Wait until log and exporters have it; else exit 1.")
@timeout_option(10.0, "How long --wait waits.")
@json_option("Print the event instead of its id.")
def emit(
    kind: str,
    words: tuple[str, ...],
    run: str | None,
    wait: bool,
    timeout_s: float,
    as_json: bool,
    **fields: Any,
) -> int:
    """Emit one event.

    VALUE is JSON where it parses as JSON, and text otherwise. Words without = are the message.
    Prints the event id. The event is safe once the id is printed; it reaches the log
    by the shipper, which is started if none runs.
    """
    if not kind.strip():
        raise click.UsageError("KIND is empty.")
    if "=" in kind:
        raise click.UsageError(f"KIND is missing: {kind!r} is a detail.")
    # Bytes of an argument that are not UTF-8 come as lone surrogates.
    kind, words = safe_text(kind), tuple(map(safe_text, words))
    fields = {name: value and safe_text(value) for name, value in fields.items()}
    details, given = parse_words(words)
    fields = _checked({**given, **{name: value for name, value in fields.items() if value}})
    chosen = settings(run_id=run)
    event, problem = _deliver(chosen, kind, details, fields, timeout_s if wait else None)
    _suggest(kind)
    if event is not None:
        _print(event, as_json)
    if run is not None:
        _look_for_run(run, chosen)
    if problem is None:
        return 0
    note(f"realm: {problem}")
    return EXIT_PROBLEM


def _print(event: Event, as_json: bool) -> None:
    if as_json:
        json_line(event_to_dict(event))
    else:
        line(event.id)


def parse_words(words: tuple[str, ...]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the details, and the fields of the event itself, that some words give."""
    details: dict[str, Any] = {}
    fields: dict[str, Any] = {}
    message = []
    for word in words:
        pair = _PAIR.fullmatch(word)
        if pair is None:
            message.append(word)
        elif pair[1] in _FIELDS:
            fields[pair[1]] = pair[2]
        else:
            details[pair[1]] = parse_value(pair[2])
    if message:
        fields["message"] = " ".join(message)
    return details, fields


def parse_value(text: str) -> Any:
    """Return the JSON value of a text, or the text."""
    try:
        return read_json(text)
    except InvalidEventError:
        return text


def _checked(fields: dict[str, Any]) -> dict[str, Any]:
    for name, known in (("channel", CHANNELS), ("severity", SEVERITIES)):
        if name in fields and fields[name] not in known:
            raise click.UsageError(f"{name}={fields[name]} is none of {', '.join(known)}.")
    return fields


def _deliver(
    chosen: Settings,
    kind: str,
    details: dict[str, Any],
    fields: dict[str, Any],
    wait_s: float | None,
) -> tuple[Event | None, str | None]:
    """Return the event, None if it was not kept; and what is wrong, None if nothing is."""
    import realm_telemetry as telemetry

    named = chosen.service_name != Settings(home=chosen.home).service_name
    started = telemetry.configure(
        service_name=None if named else SERVICE_NAME,
        run_id=chosen.run_id if chosen.run_origin == "given" else None,
    )
    try:
        event = telemetry.emit(kind, details=details, **fields)
        if started is None:
            return None, "OTEL_SDK_DISABLED is set, so nothing was emitted."
        if not event.number:
            return None, "the spool is full and the event was dropped. See: realm doctor"
        if wait_s is not None and not telemetry.flush(wait_s):
            problem = str(telemetry.flush_problem()).rstrip(".")
            return event, f"not delivered within {wait_s:g} s: {problem}."
        return event, None
    finally:
        telemetry.shutdown()


def _look_for_run(run_id: str, chosen: Settings) -> None:
    """Say so where the run was not known before: its id may be mistyped."""
    from contextlib import closing

    from realm_telemetry.cli.show import unknown_run
    from realm_telemetry.cli.sources import open_source
    from realm_telemetry.client import ServiceError
    from realm_telemetry.errors import LogError

    try:
        source = open_source(chosen, url=None, from_log=False, report=note)
        with closing(source):
            found = source.run(run_id)
            # This very event makes a run of an id that is new.
            if found is None or found["counts"]["events"] <= 1:
                error = unknown_run(source, run_id)
                note(f"realm: no event was of this run before. {error.hint}")
    except (LogError, ServiceError):  # nothing is there to ask yet
        return


def _suggest(kind: str) -> None:
    from difflib import get_close_matches

    near = [] if kind in KIND_METADATA else get_close_matches(kind, KIND_METADATA, 1, 0.8)
    if near:
        note(f"realm: {kind!r} is no built-in kind; did you mean {near[0]}?")
