"""`core.event_bus export`: events of the log as JSON lines."""

import argparse
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Final

from realm_telemetry.compat.first_use import before_reading
from realm_telemetry.errors import ConfigError, LogError
from realm_telemetry.log import Filters, InvalidFilterError, parse_filters
from realm_telemetry.transfer.exports import write_events
from realm_telemetry.transfer.output import STDOUT
from realm_telemetry.transfer.source import LogSource, Source, Step, open_log

_EXAMPLE: Final = "python -m core.event_bus export --since 2025-11-29 --output events.jsonl"


def export(
    output: str | os.PathLike[str] | None = None,
    *,
    since: str | None = None,
    until: str | None = None,
) -> int:
    """Write all events as JSON lines, in order of arrival; return how many.

    output: a file, which is whole or not there at all; by default standard output.
    since, until: as `realm query` takes them; without a zone UTC.
    Raises InvalidFilterError, LogError, OSError.
    """
    given = {"since": since, "until": until}
    filters = parse_filters({name: text for name, text in given.items() if text is not None})
    settings = before_reading()
    place = STDOUT if output is None else Path(output)
    source: Source = LogSource(open_log(settings)) if settings.log_path.exists() else _Nothing()
    with closing(source):
        return write_events(source, filters, place, format="jsonl", compress=False).events


class _Nothing:
    """A home without a log."""

    def steps(self, filters: Filters) -> Iterator[Step]:
        return iter(())

    def close(self) -> None: ...


def main(arguments: Sequence[str] | None = None) -> int:
    """Run `python -m core.event_bus COMMAND ...` and return its exit code.

    Commands other than export are those of `realm`.
    """
    given = sys.argv[1:] if arguments is None else list(arguments)
    if given[:1] != ["export"]:
        from realm_telemetry.cli import main as realm

        return realm(given)
    asked = _parser().parse_args(given[1:])
    try:
        written = export(asked.output, since=asked.since, until=asked.until)
    except (InvalidFilterError, ConfigError) as error:
        print(f"core.event_bus export: {error}", file=sys.stderr)  # noqa: T201
        return 2
    except BrokenPipeError:
        # Whoever read our output has what it wanted; the interpreter would complain at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except (LogError, OSError) as error:
        print(f"core.event_bus export: {error}", file=sys.stderr)  # noqa: T201
        return 1
    if asked.output:
        print(f"{written:,} events written to {asked.output}", file=sys.stderr)  # noqa: T201
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "core.event_bus export",
        description="Write events of the log as JSON lines, in order of arrival.",
        epilog=f"Example: {_EXAMPLE}",
    )
    parser.add_argument("--since", help="at or after: 2025-11-29, 24h, 7d, ISO 8601 (UTC)")
    parser.add_argument("--until", help="before; in the forms of --since")
    parser.add_argument("--output", "-o", help="a file, which is replaced; else standard output")
    return parser
