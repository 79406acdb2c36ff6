"""`core.event_bus export`: events of the log as JSON lines."""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Final

import msgspec

from realm_telemetry.catalog import event_to_dict
from realm_telemetry.compat.first_use import before_reading, open_log
from realm_telemetry.errors import ConfigError, LogError
from realm_telemetry.log import Filters, InvalidFilterError, parse_filters

_EXAMPLE: Final = "python -m core.event_bus export --since 2025-11-29 --output events.jsonl"


def export(
    output: str | os.PathLike[str] | None = None,
    *,
    since: str | None = None,
    until: str | None = None,
) -> int:
    """Write all events as JSON lines, newest first; return how many.

    output: a file, which is replaced; by default standard output.
    since, until: as `realm query` takes them; without a zone UTC.
    Raises InvalidFilterError, LogError, OSError.
    """
    given = {"since": since, "until": until}
    filters = parse_filters({name: text for name, text in given.items() if text is not None})
    if output is None:
        return _write(filters, sys.stdout.buffer)
    with Path(output).open("wb") as file:
        return _write(filters, file)


def _write(filters: Filters, file: IO[bytes]) -> int:
    written = 0
    with open_log(before_reading().log_path) as reader:
        for row in reader.export(filters) if reader else ():
            file.write(msgspec.json.encode(event_to_dict(row.event)) + b"\n")
            written += 1
    file.flush()
    return written


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
        description="Write events of the log as JSON lines, newest first.",
        epilog=f"Example: {_EXAMPLE}",
    )
    parser.add_argument("--since", help="at or after: 2025-11-29, 24h, 7d, ISO 8601 (UTC)")
    parser.add_argument("--until", help="before; in the forms of --since")
    parser.add_argument("--output", "-o", help="a file, which is replaced; else standard output")
    return parser
