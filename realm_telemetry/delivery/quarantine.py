"""Quarantine: bytes that cannot be read are kept for a person to look at."""

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from realm_telemetry.delivery.report import Reporter
from realm_telemetry.home import open_own_directory

MAX_QUARANTINE_BYTES: Final = 64 * 1024 * 1024


class Quarantine:
    """A directory of damaged pieces of spools; once it is full, pieces are only reported."""

    def __init__(
        self, directory: Path, report: Reporter, clock_ns: Callable[[], int] = time.time_ns
    ) -> None:
        self._directory = directory
        self._report = report
        self._clock_ns = clock_ns

    def damaged(self, path: Path, offset: int, data: bytes) -> None:
        """Keep bytes of a segment that do not check, and report them."""
        what = f"{len(data)} bytes at {offset} of {path.parent.name}/{path.name} are damaged"
        self._keep(f"{path.parent.name}-{path.name}-{offset}", data, what)

    def moved(self, path: Path) -> None:
        """Keep a whole file that cannot be opened, and report it."""
        kept = self._directory / f"{self._clock_ns()}-{path.parent.name}-{path.name}"
        what = f"{path.parent.name}/{path.name} cannot be opened"
        try:
            os.close(open_own_directory(self._directory, make=True))
            path.rename(kept)
        except OSError as error:
            self._report.incident(f"{what}; it could not be quarantined ({error}).")
            return
        self._report.incident(f"{what}; moved to {kept}.")

    def refused(self, producer: str, number: int, payload: bytes, error: Exception) -> None:
        """Keep a frame that is whole but no event, and report it."""
        what = f"event {number} of {producer} cannot be stored ({error})"
        self._keep(f"{producer}-event-{number}", payload, what)

    def _keep(self, name: str, data: bytes, what: str) -> None:
        kept = self._directory / f"{self._clock_ns()}-{name}"
        try:
            os.close(open_own_directory(self._directory, make=True))
            taken = sum(piece.stat().st_size for piece in self._directory.iterdir())
            if taken + len(data) > MAX_QUARANTINE_BYTES:
                self._report.incident(f"{what}; {self._directory} is full, empty it.")
                return
            kept.write_bytes(data)
        except OSError as error:
            self._report.incident(f"{what}; it could not be quarantined ({error}).")
            return
        self._report.incident(f"{what}; quarantined in {kept}. All others were read.")
