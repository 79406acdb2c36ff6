"""Prints events as coloured lines."""

import os
import sys
from collections.abc import Mapping, Sequence
from errno import EIO, EPIPE
from pathlib import Path
from typing import Any, ClassVar, TextIO

from realm_telemetry.errors import ConfigError
from realm_telemetry.event import Event
from realm_telemetry.kinds.line import format_line, wants_colour
from realm_telemetry.otel import EventExporter

__all__ = ["ConsoleExporter"]

_COLOURS = ("auto", "always", "never")
_STREAMS = ("stdout", "stderr")


class ConsoleExporter(EventExporter):
    """Writes a line per event to standard output, standard error, or a file such as a terminal."""

    name = "console"
    defaults: ClassVar[Mapping[str, Any]] = {
        "stream": "stdout",
        "path": "",
        "colour": "auto",
        "details": False,
    }

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """Raises ConfigError."""
        super().__init__(*args, **kwargs)
        for option, choices in (("stream", _STREAMS), ("colour", _COLOURS)):
            if self.options[option] not in choices:
                raise ConfigError(
                    f"options.console.{option}",
                    f"there is no {self.options[option]!r}",
                    f"Use one of {', '.join(choices)}.",
                )
        self._file: TextIO | None = None
        self._last_batch: frozenset[str] = frozenset()

    def open(self) -> None:
        """Open the file, if one was asked for."""
        if self.options["path"]:
            self._file = Path(self.options["path"]).expanduser().open("a", encoding="utf-8")

    def deliver(self, events: Sequence[Event]) -> None:
        """Print the events, all lines in one write."""
        # Looked up each time: programs and tests replace sys.stdout.
        stream: TextIO = self._file or getattr(sys, self.options["stream"])
        colour, details = self._colour(stream), self.options["details"]
        lines = [
            format_line(event, colour, details=details)
            for event in events
            if event.id not in self._last_batch
        ]
        self._write(stream, "".join(f"{line}\n" for line in lines))
        self._last_batch = frozenset(event.id for event in events)

    def _colour(self, stream: TextIO) -> bool:
        choice = self.options["colour"]
        return choice == "always" or (choice == "auto" and wants_colour(stream, os.environ))

    def _write(self, stream: TextIO, text: str) -> None:
        encoding = stream.encoding or "utf-8"
        try:
            # An icon that the terminal's encoding lacks is no reason to fail.
            stream.write(text.encode(encoding, "replace").decode(encoding))
            stream.flush()
        except OSError as error:
            # The terminal is gone: printing later would be of no use, waiting would
            # hold the shipper up. The events themselves are in the log.
            if error.errno not in (EPIPE, EIO):
                raise

    def close(self) -> None:
        """Close the file that `open` opened."""
        if self._file is not None:
            self._file.close()
