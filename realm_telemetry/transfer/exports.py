"""Export: write all events that match to a file, whole and in order of arrival."""

import errno
import gzip
import io
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from datetime import datetime
from pathlib import Path
from typing import IO, Any, BinaryIO, cast

import msgspec

from realm_telemetry.config import Settings, load_settings, token_for
from realm_telemetry.kinds.line import printable_json
from realm_telemetry.log.filters import Filters, parse_filters
from realm_telemetry.transfer.formats import Exported, format_of, make_writer
from realm_telemetry.transfer.source import (
    EventInput,
    LogInput,
    Progress,
    ServiceInput,
    no_progress,
    open_log,
)


class ExportReport(msgspec.Struct, frozen=True):
    """What an export wrote."""

    output: str
    format: str
    events: int


def export_events(
    output: str | Path,
    *,
    format: str | None = None,
    compress: bool | None = None,
    home: str | Path | None = None,
    url: str | None = None,
    progress: Progress = no_progress,
    **filters: Any,
) -> ExportReport:
    """Write all events that match to a file, which is complete or does not exist.

    output: `-` is standard output. format: jsonl, csv or parquet; by the file's name if None.
    compress: gzip; by the file's name if None. url: a service to read in place of the log.
    filters: those of docs/http-api.md: since="2025-11-29", channel="jobs,eval" ...
    Raises InvalidFilterError, ConfigError, MissingPackageError, LogError, ServiceError, OSError.
    """
    settings = load_settings({"home": home})
    wanted = filters_of(filters)
    named, compressed = format_of(Path(output))
    with closing(open_source(settings, url, progress)) as source:
        return write_events(
            source,
            wanted,
            Path(output),
            format=format or named or "jsonl",
            compress=compressed if compress is None else compress,
            progress=progress,
        )


def filters_of(given: Mapping[str, Any]) -> Filters:
    """Read filters given as Python values; without any, all events match.

    Raises InvalidFilterError.
    """
    return parse_filters({name: _text(value) for name, value in given.items() if value is not None})


def _text(value: Any) -> str | list[str]:
    if isinstance(value, datetime):
        return value.isoformat()
    return [str(each) for each in value] if isinstance(value, list | tuple) else str(value)


def open_source(
    settings: Settings, url: str | None, progress: Progress = no_progress
) -> EventInput:
    """Return the service at an address, or the home's log. Raises LogError, ServiceError."""
    if url is not None:
        return ServiceInput(url, token_for(settings.home, settings.token, url))
    return LogInput(open_log(settings, progress))


def write_events(
    source: EventInput,
    filters: Filters,
    output: Path,
    *,
    format: str,
    compress: bool,
    progress: Progress = no_progress,
) -> ExportReport:
    """Write all events of a source that match; see `export_events`."""
    with opened_output(output, compress=compress) as file:
        writer = make_writer(format, file)
        events = 0
        for rows in _rows(source, filters, progress):
            writer.write(rows)
            events += len(rows)
        writer.close()
    return ExportReport("stdout" if output == STDOUT else str(output), format, events)


def _rows(source: EventInput, filters: Filters, progress: Progress) -> Iterator[list[Exported]]:
    done = 0
    for step in source.steps(filters):
        yield list(step.rows)
        done += len(step.rows)
        progress(done, step.share)


STDOUT = Path("-")


@contextmanager
def opened_output(path: Path, *, compress: bool) -> Iterator[IO[bytes]]:
    """Open a file, or standard output for `-`, to write to.

    A file gets its name only when the block ends without an error; until then, and if the block
    fails, an earlier file stays unchanged. Raises OSError.
    """
    with _raw_output(path) as raw:
        if not compress:
            yield raw
            return
        # Without name and time: equal events give equal files.
        with gzip.GzipFile("", "wb", 6, cast(io.BytesIO, raw), 0) as file:
            yield cast(IO[bytes], file)


@contextmanager
def _raw_output(path: Path) -> Iterator[BinaryIO]:
    if path == STDOUT:
        yield cast(BinaryIO, _Terminal()) if sys.stdout.isatty() else sys.stdout.buffer
        sys.stdout.buffer.flush()
    elif path.exists() and not path.is_file():  # a device or a pipe; a directory fails by itself
        with path.open("wb") as file:
            yield file
    else:
        with replaced(path) as file:
            yield file


class _Terminal:
    """Standard output where a person reads it: no text of an event can drive the terminal."""

    def write(self, data: bytes) -> None:
        text = printable_json(data.decode().replace("\r\n", "\n"))
        sys.stdout.buffer.write(text.encode())


@contextmanager
def replaced(path: Path) -> Iterator[BinaryIO]:
    """Write a file beside its place, synced, and move it there in one step. Raises OSError."""
    # Through links, so that a link stays one.
    path = path.resolve()
    if not path.parent.is_dir():
        raise FileNotFoundError(errno.ENOENT, "there is no such directory", str(path.parent))
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with temporary.open("xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
